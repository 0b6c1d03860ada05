"""All checks by name, in the order in which a panel's process runs them."""

from __future__ import annotations

from sdlc.review_graphs.checks import architecture, quality, security, techstack
from sdlc.review_graphs.checks.base import Check

CHECKS: dict[str, Check] = {
    check.name: check for check in (*architecture.CHECKS, *security.CHECKS, *quality.CHECKS, *techstack.CHECKS)
}
