"""What every request passes: by which name we are called, who asks, whether a page of ours made them ask, and the
headers of every answer."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdlc.web.api_problems import problem
from sdlc.web.body import Bodies
from sdlc.web.refusals import Refused
from sdlc.web.sign_in.door import API, Door, Visit

if TYPE_CHECKING:
    from sdlc.config.web import WebSettings

log = structlog.get_logger(__name__)

CSRF_FIELD = "csrf_token"
CSRF_HEADER = "X-CSRF-Token"
SIGN_IN = "/sign-in"
LINKS = "/links/"

_MACHINES = ("/webhooks/", "/healthz", "/readyz")
"""Asked by programs, by whatever name, with proofs of their own or none."""
_PUBLIC = (SIGN_IN, "/sign-out", "/static/")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_WILDCARDS = ("0.0.0.0", "[::]")  # noqa: S104  no names
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 200
_PORTS = {"http": 80, "https": 443}
_FOREIGN = "Another site has sent this; do it on a page of ours."
_SMALL_BYTES = 16 * 1024
"""Of who has not signed in; they have a memory of their own to fill."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, door: Door) -> None:
        web = door.settings.web
        self._app = app
        self._door = door
        self._hosts = allowed_hosts(web)
        self._origin = _origin(web.url)
        self._bodies = Bodies(web.max_form_bytes)
        self._bodies_of_strangers = Bodies(_SMALL_BYTES)
        self._public = (*_PUBLIC, LINKS) if web.links.decide_without_sign_in else _PUBLIC

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        request, answer = Request(scope, receive), _Answer(send)
        try:
            if not _is_below(scope["path"], _MACHINES):
                self._check_host(request.headers)
                receive = await self._passed(request, answer)
            await self._app(scope, receive, answer)
        except Refused as refused:
            if answer.begun:
                raise
            await refusal(request, refused)(scope, receive, answer)
        except Exception as error:
            if answer.begun:
                raise
            # Without the error's own words, which may quote what was sent.
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("a page failed", path=scope["path"], error=type(error).__name__, at=frames)
            await refusal(request, Refused(500, "A fault in sdlc itself; its log says where."))(scope, receive, answer)

    def _check_host(self, headers: Headers) -> None:
        """A page elsewhere can have its own name lead to this machine; ours it can't have."""
        given = headers.getlist("host")
        if len(given) != 1 or _without_port(given[0]) not in self._hosts:
            raise Refused(421, "This server is not called so; add the name to web.hosts, or set web.url.")

    async def _passed(self, request: Request, answer: _Answer) -> Receive:
        """What the application reads the body from. Raises Refused."""
        public = _is_below(request.scope["path"], self._public)
        visit = answer.visit = Visit(self._door, request)
        request.state.visit = visit
        try:
            visit.recognise(request)
        except Refused:
            if not public:
                raise
        if request.method not in _SAFE:
            return await self._checked(request, visit, public=public)
        if visit.identity is None and not public:
            raise Refused(401, "Sign in first.")
        if request.headers.get("sec-fetch-mode", "navigate") == "navigate":  # a page that polls keeps nobody here
            visit.renew()
        return request.receive

    async def _checked(self, request: Request, visit: Visit, *, public: bool) -> Receive:
        """Raises Refused (403) for what no page of ours has sent: another site may have made the browser do it."""
        self._check_origin(request)
        if visit.identity is None and not public:
            raise Refused(401, "You are not signed in, or no longer: sign in, and do it again.")
        header = request.headers.get(CSRF_HEADER, "")
        if not (visit.by_bearer or header or _is_form(request)):
            raise Refused(403, f"The header {CSRF_HEADER} of a page of ours is missing.")
        body = await self._body(request, self._bodies if visit.identity is not None else self._bodies_of_strangers)
        if not visit.by_bearer:
            given = header or _field(body)
            if visit.session is None or not self._door.sessions.is_form_token(visit.session, given):
                raise Refused(403, "This page is too old, or not of this session; load it again, and send it again.")
            visit.renew()
        return _again(body, request.receive)

    async def _body(self, request: Request, bodies: Bodies) -> bytes:
        try:
            bodies.check_length(request)
            with await bodies.read(request) as held:
                return bytes(held)
        except Refused as refused:
            if refused.status != 413:
                raise
            raise Refused(413, f"This is too long: at most {bodies.limit // 1024} kB can be sent at once.") from None

    def _check_origin(self, request: Request) -> None:
        site, origin = request.headers.get("sec-fetch-site", ""), request.headers.get("origin", "")
        # For forms of pages without referrers browsers say `null`, of ours and of others.
        if origin not in ("", "null"):
            known = _origin(origin)
            if known is None or known not in (self._origin, _origin(f"{known[0]}://{request.headers['host']}")):
                raise Refused(403, _FOREIGN)
        if site not in ("", "same-origin", "none"):
            raise Refused(403, _FOREIGN)


