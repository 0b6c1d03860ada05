"""Commands and plug-ins that a project declares: what they start must be there, and people call them by their names."""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sdlc.review_graphs.checks.architecture.metadata import pyproject, table
from sdlc.review_graphs.checks.architecture.modules import parents
from sdlc.review_graphs.checks.architecture.names import Names
from sdlc.review_graphs.checks.architecture.places import line_on_head
from sdlc.review_graphs.checks.architecture.surface import Announcements
from sdlc.review_graphs.checks.base import Raised, Tree, Trees

_FILES = frozenset({"pyproject.toml", "setup.cfg"})
_COMMANDS = frozenset({"console_scripts", "gui_scripts"})


@dataclass(frozen=True)
class _EntryPoint:
    file: str
    group: str
    name: str
    target: str

    @property
    def called(self) -> str:
        return f"command `{self.name}`" if self.group in _COMMANDS else f"entry point `{self.name}` of `{self.group}`"


class EntryPoints:
    """Entry points that lead to nothing since the change, and commands that it takes away."""

    name = "entry-points"
    required = True

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py") or path.rpartition("/")[2] in _FILES

    def run(self, trees: Trees) -> Iterator[Raised]:
        if not any(self.looks_at(path) for file in trees.files for path in (file.path, file.old_path)):
            return
        head, base = Names(trees.head), Names(trees.base)
        now, before = _entry_points(trees.head), _entry_points(trees.base)
        for point in now:
            if _is_missing(head, point.target) and not (point in before and _is_missing(base, point.target)):
                yield from _missing(trees, base, point)
        yield from _gone(trees, now, before)


def _missing(trees: Trees, base: Names, point: _EntryPoint) -> Iterator[Raised]:
    module = point.target.partition(":")[0].strip()
    lost = base.layout.path_of.get(module, "")
    declared = _line_of(trees.head, point)
    declaring = trees.file(point.file)
    losing = next((file for file in trees.files if lost and lost in (file.old_path, file.path)), None)
    if declaring is not None and (losing is None or declaring.has_added(declared)):
        place = point.file, declared
    elif losing is not None:
        place = losing.path, losing.first_added
    else:
        return
    message = (
        f"The {point.called} in `{point.file}` starts `{point.target}`, which is not there: it fails wherever it is "
        "installed. Name what it should start, or take it out."
    )
    yield Raised("target-missing", *place, "major", message)


def _gone(trees: Trees, now: list[_EntryPoint], before: list[_EntryPoint]) -> Iterator[Raised]:
    announced = Announcements(trees)
    names = {point.name for point in now}
    for point in before:
        file = trees.file(point.file)
        if point.group not in _COMMANDS or point.name in names or file is None or _is_elsewhere(trees.head, file.path):
            continue
        if not announced.covers(point.name, None, ""):
            message = (
                f"The {point.called} is gone: scripts and people that call it get “command not found” after the "
                "update. Keep it as a second name for a release, or say so in the changelog."
            )
            line = line_on_head(trees, file, _line_of(trees.base, point))
            yield Raised("command-removed", file.path, line, "minor", message)


def _entry_points(tree: Tree) -> list[_EntryPoint]:
    found: list[_EntryPoint] = []
    for path in tree.paths:
        name = path.rpartition("/")[2]
        if name == "pyproject.toml":
            found += _of_pyproject(path, pyproject(tree, path))
        elif name == "setup.cfg":
            found += _of_setup(path, tree.text(path) or "")
    return found


def _of_pyproject(path: str, loaded: Mapping[str, Any]) -> Iterator[_EntryPoint]:
    project, poetry = table(loaded, "project"), table(table(loaded, "tool"), "poetry")
    groups: dict[str, Mapping[str, Any]] = {**table(project, "entry-points"), **table(poetry, "plugins")}
    groups["console_scripts"] = {**table(project, "scripts"), **table(poetry, "scripts")}
    groups["gui_scripts"] = table(project, "gui-scripts")
    for group, points in groups.items():
        for name, target in points.items() if isinstance(points, dict) else ():
            if isinstance(target, str):
                yield _EntryPoint(path, group, name, target)


def _of_setup(path: str, text: str) -> Iterator[_EntryPoint]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    for group, lines in parser.items("options.entry_points") if parser.has_section("options.entry_points") else ():
        for line in lines.splitlines():
            name, is_one, target = line.partition("=")
            if is_one:
                yield _EntryPoint(path, group, name.strip(), target.strip())


def _is_missing(names: Names, target: str) -> bool:
    """Is it certainly not in the repository, though its package is?"""
    module, _, attribute = target.partition("[")[0].strip().partition(":")
    known = names.layout.path_of
    above = [name for name in parents(module) if name in known]
    if module not in known:
        return bool(above) and not names.offers(above[-1], module.removeprefix(f"{above[-1]}.").partition(".")[0])
    return bool(attribute) and not names.offers(module, attribute.strip().partition(".")[0])


def _is_elsewhere(tree: Tree, path: str) -> bool:
    """May the head declare its commands in a way that is not read here?"""
    folder = path.rpartition("/")[0]
    setup = tree.text(f"{folder}/setup.py" if folder else "setup.py") or ""
    dynamic = table(pyproject(tree, path), "project").get("dynamic", [])
    return "entry_points" in setup or "scripts" in dynamic


def _line_of(tree: Tree, point: _EntryPoint) -> int:
    """The line that declares an entry point; 1 where it is written in an unusual way."""
    lines = enumerate((tree.text(point.file) or "").split("\n"), 1)
    return next((number for number, line in lines if point.name in line and point.target in line), 1)
