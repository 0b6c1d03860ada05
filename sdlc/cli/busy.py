"""What takes longer than a person likes to wait without a word says what it does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator

from sdlc.cli.context import say

AFTER = 2.0
"""Seconds; what is done before needs no word."""


def at_terminal() -> bool:
    """Can a line on standard error be drawn anew?"""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextlib.asynccontextmanager
async def busy(doing: str) -> AsyncIterator[None]:
    """Once the block has taken 2 s, `doing` is said: by a line that moves at a terminal, elsewhere by a plain one."""
    saying = asyncio.create_task(_said(doing))
    try:
        yield
    finally:
        saying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await saying


async def _said(doing: str) -> None:
    await asyncio.sleep(AFTER)
    if not at_terminal():
        say(f"{doing} …")
        return
    from rich.text import Text

    from sdlc.cli.view import console

    with console(stderr=True).status(Text(f"{doing} …")):
        await asyncio.Event().wait()
