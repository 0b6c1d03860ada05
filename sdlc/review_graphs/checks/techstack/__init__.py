"""Checks of the techstack panel: dependencies, pins, licences, versions."""

from __future__ import annotations

from sdlc.review_graphs.checks.base import Check

CHECKS: tuple[Check, ...] = ()
