"""Which file of a tree an import names, and what stands there: only where there is no doubt."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from sdlc.review_graphs.checks.base import Tree
from sdlc.review_graphs.checks.quality.source import Definition, local_names, nodes, parsed, walk

MOST_HOPS = 4
"""From one module that only hands a name on to the next."""

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Bound:
    """One place where a module gives a name its meaning."""

    node: ast.AST
    module: str = ""
    """Of an import, as it is written; with `level` for the dots before it."""
    level: int = 0
    name: str = ""
    """What is imported from the module; empty where the module itself is."""
    is_certain: bool = True
    """At the first level of the module: under no condition, and in no `try`."""

    @property
    def is_import(self) -> bool:
        return bool(self.module or self.level)


@dataclass(frozen=True)
class Found:
    """A definition, and the file that it is in."""

    path: str
    node: Definition


class Modules:
    """The modules of a tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._known: dict[tuple[str, int, str], str | None] = {}

    @cached_property
    def _paths(self) -> frozenset[str]:
        return frozenset(self.tree.paths)

    @cached_property
    def _roots(self) -> tuple[str, ...]:
        """The folders from which names of modules start, each with a slash at its end."""
        roots = {"", "src/"}
        for path in self._paths:
            folder = path.rpartition("/")[0]
            parent = folder.rpartition("/")[0]
            if path.endswith("/__init__.py") and f"{parent}/__init__.py".lstrip("/") not in self._paths:
                roots.add(f"{parent}/" if parent else "")
        return tuple(sorted(roots))

    def file(self, module: str, level: int, importer: str) -> str | None:
        """The one file that an import can mean; None if there is none, or more than one."""
        key = module, level, importer.rpartition("/")[0]
        if key not in self._known:
            self._known[key] = self._file(module, level, importer)
        return self._known[key]

    def _file(self, module: str, level: int, importer: str) -> str | None:
        if level:
            folder = importer.rpartition("/")[0].split("/") if "/" in importer else []
            if level - 1 > len(folder):
                return None
            folder = folder[: len(folder) - (level - 1)]
            bases = ["/".join(folder) + "/" if folder else ""]
        else:
            if module.partition(".")[0] in sys.stdlib_module_names:
                return None
            own = importer.rpartition("/")[0]
            # A script finds what lies beside it; a module of a package does not.
            is_script = own and f"{own}/" not in self._roots and f"{own}/__init__.py" not in self._paths
            bases = [*self._roots, *([f"{own}/"] if is_script else [])]
        path = module.replace(".", "/")
        found = {
            name
            for base in bases
            for name in ([f"{base}{path}.py", f"{base}{path}/__init__.py"] if path else [f"{base}__init__.py"])
            if name in self._paths
        }
        return found.pop() if len(found) == 1 else None

    def definition(self, path: str, name: str, hops: int = MOST_HOPS) -> Found | None:
        """The function or class that a name of a module is, if it can be nothing else."""
        bindings = bound(self.tree.text(path))
        places = bindings.get(name, ()) if bindings is not None else ()
        if len(places) != 1 or not places[0].is_certain or hops <= 0:
            return None
        place = places[0]
        if isinstance(place.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return Found(path, place.node)
        if not place.is_import or not place.name:
            return None
        file = self.file(place.module, place.level, path)
        return self.definition(file, place.name, hops - 1) if file else None

    def called(self, path: str, func: ast.expr) -> Found | None:
        """What `name` or `module.name` in a module is."""
        match func:
            case ast.Name(id=name):
                return self.definition(path, name)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                module = self.module(path, name)
                return self.definition(module, attribute) if module else None
        return None

    def module(self, path: str, name: str) -> str | None:
        """The file of the module that a name of another one stands for."""
        bindings = bound(self.tree.text(path))
        places = bindings.get(name, ()) if bindings is not None else ()
        if len(places) != 1 or not places[0].is_import:
            return None
        place = places[0]
        if place.name:
            inside = f"{place.module}.{place.name}" if place.module else place.name
            return self.file(inside, place.level, path)
        return self.file(place.module, 0, path)

    def is_there(self, module: str, name: str) -> bool:
        """Can `name` be had from the module of this file? True where nobody can tell."""
        text = self.tree.text(module)
        bindings = bound(text)
        if bindings is None or name in bindings or "__getattr__" in bindings or "*" in bindings:
            return True
        if any(word in (text or "") for word in ("globals()", "sys.modules", "setattr(", "exec(")):
            return True
        folder = module.rpartition("/")[0]
        inside = f"{folder}/{name}" if folder else name
        return module.endswith("__init__.py") and any(
            path.startswith((f"{inside}.", f"{inside}/")) for path in self._paths
        )


@lru_cache(maxsize=1024)
def bound(text: str | None) -> Mapping[str, tuple[Bound, ...]] | None:
    """What a module binds at its own level, by name; `*` for what it takes over whole. None if it does not parse."""
    tree = parsed(text)
    if tree is None:
        return None
    found: dict[str, tuple[Bound, ...]] = {}
    for name, place in _bound(tree.body, is_certain=True):
        found[name] = (*found.get(name, ()), place)
    for node in nodes(text):
        if isinstance(node, ast.Global):
            for name in node.names:
                found[name] = (*found.get(name, ()), Bound(node, is_certain=False))
    return found


@lru_cache(maxsize=4096)
def names_inside(node: FunctionNode) -> frozenset[str]:
    """Names that mean something else inside a function than in its module, perhaps."""
    own = set(local_names(node))
    for item in walk(node):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and item is not node:
            own.add(item.name)
        elif isinstance(item, ast.Import | ast.ImportFrom):
            own.update((alias.asname or alias.name).partition(".")[0] for alias in item.names)
    return frozenset(own)


def _bound(body: list[ast.stmt], *, is_certain: bool) -> Iterator[tuple[str, Bound]]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, Bound(node, is_certain=is_certain)
            case ast.Import(names=names):
                for alias in names:
                    given = alias.asname or alias.name.partition(".")[0]
                    module = alias.name if alias.asname else given
                    yield given, Bound(node, module, is_certain=is_certain)
            case ast.ImportFrom(module=module, names=names, level=level):
                for alias in names:
                    yield alias.asname or alias.name, Bound(node, module or "", level, alias.name, is_certain)
            case _:
                for item in _outside_functions(node):
                    if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store | ast.Del):
                        yield item.id, Bound(node, is_certain=False)
                for name in ("body", "orelse", "finalbody"):
                    yield from _bound(getattr(node, name, []), is_certain=False)
                for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                    yield from _bound(part.body, is_certain=False)


def _outside_functions(node: ast.stmt) -> Iterator[ast.AST]:
    """The parts of a statement that are no statements themselves."""
    waiting: list[ast.AST] = [item for item in ast.iter_child_nodes(node) if not isinstance(item, ast.stmt)]
    while waiting:
        item = waiting.pop()
        yield item
        if not isinstance(item, ast.Lambda):
            waiting.extend(child for child in ast.iter_child_nodes(item) if not isinstance(child, ast.stmt))
