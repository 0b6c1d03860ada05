"""SdlcWorkflow: the seventeen steps, read from top to bottom.

Only decisions are made here and in `sdlc.policy`; everything that touches the world is an
activity or a graph node. Below this class stand, from top to bottom: `sdlc.approval_wait` (how a run waits at
its pull request), `sdlc.forge_talk` (what it hears from there), `sdlc.step_runner` (how a step runs and people
are asked), `sdlc.run_view` (what is shown of a run) and `sdlc.run_messages` (what people say to it).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from temporalio.langgraph import graph

    from sdlc import activities as do
    from sdlc import budget, ladder, policy
    from sdlc.activity_calls import why
    from sdlc.approval_wait import ApprovalWait, BranchMoved
    from sdlc.domain import (
        ApprovalDecision,
        ChangeSet,
        CiReport,
        CiState,
        DecisionKind,
        GateDecision,
        GateVerdict,
        Instruction,
        Panel,
        PanelReport,
        PanelState,
        Plan,
        PullRequest,
        PullRequestState,
        Record,
        RunRequest,
        RunState,
        SourceReport,
        SourceState,
        TestKind,
        TestOutcome,
        TestReport,
        Ticket,
    )
    from sdlc.loop_children import Children
    from sdlc.naming import branch_name, counted
    from sdlc.parts import Parts, PartsState, planned
    from sdlc.progress import RunOutcome, Step, StepState
    from sdlc.repeats import without_repeats
    from sdlc.run_payloads import EngineNews, ModelChosen, Spoken
    from sdlc.work_loop import WorkLoopRequest, WorkLoopResult, WorkLoopWorkflow

_TESTS = (
    (Step.UNIT_TESTS, TestKind.UNIT),
    (Step.INTEGRATION_TESTS, TestKind.INTEGRATION),
    (Step.STATIC_CHECKS, TestKind.STATIC),
)
_REVIEWS = {
    Panel.ARCHITECTURE: Step.REVIEW_ARCHITECTURE,
    Panel.SECURITY: Step.REVIEW_SECURITY,
    Panel.QUALITY: Step.REVIEW_QUALITY,
    Panel.TECHSTACK: Step.REVIEW_TECHSTACK,
}


class Round(Record):
    """Why the engine is sent to work (again), beyond the ticket itself."""

    reason: str = ""
    fingerprints: tuple[str, ...] = ()
    panel_reports: tuple[PanelReport, ...] = ()
    tests: tuple[TestReport, ...] = ()
    ci: CiReport | None = None
    decisions: tuple[ApprovalDecision, ...] = ()


Turn = ApprovalDecision | BranchMoved | Round
"""What comes after a pull request was shown: people's decision, or more work."""

_FINISHED_SECONDS, _LAST_WORDS_SECONDS = 20.0, 300.0
"""How long a run waits for what it tells people: before it shows that it is over, and then before it ends."""

_FIRST_CI_WAIT, _LONGEST_CI_WAIT = 30.0, 600.0
"""Seconds between two looks at the forge's checks, beyond those that it tells of by itself."""


