"""GitHub Issues as the place where tickets live."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from sdlc.config.github import GitHubSettings
from sdlc.deliveries import CommandComment
from sdlc.domain import Person, RunIdentity, Ticket, TicketStatus
from sdlc.errors import (
    ConfigurationError,
    PermissionDenied,
    RepositoryInvalid,
    TicketNotFound,
)
from sdlc.integrations.github import issue_reading as reading
from sdlc.integrations.github.address import web_host
from sdlc.integrations.github.api import Api, segment
from sdlc.integrations.github.approvals import may_write
from sdlc.integrations.github.issue_claims import IssueClaims
from sdlc.integrations.github.issue_comments import IssueComments, reply_mark, topic_mark
from sdlc.integrations.github.issue_reading import Place, key_of
from sdlc.integrations.github.tokens import Tokens

COMMAND = "/sdlc"
_MOST_PAGES = 10
"""Of 100 issues, comments or events each, that a look goes through."""
T = TypeVar("T")


class GitHubIssues:
    """Issues of the repositories in `github.issues`, under keys such as `parcel-12`.

    Raises, besides what each method says, ConfigurationError for settings, PermissionDenied and ServiceUnavailable.
    """

    def __init__(
        self, settings: GitHubSettings, *, tokens: Tokens | None = None, commander_groups: tuple[str, ...] = ()
    ) -> None:
        """`commander_groups` are teams as `org/team`, whose members may command runs by comments.

        Without any, whoever may write to the repository may.
        """
        self.settings = settings
        self.commander_groups = commander_groups
        self.tokens = tokens or Tokens(settings)
        self.api = Api(settings, self.tokens)
        self.comments = IssueComments(self.api)
        self.claims = IssueClaims(self.api, self.comments, self._place)
        self._mail_host = "users.noreply.github.com" if web_host(settings.base_url) == "github.com" else ""

    # --- reading ------------------------------------------------------------------------------

    async def next_key(self, *, besides: Collection[str] = ()) -> str | None:
        """The free labelled issue that is most urgent, by a priority label and then by age, and waits for no other."""
        if not self.settings.issues:
            raise ConfigurationError("No repository is named whose issues are tickets; set github.issues.")
        me = await self.tokens.login()
        found: list[tuple[int, str, int, Place]] = []
        for repository in self.settings.issues:
            query = {"state": "open", "labels": self.settings.label, "sort": "created", "direction": "asc"}
            doing = f"looking for issues to do in {repository}"
            listed = self.api.pages(f"/repos/{repository}/issues", doing=doing, most=_MOST_PAGES, **query)
            async for issue in listed:
                number = int(issue["number"])
                place = Place(key_of(repository, number), repository, number, issue)
                if place.key not in besides and reading.is_free(place, me):
                    found.append((reading.rank_of(issue), str(issue.get("created_at")), number, place))
        for *_, place in sorted(found, key=lambda one: (one[:3], one[3].key)):
            if not await self._is_held(place):
                return place.key
        return None

    async def ticket(self, key: str) -> Ticket:
        """The issue as it stands now; TicketNotFound, also for one that was deleted or transferred elsewhere."""
        return await self._ticket(await self._place(key))

    async def check(self) -> tuple[str, ...]:
        """What is missing, in sentences for a person: asks, writes nothing. Raises for a wrong address or token."""
        await self.tokens.login()
        missing = [
            f"`{group}` in intake.commander_groups is no team of GitHub; write org/team."
            for group in self.commander_groups
            if not _is_team(group)
        ]
        if not self.settings.issues:
            missing.append("No repository is named whose issues are tickets; set github.issues.")
        for repository in self.settings.issues:
            missing += await self._missing_in(repository)
        return tuple(missing)

    # --- what it tells unasked ----------------------------------------------------------------

    async def is_wanted(self, key: str) -> bool:
        """Is it open, labelled, free, and waits for nothing?"""
        try:
            place = await self._place(key)
        except TicketNotFound:
            return False
        labelled = self.settings.label.casefold() in {label.casefold() for label in place.labels}
        return labelled and reading.is_free(place, await self.tokens.login()) and not await self._is_held(place)

    async def asked_by(self, key: str) -> Person:
        """Who put the label on it last, else who wrote it; TicketNotFound."""
        place = await self._place(key)
        label = self.settings.label.casefold()
        user: object = place.issue.get("user")
        if label in {one.casefold() for one in place.labels}:
            doing = f"reading who asked for {place.key}"
            async for event in self.api.pages(f"{place.path}/events", doing=doing, most=_MOST_PAGES * 3):
                named = str((event.get("label") or {}).get("name") or "").casefold()
                if event.get("event") == "labeled" and named == label and event.get("actor"):
                    user = event["actor"]
        return self._person(user)

    async def comment_on(self, key: str, comment_id: str) -> CommandComment | None:
        """As it stands now; None if it, or its issue, is gone, or if somebody else may have written what it says."""
        known = reading.place_of(key, self.settings.issues)
        if known is None or not comment_id.isdecimal():
            return None
        repository, number = known
        path = f"/repos/{repository}/issues/comments/{comment_id}"
        answer = await self.api.get(path, doing=f"reading a comment on {key}", accept=(404, 410))
        if not answer.ok or _number_of(answer.data) != number or _is_of_pull(answer.data):
            return None
        if self._is_anybodys(answer.data):
            return None
        after = await self.comments.all(repository, number, since=str(answer.data.get("created_at") or ""))
        answered = await self.comments.answered(after)
        return await self._command(repository, answer.data, answered)

    async def comments_since(self, moment: datetime) -> tuple[CommandComment, ...]:
        """Commands of people since then, the oldest first, on issues of the configured repositories."""
        since = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found: list[CommandComment] = []
        for repository in self.settings.issues:
            query = {"since": since, "sort": "updated", "direction": "desc"}
            doing = f"looking for commands in {repository}"
            listed = await self.api.listed(
                f"/repos/{repository}/issues/comments", doing=doing, most=_MOST_PAGES, **query
            )
            answered = await self.comments.answered(listed)
            for comment in listed:
                if COMMAND not in str(comment.get("body") or "").lower() or _is_of_pull(comment):
                    continue
                if not self._is_anybodys(comment):
                    command = await self._command(repository, comment, answered)
                    found += [command] if not command.ours and command.created >= moment.replace(microsecond=0) else []
        return tuple(sorted(found, key=lambda one: (one.created, int(one.comment_id))))

    async def may_command(self, person: Person, key: str) -> bool:
        """Is this person, as a comment here named them, in one of the teams; without teams, may they write?"""
        known = reading.place_of(key, self.settings.issues)
        login = next((alias for alias in person.aliases if reading.LOGIN.fullmatch(alias)), "")
        if known is None or not login:
            return False
        doing = f"asking what {login} may do"
        if not self.commander_groups:
            path = f"/repos/{known[0]}/collaborators/{segment(login)}/permission"
            answer = await self.api.get(path, doing=doing, accept=(404,))
            return answer.ok and may_write(answer.data)
        for group in self.commander_groups:
            if not _is_team(group):
                raise ConfigurationError(f"`{group}` in intake.commander_groups is no team of GitHub; write org/team.")
            organisation, _, team = group.partition("/")
            path = f"/orgs/{segment(organisation)}/teams/{segment(team)}/memberships/{segment(login)}"
            answer = await self.api.get(path, doing=doing, accept=(404,), repository=known[0])
            if answer.ok and answer.data.get("state") == "active":
                return True
        return False

    async def reply(self, comment: CommandComment, body: str) -> None:
        """Answer a command, once: a repetition edits the reply."""
        place = await self._place(comment.ticket_key)
        await _whole(self.comments.say(place.repository, place.number, body, reply_mark(comment.comment_id)))

    async def login(self) -> tuple[str, ...]:
        """The login under which we write; nothing where GitHub does not tell it."""
        login = await self.tokens.login()
        return (login,) if login else ()

    # --- writing ------------------------------------------------------------------------------

    async def claim(self, key: str, *, claimant: str, run: RunIdentity) -> Ticket:
        """Comment with the run's link, assign to our account, In Progress; again by the same workflow is no harm.

        `claimant` is not used: GitHub lets an account act as itself. Raises TicketTaken naming who has it.
        """
        del claimant
        return await _whole(self.claims.claim(key, run))

    async def release(self, key: str, *, run: RunIdentity, reason: str) -> None:
        """Give this run's claim back: comment, unassigned, without our labels (closed stays closed)."""
        await _whole(self.claims.release(key, run, reason))

    async def move(self, key: str, status: TicketStatus, *, run: RunIdentity) -> None:
        """Label or close the issue; Done ends the claim as well. TicketTaken if another run has it."""
        await _whole(self.claims.move(key, status, run))

    async def comment(self, key: str, body: str, *, run: RunIdentity, topic: str) -> None:
        """Write `body` (Markdown) as this run's comment on `topic`, or bring the one it wrote up to date."""
        place = await self._place(key)
        await _whole(self.comments.say(place.repository, place.number, body, topic_mark(run, topic)))

    async def link(self, key: str, url: str, title: str, *, run: RunIdentity) -> None:
        """Nothing: GitHub shows each pull request that names the issue by itself, and the comments name it too."""

    # --- finding ------------------------------------------------------------------------------

    async def _place(self, key: str) -> Place:
        """The issue of a key. TicketNotFound says what became of it, as far as GitHub tells."""
        known = reading.place_of(key, self.settings.issues)
        if known is None:
            named = ", ".join(self.settings.issues) or "none"
            raise TicketNotFound(
                f"`{key[:80]}` is no issue of the repositories in github.issues ({named}); it looks like parcel-12."
            )
        repository, number = known
        path = f"/repos/{repository}/issues/{number}"
        answer = await self.api.get(path, doing=f"reading {key}", accept=(404, 410))
        if not answer.ok:
            gone = "was deleted" if answer.status == 410 else "is not there, or the token may not see it"
            raise TicketNotFound(f"Issue {number} of {repository} {gone}.")
        found = answer.data if isinstance(answer.data, dict) else {}
        if "pull_request" in found:
            raise TicketNotFound(f"{number} in {repository} is a pull request, not an issue.")
        now = "/".join(str(found.get("repository_url") or "").rsplit("/", 2)[1:])
        if now.casefold() != repository.casefold():
            about = await self.api.get(f"/repos/{repository}", doing=f"reading the repository {repository}")
            if str(about.data.get("full_name")).casefold() != now.casefold():
                raise TicketNotFound(
                    f"Issue {number} of {repository} was transferred and is issue {found.get('number')} of {now} now; "
                    "start a run for that one."
                )
        # Renamed, a repository answers under its new name.
        return Place(key_of(repository, number), now, number, found)

    async def _ticket(self, place: Place) -> Ticket:
        return reading.ticket_of(place, await self.comments.all(*place.where))

    async def _is_held(self, place: Place) -> bool:
        """Has a run it, or does it wait for another issue?"""
        doing = f"reading what {place.key} waits for"
        path = f"{place.path}/dependencies/blocked_by"
        # An Enterprise server of some age has no such list.
        answer = await self.api.get(path, doing=doing, accept=(404, 410), per_page=100)
        listed = answer.data if answer.ok and isinstance(answer.data, list) else []
        if any(issue.get("state") == "open" for issue in listed):
            return True
        for repository, number in reading.named_blockers(place):
            answer = await self.api.get(f"/repos/{repository}/issues/{number}", doing=doing, accept=(404, 410))
            if answer.ok and answer.data.get("state") == "open":
                return True
        return bool(await self.comments.claims(*place.where))

    async def _command(self, repository: str, comment: dict[str, Any], answered: set[str]) -> CommandComment:
        return CommandComment(
            ticket_key=key_of(repository, _number_of(comment)),
            comment_id=str(comment["id"]),
            author=self._person(comment.get("user")),
            body=str(comment.get("body") or ""),
            created=reading.moment_of(comment.get("created_at")),
            ours=bool(await self.comments.mark_of(comment)),
            answered=str(comment["id"]) in answered,
        )

    def _is_anybodys(self, comment: dict[str, Any]) -> bool:
        """Was it edited, where not everybody may command who may edit? GitHub names the author, never the editor."""
        return bool(self.commander_groups) and comment.get("updated_at") != comment.get("created_at")

    def _person(self, user: object) -> Person:
        return reading.person_of(user, mail_host=self._mail_host)

    async def _missing_in(self, repository: str) -> list[str]:
        try:
            answer = await self.api.get(f"/repos/{repository}", doing=f"reading the repository {repository}")
        except RepositoryInvalid as error:
            return [f"{error} Check github.issues."]
        about = answer.data
        scopes = answer.headers.get("x-oauth-scopes")
        has = {scope.strip() for scope in (scopes or "").split(",")}
        needed = "repo" if about.get("private") else "public_repo"
        missing: list[str] = []
        if scopes is not None and not has & {"repo", needed}:
            missing.append(
                f"The token needs the scope {needed} for issues of {repository} (it has {scopes or 'none'})."
            )
        teams = ", ".join(self.commander_groups)
        if scopes is not None and teams and not has & {"read:org", "write:org", "admin:org"}:
            missing.append(f"The token needs the scope read:org to see who is in {teams}.")
        granted = await self.tokens.permissions(repository)
        if self.tokens.is_app and granted.get("issues") != "write":
            missing.append(f"The App needs the permission issues (read and write) in {repository}.")
        if self.tokens.is_app and teams and not granted.get("members"):
            missing.append(
                f"The App needs the permission members (read) to see who is in {', '.join(self.commander_groups)}."
            )
        if about.get("archived"):
            missing.append(f"{repository} is archived, so its issues can't be changed; unarchive it.")
        if about.get("has_issues") is False:
            missing.append(f"Issues are switched off in {repository}; switch them on in its settings.")
        rights = about.get("permissions") or {}
        if not self.tokens.is_app and rights and not any(rights.get(name) for name in ("triage", "push", "admin")):
            missing.append(
                f"Our account may only read {repository}; labels and assignees take the role triage or more."
            )
        try:
            await self.api.get(f"/repos/{repository}/issues", doing=f"reading issues of {repository}", per_page=1)
        except (PermissionDenied, RepositoryInvalid) as error:
            missing.append(str(error))
        return missing


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """A cancelled activity waits for the writes that are under way, so none comes after its end."""
    writing = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


def _is_team(group: str) -> bool:
    organisation, _, team = group.partition("/")
    return bool(organisation and team) and "/" not in team


def _number_of(comment: dict[str, Any]) -> int:
    last = str(comment.get("issue_url") or "").rpartition("/")[2]
    return int(last) if last.isdecimal() else 0


def _is_of_pull(comment: dict[str, Any]) -> bool:
    return "/pull/" in str(comment.get("html_url") or "")
