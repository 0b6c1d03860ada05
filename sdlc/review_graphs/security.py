"""The security panel."""

from __future__ import annotations

from sdlc.domain import Panel
from sdlc.review_graphs.analyzers.bandit import Bandit
from sdlc.review_graphs.checks.security import CHECKS
from sdlc.review_graphs.declaration import Lens, PanelDeclaration

SECURITY = PanelDeclaration(
    panel=Panel.SECURITY,
    analysers=(Bandit(),),
    checks=CHECKS,
    lenses=(Lens("injection", "security_injection.md"),),
)
