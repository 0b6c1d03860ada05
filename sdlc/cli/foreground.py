"""Runs in the foreground: prepared, watched, decided, summed up."""

from __future__ import annotations

import asyncio
import getpass
import logging
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from sdlc.cli import summary
from sdlc.cli.asking import ask_about_approval, ask_about_trouble
from sdlc.cli.calling import this_command
from sdlc.cli.context import log_file, say
from sdlc.cli.demo_model import model_of_a_demo
from sdlc.cli.interrupts import Interrupted, Signals
from sdlc.cli.output import print_json
from sdlc.cli.preflight import check_engine, check_model, prepare, say_what_is_unchecked
from sdlc.cli.serving import arrange_digest, say_the_way_in, web_pages
from sdlc.cli.view import evidence_view, show
from sdlc.cli.watching import until_it_goes_on, waits_for_people, watch
from sdlc.config import Settings
from sdlc.domain import ApprovalDecision, DecisionKind, RunRequest, RunState
from sdlc.errors import FinalError, ServiceUnavailable, UsageError
from sdlc.progress import RunProgress
from sdlc.runtime.client import configured_address, connect, ensure_search_attributes, task_queue
from sdlc.runtime.deliveries import Deliveries
from sdlc.runtime.dev_server import running_server
from sdlc.runtime.embedded import embedded, running
from sdlc.runtime.runs import Runs
from sdlc.runtime.services import build_services
from sdlc.runtime.telemetry import configure_logging
from sdlc.runtime.worker import build_worker
from sdlc.web.pages.addresses import link_maker


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
    check_engine(settings)
    say_what_is_unchecked(settings, say)
    request = await prepare(settings, ticket, repo, base=base)
    async with _session(settings, request.ticket_key) as session:
        if await start_run(settings, session.client, request, ui_url=session.ui_url):
            say(f"{request.ticket_key} has a run already; going on with it.")
        return await _drive(session, request.ticket_key, auto_approve=auto_approve, as_json=as_json)


async def resume(settings: Settings, key: str, *, auto_approve: bool, as_json: bool) -> int:
    """Go on with a run that was left; the exit code."""
    async with model_of_a_demo(settings) as equipped:
        await check_model(equipped)
        check_engine(equipped)
        async with _session(equipped, key) as session:
            return await _drive(session, key, auto_approve=auto_approve, as_json=as_json)


async def start_run(settings: Settings, client: Client, request: RunRequest, *, ui_url: str = "") -> bool:
    """Start a run with what this server can do; True if it joined one that was there."""
    # The embedded server is started with our search attributes; any other is asked to take them.
    takes_ours = await ensure_search_attributes(client) if configured_address(settings) else True
    fitted = request.model_copy(update={"ui_url": ui_url or request.ui_url, "search_attributes": takes_ours})
    return (await Runs(client, task_queue=task_queue(settings)).start(fitted)).joined


async def _drive(session: Session, key: str, *, auto_approve: bool, as_json: bool) -> int:
    """Watch a run, let people decide where they have to, and sum it up; the exit code."""
    runs, command = session.runs, session.command
    interactive = sys.stdin.isatty() and sys.stderr.isatty()
    while True:
        progress = await watch(runs, key, until=waits_for_people)
        if progress.state.is_over:
            break
        if progress.state is RunState.AWAITING_APPROVAL:
            _show_evidence(progress)
            if auto_approve:
                await _approve(session, progress)
            elif interactive:
                await ask_about_approval(runs, progress)
            else:
                choices = (
                    f"{command} approve {key}",
                    f"{command} request-changes {key} -m …",
                    f"{command} reject {key}",
                )
                say(f"Decide with: {' | '.join(choices)}")
        elif progress.state is RunState.AWAITING_MERGE:
            where = progress.pull_request.url if progress.pull_request else "its pull request"
            say(f"Approved. It is done once somebody has merged {where}.")
        elif interactive and not auto_approve:
            await ask_about_trouble(runs, progress)
        else:
            waive = [f"{command} waive {key} -m REASON"] if "waive" in progress.waits_for else []
            answers = (f"{command} retry {key}", *waive, f"{command} abort {key}")
            if auto_approve:
                # Nobody is there who could answer: the run keeps everything, and this command ends.
                say(_is_kept(command, key))
                say(f"While `{command} dev` runs, answer with: {' | '.join(answers)}")
                break
            say(f"Answer with: {' | '.join(answers)}")
        await until_it_goes_on(runs, progress, decided=auto_approve or interactive)
    return await _sum_up(session, progress, as_json=as_json)


