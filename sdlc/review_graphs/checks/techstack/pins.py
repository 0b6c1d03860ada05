"""`pins`: versions that a new or changed dependency accepts, where it comes from, and whether the lock file follows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from sdlc.review_graphs.checks.base import Raised, Trees
from sdlc.review_graphs.checks.techstack import ranges
from sdlc.review_graphs.checks.techstack.conflicts import contradictions, missing_hashes, stale_locks
from sdlc.review_graphs.checks.techstack.declared import Dependency, Manifest, Source
from sdlc.review_graphs.checks.techstack.lines import TomlLines
from sdlc.review_graphs.checks.techstack.locks import lock_beside
from sdlc.review_graphs.checks.techstack.manifests import (
    ChangedManifest,
    changed_manifests,
    is_manifest,
    read_manifest,
)
from sdlc.review_graphs.checks.techstack.requirements import is_requirements

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

FEWEST_OTHERS = 2
"""Declarations beside the one in question that have to agree before they count as the custom of the file."""
_PLAIN = re.compile(r"\bhttp://(?!localhost\b|127\.|\[::1\]|0\.0\.0\.0)(?:[^\s/@]*@)?([^\s\"'<>/]+)", re.IGNORECASE)
_INDEX_FILES = re.compile(r"(^|/)(\.npmrc|\.yarnrc(\.yml)?|pip\.conf|pip\.ini|\.pypirc|uv\.toml)$")
_INDEX_TABLES = re.compile(r"(tool\.(uv\.index|poetry\.source|pdm\.source)|source|index)$")
_INDEX_KEYS = re.compile(r"\s*(index|extra-index|default-index)(-url)?s?\s*=|\s*find-links\s*=")


class Pins:
    """Looks at declarations one by one; `conflicts` looks at what they say together."""

    name = "pins"
    required = True

    def looks_at(self, path: str) -> bool:
        return is_manifest(path) or bool(_INDEX_FILES.search(path))

    def run(self, trees: Trees) -> Iterator[Raised]:
        yield from _plain_addresses(trees)
        for changed in changed_manifests(trees):
            yield from missing_hashes(changed)
            yield from contradictions(trees, changed)
            if changed.head.is_compiled:
                continue
            for item, old in changed.new_or_changed:
                if changed.file.has_added(item.line):
                    yield from _about(trees, changed, item, old)
            yield from stale_locks(trees, changed)


def _about(trees: Trees, changed: ChangedManifest, item: Dependency, old: Dependency | None) -> Iterator[Raised]:
    if item.source:
        if not (old and old.source and _is_alike(old.source, item.source)):
            yield from _source(trees, item, item.source)
        return
    sets = ranges.of(item)
    if item.ecosystem == "go" or item.name == changed.head.own_name:
        return
    if sets is None:
        if item.ecosystem == "npm" and re.fullmatch(r"latest|next|beta|canary", item.spec):
            yield _raised("moving", item, f"{item.name} follows the tag `{item.spec}`: {_MOVES}")
        return
    others = _others(changed.head, item)
    before = (ranges.of(old) if old else None) or ()
    if old and not old.source and not any(map(len, before)) and not any(map(len, sets)):
        return  # it took any version before
    if item.ecosystem in ("npm", "cargo") and not any(map(len, sets)) and item.kind not in ("peer", "optional"):
        yield _raised("moving", item, f"{item.name} accepts any version: {_MOVES}")
        return
    yield from _bounds(item, old, others)
    if item.kind == "main" and changed.head.path.endswith("pyproject.toml") and changed.head.is_package:
        yield from _pinned_in_library(item, others, before)
    pre = ranges.prerelease(sets)
    if pre and not ranges.prerelease(before) and not item.name.startswith("opentelemetry"):
        yield _raised(
            "pre-release",
            item,
            f"{item.name} is taken at {pre}, a pre-release: what it offers may still change or go. Take the last "
            "release, or say beside it why not.",
            confidence=0.7,
        )


_MOVES = (
    "tomorrow's installation takes another one than today's, a new major version among them. Give the range that it "
    "was tested with."
)


def _raised(rule: str, item: Dependency, message: str, *, major: bool = False, confidence: float = 1.0) -> Raised:
    return Raised(rule, item.file, item.line, "major" if major else "minor", message, confidence=confidence)


def _others(manifest: Manifest, item: Dependency) -> list[Dependency]:
    """What stands beside it in the same list and comes from an index."""
    return [
        one for one in manifest.dependencies if one.group == item.group and one.name != item.name and not one.source
    ]


def _bounds(item: Dependency, old: Dependency | None, others: list[Dependency]) -> Iterator[Raised]:
    """A bound that the others of the list have, and this one lacks."""
    sets = ranges.of(item)
    known = [found for one in others if (found := ranges.of(one)) is not None]
    if sets is None or len(known) < FEWEST_OTHERS or item.name.startswith("types-") or item.ecosystem != "python":
        return
    if not any(map(len, sets)):
        if _most([found for found in known if any(map(len, found))], known):
            lost = "no longer has a bound" if old and old.spec else "has no bound"
            yield _raised(
                "unbounded",
                item,
                f"{item.name} {lost}, and the others of this list have one: an installation takes whatever version is "
                "there, also one that the code does not work with. Give the range that it was tested with.",
            )
        return
    before = ranges.of(old) if old else None
    if not old or not before or item.kind not in ("main", "optional"):
        return
    for has_bound, which, outcome in (
        (ranges.has_upper, "an upper", "the next major version is installed without anyone having tried it"),
        (ranges.has_lower, "a lower", "a version that is too old for the code is accepted"),
    ):
        if has_bound(before) and not has_bound(sets) and _most([found for found in known if has_bound(found)], known):
            yield _raised(
                "bound-dropped",
                item,
                f"{item.name} no longer has {which} bound (it was {old.spec}), and the others of this list have: "
                f"{outcome}. Keep one.",
                confidence=0.7,
            )


def _most(some: Sequence[object], all_of_them: Sequence[object]) -> bool:
    return len(some) * 5 >= len(all_of_them) * 4


def _pinned_in_library(
    item: Dependency, others: list[Dependency], before: tuple[SpecifierSet, ...]
) -> Iterator[Raised]:
    sets = ranges.of(item)
    known = [found for one in others if (found := ranges.of(one)) is not None and any(map(len, found))]
    if sets is None or not ranges.is_pin(sets) or item.marker or len(known) < FEWEST_OTHERS:
        return
    if not any(map(ranges.is_pin, known)) and not (before and ranges.is_pin(before)):
        yield _raised(
            "pin-in-library",
            item,
            f"{item.name} is pinned to one version in a package that others install: beside anything that needs "
            "another version it can't be installed, and fixes of it never arrive. Give a range, as the others "
            "of this list do.",
        )


def _is_alike(one: Source, other: Source) -> bool:
    """Another address or branch is no other kind of source."""
    return (one.kind, one.is_fixed) == (other.kind, other.is_fixed)


def _source(trees: Trees, item: Dependency, source: Source) -> Iterator[Raised]:
    """A dependency that comes from no index."""
    main = item.kind in ("main", "optional", "peer")
    if source.kind == "workspace" or (item.ecosystem == "go" and not source.where.startswith((".", "/"))):
        return
    lock = lock_beside(trees.head, item.file)
    is_locked = bool(lock and item.name in lock.versions)
    if source.kind == "path":
        if main and _leaves_the_repository(trees, item, source.where):
            yield _raised(
                "local-path",
                item,
                f"{item.name} is taken from a path that is not part of the repository: on any other machine there is "
                "nothing to install. Publish it and name a version, or bring it into the repository.",
                major=True,
            )
    elif source.is_fixed or is_locked:
        if main and source.kind == "git":
            yield _raised(
                "not-from-index",
                item,
                f"{item.name} is taken from a repository instead of an index: a package with such a dependency can't "
                "be published, and what is installed depends on that repository staying there. Name a released "
                "version.",
                confidence=0.7,
            )
    elif main or source.kind == "git":
        yield _raised(
            "moving-source",
            item,
            f"{item.name} is taken from {'a branch' if source.kind == 'git' else 'an address'} that moves: two "
            "installations of the same commit differ. Name a released version, or at least a commit.",
            major=main,
        )


def _leaves_the_repository(trees: Trees, item: Dependency, where: str) -> bool:
    if where.startswith(("/", "~")) or re.match(r"[A-Za-z]:[\\/]", where):
        return "{root" not in where and "${" not in where
    parts: list[str] = item.file.split("/")[:-1]
    for part in where.replace("\\", "/").split("/"):
        if part == "..":
            if not parts:
                return True
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    inside = "/".join(parts)
    return bool(inside) and not any(path == inside or path.startswith(f"{inside}/") for path in trees.head.paths)


def _plain_addresses(trees: Trees) -> Iterator[Raised]:
    """Indexes and packages that are fetched without encryption."""
    for file in trees.files:
        if file.status == "D" or not file.is_text or not (is_manifest(file.path) or _INDEX_FILES.search(file.path)):
            continue
        lines = (trees.head.text(file.path) or "").split("\n")
        fetched = _fetching(trees, file.path)
        for number in sorted(file.added_lines):
            line = lines[number - 1] if number <= len(lines) else ""
            found = _PLAIN.search(line)
            if found and not line.lstrip().startswith(("#", ";", "//")) and fetched(number, line):
                yield Raised(
                    "http",
                    file.path,
                    number,
                    "major",
                    f"Packages are fetched from {found[1]} without encryption: whoever is on the way can put others in "
                    "their place, and these run at installation. Use https.",
                )


def _fetching(trees: Trees, path: str) -> Callable[[int, str], bool]:
    """Is something installed from an address that stands on a line of this file? Many are for people to read."""
    if is_requirements(path):
        return lambda number, line: True
    if _INDEX_FILES.search(path):
        return lambda number, line: "proxy" not in line
    manifest = read_manifest(trees.head, path)
    declared = {item.line for item in manifest.dependencies if item.source} if manifest else set()
    toml = TomlLines(trees.head.text(path) or "") if path.endswith((".toml", "Pipfile")) else None

    def is_fetched(number: int, line: str) -> bool:
        in_table = toml is not None and bool(_INDEX_TABLES.match(toml.table_at(number)))
        return number in declared or in_table or (toml is not None and bool(_INDEX_KEYS.match(line)))

    return is_fetched
