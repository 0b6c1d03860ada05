"""One mistake that can be seen in a single function or class, before it is a finding."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

from sdlc.review_graphs.checks.base import Level

Lines = tuple[int, int]
IsTouched = Callable[[ast.stmt | ast.expr], bool]
"""Does the change add a line of a node?"""


def lines_of(*nodes: ast.stmt | ast.expr | ast.excepthandler) -> tuple[Lines, ...]:
    """First and last line of each."""
    return tuple((node.lineno, node.end_lineno or node.lineno) for node in nodes)


@dataclass(frozen=True)
class Mistake:
    rule: str
    line: int
    message: str
    touches: tuple[Lines, ...]
    """Where the mistake is made: the change has to add one of these lines, or it has not brought it."""
    severity: Level = "major"
    confidence: float = 0.95
