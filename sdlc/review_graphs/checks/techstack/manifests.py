"""The dependencies that base and head declare, and what the change does to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from sdlc.review_graphs.checks.base import ChangedPath, Tree, Trees
from sdlc.review_graphs.checks.techstack.declared import Dependency, Ecosystem, Manifest
from sdlc.review_graphs.checks.techstack.other_manifests import read_cargo, read_go_mod, read_package_json
from sdlc.review_graphs.checks.techstack.pyproject import read_pipfile, read_pyproject
from sdlc.review_graphs.checks.techstack.requirements import is_requirements, read_requirements
from sdlc.review_graphs.checks.techstack.setuptools_files import read_setup_cfg, read_setup_py

_READERS: dict[str, Callable[[str, str], Manifest]] = {
    "pyproject.toml": read_pyproject,
    "Pipfile": read_pipfile,
    "setup.cfg": read_setup_cfg,
    "setup.py": read_setup_py,
    "package.json": read_package_json,
    "Cargo.toml": read_cargo,
    "go.mod": read_go_mod,
}
_DATA = re.compile(
    r"(^|/)(fixtures?|__fixtures__|testdata|test[-_]data|templates?|cookiecutter[^/]*|vendor|_vendor|vendored|third[-_]party"
    r"|node_modules|site-packages|[^/]*\{[{%][^/]*)/"
)


def is_manifest(path: str) -> bool:
    """Is it a file that declares dependencies of the project, and not one that tests or templates use as data?"""
    return (path.rpartition("/")[2] in _READERS or is_requirements(path)) and not _DATA.search(path)


def ecosystem_of(path: str) -> Ecosystem:
    name = path.rpartition("/")[2]
    others: dict[str, Ecosystem] = {"package.json": "npm", "Cargo.toml": "cargo", "go.mod": "go"}
    return others.get(name, "python")


@lru_cache(maxsize=64)
def read_manifest(tree: Tree, path: str) -> Manifest | None:
    """One manifest of a tree; None if there is no such file. Bad files are incomplete and never an error."""
    text = tree.text(path)
    if text is None or not is_manifest(path):
        return None
    return _READERS.get(path.rpartition("/")[2], read_requirements)(path, text)


@lru_cache(maxsize=4)
def manifests(tree: Tree) -> tuple[Manifest, ...]:
    """All manifests of a tree."""
    found = (read_manifest(tree, path) for path in tree.paths if is_manifest(path))
    return tuple(manifest for manifest in found if manifest)


@dataclass(frozen=True)
class ChangedManifest:
    """A manifest of the change."""

    file: ChangedPath
    head: Manifest
    base: Manifest | None

    @cached_property
    def new_or_changed(self) -> tuple[tuple[Dependency, Dependency | None], ...]:
        """Declarations that the base does not have so, each with what it has in the same list instead.

        Nothing where the base's file can't be read: then there is nothing to compare with.
        """
        if self.base and not self.base.is_complete and not self.base.dependencies:
            return ()
        before, after = _by_key(self.base), _by_key(self.head)
        found: list[tuple[Dependency, Dependency | None]] = []
        for key, items in after.items():
            known = {_said(old) for old in before.get(key, ())}
            there = {_said(item) for item in items}
            gone = [old for old in before.get(key, ()) if _said(old) not in there]
            found += [(item, gone[0] if gone else None) for item in items if _said(item) not in known]
        return tuple(found)


def _by_key(manifest: Manifest | None) -> dict[tuple[str, str], list[Dependency]]:
    found: dict[tuple[str, str], list[Dependency]] = {}
    for item in manifest.dependencies if manifest else ():
        found.setdefault(item.key, []).append(item)
    return found


def _said(item: Dependency) -> tuple[object, ...]:
    """What a declaration says; its line and the order of its words do not matter."""
    return item.spec.replace(" ", ""), item.source, item.marker, item.hashed


def changed_manifests(trees: Trees) -> Iterator[ChangedManifest]:
    """The manifests that the change touches and leaves standing."""
    for file in trees.files:
        if file.status == "D" or not file.is_text or not is_manifest(file.path):
            continue
        head = read_manifest(trees.head, file.path)
        base = read_manifest(trees.base, file.old_path) if file.old_path else None
        if head:
            yield ChangedManifest(file, head, base)


def names(found: Iterable[Manifest], ecosystem: Ecosystem) -> frozenset[str]:
    """Names of all dependencies that people have chosen."""
    chosen = (one for one in found if one.ecosystem == ecosystem and not one.is_compiled)
    return frozenset(item.name for one in chosen for item in one.dependencies)


def added(trees: Trees) -> Iterator[Dependency]:
    """Dependencies by names that the base declares nowhere, each once, where the change first declares it.

    What a resolver has written is left out: a person chose the others.
    """
    before: dict[Ecosystem, frozenset[str]] = {}
    seen: set[tuple[str, str]] = set()
    for changed in changed_manifests(trees):
        if changed.head.is_compiled:
            continue
        for item, old in changed.new_or_changed:
            if old or item.group == "indirect" or (item.ecosystem, item.name) in seen:
                continue
            if item.ecosystem not in before:
                before[item.ecosystem] = names(manifests(trees.base), item.ecosystem)
            seen.add((item.ecosystem, item.name))
            if item.name not in before[item.ecosystem] and not _own(trees, item):
                yield item


def _own(trees: Trees, item: Dependency) -> bool:
    """A project of the repository itself, such as `-e .` or a member of its workspace."""
    if item.source and item.source.kind == "workspace":
        return True
    return any(one.own_name == item.name for one in manifests(trees.head) if one.ecosystem == item.ecosystem)


def governing(tree: Tree, path: str, ecosystem: Ecosystem) -> list[Manifest]:
    """The manifests that speak for a file: those of its project and of the folders above it.

    Its project is the nearest folder above with a manifest; without one, the whole repository.
    """
    here = [one for one in manifests(tree) if one.ecosystem == ecosystem]
    projects = {one.folder for one in here if not is_requirements(one.path) and one.declares}
    folders = ["/".join(path.split("/")[:depth]) for depth in range(path.count("/"), -1, -1)]
    nearest = next((folder for folder in folders if folder in projects), "")
    inside = f"{nearest}/" if nearest else ""
    others = {folder for folder in projects if folder != nearest and folder.startswith(inside)}
    return [
        one
        for one in here
        if one.folder in folders
        or (
            one.folder.startswith(inside) and not any(one.folder == o or one.folder.startswith(f"{o}/") for o in others)
        )
    ]
