"""A review as JSON: the findings as a list, or the whole by panels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sdlc.review_graphs.reviewed import ASIDE, Entry, Reviewed, Standing


def listed(reviews: Iterable[Reviewed], *, everything: bool = False) -> list[dict[str, Any]]:
    """The open findings, the worst of all panels first; with `everything` also the others, by what became of them.

    An object has the fields of a finding, and `standing`, which is `open` for those that somebody has to look at.
    """
    every = list(reviews)
    found: list[Entry] = []
    for standing in (Standing.OPEN, *(ASIDE if everything else ())):
        same = (entry for review in every for entry in review.standing(standing))
        found += sorted(same, key=lambda entry: entry.rank)
    return [_finding(entry) for entry in found]


def whole(reviews: Iterable[Reviewed], *, everything: bool = False) -> dict[str, Any]:
    """The panels, each with its state, what did and did not run, and its findings as in `listed`."""
    return {
        "panels": [
            {
                "panel": review.panel.value,
                "state": review.report.state.value,
                "base_sha": review.report.base_sha,
                "head_sha": review.report.head_sha,
                "findings": listed([review], everything=everything),
                "sources": [source.model_dump(mode="json", exclude={"result"}) for source in review.report.sources],
                "usage": review.report.usage.model_dump(mode="json"),
                "seconds": review.report.seconds,
                "trouble": review.trouble,
            }
            for review in reviews
        ]
    }


def _finding(entry: Entry) -> dict[str, Any]:
    return {
        "panel": entry.panel.value,
        "rule": entry.rule,
        "severity": entry.severity.value if entry.severity else None,
        "confidence": entry.confidence,
        "file": entry.file,
        "line": entry.line,
        "end_line": max(entry.line, entry.end_line),
        "message": entry.message,
        "evidence": entry.evidence,
        "suggestion": entry.suggestion,
        "fingerprint": entry.fingerprint,
        "standing": entry.standing.value,
        "status": entry.status,
        "carried": entry.carried,
        "why": entry.why,
        "source": entry.source,
    }
