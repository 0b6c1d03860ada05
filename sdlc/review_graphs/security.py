"""The security panel."""

from __future__ import annotations

from sdlc.domain import Panel
from sdlc.review_graphs.analyzers.bandit import Bandit
from sdlc.review_graphs.analyzers.ruff import HOLES, Ruff
from sdlc.review_graphs.audit_run import DependencyAudit
from sdlc.review_graphs.checks.security import CHECKS
from sdlc.review_graphs.declaration import PanelDeclaration, lenses

SECURITY = PanelDeclaration(
    panel=Panel.SECURITY,
    analysers=(Bandit(), Ruff("ruff-security", HOLES), DependencyAudit()),
    checks=CHECKS,
    lenses=lenses(Panel.SECURITY, "injection", "access", "exposure", "hidden-instructions"),
)
