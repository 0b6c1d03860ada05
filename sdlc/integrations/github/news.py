"""What people did to a pull request, read as one piece of news; and a mark that shows cheaply whether there is any."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sdlc.domain import ApprovalDecision, PullRequestNews, PullRequestState
from sdlc.integrations.github import pulls
from sdlc.integrations.github.api import Api, segment
from sdlc.integrations.github.approvals import heard, login_of, may_write, people_in
from sdlc.integrations.github.comments import is_marked
from sdlc.integrations.github.settling import settled

_MARK = 24
"""Characters of a mark: half of them would do."""

Item = Mapping[str, Any]


@dataclass(frozen=True)
class _Read:
    """A pull request with all that was said on it, as GitHub lists it."""

    pull: dict[str, Any]
    reviews: list[Item]
    on_lines: list[Item]
    below: list[Item]
    login: str
    """Ours."""

    @property
    def mark(self) -> str:
        """The same as long as people leave it as it is: what we write ourselves is not in it."""
        # A review without words is the shell of its comments, which count themselves.
        reviews = [
            [item.get("id"), item.get("state"), _digest(item.get("body"))]
            for item in self._of_others(self.reviews)
            if item.get("body") or item.get("state") != "COMMENTED"
        ]
        comments = [
            sorted([int(item["id"]), str(item.get("updated_at")), _digest(item.get("body"))] for item in others)
            for others in (self._of_others(self.on_lines), self._of_others(self.below))
        ]
        head, base = self.pull.get("head") or {}, self.pull.get("base") or {}
        state = [pulls.state_of(self.pull).value, bool(self.pull.get("draft")), head.get("sha"), base.get("ref")]
        return _digest(json.dumps([state, pulls.has_conflicts(self.pull), reviews, comments]))[:_MARK]

    def _of_others(self, items: Iterable[Item]) -> list[Item]:
        own = self.login.casefold()
        return [
            item
            for item in items
            if not (own and login_of(item).casefold() == own) and not is_marked(str(item.get("body") or ""))
        ]


class News:
    """Reads conditionally throughout: what did not change since it was last read costs nothing of the rate limit."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def read(self, name: str, number: int) -> PullRequestNews:
        """Decisions and feedback of those who may write to the repository, the words of the rest to be shown."""
        read = await self._read(name, number)
        writers = [
            login
            for login in people_in(read.reviews, read.on_lines, read.below)
            if login.casefold() != read.login.casefold() and await self.may_write(name, login)
        ]
        said = heard(read.reviews, read.on_lines, read.below, writers=writers, ours=(read.login,))
        return PullRequestNews(
            pull_request=pulls.as_domain(read.pull),
            decisions=tuple([await self._with_names(name, decision) for decision in said.decisions]),
            feedback=said.feedback,
            shown=said.shown,
            ended_by=await self._ended_by(name, read.pull),
            conflicts=pulls.has_conflicts(read.pull),
            pushers=await self._pushers(name, str((read.pull.get("head") or {}).get("ref") or ""), read.login),
            mark=read.mark,
        )

    async def mark(self, name: str, number: int) -> str:
        """`PullRequestNews.mark` alone."""
        return (await self._read(name, number)).mark

    async def may_write(self, name: str, login: str) -> bool:
        """Is this person's word an order? Only if they may push to the repository."""
        answer = await self.api.get(
            f"/repos/{name}/collaborators/{segment(login)}/permission",
            doing=f"asking what {login} may do in {name}",
            accept=(404,),
        )
        return answer.ok and may_write(answer.data or {})

    async def names_of(self, name: str, login: str) -> tuple[str, ...]:
        """Other names of an account: its profile's name, and its e-mail where that is public. Anybody may call
        themselves anything there, so these are reasons against somebody only, never for.
        """
        answer = await self.api.get(
            f"/users/{segment(login)}", doing=f"asking who {login} is", accept=(403, 404), repository=name
        )
        profile = answer.data if answer.ok and isinstance(answer.data, dict) else {}
        names = (str(profile.get(key) or "").strip() for key in ("name", "email"))
        return tuple(dict.fromkeys(found for found in names if found))

    async def _with_names(self, name: str, decision: ApprovalDecision) -> ApprovalDecision:
        return decision.model_copy(update={"also_called": await self.names_of(name, decision.by)})

    async def _read(self, name: str, number: int) -> _Read:
        doing = f"reading what was said on pull request {number} of {name}"
        pull = await settled(self.api, name, number)
        return _Read(
            pull=pull,
            reviews=await self.api.listed(f"/repos/{name}/pulls/{number}/reviews", doing=doing),
            on_lines=await self.api.listed(f"/repos/{name}/pulls/{number}/comments", doing=doing),
            below=await self.api.listed(f"/repos/{name}/issues/{number}/comments", doing=doing),
            login=await self.api.tokens.login(),
        )

    async def _pushers(self, name: str, branch: str, login: str) -> tuple[str, ...]:
        """Who has moved the branch besides us. Not by its commits: anybody writes there whom they like."""
        path, doing = f"/repos/{name}/activity", f"asking who has pushed to {branch} of {name}"
        answer = await self.api.get(path, doing=doing, accept=(403, 404), ref=f"refs/heads/{branch}", per_page=100)
        moved = answer.data if answer.ok and isinstance(answer.data, list) else []
        found = (login_of({"user": item.get("actor")}) for item in moved if isinstance(item, dict))
        own = login.casefold()
        return tuple(dict.fromkeys(one for one in found if one and own and one.casefold() != own))

    async def _ended_by(self, name: str, pull: Item) -> str:
        """Who merged or closed it. A pull request tells who merged it, and only its issue who closed it."""
        if not pulls.is_over(pull):
            return ""
        if pulls.state_of(pull) is PullRequestState.MERGED:
            return login_of({"user": pull.get("merged_by")})
        path = f"/repos/{name}/issues/{pull['number']}"
        answer = await self.api.get(path, doing=f"asking who closed {pull['number']} of {name}", accept=(403, 404, 410))
        return login_of({"user": answer.data.get("closed_by")}) if answer.ok and isinstance(answer.data, dict) else ""


def _digest(text: Any) -> str:
    return hashlib.sha256(str(text or "").encode("utf-8", "surrogatepass")).hexdigest()
