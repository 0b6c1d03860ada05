"""The architecture panel."""

from __future__ import annotations

from sdlc.domain import Panel
from sdlc.review_graphs.checks.architecture import CHECKS
from sdlc.review_graphs.declaration import PanelDeclaration, lenses

ARCHITECTURE = PanelDeclaration(
    panel=Panel.ARCHITECTURE,
    checks=CHECKS,
    lenses=lenses(Panel.ARCHITECTURE, "boundaries", "structure", "compatibility"),
)
