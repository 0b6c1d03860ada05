"""What a repository offers to code outside of it, and what it says about taking some of that back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from sdlc.review_graphs.checks.architecture.metadata import pyproject, table
from sdlc.review_graphs.checks.architecture.modules import is_package
from sdlc.review_graphs.checks.architecture.names import Names
from sdlc.review_graphs.checks.base import Tree, Trees, is_test

_NOT_SHIPPED = re.compile(
    r"^(benchmarks?|ci|demos?|docs?|examples?|samples?|scripts?|tools?|tutorials?)$|(^|_)tests?(_|$)", re.IGNORECASE
)
_APPLICATION = frozenset({"Dockerfile", "docker-compose.yml", "compose.yaml", "manage.py", "Procfile"})
SHORTEST_CONSTANT = 2
"""Characters. Shorter ones are type variables."""
_SAYS_CHANGES = re.compile(r"chang|histor|news|release|migrat|upgrad|breaking", re.IGNORECASE)
_DEPRECATED = re.compile(r"deprecat", re.IGNORECASE)


class Surface:
    """The public names of the packages of a tree, as far as they are meant for others.

    A package that exports names at its top (`__all__`, or imports in `__init__.py`) offers these and what they are
    made of. One that does not is a library only if nothing says that it is an application: then all names without an
    underscore count.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._known: dict[str, dict[str, str]] = {}

    def has(self, module: str, name: str = "", *, is_value: bool = False) -> bool:
        """Is a name of a module, such as `total` or `Cart.add`, or the module itself, meant for others?

        `is_value`: it is neither function nor class. Of these only constants are, if nothing says more.
        """
        top = module.partition(".")[0]
        path = self._names.layout.path_of.get(module, "")
        if not path or not self._is_shipped(path) or not _is_open(name):
            return False
        own, first = f"{module}.{name.partition('.')[0]}" if name else module, name.partition(".")[0]
        names = self._exported(top)
        exported = {*names, *names.values()}
        bound = self._names.of(module)
        is_own = bound is None or first not in bound.imported
        if own in exported or (name and module in exported and is_own and not first.startswith("_")):
            return True
        if is_value and not (name.isupper() and len(name) > SHORTEST_CONSTANT):
            return False
        if exported or any(part.startswith("_") for part in module.split(".")):
            return False
        if name and bound and bound.exports is not None:
            return first in bound.exports and self._is_library
        return is_own and self._is_library

    def _is_shipped(self, path: str) -> bool:
        """Is a file part of what is installed, as far as names and places tell?"""
        folders = path.split("/")[:-1]
        if is_test(path) or any(_NOT_SHIPPED.search(folder) for folder in folders) or not self._has_metadata:
            return False
        is_beside_the_sources = self._has_sources and "src" not in folders
        return (
            f"{'/'.join(folders)}/__init__.py".lstrip("/") in self._names.layout.name_of and not is_beside_the_sources
        )

    @cached_property
    def _has_sources(self) -> bool:
        return any(package.root == "src" for package in self._names.layout.packages)

    def only_exported_as(self, dotted: str) -> frozenset[str]:
        """The names by which others are to have it, if not by the one where it is defined."""
        exported = self._exported(dotted.partition(".")[0])
        module = dotted.rpartition(".")[0]
        names = {name for name, behind in exported.items() if behind == dotted}
        return frozenset() if dotted in names or module in exported.values() else frozenset(names)

    def _exported(self, top: str) -> dict[str, str]:
        """What a top-level package and those in it export: the name there → where that is defined."""
        if top not in self._known:
            found = {name: to for name, to in self._exported_by(top) if not name.rpartition(".")[2].startswith("__")}
            for module in list(self._names.layout.path_of) if found else ():
                path = self._names.layout.path_of[module]
                is_open = module.startswith(f"{top}.") and not any(part.startswith("_") for part in module.split("."))
                if is_open and self._is_shipped(path):
                    text = self._names.tree.text(path) or ""
                    found |= dict(self._exported_by(module)) if is_package(path) or "__all__" in text else {}
            self._known[top] = found
        return self._known[top]

    def _exported_by(self, module: str) -> Iterator[tuple[str, str]]:
        bound = self._names.of(module)
        if bound is None:
            return
        top = module.partition(".")[0]
        inside = {name for name, behind in bound.imported.items() if f"{behind}.".startswith(f"{top}.")}
        own = {name for name in bound.defined if inside and not name.startswith("_")}
        exported = {name for name in inside | own if not name.startswith("_")}
        for name in exported if bound.exports is None else bound.exports:
            yield f"{module}.{name}", self._names.lead(f"{module}.{name}")

    @cached_property
    def _pyproject(self) -> Mapping[str, Any]:
        return pyproject(self._names.tree)

    @cached_property
    def _has_metadata(self) -> bool:
        project = self._pyproject
        in_setup = "setup.py" in self._names.tree.paths or "[metadata]" in (self._names.tree.text("setup.cfg") or "")
        return in_setup or "project" in project or "poetry" in table(project, "tool")

    @cached_property
    def _is_library(self) -> bool:
        """For a package that does not say by exports what it offers."""
        project = self._pyproject
        is_built = "build-system" in project or "setup.py" in self._names.tree.paths
        has_commands = bool(
            table(project, "project").get("scripts")
            or table(project, "tool", "poetry").get("scripts")
            or "console_scripts" in (self._names.tree.text("setup.cfg") or "")
            or "console_scripts" in (self._names.tree.text("setup.py") or "")
        )
        return is_built and not has_commands and not _APPLICATION.intersection(self._names.tree.paths)


