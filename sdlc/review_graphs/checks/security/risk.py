"""A risk of one file, known by what it is and not by its line, so that head and base can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sdlc.review_graphs.checks.base import ChangedPath, Level, Raised


@dataclass(frozen=True)
class Risk:
    rule: str
    severity: Level
    message: str
    lines: tuple[int, ...]
    """Where it can be seen; the first of them that the change adds is the finding's."""
    key: str
    """What makes it the same risk on the base."""
    confidence: float = 0.8


def brought(file: ChangedPath, head: Iterable[Risk], base: Iterable[Risk]) -> Iterator[Raised]:
    """The risks that the head has and the base has not, or not as often."""
    known = Counter((risk.rule, risk.key) for risk in base)
    said: set[tuple[str, int]] = set()
    for risk in head:
        if known[risk.rule, risk.key]:
            known[risk.rule, risk.key] -= 1
            continue
        there = [line for line in risk.lines if line > 0] or [file.first_added]
        line = next((line for line in there if file.has_added(line)), there[0])
        if (risk.rule, line) in said:
            continue
        said.add((risk.rule, line))
        yield Raised(
            rule=risk.rule,
            file=file.path,
            line=line,
            severity=risk.severity,
            message=risk.message,
            confidence=risk.confidence,
        )
