"""`sdlc start workloop STEP`: an engine works on one thing until it is green, without a ticket or a pull request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from sdlc.cli.context import CONTEXT, log_file, say
from sdlc.cli.interrupts import Interrupted, wait_for
from sdlc.cli.output import print_json

if TYPE_CHECKING:
    from sdlc.alone import AloneResult
    from sdlc.config import Settings
    from sdlc.runtime.loops import Loop, Loops

LOOK_EVERY = 0.5
"""Seconds between two looks at a loop that is waited for."""


def start_work_loop(step: str, *, repo: str, base: str, instruction: str, wait: bool, as_json: bool) -> int:
    """Start a loop and return, or follow it to its end; the exit code, 0 if it ended green."""
    return wait_for(_started(CONTEXT.settings(), step, repo, base, instruction, wait=wait, as_json=as_json))


async def _started(
    settings: Settings, step: str, repo: str, base: str, instruction: str, *, wait: bool, as_json: bool
) -> int:
    from sdlc.cli.preflight import check_engine, check_model, check_repository
    from sdlc.runtime.client import connect, task_queue
    from sdlc.runtime.loops import Loops, loop_of

    loop_of(settings, step, repo, instruction, base=base)  # a wrong step is said before anything is looked at
    loop = loop_of(settings, step, await check_repository(repo, base, say), instruction, base=base)
    await check_model(settings)
    if wait:
        check_engine(settings)
        return await _in_foreground(settings, loop, as_json=as_json)
    started = await Loops(await connect(settings), task_queue=task_queue(settings)).start_loop(loop)
    if as_json:
        print_json({"key": loop.key, "workflow_id": started.workflow_id, "joined": started.joined})
    else:
        typer.echo(f"{loop.key}: {'joined the loop that is there' if started.joined else 'started'}.")
        typer.echo(f"`sdlc status`, `pause`, `resume`, `instruct` and `cancel` take {loop.key}.")
    return 0


def show_loop(key: str, *, follow_it: bool, as_json: bool) -> None:
    """Print where a loop stands, or, once it has ended, what it came to."""

    async def look() -> None:
        from sdlc.runtime.client import connect, task_queue
        from sdlc.runtime.loops import Loops

        settings = CONTEXT.settings()
        loops = Loops(await connect(settings), task_queue=task_queue(settings))
        if follow_it or not await loops.is_open(key):
            show_result(await follow(loops, key), as_json=as_json)
            return
        progress = await loops.loop_progress(key)
        print_json(progress) if as_json else typer.echo(progress_line(key, progress))

    wait_for(look())


async def _in_foreground(settings: Settings, loop: Loop, *, as_json: bool) -> int:
    """With a server and a worker of this process's care, as `sdlc run` has them."""
    from sdlc.cli.calling import this_command
    from sdlc.runtime.client import task_queue
    from sdlc.runtime.embedded import embedded
    from sdlc.runtime.loops import Loops
    from sdlc.runtime.telemetry import configure_logging

    configure_logging(settings, file=log_file(settings))
    try:
        async with embedded(settings, say=say) as house:
            loops = Loops(house.client, task_queue=task_queue(settings))
            if (await loops.start_loop(loop)).joined:
                say(f"{loop.key} is at work already; going on with it.")
            return show_result(await follow(loops, loop.key), as_json=as_json)
    except (Interrupted, asyncio.CancelledError):
        say(f"{loop.key} is kept; the same command, or the next `{this_command(settings)} dev`, goes on with it.")
        raise


async def follow(loops: Loops, key: str) -> AloneResult:
    """Say what changes until the loop ends. A server or worker that does not answer is waited for, and said."""
    from sdlc.cli.view import trouble_line
    from sdlc.errors import ServiceUnavailable

    told = ""
    while True:
        try:
            is_open = await loops.is_open(key)
            line = progress_line(key, await loops.loop_progress(key))
            line += "".join(f"\nTrying again: {trouble_line(trouble)}" for trouble in await loops.troubles(key))
        except ServiceUnavailable:
            is_open, line = True, "The server or its worker does not answer; waiting for it …"
        if line != told:
            told = line
            say(line)
        if not is_open:
            return await loops.loop_result(key)
        await asyncio.sleep(LOOK_EVERY)


def progress_line(key: str, progress: dict[str, Any]) -> str:
    from sdlc.naming import counted

    state = progress["state"]
    shown = f"paused; `sdlc resume {key}` lets it go on" if state == "paused" else state
    return f"{key}: {shown}, iteration {progress['iterations']}, {counted(progress.get('turns', 0), 'turn')}"


def show_result(result: AloneResult, *, as_json: bool) -> int:
    """Print what a loop came to; the exit code, 0 if there is a branch and its tests are green."""
    from sdlc.cli.view import plain
    from sdlc.naming import counted

    green = bool(result.branch) and result.tests is not None and result.tests.is_green
    if as_json:
        print_json(result)
    else:
        if result.branch:
            typer.echo(f"Branch {result.branch} at {result.change.head_sha[:12]} in {plain(result.url)}")
        else:
            typer.echo("There is no branch.")
        if result.tests is not None:
            tests = result.tests
            typer.echo(
                f"{tests.kind.value} tests: {tests.outcome.value.replace('_', ' ')}, "
                f"{tests.passed} passed, {len(tests.new_failures)} failed"
            )
        cost = "unknown" if result.usage.usd is None else f"{result.usage.usd:.2f} USD"
        effort = f"{counted(result.iterations, 'iteration')}, {counted(result.turns, 'turn')}"
        typer.echo(f"Ended: {result.ended}, {effort}, cost {cost}")
        if result.reason:
            typer.echo(plain(result.reason))
    return 0 if green else 1
