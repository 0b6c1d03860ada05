"""What a run writes on its ticket. Pure: Markdown from `Evidence`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sdlc.activities import Evidence
from sdlc.domain import ApprovalDecision, PullRequest, PullRequestState
from sdlc.markdown import code, inline, link
from sdlc.naming import counted
from sdlc.steps.evidence import cost, headline


def approval_comment(evidence: Evidence, pull_request: PullRequest, reviewers: Sequence[str]) -> str:
    """For the ticket, when people are asked."""
    asked = f" Asked: {', '.join(inline(reviewer, 100) for reviewer in reviewers)}." if reviewers else ""
    return f"{_pull_request_link(pull_request)} waits for an approval.{asked}\n\n{headline(evidence)}"


def closed_comment(evidence: Evidence, pull_request: PullRequest, approvals: Sequence[ApprovalDecision]) -> str:
    """For the ticket, when the story is done: the pull request, who approved it, the cost, and how to get it."""
    by = ", ".join(dict.fromkeys(inline(decision.by, 100) for decision in approvals))
    merged = pull_request.state is PullRequestState.MERGED
    lines = [
        f"Done: {_pull_request_link(pull_request)} was approved{f' by {by}' if by else ''}"
        f"{' and merged' if merged else '; it was not merged'}.",
        f"{cost(evidence.usage)}; {counted(evidence.fix_rounds, 'fix round')}.",
    ]
    if hint := how_to_get(evidence, pull_request):
        lines.append(hint)
    return "\n\n".join(lines)


def how_to_get(evidence: Evidence, pull_request: PullRequest) -> str:
    """With a forge beside the person's own repository: the command that brings the work into their checkout."""
    repository = evidence.change.repository
    if not repository.origin or repository.origin == repository.url:
        return ""
    merged = pull_request.state is PullRequestState.MERGED
    verb, branch = ("pull", pull_request.base_branch) if merged else ("fetch", pull_request.branch)
    return (
        f"Your own checkout was not moved. To get it there: {code(f'git {verb} {_argument(repository.url)} {branch}')}"
    )


def _argument(text: str) -> str:
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def _pull_request_link(pull_request: PullRequest) -> str:
    return link(f"Pull request {pull_request.number}", pull_request.url)
