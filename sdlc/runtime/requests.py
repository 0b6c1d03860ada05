"""What a run is asked to do, made from a ticket, the one who starts it, and the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdlc.domain import Person, RunRequest, Ticket
from sdlc.errors import ConfigurationError
from sdlc.people import recognised
from sdlc.routing import route_of

if TYPE_CHECKING:
    from sdlc.config import Settings


def request_for(
    settings: Settings,
    ticket: Ticket,
    starter: Person,
    *,
    repository: str = "",
    base_branch: str = "",
    bot: tuple[str, ...] = (),
) -> RunRequest:
    """The request for a run.

    `repository` and `base_branch` are what somebody named; without them the ticket's own repository is taken, or the
    first of `intake.repositories` that fits. `bot` are the names under which we write, whose decisions never count.
    Raises ConfigurationError where no repository is known.
    """
    route = None if repository else route_of(ticket, settings.intake.repositories)
    where = repository or ticket.repository or (route.repository if route else "")
    if not where:
        raise ConfigurationError(
            f"No repository is configured for {ticket.key}; add one that fits it to intake.repositories."
        )
    if route is not None and not base_branch and where == route.repository:
        base_branch = route.base_branch
    # Who is known by accounts was recognised by them; a name alone is that of somebody at this machine.
    person = starter if starter.aliases else recognised(starter, settings.people)
    request = RunRequest(
        ticket_key=ticket.key,
        repository=where,
        base_branch=base_branch,
        starter=person.name,
        starter_aliases=person.names[1:],
        starter_email=person.email,
        policy=settings.run_policy(where),
        ui_url=settings.temporal.ui_url.rstrip("/"),
    )
    return with_bot(request, bot)


def with_bot(request: RunRequest, names: tuple[str, ...]) -> RunRequest:
    """The same request, knowing under which other names the bot writes."""
    approval = request.policy.approval
    named = approval.model_copy(update={"bot_aliases": tuple(dict.fromkeys((*approval.bot_aliases, *names)))})
    return request.model_copy(update={"policy": request.policy.model_copy(update={"approval": named})})
