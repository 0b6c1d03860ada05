"""Imports from modules of the repository of what is not there: taken away by the change, or never there."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Trees
from sdlc.review_graphs.checks.quality.modules import Modules, bound
from sdlc.review_graphs.checks.quality.sites import Site, sites
from sdlc.review_graphs.checks.quality.source import head_line, parsed, spoken
from sdlc.review_graphs.checks.quality.uses import Mentions


@dataclass(frozen=True)
class Broken:
    """One import that fails, or attribute that is not there."""

    importer: str
    line: int
    module: str
    """The file that the name was in."""
    name: str
    """Empty where the whole module is gone."""
    at_start: bool
    """It fails when the importer is loaded, not only when a function of it runs."""
    is_new: bool
    """The change adds the line."""
    was_there: bool
    """The base had the name."""


class BrokenImports:
    name = "broken-imports"
    required = True

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py")

    def run(self, trees: Trees) -> Iterable[Raised]:
        files = [file for file in trees.files if file.old_path.endswith(".py") or file.path.endswith(".py")]
        names = {name for file in files for name in _gone(trees, file)}
        names |= {_stem(file.old_path) for file in files if file.old_path and file.path != file.old_path}
        names |= {_stem(file.path) for file in files if file.status == "D"}
        importers = {file.path for file in files if file.status != "D"}
        if names:
            mentions = Mentions(trees.head, names, endings=(".py",))
            importers |= {path for name in names for path in mentions.of(name)}
        head, base = Modules(trees.head), Modules(trees.base)
        groups: dict[tuple[str, str], list[Broken]] = {}
        for path in sorted(importers):
            for item in _broken(trees, head, base, path, names):
                groups.setdefault((path if item.is_new else "", f"{item.module}:{item.name}"), []).append(item)
        for items in groups.values():
            finding = _here(items[0]) if items[0].is_new else _elsewhere(trees, items)
            if finding:
                yield finding


def _gone(trees: Trees, file: ChangedPath) -> set[str]:
    if file.status == "D" or file.old_path != file.path:
        return set()
    before, after = bound(trees.before(file)), bound(trees.head.text(file.path))
    return set(before) - set(after) - {"*"} if before is not None and after is not None else set()


def _broken(trees: Trees, head: Modules, base: Modules, importer: str, names: set[str]) -> Iterator[Broken]:
    file = trees.file(importer)
    for site in sites(trees.head.text(importer)):
        if site.around.is_expected_to_fail or site.around.is_for_types or isinstance(site.node, ast.Call):
            continue
        is_near = file is not None and file.has_added(site.node.lineno, site.node.end_lineno or site.node.lineno)
        if not is_near and names.isdisjoint(_named(site.node)):
            continue
        for module, name, line in _asked(head, base, importer, site):
            is_new = file is not None and file.has_added(line)
            was_there = not name or name in (bound(base.tree.text(module)) or ())
            if was_there or (is_new and not name.startswith("__")):
                yield Broken(importer, line, module, name, not site.around.functions, is_new, was_there)


def _named(node: ast.Attribute | ast.ImportFrom | ast.Import) -> set[str]:
    """All names that an import or an attribute says."""
    if isinstance(node, ast.Attribute):
        return {node.attr}
    said = {part for alias in node.names for part in alias.name.split(".")}
    return said | set((node.module or "").split(".")) if isinstance(node, ast.ImportFrom) else said


def _asked(head: Modules, base: Modules, importer: str, site: Site) -> Iterator[tuple[str, str, int]]:
    """(file, name, line) of what a node wants of a module of the repository and does not get; no name for all of it."""
    node = site.node
    if isinstance(node, ast.ImportFrom):
        yield from _imported_from(head, base, importer, node)
    elif isinstance(node, ast.Import):
        for alias in node.names:
            if lost := _lost(head, base, importer, alias.name, 0):
                yield lost, "", alias.lineno
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and isinstance(node.ctx, ast.Load):
        holder = None if site.around.hides(node.value.id) else head.module(importer, node.value.id)
        if holder and not head.is_there(holder, node.attr):
            yield holder, node.attr, node.end_lineno or node.lineno


def _imported_from(head: Modules, base: Modules, importer: str, node: ast.ImportFrom) -> Iterator[tuple[str, str, int]]:
    module = node.module or ""
    now = head.file(module, node.level, importer)
    if not now and (lost := _lost(head, base, importer, module, node.level)):
        yield lost, "", node.lineno
        return
    for alias in node.names:
        if alias.name == "*" or (now and head.is_there(now, alias.name)):
            continue
        inside = f"{module}.{alias.name}" if module else alias.name
        if lost := _lost(head, base, importer, inside, node.level):
            yield lost, "", alias.lineno
        elif now:
            yield now, alias.name, alias.lineno


def _lost(head: Modules, base: Modules, importer: str, module: str, level: int) -> str | None:
    """The file of a module that the base has and the head has not."""
    was = base.file(module, level, importer)
    if was is None:
        return None
    is_there = head.file(module, level, importer) or _is_elsewhere(head, module, level, importer)
    return None if is_there else was


def _is_elsewhere(head: Modules, module: str, level: int, importer: str) -> bool:
    """May the module be there in a form that is not looked into: a folder without `__init__.py`, something compiled?"""
    path = module.replace(".", "/")
    if level:
        folder = "/".join(importer.split("/")[:-level])
        path = "/".join(filter(None, [folder, path]))
    return any(f"/{known}".find(f"/{path}/") >= 0 or f"/{known}".find(f"/{path}.") >= 0 for known in head.tree.paths)


def _stem(path: str) -> str:
    parts = path.removesuffix(".py").split("/")
    return parts[-2] if parts[-1] == "__init__" and len(parts) > 1 else parts[-1]


def _here(item: Broken) -> Raised:
    """The change adds the import."""
    why = "is gone with this change" if item.was_there else "does not exist"
    return Raised(
        rule=_rule(item),
        file=item.importer,
        line=item.line,
        severity="blocker" if item.at_start else "major",
        confidence=0.95,
        message=f"{_said(item)} {why}, so that this {_ends(item)}. Name what is there, or add what is missing.",
    )


def _elsewhere(trees: Trees, items: list[Broken]) -> Raised | None:
    """The change takes away what others import."""
    item = next((one for one in items if one.at_start), items[0])
    places = spoken((f"{one.importer}:{one.line}" for one in items), 2)
    path, line = _where(trees, item)
    if not path:
        return None
    return Raised(
        rule=_rule(item),
        file=path,
        line=line,
        severity="blocker" if item.at_start else "major",
        confidence=0.95,
        message=(
            f"{_said(item)} is gone, and what {places} does with it {_ends(item)}. "
            "Keep the name, or change what uses it."
        ),
    )


def _rule(item: Broken) -> str:
    if not item.name:
        return "module-gone"
    return "name-gone" if item.was_there else "unknown-name"


def _said(item: Broken) -> str:
    return f"`{item.name}` of {item.module}" if item.name else f"The module {item.module}"


def _ends(item: Broken) -> str:
    return "fails as soon as it is imported" if item.at_start else "fails when it gets there"


def _where(trees: Trees, item: Broken) -> tuple[str, int]:
    """The changed file that the name was in, and the line where it was."""
    for file in trees.files:
        if item.module not in (file.path, file.old_path):
            continue
        before, after = trees.before(file), trees.head.text(file.path) if file.status != "D" else None
        if not item.name or before is None or after is None or parsed(before) is None:
            return file.path, file.first_added
        places = (bound(before) or {}).get(item.name, ())
        line = getattr(places[-1].node, "lineno", 1) if places else 1
        return file.path, head_line(before, after, line)
    return "", 0
