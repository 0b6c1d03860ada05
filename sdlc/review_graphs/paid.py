"""What a call to a model has cost, also where the activity that made it had to be tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio import activity

from sdlc.domain import Usage
from sdlc.errors import WorldError
from sdlc.integrations.llm import spent

T = TypeVar("T")


async def counting_earlier_attempts(call: Callable[[], Awaitable[T]], add: Callable[[T, Usage], T]) -> T:
    """The call's result, with what earlier attempts of this activity have paid added by `add`.

    Raises what the call raises; before a WorldError goes on to Temporal, the next attempt is told what was paid.
    """
    before = _spent_before()
    try:
        result = await call()
    except WorldError as error:
        _tell_next_attempt(before + spent(error))
        raise
    return add(result, before)


def _spent_before() -> Usage:
    """What earlier attempts of this activity have paid for before the world failed them."""
    details = activity.info().heartbeat_details if activity.in_activity() else ()
    return Usage.model_validate(details[0]) if details else Usage()


def _tell_next_attempt(usage: Usage) -> None:
    """An attempt that fails hands nothing on but the details of its last heartbeat."""
    if activity.in_activity() and usage.model_calls:
        activity.heartbeat(usage.model_dump(mode="json"))
