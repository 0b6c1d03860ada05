"""Runs in the foreground: prepared, watched, decided, summed up."""

from __future__ import annotations

import asyncio
import getpass
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sdlc.cli import summary
from sdlc.cli.asking import ask_about_approval, ask_about_trouble
from sdlc.cli.context import say
from sdlc.cli.preflight import check_model, check_repository
from sdlc.cli.reading import print_json
from sdlc.cli.view import console, evidence_view
from sdlc.cli.watching import waits_for_people, watch
from sdlc.config import Settings
from sdlc.domain import ApprovalDecision, DecisionKind, RunRequest, RunState
from sdlc.errors import TicketNotFound, UsageError
from sdlc.progress import RunProgress
from sdlc.runtime.embedded import Embedded, embedded
from sdlc.runtime.runs import Runs


async def prepare(settings: Settings, ticket: Path | str, repo: str, *, base: str = "") -> RunRequest:
    """Look at everything that a person can have got wrong before anything is claimed.

    `ticket` is a Markdown file or a key of the tracker. Raises UsageError (also its kinds) or ServiceUnavailable.
    """
    from sdlc.integrations.local_tracker import LocalTracker

    tracker = LocalTracker(settings.tickets_dir)
    if isinstance(ticket, Path):
        key = await tracker.import_ticket(ticket)
    else:
        try:
            key = (await tracker.ticket(ticket)).key
        except TicketNotFound as error:
            raise UsageError(str(error)) from error
    origin = await check_repository(repo, base, say)
    await check_model(settings)
    return RunRequest(
        ticket_key=key,
        repository=origin,
        base_branch=base,
        starter=settings.run.starter,
        policy=settings.run_policy(),
    )


async def run_ticket(
    settings: Settings, ticket: Path, repo: str, *, base: str, auto_approve: bool, as_json: bool
) -> int:
    request = await prepare(settings, ticket, repo, base=base)
    async with _session(settings, request.ticket_key) as (house, runs):
        started = await runs.start(request.model_copy(update={"ui_url": house.ui_url}))
        if started.joined:
            say(f"{request.ticket_key} has a run already; going on with it.")
        return await drive(runs, request.ticket_key, house, auto_approve=auto_approve, as_json=as_json)


async def resume(settings: Settings, key: str, *, auto_approve: bool, as_json: bool) -> int:
    await check_model(settings)
    async with _session(settings, key) as (house, runs):
        return await drive(runs, key, house, auto_approve=auto_approve, as_json=as_json)


async def drive(runs: Runs, key: str, house: Embedded, *, auto_approve: bool, as_json: bool) -> int:
    """Watch a run, let people decide where they have to, and sum it up; the exit code."""
    interactive = sys.stdin.isatty() and sys.stderr.isatty()
    while True:
        progress = await watch(runs, key, until=waits_for_people)
        if progress.state.is_over:
            break
        if progress.state is RunState.AWAITING_APPROVAL:
            console(stderr=True).print(evidence_view(progress))
            if auto_approve:
                await _approve(runs, progress)
            elif interactive:
                await ask_about_approval(runs, progress)
            else:
                say(f"Decide with: sdlc approve {key} | sdlc request-changes {key} -m … | sdlc reject {key}")
        elif interactive:
            await ask_about_trouble(runs, progress)
        else:
            say(f"Answer with: sdlc retry {key} [-m INSTRUCTION] | sdlc waive {key} -m REASON | sdlc abort {key}")
            if auto_approve:
                # Nobody is there who could answer: the run keeps everything, and this command ends.
                say(f"The run is kept; `sdlc resume-run {key}` goes on with it.")
                break
        state = progress.state
        progress = await watch(runs, key, until=lambda now, state=state: now.state is not state, live=False)
    return await _sum_up(runs, progress, house, as_json=as_json)


async def _approve(runs: Runs, progress: RunProgress) -> None:
    head = progress.change.head_sha if progress.change else ""
    decision = ApprovalDecision(
        kind=DecisionKind.APPROVE,
        by=getpass.getuser(),
        head_sha=head,
        comment="approved by --auto-approve",
        source="cli",
        decision_id=uuid.uuid4().hex,
    )
    await runs.decide(progress.ticket_key, decision)


async def _sum_up(runs: Runs, progress: RunProgress, house: Embedded, *, as_json: bool) -> int:
    for line in summary.where_to_look(progress, house.ui_url, ui_stays=not house.owns_server):
        say(line)
    if as_json:
        print_json(summary.as_json(progress, await runs.history_size(progress.ticket_key)))
    return 0 if progress.state is RunState.CLOSED else 1


async def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Server and worker until a signal comes."""
    async with embedded(settings, say=say) as house:
        say(f"Temporal {house.address}" + (f", UI {house.ui_url}" if house.ui_url else ""))
        say("The worker is ready; `sdlc start KEY --repo PATH` starts a run. Ctrl-C stops.")
        await _until_stopped(house)


async def work(settings: Settings, say: Callable[[str], None]) -> None:
    """A worker alone until a signal comes."""
    from sdlc.runtime.client import connect
    from sdlc.runtime.services import build_services
    from sdlc.runtime.worker import build_worker

    client = await connect(settings)
    built = build_worker(client, build_services(settings))
    async with built:
        say(f"Worker for task queue {settings.temporal.task_queue} is ready.")
        await _signalled()


async def _until_stopped(house: Embedded) -> None:
    await house.until(_signalled())


async def _signalled() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


@asynccontextmanager
async def _session(settings: Settings, key: str) -> AsyncIterator[tuple[Embedded, Runs]]:
    """Embedded server and worker, and a word about how to go on when a person leaves."""
    try:
        async with embedded(settings, say=say) as house:
            runs = Runs(house.client, task_queue=settings.temporal.task_queue)
            yield house, runs
    except (KeyboardInterrupt, asyncio.CancelledError):
        say(f"\nThe run is kept; `sdlc resume-run {key}` or the next `sdlc dev` goes on with it.")
        raise
