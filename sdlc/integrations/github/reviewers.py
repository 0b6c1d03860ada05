"""Who is asked to look at a pull request."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sdlc.integrations.github.api import Api, segment
from sdlc.integrations.github.codeowners import MAX_REVIEWERS, PLACES, Reviewers, not_alone, reviewers_of
from sdlc.integrations.github.news import News
from sdlc.people import same


class Asking:
    def __init__(self, api: Api, news: News, *, code_owners: bool) -> None:
        self.api = api
        self.news = news
        self.code_owners = code_owners

    async def wanted(
        self, repository: str, pull: Mapping[str, Any], named: Sequence[str], starter: Collection[str]
    ) -> Reviewers:
        """Those who were named, and the owners of what is changed. Never us, the author, or the starter alone."""
        author, bot = _login(pull), await self.api.tokens.login()
        owners = await self._owners(repository, pull, (bot, author)) if self.code_owners else Reviewers()
        never = {name.casefold() for name in (bot, author) if name}
        organisation = repository.partition("/")[0].casefold()
        people: list[str] = []
        teams: list[str] = []
        for name in (*named, *owners.people):
            # A team is named `organisation/team`, by people and in policies alike.
            owner, slash, team = name.removeprefix("@").partition("/")
            if slash:
                if owner.casefold() == organisation and team not in teams:
                    teams.append(team)
            elif owner.casefold() not in never | {other.casefold() for other in people}:
                people.append(owner)
        teams += [team for team in owners.teams if team not in teams]
        found = not_alone(Reviewers(tuple(people), tuple(teams)), starter)
        if starter and len(found.people) == 1 and not found.teams:
            # Who starts a run in a tracker is known there by another name than the login.
            names = await self.news.names_of(repository, found.people[0])
            return Reviewers() if same(names, tuple(starter)) else found
        return found

    async def ask(self, repository: str, pull: Mapping[str, Any], wanted: Reviewers) -> tuple[Reviewers, Reviewers]:
        """Ask for their review: who is asked by now, and whom GitHub refuses, such as people who can't see the code."""
        present = {_name(user, "login") for user in pull.get("requested_reviewers") or ()}
        teams = {_name(team, "slug") for team in pull.get("requested_teams") or ()}
        people = [one for one in wanted.people if one.casefold() not in present][:MAX_REVIEWERS]
        new = Reviewers(tuple(people), tuple(one for one in wanted.teams if one.casefold() not in teams))
        if not new or await self._asked(repository, int(pull["number"]), new):
            return wanted, Reviewers()
        # One name that GitHub does not take makes it refuse all of them.
        refused_people = [
            one for one in new.people if not await self._asked(repository, int(pull["number"]), Reviewers((one,)))
        ]
        refused_teams = [
            one for one in new.teams if not await self._asked(repository, int(pull["number"]), Reviewers((), (one,)))
        ]
        asked = Reviewers(
            tuple(one for one in wanted.people if one not in refused_people),
            tuple(one for one in wanted.teams if one not in refused_teams),
        )
        return asked, Reviewers(tuple(refused_people), tuple(refused_teams))

    async def _asked(self, repository: str, number: int, reviewers: Reviewers) -> bool:
        body: dict[str, Any] = {}
        if reviewers.people:
            body["reviewers"] = list(reviewers.people)
        if reviewers.teams:
            body["team_reviewers"] = list(reviewers.teams)
        answer = await self.api.call(
            "POST",
            f"/repos/{repository}/pulls/{number}/requested_reviewers",
            body=body,
            doing=f"asking for reviews of pull request {number} of {repository}",
            accept=(422,) if reviewers.people or not reviewers.teams else (403, 422),
        )
        return answer.ok

    async def _owners(self, repository: str, pull: Mapping[str, Any], never: Sequence[str]) -> Reviewers:
        text = await self._file(repository, str((pull.get("base") or {}).get("ref") or ""))
        if not text:
            return Reviewers()
        path = f"/repos/{repository}/pulls/{pull['number']}/files"
        doing = f"reading the files of pull request {pull['number']} of {repository}"
        paths = [str(file.get("filename") or "") for file in await self.api.listed(path, doing=doing, most=30)]
        organisation = repository.partition("/")[0]
        return reviewers_of(text, paths, organisation=organisation, bot=never)

    async def _file(self, repository: str, base: str) -> str:
        """CODEOWNERS of the base branch: the change's own one does not choose its judges."""
        for place in PLACES:
            answer = await self.api.get(
                f"/repos/{repository}/contents/{segment(place)}",
                doing=f"reading {place} of {repository}",
                accept=(403, 404),
                ref=base,
            )
            content = answer.data if answer.ok and isinstance(answer.data, dict) else {}
            if content.get("encoding") == "base64":
                try:
                    return base64.b64decode(str(content.get("content") or "")).decode("utf-8", "replace")
                except binascii.Error:
                    return ""
        return ""


def _login(pull: Mapping[str, Any]) -> str:
    return str((pull.get("user") or {}).get("login") or "")


def _name(item: Mapping[str, Any], key: str) -> str:
    return str(item.get(key) or "").casefold()
