"""`sdlc serve`: the web inbox, webhooks in, deliveries to Temporal, and the schedules."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from sdlc.cli.context import CONTEXT, say
from sdlc.cli.interrupts import Signals, wait_for

if TYPE_CHECKING:
    from temporalio.client import Client

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
    """Show the web inbox, and take webhooks of Jira and GitHub.

    A worker does what is asked for: `sdlc dev` or `sdlc worker`. With --poll no inbound traffic is needed.
    """
    settings = CONTEXT.settings()
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    wait_for(_serve(settings.model_copy(update={"web": settings.web.model_copy(update=given)}), poll=poll))


async def _serve(settings: Settings, *, poll: bool) -> None:
    from sdlc.runtime.client import connect, task_queue
    from sdlc.runtime.deliveries import Deliveries
    from sdlc.runtime.telemetry import configure_logging
    from sdlc.web.webhooks import webhooks_of

    configure_logging(settings)
    stop = asyncio.Event()
    Signals(stop.set)  # here a signal is the usual end, and no failure
    deliveries = Deliveries(lambda: connect(settings), task_queue(settings), answer_seconds=settings.web.answer_seconds)
    async with web_pages(settings, deliveries) as root:
        say(f"Listening on {root}. Ctrl-C stops.")
        say_the_way_in(settings, root)
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


@contextlib.asynccontextmanager
async def web_pages(settings: Settings, deliveries: Deliveries, *, or_free: bool = False) -> AsyncIterator[str]:
    """Serve everything of the web while the block runs, and give its root. `or_free`: at a free port if `web.port` is
    taken. Raises ConfigurationError."""
    from sdlc.errors import ConfigurationError
    from sdlc.web.app import create_app
    from sdlc.web.gateway import Gateway
    from sdlc.web.server import listening

    app = create_app(settings, deliveries, Gateway(deliveries.connection, settings))
    async with contextlib.AsyncExitStack() as stack:
        try:
            root = await stack.enter_async_context(listening(app, settings.web.host, settings.web.port))
        except ConfigurationError as error:
            if not (or_free and isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE):
                raise
            root = await stack.enter_async_context(listening(app, settings.web.host, 0))
        try:
            yield root
        finally:
            app.state.streams.close()


def say_the_way_in(settings: Settings, root: str) -> None:
    from sdlc.web.sign_in.tokens import sign_in_link

    link = sign_in_link(settings, root)
    say(f"Web inbox: {link or settings.web.url or root}")


async def arrange_digest(settings: Settings, client: Client) -> None:
    """Our task queue's schedule of the daily digest as the configuration wants it. Raises ServiceUnavailable."""
    from sdlc.errors import PermissionDenied
    from sdlc.runtime.client import task_queue
    from sdlc.runtime.digest import ensure_digest_schedule, remove_digest_schedule

    digest, queue = settings.notify.digest, task_queue(settings)
    try:
        if digest.enabled:
            await ensure_digest_schedule(client, task_queue=queue, at=digest.at, zone=digest.zone)
        else:
            await remove_digest_schedule(client, task_queue=queue)
    except PermissionDenied as error:
        say(f"The schedule of the daily digest stays as it is: {error}")


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
            await arrange_digest(settings, await deliveries.client())
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
