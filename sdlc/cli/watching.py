"""Following a run: a live table at a terminal, a line for each change elsewhere. Survives a server that restarts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from rich.live import Live
from rich.text import Text

from sdlc.cli.context import say
from sdlc.cli.view import console, plain, progress_view, step_line, trouble_line
from sdlc.domain import RunState
from sdlc.errors import ServiceUnavailable
from sdlc.progress import RunProgress, StepProgress, StepState
from sdlc.runtime.runs import Look, Runs

LOOK_EVERY = 0.3
"""Seconds. A query costs a worker about a millisecond."""

_UNCHANGED_SECONDS = 2.0
"""After a decision the run takes this long at most to go on, unless more decisions are needed."""

_LONG_SECONDS = 5.0
"""A step at work is worth a line of its own after this; most are over before."""

_NO_ANSWER = "The server or its worker does not answer; waiting for it …"


_told: set[tuple[str, ...]] = set()
"""What this process has printed: a run that is watched again is not told from the start."""

Until = Callable[[RunProgress], bool]


def is_over(progress: RunProgress) -> bool:
    return progress.state.is_over


def waits_for_people(progress: RunProgress) -> bool:
    return progress.state.is_over or progress.state in (
        RunState.AWAITING_APPROVAL,
        RunState.AWAITING_MERGE,
        RunState.NEEDS_ATTENTION,
    )


async def watch(runs: Runs, key: str, *, until: Until = is_over, live: bool | None = None) -> RunProgress:
    """Show a run until `until` says so; returns the progress that it said so of.

    Raises RunNotFound. A server or worker that does not answer is waited for, and said.
    """

    at_terminal = (sys.stderr.isatty() and os.environ.get("TERM") != "dumb") if live is None else live
    return await (_watch_live(runs, key, until) if at_terminal else _watch_lines(runs, key, until))


async def until_it_goes_on(runs: Runs, waiting: RunProgress, *, decided: bool = False) -> None:
    """Until a run that waits for people does so no longer. With `decided`, says so if that was not enough."""
    looks = 0
    while True:
        look = await _look(runs, waiting.ticket_key)
        if look is not None and look.progress.state is not waiting.state:
            return
        looks += 1
        if decided and looks * LOOK_EVERY > _UNCHANGED_SECONDS:
            decided = False
            say("That counts, and the run still waits for more approvals.")
        await asyncio.sleep(LOOK_EVERY)


async def _watch_live(runs: Runs, key: str, until: Until) -> RunProgress:
    # Drawn when something has changed, and once a second for the times.
    with Live(Text("Waiting for the run …", "dim"), console=console(stderr=True), auto_refresh=False) as screen:
        drawn: tuple[object, ...] = ()
        while True:
            look = await _look(runs, key)
            now = datetime.now(UTC)
            if drawn != (look, now.replace(microsecond=0)):
                drawn = (look, now.replace(microsecond=0))
                view = progress_view(look.progress, look.troubles, now=now) if look else Text(_NO_ANSWER, "yellow")
                screen.update(view, refresh=True)
            if look is not None and until(look.progress):
                return look.progress
            await asyncio.sleep(LOOK_EVERY)


async def _watch_lines(runs: Runs, key: str, until: Until) -> RunProgress:
    def tell(text: str, *what: object) -> None:
        told = (key, *map(str, what or (text,)))
        if told not in _told:
            _told.add(told)
            say(text)

    while True:
        look = await _look(runs, key)
        if look is None:
            tell(_NO_ANSWER)
        else:
            progress = look.progress
            for step in sorted(progress.steps, key=lambda one: (one.ended is None, one.ended, one.number)):
                if step.attempts and (step.state is not StepState.RUNNING or _takes_long(step)):
                    tell(step_line(step), step.name, step.attempts, step.state, step.result)
            for trouble in look.troubles:
                tell(f"Trying again: {trouble_line(trouble)}", trouble.activity, trouble.attempt, trouble.message)
            for warning in progress.warnings:
                tell(f"Note: {plain(warning)}")
            if progress.waits_for:
                tell(f"Waits for {plain(progress.waits_for)}", progress.waits_for, progress.revisions)
            if until(progress):
                return progress
        await asyncio.sleep(LOOK_EVERY)


def _takes_long(step: StepProgress) -> bool:
    return step.started is not None and (datetime.now(UTC) - step.started).total_seconds() > _LONG_SECONDS


async def _look(runs: Runs, key: str) -> Look | None:
    try:
        return await runs.look(key)
    except ServiceUnavailable:
        return None
