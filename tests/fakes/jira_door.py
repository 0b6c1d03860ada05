"""The door of the fake Jira: who is it that asks, may they ask so often, and how a refusal looks."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
import urllib.parse
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.fakes.faults import Fault
from tests.fakes.jira_api import Answer
from tests.fakes.jira_state import JiraProblem, State, User
from tests.fakes.jira_wire import error_body

_HTML = "<html><head><title>{0}</title></head><body><h1>{0}</h1><p>{1}</p></body></html>"
_PLAIN_401 = "Client must be authenticated to access this resource."
CAPTCHA_AFTER = 3


class Refused(Exception):
    """Not let in; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


@dataclass
class Limit:
    """So many requests of a person in so many seconds."""

    requests: int
    seconds: float
    as_date: bool = False
    """`Retry-After` as an HTTP date."""


class Door:
    """Authenticates and counts."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.limit: Limit | None = None
        self.lenient = False
        """Treat those with a wrong secret as nobody, as Cloud has done, instead of refusing them."""
        self._failures: Counter[str] = Counter()
        self._seen: dict[str, deque[float]] = {}

    # --- who ----------------------------------------------------------------------------------

    def who(self, authorization: str, *, gateway: bool, base: str) -> User | None:
        """The sender; None: nobody is logged in. Raises Refused. `gateway`: through api.atlassian.com, for OAuth."""
        kind, _, given = authorization.partition(" ")
        if gateway:
            return self._by_oauth(kind, given)
        if not kind:
            return None
        if kind.lower() == "basic":
            return self._by_secret(given, base)
        if kind.lower() == "bearer" and not self.state.cloud:
            found = next((user for user in self.state.users.values() if user.bearer and user.bearer == given), None)
            if found is None or not found.active:
                raise Refused(self._unknown(base))
            return found
        if kind.lower() == "bearer":  # the site itself takes no OAuth token, nor an API token as a bearer
            raise Refused(Answer(403, {"error": "Failed to parse Connect Session Auth Token"}))
        raise Refused(self._unknown(base))

    def _by_oauth(self, kind: str, given: str) -> User:
        for user in self.state.users.values():
            if kind.lower() == "bearer" and user.bearer and user.bearer == given and user.active:
                return user
        raise Refused(Answer(401, {"code": 401, "message": "Unauthorized"}, {"WWW-Authenticate": "Bearer"}))

    def _by_secret(self, given: str, base: str) -> User | None:
        try:
            name, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Refused(self._unknown(base)) from None
        for user in self.state.users.values():
            login = user.email if self.state.cloud else user.name
            if login.lower() == name.lower() and user.secret and user.active:
                if not self.state.cloud and self._failures[user.name] >= CAPTCHA_AFTER:
                    reason = f"CAPTCHA_CHALLENGE; login-url={base}/login.jsp"
                    headers = {
                        "X-Authentication-Denied-Reason": reason,
                        "X-Seraph-LoginReason": "AUTHENTICATION_DENIED",
                    }
                    raise Refused(Answer(403, _HTML.format("Forbidden (403)", "Basic Authentication Failure"), headers))
                if user.secret == secret:
                    self._failures[user.name] = 0
                    return user
                self._failures[user.name] += 1
        if self.state.cloud and self.lenient:
            return None
        raise Refused(self._unknown(base))

    def _unknown(self, base: str) -> Answer:
        headers = {"X-Seraph-LoginReason": "AUTHENTICATED_FAILED"}
        headers["WWW-Authenticate"] = f'OAuth realm="{urllib.parse.quote(base, safe="")}"'
        if self.state.cloud:
            return Answer(401, _PLAIN_401, headers)
        return Answer(401, _HTML.format("Unauthorized (401)", "Basic Authentication Failure"), headers)

    @staticmethod
    def check_scope(user: User, path: str, *, reads: bool) -> None:
        """What an OAuth token may do. Raises Refused."""
        about_people = bool(re.match(r"/rest/api/\w+/(user|myself|group)", path))
        needed = "read:jira-user" if about_people else ("read:jira-work" if reads else "write:jira-work")
        if needed not in user.scopes:
            body = {"code": 401, "message": "Unauthorized; scope does not match"}
            raise Refused(Answer(401, body, {"WWW-Authenticate": "Bearer"}))

    # --- how often ----------------------------------------------------------------------------

    def count(self, user: User | None) -> dict[str, str]:
        """Headers that tell what is left; Refused when nothing is."""
        limit = self.limit
        if limit is None:
            return {}
        seen = self._seen.setdefault(user.name if user else "", deque())
        now = time.monotonic()
        while seen and seen[0] <= now - limit.seconds:
            seen.popleft()
        wait = max(1, round(seen[0] + limit.seconds - now)) if seen else 0
        if len(seen) >= limit.requests:
            headers = {"Retry-After": retry_after(wait, as_date=limit.as_date), **self._left(limit, 0, wait)}
            raise Refused(self.too_many(headers))
        seen.append(now)
        return self._left(limit, limit.requests - len(seen), wait)

    def _left(self, limit: Limit, left: int, wait: int) -> dict[str, str]:
        headers = {"X-RateLimit-Limit": str(limit.requests), "X-RateLimit-Remaining": str(left)}
        if not self.state.cloud:
            more = {"X-RateLimit-Interval-Seconds": f"{limit.seconds:g}", "X-RateLimit-FillRate": str(limit.requests)}
            return {**headers, **more} if left == 0 else {**headers, **more, "Retry-After": "0"}
        reset = datetime.now(UTC) + timedelta(seconds=wait)
        headers["X-RateLimit-Reset"] = reset.strftime("%Y-%m-%dT%H:%MZ")
        if left < limit.requests / 5:
            headers["X-RateLimit-NearLimit"] = "true"
        return headers

    def too_many(self, headers: Mapping[str, str]) -> Answer:
        if self.state.cloud:
            body: object = {"errorMessages": ["Rate limit exceeded."], "errors": {}}
            return Answer(429, body, {"RateLimit-Reason": "jira-burst-based", **headers})
        return Answer(429, {"message": "Rate limit exceeded."}, dict(headers))

    # --- what goes wrong on purpose -----------------------------------------------------------

    def refusal(self, fault: Fault, base: str) -> Answer:
        """How a fault of kind `status` or `secondary` looks."""
        if fault.kind == "secondary" or fault.status == 429:
            usual = {"Retry-After": "5"} if fault.kind == "secondary" else {}
            return self.too_many({**usual, **fault.headers})
        if fault.status == 401:
            answer = self._unknown(base)
            return Answer(401, fault.message or answer.body, {**answer.headers, **fault.headers})
        if fault.status in (502, 503, 504):  # not Jira but what stands before it
            title = f"{fault.status} {fault.message or 'Service Unavailable'}"
            return Answer(fault.status, _HTML.format(title, "The service can't answer now."), dict(fault.headers))
        problem = JiraProblem(fault.status, fault.message or "Internal server error")
        return Answer(fault.status, error_body(problem), dict(fault.headers))


def retry_after(seconds: float, *, as_date: bool = False) -> str:
    """The header, in seconds or as an HTTP date."""
    if not as_date:
        return str(max(1, round(seconds)))
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def text_of(body: object) -> tuple[str, bytes]:
    """Content type and bytes of an answer's body."""
    if isinstance(body, str):
        kind = "text/html" if body.startswith("<") else "text/plain"
        return f"{kind};charset=UTF-8", body.encode()
    return "application/json;charset=UTF-8", json.dumps(body).encode()
