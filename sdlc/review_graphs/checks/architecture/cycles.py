"""Import cycles that a change closes, and packages that can't be imported any more because of one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdlc.review_graphs.checks.architecture.graphs import import_graph
from sdlc.review_graphs.checks.architecture.loading import HalfLoaded, failure_of
from sdlc.review_graphs.checks.architecture.modules import Package, layout_of
from sdlc.review_graphs.checks.architecture.syntax import (
    AnyImport,
    added_import_line,
    import_statements,
    imports_on_import,
    parsed,
)
from sdlc.review_graphs.checks.base import ChangedPath, Level, Raised, Tree, Trees, is_test

if TYPE_CHECKING:
    from grimp import ImportGraph

LONGEST_CHAIN = 140
"""Characters of a cycle's modules in a message."""
MOST_TRIED = 10
"""Packages of one cycle whose loading is gone through."""

Import = tuple[str, str]
"""Importer and imported."""


@dataclass(frozen=True)
class _Edge:
    """An import on a line that the change adds or modifies."""

    importer: str
    imported: str
    file: ChangedPath
    line: int


class ImportCycles:
    """Modules that import one another while they load, and did not on the base.

    Imports in functions and for type checkers alone are the usual way out and don't count. What a module takes from
    a package that it is in does not count either, unless that can't work.
    """

    name = "import-cycles"
    required = True

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py") and not is_test(path)

    def run(self, trees: Trees) -> Iterator[Raised]:
        touched = {path: lines for path, lines in self._touched(trees) if lines}
        if not touched:
            return
        head, base = layout_of(trees.head), layout_of(trees.base)
        for key, packages in head.groups.items():
            if any(path in touched for package in packages for path in package.modules.values()):
                before = base.groups.get(key) or base.groups.get("", ())
                yield from _Comparison(trees, packages, before).run(touched)

    def _touched(self, trees: Trees) -> Iterator[tuple[str, dict[int, AnyImport]]]:
        """The import statements of which the change adds or modifies a line, by path and their first line."""
        for file in trees.present:
            if self.looks_at(file.path) and (module := parsed(trees.head, file.path)) is not None:
                statements = import_statements(module)
                yield (
                    file.path,
                    {at: line for at, line in statements.items() if file.has_added(at, line.end_lineno or at)},
                )


class _Comparison:
    def __init__(self, trees: Trees, packages: Sequence[Package], before: Sequence[Package]) -> None:
        self._trees = trees
        self._head, self._base = _OnLoad(trees.head, packages), _OnLoad(trees.base, before)

    def run(self, touched: dict[str, dict[int, AnyImport]]) -> Iterator[Raised]:
        edges = sorted(self._edges(touched), key=lambda edge: (edge.file.path, edge.line, edge.imported))
        new = [edge for edge in edges if not _is_inside(edge) and not self._was(edge)]
        told: list[set[str]] = []
        # First those that close a way that is there without the change; then what only the change as a whole closes.
        for others in (frozenset((edge.importer, edge.imported) for edge in new), frozenset[Import]()):
            for edge in new:
                cut = (others | self._head.cut) - {(edge.importer, edge.imported)}
                back = self._head.way(edge.imported, edge.importer, cut)
                if back is None or (edge.importer, edge.imported) in self._head.cut:
                    continue
                cycle = [edge.importer, *back]
                if self._was_cycle(set(cycle)):
                    continue
                self._head.cut.add((edge.importer, edge.imported))
                if not any(one <= set(cycle) for one in told):
                    told.append(set(cycle))
                    yield self._raised(edge, cycle)
        yield from self._half_loaded(edges, told)

    def _edges(self, touched: dict[str, dict[int, AnyImport]]) -> Iterator[_Edge]:
        for path, statements in touched.items():
            importer = self._head.name_of.get(path)
            file = self._trees.file(path)
            if importer is None or file is None:
                continue
            for imported in sorted(self._head.imported_by(importer, inside=True) - {importer}):
                lines = [
                    line
                    for at in self._head.lines(importer, imported)
                    if at in statements and (line := added_import_line(file, statements[at], imported))
                ]
                if lines:
                    yield _Edge(importer, imported, file, min(lines))

    def _raised(self, edge: _Edge, cycle: Sequence[str]) -> Raised:
        failures = [self._failure(module, cycle) for module in cycle[:-1]]
        if failure := next((failure for failure in failures if failure is not None), None):
            return _cannot(edge, cycle[failures.index(failure)], failure, always=None not in failures)
        message = (
            f"Closes a cycle of imports: {_chain(cycle)}. None of these modules can be loaded, tested or moved without "
            "the others any more; put what they share into a module of its own, or import it in the function that "
            "needs it."
        )
        return Raised("new-cycle", edge.file.path, edge.line, "major", message)

    def _failure(self, module: str, cycle: Sequence[str]) -> HalfLoaded | None:
        """Why a module of a cycle can't be imported any more, if it is because of the cycle."""
        failure = failure_of(self._trees.head, self._head.path_of, module)
        is_of_it = failure is not None and {failure.asking, failure.asked} <= set(cycle)
        return failure if is_of_it and self._could_be_imported(module) else None

    def _half_loaded(self, edges: Sequence[_Edge], told: Sequence[set[str]]) -> Iterator[Raised]:
        """Imports from a package by its own modules are common and mostly work; here are those that can't."""
        seen: set[str] = set()
        for edge in edges:
            back = self._head.way(edge.imported, edge.importer, inside=True)
            if back is None or any({edge.importer, edge.imported} <= cycle for cycle in told):
                continue
            packages = {one for one in back for other in back if _is_above(one, other)} - seen
            for package in sorted(packages)[:MOST_TRIED]:
                seen.add(package)
                failure = failure_of(self._trees.head, self._head.path_of, package)
                if failure and self._could_be_imported(package):
                    yield _cannot(edge, package, failure, always=True)

    def _was(self, edge: _Edge) -> bool:
        importer, imported = self._before(edge.importer), self._before(edge.imported)
        return importer is not None and imported in self._base.imported_by(importer)

    def _was_cycle(self, cycle: set[str]) -> bool:
        """Has the base this cycle, if not by way of the same modules?"""
        stayed = {name for name in map(self._before, cycle) if name is not None}
        here = {name for name in map(self._before, self._head.path_of) if name is not None}
        if len(stayed) > 1:
            return self._base.are_together(stayed)
        gone = set(self._base.path_of) - here
        # A module that was split up or moved takes the cycle that it was in with it.
        return any(self._base.is_in_cycle({one, *stayed}) for one in gone)

    def _before(self, module: str) -> str | None:
        """The name that a module of the head has on the base; None for a new one."""
        path = self._head.path_of.get(module, "")
        file = self._trees.file(path)
        return self._base.name_of.get(file.old_path if file else path)

    def _could_be_imported(self, module: str) -> bool:
        """Could the module be imported on the base, or is it new?"""
        before = self._before(module)
        return before is None or failure_of(self._trees.base, self._base.path_of, before) is None


