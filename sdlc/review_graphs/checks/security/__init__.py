"""Checks of the security panel: secrets, modes, delivery, hidden text."""

from __future__ import annotations

from sdlc.review_graphs.checks.base import Check

CHECKS: tuple[Check, ...] = ()
