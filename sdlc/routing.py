"""Which repository a ticket is about. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from sdlc.domain import Ticket


class Route(Protocol):
    """`sdlc.config.intake.RouteSettings`."""

    repository: str
    base_branch: str
    projects: tuple[str, ...]
    components: tuple[str, ...]
    labels: tuple[str, ...]


R = TypeVar("R", bound=Route)


def route_of(ticket: Ticket, routes: Iterable[R]) -> R | None:
    """The first route that fits; None if none does."""
    project = (ticket.key.rpartition("-")[0],)
    return next(
        (
            route
            for route in routes
            if _fits(route.projects, project)
            and _fits(route.components, ticket.components)
            and _fits(route.labels, ticket.labels)
        ),
        None,
    )


def _fits(wanted: Sequence[str], there: Sequence[str]) -> bool:
    return not wanted or bool({one.casefold() for one in wanted} & {one.casefold() for one in there})
