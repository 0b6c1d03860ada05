"""Runs in the foreground: prepared, watched, decided, summed up."""

from __future__ import annotations

import asyncio
import getpass
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from sdlc.cli import summary
from sdlc.cli.asking import ask_about_approval, ask_about_trouble
from sdlc.cli.context import say
from sdlc.cli.preflight import check_model, check_repository
from sdlc.cli.reading import print_json
from sdlc.cli.view import console, evidence_view
from sdlc.cli.watching import until_it_goes_on, waits_for_people, watch
from sdlc.config import Settings, default_data_dir
from sdlc.domain import ApprovalDecision, DecisionKind, RunRequest, RunState
from sdlc.errors import TicketNotFound, UsageError
from sdlc.progress import RunProgress
from sdlc.runtime.client import configured_address, connect, ensure_search_attributes, task_queue
from sdlc.runtime.dev_server import running_server
from sdlc.runtime.embedded import embedded, running
from sdlc.runtime.runs import Runs
from sdlc.runtime.services import build_services
from sdlc.runtime.telemetry import configure_logging
from sdlc.runtime.worker import build_worker


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


@dataclass(frozen=True)
class Session:
    """A server, a worker in this process, and the runs on them."""

    runs: Runs
    client: Client
    ui_url: str
    ui_stays: bool
    """The server was there before and outlives this command."""
    command: str
    """How `sdlc` is called for the same data folder."""


async def run_ticket(
    settings: Settings, ticket: Path, repo: str, *, base: str, auto_approve: bool, as_json: bool
) -> int:
    """One run from a ticket file to its end; the exit code."""
    request = await prepare(settings, ticket, repo, base=base)
    async with _session(settings, request.ticket_key) as session:
        if await start_run(settings, session.client, request, ui_url=session.ui_url):
            say(f"{request.ticket_key} has a run already; going on with it.")
        return await _drive(session, request.ticket_key, auto_approve=auto_approve, as_json=as_json)


async def resume(settings: Settings, key: str, *, auto_approve: bool, as_json: bool) -> int:
    """Go on with a run that was left; the exit code."""
    await check_model(settings)
    async with _session(settings, key) as session:
        return await _drive(session, key, auto_approve=auto_approve, as_json=as_json)


async def start_run(settings: Settings, client: Client, request: RunRequest, *, ui_url: str = "") -> bool:
    """Start a run with what this server can do; True if it joined one that was there."""
    # The embedded server is started with our search attributes; any other is asked to take them.
    takes_ours = await ensure_search_attributes(client) if configured_address(settings) else True
    fitted = request.model_copy(update={"ui_url": ui_url, "search_attributes": takes_ours})
    return (await Runs(client, task_queue=task_queue(settings)).start(fitted)).joined


async def _drive(session: Session, key: str, *, auto_approve: bool, as_json: bool) -> int:
    """Watch a run, let people decide where they have to, and sum it up; the exit code."""
    runs = session.runs
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
        await until_it_goes_on(runs, progress)
    return await _sum_up(session, progress, as_json=as_json)


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


async def _sum_up(session: Session, progress: RunProgress, *, as_json: bool) -> int:
    for line in summary.where_to_look(progress, session.ui_url, ui_stays=session.ui_stays, command=session.command):
        say(line)
    if as_json:
        print_json(summary.as_json(progress, await session.runs.history_size(progress.ticket_key)))
    return 0 if progress.state is RunState.CLOSED else 1


async def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Server and worker until a signal comes."""
    configure_logging(settings, file=log_file(settings))
    async with embedded(settings, say=say) as house:
        where = house.server.address if house.server else configured_address(settings)
        say(f"Temporal {where}" + (f", UI {house.ui_url}" if house.ui_url else ""))
        say(f"The worker is ready, its log is {log_file(settings)}.")
        say("`sdlc start KEY --repo PATH` in another terminal starts a run. Ctrl-C stops; runs are kept.")
        await _signalled()


async def work(settings: Settings, say: Callable[[str], None]) -> None:
    """A worker alone until a signal comes."""
    configure_logging(settings)
    client = await connect(settings)
    async with running(build_worker(client, build_services(settings))):
        say(f"The worker for task queue {task_queue(settings)} is ready.")
        await _signalled()


async def _signalled() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def log_file(settings: Settings) -> Path:
    return settings.data_dir / "sdlc.log"


@asynccontextmanager
async def _session(settings: Settings, key: str) -> AsyncIterator[Session]:
    """Embedded server and worker, and a word about how to go on when a person leaves."""
    configure_logging(settings, file=log_file(settings))
    command = "sdlc" if settings.data_dir == default_data_dir() else f"sdlc --data-dir {settings.data_dir}"
    ui_stays = bool(configured_address(settings)) or running_server(settings) is not None
    try:
        async with embedded(settings, say=say) as house:
            runs = Runs(house.client, task_queue=task_queue(settings))
            yield Session(runs, house.client, house.ui_url, ui_stays, command)
    except (KeyboardInterrupt, asyncio.CancelledError):
        say(f"\nThe run is kept; `{command} resume-run {key}` or the next `{command} dev` goes on with it.")
        raise
