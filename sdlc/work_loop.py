"""WorkLoopWorkflow: implement → test → fix until green, the child workflow of step 2, also usable alone.

The coding agent's conversation lives in this workflow's history, never in the run's own: its
payloads leave the history by external storage, and all that comes back is a `ChangeSet`.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from langchain_core.runnables import RunnableConfig
    from temporalio.langgraph import graph

    from sdlc import policy
    from sdlc.activities import AGENT_GRAPH, RUN_TESTS, WRITE_BRIEF, BriefRequest, EngineRequest, EngineResult, RunTests
    from sdlc.activity_calls import call, why
    from sdlc.domain import ChangeSet, GateDecision, Instruction, Record, RunPolicy, TestKind, TestReport, Usage
    from sdlc.progress import Step
    from sdlc.run_payloads import ModelChosen, Spoken


class WorkLoopRequest(Record):
    brief: BriefRequest
    policy: RunPolicy = RunPolicy()
    max_turns: int = 60
    """Model calls of one implementation."""
    spent: Usage = Usage()
    """What the run has used before this loop began."""
    turns_spent: int = 0
    portions: int = 1
    model: str = ""
    paused: bool = False


class WorkLoopState(StrEnum):
    IMPLEMENTING = "implementing"
    TESTING = "testing"
    PAUSED = "paused"
    DONE = "done"


class WorkLoopResult(Record):
    change: ChangeSet
    summary: str = ""
    plan: tuple[str, ...] = ()
    ended: str = "submitted"
    """As the engine's `EngineResult.ended`; `budget` when a bound of the run stopped it, `failed` when an error did."""
    reason: str = ""
    iterations: int = 0
    turns: int = 0
    usage: Usage = Usage()
    tests: TestReport | None = None
    unheard: tuple[Instruction, ...] = ()
    """Said after the engine's last turn; the run keeps them for the next round."""


class SteerWord(Record):
    """What an engine is told between two turns."""

    instructions: tuple[Instruction, ...] = ()
    stop: str = ""
    """Why to end now, as `EngineResult.ended`; empty: go on."""
    model: str = ""
    """Another model from now on; empty: the same."""


