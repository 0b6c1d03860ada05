"""What people can say to a run and ask of it: signals, updates with validators, queries, the audit trail.

Signals and updates carry the same decisions. A signal that is not allowed is recorded in the
audit trail and changes nothing; an update is refused at once with the reason. Handlers only
change the state that the main flow waits on; they never act themselves.
Every handler takes one JSON object that can grow: unknown fields are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from sdlc import ladder, policy
    from sdlc.audit_chain import chained
    from sdlc.domain import (
        ApprovalDecision,
        ApprovalPolicy,
        AttentionAnswer,
        AttentionKind,
        AuditEntry,
        ChangeSet,
        DecisionKind,
        Instruction,
        MessageReceipt,
        Record,
        RunPolicy,
        RunRequest,
        RunState,
        Waiver,
    )
    from sdlc.run_payloads import Answered, Decided, ModelChosen, OutsideChange, Reassigned, Spoken


MAX_AUDIT_ENTRIES = 2_000
"""A flood of refused signals must not grow a run's memory without end; what is left out is counted."""


MOST_REFUSALS = 100
"""Refused decisions that the audit trail has of a run; those that come after are refused without a trace."""


class RunMessages:
    """State that messages change, and the handlers that change it. The main flow is in `sdlc.workflow`."""

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.policy: RunPolicy = request.policy
        self.state = RunState.RUNNING
        self.change: ChangeSet | None = None
        self.paused = False
        self.paused_since: float | None = None
        self.paused_seconds = 0.0
        """Like waiting for people, no part of the budget's minutes."""
        self.model = ""
        self.decisions: list[ApprovalDecision] = []
        """Accepted ones about the present head, in the order in which they came."""
        self.answer: AttentionAnswer | None = None
        self.instructions: list[Instruction] = []
        """Not yet taken up by the engine."""
        self.waived: set[str] = set()
        """Names of obstacles that may stand."""
        self.waivers: list[Waiver] = []
        """Who let what stand and why, for the evidence."""
        self.waivable = True
        """Whether what the run needs attention for may be waived."""
        self.nudges = 0
        """How often the pull request is said to have changed."""
        self.nudged_with = ""
        """Its mark, as whoever nudges has read it."""
        self.ci_nudges = 0
        self.ticket_nudges = 0
        self.abort_reason = ""
        self.owners: tuple[str, ...] = ()
        """Of the changed files, where they may decide."""
        self.assigned: tuple[str, ...] = ()
        """Who was asked in place of those the policy names."""
        self.escalated = False
        self.protected: tuple[str, ...] = ()
        """Protected paths that the change touches."""
        self.reassignments = 0
        self.refusals = 0
        self.pushers: dict[str, None] = {}
        """Who has pushed to the branch by hand: they have no part in its approval."""
        self._seen: set[str] = set()
        self._audit: list[AuditEntry] = []
        self._audit_left_out = 0

    # --- hooks of the main flow ---------------------------------------------------------

    async def tell_engine(self, signal: str, payload: Record) -> bool:
        """Pass a word on to the engine's child workflow; False if none runs. The main flow overrides this."""
        return False

    def stop_work(self) -> None:
        """Cancel whatever is under way. The main flow overrides this."""

    def decided_anew(self) -> None:
        """Show that decisions, or who may make them, have changed. The view overrides this."""

    def approval(self) -> ApprovalPolicy:
        """Who may decide about the present change, and how many have to."""
        return policy.effective(
            self.policy.approval,
            owners=self.owners,
            assigned=self.assigned,
            escalated=self.escalated,
            protected=bool(self.protected),
        )

    # --- approvals ------------------------------------------------------------------------

    @workflow.signal(description="Approve the present head: {by, comment?, head_sha?}")
    def approve(self, said: Decided) -> None:
        self._hear(DecisionKind.APPROVE, said)

    @workflow.signal(description="Reject the change for good: {by, comment?, head_sha?}")
    def reject(self, said: Decided) -> None:
        self._hear(DecisionKind.REJECT, said)

    @workflow.signal(description="Ask for changes: {by, comment, head_sha?}")
    def request_changes(self, said: Decided) -> None:
        self._hear(DecisionKind.REQUEST_CHANGES, said)

    def _hear(self, kind: DecisionKind, said: Decided) -> None:
        decision = ApprovalDecision(kind=kind, **said.model_dump(), source="signal")
        if self.is_repeated(decision):
            return
        refused = self.why_refused(decision)
        if refused:
            self.record(kind.value, said.by, decision.source, accepted=False, detail=refused)
        else:
            self.accept(decision)

    @workflow.update(description="Approve, reject or request changes, and hear at once whether it counts")
    def decide(self, decision: ApprovalDecision) -> MessageReceipt:
        # Not by a validator: what that refuses leaves no event, and the trail has refused decisions too.
        if self.is_repeated(decision):
            return MessageReceipt(accepted=True, message="That decision had been received already.")
        refused = self.why_refused(decision)
        if refused:
            self.refusals += 1
            self.record(decision.kind.value, decision.by, decision.source, accepted=False, detail=refused)
            return MessageReceipt(accepted=False, message=refused)
        self.accept(decision)
        return MessageReceipt(accepted=True, message=f"{decision.kind.value.replace('_', ' ')}: counted.")

    @decide.validator
    def _validate_decide(self, decision: ApprovalDecision) -> None:
        # Temporal takes only so many updates in a run's life: nobody may use them up with what does not count.
        if self.refusals >= MOST_REFUSALS and not self.is_repeated(decision):
            _refuse(self.why_refused(decision))

    @workflow.signal(description="Let others decide: {by, to: [names], reason?}")
    def reassign(self, said: Reassigned) -> None:
        self._reassign(said.model_copy(update={"aliases": (), "source": "signal"}))

    @workflow.update(description="Let others decide, and hear at once whether that counts")
    def hand_on(self, said: Reassigned) -> MessageReceipt:
        refused = self._reassign(said)
        self.refusals += refused is not None
        return MessageReceipt(accepted=refused is None, message=refused or f"{', '.join(said.to)}: asked.")

    @hand_on.validator
    def _validate_hand_on(self, said: Reassigned) -> None:
        if self.refusals >= MOST_REFUSALS:
            _refuse(self._why_not_handed_on(said))

    def _why_not_handed_on(self, said: Reassigned) -> str | None:
        return policy.reassign_refused(
            (said.by, *said.aliases),
            said.to,
            self.approval(),
            state=self.state,
            starter=self._starter(),
            pushers=tuple(self.pushers),
        )

    def _starter(self) -> tuple[str, ...]:
        return (self.request.starter, *self.request.starter_aliases, self.request.starter_email)

    def _reassign(self, said: Reassigned) -> str | None:
        if not self._once(said.message_id):
            return None
        refused = self._why_not_handed_on(said)
        detail = refused or ": ".join(filter(None, (f"to {', '.join(said.to)}", said.reason)))
        self.record("reassign", said.by, said.source, accepted=refused is None, detail=detail)
        if refused is None:
            self.assigned = said.to
            self.reassignments += 1
            self.decided_anew()
        return refused

    def why_refused(self, decision: ApprovalDecision) -> str | None:
        """Why a decision does not count, in one sentence; None if it does."""
        if self.state is RunState.AWAITING_APPROVAL and policy.people_say(self.decisions, self.approval()):
            return "Somebody else has decided about this head already."
        return policy.decision_refused(
            decision,
            policy=self.approval(),
            starter=self._starter(),
            state=self.state,
            change=self.change,
            earlier=self.decisions,
            pushers=tuple(self.pushers),
        )

    def accept(self, decision: ApprovalDecision) -> None:
        """Count a decision, for the present head."""
        assert self.change is not None  # noqa: S101 - decision_refused has looked
        counted = decision.model_copy(update={"head_sha": self.change.head_sha})
        self.decisions.append(counted)
        if decision.decision_id:
            self._seen.add(decision.decision_id)
        self.record(decision.kind.value, decision.by, decision.source, detail=decision.comment)
        self.decided_anew()

    def forget(self, decision: ApprovalDecision) -> None:
        """Let it count again when it comes again: it was taken back, or only not seen for a moment."""
        self._seen.discard(decision.decision_id)

    def is_repeated(self, decision: ApprovalDecision) -> bool:
        """Was it counted before?"""
        return bool(decision.decision_id) and decision.decision_id in self._seen

    # --- a run that needs attention -----------------------------------------------------------

    @workflow.signal(description="Go on after trouble, with an instruction if there is one: {by, instruction?}")
    def retry(self, said: Answered) -> None:
        self._take_answer(AttentionKind.RETRY, _by_signal(said))

    @workflow.signal(description="Let what holds the run up stand: {by, reason, fingerprints?}")
    def waive(self, said: Answered) -> None:
        self._waive(_by_signal(said))

    def _waive(self, said: Answered) -> None:
        if self._why_not_answered(AttentionKind.WAIVE, said) is None and self.state is not RunState.NEEDS_ATTENTION:
            # Given ahead of time: named findings are let through when they turn up.
            self.waive_now(said.fingerprints, said.reason, said.by)
            self.record("waive", said.by, said.source, detail=_waived(said))
            return
        self._take_answer(AttentionKind.WAIVE, said)

    @workflow.signal(description="Stop for good; the claim is given back, the work is kept: {by, reason?}")
    def abort(self, said: Answered) -> None:
        if not self._once(said.message_id):
            return
        if self.state.is_over or self.abort_reason:
            self.record("abort", said.by, said.source, accepted=False, detail="The run is over already.")
            return
        self.abort_reason = said.reason or f"aborted by {said.by}"
        self.record("abort", said.by, said.source, detail=said.reason)
        self.stop_work()

    @workflow.update(description="Answer a run that needs attention, and hear at once whether it counts")
    def attend(self, answer: AttentionAnswer) -> MessageReceipt:
        said = Answered.model_validate(answer.model_dump())
        if answer.kind is AttentionKind.ABORT:
            self.abort(said)
        elif answer.kind is AttentionKind.WAIVE:
            self._waive(said)
        else:
            self._take_answer(AttentionKind.RETRY, said)
        return MessageReceipt(accepted=True, message=f"{answer.kind.value}: taken up.")

    @attend.validator
    def _validate_attend(self, answer: AttentionAnswer) -> None:
        if answer.message_id and answer.message_id in self._seen:
            return
        said = Answered.model_validate(answer.model_dump())
        refused = self._why_not_answered(answer.kind, said)
        _refuse(refused)

    def waive_now(self, obstacles: tuple[str, ...], reason: str, by: str) -> None:
        """Let these stand from now on."""
        self.waived.update(obstacles)
        self.waivers.append(Waiver(fingerprints=obstacles, reason=reason, by=by))

    def why_not_retried(self, by: str) -> str | None:
        """Why a retry would not count now, in one sentence; None if it would."""
        return self._why_not_answered(AttentionKind.RETRY, Answered(by=by))

    def _once(self, message_id: str) -> bool:
        """False for a message that was delivered before."""
        if not message_id:
            return True
        is_new = message_id not in self._seen
        self._seen.add(message_id)
        return is_new

    def _take_answer(self, kind: AttentionKind, said: Answered) -> None:
        if not self._once(said.message_id):
            return
        refused = self._why_not_answered(kind, said)
        if refused:
            self.record(kind.value, said.by, said.source, accepted=False, detail=refused)
            return
        self.answer = AttentionAnswer(kind=kind, **said.model_dump())
        detail = _waived(said) if kind is AttentionKind.WAIVE else said.reason or said.instruction
        self.record(kind.value, said.by, said.source, detail=detail)

    def _why_not_answered(self, kind: AttentionKind, said: Answered) -> str | None:
        if self.state.is_over:
            return f"The run is over ({self.state.value})."
        if kind is AttentionKind.ABORT:
            return None
        if kind is AttentionKind.WAIVE:
            refused = policy.waiver_refused((said.by, *said.aliases), said.reason, self.approval())
            if refused:
                return refused
            if self.state is not RunState.NEEDS_ATTENTION and policy.consented_paths(said.fingerprints):
                return "Whether a protected path may be changed is answered when the run asks for it."
        if self.state is not RunState.NEEDS_ATTENTION and not (kind is AttentionKind.WAIVE and said.fingerprints):
            return f"The run does not need attention now; it is {self.state.value.replace('_', ' ')}."
        if kind is AttentionKind.WAIVE and not self.waivable and self.state is RunState.NEEDS_ATTENTION:
            return "This can't be waived; retry or abort."
        if self.answer is not None:
            return f"{self.answer.by} has answered already ({self.answer.kind.value})."
        return None

    # --- steering -----------------------------------------------------------------------------

    @workflow.signal(description="Halt before the next step or turn: {by?, reason?}")
    async def pause(self, said: Spoken) -> None:
        if not self._once(said.message_id):
            return
        if not self.paused:
            self.paused_since = workflow.time()
        self.paused = True
        self.record("pause", said.by, said.source, detail=said.reason)
        await self.tell_engine("pause", said)

    @workflow.signal(description="Go on after a pause: {by?}")
    async def resume(self, said: Spoken) -> None:
        if not self._once(said.message_id):
            return
        if self.paused_since is not None:
            self.paused_seconds += workflow.time() - self.paused_since
            self.paused_since = None
        self.paused = False
        self.record("resume", said.by, said.source, detail=said.reason)
        await self.tell_engine("resume", said)

    @workflow.signal(description="A word for the engine, taken up between two turns: {text, by?}")
    async def inject_instruction(self, said: Instruction) -> None:
        if not self._once(said.message_id):
            return
        if self.state.is_over:
            self.record("inject_instruction", said.by, accepted=False, detail="The run is over.")
            return
        self.record("inject_instruction", said.by, detail=said.text)
        if not await self.tell_engine("inject_instruction", said):
            self.instructions.append(said)

    async def use_model(self, model: str, *, by: str = "", why: str = "") -> None:
        """Let the engine go on with another model."""
        self.model = model
        self.record("escalate_model", by, detail=f"{model} ({why})" if why else model)
        await self.tell_engine("escalate_model", ModelChosen(model=model, by=by))

    @workflow.signal(
        description="Use another model from the next turn on; the ladder's next one if unnamed: {model?, by?}"
    )
    async def escalate_model(self, said: ModelChosen) -> None:
        model = said.model or ladder.next_model(self.policy.ladder, self.model)
        if not model:
            reason = "There is no model above the present one; name one, or set llm.ladder."
            self.record("escalate_model", said.by, accepted=False, detail=reason)
            return
        await self.use_model(model, by=said.by)

    @workflow.signal(description="A check of the forge ended; the run looks at it anew")
    def ci_changed(self, said: OutsideChange) -> None:
        self.ci_nudges += 1

    @workflow.signal(description="The pull request changed; the run looks at it anew")
    def pull_request_changed(self, said: OutsideChange) -> None:
        self.nudges += 1
        self.nudged_with = said.mark or self.nudged_with

    @workflow.signal(description="The ticket changed; the run looks at it anew")
    def ticket_changed(self, said: OutsideChange) -> None:
        self.ticket_nudges += 1

    @workflow.signal(description="Said by `sdlc retry --from-step` after a reset: {by, reason}")
    def went_back(self, said: Spoken) -> None:
        self.record("went_back", said.by, detail=said.reason)

    @workflow.signal(dynamic=True)
    def unknown_signal(self, name: str, args: Sequence[RawValue]) -> None:
        self.record(name, accepted=False, detail="There is no such signal; it changed nothing.")

    # --- audit --------------------------------------------------------------------------------

    def record(
        self, event: str, by: str = "", source: str = "", *, accepted: bool = True, detail: str = "", head: str = ""
    ) -> None:
        """Add a line to the audit trail; beyond the cap only accepted decisions are."""
        if len(self._audit) >= MAX_AUDIT_ENTRIES and not accepted:
            self._audit_left_out += 1
            return
        entry = AuditEntry(
            at=workflow.now(),
            event=event,
            by=by,
            source=source,
            head_sha=head or (self.change.head_sha if self.change else ""),
            accepted=accepted,
            detail=detail[:2_000],
        )
        self._audit.append(chained(entry, self._audit[-1] if self._audit else None))

    @workflow.query(description="Who decided what, when, about which head; refused decisions too")
    def audit(self) -> list[AuditEntry]:
        return self._audit


def _refuse(reason: str | None) -> None:
    """Refuse an update, if there is a reason, before it leaves an event."""
    if reason:
        raise ApplicationError(reason, type="AnswerRefused", non_retryable=True)


def _by_signal(said: Answered) -> Answered:
    """A signal names whom it likes; a right takes more."""
    return said.model_copy(update={"aliases": (), "source": said.source or "signal"})


def _waived(said: Answered) -> str:
    """What was let stand, and why."""
    return f"{said.reason} ({', '.join(said.fingerprints)})" if said.fingerprints else said.reason
