"""One request to the API of the fake GitHub: who asks, what they may, what they gave; and how an answer is made."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt

from tests.fakes import github_errors as errors
from tests.fakes.github_errors import ApiError
from tests.fakes.github_hub import Hub
from tests.fakes.github_shapes import Shapes
from tests.fakes.github_state import Json, Repo, State, Token

ANONYMOUS_LIMIT = 60
MAX_JWT_SECONDS = 600

Params = dict[str, str]


@dataclass
class Answer:
    status: int
    body: Any = None
    """JSON, text for `text/plain`, or None for nothing."""
    headers: dict[str, str] = field(default_factory=dict)
    media: str = "application/json; charset=utf-8"

    @property
    def data(self) -> bytes:
        if self.body is None:
            return b""
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


@dataclass
class Call:
    """A request, read."""

    hub: Hub
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes
    token: Token
    template: str = ""

    @property
    def state(self) -> State:
        return self.hub.state

    @property
    def shapes(self) -> Shapes:
        return self.hub.shapes

    @property
    def login(self) -> str:
        return self.token.login

    # --- who may ------------------------------------------------------------------------------

    def repo(self, params: Params, permission: str = "metadata", wanted: str = "read", level: str = "read") -> Repo:
        """The repository of the path; 404 for what the token does not see, 403 for what it may not do there."""
        repo = self.state.find_repository(f"{params['owner']}/{params['repo']}")
        if repo is None or not self.state.sees(self.token, repo):
            raise errors.not_found()
        if self.method != "GET":
            if self.token.kind == "anonymous":
                raise ApiError(401, "Requires authentication")
            self.hub.may(self.token, repo, permission, wanted, level)
            if repo.archived:
                raise errors.archived()
        elif self.token.kind != "anonymous":
            self.hub.may(self.token, repo, permission, wanted, level)
        return repo

    # --- what was given -----------------------------------------------------------------------

    @property
    def body(self) -> Json:
        """The JSON object that was sent; {} for none. 400 for anything else."""
        if not self.raw:
            return {}
        try:
            body = json.loads(self.raw)
        except ValueError as error:
            raise ApiError(400, "Problems parsing JSON") from error
        if not isinstance(body, dict):
            raise ApiError(400, "Body should be a JSON object")
        return body

    def text(self, name: str) -> str:
        """A text that must be there; 422 without."""
        value = self.optional(name)
        if value is None:
            raise errors.not_supplied(name)
        return value

    def optional(self, name: str) -> str | None:
        value = self.body.get(name)
        if value is not None and not isinstance(value, str):
            raise errors.wrong_type(name, value)
        return value

    def flag(self, name: str) -> bool:
        value = self.body.get(name)
        if value is not None and not isinstance(value, bool):
            raise errors.wrong_type(name, value)
        return bool(value)

    def choice(self, name: str, choices: Sequence[str], *, required: bool = False) -> str | None:
        value = self.text(name) if required else self.optional(name)
        if value is not None and value not in choices:
            raise ApiError(422, f"Invalid request.\n\n{value} is not a member of {json.dumps(list(choices))}.")
        return value

    def names(self, name: str, of: str = "name") -> list[str]:
        """A list of texts, or of objects that have one under `of`."""
        value = self.body.get(name) or []
        if not isinstance(value, list):
            raise errors.wrong_type(name, value)
        found = [item.get(of) if isinstance(item, dict) else item for item in value]
        if not all(isinstance(item, str) for item in found):
            raise errors.wrong_type(name, value)
        return [str(item) for item in found]

    # --- pages --------------------------------------------------------------------------------

    def _number(self, name: str, default: int) -> int:
        try:
            return max(1, int(self.query.get(name) or default))
        except ValueError:
            return default

    def page(self, items: Sequence[Any]) -> tuple[list[Any], dict[str, str]]:
        """The items of the wished page, and the Link header to the others."""
        size, number = min(self._number("per_page", 30), 100), self._number("page", 1)
        last = max(1, math.ceil(len(items) / size))
        links: dict[str, int] = {}
        if number > 1:
            links |= {"prev": min(number - 1, last), "first": 1}
        if number < last:
            links |= {"next": number + 1, "last": last}
        base = self.hub.shapes.root + self.path
        shown = [
            f'<{base}?{urllib.parse.urlencode({**self.query, "page": str(page)})}>; rel="{name}"'
            for name, page in sorted(links.items(), key=lambda item: ("prev", "next", "last", "first").index(item[0]))
        ]
        headers = {"Link": ", ".join(shown)} if shown else {}
        return list(items[(number - 1) * size : number * size]), headers

    def listed(self, items: Sequence[Any], show: Callable[[Any], Any]) -> Answer:
        """200 with a page of a list."""
        page, headers = self.page(items)
        return Answer(200, [show(item) for item in page], headers)

    def counted(self, name: str, items: Sequence[Any], show: Callable[[Any], Any]) -> Answer:
        """200 with a page in an object that has the count of all."""
        page, headers = self.page(items)
        return Answer(200, {"total_count": len(items), name: [show(item) for item in page]}, headers)


Handler = Callable[[Call, Params], Answer]


@dataclass
class Route:
    method: str
    template: str
    handler: Handler
    pattern: re.Pattern[str]


class Routes:
    """Templates as the official description writes them; a parameter of the last kind may hold slashes."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def add(self, method: str, template: str) -> Callable[[Handler], Handler]:
        def known(handler: Handler) -> Handler:
            pattern = re.sub(r"\\{(\w+)\\}", lambda found: f"(?P<{found[1]}>{_shape(found[1])})", re.escape(template))
            self._routes.append(Route(method, template, handler, re.compile(pattern)))
            return handler

        return known

    def find(self, method: str, path: str) -> tuple[Route, Params] | None:
        """The first route that fits, in the order in which they were added."""
        for route in self._routes:
            if route.method == method and (found := route.pattern.fullmatch(path)):
                return route, {name: urllib.parse.unquote(value) for name, value in found.groupdict().items()}
        return None

    @property
    def templates(self) -> list[tuple[str, str]]:
        return [(route.method, route.template) for route in self._routes]


