"""Leaving in good order: the first Ctrl-C (or SIGTERM, or a terminal that closes) ends a command with all tidied up."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sdlc.cli.context import say

T = TypeVar("T")

EXIT_CODE = 130

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AT_ONCE = 3
"""So many signals end the process without waiting for anything."""


class Interrupted(Exception):
    """A person left, or a signal came: exit code 130."""


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end. The first signal cancels it and waits until it has tidied up; Interrupted.

    More signals don't break the tidying up, which would leave a server and workspaces behind; the third one does.
    """
    import asyncio

    async def guarded() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio.run makes one
        signals = Signals(lambda: task.cancel())
        try:
            return await work
        except asyncio.CancelledError:
            if signals.count:
                raise Interrupted from None
            raise

    return asyncio.run(guarded())


class Signals:
    """Counts signals to this process and does `first` at the first. To be made inside a running loop."""

    def __init__(self, first: Callable[[], object]) -> None:
        import asyncio

        self.count = 0
        self._first = first
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._heard)

    def _heard(self) -> None:
        self.count += 1
        if self.count == 1:
            self._first()
        elif self.count < _AT_ONCE:
            say("Still giving back what is in hand, which takes 30 s at most. Once more leaves everything as it is.")
        else:
            os._exit(EXIT_CODE)
