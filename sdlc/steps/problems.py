"""What static checks complain about, read from their output, so that old complaints can be told from new. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

MOST_PROBLEMS = 5_000

_PATTERNS = (
    # gcc, ruff (concise), flake8, mypy, go vet, cargo (short): path:line[:column]: text
    re.compile(r"(?P<file>[^\s:][^:\n]{0,300}):(?P<line>\d+)(?::\d+)?(?:-\d+(?::\d+)?)?[:\s]\s*(?P<text>\S.*)\Z"),
    # tsc: path(line,column): text
    re.compile(r"(?P<file>[^\s(][^(\n]{0,300})\((?P<line>\d+),\d+\):\s*(?P<text>\S.*)\Z"),
    re.compile(r"(?P<text>[Ww]ould reformat):? (?P<file>\S.*)\Z"),
)
_RULE = re.compile(
    r"(?:^|\s)(?P<code>[A-Z]{1,6}\d{1,5})\b|\[(?P<name>[a-z][\w-]{2,60}|E\d{4})\]|\((?P<paren>report\w+|[\w-]+/[\w-]+)\)"
)
_NO_PROBLEM = re.compile(r"\s*(?:note|help|info)\b", re.IGNORECASE)


class Problem(BaseModel):
    """One complaint at one place."""

    model_config = ConfigDict(frozen=True)

    file: str
    line: int = 0
    text: str
    """The checker's words. They may quote the source, so they stay out of histories."""

    @property
    def rule(self) -> str:
        """The checker's name for it, such as `F401` or `no-untyped-def`; empty if none could be told."""
        found = _RULE.search(self.text)
        if found:
            return found["code"] or found["name"] or found["paren"] or ""
        return "format" if self.text.lower() == "would reformat" else ""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


def read_problems(output: str) -> tuple[Problem, ...]:
    """The complaints in a checker's output; empty if it has none that could be read."""
    found: list[Problem] = []
    for line in output.splitlines():
        for pattern in _PATTERNS:
            match = pattern.match(line.strip()[:2_000])
            if match and not _NO_PROBLEM.match(match["text"]):
                number = match.groupdict().get("line")
                file = match["file"].removeprefix("./").removeprefix("/work/")
                found.append(Problem(file=file, line=int(number) if number else 0, text=match["text"][:500]))
                break
        if len(found) >= MOST_PROBLEMS:
            break
    return tuple(found)


def new_problems(head: Sequence[Problem], base: Iterable[Problem]) -> list[Problem]:
    """Those of the head that the base did not have: by file and words, since lines move."""
    known = Counter((problem.file, _without_numbers(problem.text)) for problem in base)
    new: list[Problem] = []
    for problem in head:
        key = (problem.file, _without_numbers(problem.text))
        if known[key] > 0:
            known[key] -= 1
        else:
            new.append(problem)
    return new


def _without_numbers(text: str) -> str:
    """Messages that count or name lines ("line 12", "too long (130 > 120)") are the same complaint."""
    return re.sub(r"(?<![A-Za-z0-9])\d+", "0", text)
