"""Which declared dependency provides a module: what deptry reads from installed packages, told from names alone.

Nothing of the project is installed where checks run. So a name that may be meant counts as meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from sdlc.review_graphs.checks.techstack.declared import Dependency, python_name
from sdlc.review_graphs.checks.techstack.stack_names import (
    DISTRIBUTIONS,
    IN_NAMESPACE,
    NAMESPACES,
    POPULAR_PYTHON,
    WITH,
)

_GENERAL = frozenset(
    {"python", "py", "lib", "client", "sdk", "api", "core", "utils", "common", "tools", "binary", "async"}
)
_STUBS = re.compile(r"^types-|-stubs$")
SHORTEST_PART = 4
"""Characters that two names must share."""


def distributions(module: str) -> tuple[str, ...]:
    """The distributions that are known to have a top-level module; its own name where no other is known."""
    return DISTRIBUTIONS.get(module) or (python_name(module),)


def is_known(module: str) -> bool:
    """Is it certain which distributions have the module?"""
    return module in DISTRIBUTIONS or python_name(module) in POPULAR_PYTHON


def exact(module: str, declared: Iterable[Dependency]) -> list[Dependency]:
    """The dependencies that have the module for certain."""
    wanted = set(distributions(module))
    return [one for one in declared if one.name in wanted]


def likely(module: str, declared: Iterable[Dependency]) -> list[Dependency]:
    """The dependencies that may have the module, by their names."""
    wanted = set(distributions(module))
    return [one for one in declared if one.name in wanted or _may_have(one.name, module)]


def brought(module: str, declared: Iterable[Dependency]) -> str:
    """A dependency whose installation brings the module along; empty if none is known to."""
    return next((one.name for one in declared if module in WITH.get(one.name, ())), "")


@lru_cache(maxsize=8_192)
def _may_have(distribution: str, module: str) -> bool:
    if _STUBS.search(distribution):
        return False
    parts = set(distribution.split("-"))
    words = set(python_name(module).split("-"))
    if python_name(module) in parts or (words & parts) - _GENERAL:
        return True
    if is_known(module):
        return False
    one, other = _squashed(distribution), _squashed(module)
    if module.lower() in NAMESPACES:
        return other in one or distribution in IN_NAMESPACE
    return (
        one == other or (len(other) >= SHORTEST_PART and other in one) or (len(one) >= SHORTEST_PART and one in other)
    )


def _squashed(name: str) -> str:
    return re.sub(r"[-_.]|^py(thon)?-?|-?py(thon)?$", "", name.lower())
