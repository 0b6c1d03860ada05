"""Functions that a change makes hard to follow: their cognitive complexity, before and after."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Trees, is_test
from sdlc.review_graphs.checks.quality.source import shown_at

LIMIT = 15
"""What `review.complexity` is where nothing is said."""
GROWTH = 5
"""By how much one that is above the limit already has to grow before anybody is told."""

_DEF = re.compile(r"\s*(async\s+)?def\b")


@dataclass(frozen=True)
class Measured:
    """A function of one version of a file."""

    name: str
    complexity: int
    first: int
    """The line of its `def`."""
    last: int
    worst: int
    """The line that counts most."""
    body: str
    """Its source below the `def`, without white space."""
    excused: bool = False
    """A comment takes it out."""

    @property
    def bare(self) -> str:
        return self.name.rpartition("::")[2]

    @property
    def said(self) -> str:
        return self.name.replace("::", ".")


class Complexity:
    name = "complexity"
    required = True

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py") and not is_test(path)

    def run(self, trees: Trees) -> Iterable[Raised]:
        limit = int(trees.rules.get("complexity", LIMIT))
        files = [file for file in trees.present if self.looks_at(file.path)]
        after = {file.path: measured(trees.head.text(file.path)) for file in files}
        before = {file.path: measured(trees.before(file)) for file in files}
        elsewhere = [*_gone(trees, before, after)]
        for file in files:
            old = {item.name: item for item in before[file.path]}
            for item in after[file.path]:
                if item.complexity <= limit or not file.has_added(item.first, item.last):
                    continue
                was = old.get(item.name) or _moved(item, elsewhere)
                if was and (was.excused or was.body == item.body):
                    continue
                if was is None or was.complexity <= limit or item.complexity - was.complexity >= GROWTH:
                    yield _raised(file, item, was, limit)


def measured(text: str | None) -> list[Measured]:
    """The functions of a file in their order; none where it can't be read as Python."""
    from complexipy import code_complexity

    if not text:
        return []
    lines = text.split("\n")
    try:
        # What the change excuses itself from counts all the same; what the base excuses stays excused.
        every = code_complexity(text, no_ignore=True, with_plans=False).functions
        kept = {(item.name, item.line_start) for item in code_complexity(text, with_plans=False).functions}
    except ValueError:
        return []
    return [_measured(item, lines, (item.name, item.line_start) not in kept) for item in every]


def _measured(item: Any, lines: Sequence[str], excused: bool) -> Measured:
    first = item.line_start
    while first < item.line_end and not _DEF.match(lines[first - 1]):
        first += 1
    worst = max(item.line_complexities, key=lambda line: int(line.complexity), default=None)
    return Measured(
        name=item.name,
        complexity=item.complexity,
        first=first,
        last=item.line_end,
        worst=worst.line if worst else first,
        body="".join("".join(lines[first : item.line_end]).split()),
        excused=excused,
    )


def _gone(trees: Trees, before: dict[str, list[Measured]], after: dict[str, list[Measured]]) -> Iterator[Measured]:
    """The functions that the base has in files of the change and the head no longer has there."""
    for path, items in before.items():
        names = {item.name for item in after[path]}
        yield from (item for item in items if item.name not in names)
    for file in trees.files:
        if file.status == "D" and file.old_path.endswith(".py"):
            yield from measured(trees.base.text(file.old_path))


def _moved(item: Measured, elsewhere: Sequence[Measured]) -> Measured | None:
    same = (old for old in elsewhere if old.body == item.body)
    return next(same, None) or next((old for old in elsewhere if old.bare == item.bare), None)


def _raised(file: ChangedPath, item: Measured, was: Measured | None, limit: int) -> Raised:
    before = f"{was.complexity} before, " if was else ""
    return Raised(
        rule="too-complex" if was is None or was.complexity <= limit else "more-complex",
        file=file.path,
        line=shown_at(file, item.first, item.last),
        severity="minor",
        message=(
            f"`{item.said}` now has a cognitive complexity of {item.complexity} ({before}the limit is {limit}); "
            f"its cases can hardly be followed or tested one by one. Line {item.worst} counts most: move what is "
            "nested there to a function of its own, or return early."
        ),
    )
