"""Jira as the place where tickets live: Cloud and Data Center alike, found out by asking.

A claim is a comment of ours. Two that claim at once each write one, and whoever's has the lower id (the
server counts them) has the ticket; the other takes its own away. Then the ticket is assigned and moved,
and read back.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from sdlc import markdown
from sdlc.config.jira import JiraSettings
from sdlc.deliveries import CommandComment
from sdlc.domain import Person, RunIdentity, Ticket, TicketStatus
from sdlc.errors import (
    ConfigurationError,
    FinalError,
    PermissionDenied,
    ServiceUnavailable,
    TicketNotFound,
    TicketTaken,
)
from sdlc.integrations.jira import jql, permissions, transitions
from sdlc.integrations.jira.client import JiraClient
from sdlc.integrations.jira.comments import Comments, Ours
from sdlc.integrations.jira.intake import JiraIntake
from sdlc.integrations.jira.marks import Mark
from sdlc.integrations.jira.people import is_member
from sdlc.integrations.jira.selection import Selection
from sdlc.integrations.jira.ticket_of import Reading, ticket_of, user_name
from sdlc.integrations.jira.transitions import Wanted

KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}-[0-9]{1,18}")
CLAIM = "claim"
"""The topic of the comment that is the claim."""

_FIELDS = (
    "summary,description,status,assignee,labels,components,issuetype,issuelinks,attachment,parent,subtasks,resolution"
)
_OURS = (TicketStatus.IN_PROGRESS, TicketStatus.IN_REVIEW)
Json = dict[str, Any]
T = TypeVar("T")


class JiraTracker:
    """One server and our account on it. Raises, besides what each method says, ConfigurationError for settings."""

    def __init__(self, settings: JiraSettings, *, commander_groups: tuple[str, ...] = ()) -> None:
        """`commander_groups`: whose members may command runs by comments, beside the persons who are named."""
        self.settings = settings
        self.commander_groups = commander_groups
        self.client = JiraClient(settings)
        self.comments = Comments(self.client)
        self.selection = Selection(self.client, settings)
        self.intake = JiraIntake(self.client, self.comments, self.selection, settings)
        self._criteria_field: str | None = None

    # --- reading ------------------------------------------------------------------------------

    async def next_key(self, *, besides: Collection[str] = ()) -> str | None:
        """The first free ticket of the selection that waits for no other and that no run has."""
        return await asyncio.to_thread(self._next_key, besides)

    async def ticket(self, key: str) -> Ticket:
        """The ticket as it stands now; TicketNotFound."""
        return await asyncio.to_thread(lambda: self._ticket(key, self._issue(key)))

    async def check(self) -> tuple[str, ...]:
        """What is missing, in sentences for a person: asks for the selection and the permissions, writes nothing.

        Raises what no further question makes sense after: a wrong address or token, a query that Jira refuses.
        """

        def asked() -> tuple[str, ...]:
            next(self.selection.issues(), None)
            missing = permissions.missing(self.client, self.settings, self.commander_groups)
            self._criteria_field_id()
            return missing

        return await asyncio.to_thread(asked)

    # --- what it tells unasked ----------------------------------------------------------------

    async def is_wanted(self, key: str) -> bool:
        """Is it in the selection, free, and waits for nothing?"""
        return await asyncio.to_thread(self._is_wanted, key)

    async def asked_by(self, key: str) -> Person:
        """Who put the label on it, else who wrote it; TicketNotFound."""
        return await asyncio.to_thread(lambda: self.intake.asked_by(_checked(key)))

    async def comment_on(self, key: str, comment_id: str) -> CommandComment | None:
        """As it stands now; None if it, or its ticket, is gone."""
        return await asyncio.to_thread(self.intake.comment_on, key, comment_id) if KEY.fullmatch(key) else None

    async def comments_since(self, moment: datetime) -> tuple[CommandComment, ...]:
        """Commands of people since then, the oldest first.

        Of all tickets of `jira.projects`; without such of those that are ours, labelled or selected.
        """
        return await asyncio.to_thread(self.intake.comments_since, moment)

    async def may_command(self, person: Person, key: str) -> bool:
        """Is this person, as a comment of ours named them, in one of the commanders' groups?"""
        if not self.commander_groups:
            return False
        return await asyncio.to_thread(is_member, self.client, person, self.commander_groups)

    async def reply(self, comment: CommandComment, body: str) -> None:
        """Answer a command, once: a repetition edits the reply."""
        await self._whole(lambda: self.intake.reply(comment, body))

    async def login(self) -> tuple[str, ...]:
        """Account id or user name, e-mail address and display name of our account."""
        return await asyncio.to_thread(lambda: self.client.server.my_names)

    # --- writing ------------------------------------------------------------------------------

    async def claim(self, key: str, *, claimant: str, run: RunIdentity) -> Ticket:
        """Comment with the run's link, assign to our account, In Progress; again by the same workflow is no harm.

        `claimant` is not used: Jira lets an account act as itself. Raises TicketTaken naming who has it.
        """
        del claimant
        return await self._whole(lambda: self._claim(key, run))

    async def release(self, key: str, *, run: RunIdentity, reason: str) -> None:
        """Give this run's claim back: comment, unassigned, To Do (unless a person moved it elsewhere)."""
        await self._whole(lambda: self._release(key, run, reason))

    async def move(self, key: str, status: TicketStatus, *, run: RunIdentity) -> None:
        """Bring the ticket to a status; Done ends the claim. TicketTaken; PermissionDenied lists what would go."""
        await self._whole(lambda: self._move(key, status, run))

    async def comment(self, key: str, body: str, *, run: RunIdentity, topic: str) -> None:
        """Write `body` (Markdown) as this run's comment on `topic`, or bring the one it wrote up to date."""
        await self._whole(lambda: self.comments.write(_checked(key), body, Mark.of(run, topic)))

    async def link(self, key: str, url: str, title: str, *, run: RunIdentity) -> None:
        """Show the pull request among the ticket's links: one link of a run, brought up to date."""
        await self._whole(lambda: self._link(_checked(key), url, title, run))

    async def close(self, key: str, body: str, *, run: RunIdentity) -> None:
        """The last word as a comment, and Done."""
        await self.comment(key, body, run=run, topic="closed")
        await self.move(key, TicketStatus.DONE, run=run)

    @staticmethod
    async def _whole(work: Callable[[], T]) -> T:
        """In a thread, which a cancelled activity waits for: so no write comes after its end."""
        writing = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise

    # --- claims -------------------------------------------------------------------------------

    def _claim(self, key: str, run: RunIdentity) -> Ticket:
        issue = self._issue(key)
        claims = self._standing(key, run)
        mine = claims[0] if claims else None
        if mine is None:
            self._refuse_if_a_person_has_it(key, issue)
        text = f"Taken up by the run {markdown.link(run.workflow_id, run.link)}."
        mark = Mark.of(run, CLAIM, live=True)
        if mine is None:
            self.comments.write(key, text, mark)
            self._standing(key, run)
        else:
            self.comments.edit(key, mine, text, mark)
        try:
            self._take(key, issue, is_new=mine is None)
        except FinalError:
            # Not ours after all: nothing of it may stay, or nobody else would take the ticket.
            self._withdraw(key, run)
            raise
        issue = self._issue(key)
        self._see_that_it_is_ours(key, issue, run)
        return self._ticket(key, issue)

    def _standing(self, key: str, run: RunIdentity) -> list[Ours]:
        """The claims. Of several the first stands; if that is not ours, ours goes."""
        claims = self._claims(key)
        try:
            _refuse_another(key, claims, run)
        except TicketTaken:
            if any(claim.mark.workflow == run.workflow_id for claim in claims):
                self._withdraw(key, run)
            raise
        return claims

    def _take(self, key: str, issue: Json, *, is_new: bool) -> None:
        server = self.client.server
        fields = _mapping(issue.get("fields"))
        if self.settings.assign and server.user_id(fields.get("assignee")) != server.me:
            self._assign(key, server.me)
        status = _mapping(fields.get("status"))
        if is_new or transitions.category_of(status) == "new":
            self._transition(key, status, TicketStatus.IN_PROGRESS)

    def _see_that_it_is_ours(self, key: str, issue: Json, run: RunIdentity) -> None:
        server = self.client.server
        assignee = _mapping(_mapping(issue.get("fields")).get("assignee"))
        if not self.settings.assign or server.user_id(assignee) == server.me:
            return
        if not assignee:
            raise ServiceUnavailable(f"Jira does not show yet that {key} is assigned to {server.my_name}.")
        self._withdraw(key, run)
        raise TicketTaken(f"{key} was assigned to {user_name(assignee)} while it was being claimed.")

    def _withdraw(self, key: str, run: RunIdentity) -> None:
        """Our claim's comment goes; where it may not be deleted, it says that it is over."""
        for claim in self._claims(key):
            if claim.mark.workflow != run.workflow_id:
                continue
            try:
                self.comments.delete(key, claim.id)
            except FinalError:
                self.comments.edit(key, claim, "Not taken up after all.", Mark.of(run, CLAIM))

    def _refuse_if_a_person_has_it(self, key: str, issue: Json) -> None:
        server = self.client.server
        fields = _mapping(issue.get("fields"))
        assignee, status = _mapping(fields.get("assignee")), _mapping(fields.get("status"))
        if transitions.category_of(status) == "done":
            raise TicketTaken(f"{key} is {status.get('name')}; reopen it if it is to be done again.")
        if assignee and server.user_id(assignee) != server.me:
            raise TicketTaken(f"{key} is assigned to {user_name(assignee)}; unassign it to give it away.")

    def _claims(self, key: str) -> list[Ours]:
        """Those that hold, the one that counts first."""
        return [one for one in self.comments.ours(key) if one.mark.topic == CLAIM and one.mark.live]

    def _release(self, key: str, run: RunIdentity, reason: str) -> None:
        mine = [claim for claim in self._claims(_checked(key)) if claim.mark.marker == run.marker]
        if not mine:
            return
        issue = self._issue(key)
        server = self.client.server
        fields = _mapping(issue.get("fields"))
        note = self._moved_back(key, _mapping(fields.get("status")))
        if server.user_id(fields.get("assignee")) == server.me:
            self._assign(key, None)
        self.comments.write(key, f"Given back: {markdown.inline(reason, 2_000)}{note}", Mark.of(run, "release"))
        # The claim last: as long as it stands, a try that broke off here is repeated.
        self._end_claims(key, mine, run)

    def _moved_back(self, key: str, status: Json) -> str:
        """To Do, where we had it in work; what Jira says against it is for the comment, not a failure."""
        if transitions.known_status(status, self.settings.statuses) not in _OURS:
            return ""
        try:
            self._transition(key, status, TicketStatus.TODO)
        except FinalError as error:
            return f"\n\n{markdown.inline(str(error), 2_000)}"
        return ""

    def _end_claims(self, key: str, claims: list[Ours], run: RunIdentity) -> None:
        for claim in claims:
            self.comments.edit(key, claim, claim.text, Mark.of(run, CLAIM))

    def _move(self, key: str, status: TicketStatus, run: RunIdentity) -> None:
        claims = self._claims(_checked(key))
        _refuse_another(key, claims, run)
        self._transition(key, _mapping(_mapping(self._issue(key, "status").get("fields")).get("status")), status)
        if status is TicketStatus.DONE:
            self._end_claims(key, claims, run)

    # --- single requests ----------------------------------------------------------------------

    def _assign(self, key: str, user_id: str | None) -> None:
        self.client.send(
            "PUT",
            f"issue/{key}/assignee",
            self.client.server.user_body(user_id),
            doing=f"assign {key}" if user_id else f"unassign {key}",
            needs="Assign Issues",
            key=key,
        )

    def _transition(self, key: str, status: Json, wanted: TicketStatus) -> None:
        name = wanted.name.lower()
        want = Wanted(
            wanted,
            transition=self.settings.transitions.get(name, ""),
            status_name=self.settings.statuses.get(name, ""),
            fields=self.settings.transition_fields.get(name, {}),
        )
        if transitions.is_there(status, want):
            return
        found = self.client.get(
            f"issue/{key}/transitions",
            doing=f"say where {key} can go",
            needs="Browse Projects",
            key=key,
            params={"expand": "transitions.fields"},
        )
        ways = [way for way in found.get("transitions", []) if isinstance(way, dict)]
        choice = transitions.choose(key, status, ways, want)
        if choice is None:
            return
        body: Json = {"transition": {"id": choice.id}}
        if choice.fields:
            body["fields"] = dict(choice.fields)
        self.client.send(
            "POST",
            f"issue/{key}/transitions",
            body,
            doing=f'take {key} through "{choice.name}"',
            needs="Transition Issues",
            key=key,
        )

    def _link(self, key: str, url: str, title: str, run: RunIdentity) -> None:
        global_id = f"vishkar-sdlc:{hashlib.sha256(run.marker.encode()).hexdigest()[:32]}"
        wanted = {"url": url, "title": " ".join(title.split())[:255]}
        there = self.client.get(
            f"issue/{key}/remotelink", doing=f"read the links of {key}", needs="Browse Projects", key=key
        )
        for link in there if isinstance(there, list) else ():
            shown = _mapping(_mapping(link).get("object"))
            if link.get("globalId") == global_id and {name: shown.get(name) for name in wanted} == wanted:
                return
        # The same global id again changes the link that has it.
        self.client.send(
            "POST",
            f"issue/{key}/remotelink",
            {"globalId": global_id, "relationship": "pull request", "object": wanted},
            doing=f"link {key} with its pull request",
            needs="Link Issues",
            key=key,
        )

    # --- finding ------------------------------------------------------------------------------

    def _issue(self, key: str, fields: str = _FIELDS) -> Json:
        extra = f",{field}" if fields == _FIELDS and (field := self._criteria_field_id()) else ""
        found = self.client.get(
            f"issue/{_checked(key)}",
            doing=f"read {key}",
            needs="Browse Projects",
            key=key,
            params={"fields": fields + extra},
        )
        if not isinstance(found, dict) or not isinstance(found.get("fields"), dict):
            raise TicketNotFound(f"Jira's answer for {key} is no ticket.")
        return found

    def _ticket(self, key: str, issue: Json) -> Ticket:
        server = self.client.server
        reading = Reading(server.is_cloud, server.base_url, self._criteria_field_id(), self.settings.statuses)
        fields = _mapping(issue.get("fields"))
        parent = _mapping(fields.get("parent"))
        if parent and _mapping(fields.get("issuetype")).get("subtask") is True:
            # A parent that we may not see is a reason to know less, not to stop.
            with suppress(TicketNotFound, PermissionDenied):
                parent = self._issue(str(parent.get("key")), "summary,description")
        else:
            parent = {}
        return ticket_of(issue, reading, comments=self.comments.all(key), parent=parent or None)

    def _criteria_field_id(self) -> str:
        """The id of the field that is configured by id or name; ConfigurationError if there is none."""
        name = self.settings.criteria_field.strip()
        if self._criteria_field is None and name and not re.fullmatch(r"customfield_\d+", name):
            fields = self.client.get("field", doing="list the fields")
            known = {str(one.get("name")).casefold(): str(one.get("id")) for one in fields if isinstance(one, dict)}
            if name.casefold() not in known and name not in known.values():
                raise ConfigurationError(f'Jira has no field "{name}"; check jira.criteria_field.')
            self._criteria_field = known.get(name.casefold(), name)
        return self._criteria_field or name

    def _is_wanted(self, key: str) -> bool:
        server = self.client.server
        try:
            issue = self._issue(key, ",".join(jql.FIELDS))
        except TicketNotFound:
            return False
        user_key = "accountId" if server.is_cloud else "name"
        if not jql.is_free(issue, server.me, user_key, self.settings.blocked_by):
            return False
        now = str(issue.get("key"))
        return self.selection.has(now, str(issue.get("id"))) and not self._claims(now)

    def _next_key(self, besides: Collection[str]) -> str | None:
        server = self.client.server
        user_key = "accountId" if server.is_cloud else "name"
        for issue in self.selection.issues():
            key = str(issue.get("key"))
            if key in besides:
                continue
            if jql.is_free(issue, server.me, user_key, self.settings.blocked_by) and not self._claims(key):
                return key
        return None


def _checked(key: str) -> str:
    """The key, as it may stand in an address; TicketNotFound for what can't be one."""
    if not KEY.fullmatch(key):
        raise TicketNotFound(f"`{key[:80]}` can't be the key of a ticket in Jira; it looks like ABC-123.")
    return key


def _refuse_another(key: str, claims: list[Ours], run: RunIdentity) -> None:
    if claims and claims[0].mark.workflow != run.workflow_id:
        raise TicketTaken(
            f"{key} is claimed by the run {claims[0].mark.workflow}; wait for it to end, cancel it, or delete its "
            'comment "Taken up by the run …".'
        )


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}
