"""Runs as people handle them: start, look, decide, steer. A thin layer over the Temporal client.

The command line and the web page talk to runs through this and keep no state of their own.
Every method raises RunNotFound, ServiceUnavailable or UsageError with a sentence for a person.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
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
    RunState,
    TestReport,
    Ticket,
)
from sdlc.errors import ConfigurationError, PermissionDenied, RunNotFound, SdlcError, ServiceUnavailable, UsageError
from sdlc.progress import RunOutcome, RunProgress
from sdlc.run_card import MEMO, RunCard
from sdlc.run_payloads import PanelReports, Reassigned

WORKFLOW = "SdlcWorkflow"
_OVER = frozenset(state.value for state in RunState if state.is_over)
ANSWER_WITHIN = timedelta(seconds=10)
"""How long a query or a decision may wait for a worker."""

_FIRST_TRY = 0.4
"""The part of it for the first of two tries of a query."""
_NO_ANSWER = (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)

_NOT_KNOWN = "expected but not found"
"""In the words by which a worker refuses a query that its workflow does not have."""

_KEY = re.compile(r"[^\s/]{1,200}")
"""No slash: a run's engine is a workflow of its own, `sdlc-<key>/implement-1`."""

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
class Look:
    """A run as it stands."""

    progress: RunProgress
    troubles: tuple[Trouble, ...]
    """Empty once it is over."""


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
    starter: str = ""
    card: RunCard | None = None
    """None for a run of an older version, or one that has not come to say anything."""


