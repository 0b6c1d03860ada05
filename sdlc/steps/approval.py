"""Steps 15 and 16, as far as they touch the world: people are asked, told and heard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from temporalio import activity

from sdlc import markdown
from sdlc.activities import (
    ANNOUNCE,
    CODE_OWNERS,
    RECORD_DECISION,
    REQUEST_APPROVAL,
    TELL_PEOPLE,
    Announce,
    Nothing,
    Owners,
    OwnersRequest,
    RecordDecision,
    RequestApproval,
    TellPeople,
)
from sdlc.domain import PullRequest, RunIdentity, TicketStatus
from sdlc.errors import FinalError, TicketNotFound, TicketTaken
from sdlc.integrations.github.codeowners import PLACES, owners_of, rules_of
from sdlc.integrations.ports import Notice
from sdlc.steps.evidence import cost, headline
from sdlc.steps.pull_request import draft_of
from sdlc.steps.ticket_comments import approval_comment

if TYPE_CHECKING:
    from sdlc.integrations.services import Services

_MOST_OWNERS = 50

log = structlog.get_logger(__name__)


class ApprovalSteps:
    """The activities that people see."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def activities(self) -> list[Callable[..., Any]]:
        return [self.code_owners, self.request_approval, self.record_decision, self.announce, self.tell_people]

    @activity.defn(name=CODE_OWNERS.name)
    async def code_owners(self, request: OwnersRequest) -> Owners:
        """Who owns what is changed, as the base branch has it: the change's own file does not choose its judges."""
        change = request.change
        objects = await self.services.workspaces.objects(change.repository)
        for place in PLACES:
            text = await objects.show(change.base_sha, place)
            if text is not None:
                files = await objects.changed_files(change.base_sha, change.head_sha)
                paths = [name for file in files for name in (file.path, file.old_path) if name]
                rules = rules_of(text.decode("utf-8", "replace"))
                found = (owner for path in paths for owner in owners_of(rules, path))
                return Owners(names=tuple(dict.fromkeys(found))[:_MOST_OWNERS])
        return Owners()

    @activity.defn(name=REQUEST_APPROVAL.name)
    async def request_approval(self, request: RequestApproval) -> PullRequest:
        """Pull request ready for review with the evidence of this moment, ticket In Review."""
        evidence, forge, tracker = request.evidence, self.services.forge, self.services.tracker
        run, key = evidence.run, evidence.run.ticket_key
        # Its text was written before the checks had ended and the reviews were published.
        draft = draft_of(evidence, closes=self.services.settings.github.close_issues)
        await forge.open_pull_request(draft, run=run)
        pull_request = await forge.mark_ready(
            evidence.change.repository,
            request.pull_request,
            reviewers=request.reviewers,
            run=run,
            starter=request.starter or (evidence.starter,),
        )
        body = approval_comment(evidence, pull_request, request.reviewers)
        if trouble := await self._not_moved(key, run):
            body += f"\n\n{markdown.inline(trouble, 2_000)}"
        await tracker.comment(key, body, run=run, topic="approval")
        return pull_request

    async def _not_moved(self, key: str, run: RunIdentity) -> str:
        """Ticket In Review. Why it can't be, where the workflow or our rights don't allow it: no reason to hold the
        pull request back, and the ticket says so."""
        try:
            await self.services.tracker.move(key, TicketStatus.IN_REVIEW, run=run)
        except (TicketNotFound, TicketTaken):
            raise
        except FinalError as error:
            log.warning("ticket_not_moved", reason=str(error))
            return f"The ticket stays where it is. {error}"
        return ""

    @activity.defn(name=RECORD_DECISION.name)
    async def record_decision(self, request: RecordDecision) -> Nothing:
        """Show on the pull request what a person decided elsewhere."""
        await self.services.forge.record_decision(
            request.repository, request.pull_request, request.decision, run=request.run
        )
        return Nothing()

    @activity.defn(name=ANNOUNCE.name)
    async def announce(self, request: Announce) -> Nothing:
        """A notice with the evidence in one sentence."""
        evidence = request.evidence
        body = headline(evidence) if request.event == "needs_approval" else cost(evidence.usage)
        notice = Notice(
            event=request.event,
            title=request.title,
            body=body.replace("**", ""),
            run=evidence.run,
            url=request.pull_request.url,
            repository=evidence.change.repository.name,
            people=request.people,
            head_sha=evidence.change.head_sha,
            occasion=request.occasion,
        )
        await self.services.notifier.notify(notice)
        return Nothing()

    @activity.defn(name=TELL_PEOPLE.name)
    async def tell_people(self, request: TellPeople) -> Nothing:
        """A notice, and where it is wished a comment on the ticket, one for each event."""
        notice = Notice(
            event=request.event,
            title=request.title,
            body=request.body,
            run=request.run,
            url=request.url,
            repository=request.repository,
            people=request.people,
            head_sha=request.head_sha,
            occasion=request.occasion,
        )
        if request.on_ticket:  # first: a channel that is down must not silence the ticket
            await self._comment(request)
        await self.services.notifier.notify(notice)
        return Nothing()

    async def _comment(self, request: TellPeople) -> None:
        parts = [markdown.inline(request.title, 500), markdown.quote(request.body, 4_000)]
        if request.url:
            parts.append(markdown.link("Pull request", request.url))
        body = "\n\n".join(part for part in parts if part)
        try:
            await self.services.tracker.comment(
                request.run.ticket_key, body, run=request.run, topic=f"told:{request.event}"
            )
        except TicketNotFound as error:
            # People have been told; that the ticket is gone is found out by the step that needs it.
            log.warning("ticket_not_commented", reason=str(error))
