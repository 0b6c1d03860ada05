"""What a run hears from its pull request and its ticket while it goes on, and what it answers there.

Webhooks and polling only nudge it. It then reads the pull request itself, so that late, repeated and forged
deliveries say nothing. Decisions count by `sdlc.policy`; words of people who may write are kept for the engine's
next round, and those that begin with `/sdlc` are done at once; commits, a merge or a close by hand are the main
flow's to answer.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from sdlc import activities as do
    from sdlc import markdown, policy
    from sdlc.activity_calls import why
    from sdlc.comment_commands import Command, Verb, parse
    from sdlc.domain import (
        ApprovalDecision,
        DecisionKind,
        Instruction,
        PullRequestNews,
        PullRequestState,
        Remark,
        RunRequest,
        RunState,
        Ticket,
    )
    from sdlc.progress import Step
    from sdlc.run_payloads import Answered, Spoken
    from sdlc.run_view import details
    from sdlc.step_runner import StepRunner

MOST_REMARKS = 50
"""Kept for the engine's next round; the oldest go first."""


_FIRST_PAUSE, _LONGEST_PAUSE = 300.0, 3_600.0
"""Seconds between two looks at a pull request that can't be read."""
_MOST_EVENTS = 30_000
"""Temporal ends a run at 51,200. Somebody has to decide before that, whatever else happens on its pull request."""


