"""The contracts that a repository has with import-linter: imports of the change that break one."""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdlc.review_graphs.checks.architecture.graphs import import_graph
from sdlc.review_graphs.checks.architecture.modules import Package, layout_of
from sdlc.review_graphs.checks.architecture.syntax import added_import_line, import_statements, parsed
from sdlc.review_graphs.checks.base import NotRun, Raised, Tree, Trees

if TYPE_CHECKING:
    from grimp import ImportGraph
    from importlinter import Contract

_CONFIGURATIONS = ("setup.cfg", ".importlinter", "pyproject.toml")
"""In the order in which import-linter looks."""
LONGEST_NAME = 80

Import = tuple[str, str]
"""Importer and imported."""


class Layers:
    """Imports that break a contract of the base, where the base keeps it.

    The base's contracts count, so that a change can't excuse itself; where it loosens a contract for what it does,
    that is said for people to agree.
    """

    name = "layers"
    required = True

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py")

    def run(self, trees: Trees) -> Iterator[Raised]:
        if not any(self.looks_at(file.path) and not file.is_generated for file in trees.files):
            return
        contracts = _contracts(trees.base)
        if contracts is None:
            return
        head, base = contracts.graph(trees.head), contracts.graph(trees.base)
        new = _edges(head) - _edges(base)
        if not new and head.modules <= base.modules:
            return
        yield from _Comparison(trees, contracts, head, base, new).run()


