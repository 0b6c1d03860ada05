"""What Jira tells of its own accord: who asked for a ticket, and the commands in comments. Waits for the network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sdlc.config.jira import JiraSettings
from sdlc.deliveries import CommandComment
from sdlc.domain import Person
from sdlc.errors import TicketNotFound
from sdlc.integrations.jira.client import JiraClient
from sdlc.integrations.jira.comments import Comments
from sdlc.integrations.jira.marks import Mark
from sdlc.integrations.jira.people import person_of
from sdlc.integrations.jira.selection import Selection
from sdlc.integrations.jira.ticket_of import moment as moment_of
from sdlc.integrations.jira.ticket_of import rich_text

COMMAND = "/sdlc"
_REPLY = "command:"
"""How the topic of a reply begins; the id of the comment follows."""
_PAGE = 100
_MOST_PAGES = 50
_SKEW_MINUTES = 2
"""Their clock and ours differ, and JQL counts whole minutes."""
_SETTLED = timedelta(minutes=5)
"""A ticket that was not touched for so long is the same in each of Jira's replicas."""

Json = dict[str, Any]


class JiraIntake:
    """Of one server and our account on it."""

    def __init__(self, client: JiraClient, comments: Comments, selection: Selection, settings: JiraSettings) -> None:
        self.client = client
        self.comments = comments
        self.selection = selection
        self.settings = settings
        self._read: dict[str, tuple[str, tuple[CommandComment, ...]]] = {}
        """Id of an issue → when it was changed last, and the commands that it had then."""

    # --- who asked ----------------------------------------------------------------------------

    def asked_by(self, key: str) -> Person:
        """Who put the label on the ticket last, else who made the ticket, else who is named as its reporter."""
        params = {"fields": "creator,reporter,labels"}
        server = self.client.server
        if not server.is_cloud:
            params["expand"] = "changelog"
        issue = self.client.get(
            f"issue/{key}", doing=f"say who asked for {key}", needs="Browse Projects", key=key, params=params
        )
        fields = _mapping(_mapping(issue).get("fields"))
        changes = self._changes(key) if server.is_cloud else _listed(_mapping(issue).get("changelog"), "histories")
        last: tuple[str, int] = ("", 0)
        labelled: object = None
        if self._is_label(" ".join(str(label) for label in fields.get("labels") or ())):
            for change in changes:
                order = (str(change.get("created")), _number(change.get("id")))
                if self._labels(change) and order >= last:
                    last, labelled = order, change.get("author")
        candidates = [labelled, fields.get("creator"), fields.get("reporter")]
        there = [one for one in candidates if isinstance(one, dict) and one]
        return person_of(there[0] if there else None, is_cloud=server.is_cloud)

    def _changes(self, key: str) -> Iterator[Json]:
        start = 0
        for _ in range(_MOST_PAGES):
            page = self.client.get(
                f"issue/{key}/changelog",
                doing=f"say what became of {key}",
                needs="Browse Projects",
                key=key,
                params={"startAt": start, "maxResults": _PAGE},
            )
            changes = _listed(page, "values")
            yield from changes
            start += len(changes)
            if not changes or page.get("isLast") is not False:
                return

    def _labels(self, change: Json) -> bool:
        """Did this change put the label on?"""
        return any(
            item.get("field") == "labels"
            and self._is_label(item.get("toString"))
            and not self._is_label(item.get("fromString"))
            for item in _listed(change, "items")
        )

    def _is_label(self, labels: object) -> bool:
        """Is it among these, which a blank parts?"""
        return self.settings.label.casefold() in str(labels or "").casefold().split()

    # --- commands -----------------------------------------------------------------------------

    def comment_on(self, key: str, comment_id: str) -> CommandComment | None:
        """As it stands now; None if it, or its ticket, is gone."""
        try:
            return next((one for one in self._told(key) if one.comment_id == comment_id), None)
        except TicketNotFound:
            return None

    def comments_since(self, since: datetime) -> tuple[CommandComment, ...]:
        """Commands of people in tickets that we look after, written since then, the oldest first."""
        minutes = max(0, math.ceil((datetime.now(UTC) - since).total_seconds() / 60)) + _SKEW_MINUTES
        read: dict[str, tuple[str, tuple[CommandComment, ...]]] = {}
        found: list[CommandComment] = []
        for issue in self.selection.looked_after(minutes):
            number, key = str(issue.get("id")), str(issue.get("key"))
            updated = str(_mapping(issue.get("fields")).get("updated"))
            known = self._read.get(number)
            if known is None or known[0] != updated or (known[1] and known[1][0].ticket_key != key):
                try:
                    told = tuple(self._told(key))
                except TicketNotFound:
                    continue
                known = (updated, tuple(one for one in told if COMMAND in one.body.lower() and not one.ours))
            changed = moment_of(updated)
            if changed and datetime.now(UTC) - changed > _SETTLED:
                read[number] = known
            found += [one for one in known[1] if one.created >= since]
        self._read = read
        return tuple(sorted(found, key=lambda one: (one.created, _number(one.comment_id))))

    def reply(self, comment: CommandComment, body: str) -> None:
        """Answer it, once: the mark is the comment's, not a run's."""
        topic = f"{_REPLY}{comment.comment_id}"
        self.comments.write(comment.ticket_key, body, Mark(f"sdlc:{topic}", "", topic))

    def _told(self, key: str) -> list[CommandComment]:
        """All comments of a ticket, the oldest first."""
        comments = self.comments.all(key)
        marks = {one.id: one.mark for one in self.comments.ours_of(comments)}
        answered = {mark.topic.removeprefix(_REPLY) for mark in marks.values() if mark.topic.startswith(_REPLY)}
        is_cloud = self.client.server.is_cloud
        return [
            CommandComment(
                ticket_key=key,
                comment_id=str(comment.get("id")),
                author=person_of(comment.get("author"), is_cloud=is_cloud),
                body=rich_text(comment.get("body"), is_cloud=is_cloud) if _is_their_own(comment, is_cloud) else "",
                created=moment_of(comment.get("created")) or datetime.fromtimestamp(0, UTC),
                ours=str(comment.get("id")) in marks,
                answered=str(comment.get("id")) in answered,
            )
            for comment in comments
        ]


def _is_their_own(comment: Json, is_cloud: bool) -> bool:
    """Are these the author's words? Somebody else may have edited them, and would speak in their name."""
    author, last = (person_of(comment.get(who), is_cloud=is_cloud) for who in ("author", "updateAuthor"))
    return not last.aliases or last.aliases[0] == (author.aliases[0] if author.aliases else "")


def _number(identity: object) -> int:
    text = str(identity)
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _listed(value: object, name: str) -> list[Json]:
    found = _mapping(value).get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
