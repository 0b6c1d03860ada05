"""Sessions: a signed cookie, and nothing on the server.

Signing out takes the cookie away. A copy of it is good until it has idled too long; a new `web.secret` ends all.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sdlc.web.sign_in.identity import Claim
from sdlc.web.sign_in.sealing import Sealer

if TYPE_CHECKING:
    from sdlc.config import Settings

SKEW_SECONDS = 60.0
"""By which the clocks of two servers with one secret may differ."""
_RENEW_SECONDS = 60.0
"""How old a cookie gets before a page renews it."""


@dataclass(frozen=True)
class Session:
    """Of a browser; times in seconds since 1970."""

    id: str
    begun: float
    seen: float
    claim: Claim | None = None
    """None: somebody who has not signed in, and sees a page with a form."""
    source: str = ""
    """What vouched for the claim; a session ends with it."""


class Sessions:
    def __init__(self, secret: bytes, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self._sealer = Sealer(secret, "session")
        self._forms = Sealer(secret, "form of a session")
        self._clock = clock
        self._idle = settings.web.sign_in.idle_hours * 3_600
        self._longest = settings.web.sign_in.longest_hours * 3_600
        self.secure = settings.web.url.startswith("https:")
        # Two installations at one host must not sign each other out: cookies know no ports.
        self.cookie = ("__Host-" if self.secure else "") + "sdlc-" + self._sealer.mark("name")[:8]

    def begin(self, claim: Claim | None = None, source: str = "") -> Session:
        """A new one; never an old one under a new name, which somebody else could have planted."""
        now = self._clock()
        return Session(secrets.token_urlsafe(16), now, now, claim, source)

    def read(self, cookies: Mapping[str, str]) -> Session | None:
        """The session of a request; None if there is none, or it is over."""
        kept = self._sealer.open(cookies.get(self.cookie, ""))
        session = _session(kept) if kept is not None else None
        if session is None:
            return None
        now = self._clock()
        from_future = max(session.seen, session.begun) > now + SKEW_SECONDS
        over = now - session.begun > self._longest or now - session.seen > self._idle
        return None if from_future or over else session

    def renewed(self, session: Session) -> Session | None:
        """As it is after another page; None while its cookie is young."""
        now = self._clock()
        return replace(session, seen=now) if now - session.seen > _RENEW_SECONDS else None

    def set_cookie(self, session: Session) -> str:
        """The value of a `Set-Cookie` header."""
        claim = session.claim
        value: dict[str, Any] = {"id": session.id, "b": int(session.begun), "s": int(session.seen)}
        if claim is not None:
            value |= {"n": claim.name, "v": claim.via, "e": claim.email, "g": claim.groups, "o": session.source}
            value |= {"y": claim.also_called} if claim.also_called else {}
        left = max(1, int(session.begun + self._longest - self._clock()))
        return self.cookie_text(self.cookie, self._sealer.seal(value), left)

    def end_cookie(self) -> str:
        return self.cookie_text(self.cookie, "", 0)

    def cookie_text(self, name: str, value: str, seconds: int) -> str:
        secure = "; Secure" if self.secure else ""
        return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"

    def form_token(self, session: Session) -> str:
        """What a form of this session carries: another site can make the browser send the cookie, but not know this."""
        return self._forms.mark(session.id)

    def is_form_token(self, session: Session, given: str) -> bool:
        return hmac.compare_digest(self.form_token(session).encode(), given.encode(errors="replace"))


def _session(kept: Mapping[str, Any]) -> Session | None:
    """None for the cookie of a version that kept something else."""
    try:
        claim = None
        if "n" in kept:
            claim = Claim(kept["n"], kept["v"], kept["e"], tuple(kept["g"]), tuple(kept.get("y", ())))
        return Session(kept["id"], kept["b"], kept["s"], claim, kept.get("o", ""))
    except (KeyError, TypeError):
        return None
