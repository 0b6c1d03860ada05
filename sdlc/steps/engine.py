"""Step 2 by a program of others: one activity, which a successor takes up where its heartbeats left it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from temporalio import activity

from sdlc.activities import RUN_ENGINE, EngineRequest, EngineResult
from sdlc.engines.command_launch import Engine
from sdlc.engines.command_line import CommandLineRun, Progress
from sdlc.engines.programs.registry import package_of, program_of
from sdlc.integrations.engine_installs import Installations

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.integrations.services import Services

BEAT = 2.0
"""Seconds between heartbeats: what they carry is what a successor begins with."""
_TO_FINISH_IN = 120.0
"""Of the time that Temporal gives: for the last checkpoint and the commit."""


class EngineSteps:
    def __init__(
        self, services: Services, redact: Callable[[str], str], *, find: Callable[[Settings, str], Engine] | None = None
    ) -> None:
        """`redact` takes the worker's secrets, and what looks like one, out of a text. `find` gives the program of an
        engine's name; by default one of ours that is installed."""
        self._services = services
        self._redact = redact
        self._find = find or installed

    def activities(self) -> Sequence[Callable[..., Any]]:
        """What a worker registers."""
        return [self.run_engine]

    @activity.defn(name=RUN_ENGINE.name)
    async def run_engine(self, request: EngineRequest) -> EngineResult:
        """Run a program until it ends, is stopped, or this worker shuts down; see `CommandLineRun.result`.

        Its heartbeats carry a `Progress`. A cancellation gives the result `interrupted`, with the work so far.
        """
        inside = activity.in_activity()
        engine = await asyncio.to_thread(self._find, self._services.settings, request.engine)
        run = CommandLineRun(
            self._services,
            request,
            engine,
            self._redact,
            before=(earlier(activity.info().heartbeat_details) if inside else None) or _of_checkpoint(request),
            most_seconds=_most_seconds() if inside else None,
            handing_over=_handing_over,
        )
        async with _heartbeats_of(run):
            return await run.result()


def installed(settings: Settings, name: str) -> Engine:
    """The program of an engine's name. Raises EngineUnusable if it isn't installed, ConfigurationError."""
    program, package = program_of(name, settings.engine), package_of(name)
    if package is None:
        return Engine(program)
    version = settings.engine.version if name == settings.engine.name else ""
    return Engine(program, Installations(settings.cache_dir).find(package, version))


def earlier(details: Sequence[Any]) -> Progress | None:
    """What the last heartbeat of an earlier attempt says; None if there is none that can be read."""
    try:
        return Progress.model_validate(details[0]) if details else None
    except ValidationError:
        return None


def _of_checkpoint(request: EngineRequest) -> Progress | None:
    """What was left behind by an activity that could not answer any more."""
    return Progress(head_sha=request.checkpoint, seconds=0.001) if request.checkpoint else None


def _handing_over() -> bool:
    """Is this activity cancelled so that another attempt goes on with it?"""
    if not activity.in_activity():
        return False
    details = activity.cancellation_details()
    if details is not None and details.cancel_requested:
        return False  # the workflow waits for an answer, and the server would not try again
    return activity.is_worker_shutdown() or (details is not None and (details.paused or details.reset))


def _most_seconds() -> float | None:
    limit = activity.info().start_to_close_timeout
    return limit.total_seconds() - min(_TO_FINISH_IN, limit.total_seconds() / 10) if limit else None


@asynccontextmanager
async def _heartbeats_of(run: CommandLineRun) -> AsyncIterator[None]:
    """Tell how far it has come for as long as the block runs, and once more at its end, however that is."""
    if not activity.in_activity():
        yield
        return
    limit = activity.info().heartbeat_timeout
    pause = min(BEAT, limit.total_seconds() / 4) if limit else BEAT

    async def beat() -> None:
        while True:
            _tell(run)
            await asyncio.sleep(pause)

    beating = asyncio.create_task(beat(), name="engine heartbeats")
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait([beating])
        _tell(run)


def _tell(run: CommandLineRun) -> None:
    activity.heartbeat(run.progress.model_dump(mode="json"))
