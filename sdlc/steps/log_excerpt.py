"""The part of a test or check log that tells what went wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sdlc.engines.conversation import cut_middle

_SECTION = re.compile(r"^(?:_{3,} .+ _{3,}|={10,}|-{20,}|--- FAIL: .*|---- .+ ----|\s*●\s.+)$")
_TROUBLE = re.compile(
    r"\b(?:errors?|fail(?:ed|ure|ures)?|exception|traceback|panicked|assert\w*|expected|cannot|undefined)\b"
    r"|^E\s|^\S+:\d+(?::\d+)?:\s",
    re.IGNORECASE,
)
_BEFORE, _AFTER = 3, 12


def relevant_part(log: str, tests: Iterable[str] = (), limit: int = 6_000) -> str:
    """At most about `limit` characters of `log` that tell what went wrong.

    Sections of the given failing tests, where there are any; else lines of trouble; else the end.
    `tests` are the runner's ids, such as `tests/test_money.py::test_rounds_half_up`.
    """
    log = log.strip("\n")
    if len(log) <= limit:
        return log
    lines = log.split("\n")
    wanted = _of_tests(lines, [_short_name(test) for test in tests]) or _of_trouble(lines)
    if not wanted:
        return f"[… {len(log) - limit:,} characters left out …]\n{log[-limit:]}"
    return cut_middle(_joined(lines, wanted), limit)


def _short_name(test: str) -> str:
    """What a log calls a test: its last part, without parameters."""
    return re.split(r"::|\s|#|/", test.split("[")[0])[-1].rsplit(".", 1)[-1]


def _of_tests(lines: Sequence[str], names: Sequence[str]) -> set[int]:
    """Line numbers of the sections whose heading names one of the tests."""
    named = [re.compile(rf"(?<!\w){re.escape(name)}(?!\w)") for name in names if len(name) > 2]
    kept: set[int] = set()
    inside = False
    for number, line in enumerate(lines):
        if _SECTION.match(line):
            inside = any(pattern.search(line) for pattern in named)
        if inside:
            kept.add(number)
    return kept


def _of_trouble(lines: Sequence[str]) -> set[int]:
    kept: set[int] = set()
    for number, line in enumerate(lines):
        if _TROUBLE.search(line):
            kept.update(range(max(0, number - _BEFORE), min(len(lines), number + _AFTER)))
    return kept


def _joined(lines: Sequence[str], kept: set[int]) -> str:
    parts: list[str] = []
    last = -1
    for number in sorted(kept):
        if number != last + 1:
            parts.append("[…]")
        parts.append(lines[number])
        last = number
    return "\n".join(parts)
