"""What a change takes from the tests, as one finding each, or as one for many of a kind in one file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sdlc.review_graphs.checks.base import Level, Raised
from sdlc.review_graphs.checks.quality.source import spoken

MOST_ALONE = 3
"""Of one kind in one file; more become one finding."""


@dataclass(frozen=True)
class Loss:
    """One test, setting or assertion that proves less than before."""

    rule: str
    file: str
    line: int
    name: str
    """Of the test or setting."""
    what: str
    """What happened to it, as the words after its name."""
    mend: str
    """What to do, as a sentence."""
    together: str = ""
    """What happened, as words after `5 tests`; where empty, losses of the kind stay apart."""
    severity: Level = "blocker"
    confidence: float = 0.9


def raised(losses: Iterable[Loss]) -> Iterator[Raised]:
    """The findings of some losses."""
    groups: dict[tuple[str, str], list[Loss]] = {}
    for loss in losses:
        groups.setdefault((loss.rule, loss.file), []).append(loss)
    for group in groups.values():
        is_one = len(group) > 1 and len({loss.line for loss in group}) == 1
        if group[0].together and (is_one or len(group) > MOST_ALONE):
            names = spoken(dict.fromkeys(loss.name for loss in group))
            yield _one(group[0], f"{len(group)} tests {group[0].together}: {names}. {group[0].mend}")
        else:
            for loss in group:
                yield _one(loss, f"`{loss.name}` {loss.what}. {loss.mend}")


def _one(loss: Loss, message: str) -> Raised:
    return Raised(
        rule=loss.rule,
        file=loss.file,
        line=max(loss.line, 1),
        severity=loss.severity,
        confidence=loss.confidence,
        message=message,
    )
