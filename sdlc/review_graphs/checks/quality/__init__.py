"""Checks of the quality panel: complexity, dead code, missing and weakened tests."""

from __future__ import annotations

from sdlc.review_graphs.checks.base import Check

CHECKS: tuple[Check, ...] = ()
