"""`sdlc serve`: webhooks in, deliveries to Temporal, and the schedule that finds what webhooks miss."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from sdlc.cli.context import CONTEXT, say
from sdlc.cli.interrupts import Signals, wait_for

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.runtime.deliveries import Deliveries

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)


def serve(
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on; default: web.host.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65_535, help="0 picks a free one; default: web.port.")
    ] = None,
    poll: Annotated[bool, typer.Option("--poll", help="Also look regularly for what webhooks have missed.")] = False,
) -> None:
    """Take webhooks of Jira and GitHub.

    A worker does what they ask for: `sdlc dev` or `sdlc worker`. With --poll no inbound traffic is needed.
    """
    settings = CONTEXT.settings()
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    wait_for(_serve(settings.model_copy(update={"web": settings.web.model_copy(update=given)}), poll=poll))


async def _serve(settings: Settings, *, poll: bool) -> None:
    from sdlc.runtime.client import connect, task_queue
    from sdlc.runtime.deliveries import Deliveries
    from sdlc.runtime.telemetry import configure_logging
    from sdlc.web.app import create_app
    from sdlc.web.server import listening
    from sdlc.web.webhooks import webhooks_of

    configure_logging(settings)
    stop = asyncio.Event()
    Signals(stop.set)  # here a signal is the usual end, and no failure
    deliveries = Deliveries(lambda: connect(settings), task_queue(settings), answer_seconds=settings.web.answer_seconds)
    async with listening(create_app(settings, deliveries), settings.web.host, settings.web.port) as root:
        say(f"Listening on {root}. Ctrl-C stops.")
        for webhook in webhooks_of(settings):
            say(f"{webhook.path} is off: {webhook.off}." if webhook.off else f"{webhook.path} is on.")
        if not poll:
            say("What webhooks miss stays unseen; --poll looks for it.")
        reaching = asyncio.create_task(_reach(settings, deliveries, poll=poll))
        try:
            await _first_of(stop, reaching)
        finally:
            reaching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reaching
            await deliveries.close()
    say("Stopped.")


async def _first_of(stop: asyncio.Event, reaching: asyncio.Task[None]) -> None:
    """Until a signal comes. A failure of the task is raised; its success changes nothing."""
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({stopped, reaching}, return_when=asyncio.FIRST_COMPLETED)
        if reaching.done():
            reaching.result()
        await stopped
    finally:
        stopped.cancel()


async def _reach(settings: Settings, deliveries: Deliveries, *, poll: bool) -> None:
    """Connect before the first delivery has to wait for it, and make the schedule; until Temporal is there."""
    from temporalio.service import RPCError

    from sdlc.errors import SdlcError

    pause, told = _FIRST_PAUSE, ""
    while True:
        try:
            if poll:
                await _schedule(settings, deliveries)
            else:
                await deliveries.client()
        except (SdlcError, RPCError, TimeoutError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            if reason != told:
                say(f"Temporal is not there yet, it is tried again: {reason}")
            told = reason
        else:
            break
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    say("Temporal is there." if not poll else f"Temporal is there; polling every {settings.intake.poll_seconds:g} s.")


async def _schedule(settings: Settings, deliveries: Deliveries) -> None:
    from sdlc.runtime.client import task_queue
    from sdlc.runtime.polling import ensure_poll_schedule

    client = await deliveries.client()
    await ensure_poll_schedule(client, task_queue=task_queue(settings), every_seconds=settings.intake.poll_seconds)
