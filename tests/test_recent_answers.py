"""What git said about commits is asked for once, and kept within bounds."""

from __future__ import annotations

import asyncio

import pytest

from sdlc.integrations.git.recent import RecentAnswers
from sdlc.integrations.git.runner import Answer


class Asked:
    def __init__(self, *, size: int = 10, fails: int = 0) -> None:
        self.times = 0
        self._size, self._fails = size, fails

    async def __call__(self) -> Answer:
        self.times += 1
        await asyncio.sleep(0.01)
        if self.times <= self._fails:
            raise ConnectionError
        return Answer(0, b"x" * self._size, "")


async def test_many_who_want_it_at_once_ask_once() -> None:
    recent, asked = RecentAnswers(), Asked()
    answers = await asyncio.gather(*(recent.get(("show", "a"), asked) for _ in range(20)))
    assert {answer.stdout for answer in answers} == {b"x" * 10}
    assert asked.times == 1


async def test_another_question_has_another_answer() -> None:
    recent = RecentAnswers()
    assert (await recent.get(("a",), Asked(size=1))).stdout == b"x"
    assert (await recent.get(("b",), Asked(size=2))).stdout == b"xx"


async def test_an_error_is_not_kept() -> None:
    recent, asked = RecentAnswers(), Asked(fails=1)
    with pytest.raises(ConnectionError):
        await recent.get(("a",), asked)
    assert (await recent.get(("a",), asked)).exit_code == 0


async def test_who_is_cancelled_while_asking_leaves_the_others_their_answer() -> None:
    recent, asked = RecentAnswers(), Asked()
    first = asyncio.create_task(recent.get(("a",), asked))
    await asyncio.sleep(0.001)
    second = asyncio.create_task(recent.get(("a",), asked))
    await asyncio.sleep(0.001)
    first.cancel()
    async with asyncio.timeout(5):
        assert (await second).exit_code == 0
    assert asked.times == 2


async def test_what_was_not_wanted_for_longest_goes_first() -> None:
    recent = RecentAnswers(room=3_000)
    first, second, third = (Asked(size=600) for _ in range(3))
    for question, asked in (("1", first), ("2", second), ("1", first), ("3", third), ("1", first), ("2", second)):
        await recent.get((question,), asked)
    assert (first.times, second.times, third.times) == (1, 2, 1)


async def test_an_answer_that_is_larger_than_the_room_is_given_all_the_same() -> None:
    recent, asked = RecentAnswers(room=100), Asked(size=10_000)
    assert len((await recent.get(("a",), asked)).stdout) == 10_000