@dataclass(frozen=True)
class _Contracts:
    """What a configuration says."""

    file: str
    session: Mapping[str, Any]
    contracts: tuple[Mapping[str, Any], ...]

    def graph(self, tree: Tree) -> ImportGraph:
        roots = self.session["root_packages"]
        return import_graph(
            tree,
            [package for root in ([roots] if isinstance(roots, str) else roots) for package in _packages(tree, root)],
            external=self._says("include_external_packages"),
            type_checking=not self._says("exclude_type_checking_imports"),
        )

    def _says(self, option: str) -> bool:
        return str(self.session.get(option, "")).lower() == "true"

    def alike(self, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The contract that has the name or the id of this one."""
        for key in ("id", "name"):
            for contract in self.contracts:
                if options.get(key) is not None and contract.get(key) == options[key]:
                    return contract
        return None


@dataclass(frozen=True, order=True)
class _Break:
    """An import that a contract does not allow, and between what: itself, or modules further up and down its way."""

    edge: Import
    between: Import

    @property
    def is_direct(self) -> bool:
        return _is_in(self.edge[0], self.between[0]) and _is_in(self.edge[1], self.between[1])


@dataclass(frozen=True)
class _Held:
    breaks: tuple[_Break, ...] = ()
    undeclared: frozenset[str] = frozenset()
    cyclic: frozenset[str] = frozenset()
    """Packages whose children import one another in a circle."""


class _Comparison:
    def __init__(
        self, trees: Trees, contracts: _Contracts, head: ImportGraph, base: ImportGraph, new: set[Import]
    ) -> None:
        self._trees, self._contracts = trees, contracts
        self._head, self._base, self._new = head, base, new
        self._layout = layout_of(trees.head)
        self._now: _Contracts | None = contracts
        if any(file.path in _CONFIGURATIONS for file in trees.files):
            try:
                self._now = _contracts(trees.head)
            except NotRun:
                self._now = None

    def run(self) -> Iterator[Raised]:
        not_run: list[str] = []
        found: list[Raised] = []
        for options in self._contracts.contracts:
            try:
                found += self._broken(options)
            except NotRun as error:
                not_run.append(str(error))
        yield from found
        if not_run and not found:
            raise NotRun("; ".join(not_run))

    def _broken(self, options: Mapping[str, Any]) -> Iterator[Raised]:
        own = self._now is not self._contracts
        now = self._now.alike(options) if own and self._now else None
        try:
            held = _hold(self._contracts, options, self._head)
        except NotRun:
            # The modules that it names may have moved, and the contract with them.
            if now is None or self._now is None:
                raise
            _hold(self._now, now, self._head)
            return
        if held == _Held():
            return
        before = _hold(self._contracts, options, self._base)
        still = held if not own else _Held() if now is None or self._now is None else _hold(self._now, now, self._head)
        for item in sorted(self._new_breaks(held, before)):
            is_loosened = item not in still.breaks and item.between[0] not in still.cyclic
            yield from self._import(options, item, is_loosened=is_loosened)
        for module in sorted((held.undeclared - before.undeclared) & still.undeclared):
            yield from self._undeclared(options, module)

    def _new_breaks(self, held: _Held, before: _Held) -> Iterator[_Break]:
        """One for each import, those of the change alone."""
        new = sorted(
            (item for item in held.breaks if item.edge in self._new), key=lambda item: (not item.is_direct, item)
        )
        found = {item.edge: item for item in reversed(new)}
        for package in held.cyclic - before.cyclic:
            # The contract names imports that would open the circle, and those need not be the new ones.
            if not any(item.between[0] == package for item in found.values()):
                found |= {edge: _Break(edge, (package, package)) for edge in self._closing(package)}
        yield from found.values()

    def _closing(self, package: str) -> Iterator[Import]:
        """The new imports that can't be added to the others without a circle among the children of a package."""
        graph = deepcopy(self._head)
        inside = [edge for edge in sorted(self._new) if _is_in(edge[0], package) and _is_in(edge[1], package)]
        for importer, imported in inside:
            graph.remove_import(importer=importer, imported=imported)
        for importer, imported in inside:
            graph.add_import(importer=importer, imported=imported)
            if graph.nominate_cycle_breakers(package):
                graph.remove_import(importer=importer, imported=imported)
                yield importer, imported

    def _import(self, options: Mapping[str, Any], item: _Break, *, is_loosened: bool) -> Iterator[Raised]:
        place = self._place(*item.edge)
        if place is None:
            return
        importer, imported = item.edge
        what = f"`{importer}` must not import `{imported}`"
        if item.between[0] == item.between[1]:
            what = f"`{importer}` imports `{imported}`, which closes a circle in `{item.between[0]}`"
        elif not item.is_direct:
            what = f"by importing `{imported}`, `{item.between[0]}` now reaches `{item.between[1]}`"
        if is_loosened:
            message = (
                f"The change loosens the contract {self._called(options)} for itself: {what}, as the base has it. "
                "Keep the contract, or let people agree to the new one."
            )
            yield Raised("contract-loosened", *place, "minor", message)
        else:
            message = (
                f"Breaks the contract {self._called(options)}: {what}. `lint-imports` fails; turn the dependency "
                "round, or move what is needed to where both may import it."
            )
            yield Raised("contract-broken", *place, "major", message)

    def _undeclared(self, options: Mapping[str, Any], module: str) -> Iterator[Raised]:
        paths = [path for name, path in sorted(self._layout.path_of.items()) if _is_in(name, module)]
        for file in [file for path in paths if (file := self._trees.file(path))][:1]:
            message = (
                f"`{module}` has no place in the contract {self._called(options)}, which must name every module "
                "there. `lint-imports` fails; add it to the layer that it belongs to."
            )
            yield Raised("layer-missing", file.path, file.first_added, "major", message)

    def _place(self, importer: str, imported: str) -> tuple[str, int] | None:
        """The import of the head, on a line that the change adds if there is one; None if its file is not changed."""
        path = self._layout.path_of.get(importer, "")
        file, module = self._trees.file(path), parsed(self._trees.head, path)
        if file is None or module is None:
            return None
        lines = {
            detail["line_number"] for detail in self._head.get_import_details(importer=importer, imported=imported)
        }
        statements = [line for at, line in sorted(import_statements(module).items()) if at in lines]
        added = [line for one in statements if (line := added_import_line(file, one, imported))]
        return (path, min([*added, *([] if added else lines)])) if lines else None

    def _called(self, options: Mapping[str, Any]) -> str:
        name = str(options.get("name", ""))
        return f"“{name[:LONGEST_NAME]}” of `{self._contracts.file}`"


def _contracts(tree: Tree) -> _Contracts | None:
    """The contracts of a tree; None if it has none."""
    for file in _CONFIGURATIONS:
        text = tree.text(file)
        if text is None or "importlinter" not in text:
            continue
        from importlinter.api import read_configuration

        try:
            read = read_configuration(str(tree.root.absolute() / file))
        except FileNotFoundError:
            continue
        except (
            configparser.Error,
            tomllib.TOMLDecodeError,
            KeyError,
            TypeError,
            AttributeError,
            UnicodeError,
        ) as error:
            raise NotRun(
                f"import-linter can't read `{file}` ({type(error).__name__}); `lint-imports` says why"
            ) from None
        if read["contracts_options"]:
            return _Contracts(file, read["session_options"], tuple(read["contracts_options"]))
    return None


def _hold(contracts: _Contracts, options: Mapping[str, Any], graph: ImportGraph) -> _Held:
    """What is broken of one contract. NotRun where that can't be said."""
    from grimp.exceptions import GrimpException
    from importlinter.domain.contract import InvalidContractOptions

    name = str(options.get("name", ""))[:LONGEST_NAME]
    kind = _types().get(str(options.get("type")))
    if kind is None:
        raise NotRun(f"the contract “{name}” is of a type that only the repository's own code knows; run lint-imports")
    try:
        # An import that a contract excuses and that is no more is none of the change's faults.
        named = dict(options) | ({"unmatched_ignore_imports_alerting": "none"} if "ignore_imports" in options else {})
        held = kind(name, dict(contracts.session), named).check(deepcopy(graph), verbose=False)
    except InvalidContractOptions as error:
        raise NotRun(f"the contract “{name}” is not valid ({', '.join(sorted(error.errors))})") from None
    except (ValueError, GrimpException, KeyError) as error:
        raise NotRun(f"the contract “{name}” can't be held: {error}") from None
    circles = held.metadata.get("cycle_breakers_by_package", {})
    breaks = [_Break(edge, between) for edge, between in _links(held.metadata, None)]
    breaks += [_Break(edge, (package, package)) for package, edges in circles.items() for edge in edges]
    return _Held(tuple(breaks), frozenset(held.metadata.get("undeclared_modules", ())), frozenset(circles))


def _types() -> dict[str, type[Contract]]:
    from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
    from importlinter.contracts.forbidden import ForbiddenContract
    from importlinter.contracts.independence import IndependenceContract
    from importlinter.contracts.layers import LayersContract
    from importlinter.contracts.protected import ProtectedContract

    return {
        "acyclic_siblings": AcyclicSiblingsContract,
        "forbidden": ForbiddenContract,
        "independence": IndependenceContract,
        "layers": LayersContract,
        "protected": ProtectedContract,
    }


def _links(value: object, between: Import | None) -> Iterator[tuple[Import, Import]]:
    """The imports in what a contract tells of its breaks, each with the modules that it should keep apart.

    Each type of contract has its own shape; in all of them an import is a dictionary with these three keys.
    """
    if isinstance(value, dict):
        if {"importer", "imported", "line_numbers"} <= value.keys():
            edge = (str(value["importer"]), str(value["imported"]))
            yield edge, between or edge
            return
        lower = value.get("importer") or value.get("downstream_module")
        upper = value.get("imported") or value.get("upstream_module")
        inner = (str(lower), str(upper)) if lower and upper else between
        for part in value.values():
            yield from _links(part, inner)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _links(part, between)
    elif hasattr(value, "illegal_links"):
        yield from _links(value.illegal_links, between)


def _packages(tree: Tree, root: str) -> Sequence[Package]:
    """What is called so at the top of a tree, or below a namespace of it."""
    found = [
        Package(root, package.root, modules)
        for package in layout_of(tree).packages
        if (modules := {name: path for name, path in package.modules.items() if _is_in(name, root)})
    ]
    if not found:
        raise NotRun(f"import-linter's root package `{root}` is not in the repository; mend the configuration")
    return found


def _edges(graph: ImportGraph) -> set[Import]:
    return {(module, name) for module in graph.modules for name in graph.find_modules_directly_imported_by(module)}


def _is_in(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")
