"""The techstack panel."""

from __future__ import annotations

from sdlc.domain import Panel
from sdlc.review_graphs.declaration import Lens, PanelDeclaration

TECHSTACK = PanelDeclaration(
    panel=Panel.TECHSTACK,
    lenses=(Lens("dependencies", "techstack_dependencies.md"),),
)
