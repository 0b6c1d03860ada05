"""Work loops that stand alone, as people handle them. Their keys, `workloop-…`, are good wherever a run's key is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from temporalio.client import WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError, is_cancelled_exception

from sdlc.activities import BriefRequest
from sdlc.activity_calls import why
from sdlc.alone import AloneResult
from sdlc.domain import ChangeSet, Instruction, Repository, RunIdentity, TestKind, Ticket
from sdlc.errors import FinalError, UsageError
from sdlc.naming import MAX_TITLE
from sdlc.runtime.runs import Runs, Started, workflow_id
from sdlc.untrusted import visible_text
from sdlc.work_loop import WorkLoopRequest

if TYPE_CHECKING:
    from sdlc.config import Settings

WORKFLOW = "AloneWorkflow"


class LoopStep(StrEnum):
    """What a loop works on until it is green."""

    IMPLEMENT = "implement"
    UNIT_TESTS = "unit_tests"
    INTEGRATION_TESTS = "integration_tests"
    STATIC_CHECKS = "static_checks"


_KINDS = {
    LoopStep.IMPLEMENT: (TestKind.UNIT, "The unit tests pass."),
    LoopStep.UNIT_TESTS: (TestKind.UNIT, "The unit tests pass."),
    LoopStep.INTEGRATION_TESTS: (TestKind.INTEGRATION, "The integration tests pass."),
    LoopStep.STATIC_CHECKS: (TestKind.STATIC, "The static checks (formatter, linter, type checker, build) pass."),
}


@dataclass(frozen=True)
class Loop:
    key: str
    """`workloop-<8 hex>`, made of step, repository, base and instruction: the same loop is not started twice."""
    request: WorkLoopRequest


def loop_of(settings: Settings, step: str, origin: str, instruction: str, *, base: str = "") -> Loop:
    """What is to be started; UsageError for a step that there is not, or nothing to implement.

    `origin` is the repository in full. Without an instruction the loop's task is to get its step green.
    """
    try:
        kind, green = _KINDS[LoopStep(step)]
    except ValueError:
        raise UsageError(f"There is no work loop {step!r}; choose one of {', '.join(LoopStep)}.") from None
    text = instruction.strip()
    if not text and step == LoopStep.IMPLEMENT:
        raise UsageError("Say what is to be implemented, with --instruction.")
    digest = hashlib.sha256("\0".join((step, origin, base, text)).encode()).hexdigest()[:8]
    title = " ".join(visible_text(text)[0].strip().partition("\n")[0].split())[:MAX_TITLE] or f"Mend: {green}"
    ticket = Ticket(key=f"LOOP-{digest}", title=title, acceptance_criteria=(green,))
    # Who it is and where it begins, the workflow finds out.
    repository = Repository(url="", name="", base_branch=base, base_sha="", origin=origin)
    policy = settings.run_policy()
    brief = BriefRequest(
        run=RunIdentity(workflow_id="", run_id="", ticket_key=ticket.key),
        ticket=ticket,
        change=ChangeSet(repository=repository, base_sha="", head_sha="", branch=""),
        instructions=(Instruction(text=text, by=settings.run.starter),) if text else (),
        engine=policy.engine,
    )
    request = WorkLoopRequest(brief=brief, policy=policy, max_turns=policy.max_turns, kinds=(kind,))
    return Loop(f"workloop-{digest}", request)


class Loops(Runs):
    """A run's signals (`pause`, `resume`, `inject_instruction`, `escalate_model`) and `cancel` are a loop's too."""

    async def start_loop(self, loop: Loop) -> Started:
        """Start a loop, or join it if it is at work."""
        wanted = workflow_id(loop.key)
        with self._told(loop.key):
            try:
                handle = await self._client.start_workflow(
                    WORKFLOW,
                    loop.request,
                    id=wanted,
                    task_queue=self._task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    static_summary=loop.request.brief.ticket.title,
                )
            except WorkflowAlreadyStartedError as error:
                return Started(workflow_id=wanted, run_id=error.run_id or "", joined=True)
        return Started(workflow_id=wanted, run_id=handle.first_execution_run_id or "", joined=False)

    async def loop_progress(self, key: str) -> dict[str, Any]:
        """State, iterations, turns, plan, model and usage so far."""
        return await self._query(key, "progress", dict[str, Any])

    async def loop_result(self, key: str) -> AloneResult:
        """What a loop came to, waiting for its end; FinalError with the reason if it failed or was stopped."""
        with self._told(key):
            handle = self._client.get_workflow_handle(workflow_id(key), result_type=AloneResult)
            try:
                result: AloneResult = await handle.result()
            except WorkflowFailureError as error:
                if error.cause is not None and is_cancelled_exception(error.cause):
                    raise FinalError(f"{key} was cancelled; what was committed is kept in the forge.") from error
                raise FinalError(f"{key} failed: {why(error.cause or error)}") from error
        return result
