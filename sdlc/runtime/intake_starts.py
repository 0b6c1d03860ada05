"""How runs are started by what comes in: because a person asked, or because a ticket is offered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from temporalio.client import Client

from sdlc import markdown
from sdlc.domain import Person, RunIdentity, RunRequest, Ticket, TicketStatus
from sdlc.errors import ConfigurationError
from sdlc.integrations.ports import Intake, Tracker
from sdlc.people import Known, Service, by_account, recognised, same
from sdlc.runtime.client import configured_address, ensure_search_attributes, task_queue
from sdlc.runtime.dev_server import running_server
from sdlc.runtime.intake_runs import IntakeRuns
from sdlc.runtime.requests import request_for
from sdlc.runtime.runs import Started, workflow_id

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.integrations.services import Services


class IntakeTracker(Tracker, Intake, Protocol):
    """A tracker that tells of its own accord."""


def tells(services: Services) -> IntakeTracker | None:
    """The tracker, if it tells of its own accord; the local one doesn't."""
    tracker = services.tracker
    return cast(IntakeTracker, tracker) if hasattr(tracker, "comments_since") else None


def service_of(settings: Settings) -> Service:
    """Whose accounts the tracker's people have."""
    return "github" if settings.tracker.kind == "github" else "jira"


def named(person: Person, known: Sequence[Known], service: Service) -> Person:
    """The same person with a name for people to read: the configuration's, else their own unless it is another's.

    Known are people by their accounts, which they can't choose. Whoever calls himself like another is that other to
    nobody here.
    """
    if one := by_account(person.aliases, known, service):
        return one.model_copy(update={"aliases": tuple(dict.fromkeys((*one.aliases, *person.aliases)))})
    if recognised(person, known) == person:
        return person
    account = person.aliases[0] if person.aliases else ""
    is_anothers = any(same((account,), (one.name, one.email, one.github, one.jira)) for one in known)
    plain = account if account and not is_anothers else "somebody"
    return Person(name=plain, aliases=person.aliases, email=person.email)


class Starts:
    """Starts of runs on one Temporal server."""

    def __init__(self, services: Services, client: Client) -> None:
        self.services = services
        self.client = client
        self.runs = IntakeRuns(client, task_queue=task_queue(services.settings))

    async def asked(self, ticket: Ticket, starter: Person) -> tuple[Started, RunRequest]:
        """Start a run, or join the one there is. ConfigurationError where no repository is known for the ticket."""
        request = await self._request(ticket, starter)
        return await self.runs.start(request), request

    async def unasked(self, key: str) -> str:
        """Start a run for a ticket that is offered, within `intake`'s bounds; what became of it, in a sentence.

        Not for a second time by itself: what a person has cancelled, or what came to nothing, is offered again as soon
        as its claim is given back. The bound of open runs is soft: two that start at once don't see each other.
        """
        knows = await self.runs.knows(key)
        if knows:
            return f"{key} has an open run."
        ticket = await self.services.tracker.ticket(key)
        if ticket.status.casefold() == TicketStatus.DONE.casefold():
            return f"{key} is {ticket.status}."  # what was offered came from an index that lags
        if knows is False:
            text = "There was a run for it already, so it is not taken unasked again; `/sdlc start` starts another."
            await self._tell(key, text)
            return f"{key} was not taken: a run for it has ended."
        if await self.room() <= 0:
            most = self.services.settings.intake.max_open_runs
            text = f"{most} runs are open, so this has to wait; `sdlc serve --poll` takes it up when one has ended."
            await self._tell(key, text)
            return f"{key} has to wait: {most} runs are open."
        tracker = tells(self.services)
        starter = await tracker.asked_by(key) if tracker else Person(name=self.services.settings.run.starter)
        try:
            started, _ = await self.asked(ticket, starter)
        except ConfigurationError as error:
            await self._tell(ticket.key, markdown.inline(str(error), 2_000))
            return f"{key} was not taken: {error}"
        return f"{'joined' if started.joined else 'started'} {ticket.key}"

    @staticmethod
    def has_begun(did: str) -> bool:
        """Did `unasked` start a run?"""
        return did.startswith("started ")

    async def room(self) -> int:
        """How many more runs may be open."""
        most = self.services.settings.intake.max_open_runs
        return most - len(await self.runs.list(include_closed=False, limit=most))

    async def _tell(self, key: str, text: str) -> None:
        """On the ticket, once: the same words again are no new comment."""
        run = RunIdentity(workflow_id=workflow_id(key), run_id="intake", ticket_key=key)
        await self.services.tracker.comment(key, text, run=run, topic="not-taken")

    async def _request(self, ticket: Ticket, starter: Person) -> RunRequest:
        settings, tracker = self.services.settings, tells(self.services)
        bot = (*(await tracker.login() if tracker else ()), *await self.services.forge.login())
        request = request_for(settings, ticket, named(starter, settings.people, service_of(settings)), bot=bot)
        if configured_address(settings):
            return request.model_copy(update={"search_attributes": await ensure_search_attributes(self.client)})
        # The embedded server was started with our search attributes.
        record = running_server(settings)
        return request if request.ui_url or record is None else request.model_copy(update={"ui_url": record.ui_url})
