"""`sdlc retry --from-step N`: the run goes back to where a step began, by Temporal's reset of its history."""

from __future__ import annotations

import asyncio
import re
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ResetReapplyExcludeType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from sdlc.activities import RELEASE_RUN, TELL_PEOPLE
from sdlc.cli.context import say
from sdlc.cli.output import print_json
from sdlc.config import Settings
from sdlc.domain import Instruction, PullRequestState, RunState
from sdlc.errors import PermissionDenied, RunNotFound, ServiceUnavailable, UsageError
from sdlc.progress import RunProgress, Step
from sdlc.run_payloads import Spoken
from sdlc.runtime.client import connect, task_queue
from sdlc.runtime.runs import ANSWER_WITHIN, Runs, workflow_id

_SUMMARY = re.compile(r'^"?(\d{1,2}) ')
_PANEL = re.compile(r"panel_(\w+?)\.")
_ASIDE = (TELL_PEOPLE.name, RELEASE_RUN.name)
"""Activities that carry the summary of a step and are none of its work."""
_NUDGES = ("engine_reported", "ci_changed", "pull_request_changed", "ticket_changed")
_CHILD_SECONDS = 15.0
_LOOK_EVERY = 0.05


@dataclass(frozen=True)
class Beginning:
    step: Step
    task: int
    """Event that ended the workflow task in which the step began: a reset to it does that task anew."""


def step_of(text: str) -> Step:
    """The step of a number or a name; UsageError."""
    wanted = text.strip().lower().replace("-", "_").replace(" ", "_")
    for step in Step:
        if wanted in (str(step.number), step.key):
            return step
    raise UsageError(f"There is no step {text!r}; give a number from 1 to 17, or a name such as unit_tests.")


def beginnings(events: Iterable[HistoryEvent]) -> list[Beginning]:
    """When steps began, in order; a step that is tried again where it stands begins once. Pure."""
    told = list(events)
    exact = list(_by_attribute(told))
    found: list[Beginning] = []
    for one in exact or _by_summary(told):
        if not found or found[-1].step is not one.step:
            found.append(one)
    return found


def _by_attribute(events: Sequence[HistoryEvent]) -> Iterator[Beginning]:
    for event in events:
        if not event.HasField("upsert_workflow_search_attributes_event_attributes"):
            continue
        told = event.upsert_workflow_search_attributes_event_attributes
        value = told.search_attributes.indexed_fields["SdlcStep"].data.decode("utf-8", "replace").strip('"')
        if value:
            yield Beginning(Step.of(value), told.workflow_task_completed_event_id)


def _by_summary(events: Sequence[HistoryEvent]) -> Iterator[Beginning]:
    """For servers without our search attributes: by what a step starts first. Step 7 starts nothing."""
    numbers = {step.number: step for step in Step}
    for event in events:
        name = ""
        if event.HasField("activity_task_scheduled_event_attributes"):
            task = event.activity_task_scheduled_event_attributes.workflow_task_completed_event_id
            name = event.activity_task_scheduled_event_attributes.activity_type.name
        elif event.HasField("start_child_workflow_execution_initiated_event_attributes"):
            task = event.start_child_workflow_execution_initiated_event_attributes.workflow_task_completed_event_id
        else:
            continue
        summary = _SUMMARY.match(event.user_metadata.summary.data.decode("utf-8", "replace"))
        panel = _PANEL.match(name)
        if panel:
            yield Beginning(Step.of(f"review_{panel[1]}"), task)
        elif summary and name not in _ASIDE and int(summary[1]) in numbers:
            yield Beginning(numbers[int(summary[1])], task)


def why_impossible(progress: RunProgress, step: Step, known: Sequence[Beginning]) -> str | None:
    """Why a run can't go back to a step, in a sentence; None if it can. Pure."""
    key = progress.ticket_key
    if progress.pull_request is not None and progress.pull_request.state is PullRequestState.MERGED:
        return f"The change of {key} is merged, and a run does not take that back; write a new ticket for what is left."
    if progress.state is RunState.CLOSED:
        return f"{key} is done and its ticket closed; reopen the ticket, and `sdlc start {key}` begins a new run."
    if all(one.step is not step for one in known):
        begun = sorted({one.step.number for one in known})
        numbers = ", ".join(map(str, begun)) or "none"
        return f"Step {step.number} of {key} has left no mark to go back to; there are those of {numbers}."
    return None


