"""Comments below an issue: read, and written so that a repetition edits what is there.

A comment is ours if we wrote it and a mark of ours stands at its end: who quotes us quotes the mark as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sdlc import markdown
from sdlc.domain import RunIdentity
from sdlc.errors import FinalError, ServiceUnavailable
from sdlc.integrations.github.api import Api
from sdlc.integrations.github.inline import with_mark

Json = dict[str, Any]

_MOST_PAGES = 50
_OPEN, _CLOSE = "<!-- ", " -->"
_CLAIM = re.compile(r"sdlc:(?P<workflow>\S[^\n]*):(?P<run>[^:\s]+) claim")
_REPLY = re.compile(r"sdlc:reply command:(?P<id>\d+)")


@dataclass(frozen=True)
class Claim:
    """A comment by which a run has an issue. Of several the one with the lowest id counts: GitHub counts them up."""

    id: int
    workflow: str
    marker: str
    """`RunIdentity.marker`."""
    body: str
    """Without the mark."""


class IssueComments:
    def __init__(self, api: Api) -> None:
        self.api = api

    async def all(self, repository: str, number: int, *, since: str = "") -> list[Json]:
        """The oldest first; `since` leaves out those that were changed last before that moment."""
        doing = f"reading the comments of issue {number} of {repository}"
        query = {"since": since} if since else {}
        path = f"/repos/{repository}/issues/{number}/comments"
        listed = await self.api.listed(path, doing=doing, most=_MOST_PAGES, **query)
        return sorted((one for one in listed if isinstance(one, dict)), key=lambda one: int(one.get("id") or 0))

    async def mark_of(self, comment: Mapping[str, Any]) -> str:
        """The mark of a comment of ours; empty for any other."""
        login = await self.api.tokens.login()
        author = str((comment.get("user") or {}).get("login") or "")
        # The token of a workflow has no user, and can't know its own comments by their author.
        if login and author.casefold() != login.casefold():
            return ""
        return _split(str(comment.get("body") or ""))[1]

    async def claims(self, repository: str, number: int, comments: list[Json] | None = None) -> list[Claim]:
        """Those that hold, the one that counts first."""
        found: list[Claim] = []
        for comment in await self.all(repository, number) if comments is None else comments:
            if claim := _CLAIM.fullmatch(await self.mark_of(comment)):
                marker = f"sdlc:{claim['workflow']}:{claim['run']}"
                body = _split(str(comment.get("body") or ""))[0]
                found.append(Claim(int(comment["id"]), claim["workflow"], marker, body))
        return found

    async def answered(self, comments: list[Json]) -> set[str]:
        """Ids of the comments that a reply of ours among these answers."""
        marks = [_REPLY.fullmatch(await self.mark_of(comment)) for comment in comments]
        return {mark["id"] for mark in marks if mark}

    async def say(self, repository: str, number: int, body: str, mark: str) -> None:
        """Bring our one comment with this mark to `body`; the same text again is no edit."""
        mine = await self._with_mark(repository, number, mark)
        if mine:
            await self.edit(repository, mine[0], body, mark)
        else:
            await self.add(repository, number, body, mark)
            # A look at a replica that lags may have missed one of an earlier try; the first stays.
            mine = await self._with_mark(repository, number, mark)
            if len(mine) > 1:
                await self.edit(repository, mine[0], body, mark)
        for other in mine[1:]:
            with suppress(FinalError):
                await self.delete(repository, int(other["id"]))

    async def _with_mark(self, repository: str, number: int, mark: str) -> list[Json]:
        hidden = markdown.hidden(mark)
        comments = await self.all(repository, number)
        return [one for one in comments if markdown.hidden(await self.mark_of(one)) == hidden]

    async def add(self, repository: str, number: int, body: str, mark: str) -> int:
        """A new comment; its id."""
        path = f"/repos/{repository}/issues/{number}/comments"
        doing = f"commenting on issue {number} of {repository}"
        made = (await self.api.call("POST", path, body={"body": with_mark(body, mark)}, doing=doing)).data
        if not isinstance(made, dict) or not made.get("id"):
            raise ServiceUnavailable(f"GitHub's answer was no comment while {doing}; it is tried again.")
        return int(made["id"])

    async def edit(self, repository: str, comment: Mapping[str, Any], body: str, mark: str) -> None:
        """Another text, another mark; nothing if both are there."""
        text = with_mark(body, mark)
        if comment.get("body") == text:
            return
        path = f"/repos/{repository}/issues/comments/{comment['id']}"
        await self.api.call("PATCH", path, body={"body": text}, doing=f"editing our comment in {repository}")

    async def delete(self, repository: str, comment_id: int) -> None:
        path = f"/repos/{repository}/issues/comments/{comment_id}"
        await self.api.call("DELETE", path, doing=f"deleting our comment in {repository}", accept=(404, 410))


def _split(text: str) -> tuple[str, str]:
    """A text and the mark at its end, which is empty where there is none."""
    text = text.rstrip()
    body, start, mark = text.rpartition(f"{_OPEN}sdlc:")
    mark = f"sdlc:{mark.removesuffix(_CLOSE)}" if start and text.endswith(_CLOSE) else ""
    return (body.rstrip(), mark) if mark and not {"\n", "<", ">"} & set(mark) else (text, "")


def claim_mark(run: RunIdentity, *, over: bool = False) -> str:
    return f"{run.marker} claim over" if over else f"{run.marker} claim"


def topic_mark(run: RunIdentity, topic: str) -> str:
    return f"{run.marker} topic {topic}"


def reply_mark(comment_id: str) -> str:
    return f"sdlc:reply command:{comment_id}"
