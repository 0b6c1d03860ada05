"""A pull request as GitHub gives it, read as ours; and the hidden marks by which a run knows its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdlc import markdown
from sdlc.domain import PullRequest, PullRequestState, RunIdentity
from sdlc.integrations.github.inline import MAX_BODY, cut_body
from sdlc.integrations.github.marks import is_same, last_mark

MAX_TITLE = 256
"""Characters that GitHub takes."""


@dataclass(frozen=True)
class Marks:
    """What stands hidden below the text of a pull request. Whoever may write can put it there as well."""

    workflow_id: str = ""
    run_id: str = ""

    @property
    def marker(self) -> str:
        """As `RunIdentity.marker`; empty where no run made the pull request."""
        return f"sdlc:{self.workflow_id}:{self.run_id}" if self.run_id else ""


def as_domain(pull: Mapping[str, Any], *, head_sha: str = "") -> PullRequest:
    """`head_sha` where it is known better than GitHub tells it, a moment after a push."""
    head, base = pull.get("head") or {}, pull.get("base") or {}
    return PullRequest(
        number=int(pull["number"]),
        url=str(pull.get("html_url") or ""),
        title=str(pull.get("title") or ""),
        branch=str(head.get("ref") or ""),
        base_branch=str(base.get("ref") or ""),
        base_sha=str(base.get("sha") or ""),
        head_sha=head_sha or str(head.get("sha") or ""),
        state=state_of(pull),
    )


def state_of(pull: Mapping[str, Any]) -> PullRequestState:
    if pull.get("merged") or pull.get("merged_at"):
        return PullRequestState.MERGED
    if pull.get("state") == "closed":
        return PullRequestState.CLOSED
    return PullRequestState.DRAFT if pull.get("draft") else PullRequestState.OPEN


def is_over(pull: Mapping[str, Any]) -> bool:
    return state_of(pull) in (PullRequestState.MERGED, PullRequestState.CLOSED)


def has_conflicts(pull: Mapping[str, Any]) -> bool:
    """Can it not be merged into its base as that stands? Only known of a single pull request, once it is settled."""
    return not is_over(pull) and (pull.get("mergeable") is False or pull.get("mergeable_state") == "dirty")


def is_within(pull: Mapping[str, Any], full_name: str) -> bool:
    """Does its branch lie in the repository itself? That of a fork holds nothing of ours, whatever it says."""
    repository = (pull.get("head") or {}).get("repo") or {}
    return str(repository.get("full_name") or "").casefold() == full_name.casefold()


def base_of(pull: Mapping[str, Any]) -> str:
    """The branch into which it would be merged as it stands now; whoever may write can change it."""
    return str((pull.get("base") or {}).get("ref") or "")


def other_base(name: str, pull: Mapping[str, Any], base: str) -> str:
    """What is to be said of a pull request of the repository `name` that does not go to `base`."""
    number, there = pull["number"], base_of(pull)
    if state_of(pull) is PullRequestState.MERGED:
        return f"Pull request {number} of {name} was merged into {there} and not into {base}; look at it, then abort."
    return (
        f"Pull request {number} of {name} goes to {there}, and the run works for {base}; "
        "change its base back on GitHub and retry, or abort."
    )


def marks_of(body: str | None) -> Marks:
    """From the last mark in a text: ours stands below what a ticket or a person wrote."""
    workflow, _, run = last_mark(body).removeprefix("sdlc:").rpartition(":")
    whole = workflow.strip() and run and not any(letter.isspace() for letter in run)
    return Marks(workflow_id=workflow, run_id=run) if whole else Marks()


def is_of(body: str | None, run: RunIdentity) -> bool:
    """Does it bear the run's mark? It is the run's only if its author, branch and base are right as well."""
    return is_same(last_mark(body), run.marker)


def marked_body(body: str, run: RunIdentity, *, issue: int = 0) -> str:
    """The text with its mark, at most as long as GitHub takes it.

    `issue` is the number of one that GitHub closes with the merge; 0 for none.
    """
    closes = f"\n\nCloses #{issue}" if issue else ""
    end = f"{closes}\n\n{markdown.hidden(run.marker)}"
    return cut_body(body.rstrip(), limit=MAX_BODY - len(end)) + end


def cut_title(title: str) -> str:
    line = " ".join(title.split())
    return line if len(line) <= MAX_TITLE else line[: MAX_TITLE - 1] + "…"
