"""What happens when a module is loaded: in what order others are, and whether one asks for what is not there yet.

A cycle of imports may work, if only the modules themselves are asked for, or if what is taken from a module stands
above the import that leads back to it. Where it can't work, that is certain and can be said.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sdlc.review_graphs.checks.architecture.modules import is_package, parents
from sdlc.review_graphs.checks.architecture.syntax import (
    AnyImport,
    imported_module,
    never_on_import,
    on_import,
    parsed,
    targets,
)
from sdlc.review_graphs.checks.base import Tree

MOST_LOADED = 300
"""Modules that are followed from one import. Beyond that nothing is said."""


@dataclass(frozen=True)
class HalfLoaded:
    """The module `asking` takes `name` from `asked`, which has been left half-way and does not have it yet."""

    asking: str
    line: int
    asked: str
    name: str


def failure_of(tree: Tree, path_of: Mapping[str, str], module: str) -> HalfLoaded | None:
    """Why `import module` must fail in a fresh Python; None if it need not."""
    try:
        _Run(tree, path_of).load(module)
    except _Fails as failure:
        return failure.reason
    except (_TooMany, RecursionError):
        return None
    return None


class _TooMany(Exception):
    pass


class _Fails(Exception):
    def __init__(self, reason: HalfLoaded) -> None:
        super().__init__(reason.name)
        self.reason = reason


class _Run:
    def __init__(self, tree: Tree, path_of: Mapping[str, str]) -> None:
        self._tree, self._path_of = tree, path_of
        self._bound: dict[str, set[str]] = {}
        self._under_way: set[str] = set()
        self._anything: set[str] = set()
        """Modules that may have names which can't be read off."""

    def load(self, module: str) -> None:
        for name in (*parents(module), module):
            path = self._path_of.get(name)
            if name in self._bound or path is None:
                continue
            if len(self._bound) >= MOST_LOADED:
                raise _TooMany
            self._bound[name] = set()
            self._under_way.add(name)
            syntax = parsed(self._tree, path)
            if syntax is None or "globals()" in (self._tree.text(path) or ""):
                self._anything.add(name)
            self._run(name, syntax.body if syntax else [])
            self._under_way.discard(name)
            above, _, own = name.rpartition(".")
            self._bound.get(above, set()).add(own)

    def _run(self, module: str, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            match statement:
                case ast.If():
                    self._try(module, () if never_on_import(statement.test) else statement.body)
                    self._try(module, statement.orelse)
                case ast.ClassDef():
                    self._run(module, [line for line in statement.body if isinstance(line, AnyImport)])
                case ast.Import():
                    for alias in statement.names:
                        self.load(alias.name)
                case ast.ImportFrom():
                    self._take(module, statement)
                case ast.Try() | ast.TryStar() | ast.For() | ast.While() | ast.With() | ast.Match():
                    self._try(module, [line for line in on_import([statement]) if line is not statement])
            self._bound[module] |= targets(statement)

    def _try(self, module: str, body: Sequence[ast.stmt]) -> None:
        """What may not run at all, or may fail without harm."""
        for statement in body:
            before = set(self._under_way)
            try:
                self._run(module, [statement])
            except _Fails:
                for name in self._under_way - before:
                    del self._bound[name]
                self._under_way = before
                self._bound[module] |= targets(statement)

    def _take(self, module: str, statement: ast.ImportFrom) -> None:
        asked = imported_module(statement, module, is_package=is_package(self._path_of[module]))
        if asked is None:
            return
        self.load(asked)
        for alias in statement.names:
            name = f"{asked}.{alias.name}"
            if alias.name == "*":
                if asked in self._bound:
                    self._bound[module] |= self._bound[asked]
                if asked not in self._bound or asked in self._anything:
                    self._anything.add(module)
            elif alias.name in self._bound.get(asked, set()):
                continue
            elif name in self._path_of:
                self.load(name)
            elif asked in self._under_way and self._binds_later(asked, alias.name):
                raise _Fails(HalfLoaded(module, statement.lineno, asked, alias.name))

    def _binds_later(self, module: str, name: str) -> bool:
        syntax = parsed(self._tree, self._path_of[module])
        if syntax is None or module in self._anything or "__getattr__" in self._bound[module]:
            return False
        return any(name in targets(statement) for statement in on_import(syntax.body))
