"""A finding as a comment for people, the same wherever it is shown."""

from __future__ import annotations

from sdlc import markdown
from sdlc.domain import Finding

MAX_SUGGESTION_LINES = 4


def finding_comment(finding: Finding) -> str:
    """Markdown: how bad, what, why, and what to do, so that it is taken in at a glance."""
    doubt = "" if finding.confidence >= 0.8 else f", confidence {finding.confidence:.0%}"
    parts = [
        f"**{finding.severity.value}** ({finding.panel.value}, {markdown.code(finding.rule, 100)}{doubt}): "
        f"{markdown.inline(finding.message, 1_000)}"
    ]
    if finding.evidence.strip():
        parts.append(markdown.quote(finding.evidence, 2_000))
    if finding.suggestion.strip():
        lines = finding.suggestion.strip("\n").splitlines()[:MAX_SUGGESTION_LINES]
        parts.append("Suggestion:\n\n" + markdown.fenced("\n".join(lines), 1_000))
    return "\n\n".join(parts)


def place(finding: Finding) -> str:
    """`file:line`, or `file:line-end`."""
    lines = f"{finding.line}" if finding.end_line <= finding.line else f"{finding.line}-{finding.end_line}"
    return f"{finding.file}:{lines}"
