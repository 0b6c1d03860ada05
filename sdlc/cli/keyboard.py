"""Lines that a person types, read by the event loop: a question can be taken back at any moment, and Ctrl-C is heard.

A thread in `input()` can do neither, and would keep the process until somebody presses Enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
import termios
from collections.abc import Iterator, Sequence

from rich.text import Text

from sdlc.cli.view import console

_PASTED_SECONDS = 0.05
"""What a terminal sends within this belongs to one paste."""


async def ask(question: str) -> str | None:
    """A line of text, or several that were pasted at once, joined; None at the end of input (Ctrl-D)."""
    console(stderr=True).print(Text.assemble((question, "bold"), ": "), end="")
    lines = [await _line()]
    while lines[-1] is not None and select.select([sys.stdin], [], [], _PASTED_SECONDS)[0]:
        lines.append(await _line())
    if lines[0] is None:
        console(stderr=True).print()
        return None
    return "\n".join(line for line in lines if line is not None).strip()


async def ask_secret(question: str) -> str | None:
    """The same for what nobody shall read over the shoulder: it is not shown while it is typed."""
    with _unseen():
        answer = await ask(question)
    console(stderr=True).print()
    return answer


@contextlib.contextmanager
def _unseen() -> Iterator[None]:
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


async def choose(question: str, choices: Sequence[str]) -> str | None:
    """One of the choices, which may be typed in short; None at the end of input. Asks until it is one."""
    _forget_what_was_typed()
    while True:
        answer = await ask(f"{question} ({', '.join(choices)})")
        if answer is None:
            return None
        found = [choice for choice in choices if answer and choice.startswith(answer.lower())]
        if len(found) == 1:
            return found[0]
        console(stderr=True).print(Text(f"Please type one of {', '.join(choices)}; the first letter will do."))


def _forget_what_was_typed() -> None:
    """Keys that were pressed while a run was watched are no decision."""
    with contextlib.suppress(termios.error, OSError):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


async def _line() -> str | None:
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[str | None] = loop.create_future()
    terminal = sys.stdin.fileno()

    def ready() -> None:
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # the terminal was closed
            data = b""
        if not typed.done():
            typed.set_result(data.decode("utf-8", "replace").rstrip("\r\n") if data else None)

    loop.add_reader(terminal, ready)
    try:
        return await typed
    finally:
        loop.remove_reader(terminal)
