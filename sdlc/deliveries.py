"""What trackers and forges tell us unasked: where to look, never a fact by itself.

A delivery may be late, repeated or out of order, and its body was written by somebody else. So it names a thing,
and whoever handles it asks the service how that thing stands now.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sdlc.domain import Person, Record

DELIVERY_WORKFLOW = "DeliveryWorkflow"
POLL_WORKFLOW = "PollWorkflow"
POLL_SCHEDULE = "sdlc-poll"


class Delivery(Record):
    """One thing to look at."""

    source: Literal["jira", "github"]
    kind: Literal["ticket", "comment", "pull_request", "checks"]
    identity: str
    """What makes two deliveries the same: the sender's delivery id; of a comment `comment-<id>`, whoever brings it."""
    ticket_key: str = ""
    """Of `ticket` and `comment`."""
    comment_id: str = ""
    repository: str = ""
    """`owner/name`, of `pull_request` and `checks`."""
    number: int = 0
    """Of the pull request, where the delivery names it."""
    branch: str = ""
    """The head's, where the delivery names it."""
    head_sha: str = ""

    @property
    def workflow_id(self) -> str:
        """Of the small workflow that handles it: Temporal itself remembers what was delivered."""
        return f"sdlc-delivery-{self.source}-{self.identity}"


class Handled(Record):
    """What became of a delivery or a poll."""

    did: tuple[str, ...] = ()
    """Sentences, such as `started ACME-1`."""


class CommandComment(Record):
    """A comment on a ticket, as a possible command."""

    ticket_key: str
    comment_id: str
    author: Person
    body: str
    """Plain text or Markdown."""
    created: datetime
    ours: bool = False
    """Written by us: triggers nothing."""
    answered: bool = False
    """A reply of ours to it is there already."""
