"""`/runs`: all runs, and how they went."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from sdlc.domain import RunState
from sdlc.web.pages.plots import plots_of
from sdlc.web.pages.rendering import site_of
from sdlc.web.sign_in.door import signed_in
from sdlc.web.views import RunFilter

router = APIRouter()
_ROWS = 50
_SPANS = (7, 30, 90, 365)
_Text = Annotated[str, Query(max_length=200)]


@router.get("/runs")
async def runs(
    request: Request,
    state: _Text = "",
    repository: _Text = "",
    person: _Text = "",
    text: _Text = "",
    days: int = 30,
    cursor: Annotated[str, Query(max_length=4_096)] = "",
) -> Response:
    site, identity = site_of(request), signed_in(request)
    known = RunState(state) if state in set(RunState) else ""
    days = days if days in _SPANS else 30
    wanted = RunFilter(state=known, repository=repository.strip(), person=person.strip(), text=text.strip())
    names = site.gateway.person(identity).names
    page, stats = await asyncio.gather(
        site.gateway.runs(wanted, cursor, limit=_ROWS, names=names),
        site.gateway.stats(days, RunFilter(repository=wanted.repository)),
    )
    given: dict[str, Any] = {name: str(value) for name, value in wanted.model_dump().items() if value}
    return site.page(
        request,
        "runs.html",
        page=page,
        wanted=wanted,
        stats=stats,
        plots=plots_of(stats),
        states=tuple(RunState),
        spans=_SPANS,
        filtered=bool(given),
        is_first=not cursor,
        first="/runs?" + urlencode({**given, "days": days}),
        next=f"/runs?{urlencode({**given, 'days': days, 'cursor': page.next})}" if page.next else "",
    )
