"""What lock files hold: for each name the versions, as far as a glance at the text tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from sdlc.review_graphs.checks.base import Tree
from sdlc.review_graphs.checks.techstack.declared import Dependency, Ecosystem, python_name
from sdlc.review_graphs.checks.techstack.documents import read_json, table
from sdlc.review_graphs.checks.techstack.ranges import accepts

LOCKS: dict[str, Ecosystem] = {
    "uv.lock": "python",
    "poetry.lock": "python",
    "pdm.lock": "python",
    "Pipfile.lock": "python",
    "requirements.lock": "python",
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
    "yarn.lock": "npm",
    "pnpm-lock.yaml": "npm",
    "bun.lock": "npm",
    "Cargo.lock": "cargo",
    "go.sum": "go",
}
WRITTEN_BY = {
    "uv.lock": "uv lock",
    "poetry.lock": "poetry lock",
    "pdm.lock": "pdm lock",
    "Pipfile.lock": "pipenv lock",
    "package-lock.json": "npm install",
    "npm-shrinkwrap.json": "npm install",
    "yarn.lock": "yarn install",
    "pnpm-lock.yaml": "pnpm install",
    "bun.lock": "bun install",
    "Cargo.lock": "cargo update --workspace",
    "go.sum": "go mod tidy",
}
"""The command that brings each up to date."""
_OF_MANIFEST = {
    "pyproject.toml": ("uv.lock", "poetry.lock", "pdm.lock"),
    "Pipfile": ("Pipfile.lock",),
    "package.json": ("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock"),
    "Cargo.toml": ("Cargo.lock",),
    "go.mod": ("go.sum",),
}
_PACKAGES = re.compile(r'^name = "([^"\n]+)"\nversion = "([^"\n]+)"', re.MULTILINE)
_NAMES = re.compile(r'^name = "([^"\n]+)"', re.MULTILINE)
_PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*(?:==\s*([^\s;\\#]+)|@)", re.MULTILINE)
_YARN = re.compile(r'^"?((?:@[^/"\s]+/)?[^@"\s]+)@[^\n]*:\n\s+"?version"?:?\s+"?([^"\s]+)', re.MULTILINE)
_PNPM = re.compile(r"""^\s+['"]?/?((?:@[\w.-]+/)?[\w.-]+)[@/](\d[\w.+-]*)[^\n]*:""", re.MULTILINE)
_BUN = re.compile(r'\["((?:@[^/"\s]+/)?[^@"\s]+)@([^"\s]+)"')
_GO_SUM = re.compile(r"^(\S+) (v\S+?)(?:/go\.mod)? h1:", re.MULTILINE)


@dataclass(frozen=True)
class Lock:
    path: str
    ecosystem: Ecosystem
    versions: dict[str, frozenset[str]]
    """By name; without versions where the lock file holds none, as for a project of one's own."""

    def holds(self, dependency: Dependency) -> bool:
        """Has it the dependency, at a version that is accepted?"""
        found = self.versions.get(dependency.name)
        if found is None:
            return False
        if dependency.source or not found:
            return True
        if dependency.dialect == "go":
            return dependency.spec in found
        return any(accepts(dependency.spec, dependency.dialect, version) for version in found)


def lock_beside(tree: Tree, manifest: str) -> Lock | None:
    """The lock file that belongs to a manifest: in its folder, or in one above, as workspaces have it."""
    folder, _, name = manifest.rpartition("/")
    if name.endswith(".in"):
        compiled = f"{folder}/{name[:-3]}.txt".lstrip("/")
        return read_lock(tree, compiled)
    parts = folder.split("/") if folder else []
    for depth in range(len(parts), -1, -1):
        if depth < len(parts) and not _has_members(tree, parts[:depth], name):
            continue
        for lock in _OF_MANIFEST.get(name, ()):
            found = read_lock(tree, "/".join([*parts[:depth], lock]))
            if found:
                return found
    return None


def _has_members(tree: Tree, folder: list[str], manifest: str) -> bool:
    """Does the manifest of a folder above speak of a workspace, whose members share its lock file?"""
    text = tree.text("/".join([*folder, manifest])) or ""
    return "workspace" in text or tree.text("/".join([*folder, "pnpm-workspace.yaml"])) is not None


@lru_cache(maxsize=32)
def read_lock(tree: Tree, path: str) -> Lock | None:
    """A lock file; None if there is none, or if it is too large or another shape than is known."""
    text = tree.text(path)
    if not text:
        return None
    name = path.rpartition("/")[2]
    ecosystem = LOCKS.get(name, "python")
    found: dict[str, set[str]] = {}
    for package, version in _entries(name, text):
        known = python_name(package) if ecosystem == "python" else package
        versions = found.setdefault(known, set())
        if version:
            versions.add(version)
    if not found:
        return None
    return Lock(path, ecosystem, {package: frozenset(versions) for package, versions in found.items()})


def _entries(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Names and versions of a lock file of this name."""
    if name in ("package-lock.json", "npm-shrinkwrap.json"):
        document = read_json(text)
        found = document if isinstance(document, dict) else {}
        for path, about in (*table(found, "packages").items(), *table(found, "dependencies").items()):
            if path and isinstance(about, dict):
                yield path.rpartition("node_modules/")[2], str(about.get("version") or "")
    elif name == "Pipfile.lock":
        document = read_json(text)
        for section in ("default", "develop"):
            for package, about in table(document, section).items():
                version = about.get("version") if isinstance(about, dict) else ""
                yield package, str(version or "").removeprefix("==")
    elif name in ("uv.lock", "poetry.lock", "pdm.lock", "Cargo.lock"):
        for match in _NAMES.finditer(text):
            yield match[1], ""
        yield from (match.groups() for match in _PACKAGES.finditer(text))  # type: ignore[misc]
    else:
        known = {"yarn.lock": _YARN, "pnpm-lock.yaml": _PNPM, "bun.lock": _BUN, "go.sum": _GO_SUM}
        for match in known.get(name, _PINNED).finditer(text):
            yield match[1], match[2] or ""
