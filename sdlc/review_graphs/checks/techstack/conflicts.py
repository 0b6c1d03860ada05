"""What declarations say together: two that exclude each other, one without a hash, a lock file left behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import product
from operator import and_

from sdlc.review_graphs.checks.base import Raised, Trees
from sdlc.review_graphs.checks.techstack import ranges
from sdlc.review_graphs.checks.techstack.declared import Dependency, Manifest
from sdlc.review_graphs.checks.techstack.locks import WRITTEN_BY, Lock, lock_beside
from sdlc.review_graphs.checks.techstack.manifests import ChangedManifest, manifests
from sdlc.review_graphs.checks.techstack.requirements import is_requirements

MOST_OF_ONE_NAME = 20
"""Declarations of one name that are compared with each other."""


def missing_hashes(changed: ChangedManifest) -> Iterator[Raised]:
    """A requirement without a hash among others that have one: pip then refuses the whole file."""
    head = changed.head
    if not is_requirements(head.path) or not any(item.hashed for item in head.dependencies):
        return
    base = changed.base
    if base and base.dependencies and not all(item.hashed for item in base.dependencies):
        return
    for item in head.dependencies:
        if not item.hashed and changed.file.has_added(item.line):
            yield Raised(
                "no-hash",
                item.file,
                item.line,
                "major",
                f"{item.name} has no hash, and the others of this file have: pip then asks for one of every "
                "requirement and installs nothing. Add it (`pip-compile --generate-hashes`, or `pip hash`).",
            )


def contradictions(trees: Trees, changed: ChangedManifest) -> Iterator[Raised]:
    """Declarations that are installed together, and that no version satisfies."""
    wanted = [
        item
        for item, _ in changed.new_or_changed
        if not item.marker and item.kind != "peer" and changed.file.has_added(item.line)
    ]
    beside: dict[str, list[Dependency]] = {}
    for manifest in _together(trees, changed.head) if wanted else ():
        for one in manifest.dependencies:
            if len(found := beside.setdefault(one.name, [])) < MOST_OF_ONE_NAME:
                found.append(one)
    for item in wanted:
        for other in _installed_with(item, beside[item.name]):
            if _exclude_each_other(item, other):
                where = f"line {other.line}" if other.file == item.file else f"{other.file}:{other.line}"
                yield Raised(
                    "contradiction",
                    item.file,
                    item.line,
                    "major",
                    f"{item.name} has to be {item.spec} here and {other.spec} at {where}: no version is both, so that "
                    "nothing can be installed. Let the two agree.",
                )
                break


def _installed_with(item: Dependency, same_name: Iterable[Dependency]) -> Iterator[Dependency]:
    for one in same_name:
        # Two extras need not be installed at once; any of them is installed with the main ones.
        kinds = (one.kind, item.kind)
        at_once = "main" in kinds and (one.file == item.file or "optional" not in kinds)
        if one is not item and not one.marker and (one.group == item.group or at_once):
            yield one


def _together(trees: Trees, manifest: Manifest) -> Iterator[Manifest]:
    """A manifest and those that it includes, or that include it; a package and the requirements beside it."""
    yield manifest
    if manifest.ecosystem != "python":
        return
    for other in manifests(trees.head):
        lists = is_requirements(manifest.path) + is_requirements(other.path)
        beside = lists == 1 and other.folder == manifest.folder
        included = lists == 2 and (manifest.path in _included(other) or other.path in _included(manifest))
        if other.path != manifest.path and other.ecosystem == "python" and (beside or included):
            yield other


def _included(manifest: Manifest) -> set[str]:
    names = [option.value for option in manifest.options if option.name in ("--requirement", "--constraint")]
    return {f"{manifest.folder}/{name.removeprefix('./')}".lstrip("/") for name in names}


def _exclude_each_other(one: Dependency, other: Dependency) -> bool:
    first, second = ranges.of(one), ranges.of(other)
    if not first or not second or not any(map(len, first)) or not any(map(len, second)):
        return False
    return all(reduce(and_, pair).is_unsatisfiable() for pair in product(first, second))


def stale_locks(trees: Trees, changed: ChangedManifest) -> Iterator[Raised]:
    """New or changed declarations that the lock file beside the manifest does not hold."""
    lock = lock_beside(trees.head, changed.head.path)
    if lock is None or lock.ecosystem != changed.head.ecosystem:
        return
    missing = []
    for item, old in changed.new_or_changed:
        if item.kind in ("peer", "build") or (item.source and item.source.kind in ("path", "workspace")):
            continue
        if old and old.spec == item.spec and old.source == item.source:
            continue
        if not lock.holds(item) and _covers(lock, changed, item):
            missing.append(item)
    if not missing:
        return
    first = min(missing, key=lambda item: (not changed.file.has_added(item.line), item.line))
    names = ", ".join(sorted({item.name for item in missing})[:3])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    program = WRITTEN_BY.get(lock.path.rpartition("/")[2], "pip-compile")
    yield Raised(
        "lock-not-updated",
        changed.file.path,
        first.line,
        "major",
        f"{lock.path} does not hold {names}{more} as declared here: an installation from the lock file fails, or goes "
        f"without. Run `{program}` and commit what it writes.",
    )


def _covers(lock: Lock, changed: ChangedManifest, item: Dependency) -> bool:
    """Does the lock file hold what else stands in the list, so that its absence means something?"""
    new = {one.name for one, _ in changed.new_or_changed}
    others = [
        one for one in changed.head.dependencies if one.kind == item.kind and one.name not in new and not one.marker
    ]
    known = [one.name in lock.versions for one in others if not one.source]
    return all(known) and (bool(known) or item.kind == "main")
