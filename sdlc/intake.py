"""The small workflows by which work comes in: one for each delivery, one for each poll.

They make what was delivered durable and try it again; all else is in their activities (`sdlc.runtime.intake`).
Who can't be helped by another try (a ticket that is not there, a missing right) is told, and that is a result: a
workflow that failed is for somebody to mend.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from sdlc import markdown
    from sdlc.activities import Activity, In
    from sdlc.activity_calls import why
    from sdlc.deliveries import DELIVERY_WORKFLOW, POLL_WORKFLOW, Delivery, Handled
    from sdlc.domain import Record
    from sdlc.errors import NON_RETRYABLE


class Poll(Record):
    """One round of looking for what no delivery has told."""


HANDLE_DELIVERY = Activity("handle_delivery", Delivery, Handled)
POLL = Activity("poll", Poll, Handled)

ATTEMPT_TIMEOUT = timedelta(minutes=10)
_HEARTBEAT = timedelta(seconds=30)
_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=5),
    maximum_interval=timedelta(minutes=5),
    # About an hour, longer where a service says when to come back. Not by the clock: while no worker runs, a delivery
    # only waits.
    maximum_attempts=18,
    non_retryable_error_types=list(NON_RETRYABLE),
)
_SHOWN = 2_000
"""Characters of the details in Temporal's UI."""


@workflow.defn(name=DELIVERY_WORKFLOW)
class DeliveryWorkflow:
    """One delivery, from its arrival to what became of it."""

    @workflow.run
    async def run(self, delivery: Delivery) -> Handled:
        return await _handled(HANDLE_DELIVERY, delivery, summary=summary_of(delivery))


@workflow.defn(name=POLL_WORKFLOW)
class PollWorkflow:
    """One poll. As long as it is tried again, the schedule starts no other."""

    @workflow.run
    async def run(self) -> Handled:
        return await _handled(POLL, Poll(), summary="look for what no delivery has told")


def summary_of(delivery: Delivery) -> str:
    """One line for Temporal's UI, such as `jira comment: ACME-1`."""
    number = str(delivery.number) if delivery.number else ""
    about = delivery.ticket_key or " ".join(filter(None, (delivery.repository, number or delivery.branch)))
    return f"{delivery.source} {delivery.kind.replace('_', ' ')}: {about}"[:200]


async def _handled(activity: Activity[In, Handled], request: In, *, summary: str) -> Handled:
    try:
        handled: Handled = await workflow.execute_activity(
            activity.name,
            request,
            result_type=activity.gives,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRIES,
            summary=summary,
        )
    except ActivityError as error:
        if not (isinstance(error.cause, ApplicationError) and error.cause.type in NON_RETRYABLE):
            raise
        handled = Handled(did=(f"refused: {why(error)}",))
    lines = (f"- {markdown.inline(line, 400)}" for line in handled.did or ("Nothing was to be done.",))
    workflow.set_current_details("\n".join(lines)[:_SHOWN])
    return handled
