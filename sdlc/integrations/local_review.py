"""Findings as comments in the `findings.md` of a local pull request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from sdlc import markdown
from sdlc.domain import Finding
from sdlc.finding_comment import finding_comment, place
from sdlc.integrations import comment_file
from sdlc.integrations.comment_file import Comment

_TOPIC = "finding:"
OPEN, RESOLVED = "open", "resolved"


def finding_comments(
    text: str, findings: Iterable[Finding], *, marker: str, head_sha: str, author: str, now: datetime
) -> list[Comment]:
    """What has to stand in `findings.md`, of which `text` is the present content.

    Each finding once by fingerprint; those that this run published before and that are not among
    `findings` any more are marked resolved, and one that comes back is open again.
    """
    current = {_TOPIC + _identity(finding): finding for finding in findings}
    comments = [
        Comment(
            marker=marker,
            topic=topic,
            author=author,
            body=f"{markdown.code(place(finding), 300)}\n\n{finding_comment(finding)}",
            created=now,
            facts={"state": OPEN},
        )
        for topic, finding in sorted(current.items(), key=lambda item: _order(item[1]))
    ]
    comments += [
        _resolved(comment, head_sha, now)
        for comment in comment_file.ours(text)
        if comment.marker == marker
        and comment.topic.startswith(_TOPIC)
        and comment.topic not in current
        and comment.facts.get("state") == OPEN
    ]
    return comments


def _resolved(comment: Comment, head_sha: str, now: datetime) -> Comment:
    said = f"**Resolved:** no longer open at {markdown.code(head_sha[:10])}."
    return replace(comment, body=f"{said}\n\n{comment.body}", created=now, edited=None, facts={"state": RESOLVED})


def _identity(finding: Finding) -> str:
    return finding.fingerprint or Finding.fingerprint_of(finding.rule, finding.file, f"{finding.line}{finding.message}")


def _order(finding: Finding) -> tuple[int, str, int]:
    return finding.severity.rank, finding.file, finding.line
