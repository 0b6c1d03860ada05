"""Checks of the quality panel: complexity, dead code, missing and weakened tests, leftovers, and certain mistakes."""

from __future__ import annotations

from sdlc.review_graphs.checks.base import Check
from sdlc.review_graphs.checks.quality.broken_imports import BrokenImports
from sdlc.review_graphs.checks.quality.calls import Calls
from sdlc.review_graphs.checks.quality.complexity import Complexity
from sdlc.review_graphs.checks.quality.data_files import DataFiles
from sdlc.review_graphs.checks.quality.dead_code import DeadCode
from sdlc.review_graphs.checks.quality.leftovers import Leftovers
from sdlc.review_graphs.checks.quality.logic import Logic
from sdlc.review_graphs.checks.quality.missing_tests import MissingTests
from sdlc.review_graphs.checks.quality.weakened_tests import WeakenedTests

CHECKS: tuple[Check, ...] = (
    Complexity(),
    DeadCode(),
    MissingTests(),
    WeakenedTests(),
    Leftovers(),
    Logic(),
    Calls(),
    BrokenImports(),
    DataFiles(),
)
