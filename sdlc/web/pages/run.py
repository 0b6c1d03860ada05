"""`/runs/{key}`: a run, its parts as pages of their own, and what people do to it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sdlc.domain import RunState
from sdlc.web.gateway import CardView, Conflict
from sdlc.web.pages.actions import NOTHING, Unfit, act, allowed, draft_of
from sdlc.web.pages.addresses import run_path
from sdlc.web.pages.rendering import TABS, site_of
from sdlc.web.sign_in.door import signed_in
from sdlc.web.views import RunView

router = APIRouter(prefix="/runs/{key}")
Key = Annotated[str, Path(min_length=1, max_length=200)]
_WITHOUT_THE_RUN = ("conversation", "logs")
"""Parts that are read from Temporal's histories and from documents, whether a worker answers or not."""


@router.get("")
async def overview(request: Request, key: Key) -> Response:
    return _page(request, await _view(request, key), "overview")


@router.get("/live")
async def live(request: Request, key: Key, tab: str = "") -> Response:
    """What moves, for a page that stays open."""
    view = await _view(request, key)
    if isinstance(view, CardView):
        return site_of(request).page(request, "_card_status.html", run=view, tab=tab)
    return site_of(request).page(request, "_live.html", **_shown(request, view, tab))


@router.get("/diff")
async def diff(request: Request, key: Key) -> Response:
    view = await _view(request, key)
    found = await site_of(request).gateway.diff(key) if isinstance(view, RunView) else None
    return _page(request, view, "diff", diff=found)


@router.get("/conversation")
async def conversation(request: Request, key: Key) -> Response:
    view = await _view(request, key)
    return _page(request, view, "conversation", conversation=await site_of(request).gateway.conversation(key))


@router.get("/costs")
async def costs(request: Request, key: Key) -> Response:
    return _page(request, await _view(request, key), "costs")


@router.get("/audit")
async def audit(request: Request, key: Key) -> Response:
    return _page(request, await _view(request, key), "audit")


@router.get("/audit.jsonl")
async def audit_lines(request: Request, key: Key) -> Response:
    """To be kept elsewhere."""
    signed_in(request)
    lines = "".join(f"{entry.model_dump_json()}\n" for entry in await site_of(request).gateway.trail(key))
    return Response(lines, media_type="application/jsonl", headers={"Content-Disposition": "attachment"})


@router.get("/logs")
async def logs(request: Request, key: Key) -> Response:
    view = await _view(request, key)
    return _page(request, view, "logs", documents=await site_of(request).gateway.logs(key))


@router.get("/logs/{sha256}")
async def log(request: Request, key: Key, sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> Response:
    view = await _view(request, key)
    return _page(request, view, "logs", "run_log.html", document=await site_of(request).gateway.log(key, sha256))


@router.post("/actions")
async def actions(request: Request, key: Key) -> Response:
    """Do it, and show the run with a sentence about what became of it; at a refusal with what was written."""
    site, identity = site_of(request), signed_in(request)
    form = await request.form()
    try:
        message = await act(site.gateway, key, identity, form)
    except (Conflict, Unfit) as refused:
        status = 409 if isinstance(refused, Conflict) else 422
        view, draft = await _view(request, key), draft_of(form)
        return _page(request, view, "overview", status=status, refused=str(refused), draft=draft)
    return RedirectResponse(f"{run_path(key)}?said={site.seal_said(message)}", 303)


def _page(
    request: Request, view: RunView | CardView, tab: str, template: str = "", *, status: int = 200, **more: Any
) -> Response:
    if isinstance(view, CardView):
        if tab not in _WITHOUT_THE_RUN:
            template = "run_card.html"
        shown = {"layout": "run_card.html", "run": view, "tab": tab, "tabs": TABS, "over": view.over, "refused": ""}
    else:
        shown = {"layout": "run.html", **_shown(request, view, tab)}
    return site_of(request).page(request, template or f"run_{tab}.html", status, **(shown | more))


async def _view(request: Request, key: str) -> RunView | CardView:
    gateway = site_of(request).gateway
    return await gateway.run_or_card(key, gateway.person(signed_in(request)).names)


def _shown(request: Request, view: RunView, tab: str) -> dict[str, Any]:
    return {
        "run": view,
        "tab": tab,
        "tabs": TABS,
        "can": allowed(view.actions, signed_in(request)),
        "over": view.progress.state.is_over,
        "deciding": view.progress.state is RunState.AWAITING_APPROVAL,
        "proof": sum(len(test.proof.shown) for test in view.tests if test.proof),
        "refused": "",
        "draft": NOTHING,
    }
