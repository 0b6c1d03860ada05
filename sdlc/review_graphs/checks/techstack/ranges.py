"""What a range of versions accepts, whichever ecosystem's words it is written in."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from sdlc.review_graphs.checks.techstack.declared import Dependency, Dialect

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_VERSION = r"v?(\d+(?:\.\d+)*(?:[-.+]?[A-Za-z][0-9A-Za-z.+-]*|[-+][0-9A-Za-z.+-]+)?)"
_PART = re.compile(rf"(\^|~=|~>|~|>=|<=|===|==|!=|>|<|=)?\s*{_VERSION}((?:\.[xX*])*)")
LONGEST_SPEC = 400
"""Characters. A longer one is no range that a person wrote."""
_ANY = frozenset({"", "*", "x", "X", "latest", "any"})


@lru_cache(maxsize=4_096)
def alternatives(spec: str, dialect: Dialect) -> tuple[SpecifierSet, ...] | None:
    """The sets of which one has to accept a version; None for what can't be understood, such as a tag."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if len(spec) > LONGEST_SPEC:
        return None
    try:
        if dialect == "pep440":
            return (SpecifierSet(spec),)
        return tuple(SpecifierSet(_translated(part.strip(), dialect)) for part in re.split(r"\|\|?", spec))
    except (InvalidSpecifier, ValueError):
        return None


def of(dependency: Dependency) -> tuple[SpecifierSet, ...] | None:
    """Of a dependency that has no source of its own."""
    return None if dependency.source else alternatives(dependency.spec, dependency.dialect)


def accepts(spec: str, dialect: Dialect, version: str) -> bool:
    """Does a range accept a version? True for what can't be understood."""
    from packaging.version import InvalidVersion, Version

    sets = alternatives(spec, dialect)
    try:
        parsed = Version(_pep440(version[:LONGEST_SPEC]))
    except InvalidVersion:
        return True
    return sets is None or any(one.contains(parsed, prereleases=True) for one in sets)


def has_lower(sets: tuple[SpecifierSet, ...]) -> bool:
    return all(any(part.operator in (">", ">=", "==", "===", "~=") for part in one) for one in sets)


def has_upper(sets: tuple[SpecifierSet, ...]) -> bool:
    return all(any(part.operator in ("<", "<=", "==", "===", "~=") for part in one) for one in sets)


def is_pin(sets: tuple[SpecifierSet, ...]) -> bool:
    """Does it accept one version only?"""
    return all(any(part.operator in ("==", "===") and not part.version.endswith(".*") for part in one) for one in sets)


def prerelease(sets: tuple[SpecifierSet, ...]) -> str:
    """The first pre-release that a lower bound or pin names; empty if none does."""
    from packaging.version import InvalidVersion, Version

    for one in sets:
        for part in one:
            if part.operator in (">", ">=", "==", "===", "~=") and not part.version.endswith(".*"):
                try:
                    if Version(part.version).is_prerelease:
                        return part.version
                except InvalidVersion:
                    continue
    return ""


def lowest(spec: str, dialect: Dialect) -> tuple[int, int] | None:
    """The oldest major and minor version that a range lets in by its lower bounds; None if it has none."""
    sets = alternatives(spec, dialect)
    if not sets:
        return None
    found: list[tuple[int, int]] = []
    for one in sets:
        bounds = [
            (release[0], release[1] if len(release) > 1 else 0)
            for part in one
            if part.operator in (">", ">=", "==", "~=") and (release := _release(part.version))
        ]
        if not bounds:
            return None
        found.append(max(bounds))
    return min(found)


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _translated(spec: str, dialect: Dialect) -> str:
    """In the words of PEP 440. Raises ValueError for what is no range."""
    if spec in _ANY:
        return ""
    hyphen = re.fullmatch(rf"{_VERSION}\s+-\s+{_VERSION}", spec)
    if hyphen:
        return f">={_pep440(hyphen[1])},<={_pep440(hyphen[2])}"
    found: list[str] = []
    rest = spec
    while rest:
        match = _PART.match(rest)
        if not match:
            raise ValueError(spec)
        found.append(_part(match[1] or "", match[2], bool(match[3]), dialect))
        rest = rest[match.end() :].lstrip(" \t\n,")
    return ",".join(found)


def _part(operator: str, version: str, is_open: bool, dialect: Dialect) -> str:
    release = _release(version)
    plain = _pep440(version)
    if not operator and dialect == "cargo" and not is_open:
        operator = "^"
    if operator == "^":
        # The first part that is not zero may not change; without one, the last that is written.
        index = next((number for number, part in enumerate(release) if part), len(release) - 1)
        return f">={plain},<{_next(release, index)}"
    if operator in ("~", "~>") or (operator == "~=" and len(release) < 2):
        return f">={plain},<{_next(release, min(1, len(release) - 1))}"
    if operator in ("", "=", "==") and (is_open or (dialect == "npm" and len(release) < 3)):
        return f"=={'.'.join(map(str, release))}.*"
    if operator == "!=" and is_open:
        return f"!={plain}.*"
    return f"{'==' if operator in ('', '=') else operator}{plain}"


def _next(release: tuple[int, ...], index: int) -> str:
    return ".".join(map(str, (*release[:index], release[index] + 1)))


def _pep440(version: str) -> str:
    """`1.2.3-beta.4` as `1.2.3b4`: the pre-releases of semantic versions."""
    plain = version.removeprefix("v").partition("+")[0]
    base, dash, tail = plain.partition("-")
    if not dash:
        return plain
    match = re.match(r"(alpha|beta|rc|a|b|dev|next|canary|pre|preview)[.-]?(\d*)", tail)
    letter = {"alpha": "a", "beta": "b", "a": "a", "b": "b"}.get(match[1], "rc") if match else "a"
    return f"{base}{letter}{match[2] or 0 if match else 0}"
