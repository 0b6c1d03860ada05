"""What GitHub's webhooks say, as something to look at. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sdlc.deliveries import Delivery
from sdlc.errors import RepositoryInvalid
from sdlc.integrations.git.push import BRANCH_PREFIX
from sdlc.integrations.github.address import repository_address
from sdlc.integrations.github.checks import OURS
from sdlc.web.payload import Nonsense, NotOurs, Payload

if TYPE_CHECKING:
    from sdlc.config import Settings

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}/[A-Za-z0-9._-]{1,100}", re.ASCII)
_IDENTIFIER = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)
_BRANCH = re.compile(rf"{re.escape(BRANCH_PREFIX)}[A-Za-z0-9._/-]{{1,200}}", re.ASCII)
"""Only such branches are ours; every other one is somebody else's work."""
_HEADS = "refs/heads/"
_MOST_BRANCHES = 10
"""That a `status` names; there may be more."""

_MAKES_READY = frozenset({"opened", "reopened", "labeled"})
_ISSUE_ACTIONS = _MAKES_READY | {"edited", "closed", "deleted", "transferred", "unlabeled", "assigned", "unassigned"}
_ENDS_OR_REVIVES = frozenset({"closed", "reopened"})
_PULL_ACTIONS = _ENDS_OR_REVIVES | {"edited", "synchronize", "ready_for_review", "converted_to_draft"}
_REVIEW_ACTIONS = frozenset({"submitted", "edited", "dismissed"})


@dataclass(frozen=True)
class GitHubScope:
    """What of GitHub is ours."""

    tracker: bool = False
    """Issues are tickets."""
    forge: bool = True
    """Pull requests are made there."""
    issues: tuple[str, ...] = ()
    """Repositories whose issues are tickets; none: those of all."""
    repositories: frozenset[str] | None = None
    """Case-folded `owner/name`; None: all."""
    bot: str = ""
    """The login under which we write, where it is configured."""

    @classmethod
    def of(cls, settings: Settings) -> GitHubScope:
        """The repositories of routes, and those whose issues are tickets."""
        github, named = settings.github, set()
        unlimited = False
        for route in settings.intake.repositories:
            try:
                named.add(repository_address(route.repository, github.base_url).full_name.casefold())
            except RepositoryInvalid:  # such as a folder, whose address only git knows
                unlimited = True
        named |= {name.casefold() for name in github.issues}
        return cls(
            tracker=settings.tracker.kind == "github",
            forge=settings.forge.kind == "github",
            issues=github.issues,
            repositories=None if unlimited or not named else frozenset(named),
            bot=github.bot,
        )

    def key(self, repository: str, number: int) -> str:
        """Of a ticket, with the repository's name as it is configured; empty if its issues are no tickets."""
        if not self.issues:
            return f"{repository.partition('/')[2]}-{number}"
        configured = next((name for name in self.issues if name.casefold() == repository.casefold()), "")
        return f"{configured.partition('/')[2]}-{number}" if configured else ""


@dataclass(frozen=True)
class _Event:
    payload: Payload
    repository: str
    identifier: str | None
    scope: GitHubScope

    @property
    def action(self) -> str:
        return self.payload.text("action")

    @property
    def ours(self) -> bool:
        """Done by ourselves."""
        sender = self.payload.optional_part("sender").text("login")
        return bool(self.scope.bot) and sender.casefold() == self.scope.bot.casefold()

    def identity(self) -> str:
        if self.identifier is None or not _IDENTIFIER.fullmatch(self.identifier):
            raise Nonsense("The header X-GitHub-Delivery is missing, or is not the id that GitHub gives a delivery.")
        return self.identifier.lower()

    def about(
        self,
        kind: Literal["pull_request", "checks"],
        *,
        number: int = 0,
        branch: str | None = None,
        head_sha: str = "",
    ) -> Delivery | None:
        """None for a branch that is not ours; `branch` is None where the event does not name it."""
        if not self.scope.forge or (branch is not None and not _BRANCH.fullmatch(branch)):
            return None
        return Delivery(
            source="github",
            kind=kind,
            identity=self.identity(),
            repository=self.repository,
            number=number,
            branch=branch or "",
            head_sha=head_sha,
        )


