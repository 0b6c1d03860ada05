"""Changes to `.sdlc/baseline.json`: what a change accepts counts as soon as it is merged, so somebody has to look."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Trees

BASELINE = ".sdlc/baseline.json"


class Accepted:
    name = "baseline"
    required = True

    def looks_at(self, path: str) -> bool:
        return path == BASELINE

    def run(self, trees: Trees) -> Iterable[Raised]:
        file = trees.file(BASELINE)
        text = trees.head.text(BASELINE)
        if file is None or text is None:
            return
        try:
            now = _entries(json.loads(text.removeprefix("\ufeff")))
        except json.JSONDecodeError as error:
            yield _unusable(file, error.lineno)
            return
        except (ValueError, RecursionError):
            yield _unusable(file, file.first_added)
            return
        new = [entry for entry in now if entry not in _before(trees, file)]
        if new:
            what = "one finding" if len(new) == 1 else f"{len(new)} findings"
            yield Raised(
                rule="accepts",
                file=BASELINE,
                line=_line(text, new[0], file),
                severity="info",
                message=f"The change lets {what} of reviews stand, for everybody, once it is merged. "
                "See whether the reasons hold, and whether `until` should bound them.",
            )


def _entries(document: Any) -> list[dict[str, Any]]:
    """What is accepted, and until when; other words may change."""
    listed = document.get("accepted") if isinstance(document, dict) else None
    return [
        {"fingerprint": item["fingerprint"], "until": item.get("until")}
        for item in (listed if isinstance(listed, list) else [])
        if isinstance(item, dict) and isinstance(item.get("fingerprint"), str)
    ]


def _before(trees: Trees, file: ChangedPath) -> list[dict[str, Any]]:
    try:
        return _entries(json.loads((trees.before(file) or "{}").removeprefix("\ufeff")))
    except (ValueError, RecursionError):
        return []


def _line(text: str, entry: dict[str, Any], file: ChangedPath) -> int:
    """Where the entry begins to be new: its fingerprint's line, if the change adds it."""
    lines = text.split("\n")
    at = next((n for n, line in enumerate(lines, 1) if entry["fingerprint"] in line and file.has_added(n)), 0)
    return at or file.first_added


def _unusable(file: ChangedPath, line: int) -> Raised:
    return Raised(
        rule="unusable",
        file=file.path,
        line=line,
        severity="minor",
        message="The file is not JSON, so once it is merged nothing that it accepts counts. Mend it.",
    )