class _OnLoad:
    """Who loads whom: imports that run when a module is imported."""

    def __init__(self, tree: Tree, packages: Sequence[Package]) -> None:
        self._tree = tree
        self.path_of = {name: path for package in packages for name, path in package.modules.items()}
        self.name_of = {path: name for name, path in self.path_of.items()}
        self.cut: set[Import] = set()
        self._graph: ImportGraph | None = (
            import_graph(tree, packages, wanted=lambda path: not is_test(path)) if packages else None
        )
        self._imported: dict[str, frozenset[str]] = {}

    def lines(self, importer: str, imported: str) -> list[int]:
        """The first lines of the statements by which one loads the other."""
        if self._graph is None:
            return []
        found = self._graph.get_import_details(importer=importer, imported=imported)
        lines = sorted({detail["line_number"] for detail in found if not detail["is_lazy"]})
        running = imports_on_import(self._tree, self.path_of.get(importer, ""))
        return lines if running is None else [line for line in lines if line in running]

    def imported_by(self, module: str, *, inside: bool = False) -> frozenset[str]:
        """What a module loads; packages that it is in only with `inside`: they are loaded before it anyway."""
        if module not in self._imported:
            graph = self._graph
            every = graph.find_modules_directly_imported_by(module) if graph and module in graph.modules else ()
            self._imported[module] = frozenset(name for name in every if self.lines(module, name))
        found = self._imported[module]
        return found if inside else frozenset(name for name in found if not _is_above(name, module))

    def way(self, start: str, end: str, cut: Set[Import] = frozenset(), *, inside: bool = False) -> list[str] | None:
        """The shortest chain of imports from one module to another, both of them named; None if there is none."""
        came_from = {start: ""}
        queue = deque([start])
        while queue:
            module = queue.popleft()
            if module == end:
                chain = [module]
                while came_from[chain[0]]:
                    chain.insert(0, came_from[chain[0]])
                return chain
            for name in sorted(self.imported_by(module, inside=inside)):
                if name not in came_from and (module, name) not in cut:
                    came_from[name] = module
                    queue.append(name)
        return None

    def are_together(self, modules: set[str]) -> bool:
        """Are all of them in one cycle?"""
        first, *rest = sorted(modules)
        return all(self.way(first, one) and self.way(one, first) for one in rest)

    def is_in_cycle(self, modules: set[str]) -> bool:
        """Are they in one cycle; is a single one in any?"""
        if len(modules) > 1:
            return self.are_together(modules)
        return any(self.way(name, module) for module in modules for name in self.imported_by(module))


def _is_above(package: str, module: str) -> bool:
    return module.startswith(f"{package}.")


def _is_inside(edge: _Edge) -> bool:
    return _is_above(edge.imported, edge.importer)


def _cannot(edge: _Edge, module: str, failure: HalfLoaded, *, always: bool) -> Raised:
    level: Level = "blocker" if always else "major"
    message = (
        f"`import {module}` fails with ImportError: `{failure.asking}` takes `{failure.name}` from `{failure.asked}`, "
        f"which imports it before `{failure.name}` is there. Put `{failure.name}` into a module of its own, or import "
        "it in the function that needs it."
    )
    return Raised("import-fails", edge.file.path, edge.line, level, message)


def _chain(cycle: Sequence[str]) -> str:
    """As many of its modules as fit; the first, the second and the last are always among them."""
    shown = [f"`{name}`" for name in cycle]
    while len(" → ".join(shown)) > LONGEST_CHAIN and len(shown) > 3:
        shown = [*shown[:-3], "…", shown[-1]] if "…" not in shown else [*shown[:-3], *shown[-2:]]
    return " → ".join(shown)
