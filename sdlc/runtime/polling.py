"""The Temporal Schedule that polls, so that a deployment that nothing reaches from outside works as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from sdlc.deliveries import POLL_SCHEDULE, POLL_WORKFLOW
from sdlc.errors import PermissionDenied, ServiceUnavailable

_ANSWER_WITHIN = timedelta(seconds=10)
_CATCH_UP = timedelta(seconds=10)
"""The least that Temporal takes: a poll that was missed is made good by the next."""
_LONGEST_POLL = timedelta(hours=3)
"""One that waits on a task queue that nobody serves any more must not keep the others from beginning for ever."""


async def ensure_poll_schedule(client: Client, *, task_queue: str, every_seconds: float) -> None:
    """Poll every so many seconds (1 at least), one poll at a time. A schedule that a person has paused stays so.

    Raises PermissionDenied, or ServiceUnavailable where Temporal does not answer.
    """
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            POLL_WORKFLOW,
            id=POLL_SCHEDULE,
            task_queue=task_queue,
            execution_timeout=_LONGEST_POLL,
            static_summary="poll",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=max(1.0, every_seconds)))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=_CATCH_UP),
    )

    def updated(found: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule.state = found.description.schedule.state
        return ScheduleUpdate(schedule=schedule)

    with _told():
        try:
            await client.create_schedule(POLL_SCHEDULE, schedule, trigger_immediately=True, rpc_timeout=_ANSWER_WITHIN)
        except ScheduleAlreadyRunningError:
            await client.get_schedule_handle(POLL_SCHEDULE).update(updated, rpc_timeout=_ANSWER_WITHIN)


async def remove_poll_schedule(client: Client) -> bool:
    """Poll no more; False if there was no schedule. A poll that is under way comes to its end."""
    with _told():
        try:
            await client.get_schedule_handle(POLL_SCHEDULE).delete(rpc_timeout=_ANSWER_WITHIN)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
    return True


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except RPCError as error:
        words = " ".join(error.message.split())[:200]
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
            raise PermissionDenied(
                f"Temporal does not let us change the schedule {POLL_SCHEDULE} ({words}); look at TEMPORAL_API_KEY."
            ) from error
        raise ServiceUnavailable(f"Temporal does not take the schedule {POLL_SCHEDULE} ({words}).") from error
