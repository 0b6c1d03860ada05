"""Where on the head something is shown that is only on the base."""

from __future__ import annotations

import difflib

from sdlc.review_graphs.checks.base import ChangedPath, Trees

LARGEST_DIFF = 5_000
"""Lines of a file whose deletions are looked for; in a larger one they are shown where it first changes."""


def line_on_head(trees: Trees, file: ChangedPath, base_line: int) -> int:
    """The line that stands where one of the base was: what took its place, or what came after it."""
    if not file.old_path:
        return file.first_added
    before = (trees.before(file) or "").split("\n")
    after = (trees.head.text(file.path) or "").split("\n")
    if max(len(before), len(after)) > LARGEST_DIFF:
        return file.first_added
    for tag, start, end, first, _ in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if start < base_line <= end:
            if tag == "equal":
                return first + base_line - start
            # A deletion leaves no line; the next one stands where it was.
            return max(min(first + 1, len(after) - (after[-1] == "")), 1)
    return file.first_added