@workflow.defn
class SdlcWorkflow(ApprovalWait):
    """One ticket, from its claim to its closing."""

    @workflow.init
    def __init__(self, request: RunRequest) -> None:
        super().__init__(request)
        self._work: asyncio.Task[None] | None = None
        self._engine: workflow.ChildWorkflowHandle[WorkLoopWorkflow, WorkLoopResult] | None = None
        self._unasked: tuple[str, ...] = ()
        """Protected paths that nobody had consented to when the engine ended."""
        self._checkpoint = ""
        """Of a program that was lost for good with its worker: the next one goes on from it."""
        self._ci_seen = 0
        self._children: Children | None = None
        """Where the ticket is done in parts that are at work."""
        self._planned: Plan | None = None
        """The planner's, once it was asked."""
        self._parts: PartsState | None = None
        self.red_rounds = 0
        """With the present model, one after the other."""

    @workflow.run
    async def run(self, request: RunRequest) -> RunOutcome:
        self._work = asyncio.create_task(self._steps())
        # A run that began before there was a watch goes on without it, so that its history can be replayed.
        watching = [asyncio.create_task(self.watch_budget())] if workflow.patched("budget-watch") else []
        if workflow.patched("forge-talk"):
            watching.append(asyncio.create_task(self.listen()))
        if self.abort_reason:
            self._work.cancel()  # it came before the first task
        try:
            await self._work
        except (asyncio.CancelledError, FailureError) as error:
            if not is_cancelled_exception(error):
                raise
            await self._compensate()
            if not self.abort_reason:
                raise
        finally:
            for task in watching:
                task.cancel()
        await self.all_told(_LAST_WORDS_SECONDS)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.outcome()

    async def _steps(self) -> None:
        ticket = await self._select_task()
        change = await self._implement(Round())
        while True:
            change = await self._until_reviewed_and_tested(change)
            turn = await self.meanwhile() or await self._show_and_wait(ticket, change)
            if isinstance(turn, ApprovalDecision) and turn.kind is DecisionKind.APPROVE:
                moved = await self._close_story()
                if moved is None:
                    return None
                change = await self._take_over(moved)
            elif isinstance(turn, ApprovalDecision) and turn.kind is DecisionKind.REJECT:
                return await self._reject(turn)
            elif isinstance(turn, ApprovalDecision):
                change = await self._revise(turn)
            elif isinstance(turn, BranchMoved):
                change = await self._take_over(turn)
            else:
                change = await self._fix(turn)

    async def _show_and_wait(self, ticket: Ticket, change: ChangeSet) -> Turn:
        """Steps 12 to 16."""
        pull_request = await self._create_pull_request(ticket, change)
        red = await self._forge_checks(pull_request)
        if red is not None:
            return red
        await self._publish_reviews(pull_request)
        await self._request_approval(pull_request)
        turn = await self._await_approval()
        if isinstance(turn, ApprovalDecision) and turn.kind is DecisionKind.APPROVE:
            return await self._await_merge(turn)
        return turn

    async def _until_reviewed_and_tested(self, change: ChangeSet) -> ChangeSet:
        """Steps 3 to 11, again from 3 on each new head, until nothing holds the change up."""
        while True:
            fix = await self._review(change) or await self._test(change)
            if fix is None:
                return change
            change = await self._fix(fix)

    async def _fix(self, back: Round) -> ChangeSet:
        self.fix_rounds += 1
        self.rounds_left -= 1
        self.red_rounds += 1
        stronger = ladder.next_model(self.policy.ladder, self.model)
        if stronger and ladder.due(self.red_rounds, self.policy.escalate_after):
            await self.use_model(stronger, why=f"after {counted(self.red_rounds, 'red round')}")
            self.red_rounds = 0
        return await self._implement(back)

    # --- 1 ------------------------------------------------------------------------------------

    async def _select_task(self) -> Ticket:
        async def select() -> Ticket:
            request = do.SelectTask(run=self.identity(), claimant=self.policy.approval.bot)
            ticket = await self.call(do.SELECT_TASK, request, Step.SELECT_TASK)
            self.repository = await self.call(
                do.OPEN_REPOSITORY,
                do.OpenRepository(origin=self.request.repository, base_branch=self.request.base_branch),
                Step.SELECT_TASK,
            )
            return ticket

        self.ticket = await self.run_step(Step.SELECT_TASK, select, said=lambda ticket: ticket.title)
        return self.ticket

    # --- 2 ------------------------------------------------------------------------------------

    async def _implement(self, back: Round) -> ChangeSet:
        before, told_before = self.change, len(self.summaries)
        protected_before = self.protected, self._unasked

        async def implement() -> ChangeSet:
            result = await self._run_engine(back)
            over = budget.over(self.spent(), self.policy.budget, portions=self.portions)
            self.out_of_budget = result.ended == "budget" and over is not None
            # Compared with the round's beginning: an attempt before this one may have done the work already.
            unchanged = result.change.is_empty or (before is not None and result.change.head_sha == before.head_sha)
            if result.ended in ("budget", "failed") or unchanged:
                why_not = result.reason or _no_change(result)
                raise ApplicationError(why_not, type="NothingChanged", non_retryable=True)
            return result.change

        while True:
            change = await self.run_step(
                Step.IMPLEMENT,
                implement,
                said=lambda change: self.summaries[-1] if self.summaries else f"{change.files_changed} files changed",
                # An engine that won't mend what it was sent back for: a person may let that stand.
                waived=before if back.fingerprints else None,
                obstacles=back.fingerprints,
            )
            if change is before:
                del self.summaries[told_before:]
                self.protected, self._unasked = protected_before
            self._hold(change)
            if await self._protected_paths_consented():
                return change

    async def _protected_paths_consented(self) -> bool:
        """Ask people about protected paths; False when the engine shall put them back."""
        while missing := [path for path in self._unasked if policy.path_obstacle(path) not in self.waived]:
            verdict = policy.consent_verdict(missing)
            asked = policy.consented_paths(verdict.fingerprints)
            if await self.ask_people(Step.IMPLEMENT, verdict):
                put_back = f"Put these back as they are on the base branch: {policy.named_paths(asked)}."
                self.instructions.append(Instruction(text=put_back, by="the guard rails"))
                return False
            consented = [path for path in asked if policy.path_obstacle(path) in self.waived]
            if consented:
                self.leave(Step.IMPLEMENT, StepState.DONE, f"with consent: {policy.named_paths(consented)}")
        return True

    async def _run_engine(self, back: Round) -> WorkLoopResult:
        assert self.ticket is not None  # noqa: S101 - step 1 has set both
        assert self.repository is not None  # noqa: S101
        before = self.change or ChangeSet(
            repository=self.repository,
            base_sha=self.repository.base_sha,
            head_sha=self.repository.base_sha,
            branch=branch_name(self.ticket),
        )
        said, self.instructions = tuple(self.instructions), []
        remarks, self.remarks = tuple(self.remarks), []
        brief = do.BriefRequest(
            run=self.identity(),
            ticket=self.ticket,
            change=before,
            round=self.round,
            remarks=remarks,
            instructions=said,
            engine=self.policy.engine,
            **{name: getattr(back, name) for name in ("fingerprints", "panel_reports", "tests", "ci", "decisions")},
        )
        request = WorkLoopRequest(
            brief=brief,
            policy=self.policy,
            max_turns=self.policy.max_turns,
            spent=self.usage,
            turns_spent=self.turns,
            portions=self.portions,
            model=self.model,
            paused=self.paused,
            minutes_spent=self.spent().minutes,
            red_rounds=self.red_rounds,
            consented=policy.consented_paths(self.waived),
            protected=self._unasked,
            allowed=tuple(path for path in self.protected if path not in self._unasked),
            checkpoint=self._checkpoint,
            report_to=workflow.info().workflow_id,
        )
        run = self._in_parts if await self._is_split(request) else self._in_one_piece
        try:
            result = await run(request)
        except (asyncio.CancelledError, FailureError):
            # What it has cost, as far as it has told: there will be no result any more.
            self.spend(Step.IMPLEMENT, self.news.usage)
            self.turns += self.news.turns
            raise
        finally:
            self.news = EngineNews()
        self._account_for(result)
        self.instructions += result.unheard
        if result.ended in ("budget", "failed"):
            self.instructions[:0] = said
            self.remarks[:0] = remarks
        else:
            self.answered += remarks
        self.round += 1
        self.plan = result.plan or self.plan
        if result.summary and result.ended != "failed":
            self.summaries.append(result.summary)
        if not result.change.is_empty:
            self._hold(result.change)
        self.heed_stop()
        return result

    async def _in_one_piece(self, request: WorkLoopRequest) -> WorkLoopResult:
        if self._planned is not None:
            request = request.model_copy(update={"brief": request.brief.model_copy(update={"plan": self._planned})})
        self._engine = await workflow.start_child_workflow(
            WorkLoopWorkflow.run,
            request,
            id=f"{workflow.info().workflow_id}/implement-{self.implementations + 1}",
            cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            static_summary=f"2 Implement: round {self.round}",
        )
        self.implementations += 1
        try:
            await self._tell_engine_what_came_meanwhile(request)
            return await self._engine
        finally:
            self._engine = None

    async def _is_split(self, request: WorkLoopRequest) -> bool:
        """Ask the planner once, before the first implementation; True until all parts are merged."""
        if self._planned is None and self.policy.plan.split != "never":
            said = await planned(request)
            self.heed_stop()
            self.spend(Step.IMPLEMENT, said.usage)
            self._planned, self.plan = said.plan, said.plan.steps
            if said.note:
                self.record("plan", detail=said.note)
            if said.parts:
                self._parts = PartsState(parts=said.parts, change=request.brief.change)
        return self._parts is not None and len(self._parts.merged) < len(self._parts.parts)

    async def _in_parts(self, request: WorkLoopRequest) -> WorkLoopResult:
        assert self._parts is not None  # noqa: S101 - the planner has given them
        children = self._children = Children(request.model_copy(update={"spent": self.usage}))
        work = Parts(children, self._parts, changed=lambda: self._show_parts(children, work))
        try:
            await self._tell_engine_what_came_meanwhile(request)
            return await work.work()
        finally:
            self._children, self._parts = None, work.state
            self.parts = work.progress()

    def _show_parts(self, children: Children, work: Parts) -> None:
        so_far = children.summed(work.state.change)
        self.news = EngineNews(usage=so_far.usage, turns=so_far.turns)
        self.parts = work.progress()
        self.show()

    def _account_for(self, result: WorkLoopResult) -> None:
        self.spend(Step.IMPLEMENT, result.usage)
        self.turns += result.turns
        self.engine = result.engine or self.engine
        self.engine_models |= dict.fromkeys(result.models)
        self.taken_over += result.taken_over
        self.sandboxed = self.sandboxed and result.sandboxed
        self.model = result.chosen_model or self.model
        if result.ended == "submitted" and result.reason:
            self.warn(result.reason)
        self.red_rounds = result.red_rounds
        self._checkpoint = result.checkpoint
        self.protected = tuple(sorted({*result.protected, *result.allowed}))
        self._unasked = result.protected

    async def _tell_engine_what_came_meanwhile(self, request: WorkLoopRequest) -> None:
        """What people said between the making of the request and the start of the child."""
        if self.paused != request.paused:
            await self.tell_engine("pause" if self.paused else "resume", Spoken())
        if self.model and self.model != request.model:
            await self.tell_engine("escalate_model", ModelChosen(model=self.model))
        words, self.instructions = self.instructions, []
        for word in words:
            if not await self.tell_engine("inject_instruction", word):
                self.instructions.append(word)

    def _hold(self, change: ChangeSet) -> None:
        """Take up the baton: decisions and reports about another head count no more."""
        if self.change is None or self.change.head_sha != change.head_sha:
            self.decisions.clear()
            self.tests.clear()
        self.change = change

    # --- 3 to 7 -------------------------------------------------------------------------------

    async def _review(self, change: ChangeSet) -> Round | None:
        """The four panels at once, then the gate; what the engine must mend, or None."""
        while True:
            await self.unpaused()
            await self.within_budget(Step.QUALITY_GATE)
            reports = await asyncio.gather(*(self._panel_report(panel, change) for panel in Panel))
            self.reports = without_repeats(reports)
            self.enter(Step.QUALITY_GATE)
            verdict = self._gate()
            while verdict.decision is GateDecision.ASK:
                if await self.ask_people(Step.QUALITY_GATE, verdict):
                    break
                verdict = self._gate()
            if verdict.decision is GateDecision.PASS:
                self.leave(Step.QUALITY_GATE, StepState.DONE, f"pass, {len(self.open_findings())} left for people")
                return None
            mendable = {finding.fingerprint for finding in self.open_findings()}.intersection(verdict.fingerprints)
            self.leave(Step.QUALITY_GATE, StepState.DONE, f"fix: {len(mendable)} to mend")
            if mendable or self.instructions:
                reason = "; ".join(verdict.reasons)
                return Round(reason=reason, fingerprints=verdict.fingerprints, panel_reports=self.reports)
            # A panel was incomplete and nobody has a word for the engine: the panels once more.

    def _gate(self) -> GateVerdict:
        return policy.quality_gate(self.reports, waived=self.waived, rounds_left=self.rounds_left, policy=self.policy)

    async def _panel_report(self, panel: Panel, change: ChangeSet) -> PanelReport:
        """A panel's report on this head; a complete one is not asked for twice."""
        for report in self.reports:
            on_this_head = (report.panel, report.head_sha) == (panel, change.head_sha)
            if on_this_head and report.state is not PanelState.INCOMPLETE:
                return report
        return await self._panel(panel, change)

    async def _panel(self, panel: Panel, change: ChangeSet) -> PanelReport:
        assert self.ticket  # noqa: S101 - step 1 has set it
        step = _REVIEWS[panel]
        self.enter(step)
        request = do.PanelRequest(
            run=self.identity(),
            panel=panel,
            change=change,
            ticket=self.ticket,
            earlier=next((report for report in self.reports if report.panel is panel), None),
            waived=tuple(sorted(self.waived)),
        )
        try:
            with workflow.create_event_group(step.key, label=f"{step.number} {step.title}").scope():
                compiled = graph(do.panel_graph(panel)).compile()
                state = await compiled.ainvoke({"request": request.model_dump(mode="json")})
            report = PanelReport.model_validate(state["report"])
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            report = _panel_that_failed(panel, change, why(error))
        self.spend(step, report.usage)
        failed = report.state is PanelState.INCOMPLETE
        self.leave(step, StepState.FAILED if failed else StepState.DONE, _panel_line(report))
        return report

    # --- 8 to 11 ------------------------------------------------------------------------------

    async def _test(self, change: ChangeSet) -> Round | None:
        """Unit tests, integration tests, static checks, acceptance; the first that needs mending, or None."""
        for step, kind in _TESTS:
            request = do.RunTests(run=self.identity(), change=change, kind=kind)
            fix = await self._tested(step, partial(self.call, do.RUN_TESTS, request, step))
            if fix is not None:
                return fix
        assert self.ticket  # noqa: S101 - step 1 has set it
        check = do.CheckAcceptance(run=self.identity(), change=change, ticket=self.ticket)
        return await self._tested(Step.ACCEPTANCE, lambda: self.call(do.CHECK_ACCEPTANCE, check, Step.ACCEPTANCE))

    async def _tested(self, step: Step, run: Callable[[], Awaitable[TestReport]]) -> Round | None:
        while True:
            report = await self.run_step(step, run, said=_tests_line, ended=_tests_state)
            self.tests[report.kind] = report
            again = False
            while not again:
                verdict = policy.tests_gate(report, waived=self.waived, rounds_left=self.rounds_left)
                if verdict.decision is GateDecision.PASS:
                    if not report.is_green:
                        self.leave(step, StepState.SKIPPED, f"waived: {report.outcome.value}")
                    return None
                if verdict.decision is GateDecision.FIX:
                    return _mend_tests(report, verdict)
                again = await self.ask_people(step, verdict)
                if again and self.instructions:
                    return _mend_tests(report, verdict)
            # No word for the engine: the same tests once more, as after mending an environment.

    # --- 12 to 15 -----------------------------------------------------------------------------

    async def _create_pull_request(self, ticket: Ticket, change: ChangeSet) -> PullRequest:
        async def create() -> PullRequest:
            await self._look_at_ticket(ticket)
            return await self.call(do.CREATE_PULL_REQUEST, self.evidence(), Step.CREATE_PULL_REQUEST)

        self.pull_request = await self.run_step(Step.CREATE_PULL_REQUEST, create, said=lambda made: made.url)
        self.latest = None  # what was read before is about another head
        await self.answer_remarks()
        return self.pull_request

    async def _look_at_ticket(self, ticket: Ticket) -> None:
        """People may have edited or closed the ticket meanwhile: they are asked before anything is shown."""
        request = do.SelectTask(run=self.identity(), claimant=self.policy.approval.bot)
        now = await self.call(do.REFRESH_TICKET, request, Step.CREATE_PULL_REQUEST)
        moved = policy.ticket_moved(self.ticket or ticket, now)
        if moved is None:
            return
        self.ticket = now  # whichever way it is answered, the same edit is not asked about twice
        hint = "Retry to go on with the work as it is, or abort; request changes on the pull request if it must follow."
        raise ApplicationError(f"{moved} {hint}", type="TicketMoved", non_retryable=True)

    async def _wait_for_ci(self, pull_request: PullRequest) -> CiReport:
        def ended(report: CiReport) -> StepState:
            if report.state is CiState.RED:
                return StepState.FAILED
            return StepState.DONE if report.state is CiState.GREEN else StepState.SKIPPED

        request = do.OnPullRequest(evidence=self.evidence(), pull_request=pull_request)
        obstacle = f"unfinished-ci@{pull_request.head_sha}"
        unfinished = CiReport(state=CiState.PENDING, head_sha=pull_request.head_sha, note="waived: not ended")
        return await self.run_step(
            Step.WAIT_FOR_CI,
            lambda: self._ended_checks(request),
            said=lambda report: report.note or report.state.value,
            ended=ended,
            waived=unfinished,
            obstacles=(obstacle,),
            heals=lambda: self.ci_nudges > self._ci_seen,
        )

    async def _ended_checks(self, request: do.OnPullRequest) -> CiReport:
        """Ask for a minute, then wait without holding a place at a worker: until the forge says something, or a while
        has gone by. How long that may take is the step's time-out."""
        limit = policy.limits_for(Step.WAIT_FOR_CI, self.policy).timeout_seconds
        began, wait = workflow.time(), _FIRST_CI_WAIT
        while True:
            nudges = self._ci_seen = self.ci_nudges
            report = await self.call(do.WAIT_FOR_CI, request, Step.WAIT_FOR_CI)
            if report.state is not CiState.PENDING or not workflow.patched("ci-patience"):
                return report
            left = began + limit - workflow.time()
            if left <= 0:
                hint = "Retry to wait on, or waive."
                said = f"The forge's checks have not ended for {counted(max(1, round(limit / 60)), 'minute')}. {hint}"
                raise ApplicationError(said, type="ChecksUnfinished", non_retryable=True)
            with contextlib.suppress(asyncio.TimeoutError):
                heard = partial(self._ci_nudged, nudges)
                await workflow.wait_condition(heard, timeout=timedelta(seconds=min(wait, left)))
            wait = min(wait * 1.5, _LONGEST_CI_WAIT)

    def _ci_nudged(self, since: int) -> bool:
        return self.ci_nudges > since

    async def _forge_checks(self, pull_request: PullRequest) -> Round | None:
        """Step 13; what the engine must mend, or None when the checks are green, absent or waived."""
        obstacle = f"ci@{pull_request.head_sha}"
        while True:
            ci = await self._wait_for_ci(pull_request)
            names = ", ".join(failure.test for failure in ci.failures[:5])
            red = Round(reason=f"Checks of the forge are red: {names}", fingerprints=(obstacle,), ci=ci)
            if ci.state is not CiState.RED or obstacle in self.waived:
                return None
            if self.rounds_left > 0:
                return red
            reason = f"The forge's checks are red ({names}) and no fix rounds are left."
            verdict = GateVerdict(decision=GateDecision.ASK, reasons=(reason,), fingerprints=(obstacle,))
            if await self.ask_people(Step.WAIT_FOR_CI, verdict) and self.instructions:
                return red
            # Waived, or a retry without a word for the engine: the forge is asked again, its runners may be back.

    async def _publish_reviews(self, pull_request: PullRequest) -> None:
        request = do.OnPullRequest(evidence=self.evidence(), pull_request=pull_request)
        await self.run_step(
            Step.PUBLISH_REVIEWS,
            lambda: self.call(do.PUBLISH_REVIEWS, request, Step.PUBLISH_REVIEWS),
            said=lambda _: f"{counted(len(self.open_findings()), 'finding')}, one status per panel",
        )

    async def _request_approval(self, pull_request: PullRequest) -> None:
        if self.policy.approval.code_owners and self.change is not None:
            owners = do.OwnersRequest(run=self.identity(), change=self.change)
            self.owners = (await self.call(do.CODE_OWNERS, owners, Step.REQUEST_APPROVAL)).names
        approvers = self.approval().approvers
        starter = (self.request.starter, *self.request.starter_aliases)
        request = do.RequestApproval(
            evidence=self.evidence(), pull_request=pull_request, reviewers=approvers, starter=starter
        )
        asked = await self.run_step(
            Step.REQUEST_APPROVAL,
            lambda: self.call(do.REQUEST_APPROVAL, request, Step.REQUEST_APPROVAL),
            said=lambda _: f"asked {', '.join(approvers)}" if approvers else "ready for review",
        )
        # The head is what this run has shown, whatever somebody has pushed since.
        self.pull_request = asked.model_copy(update={"head_sha": pull_request.head_sha})
        head = pull_request.head_sha[:10]
        await self.announce("needs_approval", f"{self.request.ticket_key} waits for an approval of {head}")

    # --- 16 -----------------------------------------------------------------------------------

    async def _await_approval(self) -> ApprovalDecision | BranchMoved:
        """Block until people have decided about this head; remind them on the way, and never end in silence."""
        await self.unpaused()
        self.nudges += 1  # somebody may have said something before the run began to listen
        waits_for = f"{counted(self.approval().required, 'approval')} of {self.pull_request_url()}"
        while True:
            turn = await self.await_people(RunState.AWAITING_APPROVAL, waits_for, self.people_have_said)
            if turn is None and self.decisions[-1].kind is DecisionKind.APPROVE and workflow.patched("forge-talk"):
                turn = await self.moved_meanwhile()
            if turn is not None or self.people_have_said():
                break
        if isinstance(turn, BranchMoved):
            self.leave(Step.AWAIT_APPROVAL, StepState.DONE, "the branch has moved")
            return turn
        decision = turn or self.decisions[-1]
        self.leave(Step.AWAIT_APPROVAL, StepState.DONE, f"{decision.kind.value.replace('_', ' ')} by {decision.by}")
        await self._show_decisions()
        return decision

    async def _await_merge(self, approval: ApprovalDecision) -> ApprovalDecision | BranchMoved:
        """Where the story is done with the merge, and people merge: wait for them. They may still object."""
        if self.policy.close_on == "approval" or self.policy.merge:
            return approval
        if self.latest is not None and self.latest.pull_request.state is PullRequestState.MERGED:
            return approval
        self.nudges += 1
        waits_for = f"the merge of {self.pull_request_url()}"
        turn = await self.await_people(RunState.AWAITING_MERGE, waits_for, self.people_object)
        if turn is None and self.people_object():
            turn = self.decisions[-1]
        said = turn.kind.value.replace("_", " ") if isinstance(turn, ApprovalDecision) else "the branch has moved"
        merged = turn is None or (isinstance(turn, ApprovalDecision) and turn.kind is DecisionKind.APPROVE)
        self.leave(Step.AWAIT_APPROVAL, StepState.DONE, "approved and merged" if merged else said)
        return turn or approval

    async def _take_over(self, moved: BranchMoved) -> ChangeSet:
        """Others' commits are part of the change now: reviewed, tested and shown again, and approved anew."""
        by = ", ".join(moved.authors)
        self.record("branch_moved", by, "forge", detail=", ".join(moved.conflicts), head=moved.change.head_sha)
        self.repository = moved.change.repository
        if moved.shown and self.pull_request is not None:
            self.pull_request = self.pull_request.model_copy(update={"head_sha": moved.shown})
        self.latest = None
        self._hold(moved.change)
        self.red_rounds = 0
        self.rounds_left = self.policy.max_fix_rounds
        self._unasked = tuple(path for path in moved.unasked if path not in self.protected)
        self.protected = tuple(sorted({*self.protected, *moved.protected}))
        if not moved.conflicts:
            if await self._protected_paths_consented():
                return moved.change
            return await self._implement(Round(reason="Protected paths that people have changed"))
        named = policy.named_paths(moved.conflicts)
        word = f"Others have changed the same lines. Resolve the conflict markers, keeping what both want, in: {named}."
        self.instructions.append(Instruction(text=word, by="the merge"))
        return await self._implement(Round(reason=f"Conflicts in {named}"))

    async def _show_decisions(self) -> None:
        """On the pull request too; its absence there never holds a decision up."""
        assert self.repository is not None  # noqa: S101 - step 1 has set it
        assert self.pull_request is not None  # noqa: S101 - step 12 has set it
        for decision in self.decisions:
            if decision.source == "forge":
                continue  # it was made there
            request = do.RecordDecision(
                run=self.identity(), repository=self.repository, pull_request=self.pull_request, decision=decision
            )
            try:
                await self.call(do.RECORD_DECISION, request, Step.AWAIT_APPROVAL, attempts=3)
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                self.warn(f"The decision of {decision.by} could not be shown on the pull request: {why(error)}")

    async def _revise(self, decision: ApprovalDecision) -> ChangeSet:
        """A person asked for changes: a round of its own, with fix rounds of its own."""
        self.revisions += 1
        self.red_rounds = 0
        self.ticket = self.edited or self.ticket  # whoever asks for changes has the ticket before them as it is now
        self.rounds_left = self.policy.max_fix_rounds
        return await self._implement(Round(reason=f"{decision.by} asked for changes", decisions=tuple(self.decisions)))

    # --- 17, and the other ends ---------------------------------------------------------------

    async def _close_story(self) -> BranchMoved | None:
        """Ticket Done; or, where the merge is ours to make and the branch or its base has moved, that comes first."""
        assert self.pull_request  # noqa: S101 - step 12 has set it
        if self.policy.merge and workflow.patched("forge-talk"):
            moved = await self.meanwhile()
            if isinstance(moved, BranchMoved):
                return moved
        request = do.CloseStory(
            evidence=self.evidence(),
            pull_request=self.pull_request,
            approvals=tuple(self.decisions),
            merge=self.policy.merge,
        )
        self.pull_request = await self.run_step(
            Step.CLOSE_STORY,
            lambda: self.call(do.CLOSE_STORY, request, Step.CLOSE_STORY),
            said=lambda closed: f"ticket done, pull request {closed.state.value}",
            waived=self.pull_request,
            obstacles=(f"close@{self.pull_request.head_sha}",),
        )
        ended = f"pull request {self.pull_request.number} {self.pull_request.state.value}"
        await self.announce("finished", f"{self.request.ticket_key} is done: {ended}")
        # Who watches leaves when it is over, and may take the worker along. A stop finds nothing to undo any more.
        with contextlib.suppress(asyncio.CancelledError):
            await self.all_told(_FINISHED_SECONDS)
        self.state = RunState.CLOSED
        self.show()
        return None

    async def _reject(self, decision: ApprovalDecision) -> None:
        await self._release(f"rejected by {decision.by}" + (f": {decision.comment}" if decision.comment else ""))
        self.state = RunState.REJECTED
        self.reason = decision.comment
        self.show()

    async def _compensate(self) -> None:
        """After a cancel or abort: the claim is given back, an open draft is closed, no work is deleted."""
        reason = self.abort_reason or "the run was cancelled"
        self.end_open_steps(reason)
        self.state, self.reason, self.waits_for = RunState.RUNNING, reason, ""
        await self._release(reason)
        # Said last: who watches leaves when it is over, and may take the worker along.
        self.state = RunState.ABORTED if self.abort_reason else RunState.CANCELLED
        self.show()

    async def _release(self, reason: str) -> None:
        """Tidy up to the end: a cancel or abort that comes meanwhile must not leave the claim behind."""
        request = do.ReleaseRun(
            run=self.identity(),
            reason=reason,
            repository=self.repository,
            pull_request=self.pull_request,
            repository_name=self.request.repository,
            people=self.meant("failed"),
        )
        work = asyncio.create_task(self.call(do.RELEASE_RUN, request, Step.CLOSE_STORY))
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                continue
            except ActivityError as error:
                reason = why(error)
                self.warn(reason if reason.startswith(do.ALL_GIVEN_BACK) else f"Could not tidy up: {reason}")

    # --- hooks of the messages ----------------------------------------------------------------

    async def tell_engine(self, signal: str, payload: Record) -> bool:
        if self._children is not None:
            return await self._children.tell(signal, payload)
        if self._engine is None:
            return False
        try:
            await self._engine.signal(signal, payload)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            return False  # it has just ended; what was said is kept for its next round
        return True

    def stop_work(self) -> None:
        if self._work is not None:
            self._work.cancel()


