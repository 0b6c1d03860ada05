"""Reading what pytest, coverage and jest are told."""

from __future__ import annotations

import ast
import configparser
import json
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from sdlc.review_graphs.checks.quality.source import parsed, walk

FILES = ("pyproject.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", ".coveragerc")


def sections(name: str, text: str) -> Mapping[str, Mapping[str, Any]]:
    """What pytest and coverage read in a file, as `{"pytest": …, "coverage": …}`; empty where it can't be read."""
    if name == "pyproject.toml":
        try:
            document = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError):
            return {}
        return {
            "pytest": _table(document, "tool", "pytest", "ini_options"),
            "coverage": _table(document, "tool", "coverage", "report"),
        }
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    pytest = "tool:pytest" if name == "setup.cfg" else "pytest"
    coverage = "report" if name == ".coveragerc" else "coverage:report"
    return {
        key: dict(parser.items(section)) if parser.has_section(section) else {}
        for key, section in (("pytest", pytest), ("coverage", coverage))
    }


def jest(text: str) -> Mapping[str, Any] | None:
    """The `jest` entry of a package.json; None if it can't be read."""
    try:
        return _table(json.loads(text), "jest")
    except (ValueError, RecursionError):
        return None


def test_script(text: str) -> str:
    """What `npm test` runs by a package.json; empty if it can't be read."""
    try:
        return str(_table(json.loads(text), "scripts").get("test") or "")
    except (ValueError, RecursionError):
        return ""


def thresholds(of_jest: Mapping[str, Any]) -> dict[str, float]:
    """`{"global.branches": 80, …}`."""
    given = of_jest.get("coverageThreshold")
    return {
        f"{scope}.{name}": float(value)
        for scope, numbers in (given.items() if isinstance(given, dict) else ())
        for name, value in (numbers.items() if isinstance(numbers, dict) else ())
        if isinstance(value, int | float)
    }


def collect_ignored(text: str) -> dict[str, frozenset[str]]:
    """The paths that a conftest.py keeps from being collected, always or under a condition that is not looked at."""
    tree = parsed(text)
    found: dict[str, frozenset[str]] = {}
    for node in tree.body if tree else ():
        match node:
            case ast.Assign(targets=[ast.Name(id=("collect_ignore" | "collect_ignore_glob") as name)], value=value):
                texts = (item.value for item in walk(value) if isinstance(item, ast.Constant))
                found[name] = frozenset(text for text in texts if isinstance(text, str))
    return found


def tokens(value: object) -> list[str]:
    """The words of options or of a command line, quotes taken off."""
    if isinstance(value, list):
        return [str(item) for item in value]
    text = str(value or "")
    try:
        found = shlex.split(text)
    except ValueError:
        found = text.split()
    # A whole command between quotes, as in JSON.
    return [part.rstrip(",") for word in found for part in (word.split() if " -" in word else [word])]


def pairs(of: list[str]) -> Iterator[tuple[str, str]]:
    """(option, value): what stands after `=`, or the next word."""
    for at, token in enumerate(of):
        option, equals, value = token.partition("=")
        if option.startswith("-"):
            yield option, value if equals else next(iter(of[at + 1 : at + 2]), "")


def options(of: list[str]) -> dict[str, str]:
    return dict(pairs(of))


def words(value: object) -> list[str]:
    """A list, or a text with white space between its items."""
    return [str(item) for item in value] if isinstance(value, list) else str(value or "").split()


def number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _table(document: object, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}
