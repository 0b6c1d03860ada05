"""Runs as people handle them: start, look, decide, steer. A thin layer over the Temporal client.

The command line and the web page talk to runs through this and keep no state of their own.
Every method raises RunNotFound, ServiceUnavailable or UsageError with a sentence for a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from sdlc.domain import (
    ApprovalDecision,
    AttentionAnswer,
    AuditEntry,
    Finding,
    MessageReceipt,
    Record,
    RunRequest,
    TestReport,
)
from sdlc.errors import RunNotFound, SdlcError, ServiceUnavailable, UsageError
from sdlc.progress import RunOutcome, RunProgress

WORKFLOW = "SdlcWorkflow"
ANSWER_WITHIN = timedelta(seconds=10)
"""How long a query or a decision may wait for a worker."""

T = TypeVar("T")


def workflow_id(ticket_key: str) -> str:
    return f"sdlc-{ticket_key}"


@dataclass(frozen=True)
class Started:
    workflow_id: str
    run_id: str
    joined: bool
    """A run for the ticket was there already; this start joined it."""


@dataclass(frozen=True)
class HistorySize:
    events: int
    bytes: int


@dataclass(frozen=True)
class Trouble:
    """An activity that is being tried again."""

    activity: str
    attempt: int
    message: str
    next_try: datetime | None


@dataclass(frozen=True)
class RunRow:
    """One line of `sdlc list`."""

    ticket_key: str
    status: str
    state: str
    step: str
    waits_for: str
    repository: str
    started: datetime
    closed: datetime | None


class Runs:
    def __init__(self, client: Client, *, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    # --- start ------------------------------------------------------------------------------

    async def start(self, request: RunRequest) -> Started:
        """Start a run; a second start for the same ticket joins the first."""
        wanted = workflow_id(request.ticket_key)
        try:
            handle = await self._client.start_workflow(
                WORKFLOW,
                request,
                id=wanted,
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                static_summary=request.ticket_key,
                memo={"repository": request.repository, "starter": request.starter},
            )
        except WorkflowAlreadyStartedError as error:
            return Started(workflow_id=wanted, run_id=error.run_id or "", joined=True)
        except RPCError as error:
            raise _unavailable(error) from error
        return Started(workflow_id=wanted, run_id=handle.first_execution_run_id or "", joined=False)

    # --- look -------------------------------------------------------------------------------

    async def progress(self, key: str) -> RunProgress:
        return await self._query(key, "progress", RunProgress)

    async def findings(self, key: str) -> list[Finding]:
        return await self._query(key, "findings", list[Finding])

    async def test_results(self, key: str) -> list[TestReport]:
        return await self._query(key, "test_results", list[TestReport])

    async def audit(self, key: str) -> list[AuditEntry]:
        return await self._query(key, "audit", list[AuditEntry])

    async def history_size(self, key: str) -> HistorySize:
        info = (await self._describe(key)).raw_description.workflow_execution_info
        return HistorySize(events=info.history_length, bytes=info.history_size_bytes)

    async def is_open(self, key: str) -> bool:
        return (await self._describe(key)).status is WorkflowExecutionStatus.RUNNING

    async def troubles(self, key: str) -> list[Trouble]:
        """Activities of the run and of its engine that failed and are tried again."""
        description = (await self._describe(key)).raw_description
        found = [_trouble(pending) for pending in description.pending_activities if pending.attempt > 1]
        for child in description.pending_children:
            handle = self._client.get_workflow_handle(child.workflow_id, run_id=child.run_id)
            raw = (await handle.describe(rpc_timeout=ANSWER_WITHIN)).raw_description
            found += [_trouble(pending) for pending in raw.pending_activities if pending.attempt > 1]
        return found

    async def outcome(self, key: str) -> RunOutcome | None:
        """What a finished run returned; None if it was cancelled or terminated."""
        try:
            handle = self._client.get_workflow_handle(workflow_id(key), result_type=RunOutcome)
            outcome: RunOutcome = await handle.result()
        except WorkflowFailureError:
            return None
        except RPCError as error:
            raise self._told(error, key) from error
        return outcome

    async def list(self, *, include_closed: bool = True, limit: int = 50) -> list[RunRow]:
        query = f"WorkflowType = '{WORKFLOW}'" + ("" if include_closed else " AND ExecutionStatus = 'Running'")
        try:
            return [_row(execution) async for execution in self._list(query, limit)]
        except RPCError as error:
            raise _unavailable(error) from error

    async def _list(self, query: str, limit: int) -> AsyncIterator[WorkflowExecution]:
        async for execution in self._client.list_workflows(query, limit=limit):
            yield execution

    # --- decide and steer --------------------------------------------------------------------

    async def decide(self, key: str, decision: ApprovalDecision) -> MessageReceipt:
        """Approve, reject or request changes; UsageError with the reason if it does not count."""
        return await self._update(key, "decide", decision)

    async def attend(self, key: str, answer: AttentionAnswer) -> MessageReceipt:
        """Answer a run that needs attention; UsageError with the reason if it does not count."""
        return await self._update(key, "attend", answer)

    async def signal(self, key: str, name: str, payload: Record) -> None:
        try:
            await self._handle(key).signal(name, payload, rpc_timeout=ANSWER_WITHIN)
        except RPCError as error:
            raise self._told(error, key) from error

    async def cancel(self, key: str) -> None:
        try:
            if not await self.is_open(key):
                raise RunNotFound(f"The run for {key} is over; there is nothing to cancel.")
            await self._handle(key).cancel(rpc_timeout=ANSWER_WITHIN)
        except RPCError as error:
            raise self._told(error, key) from error

    # --- how it is asked ----------------------------------------------------------------------

    def _handle(self, key: str) -> WorkflowHandle[Any, Any]:
        return self._client.get_workflow_handle(workflow_id(key))

    async def _describe(self, key: str) -> Any:
        try:
            return await self._handle(key).describe(rpc_timeout=ANSWER_WITHIN)
        except RPCError as error:
            raise self._told(error, key) from error

    async def _query(self, key: str, name: str, kind: type[T]) -> T:
        try:
            answer: T = await self._handle(key).query(name, result_type=kind, rpc_timeout=ANSWER_WITHIN)
        except WorkflowQueryFailedError as error:
            raise ServiceUnavailable(f"The run for {key} could not answer: {error}") from error
        except RPCError as error:
            raise self._told(error, key) from error
        return answer

    async def _update(self, key: str, name: str, payload: Record) -> MessageReceipt:
        try:
            async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
                receipt: MessageReceipt = await self._handle(key).execute_update(
                    name, payload, result_type=MessageReceipt
                )
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            raise UsageError(cause.message if isinstance(cause, ApplicationError) else str(cause)) from error
        except TimeoutError as error:
            raise _no_worker(key) from error
        except RPCError as error:
            raise self._told(error, key) from error
        return receipt

    def _told(self, error: RPCError, key: str) -> SdlcError:
        if error.status is RPCStatusCode.NOT_FOUND:
            if "completed" in error.message:
                return RunNotFound(f"The run for {key} is over; `sdlc status {key}` shows how it ended.")
            return RunNotFound(f"There is no run for {key}; `sdlc list` shows those there are.")
        if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            return _no_worker(key)
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            return UsageError(f"{key!r} is not a ticket key: {error.message}")
        return _unavailable(error)


def _no_worker(key: str) -> ServiceUnavailable:
    return ServiceUnavailable(f"No worker answers for {key}; is `sdlc dev` or `sdlc worker` running?")


def _unavailable(error: RPCError) -> SdlcError:
    return ServiceUnavailable(f"Temporal does not answer: {error.message}. Is the server up?")


def _trouble(pending: Any) -> Trouble:
    next_try = pending.scheduled_time.ToDatetime() if pending.HasField("scheduled_time") else None
    return Trouble(
        activity=pending.activity_type.name,
        attempt=pending.attempt,
        message=pending.last_failure.message,
        next_try=next_try,
    )


def _row(execution: WorkflowExecution) -> RunRow:
    attributes = _keywords(execution.typed_search_attributes)
    status = execution.status.name.lower() if execution.status else "unknown"
    return RunRow(
        ticket_key=attributes.get("SdlcTicket") or execution.id.removeprefix("sdlc-"),
        status=status,
        state=attributes.get("SdlcState") or status,
        step=attributes.get("SdlcStep", ""),
        waits_for=attributes.get("SdlcWaitsFor", ""),
        repository=attributes.get("SdlcRepository", ""),
        started=execution.start_time,
        closed=execution.close_time,
    )


def _keywords(attributes: TypedSearchAttributes) -> dict[str, str]:
    return {pair.key.name: str(pair.value) for pair in attributes if isinstance(pair.value, str)}
