"""The lines that a change adds, and what the path of a file says about how it is meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sdlc.review_graphs.checks.base import ChangedPath, Trees, is_test

LONGEST_LINE = 2_000
"""Characters of a line that are looked at together: patterns take too long for more."""
OVERLAP = 300
"""Characters that two pieces of a line have in common, so that nothing is cut in two."""

_MADE_UP = re.compile(
    r"(^|/)(fixtures?|testdata|test[_-]data|mocks?|__mocks__|examples?|samples?|e2e|cypress|__snapshots__)/"
    r"|[._-](example|sample|template|tmpl|dist|test|mock|fixture)s?(\.\w+)?$"
    r"|\.snap$",
    re.IGNORECASE,
)
_DOCUMENT = re.compile(r"\.(md|mdx|rst|adoc|txt|html?|tex|org|po|pot|xlf|svg)$|(^|/)(docs?|man)/", re.IGNORECASE)


def added_lines(trees: Trees, file: ChangedPath) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines of the head that the change adds or modifies; a long one in pieces that overlap."""
    text = trees.head.text(file.path)
    if text is None:
        return
    lines = text.split("\n")
    for first, last in file.added:
        for number in range(first, min(last, len(lines)) + 1):
            line = lines[number - 1]
            for start in range(0, max(len(line), 1), LONGEST_LINE - OVERLAP):
                yield number, line[start : start + LONGEST_LINE]
                if start + LONGEST_LINE >= len(line):
                    break


def texts_of_base(trees: Trees) -> list[str]:
    """What stood in the changed files before: what is in there was only moved."""
    return [text for file in trees.files if (text := trees.before(file))]


def is_made_up(path: str) -> bool:
    """Is the file there to be an example: a test, a fixture, a sample to copy?"""
    return is_test(path) or bool(_MADE_UP.search(path))


def is_document(path: str) -> bool:
    """Prose for people, rather than something that a program reads."""
    return bool(_DOCUMENT.search(path))