def _show_evidence(progress: RunProgress) -> None:
    say("")
    show(evidence_view(progress), stderr=True)
    for line in summary.where_the_change_is(progress):
        say(line)


async def _approve(session: Session, progress: RunProgress) -> None:
    key = progress.ticket_key
    decision = ApprovalDecision(
        kind=DecisionKind.APPROVE,
        by=getpass.getuser(),
        head_sha=progress.change.head_sha if progress.change else "",
        comment="approved by --auto-approve",
        source="cli",
        decision_id=uuid.uuid4().hex,
    )
    try:
        await session.runs.decide(key, decision)
    except UsageError as error:
        # Not wrong use: the run's own rules keep this person from deciding, and asking again would not help.
        raise ApprovalRefused(
            f"--auto-approve was refused: {error} The run waits; another person can "
            f"`{session.command} approve {key}` while `{session.command} dev` runs."
        ) from error


class ApprovalRefused(FinalError):
    pass


async def _sum_up(session: Session, progress: RunProgress, *, as_json: bool) -> int:
    for line in summary.where_to_look(
        progress,
        ui_url=session.ui_url,
        namespace=session.client.namespace,
        ui_stays=session.ui_stays,
        command=session.command,
    ):
        say(line)
    if as_json:
        print_json(summary.as_json(progress, await session.runs.history_size(progress.ticket_key)))
    return 0 if progress.state is RunState.CLOSED else 1


def _log_to_file(settings: Settings) -> None:
    configure_logging(settings, file=log_file(settings))
    # A workflow that leaves a worker's memory is taken apart by Python, which prints what its generators say to that.
    log = logging.getLogger("sdlc.cli")
    sys.unraisablehook = lambda what: log.debug("left over: %s", what.object, exc_info=what.exc_value)


async def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Server, worker and web inbox until a signal comes."""
    _log_to_file(settings)
    command = this_command(settings)
    async with (
        model_of_a_demo(settings) as equipped,
        embedded(equipped, say=say, worker=False) as house,
        web_pages(equipped, Deliveries(house.client, task_queue(equipped)), or_free=True) as root,
        _worker(equipped, house.client, root),
    ):
        await arrange_digest(equipped, house.client)
        where = house.server.address if house.server else configured_address(settings)
        say(f"Temporal {where}" + (f", UI {house.ui_url}" if house.ui_url else ""))
        say_the_way_in(equipped, root)
        say(f"The worker is ready, its log is {log_file(settings)}.")
        say(f"`{command} start KEY --repo PATH` in another terminal starts a run. Ctrl-C stops; runs are kept.")
        await _signalled()


async def work(settings: Settings, say: Callable[[str], None]) -> None:
    """A worker alone until a signal comes."""
    configure_logging(settings)
    async with _worker(settings, await connect(settings)):
        say(f"The worker for task queue {task_queue(settings)} is ready.")
        await _signalled()


@asynccontextmanager
async def _worker(settings: Settings, client: Client, root: str = "") -> AsyncIterator[None]:
    """A worker in this process; `root` is where the pages are that its messages lead to, if there is no `web.url`."""
    services = build_services(settings, link_for=link_maker(settings, root))
    try:
        async with running(build_worker(client, services)):
            yield
    finally:
        await services.models.close()


async def _signalled() -> None:
    """Here a signal is the usual end, and no failure."""
    stop = asyncio.Event()
    Signals(stop.set)
    await stop.wait()
    say("Stopping; what is in hand is finished or given back, runs are kept.")


@asynccontextmanager
async def _session(settings: Settings, key: str) -> AsyncIterator[Session]:
    """Embedded server and worker, and a word about how to go on when a person leaves or the world fails."""
    _log_to_file(settings)
    command = this_command(settings)
    ui_stays = bool(configured_address(settings)) or running_server(settings) is not None
    entered = False
    try:
        async with embedded(settings, say=say, worker=False) as house, _worker(settings, house.client):
            runs = Runs(house.client, task_queue=task_queue(settings))
            entered = True
            try:
                yield Session(runs, house.client, house.ui_url, ui_stays, command)
            except (Interrupted, asyncio.CancelledError):
                say("\nStopping; the worker finishes or gives back what it has in hand (30 s at most) …")
                raise
    except (Interrupted, asyncio.CancelledError):
        if entered:
            say(_is_kept(command, key))
        raise
    except ServiceUnavailable as error:
        raise ServiceUnavailable(f"{error} {_is_kept(command, key)}" if entered else str(error)) from error


def _is_kept(command: str, key: str) -> str:
    return f"The run is kept; `{command} resume-run {key}` or the next `{command} dev` goes on with it."