class ForgeTalk(StepRunner):
    """Between how a run's steps run (`StepRunner`) and what they are (`SdlcWorkflow`)."""

    def __init__(self, request: RunRequest) -> None:
        super().__init__(request)
        self.latest: PullRequestNews | None = None
        """As it was read last, since this run brought it to its present head."""
        self.remarks: list[Remark] = []
        """Not yet given to the engine."""
        self.answered: list[Remark] = []
        """Given to it, and not yet answered on the pull request."""
        self.edited: Ticket | None = None
        """The ticket as people have left it since this run took it up."""
        self._heard: set[str] = set()
        self._refused: set[tuple[str, str]] = set()
        self._settled: set[str] = set()
        """Marks of news that turned out to ask for nothing."""
        self._looked = 0
        self._reassigned = 0
        self._pause = 0.0
        """Seconds until the pull request is looked at again by itself; 0: not, it was read."""
        self._tried = ""
        self.listens = False
        self._looked_at_ticket = 0
        self._one_look = asyncio.Lock()

    async def listen(self) -> None:
        """Look whenever somebody says that there is something to see; for ever, as a task beside the run's steps."""
        self.listens = True
        while not self._is_full():
            pause = timedelta(seconds=self._pause) if self._pause else None
            try:
                await workflow.wait_condition(self._has_anything, timeout=pause)
            except TimeoutError:
                await self.look()  # it could not be read, and may be readable again
                continue
            if self.reassignments > self._reassigned:
                await self._tell_the_assigned()
            if self._ticket_has_news():
                await self._look_at_edited_ticket()
            if self._has_news():
                await self.look()
        title = f"{self.request.ticket_key} looks at its pull request no more: its history is nearly full"
        self.warn(f"{title}. Decide by `sdlc approve` or `sdlc reject`.")
        await self.tell("needs_attention", title, "Decide by `sdlc approve` or `sdlc reject`.")

    def _has_anything(self) -> bool:
        return self._has_news() or self._ticket_has_news() or self.reassignments > self._reassigned

    @staticmethod
    def _is_full() -> bool:
        return workflow.info().get_current_history_length() > _MOST_EVENTS

    def _has_news(self) -> bool:
        return self.pull_request is not None and self.nudges > self._looked

    def _ticket_has_news(self) -> bool:
        if self.ticket is None or self.ticket_nudges <= self._looked_at_ticket:
            return False
        # What the last step does to the ticket is our own.
        return self.current is not Step.CLOSE_STORY or not workflow.patched("announce")

    @workflow.query(description="A hash of the pull request as this run has read it last; empty before that")
    def pull_request_mark(self) -> str | None:
        return self._tried if self.listens else None

    # --- the pull request -------------------------------------------------------------------------

    async def look(self) -> PullRequestNews | None:
        """Read the pull request and take in what people said; None if it can't be read, which is a warning."""
        assert self.repository is not None  # noqa: S101 - there is a pull request
        assert self.pull_request is not None  # noqa: S101 - asked for only then
        async with self._one_look:
            self._looked = self.nudges
            request = do.LookAtPullRequest(
                run=self.identity(), repository=self.repository, pull_request=self.pull_request
            )
            try:
                news = await self.call(do.LOOK_AT_PULL_REQUEST, request, Step.AWAIT_APPROVAL)
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                await self._could_not_look(why(error))
                return None
            self._pause, self._tried = 0.0, news.mark
            self.latest = news
            self.pushers |= dict.fromkeys(news.pushers)
            refused = self._take_decisions(news)
            commands = self._take_remarks(news)
        for decision, reason in refused:
            await self.say(
                f"This does not count: {markdown.inline(reason, 500)}", topic=f"refused:{decision.decision_id}"
            )
        for remark, command in commands:
            await self._obey(remark, command)
        return news

    async def _could_not_look(self, reason: str) -> None:
        """Tell people once, and look again after a while: an approval may stand there that nobody tells of again."""
        self.warn(f"The pull request could not be read: {reason}")
        self._tried = self.nudged_with
        if not self._pause:
            title = f"{self.request.ticket_key}: its pull request can't be read"
            await self.tell("needs_attention", title, f"{reason} It is tried again.")
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)

    def news_calls(self) -> bool:
        """Does the main flow have to answer what was read last: an end, commits of others, a conflict?"""
        news = self.latest
        if news is None or self.change is None or news.mark in self._settled:
            return False
        over = news.pull_request.state in (PullRequestState.MERGED, PullRequestState.CLOSED)
        elsewhere = self.repository is not None and news.pull_request.base_branch != self.repository.base_branch
        return over or elsewhere or news.pull_request.head_sha != self.change.head_sha or news.conflicts

    def settle(self, news: PullRequestNews) -> None:
        """This state of the pull request asks for nothing more."""
        self._settled.add(news.mark)

    def _take_decisions(self, news: PullRequestNews) -> list[tuple[ApprovalDecision, str]]:
        """Count what counts; what does not and should be answered, with the reason."""
        standing = {decision.decision_id for decision in news.decisions}
        for earlier in [one for one in self.decisions if one.source == "forge" and one.decision_id not in standing]:
            self.decisions.remove(earlier)
            self.forget(earlier)
            self.record(earlier.kind.value, earlier.by, "forge", accepted=False, detail="It was taken back.")
        told: list[tuple[ApprovalDecision, str]] = []
        for decision in news.decisions:
            if self.is_repeated(decision):
                continue
            refused = self.why_refused(decision)
            if refused is None:
                self.accept(decision)
            elif (decision.decision_id, refused) not in self._refused:
                self._refused.add((decision.decision_id, refused))
                self.record(decision.kind.value, decision.by, "forge", accepted=False, detail=refused)
                if self._waits_for(decision):
                    told.append((decision, refused))
        return told

    def _waits_for(self, decision: ApprovalDecision) -> bool:
        """Is it about what people are asked about now? Only then is somebody surprised that it does not count."""
        asked = self.state in (RunState.AWAITING_APPROVAL, RunState.AWAITING_MERGE)
        return asked and self.change is not None and decision.head_sha == self.change.head_sha

    def _take_remarks(self, news: PullRequestNews) -> list[tuple[Remark, Command]]:
        """Keep what is new; the commands in it."""
        commands: list[tuple[Remark, Command]] = []
        for remark in news.feedback:
            if remark.identity in self._heard:
                continue
            self._heard.add(remark.identity)
            command = parse(remark.body)
            if command is not None:
                commands.append((remark, command))
                continue
            self.remarks = [*self.remarks, remark][-MOST_REMARKS:]
            self.record("remark", remark.by, "forge", detail=remark.url)
        return commands

    # --- commands in its comments -----------------------------------------------------------------

    async def _obey(self, remark: Remark, command: Command) -> None:
        """Answer first: a run that was told to stop says nothing any more."""
        await self.say(self._reply(remark, command), topic=f"command:{remark.identity}")
        by, text, message_id = remark.by, command.text, remark.identity
        match command.verb:
            case Verb.PAUSE:
                await self.pause(Spoken(by=by, reason=text, message_id=message_id))
            case Verb.RESUME:
                await self.resume(Spoken(by=by, reason=text, message_id=message_id))
            case Verb.INSTRUCT if text:
                await self.inject_instruction(Instruction(text=text, by=by, message_id=message_id))
            case Verb.CANCEL:
                self.abort(Answered(by=by, reason=text, message_id=message_id))
            case Verb.RETRY if self.state is RunState.NEEDS_ATTENTION:
                self.retry(Answered(by=by, instruction=text, message_id=message_id))
            case Verb.RETRY:
                decision = self._changes_asked_for(remark, text)
                if self.why_refused(decision) is None:
                    self.accept(decision)

    def _reply(self, remark: Remark, command: Command) -> str:
        key = self.request.ticket_key
        match command.verb:
            case Verb.STATUS:
                return details(self.progress())
            case Verb.START:
                return f"{key} has a run already.\n\n{details(self.progress())}"
            case Verb.PAUSE:
                return "Halts before its next step or turn. `/sdlc resume` goes on."
            case Verb.RESUME:
                return "Goes on."
            case Verb.INSTRUCT if command.text:
                return "The engine hears that between two turns, or at the beginning of its next round."
            case Verb.INSTRUCT:
                return "Say what the engine is to do: `/sdlc instruct …`."
            case Verb.CANCEL:
                return "Stops. The work stays on the branch and the ticket is given back."
            case Verb.RETRY if self.state is RunState.NEEDS_ATTENTION:
                refused = self.why_not_retried(remark.by)
                return refused or "Tries again."
            case Verb.RETRY:
                refused = self.why_refused(self._changes_asked_for(remark, command.text))
                return refused or "Takes up what was said here, in a round of its own."
            case Verb.APPROVE | Verb.REQUEST_CHANGES | Verb.REJECT:
                return "On a pull request that is a review: approve it, or request changes, by one."
        return "That is no command. There are: `/sdlc status`, `pause`, `resume`, `retry …`, `instruct …` and `cancel`."

    def _changes_asked_for(self, remark: Remark, text: str) -> ApprovalDecision:
        return ApprovalDecision(
            kind=DecisionKind.REQUEST_CHANGES,
            by=remark.by,
            head_sha=self.change.head_sha if self.change else "",
            comment=text or "Take up the comments on the pull request.",
            source="forge",
            decision_id=remark.identity,
        )

    async def say(self, body: str, *, topic: str) -> None:
        """On the pull request; its absence there never holds a run up."""
        assert self.repository is not None  # noqa: S101 - there is a pull request
        assert self.pull_request is not None  # noqa: S101 - asked for only then
        request = do.SayOnPullRequest(
            run=self.identity(), repository=self.repository, pull_request=self.pull_request, body=body, topic=topic
        )
        try:
            await self.call(do.SAY_ON_PULL_REQUEST, request, Step.AWAIT_APPROVAL, attempts=3)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            self.warn(f"An answer could not be shown on the pull request: {why(error)}")

    async def answer_remarks(self) -> None:
        """Say which words of people the engine had when it made this head."""
        given, self.answered = self.answered, []
        if not given or self.change is None:
            return
        head = self.change.head_sha[:10]
        places = [f"{remark.by} on {remark.path or 'the pull request'}" for remark in given]
        lines = [f"- {markdown.link(place, remark.url)}" for place, remark in zip(places, given, strict=True)]
        body = f"The engine had these words when it made {markdown.code(head)}:\n\n" + "\n".join(lines)
        await self.say(body, topic=f"heard:{head}")

    async def _tell_the_assigned(self) -> None:
        self._reassigned = self.reassignments
        to = ", ".join(self.assigned)
        await self.tell("needs_approval", f"{self.request.ticket_key}: {to} shall decide ({self.reassignments})")

    # --- the ticket -------------------------------------------------------------------------------

    async def _look_at_edited_ticket(self) -> None:
        """An edit in mid-run is noticed and offered; step 12 asks before anything is shown."""
        assert self.ticket is not None  # noqa: S101 - asked for only then
        self._looked_at_ticket = self.ticket_nudges
        request = do.SelectTask(run=self.identity(), claimant=self.policy.approval.bot)
        try:
            now = await self.call(do.REFRESH_TICKET, request, Step.SELECT_TASK, attempts=3)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            self.warn(f"The ticket could not be read again: {why(error)}")
            return
        moved = policy.ticket_moved(self.edited or self.ticket, now)
        if moved is None:
            return
        self.edited = now
        self.record("ticket_changed", detail=moved)
        offer = f"{moved} Request changes to have it taken up."
        self.warn(offer)
        if self.state in (RunState.AWAITING_APPROVAL, RunState.AWAITING_MERGE):
            title = f"{self.request.ticket_key}: {moved}"
            await self.tell("ticket_changed", title, offer)
