"""WorkLoopWorkflow: implement → test → fix until green, the child workflow of step 2, also usable alone.

The coding agent's conversation lives in this workflow's history, never in the run's own: its
payloads leave the history by external storage, and all that comes back is a `ChangeSet`.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum

from temporalio import workflow
from temporalio.exceptions import FailureError, TimeoutError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from langchain_core.runnables import RunnableConfig
    from pydantic import ValidationError
    from temporalio.langgraph import graph

    from sdlc import budget, ladder, policy
    from sdlc.activities import (
        AGENT,
        AGENT_GRAPH,
        RUN_ENGINE,
        RUN_TESTS,
        WRITE_BRIEF,
        BriefRequest,
        EngineRequest,
        EngineResult,
        RunTests,
    )
    from sdlc.activity_calls import call, start, why
    from sdlc.domain import ChangeSet, GateDecision, Instruction, Record, RunPolicy, TestKind, TestReport, Usage
    from sdlc.progress import Step
    from sdlc.run_payloads import EngineNews, ModelChosen, Spoken


class WorkLoopRequest(Record):
    brief: BriefRequest
    policy: RunPolicy = RunPolicy()
    max_turns: int = 60
    """Model calls of one implementation."""
    kinds: tuple[TestKind, ...] = (TestKind.UNIT,)
    """Tests to run after each implementation, in this order, up to the first that is red."""
    spent: Usage = Usage()
    """What the run has used before this loop began."""
    turns_spent: int = 0
    minutes_spent: float = 0.0
    portions: int = 1
    model: str = ""
    red_rounds: int = 0
    """Red rounds of the run just before this loop, one after the other."""
    consented: tuple[str, ...] = ()
    """Protected paths that a person lets this run change."""
    protected: tuple[str, ...] = ()
    """Protected paths of the change as it is now, without consent and with it (`allowed`)."""
    allowed: tuple[str, ...] = ()
    checkpoint: str = ""
    """Of a program that was lost with its worker: work to go on from."""
    paused: bool = False
    report_to: str = ""
    """Id of a workflow that hears by the signal `engine_reported` when the plan changes or the budget runs low."""


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
    """The last ones that were run."""
    unheard: tuple[Instruction, ...] = ()
    """Said after the engine's last turn; the run keeps them for the next round."""
    engine: str = ""
    """Name and exact version; empty: the built-in agent."""
    models: tuple[str, ...] = ()
    """Those that were asked."""
    chosen_model: str = ""
    """Where the ladder has led; empty: to the configured one."""
    protected: tuple[str, ...] = ()
    """Protected paths of the change that nobody has consented to."""
    allowed: tuple[str, ...] = ()
    """Protected paths that it touches with consent."""
    taken_over: int = 0
    sandboxed: bool = True
    red_rounds: int = 0
    """With the chosen model, one after the other."""
    checkpoint: str = ""
    """Left behind by a program whose worker was lost and that was not begun again."""


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
        self._tests: dict[TestKind, TestReport] = {}
        self._last_tests: TestReport | None = None
        self._paused = request.paused
        self._model = request.model
        self._red = request.red_rounds
        self._protected, self._allowed = request.protected, request.allowed
        self._sandboxed = True
        self._checkpoint = request.checkpoint
        self._heard: list[Instruction] = []
        """All that was said while this loop works: each brief of it has them."""
        self._stopping = False
        self._instructions: list[Instruction] = []
        self._summary = ""
        self._plan: tuple[str, ...] = ()
        self._engine = ""
        self._models: dict[str, None] = {}
        self._taken_over = 0
        self._budget_reason = ""
        self._reported = EngineNews()
        self._warned = False
        self._program: workflow.ActivityHandle[EngineResult] | None = None
        self._began = workflow.time()
        self._paused_seconds = 0.0

    @workflow.run
    async def run(self, request: WorkLoopRequest) -> WorkLoopResult:
        try:
            return await self._loop(request)
        except (asyncio.CancelledError, FailureError):
            if workflow.cancellation_reason() is not None:
                self._turns, self._usage = self._turns + self._turn, self._usage + self._turn_usage
                self._turn, self._turn_usage = 0, Usage()
                await self._report(self._spent(0, Usage()))  # who stopped it shall know what it has cost
            raise

    async def _loop(self, request: WorkLoopRequest) -> WorkLoopResult:
        brief = request.brief
        while True:
            self._iterations += 1
            try:
                result = await self._implement(brief)
            except FailureError as error:
                if workflow.cancellation_reason() is not None:
                    raise
                return self._given_up(brief, error)
            if result.ended in ("budget", "no_change", "time", "failed") or result.change.is_empty:
                break
            if result.change.head_sha != brief.change.head_sha:
                # An iteration that adds nothing has nothing to tell either: what was said before stands.
                self._summary, self._plan = result.summary, result.plan or self._plan
            report = await self._test(result.change)
            if report.is_green or self._iterations >= request.policy.max_iterations:
                break
            verdict = policy.tests_gate(report, waived=(), rounds_left=1)
            if verdict.decision is not GateDecision.FIX:
                break  # a person's matter; the run itself asks
            self._count_red()
            said = request.brief.instructions + tuple(self._heard)
            brief = brief.model_copy(update={"change": result.change, "tests": (report,), "instructions": said})
        self._state = WorkLoopState.DONE
        reason = self._budget_reason or result.reason
        return self._result(result.change, result.ended, reason).model_copy(
            update={"summary": self._summary or result.summary, "plan": self._plan or result.plan}
        )

    def _result(self, change: ChangeSet, ended: str, reason: str) -> WorkLoopResult:
        # What was said to an engine that didn't come to its end is said again to the next one.
        kept = [*self._heard, *self._instructions] if ended in ("budget", "failed") else self._instructions
        return WorkLoopResult(
            ended=ended,
            reason=reason,
            change=change,
            iterations=self._iterations,
            turns=self._turns,
            usage=self._usage,
            tests=self._last_tests,
            unheard=tuple(kept),
            engine=self._engine,
            models=tuple(self._models),
            chosen_model=self._model,
            taken_over=self._taken_over,
            protected=self._protected,
            allowed=self._allowed,
            sandboxed=self._sandboxed,
            red_rounds=self._red,
            checkpoint=self._checkpoint,
        )

    def _given_up(self, brief: BriefRequest, error: FailureError) -> WorkLoopResult:
        """The engine failed for good; what it cost until then is told all the same."""
        self._state = WorkLoopState.DONE
        left = _left_behind(error)
        self._turns += self._turn + left.turns
        self._usage = self._usage + self._turn_usage + left.usage
        self._turn, self._turn_usage = 0, Usage()
        self._checkpoint = left.head_sha or self._checkpoint
        return self._result(brief.change, "failed", why(error))

    def _count_red(self) -> None:
        """One more red iteration; enough of them lead one step up the ladder."""
        self._red += 1
        if ladder.due(self._red, self._request.policy.escalate_after):
            self._model, self._red = ladder.next_model(self._request.policy.ladder, self._model) or self._model, 0

    # --- the engine -----------------------------------------------------------------------

    async def _implement(self, brief: BriefRequest) -> EngineResult:
        self._state = WorkLoopState.IMPLEMENTING
        run = self._run_agent if self._request.policy.engine == AGENT else self._run_program
        result = await run(brief)
        self._usage = self._usage + result.usage
        self._turn, self._turn_usage = 0, Usage()
        self._turns += result.turns
        self._taken_over += result.taken_over
        self._engine = result.engine or self._engine
        if result.model:
            self._models[result.model] = None
        return result

    def _judged(self, result: EngineResult) -> None:
        """Take up what guard rails have said about the change; a failed engine's was not looked at."""
        if result.checkpoint:
            self._checkpoint = result.checkpoint
        elif result.ended != "failed":
            self._protected, self._allowed = result.protected, result.allowed
            self._checkpoint = ""
        self._sandboxed = self._sandboxed and result.sandboxed

    async def _run_agent(self, brief: BriefRequest) -> EngineResult:
        """The built-in agent: a graph, which asks `before_turn` between two turns."""
        asked = await self._asked(brief)
        config: RunnableConfig = {"recursion_limit": recursion_limit(self._request.max_turns)}
        state = await graph(AGENT_GRAPH).compile().ainvoke({"request": asked.model_dump(mode="json")}, config)
        result = EngineResult.model_validate(state["result"])
        self._judged(result)
        return result

    async def _run_program(self, brief: BriefRequest) -> EngineResult:
        """A program can't be spoken to: for a word of people it is stopped, and begins again from what it has done."""
        start_sha, usage, turns, taken_over = brief.change.head_sha, Usage(), 0, 0
        while True:
            word = await self.before_turn(turns, usage, self._plan)
            if word.stop:
                result = EngineResult(change=brief.change, ended=word.stop)
            else:
                brief = brief.model_copy(update={"instructions": brief.instructions + word.instructions})
                result = await self._one_program(brief, turns, usage)
            usage, turns = usage + result.usage, turns + result.turns
            taken_over += result.taken_over
            if result.ended != "interrupted":
                break
            brief = brief.model_copy(update={"change": result.change})
        ended = result.ended
        if ended == "no_change" and result.change.head_sha != start_sha:
            ended = "submitted"  # what it did before it was stopped stands
        return result.model_copy(update={"ended": ended, "usage": usage, "turns": turns, "taken_over": taken_over})

    async def _one_program(self, brief: BriefRequest, turns: int, usage: Usage) -> EngineResult:
        asked = await self._asked(brief, turns, usage)
        if self._paused or self._instructions:  # said while the brief was written
            return EngineResult(change=brief.change, ended="interrupted")
        limits = self._request.policy
        self._stopping = False
        self._program = start(
            RUN_ENGINE,
            asked,
            step=Step.IMPLEMENT,
            policy=limits,
            timeout=asked.seconds + _ENGINE_TIDIES_UP,
            attempts=None if Step.IMPLEMENT.key in limits.limits else _ENGINE_ATTEMPTS,
            summary=f"{limits.engine}: iteration {self._iterations}",
        )
        try:
            result = await self._program
            self._judged(result)
        except FailureError as error:
            result = self._unanswered(brief, error)
        finally:
            self._program = None
        _heed_cancellation()
        return result

    def _unanswered(self, brief: BriefRequest, error: FailureError) -> EngineResult:
        """A program that was stopped for a word of people and could not answer: it waited for its turn, or its worker
        was gone. Raises the error if it wasn't stopped."""
        _heed_cancellation()
        if not (self._stopping and (is_cancelled_exception(error) or isinstance(error.__cause__, TimeoutError))):
            raise error
        left = _left_behind(error)
        self._checkpoint = left.head_sha or self._checkpoint
        return EngineResult(change=brief.change, ended="interrupted", usage=left.usage, turns=left.turns)

    async def _asked(self, brief: BriefRequest, turns: int = 0, usage: Usage | None = None) -> EngineRequest:
        request = self._request
        text = await call(WRITE_BRIEF, brief, step=Step.IMPLEMENT, policy=request.policy, timeout=300)
        _heed_cancellation()
        left = budget.left(self._spent(turns, usage or Usage()), request.policy.budget, portions=request.portions)
        turns_left = request.max_turns - turns
        return EngineRequest(
            run=brief.run,
            change=brief.change,
            brief=text,
            title=brief.ticket.title,
            max_turns=turns_left if left.turns is None else max(1, min(turns_left, left.turns)),
            model=self._model,
            engine=request.policy.engine,
            seconds=max(60.0, self._seconds_left()),
            tokens_left=left.tokens,
            usd_left=left.usd,
            consented=request.consented,
            checkpoint=self._checkpoint,
        )

    async def before_turn(self, turn: int, usage: Usage, plan: tuple[str, ...] = ()) -> SteerWord:
        """What the engine is told before turn `turn` (0 first); `usage` is that of this implementation so far.

        Waits here while paused.
        """
        self._turn, self._turn_usage = turn, usage
        self._plan = plan or self._plan
        await self._while_paused()
        spent = self._spent(turn, usage)
        allowed, portions = self._request.policy.budget, self._request.portions
        low = budget.warned(spent, allowed, portions=portions) is not None
        if self._plan != self._reported.plan or (low and not self._warned):
            self._warned = self._warned or low
            await self._report(spent)
        self._budget_reason = budget.over(spent, allowed, portions=portions) or self._time_spent() or ""
        heard, self._instructions = tuple(self._instructions), []
        self._heard += heard
        return SteerWord(instructions=heard, stop="budget" if self._budget_reason else "", model=self._model)

    def _spent(self, turn: int, usage: Usage) -> budget.Spent:
        request = self._request
        return budget.Spent(
            usage=request.spent + self._usage + usage,
            turns=request.turns_spent + self._turns + turn,
            minutes=request.minutes_spent + self._worked() / 60,
        )

    async def _report(self, spent: budget.Spent) -> None:
        """Tell the run the plan, and what was used so far."""
        request = self._request
        if not request.report_to:
            return
        self._reported = EngineNews(
            plan=self._plan, usage=self._usage + self._turn_usage, turns=spent.turns - request.turns_spent
        )
        try:
            await workflow.get_external_workflow_handle(request.report_to).signal("engine_reported", self._reported)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            # It is about to be over; nobody needs to know.

    async def _while_paused(self) -> None:
        if not self._paused:
            return
        before, self._state = self._state, WorkLoopState.PAUSED
        since = workflow.time()
        await workflow.wait_condition(lambda: not self._paused)
        self._paused_seconds += workflow.time() - since
        self._state = before

    def _worked(self) -> float:
        """Seconds, pauses left out."""
        return workflow.time() - self._began - self._paused_seconds

    def _seconds_left(self) -> float:
        return policy.limits_for(Step.IMPLEMENT, self._request.policy).timeout_seconds - self._worked()

    def _time_spent(self) -> str | None:
        if self._seconds_left() > 0:
            return None
        limit = policy.limits_for(Step.IMPLEMENT, self._request.policy).timeout_seconds
        return f"The implementation's {limit / 60:.0f} min are over."

    # --- tests ----------------------------------------------------------------------------

    async def _test(self, change: ChangeSet) -> TestReport:
        """The tests of this loop, one kind after the other, up to the first that is red."""
        self._state = WorkLoopState.TESTING
        for kind in self._request.kinds:
            request = RunTests(run=self._request.brief.run, change=change, kind=kind)
            report = await call(RUN_TESTS, request, step=_STEP_OF[kind], policy=self._request.policy)
            self._tests[kind] = self._last_tests = report
            _heed_cancellation()
            if not report.is_green:
                break
        return report

    # --- messages -------------------------------------------------------------------------

    @workflow.signal
    def pause(self, said: Spoken) -> None:
        self._paused = True
        self._interrupt()

    @workflow.signal
    def resume(self, said: Spoken) -> None:
        self._paused = False

    @workflow.signal
    def inject_instruction(self, said: Instruction) -> None:
        self._instructions.append(said)
        self._interrupt()

    @workflow.signal
    def escalate_model(self, said: ModelChosen) -> None:
        chosen = said.model or ladder.next_model(self._request.policy.ladder, self._model)
        if chosen and chosen != self._model:
            self._model = chosen
            self._interrupt()

    def _interrupt(self) -> None:
        """Stop a program so that the word counts now: it ends as `interrupted`, with all it has done."""
        if self._program is not None:
            self._stopping = True
            self._program.cancel()

    @workflow.query
    def current_state(self) -> str:
        return self._state.value

    @workflow.query
    def iteration_count(self) -> int:
        return self._iterations

    @workflow.query
    def progress(self) -> dict[str, object]:
        """State, iterations, plan, turns and usage so far."""
        return {
            "state": self._state.value,
            "iterations": self._iterations,
            "turns": self._turns + self._turn,
            "plan": list(self._plan),
            "engine": self._engine or self._request.policy.engine,
            "model": self._model,
            "usage": (self._usage + self._turn_usage).model_dump(mode="json"),
        }

    @workflow.query
    def test_results(self) -> list[TestReport]:
        return list(self._tests.values())


