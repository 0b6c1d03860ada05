"""What git has said lately about commits. They never change, so neither do the answers; a process is saved each time.

Four panels with a dozen reviewers ask for the same files and the same difference within a second.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from sdlc.integrations.git.runner import Answer

ROOM = 32 * 1024**2
"""Bytes of answers that are kept of one clone."""
_OVERHEAD = 500
"""Bytes that an entry takes beside the answer itself, about."""


class RecentAnswers:
    """The last answers by what was asked, as many as fit."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._used = 0
        self._answers: OrderedDict[tuple[object, ...], Answer] = OrderedDict()
        self._asking: dict[tuple[object, ...], asyncio.Lock] = {}

    async def get(self, question: tuple[object, ...], ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer, asked for once however many want it at the same time. Raises what `ask` raises."""
        lock = self._asking.setdefault(question, asyncio.Lock())
        try:
            async with lock:
                if question not in self._answers:
                    self._keep(question, await ask())
                self._answers.move_to_end(question)
                return self._answers[question]
        finally:
            if not lock.locked():
                self._asking.pop(question, None)

    def _keep(self, question: tuple[object, ...], answer: Answer) -> None:
        self._answers[question] = answer
        self._used += _size(answer)
        while self._used > self._room and len(self._answers) > 1:
            _, oldest = self._answers.popitem(last=False)
            self._used -= _size(oldest)


def _size(answer: Answer) -> int:
    return len(answer.stdout) + _OVERHEAD
