"""Checks of the security panel: secrets, modes, delivery, hidden text, insecure code, accepted findings."""

from __future__ import annotations

from sdlc.review_graphs.checks.base import Check
from sdlc.review_graphs.checks.security.baseline import Accepted
from sdlc.review_graphs.checks.security.delivery import Delivery
from sdlc.review_graphs.checks.security.file_modes import FileModes
from sdlc.review_graphs.checks.security.hidden_text import HiddenText
from sdlc.review_graphs.checks.security.insecure_code import InsecureCode
from sdlc.review_graphs.checks.security.secrets import Secrets

CHECKS: tuple[Check, ...] = (Secrets(), FileModes(), Delivery(), HiddenText(), InsecureCode(), Accepted())
