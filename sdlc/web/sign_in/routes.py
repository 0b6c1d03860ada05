"""Signing in and out: the pages `/sign-in`, `/sign-in/oidc`, `/sign-in/oidc/callback` and `/sign-out`."""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sdlc.web.guard import CSRF_FIELD, SIGN_IN, Guard, page
from sdlc.web.refusals import Refused
from sdlc.web.sign_in.door import Door, form_token, visit_of

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sdlc.config import Settings

log = structlog.get_logger(__name__)

OIDC = f"{SIGN_IN}/oidc"
CALLBACK = f"{OIDC}/callback"
SIGN_OUT = "/sign-out"
_FLOW_SECONDS = 600
"""For signing in at the provider."""
_LONGEST_PATH = 2_000
"""It goes into a cookie, and browsers keep none over 4 kB."""


class SignInPage(Protocol):
    def __call__(self, *, kind: str, target: str, csrf: str, message: str = "") -> str: ...


def sign_in_page(*, kind: str, target: str, csrf: str, message: str = "") -> str:
    """The page as HTML. `kind` is `web.sign_in.kind`, `target` the path that somebody wants to come to, `csrf` for
    the field `csrf_token`, `message` what went wrong."""
    body = f'<p role="alert">{escape(message)}</p>' if message else ""
    if kind == "token":
        body += (
            "<p>Open the link that <code>sdlc dev</code> or <code>sdlc serve</code> has printed, or give its token.</p>"
            f'<form method="post" action="{SIGN_IN}"><input type="hidden" name="{CSRF_FIELD}" value="{escape(csrf)}">'
            f'<input type="hidden" name="next" value="{escape(target)}"><p><label>Token '
            '<input type="password" name="token" required autocomplete="off"></label></p>'
            '<p><button type="submit">Sign in</button></p></form>'
        )
    elif kind == "oidc":
        # A link and no form: the policy lets forms go to us alone, and this one goes on to the provider.
        address = f"{OIDC}?{urlencode({'next': target})}"
        body += f'<p><a href="{escape(address)}">Sign in at your provider</a></p>'
    elif kind == "header":
        body += "<p>A proxy signs you in and out; come by its address.</p>"
    else:
        body += '<p>Nobody needs to sign in here, and nobody can decide. <a href="/">Look around</a></p>'
    return page("Sign in", body)


def install(
    app: FastAPI, settings: Settings, *, sign_in: SignInPage = sign_in_page, clock: Callable[[], float] = time.time
) -> Door:
    """Guard everything that `app` has, and add the pages to sign in and out. Raises ConfigurationError."""
    door = Door(settings, clock=clock)
    pages = _Pages(door, sign_in)
    app.add_route(SIGN_IN, pages.enter, methods=["GET", "POST"], include_in_schema=False)
    app.add_route(SIGN_OUT, pages.leave, methods=["POST"], include_in_schema=False)
    app.add_route(OIDC, pages.go, methods=["GET"], include_in_schema=False)
    app.add_route(CALLBACK, pages.come_back, methods=["GET"], include_in_schema=False)
    app.add_middleware(Guard, door=door)
    return door


class _Pages:
    def __init__(self, door: Door, sign_in: SignInPage) -> None:
        self._door = door
        self._page = sign_in
        self._flow_cookie = f"{door.sessions.cookie}-oidc"

    async def enter(self, request: Request) -> Response:
        """The page; and with a token, by the printed link or by the page's form, the way in."""
        visit, given = visit_of(request), await request.form() if request.method == "POST" else request.query_params
        target, token = _own_path(given.get("next")), given.get("token")
        if self._door.kind != "token" or not isinstance(token, str):
            return self._shown(request, target)
        try:
            self._door.throttle.attempt(visit.address)
            if not self._door.token.is_right(token.strip()):
                raise Refused(401, "This token is not right, or no longer; take the link that was printed last.")
            visit.sign_in(self._door.machine_claim())
        except Refused as refused:
            return self._shown(request, target, refused)
        return RedirectResponse(target, 303)

    async def leave(self, request: Request) -> Response:
        visit_of(request).sign_out()
        return RedirectResponse(SIGN_IN, 303)

    async def go(self, request: Request) -> Response:
        """To the provider."""
        self._check_oidc()
        target = _own_path(request.query_params.get("next"))
        try:
            url, kept = await self._door.provider.begin(self._callback(request))
        except Refused as refused:
            return self._shown(request, target, refused)
        flow = self._door.flows.seal({**kept, "next": target, "until": int(self._door.now()) + _FLOW_SECONDS})
        self._keep_flow(request, flow, _FLOW_SECONDS)
        return RedirectResponse(url, 303)

    async def come_back(self, request: Request) -> Response:
        """From the provider; what was kept for it in the browser is good for one answer."""
        self._check_oidc()
        visit = visit_of(request)
        self._keep_flow(request, "", 0)
        kept: dict[str, Any] = self._door.flows.open(request.cookies.get(self._flow_cookie, "")) or {}
        target = _own_path(kept.get("next"))
        try:
            self._door.throttle.attempt(visit.address)
            if kept.get("until", 0) < self._door.now():
                raise Refused(403, "This sign-in was not begun in this browser, or too long ago; sign in again.")
            visit.sign_in(await self._door.provider.claim(request.query_params, kept, self._callback(request)))
        except Refused as refused:
            return self._shown(request, target, refused)
        return RedirectResponse(target, 303)

    def _check_oidc(self) -> None:
        if self._door.kind != "oidc":
            raise Refused(404, "web.sign_in.kind is not oidc.")

    def _callback(self, request: Request) -> str:
        root = self._door.settings.web.url or f"http://{request.headers['host']}"  # at loopback, the guard has checked
        return root + CALLBACK

    def _keep_flow(self, request: Request, value: str, seconds: int) -> None:
        text = self._door.sessions.cookie_text(self._flow_cookie, value, seconds)
        visit_of(request).cookies[self._flow_cookie] = text

    def _shown(self, request: Request, target: str, refused: Refused | None = None) -> Response:
        csrf = form_token(request) if self._door.kind == "token" else ""
        html = self._page(kind=self._door.kind, target=target, csrf=csrf, message=refused.reason if refused else "")
        if refused is None:
            return HTMLResponse(html)
        log.warning("a sign-in was refused", reason=refused.reason, client=visit_of(request).address)
        retry = refused.answer().headers.get("retry-after")
        return HTMLResponse(html, refused.status, {"Retry-After": retry} if retry else {})


def _own_path(given: object) -> str:
    """A path of ours to go on to; the first page for anything that could lead elsewhere."""
    if not isinstance(given, str) or len(given) > _LONGEST_PATH or not given.isascii() or not given.isprintable():
        return "/"
    elsewhere = not given.startswith("/") or given.startswith("//") or "\\" in given
    return "/" if elsewhere or given.startswith(SIGN_IN) else given