_STEP_OF = {
    TestKind.UNIT: Step.UNIT_TESTS,
    TestKind.INTEGRATION: Step.INTEGRATION_TESTS,
    TestKind.STATIC: Step.STATIC_CHECKS,
    TestKind.ACCEPTANCE: Step.ACCEPTANCE,
}
_ENGINE_ATTEMPTS = 25
"""Of a program, as of each node of the agent: a worker that shuts down counts as one, and the next goes on from it."""
_ENGINE_TIDIES_UP = 900.0
"""Seconds that a program's activity may take beyond the program: environment, commits, the log."""


def recursion_limit(max_turns: int) -> int:
    """LangGraph's limit for the agent's graph: three nodes a turn and a few around them, with room to spare.

    LangGraph's own default of 25 would end the eighth turn.
    """
    return 10 * max_turns + 50


class _LeftBehind(Record):
    """What the last heartbeat of a lost program says; the activity's `Progress` has these under the same names."""

    head_sha: str = ""
    usage: Usage = Usage()
    turns: int = 0


def _left_behind(error: FailureError) -> _LeftBehind:
    cause = error.__cause__
    details = cause.last_heartbeat_details if isinstance(cause, TimeoutError) else ()
    try:
        return _LeftBehind.model_validate(details[0]) if details else _LeftBehind()
    except ValidationError:
        return _LeftBehind()


def _heed_cancellation() -> None:
    """A cancellation that came during a short activity is gone after it, unless it is looked for."""
    if workflow.cancellation_reason() is not None:
        raise asyncio.CancelledError("the run was stopped")
