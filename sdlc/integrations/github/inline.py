"""Where findings can stand on a pull request: GitHub takes a comment only on a line that its diff shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sdlc import markdown
from sdlc.domain import Finding
from sdlc.finding_comment import finding_comment, place

MAX_BODY = 65_536
"""Characters that GitHub takes as a comment or a description."""
MAX_FILES = 3_000
"""Files of a pull request that GitHub lists."""

_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")
_CUT = "\n\n*… cut here: GitHub takes no longer text.*"


@dataclass(frozen=True)
class Placed:
    """A finding and where it goes."""

    finding: Finding
    at: Literal["line", "file", "summary"]
    line: int = 0
    start_line: int = 0
    """0 for a comment on one line."""


def hunks_of(patch: str) -> list[range]:
    """The new side's lines that each hunk of a file's patch shows, context included."""
    found = []
    for line in patch.split("\n"):
        # A line of content begins with a blank, a plus or a minus, so it is never taken for a header.
        if hunk := _HUNK.match(line):
            start, count = int(hunk[1]), int(hunk[2]) if hunk[2] is not None else 1
            if count:
                found.append(range(start, start + count))
    return found


def placed(
    findings: Iterable[Finding], files: Iterable[Mapping[str, Any]], *, max_inline: int | None = None
) -> list[Placed]:
    """Each finding once by fingerprint, in the order of its weight.

    `files` is GitHub's list of the pull request's files. On a line where the diff shows it; on the file where the
    pull request has that file, but not that line, or GitHub gives no diff of it (too large, binary); else in the
    summary. Beyond `max_inline` comments all go to the summary.
    """
    hunks: dict[str, list[range]] = {}
    for file in files:
        # A comment on a deleted file has no line on the new side.
        hunks[str(file.get("filename", ""))] = hunks_of(str(file.get("patch") or ""))
    result: list[Placed] = []
    seen: set[str] = set()
    for finding in sorted(findings, key=lambda one: (one.severity.rank, one.file, one.line)):
        identity = identity_of(finding)
        if identity in seen:
            continue
        seen.add(identity)
        full = max_inline is not None and sum(one.at != "summary" for one in result) >= max_inline
        result.append(Placed(finding, "summary") if full else _place(finding, hunks.get(finding.file)))
    return result


def _place(finding: Finding, hunks: Sequence[range] | None) -> Placed:
    if hunks is None:
        return Placed(finding, "summary")
    first, last = finding.line, max(finding.line, finding.end_line)
    for hunk in hunks:
        if first in hunk:
            # Both ends of a comment must stand in one hunk; what goes beyond it is cut off there.
            end = min(last, hunk[-1])
            return Placed(finding, "line", line=end, start_line=first if end > first else 0)
    for hunk in hunks:
        if first < hunk[0] <= last:
            end = min(last, hunk[-1])
            return Placed(finding, "line", line=end, start_line=hunk[0] if end > hunk[0] else 0)
    return Placed(finding, "file")


def identity_of(finding: Finding) -> str:
    """By which a finding is known again; made up where it has no fingerprint."""
    return finding.fingerprint or Finding.fingerprint_of(finding.rule, finding.file, f"{finding.line}{finding.message}")


def finding_body(placed: Placed, mark: str) -> str:
    """The comment for one finding; its place is named where it does not stand on its line."""
    text = finding_comment(placed.finding)
    if placed.at != "line":
        text = f"{markdown.code(place(placed.finding), 300)}\n\n{text}"
    return with_mark(text, mark)


def elsewhere(listed: Iterable[Placed]) -> str:
    """Those that can stand on no file, for the summary; empty without any."""
    lines = [
        f"- {markdown.code(place(one.finding), 300)}: **{one.finding.severity.value}** "
        f"({one.finding.panel.value}, {markdown.code(one.finding.rule, 100)}): "
        f"{markdown.inline(one.finding.message, 500)}"
        for one in listed
        if one.at == "summary"
    ]
    return "\n".join(["**Findings without a place in this diff**", "", *lines]) if lines else ""


def with_mark(body: str, mark: str, *, limit: int = MAX_BODY) -> str:
    """`body` and a hidden mark below it, at most `limit` characters: the text is cut, the mark never."""
    hidden = f"\n\n{markdown.hidden(mark)}"
    return cut_body(body.rstrip(), limit=limit - len(hidden)) + hidden


def cut_body(body: str, *, limit: int = MAX_BODY) -> str:
    """`body` within `limit` characters; that it was cut is said, and a code block that was open there is closed."""
    if len(body) <= limit:
        return body
    room = limit - len(_CUT) - 8
    kept = body[: max(0, room)]
    at_line = kept.rfind("\n")
    kept = kept[:at_line] if at_line > room // 2 else kept
    fence = _open_fence(kept)
    return (kept + (f"\n{fence}" if fence and len(fence) < 8 else "") + _CUT)[:limit]


def _open_fence(text: str) -> str:
    """The fence of a code block that is open at the end; empty for none."""
    fence = ""
    for line in text.split("\n"):
        found = re.match(r"^ {0,3}(`{3,}|~{3,})", line)
        if found and not fence:
            fence = found[1]
        elif fence and line.strip() and not line.strip().strip(fence[0]) and len(line.strip()) >= len(fence):
            fence = ""
    return fence
