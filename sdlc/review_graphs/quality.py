"""The quality panel."""

from __future__ import annotations

from sdlc.domain import Panel
from sdlc.review_graphs.analyzers.ruff import Ruff
from sdlc.review_graphs.checks.quality import CHECKS
from sdlc.review_graphs.declaration import Lens, PanelDeclaration

QUALITY = PanelDeclaration(
    panel=Panel.QUALITY,
    analysers=(Ruff(),),
    checks=CHECKS,
    lenses=(Lens("correctness", "quality_correctness.md"),),
)
