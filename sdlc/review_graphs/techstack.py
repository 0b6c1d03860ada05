"""The techstack panel."""

from __future__ import annotations

from sdlc.domain import Panel
from sdlc.review_graphs.checks.techstack import CHECKS
from sdlc.review_graphs.declaration import Lens, PanelDeclaration

TECHSTACK = PanelDeclaration(
    panel=Panel.TECHSTACK,
    checks=CHECKS,
    lenses=(Lens("dependencies", "techstack_dependencies.md"),),
)
