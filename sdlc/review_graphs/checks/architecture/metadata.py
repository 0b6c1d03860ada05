"""What a project says of itself in `pyproject.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from sdlc.review_graphs.checks.base import Tree


def pyproject(tree: Tree, path: str = "pyproject.toml") -> Mapping[str, Any]:
    """The file of a tree; empty if there is none that can be read."""
    try:
        return tomllib.loads(tree.text(path) or "")
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def table(loaded: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """A table in a table; empty if it is absent or something else."""
    for key in keys:
        inner = loaded.get(key, {})
        loaded = inner if isinstance(inner, dict) else {}
    return loaded
