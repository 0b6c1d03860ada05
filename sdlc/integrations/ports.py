"""The protocols behind which the world stands. Which implementation is used is configuration, never an `if` in a step.

Every method that changes something is safe to repeat: it looks for its own earlier effect,
by `RunIdentity.marker`, before it makes one.
Raised by all: `PermissionDenied` (final), `ServiceUnavailable` (retried).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from sdlc.deliveries import CommandComment
from sdlc.domain import (
    ApprovalDecision,
    CiReport,
    Finding,
    Person,
    PullRequest,
    PullRequestNews,
    Record,
    Repository,
    RunIdentity,
    Ticket,
    TicketStatus,
)


class Tracker(Protocol):
    """Where tickets live."""

    async def next_key(self, *, besides: Collection[str] = ()) -> str | None:
        """The key of the next ticket worth taking that is not among `besides`, or None when there is none."""
        ...

    async def ticket(self, key: str) -> Ticket:
        """The ticket as it stands now; TicketNotFound."""
        ...

    async def claim(self, key: str, *, claimant: str, run: RunIdentity) -> Ticket:
        """Assign it, move it to In Progress, comment with the run's link.

        Raises TicketTaken if another run or person has it.
        """
        ...

    async def release(self, key: str, *, run: RunIdentity, reason: str) -> None:
        """Give a claim of this run back: unassign, To Do, comment. Nothing if the claim is not ours."""
        ...

    async def move(self, key: str, status: TicketStatus, *, run: RunIdentity) -> None:
        """Bring the ticket to a status; nothing if it is there already."""
        ...

    async def check(self) -> tuple[str, ...]:
        """What is missing, in sentences for a person: asks, writes nothing.

        Raises what no further question makes sense after, such as a wrong address or token.
        """
        ...

    async def comment(self, key: str, body: str, *, run: RunIdentity, topic: str) -> None:
        """Write or edit this run's one comment on `topic`."""
        ...

    async def link(self, key: str, url: str, title: str, *, run: RunIdentity) -> None:
        """Show the pull request among the ticket's links, where the tracker has such; one link of a run."""
        ...


class Intake(Protocol):
    """What a tracker tells of its own accord, beyond `Tracker`: which ticket is wanted, and who says what on it."""

    async def is_wanted(self, key: str) -> bool:
        """Is it among the tickets that are taken unasked, and free?"""
        ...

    async def asked_by(self, key: str) -> Person:
        """Who wanted it done: who made it ready (put the label on it), else who wrote it."""
        ...

    async def comment_on(self, key: str, comment_id: str) -> CommandComment | None:
        """As it stands now; None if it is gone."""
        ...

    async def comments_since(self, moment: datetime) -> tuple[CommandComment, ...]:
        """Comments of people since then with `/sdlc` in them, the oldest first; of all tickets that we look after."""
        ...

    async def may_command(self, person: Person, key: str) -> bool:
        """Has this person (who is in none of `intake.commanders`) the right by a group or by write access?"""
        ...

    async def reply(self, comment: CommandComment, body: str) -> None:
        """Answer a command, once: a repetition edits the reply."""
        ...

    async def login(self) -> tuple[str, ...]:
        """The names under which we write here."""
        ...


class PullRequestDraft(Record):
    """A pull request as a run wants it to be."""

    repository: Repository
    branch: str
    head_sha: str
    title: str
    body: str
    labels: tuple[str, ...] = ()
    issue: int = 0
    """Number of an issue of the same repository that the forge shall close on merge; 0: none."""


class Review(Record):
    """What the panels say on a pull request."""

    head_sha: str
    summary: str
    """Markdown, one comment updated in place."""
    findings: tuple[Finding, ...] = ()
    """Shown inline, each once by fingerprint; those published before and no longer here are marked resolved."""
    statuses: dict[str, tuple[str, str]] = {}
    """Context → (`success` | `failure` | `pending`, description), set on the head."""


class Forge(Protocol):
    """Where the repository and its pull requests live."""

    async def open_repository(self, origin: str, *, base_branch: str = "") -> Repository:
        """The repository of a path or URL, with its base branch and the sha to start from; RepositoryInvalid."""
        ...

    async def open_pull_request(self, draft: PullRequestDraft, *, run: RunIdentity) -> PullRequest:
        """Bring the branch to `head_sha` and the pull request to the draft: found by branch and marker, else made.

        Raises BranchConflict if the branch holds work that is not ours.
        """
        ...

    async def pull_request(self, repository: Repository, number: int) -> PullRequest:
        """As it stands now."""
        ...

    async def pull_request_of(self, repository: Repository, run: RunIdentity) -> PullRequest | None:
        """The one that this run made, found by its marker; None if it has made none."""
        ...

    async def checks(self, repository: Repository, pull_request: PullRequest) -> CiReport:
        """The forge's own checks for the head."""
        ...

    async def publish_review(
        self, repository: Repository, pull_request: PullRequest, review: Review, *, run: RunIdentity
    ) -> None: ...

    async def mark_ready(
        self,
        repository: Repository,
        pull_request: PullRequest,
        *,
        reviewers: tuple[str, ...],
        run: RunIdentity,
        starter: tuple[str, ...] = (),
    ) -> PullRequest:
        """Draft → open, reviewers asked; the starter (all their names) is never the only one."""
        ...

    async def news(self, repository: Repository, pull_request: PullRequest, *, run: RunIdentity) -> PullRequestNews:
        """What people did to the pull request: decisions, words, commits, its end."""
        ...

    async def mark(self, repository: Repository, pull_request: PullRequest) -> str:
        """`PullRequestNews.mark` alone, as cheaply as it can be had; empty where there is nothing to watch."""
        ...

    async def check(self, origin: str = "") -> tuple[str, ...]:
        """What is missing, in sentences for a person: asks, writes nothing; of one repository where it is named.

        Raises what no further question makes sense after, such as a wrong address or token.
        """
        ...

    async def record_decision(
        self, repository: Repository, pull_request: PullRequest, decision: ApprovalDecision, *, run: RunIdentity
    ) -> None:
        """Show a decision that was made elsewhere where the pull request is."""
        ...

    async def say(
        self, repository: Repository, pull_request: PullRequest, body: str, *, run: RunIdentity, topic: str
    ) -> None:
        """Write or edit this run's one comment on `topic`."""
        ...

    async def login(self) -> tuple[str, ...]:
        """The names under which we write here; empty where there are none."""
        ...

    async def merge(self, repository: Repository, pull_request: PullRequest, *, run: RunIdentity) -> PullRequest:
        """Merge the head that was approved; nothing if it is merged already; BranchConflict if it can't be."""
        ...

    async def close(
        self, repository: Repository, pull_request: PullRequest, *, reason: str, run: RunIdentity
    ) -> PullRequest:
        """Close without merging; the branch stays."""
        ...


class Notice(Record):
    """Something that people should hear."""

    event: str
    """`needs_approval`, `reminder`, `needs_attention`, `budget`, `finished`."""
    title: str
    body: str
    run: RunIdentity
    url: str = ""
    repository: str = ""
    people: tuple[str, ...] = ()
    """Whom it is for; empty: everybody."""
    head_sha: str = ""
    occasion: str = ""
    """Tells this notice from another of the same words; a retry has the same. Empty: the words alone tell."""


class Notifier(Protocol):
    async def notify(self, notice: Notice) -> None:
        """Tell people; the same run, event, title and occasion once, as far as the channel allows it."""
        ...

    async def check(self) -> tuple[str, ...]:
        """What is wrong with the channels, in sentences for a person; nothing is sent."""
        ...
