"""Runs as the web asks Temporal about them: lists by pages, and what stands in histories."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.converter import decode_typed_search_attributes
from temporalio.service import RPCError, RPCStatusCode

from sdlc.errors import ServiceUnavailable, UsageError
from sdlc.run_card import MEMO, RunCard
from sdlc.runtime.connection import Connection
from sdlc.runtime.last_known import LastKnown, last_known
from sdlc.runtime.runs import ANSWER_WITHIN, WORKFLOW, RunRow, Runs, checked, quoted, row

T = TypeVar("T")

_RUNNING = f"WorkflowType = '{WORKFLOW}' AND ExecutionStatus = 'Running'"
_WAITING = f"{_RUNNING} AND SdlcWaitsFor = 'person'"

_MOST_HISTORIES = 40
"""Of a run and its work loops, those of parts included."""
_MOST_EVENTS = 20_000
"""Of each history."""
_ENDS = (
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
)


class Fresh(Generic[T]):
    """Answers that are good for `seconds`, asked for once however many want one at the same time."""

    def __init__(self, seconds: float, most: int = 100) -> None:
        self._seconds = seconds
        self._most = most
        self._answers: dict[object, tuple[float, asyncio.Task[T]]] = {}

    async def get(self, question: object, ask: Callable[[], Awaitable[T]]) -> T:
        """Raises what `ask` raises. An answer that nobody waits for any more is still fetched to its end."""
        now = time.monotonic()
        for old in [q for q, (since, task) in self._answers.items() if task.done() and now - since > self._seconds]:
            del self._answers[old]
        while len(self._answers) >= self._most:
            del self._answers[next(iter(self._answers))]
        known = self._answers.get(question)
        if known is None or (known[1].done() and (known[1].cancelled() or known[1].exception() is not None)):
            known = self._answers[question] = (now, asyncio.ensure_future(ask()))
            known[1].add_done_callback(lambda task: task.cancelled() or task.exception())  # somebody has looked
        return await asyncio.shield(known[1])

    def forget(self) -> None:
        self._answers.clear()


@dataclass(frozen=True)
class Done:
    """An activity that has ended well."""

    name: str
    at: datetime
    result: Payloads


@dataclass(frozen=True)
class Past:
    """What the history of a run, or of one of its work loops, has that is shown."""

    workflow_id: str
    kind: str
    started: datetime | None
    ended: bool
    done: tuple[Done, ...]
    asked: tuple[tuple[str, int, Payloads], ...]
    """Activities as they were scheduled: name, place in `done` from which on others ended later, input."""
    children: tuple[tuple[str, str, str], ...]
    """Workflow id, run id and type."""
    cut: bool = False


class Standing:
    """Rows of runs that go on, read from what Temporal's index sends: what was sent before is not read again.

    Reading takes as long as sending, and most of what waits does so for hours.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, RunRow] = {}

    async def rows(self, client: Client, query: str, most: int) -> list[RunRow]:
        """`most` of them. Raises RPCError."""
        known: dict[bytes, RunRow] = {}
        token = b""
        while True:
            request = ListWorkflowExecutionsRequest(
                namespace=client.namespace, query=query, page_size=min(1_000, most - len(known)), next_page_token=token
            )
            page = await client.workflow_service.list_workflow_executions(request, retry=True, timeout=ANSWER_WITHIN)
            for info in page.executions:
                sent = info.SerializeToString(deterministic=True)
                known[sent] = self._known.get(sent) or await _row_of(client, info)
            token = page.next_page_token
            if not token or len(known) >= most:
                self._known = known
                return list(known.values())


async def _row_of(client: Client, info: WorkflowExecutionInfo) -> RunRow:
    pairs = decode_typed_search_attributes(info.search_attributes)
    said = {pair.key.name: pair.value for pair in pairs if isinstance(pair.value, str)}
    card = None
    if MEMO in info.memo.fields:
        with contextlib.suppress(ValidationError):
            card = RunCard.model_validate((await client.data_converter.decode([info.memo.fields[MEMO]]))[0])
    return RunRow(
        ticket_key=said.get("SdlcTicket") or info.execution.workflow_id.removeprefix("sdlc-"),
        status="running",
        state=said.get("SdlcState") or "running",
        step=said.get("SdlcStep", ""),
        waits_for=said.get("SdlcWaitsFor", ""),
        repository=said.get("SdlcRepository", ""),
        started=info.start_time.ToDatetime(UTC),
        closed=None,
        starter=said.get("SdlcStarter", ""),
        card=card,
    )


