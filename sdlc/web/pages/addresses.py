"""Addresses of pages, for messages to people."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from sdlc.web.links import Links

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.integrations.notify.channels import LinkFor
    from sdlc.integrations.ports import Notice

_DECIDED = frozenset({"needs_approval", "reminder"})
"""Notices that ask for a decision about a head."""


def run_path(key: str) -> str:
    return f"/runs/{quote(key, safe='')}"


def link_maker(settings: Settings, root: str = "") -> LinkFor | None:
    """For `build_services`. `root` is where the pages are if there is no `web.url`; None where nobody serves them.

    Raises ConfigurationError where links can't be signed.
    """
    where = settings.web.url or root
    if not where:
        return None
    links = Links(settings)

    def link_for(notice: Notice, person: str) -> str:
        run = notice.run
        if person and notice.head_sha and notice.event in _DECIDED:
            return links.url(
                where, workflow_id=run.workflow_id, run_id=run.run_id, head_sha=notice.head_sha, person=person
            )
        return where + run_path(run.ticket_key)

    return link_for