_WIDE = {"branch", "ref", "path", "basehead"}


def _shape(name: str) -> str:
    if name in _WIDE:
        return ".+"
    return "[0-9]+" if name.endswith(("_id", "_number")) else "[^/]+"


# --- tokens ---------------------------------------------------------------------------------------


def given_token(header: str) -> str:
    """The token of an Authorization header in any of the forms that GitHub takes; "" for none."""
    kind, _, rest = header.strip().partition(" ")
    if kind.lower() in ("token", "bearer"):
        return rest.strip()
    if kind.lower() == "basic":
        try:
            name, _, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return "?"
        return name if password in ("", "x-oauth-basic") else password
    return "?" if kind else ""


def token_of(state: State, header: str) -> Token:
    """Who asks; 401 for a token that is unknown or over."""
    value = given_token(header)
    if not value:
        return state.tokens.setdefault("", Token("", "", "anonymous", limit=ANONYMOUS_LIMIT, remaining=ANONYMOUS_LIMIT))
    if value.count(".") == 2:
        return _app_token(state, value)
    token = state.tokens.get(value)
    if token is None or token.kind == "jwt" or (token.expires is not None and token.expires <= time.time()):
        raise errors.bad_credentials()
    if token.kind == "installation" and state.apps[token.app_id].suspended:
        raise ApiError(403, "This installation has been suspended")
    return token


def _app_token(state: State, value: str) -> Token:
    """An App itself, by the JWT that it signed."""
    try:
        claims = jwt.decode(value, options={"verify_signature": False})
        app = state.apps[int(str(claims.get("iss", "")))]
    except (jwt.PyJWTError, ValueError, KeyError) as error:
        raise ApiError(401, "A JSON web token could not be decoded") from error
    options: Any = {"verify_exp": False, "verify_iat": False}
    try:
        jwt.decode(value, app.public_key, algorithms=["RS256"], options=options)
    except jwt.PyJWTError as error:
        raise ApiError(401, "A JSON web token could not be decoded") from error
    now = time.time()
    expires, issued = claims.get("exp"), claims.get("iat")
    if not isinstance(expires, int | float) or expires <= now:
        raise ApiError(
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the "
            "assertion expires",
        )
    if expires > now + MAX_JWT_SECONDS + 5:
        raise ApiError(401, "'Expiration time' claim ('exp') is too far in the future")
    if not isinstance(issued, int | float) or issued > now + 5:
        raise ApiError(
            401, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
        )
    return state.tokens.setdefault(f"jwt:{app.id}", Token(f"jwt:{app.id}", app.login, "jwt", app_id=app.id))


class SpentByGraphql(Exception):
    """Nothing is left of a limit: GraphQL says so in an answer with status 200."""


def spend(token: Token, status: int, *, graphql: bool = False) -> None:
    """Counts a request against the token's limit.

    When nothing is left, raises ApiError (`status`, 403 or 429), and SpentByGraphql for GraphQL.
    """
    if token.reset <= time.time():
        token.remaining, token.reset = token.limit, time.time() + 3600
    if token.remaining <= 0:
        whom = f"user ID {token.login}" if token.kind != "installation" else "installation ID"
        if graphql:
            raise SpentByGraphql(f"API rate limit exceeded for {whom}.")
        raise ApiError(status, f"API rate limit exceeded for {whom}.")
    token.remaining -= 1


def token_headers(token: Token) -> dict[str, str]:
    """What GitHub says of a token in each answer."""
    headers = {
        "X-RateLimit-Limit": str(token.limit),
        "X-RateLimit-Remaining": str(max(0, token.remaining)),
        "X-RateLimit-Reset": str(int(token.reset)),
        "X-RateLimit-Used": str(token.limit - max(0, token.remaining)),
        "X-RateLimit-Resource": "core",
    }
    if token.kind == "classic":
        headers |= {"X-OAuth-Scopes": ", ".join(token.scopes), "X-Accepted-OAuth-Scopes": "repo"}
    if token.expires and token.kind in ("classic", "fine-grained"):
        headers["GitHub-Authentication-Token-Expiration"] = time.strftime(
            "%Y-%m-%d %H:%M:%S UTC", time.gmtime(token.expires)
        )
    return headers


def etag(token: Token, data: bytes) -> str:
    return f'W/"{hashlib.sha256(token.value.encode() + data).hexdigest()}"'
