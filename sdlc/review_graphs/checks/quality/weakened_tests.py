"""Tests that a change removes, switches off or makes prove less, and settings that leave them out."""

from __future__ import annotations

from collections.abc import Iterable

from sdlc.review_graphs.checks.base import Raised, Trees, is_test
from sdlc.review_graphs.checks.quality import weakened_javascript, weakened_settings
from sdlc.review_graphs.checks.quality.javascript import is_javascript
from sdlc.review_graphs.checks.quality.losses import raised
from sdlc.review_graphs.checks.quality.weakened_python import PythonTests


class WeakenedTests:
    name = "weakened-tests"
    required = True

    def looks_at(self, path: str) -> bool:
        is_code = path.endswith(".py") or is_javascript(path)
        return (is_code and is_test(path)) or weakened_settings.looks_at(path)

    def run(self, trees: Trees) -> Iterable[Raised]:
        yield from raised(PythonTests(trees).losses())
        yield from raised(weakened_javascript.losses(trees))
        yield from raised(weakened_settings.losses(trees))
