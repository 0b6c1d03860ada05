"""Who a request is from, and the two things that pages ask: `signed_in` and `needs`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog
from starlette.requests import Request

from sdlc.errors import ConfigurationError
from sdlc.web.refusals import Refused
from sdlc.web.sign_in.header import claim_by_header, is_within
from sdlc.web.sign_in.identity import Claim, Identity, Role, Roles
from sdlc.web.sign_in.oidc import Provider
from sdlc.web.sign_in.sealing import Sealer, web_secret
from sdlc.web.sign_in.sessions import Session, Sessions
from sdlc.web.sign_in.throttle import Throttle
from sdlc.web.sign_in.tokens import MachineToken

if TYPE_CHECKING:
    from sdlc.config import Settings

log = structlog.get_logger(__name__)

API = "/api/"
_FORWARDED = "X-Forwarded-For"


class Visit:
    """One request. Its session can change until the head of the answer is sent."""

    def __init__(self, door: Door, request: Request) -> None:
        self.door = door
        self.address = door.address(request)
        self.session = door.sessions.read(request.cookies)
        self.identity: Identity | None = None
        self.by_bearer = False
        """Nothing that a browser sends by itself says who it is."""
        self.cookies: dict[str, str] = {}
        """Values of `Set-Cookie`, by the cookie's name."""

    def recognise(self, request: Request) -> None:
        """Find out who it is. Raises Refused for one who says who they are, and it is not so or not enough."""
        door, kind = self.door, self.door.kind
        claim = self.session.claim if self.session is not None else None
        if kind == "none":
            claim = Claim("anonymous", "none")
        elif kind == "header":
            peer = request.client.host if request.client else ""
            claim = claim_by_header(request.headers, peer, door.own, door.now())
            if self.session is not None and self.session.claim != door.kept(claim):
                self.session = None
        elif (bearer := _bearer(request)) and kind == "token":
            if not door.token.is_right(bearer):
                door.throttle.attempt(self.address)
                raise Refused(401, "This token is not that of this machine.")
            self.by_bearer, claim = True, door.machine_claim()
        elif claim is not None and not (claim.via == kind and self.session and self.session.source == door.source()):
            claim = self.session = None
        self.identity = door.roles.identity(claim) if claim is not None else None

    def form_token(self) -> str:
        """For the forms of a page, by a session that is begun if there is none."""
        claim = self.door.kept(self.identity) if self.identity is not None and self.door.kind == "header" else None
        return self.door.sessions.form_token(self.session or self._take(self.door.sessions.begin(claim)))

    def sign_in(self, claim: Claim) -> None:
        """Raises Refused for somebody who may do nothing here."""
        self.identity = self.door.roles.identity(claim)
        log.info("signed in", name=claim.name, role=self.identity.role.words, via=claim.via, client=self.address)
        self.door.throttle.succeeded(self.address)
        self._take(self.door.sessions.begin(self.door.kept(claim), self.door.source()))

    def sign_out(self) -> None:
        self.session = self.identity = None
        self.cookies[self.door.sessions.cookie] = self.door.sessions.end_cookie()

    def renew(self) -> None:
        """Somebody has looked at a page: the session idles from now."""
        renewed = self.door.sessions.renewed(self.session) if self.session is not None else None
        if renewed is not None and not self.cookies:
            self._take(renewed)

    def _take(self, session: Session) -> Session:
        self.session = session
        self.cookies[self.door.sessions.cookie] = self.door.sessions.set_cookie(session)
        return session


class Door:
    """What the configuration has made of signing in; `clock` in seconds since 1970."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        """Raises ConfigurationError for ways that would let in anybody from anywhere."""
        web = settings.web
        self.settings, self.own, self.kind, self.now = settings, web.sign_in, web.sign_in.kind, clock
        _check(settings)
        secret = web_secret(settings)
        self.sessions = Sessions(secret, settings, clock=clock)
        self.flows = Sealer(secret, "a sign-in under way")
        self.roles = Roles(settings)
        self.throttle = Throttle(self.own.attempts_per_minute, self.own.attempts_per_minute_overall)
        self.token = MachineToken(settings)
        self.provider = Provider(self.own.oidc)
        if self.kind == "token":
            self.token.make()

    def source(self) -> str:
        """What has to vouch for a session now."""
        if self.kind == "token":
            return self.token.fingerprint()
        return self.provider.source if self.kind == "oidc" else ""

    def machine_claim(self) -> Claim:
        return Claim(self.settings.run.starter, "token")

    def kept(self, claim: Claim) -> Claim:
        """What of it a session keeps."""
        return Claim(claim.name, claim.via, claim.email, self.roles.relevant(claim.groups), claim.also_called)

    def address(self, request: Request) -> str:
        """Where a request comes from: the first address, seen from here, that is no proxy of ours."""
        peer = request.client.host if request.client else ""
        hops = [hop.strip() for line in request.headers.getlist(_FORWARDED) for hop in line.split(",")]
        while hops and is_within(peer, self.own.proxies):
            peer = hops.pop()
        return peer


def visit_of(request: Request) -> Visit:
    """The visit that the guard has begun for this request."""
    visit = getattr(request.state, "visit", None)
    if not isinstance(visit, Visit):
        raise RuntimeError("the guard is not installed, or does not look at this path")
    return visit


def signed_in(request: Request) -> Identity:
    """Who asks. A dependency; raises Refused (401) for somebody who has not signed in."""
    identity = visit_of(request).identity
    if identity is None:
        raise Refused(401, "Sign in first.")
    return identity


def needs(role: Role) -> Callable[[Request], Awaitable[Identity]]:
    """A dependency: who asks, if they have this role or a higher one. Raises Refused (401, 403)."""

    async def allowed(request: Request) -> Identity:
        identity = signed_in(request)
        if identity.role < role:
            raise Refused(403, f"This needs the role {role.words}; {identity.name} is {identity.role.words}.")
        return identity

    return allowed


def form_token(request: Request) -> str:
    """For the field `csrf_token` of forms, and the header `X-CSRF-Token` of scripts."""
    return visit_of(request).form_token()


def _check(settings: Settings) -> None:
    if refusal := settings.web.refusal():
        raise ConfigurationError(" ".join(refusal))


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and request.scope["path"].startswith(API) else ""
