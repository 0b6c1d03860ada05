"""Who has an issue: claims, and the labels and assignees that show them.

A claim is a comment of ours. Two that claim at once each write one, and whoever's has the lower id has the issue;
the other takes its own away. Then the issue is labelled, as it has no status between open and closed, and assigned
where our account can be an assignee (an App can't), and read back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from sdlc import markdown
from sdlc.domain import RunIdentity, Ticket, TicketStatus
from sdlc.errors import FinalError, ServiceUnavailable, TicketTaken, UsageError
from sdlc.integrations.github import issue_reading as reading
from sdlc.integrations.github.api import Api, segment
from sdlc.integrations.github.issue_comments import Claim, IssueComments, Json, claim_mark, topic_mark
from sdlc.integrations.github.issue_reading import STATUS_LABELS, Place

_OURS = (TicketStatus.IN_PROGRESS, TicketStatus.IN_REVIEW)


class IssueClaims:
    def __init__(self, api: Api, comments: IssueComments, find: Callable[[str], Awaitable[Place]]) -> None:
        """`find` gives the issue of a key as it stands now, or raises TicketNotFound."""
        self.api = api
        self.comments = comments
        self.find = find

    async def claim(self, key: str, run: RunIdentity) -> Ticket:
        place = await self.find(key)
        claims = await self._standing(place, run)
        text = f"Taken up by the run {markdown.link(run.workflow_id, run.link)}."
        if not claims:
            await self._refuse_if_a_person_has_it(place)
            await self._settle(place, run, await self.comments.add(*place.where, text, claim_mark(run)))
        elif claims[0].marker != run.marker or claims[0].body != text:
            await self.comments.edit(place.repository, {"id": claims[0].id}, text, claim_mark(run))
        try:
            if not claims or reading.status_of(place) is TicketStatus.TODO:
                await self._set_status(place, TicketStatus.IN_PROGRESS)
            await self._assign(place)
        except (FinalError, UsageError):
            # Not ours after all: nothing of it may stay, or nobody else would take the issue.
            await self._withdraw(place, run)
            raise
        return await self._seen_to_be_ours(key, run)

    async def _settle(self, place: Place, run: RunIdentity, made: int) -> None:
        if all(claim.id != made for claim in await self._standing(place, run)):
            raise ServiceUnavailable(f"GitHub does not show yet that {place.key} is claimed; it is tried again.")

    async def _seen_to_be_ours(self, key: str, run: RunIdentity) -> Ticket:
        place = await self.find(key)
        comments = await self.comments.all(*place.where)
        claims = await self._standing(place, run, comments)
        # Of an earlier try that a look at a replica did not show.
        await self._end_claims(place, claims[1:], run, delete=True)
        if others := await self._others(place):
            await self._withdraw(place, run)
            raise TicketTaken(f"{place.key} was assigned to {others} while it was being claimed.")
        return reading.ticket_of(place, comments)

    async def _standing(self, place: Place, run: RunIdentity, comments: list[Json] | None = None) -> list[Claim]:
        """The claims. Of several the first stands; if that is not ours, ours goes and TicketTaken says whose it is."""
        claims = await self.comments.claims(*place.where, comments)
        if claims and claims[0].workflow != run.workflow_id:
            await self._end_claims(place, claims, run, delete=True)
            raise TicketTaken(
                f"{place.key} is claimed by the run {claims[0].workflow}; wait for it to end, cancel it, or delete its "
                'comment "Taken up by the run …".'
            )
        return claims

    async def _refuse_if_a_person_has_it(self, place: Place) -> None:
        if place.is_closed:
            raise TicketTaken(f"{place.key} is closed; reopen it if it is to be done again.")
        if others := await self._others(place):
            raise TicketTaken(f"{place.key} is assigned to {others}; unassign it to give it away.")

    async def _others(self, place: Place) -> str:
        me = (await self.api.tokens.login()).casefold()
        return ", ".join(login for login in place.assignees if login.casefold() != me)

    async def _withdraw(self, place: Place, run: RunIdentity) -> None:
        """All that the claim has made goes; where its comment may not be deleted, it says that it is over."""
        now = await self.find(place.key)
        if not now.is_closed:
            await self._set_status(now, TicketStatus.TODO)
        await self._unassign(now)
        await self._end_claims(now, await self.comments.claims(*now.where), run, delete=True)

    async def release(self, key: str, run: RunIdentity, reason: str) -> None:
        place = await self.find(key)
        claims = await self.comments.claims(*place.where)
        if all(claim.marker != run.marker for claim in claims):
            return
        if reading.status_of(place) in _OURS:
            await self._set_status(place, TicketStatus.TODO)
        await self._unassign(place)
        said = f"Given back: {markdown.inline(reason, 2_000)}"
        await self.comments.say(*place.where, said, topic_mark(run, "release"))
        # The claim last: as long as it stands, a try that broke off here is repeated.
        await self._end_claims(place, [claim for claim in claims if claim.marker == run.marker], run)

    async def move(self, key: str, status: TicketStatus, run: RunIdentity) -> None:
        place = await self.find(key)
        claims = await self._standing(place, run)
        await self._set_status(place, status)
        if status is TicketStatus.DONE:
            await self._end_claims(place, claims, run)

    async def _end_claims(self, place: Place, claims: list[Claim], run: RunIdentity, *, delete: bool = False) -> None:
        for claim in claims:
            if claim.workflow != run.workflow_id:
                continue
            if delete:
                try:
                    await self.comments.delete(place.repository, claim.id)
                    continue
                except FinalError:
                    claim = replace(claim, body="Not taken up after all.")
            await self.comments.edit(place.repository, {"id": claim.id}, claim.body, claim_mark(run, over=True))

    # --- single requests ----------------------------------------------------------------------

    async def _set_status(self, place: Place, status: TicketStatus) -> None:
        doing = f"moving {place.key} to {status}"
        there = {label.casefold() for label in place.labels}
        wanted = STATUS_LABELS.get(status, "")
        if place.is_closed != (status is TicketStatus.DONE):
            done = {"state": "closed", "state_reason": "completed"}
            body = done if status is TicketStatus.DONE else {"state": "open"}
            await self.api.call("PATCH", place.path, body=body, doing=doing)
        if wanted and wanted not in there:
            await self.api.call("POST", f"{place.path}/labels", body={"labels": [wanted]}, doing=doing)
        for label in STATUS_LABELS.values():
            if label != wanted and label in there:
                path = f"{place.path}/labels/{segment(label)}"
                await self.api.call("DELETE", path, doing=doing, accept=(404,))

    async def _assign(self, place: Place) -> None:
        """To our account, where it can be an assignee: GitHub leaves out in silence who can't."""
        me = await self.api.tokens.login()
        if me and not self.api.tokens.is_app and me.casefold() not in {login.casefold() for login in place.assignees}:
            doing = f"assigning {place.key}"
            await self.api.call("POST", f"{place.path}/assignees", body={"assignees": [me]}, doing=doing)

    async def _unassign(self, place: Place) -> None:
        me = await self.api.tokens.login()
        if me and me.casefold() in {login.casefold() for login in place.assignees}:
            doing = f"unassigning {place.key}"
            await self.api.call("DELETE", f"{place.path}/assignees", body={"assignees": [me]}, doing=doing)
