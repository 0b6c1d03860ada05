"""Checks of the architecture panel: structure: cycles, layers, public names, size."""

from __future__ import annotations

from sdlc.review_graphs.checks.base import Check

CHECKS: tuple[Check, ...] = ()
