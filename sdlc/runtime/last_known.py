"""What is known of a run for which no worker answers: its card, and when it has written that."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from sdlc.errors import ServiceUnavailable
from sdlc.run_card import MEMO
from sdlc.runtime.runs import RunRow, checked, row

_WITHIN = timedelta(seconds=3)
"""In all: whoever asks has waited for a worker already."""
_EVENTS = 200
"""The last ones, among which the card's moment is looked for."""


@dataclass(frozen=True)
class LastKnown:
    row: RunRow
    """With a card."""
    at: datetime | None
    """When the run has written the card; None where that is too many events ago."""


def may_be_the_worker(error: ServiceUnavailable) -> bool:
    """Not where the server itself is away, which then has no card to show either."""
    cause = error.__cause__
    return not (isinstance(cause, RPCError) and cause.status is RPCStatusCode.UNAVAILABLE)


def no_worker(key: str) -> ServiceUnavailable:
    return ServiceUnavailable(f"No worker answers for {key}; start one with `sdlc dev` or `sdlc worker`.")


async def last_known(client: Client, key: str) -> LastKnown | None:
    """None where the run has no card, or the server does not say within 3 s. UsageError for what can't be a key."""
    identity = checked(key)
    try:
        async with asyncio.timeout(_WITHIN.total_seconds()):
            described = await client.get_workflow_handle(identity).describe(rpc_timeout=_WITHIN)
            found = await row(described)
            at = await _written(client, identity, described.run_id) if found.card is not None else None
    except TimeoutError:
        return None
    except RPCError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from error  # the SDK makes one error of both
        return None
    return LastKnown(found, at) if found.card is not None else None


async def _written(client: Client, identity: str, run_id: str) -> datetime | None:
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=identity, run_id=run_id),
        maximum_page_size=_EVENTS,
    )
    page = await client.workflow_service.get_workflow_execution_history_reverse(request, timeout=_WITHIN)
    for event in page.history.events:
        if MEMO in event.workflow_properties_modified_event_attributes.upserted_memo.fields:
            return event.event_time.ToDatetime(UTC)
    return None
