"""The quality panel."""

from __future__ import annotations

from sdlc.domain import Panel
from sdlc.review_graphs.analyzers.ruff import Ruff
from sdlc.review_graphs.checks.quality import CHECKS
from sdlc.review_graphs.declaration import PanelDeclaration, lenses

QUALITY = PanelDeclaration(
    panel=Panel.QUALITY,
    analysers=(Ruff(),),
    checks=CHECKS,
    lenses=lenses(Panel.QUALITY, "correctness", "edge-cases", "error-handling", "readability"),
)
