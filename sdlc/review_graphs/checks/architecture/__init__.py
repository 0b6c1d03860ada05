"""Checks of the architecture panel: cycles, layers, public names, entry points, migrations, size."""

from __future__ import annotations

from sdlc.review_graphs.checks.architecture.cycles import ImportCycles
from sdlc.review_graphs.checks.architecture.entry_points import EntryPoints
from sdlc.review_graphs.checks.architecture.layers import Layers
from sdlc.review_graphs.checks.architecture.migrations import Migrations
from sdlc.review_graphs.checks.architecture.public_api import PublicApi
from sdlc.review_graphs.checks.architecture.size import Size
from sdlc.review_graphs.checks.base import Check

CHECKS: tuple[Check, ...] = (ImportCycles(), Layers(), PublicApi(), EntryPoints(), Migrations(), Size())
