"""`/`: what waits for me."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from sdlc.web.pages.rendering import site_of
from sdlc.web.sign_in.door import signed_in

router = APIRouter()
_ROWS = 50


@router.get("/")
async def inbox(
    request: Request,
    everything: bool = False,
    offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> Response:
    return await _page(request, "inbox.html", everything, offset)


@router.get("/inbox/list")
async def inbox_list(
    request: Request,
    everything: bool = False,
    offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> Response:
    """The list alone, for a page that stays open."""
    return await _page(request, "_inbox_list.html", everything, offset)


async def _page(request: Request, template: str, everything: bool, offset: int) -> Response:
    site, identity = site_of(request), signed_in(request)
    names = site.gateway.person(identity).names
    found = await site.gateway.inbox(names, everything=everything, offset=offset, limit=_ROWS)
    return site.page(request, template, inbox=found, everything=everything)
