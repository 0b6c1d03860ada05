"""Commands in comments on a ticket: who may give them, what is done, what is answered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdlc.comment_commands import Command, Verb, parse
from sdlc.deliveries import CommandComment
from sdlc.domain import (
    ApprovalDecision,
    AttentionAnswer,
    AttentionKind,
    DecisionKind,
    Instruction,
    Person,
    TicketStatus,
)
from sdlc.errors import FinalError, RunNotFound, UsageError
from sdlc.markdown import inline
from sdlc.people import ApproverName, accounts_of, by_author, same
from sdlc.progress import RunProgress
from sdlc.run_payloads import Spoken
from sdlc.runtime import intake_replies as replies
from sdlc.runtime.intake_starts import IntakeTracker, Starts, named, service_of

if TYPE_CHECKING:
    from sdlc.integrations.services import Services

_LONGEST_NAME = 200
_DECISIONS = {
    Verb.APPROVE: DecisionKind.APPROVE,
    Verb.REQUEST_CHANGES: DecisionKind.REQUEST_CHANGES,
    Verb.REJECT: DecisionKind.REJECT,
}
_HEAD = re.compile(r"[0-9a-f]{7,64}")
_CUT = "The comment was too long; its end was left out."


@dataclass(frozen=True)
class _Order:
    """A command of somebody who may give it."""

    command: Command
    key: str
    person: Person
    message_id: str
    decider: ApproverName

    @property
    def by(self) -> str:
        return self.person.name[:_LONGEST_NAME]


class Commands:
    """Obeys the comments of one tracker. A comment that comes again is obeyed once: messages bear its id."""

    def __init__(self, services: Services, tracker: IntakeTracker, starts: Starts) -> None:
        self.settings = services.settings
        self.tracker = tracker
        self.starts = starts
        self.runs = starts.runs

    async def obey(self, comment: CommandComment) -> tuple[str, ...]:
        """Do what a comment says, if it says something to us, and answer it once; what was done."""
        if comment.ours or comment.answered:
            return (f"comment {comment.comment_id} is {'ours' if comment.ours else 'answered already'}",)
        command = parse(comment.body)
        if command is None:
            return (f"comment {comment.comment_id} is no command",)
        try:
            reply, did = await self._answer(comment, command)
        except (UsageError, FinalError) as error:
            # Of the tracker, the forge, the settings: who asked must hear of it, or will ask again.
            reply, did = replies.refused(error), f"{comment.ticket_key}: refused: {error}"
        await self.tracker.reply(comment, reply)
        return (did,)

    async def _answer(self, comment: CommandComment, command: Command) -> tuple[str, str]:
        key, settings = comment.ticket_key, self.settings
        service = service_of(settings)
        commanders = accounts_of(settings.intake.commanders, settings.people, service)
        decider = by_author(comment.author, settings.people, service)
        is_named = same(commanders, comment.author.aliases) or await self._is_asked(key, command.verb, decider)
        if not is_named and not await self.tracker.may_command(comment.author, key):
            writers_may = settings.tracker.kind == "github"
            return replies.may_not(settings.intake, writers_may=writers_may), f"{key}: refused, who asked may not"
        if command.verb is None:
            return replies.help_text(), f"{key}: told which commands there are"
        person = named(comment.author, settings.people, service)
        order = _Order(command, key, person, f"{settings.tracker.kind}-comment-{comment.comment_id}", decider)
        reply, did = await self._done(order, command.verb)
        return f"{reply} {_CUT}" if command.cut else reply, did

    async def _is_asked(self, key: str, verb: Verb | None, who: ApproverName) -> bool:
        """Is it a decision of somebody whom the run asks for one by name?"""
        if verb not in _DECISIONS:
            return False
        try:
            card = await self.runs.card(key)
        except RunNotFound:
            return False
        return card is not None and same(who.names, card.approvers)

    async def _done(self, order: _Order, verb: Verb) -> tuple[str, str]:
        if verb is Verb.START:
            return await self._start(order)
        try:
            return await self._steered(order, verb)
        except RunNotFound:
            known = await self.runs.knows(order.key)
            reply = replies.no_run(order.key) if known is None else replies.over(order.key)
            return reply, f"{order.key}: no open run to {verb.value}"

    async def _start(self, order: _Order) -> tuple[str, str]:
        if await self.runs.knows(order.key):
            return replies.joined(order.key), f"{order.key} has an open run"
        ticket = await self.tracker.ticket(order.key)
        if ticket.status.casefold() == TicketStatus.DONE.casefold():
            raise UsageError(f"{ticket.key} is {ticket.status}; reopen it if it is to be done again.")
        ours = (*await self.tracker.login(), self.settings.tracker.claimant)
        if ticket.assignee and not same([ticket.assignee], ours):
            raise UsageError(f"{ticket.key} is assigned to {ticket.assignee}; unassign it to give it away.")
        run, request = await self.starts.asked(ticket, order.person)
        if run.joined:
            return replies.joined(ticket.key), f"joined {ticket.key}"
        return replies.started(ticket.key, run, request, self.starts.client.namespace), f"started {ticket.key}"

    async def _steered(self, order: _Order, verb: Verb) -> tuple[str, str]:
        key = order.key
        look = await self.runs.look(key)
        progress = look.progress
        if verb is Verb.STATUS:
            return replies.status(look), f"{key}: told how it stands"
        if verb in (Verb.RETRY, Verb.CANCEL):
            return await self._attended(order, verb, progress)
        if verb in _DECISIONS:
            return await self._decided(order, verb, progress)
        if progress.state.is_over:
            raise RunNotFound(key)
        if verb is Verb.INSTRUCT:
            if not order.command.text:
                return "Say what: the text behind `/sdlc instruct` goes to the engine.", f"{key}: nothing to pass on"
            said = Instruction(text=order.command.text, by=order.by, message_id=order.message_id)
            await self.runs.signal(key, "inject_instruction", said)
            told = "That was passed on to the engine, which reads it before its next turn."
        else:
            word = Spoken(by=order.by, reason=order.command.text, message_id=order.message_id)
            await self.runs.signal(key, verb.value, word)
            told = "It halts before its next step or turn." if verb is Verb.PAUSE else "It goes on if it was paused."
        waits = "" if verb is Verb.RESUME and progress.waits_for == "resume" else replies.waits(progress)
        return " ".join(filter(None, (told, waits))), f"{key}: {verb.value}"

    async def _decided(self, order: _Order, verb: Verb, progress: RunProgress) -> tuple[str, str]:
        """An approval names its head: a comment may be read long after it was written."""
        kind, text = _DECISIONS[verb], order.command.text
        head = progress.change.head_sha if progress.change else ""
        if kind is DecisionKind.APPROVE:
            named_head, _, text = text.partition(" ")
            if not _HEAD.fullmatch(named_head.lower()):
                return replies.which_head(progress), f"{order.key}: asked which head is approved"
            head = named_head.lower()
        elif not text:
            return replies.say_why(verb), f"{order.key}: asked for a reason"
        decision = ApprovalDecision(
            kind=kind,
            by=order.decider.name[:_LONGEST_NAME],
            aliases=order.decider.aliases,
            also_called=order.decider.also_called,
            head_sha=head,
            comment=text.strip(),
            source="tracker",
            decision_id=order.message_id,
        )
        try:
            receipt = await self.runs.decide(order.key, decision)
        except RunNotFound:
            raise
        except UsageError as error:
            return replies.refused(error), f"{order.key}: {verb.value} was refused: {error}"
        return inline(receipt.message), f"{order.key}: {verb.value}"

    async def _attended(self, order: _Order, verb: Verb, progress: RunProgress) -> tuple[str, str]:
        text, is_retry = order.command.text, verb is Verb.RETRY
        answer = AttentionAnswer(
            kind=AttentionKind.RETRY if is_retry else AttentionKind.ABORT,
            by=order.by,
            instruction=text if is_retry else "",
            reason="" if is_retry else text,
            message_id=order.message_id,
        )
        try:
            await self.runs.attend(order.key, answer)
        except RunNotFound:
            raise
        except UsageError as error:
            hint = replies.waits_for_a_review(progress) if is_retry else ""
            return replies.refused(error, hint), f"{order.key}: {verb.value} was refused: {error}"
        told = "The run goes on." if is_retry else "The run ends; what it has is kept, and the ticket is given back."
        return told, f"{order.key}: {verb.value}"
