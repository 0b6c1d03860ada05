"""Heartbeats of a long activity, so that a dead worker is noticed and a cancelled run stops its commands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from temporalio import activity


@contextlib.asynccontextmanager
async def heartbeats(*details: Any, every: float = 5.0) -> AsyncIterator[None]:
    """Heartbeat the current Temporal activity for as long as the block runs.

    Every `every` seconds, or four times within the activity's heartbeat time-out if that is shorter.

    Outside an activity it does nothing. Temporal tells an activity of its cancellation in the answer
    to a heartbeat: the block is then cancelled like any asyncio task.
    """
    if not activity.in_activity():
        yield
        return
    limit = activity.info().heartbeat_timeout
    pause = min(every, limit.total_seconds() / 4) if limit else every
    beating = asyncio.create_task(_beat(details, pause), name="heartbeats")
    try:
        yield
    finally:
        beating.cancel()
        # `wait` rather than `await`: a cancellation of ourselves must not be taken for that of the task.
        await asyncio.wait([beating])


async def _beat(details: tuple[Any, ...], every: float) -> None:
    while True:
        activity.heartbeat(*details)
        await asyncio.sleep(every)
