"""The techstack panel."""

from __future__ import annotations

from sdlc.domain import Panel
from sdlc.review_graphs.checks.techstack import CHECKS
from sdlc.review_graphs.declaration import PanelDeclaration, lenses

TECHSTACK = PanelDeclaration(
    panel=Panel.TECHSTACK,
    checks=CHECKS,
    lenses=lenses(Panel.TECHSTACK, "dependencies", "idiom"),
)
