"""What Jira's webhooks say, as something to look at. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdlc.deliveries import Delivery
from sdlc.web.payload import Nonsense, NotOurs, Payload

if TYPE_CHECKING:
    from sdlc.config import Settings

_KEY = re.compile(r"(?P<project>[A-Za-z][A-Za-z0-9_]{0,99})-[1-9][0-9]{0,17}", re.ASCII)
_IDENTIFIER = re.compile(r"(?!comment-|body-)[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII | re.IGNORECASE)
"""Headers are not signed: one must not be able to stand for a comment that was not delivered yet."""

_TICKET_EVENTS = frozenset({"jira:issue_created", "jira:issue_updated", "jira:issue_deleted"})
_ABOUT_OLD_COMMENTS = frozenset({"issue_comment_edited", "issue_comment_deleted"})


@dataclass(frozen=True)
class JiraScope:
    """What of Jira is ours."""

    projects: frozenset[str] | None = None
    """Case-folded keys; None: all."""

    @classmethod
    def of(cls, settings: Settings) -> JiraScope:
        """The projects that tickets are taken from, and those of routes."""
        routes = settings.intake.repositories
        if not settings.jira.projects and not (routes and all(route.projects for route in routes)):
            return cls()
        named = (*settings.jira.projects, *(project for route in routes for project in route.projects))
        return cls(frozenset(name.casefold() for name in named))

    def includes(self, key: str) -> bool:
        return self.projects is None or key.rpartition("-")[0].casefold() in self.projects


def jira_delivery(
    payload: Payload, identifier: str | None, body: bytes | bytearray, scope: JiraScope
) -> Delivery | None:
    """The delivery that a payload of Cloud or Data Center is; None for what nobody needs to look at.

    `identifier` is what the sender calls it; where it says nothing, as servers may, the body itself names it: it
    holds the moment of the change. Raises Nonsense, and NotOurs for a project that nobody has named.
    """
    event = payload.text("webhookEvent")
    if event == "comment_created":
        return _comment(payload, scope)
    if event not in _TICKET_EVENTS:
        return None
    kind = payload.text("issue_event_type_name") if event == "jira:issue_updated" else ""
    if kind == "issue_commented":
        return _comment(payload, scope)
    if kind in _ABOUT_OLD_COMMENTS:
        return None
    key = _key(payload, scope)
    return Delivery(source="jira", kind="ticket", identity=_identity(identifier, body), ticket_key=key)


def _comment(payload: Payload, scope: JiraScope) -> Delivery | None:
    """A new comment, whichever of the two events tells of it."""
    comment_id = payload.part("comment").identifier("id")
    if not payload.has("issue"):
        # Data Center's `comment_created` has only the number in it, which names no run; it tells the same
        # once more, as a change of the issue, with the key.
        return None
    key = _key(payload, scope)
    return Delivery(
        source="jira", kind="comment", identity=f"comment-{comment_id}", ticket_key=key, comment_id=comment_id
    )


def _key(payload: Payload, scope: JiraScope) -> str:
    """The key under which we know the issue: before it was moved away from us, if this tells of that."""
    now = payload.part("issue").matching("key", _KEY)
    changes = payload.optional_part("changelog").parts("items")
    before = [change.text("fromString") for change in changes if change.text("field") == "Key"]
    for key in (*before, now):
        if _KEY.fullmatch(key) and scope.includes(key):
            return key
    raise NotOurs("No project that is configured has this issue; look at jira.projects and intake.repositories.")


def _identity(identifier: str | None, body: bytes | bytearray) -> str:
    if identifier is None:
        return f"body-{hashlib.sha256(body).hexdigest()}"
    if not _IDENTIFIER.fullmatch(identifier):
        raise Nonsense("The header X-Atlassian-Webhook-Identifier is not as Jira writes it.")
    return identifier