def _mend_tests(report: TestReport, verdict: GateVerdict) -> Round:
    return Round(reason="; ".join(verdict.reasons), fingerprints=verdict.fingerprints, tests=(report,))


def _no_change(result: WorkLoopResult) -> str:
    said = f" It said: {result.summary}" if result.summary else ""
    return f"The engine ended without a change.{said} Retry with an instruction, or abort."


def _panel_that_failed(panel: Panel, change: ChangeSet, why: str) -> PanelReport:
    source = SourceReport(name=panel.value, state=SourceState.FAILED, note=why)
    return PanelReport(panel=panel, head_sha=change.head_sha, state=PanelState.INCOMPLETE, sources=(source,))


def _panel_line(report: PanelReport) -> str:
    if report.state is PanelState.INCOMPLETE:
        failed = [source for source in report.sources if source.state is SourceState.FAILED]
        return "incomplete: " + "; ".join(f"{source.name}: {source.note}" for source in failed)
    return counted(len(report.findings), "finding") if report.findings else "clean"


def _tests_line(report: TestReport) -> str:
    if report.outcome is TestOutcome.NOT_DECLARED:
        return report.note or "none declared"
    if report.proof is not None:
        covered = f", {report.proof.coverage.percent:g} % of changed lines covered" if report.proof.coverage else ""
        shown = len(report.proof.shown)
        return f"{counted(shown, 'test')} red on the base and green on the head{covered}"
    counts = f"{report.passed} passed, {len(report.new_failures)} failed"
    return counts if report.outcome is TestOutcome.PASSED else f"{report.outcome.value}: {counts} {report.note}".strip()


def _tests_state(report: TestReport) -> StepState:
    if report.outcome is TestOutcome.NOT_DECLARED:
        return StepState.SKIPPED
    return StepState.DONE if report.is_green else StepState.FAILED
