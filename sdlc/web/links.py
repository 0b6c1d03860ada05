"""Links in notifications: each for one run, one head and one person, and for a time.

Opening one shows a page; deciding is a POST of that page. A link can be opened as often as one likes until it is over;
that nobody decides twice is the run's own business.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sdlc.people import same
from sdlc.web.refusals import Refused
from sdlc.web.sign_in.identity import Identity, Role, Roles
from sdlc.web.sign_in.sealing import Sealer, web_secret

if TYPE_CHECKING:
    from sdlc.config import Settings

PATH = "/links/"
SKEW_SECONDS = 60.0
"""By which the clocks of who makes and who reads a link may differ."""


@dataclass(frozen=True)
class ApprovalLink:
    """What a link says; times in whole seconds since 1970."""

    workflow_id: str
    run_id: str
    head_sha: str
    person: str
    made: int
    until: int


class Links:
    """Whoever makes links and whoever reads them need the same `web.secret`, or the same data folder."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        """Raises ConfigurationError where the data folder has no secret and can't have one."""
        self._sealer = Sealer(web_secret(settings), "approval link")
        self._settings = settings
        self._clock = clock

    def url(self, root: str, *, workflow_id: str, run_id: str, head_sha: str, person: str) -> str:
        """The address for a message to `person`; `root` is used where there is no `web.url`."""
        made = int(self._clock())
        until = made + int(self._settings.web.links.hours * 3_600)
        link = ApprovalLink(workflow_id, run_id, head_sha, person, made, until)
        return f"{self._settings.web.url or root}{PATH}{self._sealer.seal(asdict(link))}"

    def read(self, text: str) -> ApprovalLink:
        """What the link says, from its last part. Raises Refused: not ours, over, or not begun yet."""
        said, now = self._sealer.open(text), self._clock()
        try:
            link = ApprovalLink(**said) if said is not None else None
        except TypeError:  # another version's
            link = None
        if link is None:
            raise Refused(403, "This link was changed on its way, or is not ours; open it as it was sent.")
        if now >= link.until:
            raise Refused(410, "This link is over; sign in and look for the run, or wait for the next reminder.")
        if link.made > now + SKEW_SECONDS:
            raise Refused(403, "This link is from the future; the clocks of the worker and this server differ.")
        return link

    def decider(self, link: ApprovalLink, identity: Identity | None, *, run_id: str, head_sha: str) -> Identity:
        """Who decides by the link, given who has signed in and where the run stands now.

        Raises Refused with the reason, also fit for the page that shows the run: another run, another head, another
        person, nobody signed in, or one who may only look.
        """
        if link.run_id != run_id:
            raise Refused(409, "This link is for an earlier run of this ticket; decide on the run's own page.")
        if link.head_sha != head_sha:
            raise Refused(
                409, f"This link is for {link.head_sha[:10]}, and the change has moved on; look at it as it is now."
            )
        if identity is None or identity.via == "none":
            if self._settings.web.links.decide_without_sign_in:
                return self._unsigned(link)
            raise Refused(401, f"Sign in as {link.person} to decide by this link.")
        people = self._settings.people
        meant = Identity(link.person, "link").person(people)
        if not same(meant.names, identity.person(people).names):
            raise Refused(403, f"This link is for {link.person}, and you are signed in as {identity.name}.")
        if identity.role < Role.APPROVER:
            raise Refused(403, f"To decide needs the role approver; {identity.name} is {identity.role.words}.")
        return identity

    def _unsigned(self, link: ApprovalLink) -> Identity:
        """Whom the link was made for, as long as they have a role that lets them decide."""
        roles = self._settings.web.roles
        person = Identity(link.person, "link").person(self._settings.people)
        named = bool(roles.viewers or roles.approvers or roles.operators)
        if named and (Roles(self._settings).of_person(person) or Role.VIEWER) < Role.APPROVER:
            raise Refused(403, f"{link.person} has no role that lets them decide; an operator can change web.roles.")
        return Identity(link.person, "link", role=Role.APPROVER)