def github_delivery(name: str, payload: Payload, identifier: str | None, scope: GitHubScope) -> Delivery | None:
    """The delivery that a payload is; None for what nobody needs to look at.

    `name` is that of the event, `identifier` the id of the delivery, both from headers. Raises Nonsense, and NotOurs
    for a repository that nobody has named.
    """
    read = _READERS.get(name)
    if read is None:
        return None
    repository = payload.part("repository").matching("full_name", _REPOSITORY)
    if scope.repositories is not None and repository.casefold() not in scope.repositories:
        raise NotOurs("This repository is not configured; look at intake.repositories and github.issues.")
    return read(_Event(payload, repository, identifier, scope))


def _issues(event: _Event) -> Delivery | None:
    key = _ticket_key(event)
    if not key or event.action not in _ISSUE_ACTIONS or (event.ours and event.action not in _MAKES_READY):
        return None
    return Delivery(source="github", kind="ticket", identity=event.identity(), ticket_key=key)


def _issue_comment(event: _Event) -> Delivery | None:
    if event.action != "created" or event.ours:
        return None
    issue = event.payload.part("issue")
    if issue.has("pull_request"):
        return event.about("pull_request", number=issue.number("number"))
    key, comment_id = _ticket_key(event), event.payload.part("comment").identifier("id")
    if not key:
        return None
    return Delivery(
        source="github", kind="comment", identity=f"comment-{comment_id}", ticket_key=key, comment_id=comment_id
    )


def _ticket_key(event: _Event) -> str:
    if not event.scope.tracker:
        return ""
    return event.scope.key(event.repository, event.payload.part("issue").number("number"))


def _pull_request(event: _Event) -> Delivery | None:
    if event.action not in _PULL_ACTIONS or (event.ours and event.action not in _ENDS_OR_REVIVES):
        return None
    return _of_pull_request(event)


def _review(event: _Event) -> Delivery | None:
    return _of_pull_request(event) if event.action in _REVIEW_ACTIONS and not event.ours else None


def _review_comment(event: _Event) -> Delivery | None:
    return _of_pull_request(event) if event.action == "created" and not event.ours else None


def _of_pull_request(event: _Event) -> Delivery | None:
    pull = event.payload.part("pull_request")
    head = pull.part("head")
    return event.about(
        "pull_request", number=pull.number("number"), branch=head.text("ref"), head_sha=head.matching("sha", _SHA)
    )


def _push(event: _Event) -> Delivery | None:
    ref, after = event.payload.text("ref"), event.payload.matching("after", _SHA)
    if not ref.startswith(_HEADS) or event.ours:
        return None
    gone = not after.strip("0")
    return event.about("pull_request", branch=ref.removeprefix(_HEADS), head_sha="" if gone else after)


def _check_run(event: _Event) -> Delivery | None:
    run = event.payload.part("check_run")
    if event.action != "completed" or run.text("name").startswith(OURS):
        return None
    return _checks(event, run, run.optional_part("check_suite"))


def _check_suite(event: _Event) -> Delivery | None:
    suite = event.payload.part("check_suite")
    return _checks(event, suite, suite) if event.action == "completed" else None


def _workflow_run(event: _Event) -> Delivery | None:
    run = event.payload.part("workflow_run")
    return _checks(event, run, run) if event.action == "completed" else None


def _checks(event: _Event, of: Payload, branch_in: Payload) -> Delivery | None:
    branch = branch_in.text("head_branch") if branch_in.has("head_branch") else None
    return event.about("checks", branch=branch, head_sha=of.matching("head_sha", _SHA))


def _status(event: _Event) -> Delivery | None:
    if event.payload.text("context").startswith(OURS) or event.payload.text("state") == "pending":
        return None
    names = [branch.text("name") for branch in event.payload.parts("branches")]
    known = next((name for name in names if _BRANCH.fullmatch(name)), None)
    if known is None and 0 < len(names) < _MOST_BRANCHES:
        return None
    return event.about("checks", branch=known, head_sha=event.payload.matching("sha", _SHA))


_READERS: Mapping[str, Callable[[_Event], Delivery | None]] = {
    "issues": _issues,
    "issue_comment": _issue_comment,
    "pull_request": _pull_request,
    "pull_request_review": _review,
    "pull_request_review_comment": _review_comment,
    "push": _push,
    "check_run": _check_run,
    "check_suite": _check_suite,
    "workflow_run": _workflow_run,
    "status": _status,
}