class Runs:
    def __init__(self, client: Client, *, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    # --- start ------------------------------------------------------------------------------

    async def start(self, request: RunRequest) -> Started:
        """Start a run; a second start for the same ticket joins the first."""
        wanted = workflow_id(request.ticket_key)
        with self._told(request.ticket_key):
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
        return Started(workflow_id=wanted, run_id=handle.first_execution_run_id or "", joined=False)

    # --- look -------------------------------------------------------------------------------

    async def look(self, key: str) -> Look:
        """How a run stands, and what is being tried again in it."""
        # In this order: a run that was over before it was asked can't have more to tell.
        description = await self._describe(key)
        progress = await self.progress(key)
        if description.status is not WorkflowExecutionStatus.RUNNING:
            return Look(_ended(progress, description.status), ())
        return Look(progress, () if progress.state.is_over else tuple(await self._troubles(key, description)))

    async def progress(self, key: str) -> RunProgress:
        """What the run itself says; one that was ended from outside did not notice, which `look` tells."""
        return await self._query(key, "progress", RunProgress)

    async def findings(self, key: str) -> list[Finding]:
        return await self._query(key, "findings", list[Finding])

    async def panel_reports(self, key: str) -> PanelReports | None:
        """The last report of each panel, and what is waived; None where the run's worker is older than the question."""
        try:
            return await self._query(key, "panel_reports", PanelReports)
        except ServiceUnavailable as error:
            if isinstance(error.__cause__, WorkflowQueryFailedError) and _NOT_KNOWN in str(error.__cause__):
                return None
            raise

    async def test_results(self, key: str) -> list[TestReport]:
        return await self._query(key, "test_results", list[TestReport])

    async def audit(self, key: str) -> list[AuditEntry]:
        return await self._query(key, "audit", list[AuditEntry])

    async def history_size(self, key: str) -> HistorySize:
        info = (await self._describe(key)).raw_description.workflow_execution_info
        return HistorySize(events=info.history_length, bytes=info.history_size_bytes)

    async def first_run(self, key: str) -> str:
        """What a run calls itself in messages: the id of its first execution, which outlives a reset."""
        described = await self._describe(key)
        return described.raw_description.workflow_execution_info.first_run_id or described.run_id

    async def is_open(self, key: str) -> bool:
        return (await self._describe(key)).status is WorkflowExecutionStatus.RUNNING

    async def troubles(self, key: str) -> list[Trouble]:
        """Activities of the run and of its engine that failed and are tried again."""
        return await self._troubles(key, await self._describe(key))

    async def _troubles(self, key: str, description: WorkflowExecutionDescription) -> list[Trouble]:
        found = _troubles_of(description)
        for child in description.raw_description.pending_children:
            handle = self._client.get_workflow_handle(child.workflow_id, run_id=child.run_id)
            with self._told(key):
                found += _troubles_of(await handle.describe(rpc_timeout=ANSWER_WITHIN))
        return found

    async def outcome(self, key: str) -> RunOutcome | None:
        """What a finished run returned; None if it was cancelled or terminated."""
        with self._told(key):
            try:
                handle = self._client.get_workflow_handle(checked(key), result_type=RunOutcome)
                outcome: RunOutcome = await handle.result()
            except WorkflowFailureError:
                return None
        return outcome

    async def list(
        self,
        *,
        include_closed: bool = True,
        limit: int = 50,
        repository: str = "",
        state: str = "",
        starter: str = "",
        waiting: bool = False,
        since: datetime | None = None,
    ) -> list[RunRow]:
        """The newest first. `waiting`: for people; `since`: started then or later. Texts fit exactly, as they are."""
        wanted = {"SdlcRepository": repository, "SdlcState": state, "SdlcStarter": starter}
        parts = [f"WorkflowType = '{WORKFLOW}'"]
        parts += [] if include_closed and not waiting else ["ExecutionStatus = 'Running'"]
        parts += ["SdlcWaitsFor = 'person'"] if waiting else []
        parts += [f"{name} = {quoted(value)}" for name, value in wanted.items() if value]
        parts += [f"StartTime >= '{since.astimezone(UTC).isoformat()}'"] if since else []
        with self._told():
            return [await row(execution) async for execution in self._list(" AND ".join(parts), limit)]

    async def card(self, key: str) -> RunCard:
        """The run on one card, as it stands now."""
        return await self._query(key, "card", RunCard)

    async def ticket(self, key: str) -> Ticket | None:
        """The ticket as the run has read it; None before its first step."""
        return await self._query(key, "ticket", Ticket | None)  # type: ignore[arg-type]

    async def _list(self, query: str, limit: int) -> AsyncIterator[WorkflowExecution]:
        async for execution in self._client.list_workflows(query, limit=limit, rpc_timeout=ANSWER_WITHIN):
            yield execution

    # --- decide and steer --------------------------------------------------------------------

    async def decide(self, key: str, decision: ApprovalDecision) -> MessageReceipt:
        """Approve, reject or request changes; UsageError with the reason if it does not count."""
        return await self._update(key, "decide", decision)

    async def reassign(self, key: str, said: Reassigned) -> MessageReceipt:
        """Let others decide; UsageError with the reason if it does not count."""
        return await self._update(key, "hand_on", said)

    async def attend(self, key: str, answer: AttentionAnswer) -> MessageReceipt:
        """Answer a run that needs attention; UsageError with the reason if it does not count."""
        return await self._update(key, "attend", answer)

    async def signal(self, key: str, name: str, payload: Record) -> None:
        with self._told(key):
            await self._handle(key).signal(name, payload, rpc_timeout=ANSWER_WITHIN)

    async def cancel(self, key: str) -> None:
        if not await self.is_open(key):
            raise _over(key)
        with self._told(key):
            await self._handle(key).cancel(rpc_timeout=ANSWER_WITHIN)

    # --- how it is asked ----------------------------------------------------------------------

    def _handle(self, key: str) -> WorkflowHandle[Any, Any]:
        return self._client.get_workflow_handle(checked(key))

    async def _describe(self, key: str) -> WorkflowExecutionDescription:
        with self._told(key):
            return await self._handle(key).describe(rpc_timeout=ANSWER_WITHIN)

    async def _query(self, key: str, name: str, kind: type[T]) -> T:
        with self._told(key):
            try:
                answer = await self._answer(key, name, kind)
            except (WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
                raise ServiceUnavailable(f"The run for {key} could not answer: {error}") from error
        return answer

    async def _answer(self, key: str, name: str, kind: type[T]) -> T:
        """Asked twice where no answer comes: the server may lose a query whose run moves on at that very moment."""
        first = ANSWER_WITHIN * _FIRST_TRY
        for limit in (first, ANSWER_WITHIN - first):
            try:
                answer: T = await self._handle(key).query(name, result_type=kind, rpc_timeout=limit)
            except RPCError as error:
                if limit is not first or error.status not in _NO_ANSWER or _is_cancelled():
                    raise
            else:
                break
        return answer

    async def _update(self, key: str, name: str, payload: Record) -> MessageReceipt:
        with self._told(key):
            try:
                async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
                    receipt: MessageReceipt = await self._handle(key).execute_update(
                        name, payload, result_type=MessageReceipt
                    )
            except WorkflowUpdateFailedError as error:
                cause = error.cause
                raise UsageError(cause.message if isinstance(cause, ApplicationError) else str(cause)) from error
            except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
                if _is_cancelled():
                    raise asyncio.CancelledError from error  # the SDK makes one error of both
                raise _not_heard_yet(key) from error
        if not receipt.accepted:
            raise UsageError(receipt.message)
        return receipt

    @contextmanager
    def _told(self, key: str = "") -> Iterator[None]:
        """Temporal's errors as ours."""
        try:
            yield
        except RPCError as error:
            raise _as_ours(error, key, self._client.namespace) from error


def checked(key: str) -> str:
    """The workflow's id; UsageError for what can't be a key."""
    if not _KEY.fullmatch(key):
        raise UsageError(f"{key!r} is not a ticket key such as BUG-1; `sdlc list` shows the runs there are.")
    return workflow_id(key)


def _as_ours(error: RPCError, key: str, namespace: str) -> SdlcError:
    match error.status:
        case RPCStatusCode.NOT_FOUND if "amespace" in error.message:
            return ConfigurationError(
                f"The Temporal server has no namespace {namespace}; make it, or correct TEMPORAL_NAMESPACE."
            )
        case RPCStatusCode.NOT_FOUND if "completed" in error.message:
            return _over(key)
        case RPCStatusCode.NOT_FOUND:
            return RunNotFound(f"There is no run for {key}; `sdlc list` shows those there are.")
        case RPCStatusCode.PERMISSION_DENIED | RPCStatusCode.UNAUTHENTICATED:
            return PermissionDenied(
                f"Temporal does not let us in at namespace {namespace} ({error.message}); look at TEMPORAL_API_KEY."
            )
        case RPCStatusCode.DEADLINE_EXCEEDED | RPCStatusCode.CANCELLED | RPCStatusCode.FAILED_PRECONDITION:
            return _no_worker(key) if key else _unavailable(error)
        case RPCStatusCode.INVALID_ARGUMENT if key:
            return UsageError(f"Temporal does not take {key!r}: {error.message}.")
    return _unavailable(error)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _over(key: str) -> RunNotFound:
    return RunNotFound(f"The run for {key} is over; `sdlc status {key}` shows how it ended.")


def _no_worker(key: str) -> ServiceUnavailable:
    return ServiceUnavailable(f"No worker answers for {key}; start one with `sdlc dev` or `sdlc worker`.")


def _not_heard_yet(key: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"No worker answers for {key}, so it is not known yet whether that counts: it is looked at once there is one "
        f"(`sdlc dev`, `sdlc worker`), and `sdlc audit {key}` tells. To say it twice does no harm."
    )


def _unavailable(error: RPCError) -> SdlcError:
    return ServiceUnavailable(f"Temporal does not answer ({error.message}); is the server up?")


def _ended(progress: RunProgress, status: WorkflowExecutionStatus | None) -> RunProgress:
    """The progress of a run that is closed, with what Temporal knows where the run itself does not."""
    if progress.state.is_over:
        return progress
    name = status.name.lower().replace("_", " ") if status else "ended"
    state = RunState.CANCELLED if status is WorkflowExecutionStatus.CANCELED else RunState.ABORTED
    note = f"The run was {name} in Temporal and could not tidy up; its ticket may still be claimed."
    return progress.model_copy(update={"state": state, "waits_for": "", "warnings": (*progress.warnings, note)})


def _troubles_of(description: WorkflowExecutionDescription) -> list[Trouble]:
    raw = description.raw_description
    found = [_trouble(pending) for pending in raw.pending_activities if pending.attempt > 1]
    if raw.HasField("pending_workflow_task") and (attempt := raw.pending_workflow_task.attempt) > 2:
        # One that is given to another worker is no trouble; one that fails again and again is a fault of the code.
        found.append(Trouble("the run's own code", attempt, "it fails each time; its worker's log says why", None))
    return found


def _trouble(pending: Any) -> Trouble:
    next_try = pending.scheduled_time.ToDatetime() if pending.HasField("scheduled_time") else None
    return Trouble(
        activity=pending.activity_type.name,
        attempt=pending.attempt,
        message=pending.last_failure.message,
        next_try=next_try,
    )


def quoted(value: str) -> str:
    """A value as visibility queries take it. UsageError for what can't be printed: no name has that."""
    if not value.isprintable():
        raise UsageError("A filter holds characters that can't be printed; type it anew.")
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


async def row(execution: WorkflowExecution) -> RunRow:
    """A line of a list, with the card of the run's memo."""
    attributes = _keywords(execution.typed_search_attributes)
    status = execution.status.name.lower() if execution.status else "unknown"
    state = attributes.get("SdlcState", "")
    goes_on = execution.status is WorkflowExecutionStatus.RUNNING
    if not goes_on and state not in _OVER:
        state = ""  # it was ended from outside, and did not come to say so
    return RunRow(
        ticket_key=attributes.get("SdlcTicket") or execution.id.removeprefix("sdlc-"),
        status=status,
        state=state or status,
        step=attributes.get("SdlcStep", ""),
        waits_for=attributes.get("SdlcWaitsFor", "") if goes_on else "",
        repository=attributes.get("SdlcRepository", ""),
        started=execution.start_time,
        closed=execution.close_time,
        starter=attributes.get("SdlcStarter", ""),
        card=await _card(execution),
    )


async def _card(execution: WorkflowExecution) -> RunCard | None:
    try:
        return RunCard.model_validate((await execution.memo()).get(MEMO))
    except (ValidationError, ValueError, TypeError):
        return None


def _keywords(attributes: TypedSearchAttributes) -> dict[str, str]:
    return {pair.key.name: str(pair.value) for pair in attributes if isinstance(pair.value, str)}
