"""Mistakes that the syntax tree proves and that ruff's rules do not know."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Trees, is_test
from sdlc.review_graphs.checks.quality.logic_conditions import conditions
from sdlc.review_graphs.checks.quality.logic_loops import loops
from sdlc.review_graphs.checks.quality.logic_returns import lost_returns
from sdlc.review_graphs.checks.quality.logic_values import values
from sdlc.review_graphs.checks.quality.source import parsed, shown_at

_MEANT_IN_TESTS = frozenset({"compared-with-itself", "result-dropped", "never-caught", "same-branches", "swallowed"})
"""A test of `__eq__` compares an object with itself, and one of an error calls what fails."""


class Logic:
    name = "logic"
    required = True

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py")

    def run(self, trees: Trees) -> Iterable[Raised]:
        for file in trees.present:
            if self.looks_at(file.path):
                yield from _mistakes(file, trees.head.text(file.path))
                yield from lost_returns(trees, file)


def _mistakes(file: ChangedPath, text: str | None) -> Iterator[Raised]:
    def is_touched(node: ast.stmt | ast.expr) -> bool:
        return file.has_added(node.lineno, node.end_lineno or node.lineno)

    if text is None or parsed(text) is None:
        return
    said: set[tuple[str, int]] = set()
    for mistake in (*conditions(text, is_touched), *loops(text, is_touched), *values(text, is_touched)):
        if is_test(file.path) and mistake.rule in _MEANT_IN_TESTS:
            continue
        added = [lines for lines in mistake.touches if file.has_added(*lines)]
        if added and (mistake.rule, mistake.line) not in said:
            said.add((mistake.rule, mistake.line))
            yield Raised(
                rule=mistake.rule,
                file=file.path,
                line=mistake.line if file.has_added(mistake.line) else shown_at(file, *added[0]),
                severity=mistake.severity,
                confidence=mistake.confidence,
                message=mistake.message,
            )