async def rewind(
    settings: Settings, key: str, step: Step, *, by: str, instruction: str, asked: bool, as_json: bool
) -> None:
    """Go back to the last beginning of a step. `asked`: the person has said yes already. UsageError with the reason."""
    client = await connect(settings)
    runs = Runs(client, task_queue=task_queue(settings))
    progress = (await runs.look(key)).progress
    handle = client.get_workflow_handle(workflow_id(key))
    events = list((await handle.fetch_history()).events)
    known = beginnings(events)
    if reason := why_impossible(progress, step, known):
        raise UsageError(reason)
    point = next(one for one in reversed(known) if one.step is step)
    kept, lost = consequences(progress, events, known, point)
    if not as_json:
        say("\n".join((*kept, *lost)))
    if not asked and sys.stdin.isatty() and sys.stderr.isatty():
        from sdlc.cli.keyboard import choose

        if await choose("Go back", ["yes", "no"]) != "yes":
            raise UsageError("Nothing was changed.")
    before = (await handle.describe(rpc_timeout=ANSWER_WITHIN)).run_id
    now = await _reset(client, key, before, point, by)
    # In this order: what stands in the trail first is that it begins anew.
    note = f"from step {step.number}; what was said before is in `sdlc audit {key} --run {before}`"
    await runs.signal(key, "went_back", Spoken(by=by, reason=note))
    if instruction:
        await runs.signal(key, "inject_instruction", Instruction(text=instruction, by=by))
    if as_json:
        told = {"step": step.key, "run_id": now, "earlier_run_id": before, "kept": list(kept), "lost": list(lost)}
        print_json({"accepted": True, **told})
    else:
        typer.echo(f"{key}: goes on from step {step.number} ({step.title}).")
        typer.echo(f"What was said and done before stays in `sdlc audit {key} --run {before}`.")


def consequences(
    progress: RunProgress, events: Sequence[HistoryEvent], known: Sequence[Beginning], point: Beginning
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a reset keeps and what it loses, in sentences. Pure."""
    number = point.step.number
    kept = [f"Kept: what was done until step {number} began, with the change as it stood then."]
    if progress.pull_request is not None or progress.change is not None:
        kept.append("Kept: branch, pull request and comments; the run finds its own again.")
    after = sorted({one.step.number for one in known if one.task >= point.task and one.step is not point.step})
    lost = [f"Lost: what step {number} has come to{f', and steps {_listed(after)} after it' if after else ''}."]
    said = Counter(name for event in events if event.event_id > point.task and (name := _said(event)))
    if said:
        words = ", ".join(f"{name} ({count})" for name, count in said.items())
        lost.append(f"Lost: what people have said since, which is not repeated: {words}.")
    if (
        progress.state in (RunState.ABORTED, RunState.CANCELLED, RunState.REJECTED)
        and point.step is not Step.SELECT_TASK
    ):
        lost.append("Note: the ticket was given back when the run ended; from step 1 on the run takes it again.")
    return tuple(kept), tuple(lost)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _said(event: HistoryEvent) -> str:
    if event.HasField("workflow_execution_signaled_event_attributes"):
        name = event.workflow_execution_signaled_event_attributes.signal_name
        return "" if name in _NUDGES else name
    if event.HasField("workflow_execution_update_accepted_event_attributes"):
        return event.workflow_execution_update_accepted_event_attributes.accepted_request.input.name
    return ""


async def _reset(client: Client, key: str, run: str, point: Beginning, by: str) -> str:
    """The new execution's run id."""
    exclude = ResetReapplyExcludeType
    request = ResetWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id(key), run_id=run),
        reason=f"sdlc retry --from-step {point.step.number}, by {by}",
        workflow_task_finish_event_id=point.task,
        request_id=uuid.uuid4().hex,
        reset_reapply_exclude_types=[
            # A decision about a head that is gone, an abort or a pause of then must not meet the run again.
            exclude.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
            exclude.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
            exclude.RESET_REAPPLY_EXCLUDE_TYPE_CANCEL_REQUEST,
        ],
    )
    try:
        await _end_children(client, key, by)
        answer = await client.workflow_service.reset_workflow_execution(request)
    except RPCError as error:
        raise _told(error, key) from error
    except TimeoutError as error:
        raise ServiceUnavailable(f"The engine of {key} does not end; the same command goes on with it.") from error
    return str(answer.run_id)


async def _end_children(client: Client, key: str, by: str) -> None:
    """A run whose engine is at work is ended first: the engine of the next one takes its name."""
    handle = client.get_workflow_handle(workflow_id(key))
    description = await handle.describe(rpc_timeout=ANSWER_WITHIN)
    children: list[Any] = list(description.raw_description.pending_children)
    if not children or description.status is not WorkflowExecutionStatus.RUNNING:
        return
    await handle.terminate(reason=f"sdlc retry --from-step, by {by}", rpc_timeout=ANSWER_WITHIN)
    async with asyncio.timeout(_CHILD_SECONDS):
        for child in children:
            engine = client.get_workflow_handle(child.workflow_id, run_id=child.run_id)
            status: WorkflowExecutionStatus | None = WorkflowExecutionStatus.RUNNING
            while status is WorkflowExecutionStatus.RUNNING:
                await asyncio.sleep(_LOOK_EVERY)
                status = (await engine.describe(rpc_timeout=ANSWER_WITHIN)).status


def _told(error: RPCError, key: str) -> Exception:
    match error.status.name:
        case "NOT_FOUND":
            return RunNotFound(f"There is no run for {key}; `sdlc list` shows those there are.")
        case "PERMISSION_DENIED" | "UNAUTHENTICATED":
            return PermissionDenied(f"Temporal does not let us reset {key} ({error.message}); ask for the right to.")
        case "INVALID_ARGUMENT" | "FAILED_PRECONDITION":
            return UsageError(f"Temporal can't go back there in {key}: {error.message}. Another step may do.")
    return ServiceUnavailable(f"Temporal does not answer ({error.message}); is the server up?")
