"""Which modules a repository has and under what names they import one another.

Nothing is imported to find out, and nothing on `sys.path` is asked: a repository may have packages that are called
like those that we run with. Flat and `src` layout, several projects in one repository, namespace packages, folders
without `__init__.py` and modules that stand alone are known.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

from sdlc.review_graphs.checks.base import Tree

_PROJECT_FILES = frozenset({"pyproject.toml", "setup.py", "setup.cfg"})
_SOURCE_FOLDERS = frozenset({"src", "lib", "python"})
_MOST_READ = 200
"""Files of one folder that are asked what they call it."""


@dataclass(frozen=True)
class Package:
    """What is found under one top-level name in one place: a package, a namespace, or a module that stands alone."""

    name: str
    """Dotted for a package in a namespace that is asked for by itself."""
    root: str
    """The folder that has to be on `sys.path`; empty for that of the repository."""
    modules: Mapping[str, str]
    """Dotted name → path."""

    @property
    def folder(self) -> str:
        """Of the package; of a lone module its path without `.py`."""
        return _joined(self.root, self.name.replace(".", "/"))


@dataclass(frozen=True)
class Layout:
    """The modules of one tree."""

    packages: tuple[Package, ...]
    name_of: Mapping[str, str]
    """Path → dotted name."""
    path_of: Mapping[str, str]
    """Dotted name → path; without the names that two modules of the repository have."""

    @cached_property
    def groups(self) -> dict[str, tuple[Package, ...]]:
        """Packages that can be imported together: one group, and one for each folder whose names others have too."""
        count = Counter(name for package in self.packages for name in package.modules)
        alone = {package.root for package in self.packages if any(count[name] > 1 for name in package.modules)}
        together: dict[str, list[Package]] = defaultdict(list)
        for package in self.packages:
            together[f"/{package.root}" if package.root in alone else ""].append(package)
        return {key: tuple(packages) for key, packages in together.items()}


_layouts: WeakKeyDictionary[Tree, Layout] = WeakKeyDictionary()


def layout_of(tree: Tree) -> Layout:
    """The modules of a tree, looked for once."""
    if tree not in _layouts:
        _layouts[tree] = _found(tree)
    return _layouts[tree]


def _found(tree: Tree) -> Layout:
    files = [path for path in tree.paths if path.endswith(".py")]
    regular = {folder for folder, name in map(_split, files) if name == "__init__.py"}
    projects = {"", *(folder for folder, name in map(_split, tree.paths) if name in _PROJECT_FILES)}
    sources = {_joined(project, name) for project in projects for name in _SOURCE_FOLDERS}
    roots = ((projects | sources) - regular) | {""}
    by_top: dict[str, list[str]] = defaultdict(list)
    for path in files:
        by_top[_top(_split(path)[0], regular, roots)].append(path)
    modules: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    # Of `a.py` and `a/__init__.py` Python takes the latter, which comes later in this order.
    for top, paths in sorted(by_top.items()):
        root = _root(tree, top, paths, roots, is_package=top in regular)
        for path in paths:
            if name := _dotted(path, root):
                modules[root, name.partition(".")[0]][name] = path
    packages = tuple(Package(name, root, found) for (root, name), found in sorted(modules.items()))
    return Layout(
        packages,
        {path: name for package in packages for name, path in package.modules.items()},
        dict(_unambiguous(packages)),
    )


def _top(folder: str, regular: set[str], roots: set[str]) -> str:
    """The highest package of the same project that a folder is in; the folder itself if it is in none."""
    top = above = folder
    while above not in roots:
        if above in regular:
            top = above
        above = _split(above)[0]
    return top


_IMPORTED = re.compile(r"^[ \t]*(?:from|import)[ \t]+([A-Za-z_][\w.]*)", re.MULTILINE)


def _root(tree: Tree, top: str, paths: Sequence[str], roots: set[str], *, is_package: bool) -> str:
    """What must be on `sys.path` for the imports in a package, or in a folder that is none.

    Where the nearest folder that is known to be there is further up, the files are asked what they call one another.
    """
    inner = _split(top)[0] if is_package else top
    outer = inner
    while outer not in roots:
        outer = _split(outer)[0]
    long = _dotted(f"{top}/__init__.py", outer)
    if inner == outer or long is None:
        return inner
    short = {_split(top)[1]} if is_package else {_split(path)[1].removesuffix(".py") for path in paths}
    said = [name for path in paths[:_MOST_READ] for name in _IMPORTED.findall(tree.text(path) or "")]
    votes = sum(name.partition(".")[0] in short for name in said)
    return inner if votes > sum(f"{name}.".startswith(f"{long}.") for name in said) else outer


def parents(name: str) -> tuple[str, ...]:
    """`a.b.c` → `a`, `a.b`: what Python loads first."""
    parts = name.split(".")
    return tuple(".".join(parts[:length]) for length in range(1, len(parts)))


def is_package(path: str) -> bool:
    return path.endswith("__init__.py")


def _unambiguous(packages: Sequence[Package]) -> Iterator[tuple[str, str]]:
    count = Counter(name for package in packages for name in package.modules)
    for package in packages:
        yield from ((name, path) for name, path in package.modules.items() if count[name] == 1)


def _dotted(path: str, root: str) -> str | None:
    """The name of a file's module if `root` is on `sys.path`; None if it can't be imported by a statement."""
    inside = path.removeprefix(f"{root}/") if root else path
    parts = inside.removesuffix(".py").split("/")
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else None


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, name


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
