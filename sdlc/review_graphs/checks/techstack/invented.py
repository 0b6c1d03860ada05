"""`invented`: a new dependency whose name is a slip: of a popular one, of a module, of the standard library."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from sdlc.review_graphs.checks.base import Raised, Trees
from sdlc.review_graphs.checks.techstack.declared import Dependency
from sdlc.review_graphs.checks.techstack.manifests import added, is_manifest
from sdlc.review_graphs.checks.techstack.stack_names import (
    NOT_DISTRIBUTIONS,
    POPULAR_NPM,
    POPULAR_PYTHON,
    REAL,
    words,
)

SHORTEST = 5
"""Letters of a name that is compared with popular ones; of shorter ones too many are one letter apart."""
_NODE_ONLY = words(
    "child_process cluster crypto dgram dns fs http https inspector net os readline tls vm worker_threads zlib"
)
"""Modules of Node under whose names npm has nothing of use. Others are there for browsers."""
_LOOKALIKES = str.maketrans("01", "ol")


class Invented:
    """Compares the names of new dependencies with those that are known."""

    name = "invented"
    required = True

    def looks_at(self, path: str) -> bool:
        return is_manifest(path)

    def run(self, trees: Trees) -> Iterator[Raised]:
        for item in added(trees):
            found = slip(item)
            if found:
                rule, message = found
                confidence = 0.8 if rule == "look-alike" else 1.0
                yield Raised(rule, item.file, item.line, "major", message, confidence=confidence)


def slip(item: Dependency) -> tuple[str, str] | None:
    """The rule and the message of a name that is not what is meant; None for any other."""
    if item.source or item.kind == "build":
        return None
    if item.ecosystem == "python":
        module = item.name.replace("-", "_")
        # With a marker it is a backport for Pythons that do not have the module yet.
        if module in sys.stdlib_module_names and not item.marker:
            return "standard-library", (
                f"`{item.name}` is a module of the standard library; under this name the index has something else, or "
                "an old copy that hides the real module. Take the dependency out."
            )
        meant = NOT_DISTRIBUTIONS.get(item.name)
        if meant:
            return "wrong-name", (
                f"`{item.name}` is not the distribution that has the module of this name: what is installed is "
                f"something else, or nothing. What is meant is {meant}."
            )
        return _look_alike(item.name, POPULAR_PYTHON)
    if item.ecosystem == "npm":
        if item.name in _NODE_ONLY:
            return "standard-library", (
                f"`{item.name}` is a module of Node; the package of this name on npm is something else. Take the "
                "dependency out and import the module."
            )
        return _look_alike(item.name, POPULAR_NPM)
    return None


def _look_alike(name: str, popular: frozenset[str]) -> tuple[str, str] | None:
    if len(name) < SHORTEST or name in popular or name in REAL:
        return None
    near = sorted(other for other in popular if len(other) >= SHORTEST and _is_slip(name, other))
    if not near:
        return None
    return "look-alike", (
        f"`{name}` is one letter away from the well-known `{near[0]}`: a typing mistake, or a name that someone has "
        f"taken because of that mistake. If {near[0]} is meant, write it so."
    )


def _is_slip(name: str, other: str) -> bool:
    """Is a name another one with a letter too many, too few, changed or swapped, or with its separators moved?"""
    if name.replace("-", "").replace(".", "") == other.replace("-", "").replace(".", ""):
        return True
    if name.translate(_LOOKALIKES) == other.translate(_LOOKALIKES):
        return True
    if abs(len(name) - len(other)) > 1 or _only_number(name, other):
        return False
    if len(name) == len(other):
        wrong = [index for index, (one, two) in enumerate(zip(name, other, strict=True)) if one != two]
        if len(wrong) == 2 and wrong[1] == wrong[0] + 1:
            return name[wrong[0]] == other[wrong[1]] and name[wrong[1]] == other[wrong[0]]
        # Of short names many differ in one letter and mean something else.
        return len(wrong) == 1 and len(name) > SHORTEST
    short, long = sorted((name, other), key=len)
    cut = next((index for index in range(len(short)) if short[index] != long[index]), len(short))
    return short[cut:] == long[cut + 1 :]


def _only_number(name: str, other: str) -> bool:
    """Two versions of one name, as `psycopg` and `psycopg2`, are two things that people mean."""
    return name != other and name.rstrip("0123456789-") == other.rstrip("0123456789-")
