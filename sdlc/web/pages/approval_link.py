"""`/links/{link}`: the page that a message leads to. Opening it shows; only its form decides."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sdlc.runtime.runs import workflow_id
from sdlc.web.gateway import Conflict
from sdlc.web.links import PATH, ApprovalLink, Links
from sdlc.web.pages.actions import NOTHING, Draft, Unfit, decide, draft_of
from sdlc.web.pages.rendering import Site, site_of
from sdlc.web.refusals import Refused
from sdlc.web.sign_in.door import visit_of
from sdlc.web.sign_in.identity import Identity
from sdlc.web.views import RunView

router = APIRouter()
Sealed = Annotated[str, Path(max_length=4_096)]


@router.get(PATH + "{link}")
async def show(request: Request, link: Sealed) -> Response:
    """The change in short. Why it can't be decided by this link stands on it; with a broken one there is nothing."""
    site = site_of(request)
    read = Links(site.settings).read(link)
    view = await _view(site, read)
    try:
        who = await _decider(request, read, view)
    except Refused as refused:
        return _page(request, link, read, view, None, refused=refused.reason)
    return _page(request, link, read, view, who)


@router.post(PATH + "{link}")
async def decided(request: Request, link: Sealed) -> Response:
    site = site_of(request)
    read = Links(site.settings).read(link)
    view = await _view(site, read)
    form = await request.form()
    who = await _decider(request, read, view)
    try:
        message = await decide(site.gateway, view.key, who, form, read.head_sha)
    except Conflict as refused:
        return _page(request, link, read, await _view(site, read), who, 409, str(refused), draft_of(form))
    except Unfit as unfit:
        return _page(request, link, read, view, who, 422, str(unfit), draft_of(form))
    return RedirectResponse(f"{PATH}{link}?said={site.seal_said(message)}", 303)


async def _view(site: Site, read: ApprovalLink) -> RunView:
    return await site.gateway.run(read.workflow_id.removeprefix(workflow_id("")), (read.person,))


async def _decider(request: Request, read: ApprovalLink, view: RunView) -> Identity:
    site = site_of(request)
    run_id = await site.gateway.first_run(view.key)
    links = Links(site.settings)
    return links.decider(read, visit_of(request).identity, run_id=run_id, head_sha=view.line.head_sha)


def _page(
    request: Request,
    link: str,
    read: ApprovalLink,
    view: RunView,
    who: Identity | None,
    status: int = 200,
    refused: str = "",
    draft: Draft = NOTHING,
) -> Response:
    shown: dict[str, Any] = {"run": view, "link": PATH + link, "person": read.person, "who": who}
    can = tuple(action for action in view.actions if action in ("approve", "request_changes", "reject")) if who else ()
    proof = sum(len(test.proof.shown) for test in view.tests if test.proof)
    return site_of(request).page(
        request, "link.html", status, **shown, can=can, refused=refused, draft=draft, proof=proof, tab="link"
    )
