"""A run by its card alone, while no worker answers for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sdlc.runtime.last_known import LastKnown
from sdlc.web.gateway.lists import line_of
from sdlc.web.views import Links, RunLine, View


class CardView(View):
    key: str
    line: RunLine
    why: str
    """Why there is no more, in a sentence."""
    at: datetime | None = None
    """When it stood so; None: unknown."""
    over: bool = False
    links: Links = Links()


def card_view(known: LastKnown, why: str, names: Sequence[str], temporal: str) -> CardView:
    """`names`: of the one who looks; `temporal`: the run's page there."""
    line = line_of(known.row, names)
    return CardView(
        key=line.key,
        line=line,
        why=why,
        at=known.at,
        over=known.row.status != "running",
        links=Links(temporal=temporal, pull_request=line.pull_request_url),
    )
