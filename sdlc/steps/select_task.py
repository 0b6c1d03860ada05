"""Step 1: the ticket is claimed and its repository opened; and the look at the ticket before anything is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from temporalio import activity

from sdlc.activities import OPEN_REPOSITORY, REFRESH_TICKET, SELECT_TASK, OpenRepository, SelectTask
from sdlc.domain import Repository, Ticket

if TYPE_CHECKING:
    from sdlc.integrations.services import Services


class SelectSteps:
    """The activities of step 1."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def activities(self) -> list[Callable[..., Any]]:
        return [self.select_task, self.refresh_ticket, self.open_repository]

    @activity.defn(name=SELECT_TASK.name)
    async def select_task(self, request: SelectTask) -> Ticket:
        """Claim the ticket for this run; TicketTaken, TicketNotFound. A repetition finds its own claim."""
        return await self.services.tracker.claim(request.run.ticket_key, claimant=request.claimant, run=request.run)

    @activity.defn(name=REFRESH_TICKET.name)
    async def refresh_ticket(self, request: SelectTask) -> Ticket:
        """The ticket as it stands now, claimed or not."""
        return await self.services.tracker.ticket(request.run.ticket_key)

    @activity.defn(name=OPEN_REPOSITORY.name)
    async def open_repository(self, request: OpenRepository) -> Repository:
        """The repository in the forge, with the commit to start from; RepositoryInvalid."""
        return await self.services.forge.open_repository(request.origin, base_branch=request.base_branch)
