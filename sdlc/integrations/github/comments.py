"""Comments of ours below a pull request: one for each topic, edited in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdlc.domain import RunIdentity
from sdlc.integrations.github.api import Api
from sdlc.integrations.github.inline import with_mark
from sdlc.integrations.github.marks import is_by_us, is_same, mark_of


class Comments:
    def __init__(self, api: Api) -> None:
        self.api = api

    async def say(self, repository: str, number: int, body: str, *, run: RunIdentity, topic: str) -> None:
        """Write or edit this run's one comment on `topic`; nothing where it says so already."""
        mark = f"{run.marker} {topic}"
        text = with_mark(body, mark)
        doing = f"writing a comment on pull request {number} of {repository}"
        login = await self.api.tokens.login()
        async for comment in self.api.pages(f"/repos/{repository}/issues/{number}/comments", doing=doing):
            if is_ours(comment, mark, login):
                if str(comment.get("body") or "") != text:
                    path = f"/repos/{repository}/issues/comments/{comment['id']}"
                    await self.api.call("PATCH", path, body={"body": text}, doing=doing)
                return
        await self.api.call("POST", f"/repos/{repository}/issues/{number}/comments", body={"body": text}, doing=doing)


def is_ours(comment: Mapping[str, Any], mark: str, login: str) -> bool:
    """Did we write it, with this mark? A person who quotes a comment of ours quotes its mark as well."""
    return is_by_us(comment, login) and is_same(mark_of(str(comment.get("body") or "")), mark)


def is_marked(body: str) -> bool:
    """Does it end with a mark of a run, as all that we write does?"""
    return bool(mark_of(body))