class Asking(Runs):
    """`Runs`, and what pages need besides."""

    def __init__(self, client: Client, connection: Connection, *, task_queue: str) -> None:
        """`connection` has given the client, and hears of what is not answered."""
        super().__init__(client, task_queue=task_queue)
        self._connection = connection
        self._standing = Standing()

    @property
    def namespace(self) -> str:
        return self._client.namespace

    @property
    def client(self) -> Client:
        return self._client

    def check(self, key: str) -> None:
        """UsageError for what can't be a key."""
        checked(key)

    async def status(self, key: str) -> tuple[str, bool]:
        """The id of the run's execution, and whether it goes on."""
        description = await self._describe(key)
        return description.run_id, description.status is WorkflowExecutionStatus.RUNNING

    async def cancel_by(self, key: str, reason: str) -> None:
        """As `cancel`; `reason` stands in the history."""
        with self._told(key):
            await self._handle(key).cancel(reason=reason, rpc_timeout=ANSWER_WITHIN)

    async def last_known(self, key: str) -> LastKnown | None:
        """What its card says, while the run itself can't be asked."""
        return await last_known(self._client, key)

    @contextlib.contextmanager
    def _told(self, key: str = "") -> Iterator[None]:
        try:
            with super()._told(key):
                yield
        except ServiceUnavailable as error:
            self._connection.unanswered(self._client, error.__cause__)
            raise

    # --- lists --------------------------------------------------------------------------------

    async def page(self, query: str, token: bytes, size: int) -> tuple[list[RunRow], bytes]:
        """One page of Temporal's index, and the token of the next; none: this is the last.

        Raises UsageError for a token that is not Temporal's.
        """
        found = self._client.list_workflows(
            query, page_size=size, next_page_token=token or None, rpc_timeout=ANSWER_WITHIN
        )
        with self._told():
            try:
                await found.fetch_next_page()
            except RPCError as error:
                if token and error.status is RPCStatusCode.INVALID_ARGUMENT:
                    raise UsageError("That is no place in this list (any more); begin with its first page.") from error
                raise
        return [await row(execution) for execution in found.current_page or ()], found.next_page_token or b""

    async def waiting(self, most: int) -> list[RunRow]:
        """Runs that wait for people, in no order, `most` of them; also on a server without our search attributes."""
        with self._told():
            try:
                return await self._standing.rows(self._client, _WAITING, most)
            except RPCError as error:
                if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                    raise
            rows = [await row(one) async for one in self._list(_RUNNING, most)]
        return [row for row in rows if row.card is not None and row.card.waiting_since is not None]

    async def count_waiting(self) -> int:
        """How many wait for people."""
        with self._told():
            return (await self._client.count_workflows(_WAITING, rpc_timeout=ANSWER_WITHIN)).count

    async def lately(self, since: datetime, most: int, **attributes: str) -> list[RunRow]:
        """Runs that began or ended since then, the newest first."""
        moment = since.astimezone(UTC).isoformat()
        query = f"{where(**attributes)} AND (StartTime >= '{moment}' OR CloseTime >= '{moment}')"
        with self._told():
            return [await row(one) async for one in self._list(query, most)]

    # --- histories ----------------------------------------------------------------------------

    async def pasts(self, key: str) -> list[Past]:
        """The histories of the run and, in the order in which they began, of its work loops."""
        waiting: list[tuple[str, str, str]] = [(checked(key), "", WORKFLOW)]
        found: list[Past] = []
        while waiting and len(found) < _MOST_HISTORIES:
            past = await self._past(key, *waiting.pop(0))
            found.append(past)
            waiting += past.children
        return found

    async def _past(self, key: str, identity: str, run: str, kind: str) -> Past:
        events: list[HistoryEvent] = []
        handle = self._client.get_workflow_handle(identity, run_id=run or None)
        try:
            with self._told(key):
                async for event in handle.fetch_history_events(rpc_timeout=ANSWER_WITHIN):
                    events.append(event)
                    if len(events) >= _MOST_EVENTS:
                        break
        except UsageError:
            if not run:
                raise  # of a child it may be kept no longer
        return _read(events, identity, kind)

    async def decoded(self, payloads: Payloads) -> list[Any]:
        """Plain values. Raises PayloadMissing for a large one that lies in another folder."""
        return list(await self._client.data_converter.decode(payloads.payloads)) if payloads.payloads else []


def where(*, repository: str = "", state: str = "") -> str:
    """A query of visibility for our runs. UsageError for what is no name: SQLite trips over some of that."""
    if not (repository.isprintable() and state.isprintable()):
        raise UsageError("A repository's name has no control characters.")
    parts = [f"WorkflowType = '{WORKFLOW}'"]
    parts += [f"SdlcRepository = {quoted(repository)}"] if repository else []
    parts += [f"SdlcState = {quoted(state)}"] if state else []
    return " AND ".join(parts)


def _read(events: list[HistoryEvent], identity: str, kind: str) -> Past:
    names: dict[int, str] = {}
    done: list[Done] = []
    asked: list[tuple[str, int, Payloads]] = []
    children: list[tuple[str, str, str]] = []
    ended = False
    for event in events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            scheduled = event.activity_task_scheduled_event_attributes
            names[event.event_id] = scheduled.activity_type.name
            asked.append((scheduled.activity_type.name, len(done), scheduled.input))
        elif event.HasField("activity_task_completed_event_attributes"):
            completed = event.activity_task_completed_event_attributes
            name = names.get(completed.scheduled_event_id, "")
            done.append(Done(name, event.event_time.ToDatetime(UTC), completed.result))
        elif event.HasField("child_workflow_execution_started_event_attributes"):
            child = event.child_workflow_execution_started_event_attributes
            execution = child.workflow_execution
            children.append((execution.workflow_id, execution.run_id, child.workflow_type.name))
        ended = event.event_type in _ENDS
    started = events[0].event_time.ToDatetime(UTC) if events else None
    cut = len(events) >= _MOST_EVENTS
    return Past(identity, kind, started, ended, tuple(done), tuple(asked), tuple(children), cut)
