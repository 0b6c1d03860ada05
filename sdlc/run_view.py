"""What a run shows of itself: the account of its steps, the answers to queries, the Temporal UI."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from sdlc import budget, markdown, policy
    from sdlc.activities import Evidence
    from sdlc.domain import (
        Finding,
        PanelReport,
        Plan,
        PullRequest,
        Repository,
        RunIdentity,
        RunRequest,
        RunState,
        TestKind,
        TestReport,
        Ticket,
        Usage,
    )
    from sdlc.naming import coauthor_of
    from sdlc.progress import PartProgress, RunOutcome, RunProgress, Step, StepLedger, StepState
    from sdlc.run_card import MEMO, Risk, RunCard
    from sdlc.run_messages import RunMessages
    from sdlc.run_payloads import EngineNews, PanelReports

TICKET = SearchAttributeKey.for_keyword("SdlcTicket")
REPOSITORY = SearchAttributeKey.for_keyword("SdlcRepository")
STEP = SearchAttributeKey.for_keyword("SdlcStep")
STATE = SearchAttributeKey.for_keyword("SdlcState")
WAITS_FOR = SearchAttributeKey.for_keyword("SdlcWaitsFor")
STARTER = SearchAttributeKey.for_keyword("SdlcStarter")


_PEOPLE_ACT = (RunState.AWAITING_APPROVAL, RunState.AWAITING_MERGE, RunState.NEEDS_ATTENTION)


class RunView(RunMessages):
    """The state of a run beyond what messages change, and how it is shown."""

    def __init__(self, request: RunRequest) -> None:
        super().__init__(request)
        self.ledger = StepLedger()
        self.ticket: Ticket | None = None
        self.repository: Repository | None = None
        self.pull_request: PullRequest | None = None
        self.plan: tuple[str, ...] = ()
        self.summaries: list[str] = []
        """What the engine said it did, a round each."""
        self.reports: tuple[PanelReport, ...] = ()
        self.tests: dict[TestKind, TestReport] = {}
        self.usage = Usage()
        self.turns = 0
        self.round = 0
        """Grows with each implementation; the engine's brief says it."""
        self.implementations = 0
        self.fix_rounds = 0
        self.rounds_left = self.policy.max_fix_rounds
        self.revisions = 0
        self.portions = 1
        """Budgets granted: one, and one more with each retry after it was spent."""
        self.portions_told = 0
        """Those of which people know that most is spent."""
        self.out_of_budget = False
        self.news = EngineNews()
        """Of the engine that works now."""
        self.engine = ""
        self.engine_models: dict[str, None] = {}
        self.taken_over = 0
        self.sandboxed = True
        self.parts: tuple[PartProgress, ...] = ()
        self.waited_seconds = 0.0
        """For people: no part of the budget's minutes."""
        self._waits_since: float | None = None
        self.asked = 0
        """How often people were asked."""
        self.waits_for = ""
        self.reason = ""
        self.warnings: list[str] = []
        self.current = Step.SELECT_TASK
        self._started = workflow.now()
        self._shown: tuple[str, ...] = ()
        self._carded: tuple[object, ...] = ()
        self._people_since: datetime | None = None
        self._pull_request_at: datetime | None = None

    # --- the account of the steps -----------------------------------------------------------

    def enter(self, step: Step, state: StepState = StepState.RUNNING) -> None:
        self.ledger.enter(step, workflow.now(), state)
        self.current = step
        self.show()

    def leave(self, step: Step, state: StepState, result: str = "") -> None:
        self.ledger.leave(step, workflow.now(), state, " ".join(result.split())[:300])

    def end_open_steps(self, result: str) -> None:
        for entry in self.ledger.all():
            if entry.state in (StepState.RUNNING, StepState.WAITING):
                self.leave(Step.of(entry.name), StepState.FAILED, result)

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def spend(self, step: Step, usage: Usage) -> None:
        self.usage = self.usage + usage
        self.ledger.spend(step, usage)

    async def wait_for_people(self, answered: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until `answered`, for at most `seconds`; False when these are over. It costs none of the budget."""
        self._waits_since = since = workflow.time()
        in_time = True
        try:
            await workflow.wait_condition(answered, timeout=None if seconds is None else timedelta(seconds=seconds))
        except asyncio.TimeoutError:  # noqa: UP041 - Temporal raises this one by this name
            in_time = False
        # Not in a `finally`: a run that is evicted from a worker's memory has no clock any more.
        self.waited_seconds += workflow.time() - since
        self._waits_since = None
        return in_time

    # --- facts ----------------------------------------------------------------------------------

    def identity(self) -> RunIdentity:
        info = workflow.info()
        link = ""
        if self.request.ui_url:
            link = f"{self.request.ui_url}/namespaces/{info.namespace}/workflows/{info.workflow_id}/{info.run_id}"
        # The first run id stays the same over a reset or a continue-as-new, and so do the markers made from it.
        return RunIdentity(
            workflow_id=info.workflow_id,
            run_id=info.first_execution_run_id,
            ticket_key=self.request.ticket_key,
            link=link,
            coauthor=coauthor_of(self.request.starter, self.request.starter_email),
        )

    def open_findings(self) -> tuple[Finding, ...]:
        return policy.open_findings(self.reports, self.waived)

    def spent(self) -> budget.Spent:
        """What the run has used until now, as far as it has heard."""
        now = workflow.time()
        waited = self.waited_seconds + (now - self._waits_since if self._waits_since is not None else 0.0)
        waited += self.paused_seconds + (now - self.paused_since if self.paused_since is not None else 0.0)
        return budget.Spent(
            usage=self.usage + self.news.usage,
            turns=self.turns + self.news.turns,
            minutes=max(0.0, now - self._started.timestamp() - waited) / 60,
        )

    def budget_runs_low(self) -> str | None:
        return budget.warned(self.spent(), self.policy.budget, portions=self.portions)

    def pull_request_url(self) -> str:
        return self.pull_request.url if self.pull_request else ""

    def evidence(self) -> Evidence:
        assert self.ticket is not None  # noqa: S101 - step 1 has set it
        assert self.change is not None  # noqa: S101 - step 2 has set it
        return Evidence(
            run=self.identity(),
            ticket=self.ticket,
            change=self.change,
            summary="\n\n".join(self.summaries),
            panel_reports=self.reports,
            waivers=tuple(self.waivers),
            tests=tuple(self.tests.values()),
            steps=self.ledger.all(),
            warnings=tuple(self.warnings),
            usage=self.usage,
            starter=self.request.starter,
            fix_rounds=self.fix_rounds,
            engine=self.engine,
            models=tuple(self.engine_models),
            turns=self.turns,
            protected=self.protected,
            sandboxed=self.sandboxed,
            taken_over=self.taken_over,
        )

    def outcome(self) -> RunOutcome:
        findings = tuple(finding for report in self.reports for finding in report.findings)
        return RunOutcome(
            workflow_id=workflow.info().workflow_id,
            ticket_key=self.request.ticket_key,
            state=self.state,
            reason=self.reason,
            steps=self.ledger.all(),
            change=self.change,
            pull_request=self.pull_request,
            fix_rounds=self.fix_rounds,
            revisions=self.revisions,
            findings=findings,
            tests=tuple(self.tests.values()),
            usage=self.usage,
        )

    def card(self) -> RunCard:
        """What lists show."""
        change, approval = self.change, self.approval()
        findings = Counter(finding.severity.value for finding in self.open_findings())
        proofs = [report.proof for report in self.tests.values() if report.proof]
        spent = self.usage + self.news.usage
        return RunCard(
            key=self.request.ticket_key,
            title=self.ticket.title[:200] if self.ticket else "",
            repository=self.repository.name if self.repository else self.request.repository,
            state=self.state,
            step=self.current.key,
            waits_for=self.waits_for[:300],
            waiting_since=self._people_since,
            starter=self.request.starter,
            approvers=approval.approvers[:20],
            required=approval.required,
            approved_by=tuple(decision.by for decision in self.decisions),
            risk=Risk(
                files=change.files_changed if change else 0,
                insertions=change.insertions if change else 0,
                deletions=change.deletions if change else 0,
                findings=dict(findings),
                proof=sum(len(proof.shown) for proof in proofs),
                red=sum(not report.is_green for report in self.tests.values()),
                protected=len(self.protected),
            ),
            pull_request_url=self.pull_request_url(),
            head_sha=change.head_sha if change else "",
            usd=spent.usd,
            tokens=spent.input_tokens + spent.output_tokens,
            fix_rounds=self.fix_rounds,
            revisions=self.revisions,
            asked=self.asked,
            started=self._started,
            pull_request_at=self._pull_request_at,
            waited_seconds=round(self.waited_seconds),
            ended=workflow.now() if self.state.is_over else None,
        )

    # --- queries --------------------------------------------------------------------------------

    @workflow.query(description="All seventeen steps, rounds, cost, and what the run waits for")
    def progress(self) -> RunProgress:
        return RunProgress(
            workflow_id=workflow.info().workflow_id,
            ticket_key=self.request.ticket_key,
            ticket_title=self.ticket.title if self.ticket else "",
            repository=self.repository.name if self.repository else self.request.repository,
            state=RunState.PAUSED if self.paused and self.state is RunState.RUNNING else self.state,
            step=self.current.key,
            waits_for="resume" if self.paused and self.state is RunState.RUNNING else self.waits_for,
            steps=self.ledger.all(),
            fix_rounds=self.fix_rounds,
            revisions=self.revisions,
            plan=self._plan_now(),
            parts=self.parts,
            engine=self.engine or self.policy.engine,
            model=self.model,
            change=self.change,
            pull_request=self.pull_request,
            findings=dict(Counter(finding.severity.value for finding in self.open_findings())),
            tests=tuple(self.tests.values()),
            usage=self.usage + self.news.usage,
            warnings=(*self.warnings, *filter(None, (self.budget_runs_low(),))),
            started=self._started,
        )

    def _plan_now(self) -> Plan | None:
        """The working engine's own, as soon as it has one."""
        steps = self.news.plan or self.plan
        return Plan(summary=" ".join(self.summaries), steps=steps) if steps or self.summaries else None

    @workflow.signal(description="From a work loop of this run: what is new")
    def engine_reported(self, news: EngineNews) -> None:
        self.news = news

    @workflow.query(name="card", description="The run on one card, as lists show it")
    def card_now(self) -> RunCard:
        return self.card()

    @workflow.query(name="ticket", description="The ticket as this run has read it")
    def ticket_now(self) -> Ticket | None:
        return self.ticket

    @workflow.query(name="markdown", description="The run as Markdown: the steps, and what it waits for")
    def as_markdown(self) -> str:
        return details(self.progress())

    @workflow.query(description="Open findings, the worst first")
    def findings(self) -> list[Finding]:
        return list(self.open_findings())

    @workflow.query(description="The last report of each panel, also what is resolved; their whole is in artifacts")
    def panel_reports(self) -> PanelReports:
        return PanelReports(reports=self.reports, waivers=tuple(self.waivers))

    @workflow.query(description="Test reports about the present head")
    def test_results(self) -> list[TestReport]:
        return list(self.tests.values())

    # --- Temporal UI ----------------------------------------------------------------------------

    def show(self) -> None:
        """Bring current details and search attributes up to date."""
        workflow.set_current_details(details(self.progress()))
        if workflow.patched("run-card"):
            self._show_card()
        if not self.request.search_attributes:
            return
        acts = "person" if self.state in _PEOPLE_ACT else "nobody"
        repository = self.repository.name if self.repository else self.request.repository
        shown: tuple[str, ...] = (self.request.ticket_key, repository, self.current.key, self.state.value, acts)
        if shown == self._shown:
            return
        self._shown = shown
        keys = [TICKET, REPOSITORY, STEP, STATE, WAITS_FOR]
        if workflow.patched("run-card"):
            keys, shown = [*keys, STARTER], (*shown, self.request.starter[:200])
        workflow.upsert_search_attributes([key.value_set(value) for key, value in zip(keys, shown, strict=True)])

    def decided_anew(self) -> None:
        if workflow.patched("run-card"):
            self._show_card()

    def _show_card(self) -> None:
        """On the memo, where something has changed that lists show: a few times in a run."""
        waits = self.state in _PEOPLE_ACT
        self._people_since = (self._people_since or workflow.now()) if waits else None
        if self.pull_request is not None and waits and self._pull_request_at is None:
            self._pull_request_at = workflow.now()
        approved = tuple(decision.by for decision in self.decisions)
        head = self.change.head_sha if self.change else ""
        kept: tuple[object, ...] = (self.state, self.repository, self.pull_request_url(), self.ticket, self.asked)
        if waits:
            kept = (*kept, head, self.waits_for, approved, self.approval().approvers)
        if kept != self._carded:
            self._carded = kept
            workflow.upsert_memo({MEMO: self.card().model_dump(mode="json", exclude_defaults=True)})


_DETAILS_CELL = 60
"""Characters of a result in the details. The whole table stays small, since Temporal keeps
a copy of it in the history each time a step begins or ends."""


def details(progress: RunProgress) -> str:
    """The run as a small Markdown table."""
    state = progress.state.value.replace("_", " ")
    lines = [f"**{markdown.cell(progress.ticket_key)}** {markdown.cell(progress.ticket_title, 120)} · {state}", ""]
    if progress.waits_for:
        lines += [f"Waits for {markdown.cell(progress.waits_for, 400)}", ""]
    lines += ["| # | step | state | result |", "|---|---|---|---|"]
    lines += [
        f"| {step.number} | {step.title} | {step.state.value} | {markdown.cell(step.result, _DETAILS_CELL)} |"
        for step in progress.steps
        if step.attempts
    ]
    return "\n".join(lines)
