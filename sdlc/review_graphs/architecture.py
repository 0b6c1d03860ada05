"""The architecture panel."""

from __future__ import annotations

from sdlc.domain import Panel
from sdlc.review_graphs.declaration import Lens, PanelDeclaration

ARCHITECTURE = PanelDeclaration(
    panel=Panel.ARCHITECTURE,
    lenses=(Lens("boundaries", "architecture_boundaries.md"),),
)