@workflow.defn
class WorkLoopWorkflow:
    @workflow.init
    def __init__(self, request: WorkLoopRequest) -> None:
        self._request = request
        self._state = WorkLoopState.IMPLEMENTING
        self._iterations = 0
        self._turns = 0
        self._usage = Usage()
        self._turn = 0
        self._turn_usage = Usage()
        self._tests: TestReport | None = None
        self._paused = request.paused
        self._model = request.model
        self._instructions: list[Instruction] = []
        self._summary = ""
        self._plan: tuple[str, ...] = ()
        self._budget_reason = ""
        self._began = workflow.time()
        self._paused_seconds = 0.0

    @workflow.run
    async def run(self, request: WorkLoopRequest) -> WorkLoopResult:
        brief = request.brief
        while True:
            self._iterations += 1
            try:
                result = await self._implement(brief)
            except FailureError as error:
                if is_cancelled_exception(error):
                    raise
                return self._given_up(brief, why(error))
            if result.ended in ("budget", "no_change") or result.change.is_empty:
                break
            if result.change.head_sha != brief.change.head_sha:
                # An iteration that adds nothing has nothing to tell either: what was said before stands.
                self._summary, self._plan = result.summary, result.plan
            self._tests = await self._test(result.change)
            if self._tests.is_green or self._iterations >= request.policy.max_iterations:
                break
            verdict = policy.tests_gate(self._tests, waived=(), rounds_left=1)
            if verdict.decision is not GateDecision.FIX:
                break  # a person's matter; the run itself asks
            brief = brief.model_copy(update={"change": result.change, "tests": (self._tests,)})
        self._state = WorkLoopState.DONE
        return WorkLoopResult(
            change=result.change,
            summary=self._summary or result.summary,
            plan=self._plan or result.plan,
            ended=result.ended,
            reason=self._budget_reason,
            iterations=self._iterations,
            turns=self._turns,
            usage=self._usage,
            tests=self._tests,
            unheard=tuple(self._instructions),
        )

    def _given_up(self, brief: BriefRequest, reason: str) -> WorkLoopResult:
        """The engine failed for good; what it cost until then is told all the same."""
        self._state = WorkLoopState.DONE
        return WorkLoopResult(
            change=brief.change,
            ended="failed",
            reason=reason,
            iterations=self._iterations,
            turns=self._turns + self._turn,
            usage=self._usage + self._turn_usage,
            unheard=tuple(self._instructions),
        )

    async def _implement(self, brief: BriefRequest) -> EngineResult:
        self._state = WorkLoopState.IMPLEMENTING
        text = await call(WRITE_BRIEF, brief, step=Step.IMPLEMENT, policy=self._request.policy, timeout=300)
        _heed_cancellation()
        asked = EngineRequest(
            run=brief.run, change=brief.change, brief=text, max_turns=self._request.max_turns, model=self._model
        )
        config: RunnableConfig = {"recursion_limit": recursion_limit(self._request.max_turns)}
        state = await graph(AGENT_GRAPH).compile().ainvoke({"request": asked.model_dump(mode="json")}, config)
        result = EngineResult.model_validate(state["result"])
        self._usage = self._usage + result.usage
        self._turn, self._turn_usage = 0, Usage()
        self._turns += result.turns
        return result

    async def _test(self, change: ChangeSet) -> TestReport:
        self._state = WorkLoopState.TESTING
        request = RunTests(run=self._request.brief.run, change=change, kind=TestKind.UNIT)
        report = await call(RUN_TESTS, request, step=Step.UNIT_TESTS, policy=self._request.policy)
        _heed_cancellation()
        return report

    async def before_turn(self, turn: int, usage: Usage) -> SteerWord:
        """What the engine is told before turn `turn` (0 first); `usage` is that of this implementation so far.

        Waits here while paused.
        """
        self._turn, self._turn_usage = turn, usage
        await self._while_paused()
        request = self._request
        spent = policy.budget_spent(
            request.spent + self._usage + usage,
            request.turns_spent + self._turns + turn,
            request.policy.budget,
            portions=request.portions,
        )
        self._budget_reason = spent or self._time_spent() or ""
        heard, self._instructions = tuple(self._instructions), []
        return SteerWord(instructions=heard, stop="budget" if self._budget_reason else "", model=self._model)

    async def _while_paused(self) -> None:
        if not self._paused:
            return
        before, self._state = self._state, WorkLoopState.PAUSED
        since = workflow.time()
        await workflow.wait_condition(lambda: not self._paused)
        self._paused_seconds += workflow.time() - since
        self._state = before

    def _time_spent(self) -> str | None:
        limit = policy.limits_for(Step.IMPLEMENT, self._request.policy).timeout_seconds
        worked = workflow.time() - self._began - self._paused_seconds
        if worked < limit:
            return None
        return f"The implementation's {limit / 60:.0f} min are over."

    # --- messages -------------------------------------------------------------------------

    @workflow.signal
    def pause(self, said: Spoken) -> None:
        self._paused = True

    @workflow.signal
    def resume(self, said: Spoken) -> None:
        self._paused = False

    @workflow.signal
    def inject_instruction(self, said: Instruction) -> None:
        self._instructions.append(said)

    @workflow.signal
    def escalate_model(self, said: ModelChosen) -> None:
        self._model = said.model

    @workflow.query
    def current_state(self) -> str:
        return self._state.value

    @workflow.query
    def iteration_count(self) -> int:
        return self._iterations

    @workflow.query
    def progress(self) -> dict[str, object]:
        """State, iterations, turns and usage so far."""
        return {
            "state": self._state.value,
            "iterations": self._iterations,
            "usage": (self._usage + self._turn_usage).model_dump(mode="json"),
        }

    @workflow.query
    def test_results(self) -> list[TestReport]:
        return [self._tests] if self._tests else []


def recursion_limit(max_turns: int) -> int:
    """LangGraph's limit for the agent's graph: three nodes a turn and a few around them, with room to spare.

    LangGraph's own default of 25 would end the eighth turn.
    """
    return 10 * max_turns + 50


def _heed_cancellation() -> None:
    """A cancellation that came during a short activity is gone after it, unless it is looked for."""
    if workflow.cancellation_reason() is not None:
        raise asyncio.CancelledError("the run was stopped")
