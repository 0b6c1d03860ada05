"""One request to the fake Jira's REST API: who asks for what, and where it is answered."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes import jira_text
from tests.fakes.jira_changes import Changes
from tests.fakes.jira_jql import View
from tests.fakes.jira_state import Data, Issue, JiraProblem, RichText, State, User
from tests.fakes.jira_wire import Json, Wire

NO_ISSUE = {
    "cloud": "Issue does not exist or you do not have permission to see it.",
    "datacenter": "Issue Does Not Exist",
}


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    """JSON, or text if it is `str`; None: no body."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """A request whose sender is known; handlers raise JiraProblem."""

    state: State
    data: Data
    user: User | None
    """None: nobody is logged in."""
    version: int
    base: str
    query: dict[str, list[str]]
    body: Any
    changes: Changes
    page_cap: int = 100
    search_data: Data | None = None
    """What the search index knows, where it lags."""

    @property
    def cloud(self) -> bool:
        return self.state.cloud

    @property
    def wire(self) -> Wire:
        return Wire(self.state, self.data, self.base, self.version, self.user)

    @property
    def view(self) -> View:
        return View(self.state, self.data, self.user)

    def asked(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]

    def number(self, name: str, default: int) -> int:
        try:
            return int(self.asked(name, str(default)))
        except ValueError:
            raise self.unreadable() from None

    def names(self, name: str) -> list[str]:
        """A list given as repeated parameters, comma separated, or both."""
        return [part.strip() for value in self.query.get(name, []) for part in value.split(",") if part.strip()]

    def payload(self) -> Json:
        """The body as an object."""
        if not isinstance(self.body, dict):
            raise self.unreadable()
        return self.body

    def unreadable(self) -> JiraProblem:
        if self.cloud:
            return JiraProblem(400, "Invalid request payload. Refer to the REST API documentation and try again.")
        return JiraProblem(400, "Can not deserialize the request.")

    def me(self) -> User:
        if self.user is None:
            raise JiraProblem(401, "You are not authenticated. Authentication required to perform this operation.")
        return self.user

    def may(self, permission: str) -> bool:
        return self.user is not None and permission in self.user.permissions

    def visible(self, key: str) -> bool:
        issue = self.data.find(key)
        return issue is not None and self.view.sees(issue)

    def issue(self, id_or_key: str) -> Issue:
        """One that the reader may see; 404 in the same words for one that isn't there."""
        if self.user is None and not self.cloud:
            raise JiraProblem(401, "You do not have the permission to see the specified issue.", "Login Required")
        issue = self.data.find(id_or_key)
        if issue is None or not self.view.sees(issue):
            raise JiraProblem(404, NO_ISSUE[self.state.flavour])
        return issue

    def rich(self, field_id: str, value: Any) -> RichText:
        """Text as it is kept, checked as this version of the API takes it."""
        if value is None or value == "":
            return None
        if self.version == 3:
            if field_id == "comment":
                if not isinstance(value, dict):
                    raise JiraProblem(400, comment="Comment body is not valid!")
            elif not isinstance(value, dict):
                wrong = "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
                raise JiraProblem(400, **{field_id: wrong})
            if not jira_text.is_document(value):
                raise JiraProblem(400, "INVALID_INPUT")
            if len(jira_text.to_wiki(value)) > jira_text.LIMIT:
                raise JiraProblem(400, "CONTENT_LIMIT_EXCEEDED")
            return value
        if not isinstance(value, str):
            raise JiraProblem(400, **{field_id: "Operation value must be a string"})
        if len(value) > jira_text.LIMIT:
            wrong = f"The entered text is too long. It exceeds the allowed limit of {jira_text.LIMIT:,} characters."
            raise JiraProblem(400, **{field_id: wrong})
        return value


Handler = Callable[..., Answer]


@dataclass(frozen=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    reads: bool
    """It changes nothing, whatever its method."""
    flavour: str
    """Where it is; "" on both."""


ROUTES: list[Route] = []


def route(method: str, path: str, *, flavour: str = "", reads: bool = False) -> Callable[[Handler], Handler]:
    """Register a handler; `{name}` in the path is one part of it, given on as an argument."""
    pattern = re.compile("/" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))

    def register(handler: Handler) -> Handler:
        ROUTES.append(Route(method, pattern, handler, reads or method == "GET", flavour))
        return handler

    return register


def find(method: str, path: str, flavour: str) -> tuple[Route, dict[str, str]] | int:
    """The route of a path below `/rest/api/<version>`; else 404, or 405 if it takes other methods."""
    status = 404
    for candidate in ROUTES:
        match = candidate.pattern.fullmatch(path)
        if match and candidate.flavour in ("", flavour):
            if candidate.method == method:
                return candidate, {name: urllib.parse.unquote(value) for name, value in match.groupdict().items()}
            status = 405
    return status
