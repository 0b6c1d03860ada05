"""Following a run: a live table at a terminal, a line for each change elsewhere. Survives a server that restarts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence

from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from sdlc.cli.context import say
from sdlc.cli.view import console, progress_view, step_line, trouble_line
from sdlc.domain import RunState
from sdlc.errors import ServiceUnavailable
from sdlc.progress import RunProgress, StepState
from sdlc.runtime.runs import Runs, Trouble

LOOK_EVERY = 0.3
"""Seconds. A query costs a worker about a millisecond."""

_told: set[tuple[str, str]] = set()
"""Lines that this process has printed: a run that is watched again is not told from the start."""

Until = Callable[[RunProgress], bool]


def is_over(progress: RunProgress) -> bool:
    return progress.state.is_over


def waits_for_people(progress: RunProgress) -> bool:
    return progress.state.is_over or progress.state in (RunState.AWAITING_APPROVAL, RunState.NEEDS_ATTENTION)


async def watch(runs: Runs, key: str, *, until: Until = is_over, live: bool | None = None) -> RunProgress:
    """Show a run until `until` says so; returns the progress that it said so of.

    Raises RunNotFound. A server or worker that does not answer is waited for, and said.
    """
    at_terminal = sys.stderr.isatty() if live is None else live
    return await (_watch_live(runs, key, until) if at_terminal else _watch_lines(runs, key, until))


async def until_it_goes_on(runs: Runs, waiting: RunProgress) -> None:
    """Until a run that waits for people does so no longer. Says nothing."""
    while True:
        progress, _ = await _look(runs, waiting.ticket_key)
        if progress is not None and progress.state is not waiting.state:
            return
        await asyncio.sleep(LOOK_EVERY)


async def _watch_live(runs: Runs, key: str, until: Until) -> RunProgress:
    shown: RenderableType = Text("Waiting for the run …", "dim")
    with Live(shown, console=console(stderr=True), refresh_per_second=8, transient=False) as screen:
        while True:
            progress, troubles = await _look(runs, key)
            if progress is None:
                screen.update(Text("The server or its worker does not answer; waiting for it …", "yellow"))
            else:
                screen.update(progress_view(progress, troubles))
                if until(progress):
                    return progress
            await asyncio.sleep(LOOK_EVERY)


async def _watch_lines(runs: Runs, key: str, until: Until) -> RunProgress:
    def tell(text: str) -> None:
        if (key, text) not in _told:
            _told.add((key, text))
            say(text)

    while True:
        progress, troubles = await _look(runs, key)
        if progress is None:
            tell("The server or its worker does not answer; waiting for it …")
        else:
            for step in progress.steps:
                if step.attempts and step.state is not StepState.RUNNING:
                    tell(step_line(step))
            for trouble in troubles:
                tell(f"Trying again: {trouble_line(trouble)}")
            if progress.waits_for:
                tell(f"Waits for {progress.waits_for}")
            if until(progress):
                return progress
        await asyncio.sleep(LOOK_EVERY)


async def _look(runs: Runs, key: str) -> tuple[RunProgress | None, Sequence[Trouble]]:
    try:
        progress = await runs.progress(key)
        return progress, [] if progress.state.is_over else await runs.troubles(key)
    except ServiceUnavailable:
        return None, []
