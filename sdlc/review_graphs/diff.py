"""A unified diff as the panels need it: which lines of the head are new, and parts that fit a prompt.

Hunks are cut into parts of a few lines with a header each. They stay a valid diff, and a model
that reads them never has to count far to name a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

PART_LINES = 20
"""Rows of a part: as far as a model can be trusted to count."""
LONGEST_LINE = 1_000
"""Characters shown of one line; minified code is cut."""
REACH = 3
"""Lines around a change that a finding may point to: what forges show, and take comments on."""

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True)
class Row:
    """One row of a hunk: its mark (`+`, `-`, space), its text, and its line in base and head, or where it would be."""

    mark: str
    text: str
    old: int
    new: int


@dataclass
class FileDiff:
    """The change of one file."""

    path: str
    old_path: str
    hunks: list[list[Row]] = field(default_factory=list)

    @property
    def rows(self) -> Iterator[Row]:
        return (row for hunk in self.hunks for row in hunk)

    def added_lines(self) -> set[int]:
        """Numbers of the lines of the head that the change adds or modifies."""
        return {row.new for row in self.rows if row.mark == "+"}

    @property
    def has_cut_lines(self) -> bool:
        """Is one of those longer than what is shown of a line?"""
        return any(row.mark == "+" and len(row.text) > LONGEST_LINE for row in self.rows)

    def near_lines(self) -> set[int]:
        """Numbers of the lines of the head that are part of the change or at most `REACH` away from it."""
        touched = {row.new for row in self.rows if row.mark != " "}
        return {line for at in touched for line in range(at - REACH, at + REACH + 1) if line >= 1}

    def parts(self) -> list[str]:
        """The hunks cut into parts, each with the header of a hunk, in their order."""
        return [_part(rows) for hunk in self.hunks for rows in _chunks(hunk)]

    @property
    def header(self) -> str:
        return f"diff --git a/{self.old_path} b/{self.path}\n--- a/{self.old_path}\n+++ b/{self.path}"


def read_hunks(text: str) -> list[list[Row]]:
    """The hunks of one file's diff; what stands before the first is skipped."""
    hunks: list[list[Row]] = []
    old = new = left_old = left_new = 0
    for line in text.split("\n"):
        if left_old <= 0 and left_new <= 0:
            if match := _HUNK.match(line):
                # An empty side is given as the line before it, so the next line there is one further.
                left_old, left_new = int(match[2] or 1), int(match[4] or 1)
                old, new = int(match[1]) + (left_old == 0), int(match[3]) + (left_new == 0)
                hunks.append([])
            continue
        mark, rest = line[:1] or " ", line[1:]
        if mark == "\\":
            continue
        hunks[-1].append(Row(mark, rest.removesuffix("\r"), old, new))
        if mark != "+":
            old, left_old = old + 1, left_old - 1
        if mark != "-":
            new, left_new = new + 1, left_new - 1
    return hunks


def split_files(text: str, files: Sequence[tuple[str, str]]) -> dict[str, str]:
    """A diff of many files as path → the part of it, for (path, old path) pairs.

    A file whose name git has quoted is not found; ask git for it by itself.
    """
    wanted = {f"diff --git a/{old or path} b/{path}": path for path, old in files}
    found: dict[str, str] = {}
    for piece in re.split(r"^(?=diff --git )", text, flags=re.MULTILINE):
        path = wanted.get(piece.partition("\n")[0])
        if path is not None:
            found[path] = piece
    return found


def ranges(lines: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Line numbers as closed ranges in their order: {1, 2, 3, 7} → ((1, 3), (7, 7))."""
    result: list[tuple[int, int]] = []
    for line in sorted(set(lines)):
        if result and result[-1][1] == line - 1:
            result[-1] = (result[-1][0], line)
        else:
            result.append((line, line))
    return tuple(result)


def touches(spans: Iterable[tuple[int, int]], first: int, last: int) -> bool:
    """Does a line from `first` to `last` lie in one of the ranges?"""
    return any(start <= last and first <= end for start, end in spans)


def _chunks(hunk: list[Row]) -> Iterator[list[Row]]:
    for start in range(0, len(hunk), PART_LINES):
        yield hunk[start : start + PART_LINES]


def _part(rows: list[Row]) -> str:
    old = sum(row.mark != "+" for row in rows)
    new = sum(row.mark != "-" for row in rows)
    first = rows[0]
    header = f"@@ -{first.old - (old == 0)},{old} +{first.new - (new == 0)},{new} @@"
    return "\n".join([header, *(f"{row.mark}{_cut(row.text)}" for row in rows)])


def _cut(text: str) -> str:
    if len(text) <= LONGEST_LINE:
        return text
    return f"{text[:LONGEST_LINE]}… [{len(text) - LONGEST_LINE} more characters]"