class Announcements:
    """What a change says itself about what it takes back, so that nobody need say it again."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees

    def covers(self, name: str, node: ast.AST | None, path: str) -> bool:
        """Is a name of the base mentioned in the change's news, deprecated on the base, or of an earlier version?"""
        return (
            self._is_new_version
            or self._is_deprecated(node, path)
            or bool(re.search(rf"\b{re.escape(name)}\b", self._news))
        )

    @cached_property
    def _news(self) -> str:
        added: list[str] = []
        for file in self._trees.present:
            if _SAYS_CHANGES.search(file.path) and not file.path.endswith(".py"):
                lines = (self._trees.head.text(file.path) or "").split("\n")
                added += [line for number, line in enumerate(lines, 1) if file.has_added(number)]
        return "\n".join(added)

    @cached_property
    def _is_new_version(self) -> bool:
        """Does the change raise the number of the version that promises nothing to users of the last?"""
        before, now = _major(self._trees.base), _major(self._trees.head)
        return before is not None and now is not None and now > before

    def _is_deprecated(self, node: ast.AST | None, path: str) -> bool:
        lines = (self._trees.base.text(path) or "").split("\n")
        if not isinstance(node, ast.stmt):
            return False
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        # A comment or a list of names above an attribute says it as well.
        return bool(_DEPRECATED.search("\n".join(lines[max(first - 2, 0) : node.end_lineno])))


def _major(tree: Tree) -> tuple[int, ...] | None:
    """What a version promises to keep: `2` of 2.3.4, `0, 3` of 0.3.4."""
    loaded = pyproject(tree)
    version = table(loaded, "project").get("version") or table(loaded, "tool", "poetry").get("version")
    numbers = re.match(r"(\d+)(?:\.(\d+))?", version) if isinstance(version, str) else None
    if numbers is None:
        return None
    major, minor = int(numbers[1]), int(numbers[2] or 0)
    return (major,) if major else (0, minor)


def _is_open(name: str) -> bool:
    """Has no part of a dotted name an underscore in front of it, but for the methods that Python calls?"""
    return not any(
        part.startswith("_") and not (part.startswith("__") and part.endswith("__")) for part in name.split(".")
    )
