"""Checks of the techstack panel: dependencies, pins, licences, versions."""

from __future__ import annotations

from sdlc.review_graphs.checks.base import Check
from sdlc.review_graphs.checks.techstack.allowed import Allowed
from sdlc.review_graphs.checks.techstack.invented import Invented
from sdlc.review_graphs.checks.techstack.licences import Licences
from sdlc.review_graphs.checks.techstack.pins import Pins
from sdlc.review_graphs.checks.techstack.replaced import Replaced
from sdlc.review_graphs.checks.techstack.undeclared import Undeclared
from sdlc.review_graphs.checks.techstack.unused import Unused
from sdlc.review_graphs.checks.techstack.versions import Versions

CHECKS: tuple[Check, ...] = (
    Undeclared(),
    Unused(),
    Invented(),
    Allowed(),
    Pins(),
    Licences(),
    Versions(),
    Replaced(),
)
