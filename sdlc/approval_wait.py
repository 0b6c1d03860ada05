"""How a run waits for people at its pull request, and what it makes of what else happens there meanwhile.

A merge by hand is an approval, a close is asked about, commits of people and a base that has moved are taken in:
reviewed, tested and shown again. Nobody's work is forced over.
"""

from __future__ import annotations

from collections.abc import Callable

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from sdlc import activities as do
    from sdlc import policy
    from sdlc.domain import (
        ApprovalDecision,
        ChangeSet,
        DecisionKind,
        GateDecision,
        GateVerdict,
        PullRequestNews,
        PullRequestState,
        Record,
        RunState,
    )
    from sdlc.forge_talk import ForgeTalk
    from sdlc.progress import Step, StepState

_SETTLING_SECONDS = 20.0
"""A forge's read may be behind its own writes; before people are asked about what it says, it is read again."""


class BranchMoved(Record):
    """Others have changed what the run works on: commits on its branch, or a base that its change doesn't fit."""

    change: ChangeSet
    conflicts: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    shown: str = ""
    """The head that the forge shows and the change contains; empty: as before."""
    protected: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()
    """Protected paths that people have to consent to."""


class ApprovalWait(ForgeTalk):
    """Between what a run hears (`ForgeTalk`) and what it does (`SdlcWorkflow`)."""

    async def await_people(
        self, state: RunState, waits_for: str, have_said: Callable[[], bool]
    ) -> ApprovalDecision | BranchMoved | None:
        """Wait in a state that is people's until they have said their word (None), or something else comes of it."""
        self.enter(Step.AWAIT_APPROVAL, StepState.WAITING)
        began, passed = workflow.time(), set[float]()
        turn: ApprovalDecision | BranchMoved | None = None
        while True:
            self.state, self.waits_for = state, waits_for
            self.show()
            in_time = await self._heard_in_time(began, passed, lambda: have_said() or self.news_calls())
            if in_time and have_said():
                break
            if in_time:
                turn = await self.answer_news()
                if turn is not None:
                    break
                self.nudges += 1  # what was said while this was seen to has not been heard
                continue
            days = self.approval().deadline_seconds / 86_400
            nobody = "decided" if state is RunState.AWAITING_APPROVAL else "merged it"
            verdict = GateVerdict(decision=GateDecision.ASK, reasons=(f"Nobody has {nobody} for {days:g} days.",))
            await self.ask_people(Step.AWAIT_APPROVAL, verdict, waivable=False)
            began, passed = workflow.time(), set()
        self.state, self.waits_for = RunState.RUNNING, ""
        return turn

    async def _heard_in_time(self, began: float, passed: set[float], have_said: Callable[[], bool]) -> bool:
        """False once the deadline is over. `passed`: the moments whose reminders are told; what is told is added."""
        approval = self.approval()
        reminders = [second for second in approval.reminder_seconds if second < approval.deadline_seconds]
        escalates = bool(approval.escalate_to) and approval.escalate_seconds < approval.deadline_seconds
        moments = {*reminders, *([approval.escalate_seconds] if escalates else [])}
        for moment in (*sorted(moments - passed), approval.deadline_seconds):
            if await self.wait_for_people(have_said, max(began + moment - workflow.time(), 0)):
                return True
            passed.add(moment)
            if escalates and moment == approval.escalate_seconds:
                await self._escalate(approval.escalate_to)
            elif moment < approval.deadline_seconds:
                days = moment / 86_400  # in the title, so that no two reminders are taken for one
                what = "an approval" if self.state is RunState.AWAITING_APPROVAL else "the merge of its pull request"
                await self.tell("reminder", f"{self.request.ticket_key} waits for {what} since {days:g} days")
        return have_said()

    async def _escalate(self, to: tuple[str, ...]) -> None:
        """Others may decide as well now, and hear of it."""
        self.escalated = True
        named = ", ".join(to)
        self.record("escalated", detail=f"to {named}")
        self.show()
        days = self.approval().escalate_seconds / 86_400
        title = f"{self.request.ticket_key} has waited for a decision for {days:g} days: {named} may decide too"
        await self.tell("escalation", title)

    def people_have_said(self) -> bool:
        return policy.people_say(self.decisions, self.approval()) is not None

    def people_object(self) -> bool:
        return any(decision.kind is not DecisionKind.APPROVE for decision in self.decisions)

    # --- what others do to the pull request ---------------------------------------------------

    async def meanwhile(self) -> ApprovalDecision | BranchMoved | None:
        """Before a pull request that is there already is brought to a new head: what others did to it since."""
        if self.pull_request is None or not workflow.patched("forge-talk"):
            return None
        shown = self.pull_request.head_sha
        news = await self.look()
        if news is None or (self._is_known(news, shown) and not self._has_ended(news) and self._fits(news)):
            return None
        return await self.answer_news(news, ours=shown)

    def _fits(self, news: PullRequestNews) -> bool:
        return news.pull_request.base_branch == self._base_branch()

    def _is_known(self, news: PullRequestNews, shown: str) -> bool:
        return news.pull_request.head_sha in (shown, self.change.head_sha if self.change else "")

    async def moved_meanwhile(self) -> BranchMoved | None:
        """An approval counts for the head it was given on: what came after it on the branch is looked at first."""
        news = await self.look()
        if news is None or self._has_ended(news) or not self.news_calls():
            return None
        turn = await self.answer_news(news)
        return turn if isinstance(turn, BranchMoved) else None

    @staticmethod
    def _has_ended(news: PullRequestNews) -> bool:
        return news.pull_request.state in (PullRequestState.MERGED, PullRequestState.CLOSED)

    async def answer_news(
        self, fresh: PullRequestNews | None = None, *, ours: str = ""
    ) -> ApprovalDecision | BranchMoved | None:
        """A merge by hand is an approval, a close is asked about, commits and a moved base are taken in.

        `fresh`: just read; without it, it is read again. `ours`: the head that this run has shown, where the change
        is ahead of it. None if there is nothing to it.
        """
        assert self.change is not None  # noqa: S101 - there is a pull request
        news = fresh or await self.look()
        if news is None:
            self.latest = None  # what can't be read again is not acted upon
        if news is None or not (self.news_calls() or ours):
            return None
        shown = ours or self.change.head_sha
        if news.pull_request.state is PullRequestState.MERGED and self._fits(news):
            return self._merged_by_hand(news)
        if news.pull_request.state is PullRequestState.CLOSED:
            by = f" by {news.ended_by}" if news.ended_by else ""
            reason = f"The pull request was closed{by}. Reopen it and retry, or abort."
            verdict = GateVerdict(decision=GateDecision.ASK, reasons=(reason,))
            await self.ask_people(Step.AWAIT_APPROVAL, verdict, waivable=False)
            self.nudges += 1
            self.latest = None
            return None
        if not self._fits(news):
            await self._ask_about_base(news)
            return None
        if self._is_known(news, shown) and not news.conflicts:
            return None
        self.state, self.waits_for = RunState.RUNNING, ""
        tries: list[PullRequestNews] = [news]

        async def take_in() -> do.TakenIn:
            # A second try is made of what the branch holds then: somebody may have mended it.
            seen = tries.pop() if tries else (await self.look() or news)
            assert self.change is not None  # noqa: S101 - there is a pull request
            foreign = "" if self._is_known(seen, shown) else seen.pull_request.head_sha
            request = do.TakeIn(run=self.identity(), change=self.change, head_sha=foreign, with_base=seen.conflicts)
            taken = await self.call(do.TAKE_IN, request, Step.AWAIT_APPROVAL)
            return taken.model_copy(update={"shown": foreign})

        taken = await self.run_step(
            Step.AWAIT_APPROVAL,
            take_in,
            said=lambda taken: f"taken in: {', '.join(taken.authors) or 'the base branch'}",
        )
        if taken.change.head_sha == self.change.head_sha:
            return await self._nothing_taken_in(news, taken.shown)
        return BranchMoved.model_validate(taken.model_dump())

    def _base_branch(self) -> str:
        return self.repository.base_branch if self.repository else ""

    async def _ask_about_base(self, news: PullRequestNews) -> None:
        """Reviewed and approved was a change of one branch; whoever sends it into another is asked first."""
        self.decisions.clear()
        now, was = news.pull_request.base_branch, self._base_branch()
        reason = f"The pull request's base was changed from {was} to {now}. Change it back and retry, or abort."
        if news.pull_request.state is PullRequestState.MERGED:
            reason = f"The pull request was merged into {now}, not into {was}. Bring it there by hand, then abort."
        verdict = GateVerdict(decision=GateDecision.ASK, reasons=(reason,))
        await self.ask_people(Step.AWAIT_APPROVAL, verdict, waivable=False)
        self.nudges += 1
        self.latest = None

    async def _nothing_taken_in(self, news: PullRequestNews, foreign: str) -> BranchMoved | None:
        """What the forge shows is part of our work already: it is behind, or somebody has moved the branch back."""
        assert self.change is not None  # noqa: S101 - there is a pull request
        self.enter(Step.AWAIT_APPROVAL, StepState.WAITING)
        await workflow.sleep(_SETTLING_SECONDS)
        again = await self.look()
        if not foreign or again is None or again.pull_request.head_sha != foreign:
            self.settle(again or news)
            return None
        reason = (
            f"Somebody has moved the pull request's branch back to {foreign[:10]}. "
            "Retry to bring it to the run's head again, or abort."
        )
        await self.ask_people(
            Step.AWAIT_APPROVAL, GateVerdict(decision=GateDecision.ASK, reasons=(reason,)), waivable=False
        )
        return BranchMoved(change=self.change, shown=foreign)

    def _merged_by_hand(self, news: PullRequestNews) -> ApprovalDecision:
        """Nobody can be asked any more whether it may be merged: whoever did it has approved it."""
        assert self.change is not None  # noqa: S101 - there is a pull request
        by = news.ended_by or "somebody"
        merged = ApprovalDecision(
            kind=DecisionKind.APPROVE, by=by, head_sha=news.pull_request.head_sha, comment="merged it", source="forge"
        )
        self.record("merged", by, "forge", head=news.pull_request.head_sha)
        if news.pull_request.head_sha != self.change.head_sha:
            self.warn(f"{by} merged {news.pull_request.head_sha[:10]}, which this run has not reviewed.")
        self.decisions.append(merged)
        self.latest = news
        return merged