class _Answer:
    """Adds the headers that every answer has, and the cookies of the visit."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self.visit: Visit | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            cookies = self.visit.cookies if self.visit is not None else {}
            for cookie in cookies.values():
                headers.append("Set-Cookie", cookie)
            if cookies:
                headers["Cache-Control"] = "no-store"
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)


def allowed_hosts(web: WebSettings) -> frozenset[str]:
    """Names by which browsers may call us, as they stand in the header `Host`, without a port."""
    own = f"[{web.host}]" if ":" in web.host else web.host
    named = (*_LOOPBACK, own, *web.hosts, _without_port(urlsplit(web.url).netloc))
    return frozenset(name.casefold() for name in named if name not in ("", *_WILDCARDS))


def refusal(request: Request, refused: Refused) -> Response:
    """A page for people, JSON for programs. Who has to sign in first is sent there."""
    path, answer = request.scope["path"], refused.answer()
    if path.startswith(API):
        return problem(refused.status, refused.reason, retry_after=refused.retry_after)
    visit = getattr(request.state, "visit", None)
    can_sign_in = isinstance(visit, Visit) and visit.door.kind in ("token", "oidc")
    unknown = refused.status == 401 and can_sign_in and not _is_below(path, (SIGN_IN,))
    if "hx-request" in request.headers:
        if unknown:
            answer.headers["HX-Redirect"] = SIGN_IN
        return answer
    if "text/html" not in request.headers.get("accept", ""):
        return answer
    if unknown and request.method in _SAFE:
        target = quote(path) + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{SIGN_IN}?{urlencode({'next': target})}", 303)
    link = f'<p><a href="{SIGN_IN}">Sign in</a></p>' if can_sign_in and refused.status in (401, 403) else ""
    title = "Refused" if refused.status < 500 else "Failed"
    kept = {name: value for name, value in answer.headers.items() if name == "retry-after"}
    return HTMLResponse(page(title, f"<p>{escape(refused.reason)}</p>{link}"), refused.status, kept)


def page(title: str, body: str) -> str:
    """A page of nothing but text; `body` is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>'
        f'{escape(title)} · sdlc</title><meta name="viewport" content="width=device-width, initial-scale=1"></head>'
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )


def _is_below(path: str, prefixes: Iterable[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix.rstrip('/')}/") for prefix in prefixes)


def _without_port(netloc: str) -> str:
    host, _, port = netloc.rpartition(":")
    return (host if host and port.isdigit() else netloc).casefold()


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None for what is no origin of a web page."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname.casefold(), _PORTS[parts.scheme] if port is None else port


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM


def _field(body: bytes) -> str:
    """The token of a form; empty if there is none, or more than one."""
    try:
        found = [value for name, value in parse_qsl(body.decode(), max_num_fields=_MOST_FIELDS) if name == CSRF_FIELD]
    except ValueError:
        return ""
    return found[0] if len(found) == 1 else ""


def _again(body: bytes, receive: Receive) -> Receive:
    """The body was read already; the application gets it once more."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
