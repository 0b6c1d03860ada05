"""TOML, JSON and YAML of a repository, which may be broken or written to hurt whoever parses it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

MOST_DOTS = 100
"""On one line of TOML. A dotted key of thousands of parts takes hundreds of megabytes."""
MOST_BRACKETS = 100
"""On one line of YAML. Thousands that are open at once take seconds."""


def read_toml(text: str) -> dict[str, Any] | None:
    """The document; None for what can't be read."""
    if any(line.count(".") > MOST_DOTS for line in text.split("\n")):
        return None
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # the parser lets some of its own through
        return None


def read_json(text: str) -> Any:
    """The document; None for what can't be read."""
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None


def read_yaml(text: str) -> Any:
    """The document with plain strings for all values, so that 3.10 stays 3.10; None for what can't be read."""
    import yaml

    if any(line.count("{") + line.count("[") > MOST_BRACKETS for line in text.split("\n")):
        return None
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes nothing but strings, lists and tables
    except (yaml.YAMLError, RecursionError, ValueError):
        return None


def table(document: object, *keys: str) -> dict[str, Any]:
    """A table by its path; empty where there is none."""
    found = document
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, dict) else {}


def strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
