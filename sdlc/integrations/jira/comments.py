"""The comments of a ticket: read, and written so that a repetition edits what is there.

A comment is ours if our account wrote it and it bears a mark (`marks`): what others write, a copied mark included,
is never edited, and never taken for a claim.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sdlc.errors import FinalError
from sdlc.integrations.jira import adf, marks, wiki
from sdlc.integrations.jira.client import JiraClient
from sdlc.integrations.jira.marks import Mark

Json = dict[str, Any]

_PAGE = 100
_MOST = 5_000
"""Comments that an issue of Jira Cloud may have."""
_CUT = "\n\n*… the rest did not fit into a comment.*"


@dataclass(frozen=True)
class Ours:
    id: str
    mark: Mark
    text: str
    """Markdown."""


class Comments:
    """Those of one server. Waits for the network."""

    def __init__(self, client: JiraClient) -> None:
        self.client = client

    def all(self, key: str) -> list[Json]:
        """As Jira has them, the oldest first."""
        found: list[Json] = []
        while len(found) < _MOST:
            params = {"startAt": len(found), "maxResults": _PAGE, "orderBy": "created", "expand": "properties"}
            page = self.client.get(
                f"issue/{key}/comment",
                doing=f"read the comments of {key}",
                needs="Browse Projects",
                key=key,
                params=params,
            )
            comments = [one for one in _list(page, "comments") if isinstance(one, dict)]
            found += comments
            total = page.get("total") if isinstance(page, dict) else None
            if not comments or not isinstance(total, int) or len(found) >= total:
                break
        return sorted({str(one.get("id")): one for one in found}.values(), key=_order)

    def ours(self, key: str) -> list[Ours]:
        """Those that runs wrote, the oldest first."""
        return self.ours_of(self.all(key))

    def ours_of(self, comments: list[Json]) -> list[Ours]:
        """Those of `comments` that runs wrote."""
        server = self.client.server
        found: list[Ours] = []
        for comment in comments:
            if server.user_id(comment.get("author")) != server.me:
                continue
            body = comment.get("body")
            if mark := self._property(comment) if server.is_cloud else marks.of_text(body):
                text = adf.to_markdown(body) if server.is_cloud else wiki.to_markdown(marks.without_anchor(str(body)))
                found.append(Ours(str(comment.get("id")), mark, text))
        return found

    def write(self, key: str, body: str, mark: Mark) -> None:
        """Bring the run's one comment on the mark's topic to `body` (Markdown); the same text again is no edit."""
        mine = [one for one in self.ours(key) if _same(one.mark, mark)]
        if mine:
            self.edit(key, mine[0], body, mark)
        else:
            self.add(key, body, mark)
            # A look at a replica that lags may have missed one of an earlier try; the first stays.
            mine = [one for one in self.ours(key) if _same(one.mark, mark)]
            if len(mine) > 1:
                self.edit(key, mine[0], body, mark)
        for other in mine[1:]:
            with suppress(FinalError):
                self.delete(key, other.id)

    def add(self, key: str, body: str, mark: Mark) -> str:
        """A new comment; its id."""
        made = self.client.send(
            "POST",
            f"issue/{key}/comment",
            self._content(body, mark),
            doing=f"comment on {key}",
            needs="Add Comments",
            key=key,
        )
        return str(made.get("id")) if isinstance(made, dict) else ""

    def edit(self, key: str, comment: Ours, body: str, mark: Mark) -> None:
        """Other text, another mark; nothing if both are there."""
        content = self._content(body, mark)
        shown = content["body"]
        server = self.client.server
        after = adf.to_markdown(shown) if server.is_cloud else wiki.to_markdown(marks.without_anchor(shown))
        if comment.text == after and comment.mark == mark:
            return
        self.client.send(
            "PUT",
            f"issue/{key}/comment/{comment.id}",
            content,
            doing=f"edit our comment on {key}",
            needs="Edit Own Comments",
            key=key,
        )

    def delete(self, key: str, comment_id: str) -> None:
        self.client.send(
            "DELETE",
            f"issue/{key}/comment/{comment_id}",
            None,
            doing=f"delete our comment on {key}",
            needs="Delete Own Comments",
            key=key,
        )

    def _content(self, body: str, mark: Mark) -> Json:
        limit = self.client.settings.comment_limit
        if self.client.server.is_cloud:
            document = adf.from_markdown(_within(body, limit))
            if not document["content"]:
                document = adf.plain_document("–")
            return {"body": document, "properties": [{"key": marks.PROPERTY, "value": mark.value}]}
        room = limit - len(mark.anchor) - 2
        text = wiki.from_markdown(_within(body, limit))
        length = room
        while len(text) > room and length > 100:  # escapes make it longer than it was
            length = length * 3 // 4
            text = wiki.from_markdown(_within(body, length))
        return {"body": f"{text or '–'}\n\n{mark.anchor}"}

    def _property(self, comment: Json) -> Mark | None:
        """The mark among the comment's properties, which are asked for where the list came without them."""
        listed = comment.get("properties")
        if isinstance(listed, list):
            values = [one.get("value") for one in listed if isinstance(one, dict) and one.get("key") == marks.PROPERTY]
            return marks.of_value(values[0]) if values else None
        path = f"comment/{comment.get('id')}/properties"
        keys = self.client.get(path, doing="read what a comment of ours is about")
        if marks.PROPERTY not in [one.get("key") for one in _list(keys, "keys") if isinstance(one, dict)]:
            return None
        found = self.client.get(f"{path}/{marks.PROPERTY}", doing="read what a comment of ours is about")
        return marks.of_value(found.get("value")) if isinstance(found, dict) else None


def _same(one: Mark, other: Mark) -> bool:
    """Of the same run and topic? A claim that is over is never taken up again: a newer one may stand before it."""
    return (one.marker, one.topic, one.live) == (other.marker, other.topic, other.live)


def _within(body: str, limit: int) -> str:
    return body if len(body) <= limit else body[: limit - len(_CUT)].rstrip() + _CUT


def _order(comment: Json) -> tuple[int, str]:
    """By id, which the server counts up: the one order that all see alike."""
    number = str(comment.get("id"))
    return (int(number) if number.isdecimal() and len(number) < 20 else 0, number)


def _list(page: object, name: str) -> list[Any]:
    found = page.get(name) if isinstance(page, dict) else None
    return found if isinstance(found, list) else []
