"""What the names in a module stand for: which module binds what, and where a dotted name leads in the end."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field

from sdlc.review_graphs.checks.architecture.modules import Layout, is_package, layout_of, parents
from sdlc.review_graphs.checks.architecture.syntax import at_top, imported_module, parsed, targets
from sdlc.review_graphs.checks.base import Tree

_DYNAMIC = ("globals()", "setattr(", "vars()", "exec(", "sys.modules[", "locals()")
_DEEPEST = 10
"""Re-exports of re-exports that are followed."""


@dataclass
class Bindings:
    """The names of one module."""

    imported: dict[str, str] = field(default_factory=dict)
    """Name → what it is called where it comes from; without names that are bound in several ways."""
    defined: dict[str, ast.stmt] = field(default_factory=dict)
    """Functions, classes and other names that it binds itself, by the last statement that does."""
    stars: tuple[str, ...] = ()
    """Modules that it takes everything of."""
    exports: frozenset[str] | None = None
    """`__all__`; None without one, or where it can't be read off."""
    is_dynamic: bool = False
    """It may have names that can't be read off."""


class Names:
    """The names of all modules of one tree, each read when it is asked for."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.layout: Layout = layout_of(tree)
        self._known: dict[str, Bindings] = {}

    def of(self, module: str) -> Bindings | None:
        """The names of a module; None if it is not in the repository or does not parse."""
        syntax = self.syntax(module)
        if syntax is None:
            return None
        path = self.layout.path_of[module]
        if module not in self._known:
            self._known[module] = _bindings(syntax, module, path, self.tree.text(path) or "")
        return self._known[module]

    def syntax(self, module: str) -> ast.Module | None:
        """The syntax tree of a module; None if it is not in the repository or does not parse."""
        path = self.layout.path_of.get(module)
        return None if path is None else parsed(self.tree, path)

    def offers(self, module: str, name: str, _depth: int = 0) -> bool:
        """May a module have a name? True in doubt."""
        bound = self.of(module)
        if bound is None or bound.is_dynamic or _depth > _DEEPEST:
            return True
        if name in bound.imported or name in bound.defined or f"{module}.{name}" in self.layout.path_of:
            return True
        return any(self.offers(star, name, _depth + 1) for star in bound.stars)

    def lead(self, dotted: str, _depth: int = 0) -> str:
        """Where a dotted name leads: `shop.total`, which `shop` imports of `shop.cart`, to `shop.cart.total`."""
        module = next((name for name in reversed((*parents(dotted), dotted)) if name in self.layout.path_of), None)
        if module is None or module == dotted or _depth > _DEEPEST:
            return dotted
        first, _, rest = dotted.removeprefix(f"{module}.").partition(".")
        bound = self.of(module)
        behind = bound.imported.get(first) if bound else None
        if behind is None or behind == f"{module}.{first}":
            return dotted
        return self.lead(f"{behind}.{rest}" if rest else behind, _depth + 1)

    def split(self, dotted: str) -> tuple[str, str]:
        """The module in which a dotted name is, and what it is called there."""
        module = next((name for name in reversed((*parents(dotted), dotted)) if name in self.layout.path_of), "")
        return module, dotted.removeprefix(f"{module}.") if module != dotted else ""

    def definition(self, module: str, name: str) -> ast.stmt | None:
        """The last statement that binds a name such as `total` or `Cart.add`; None for what is bound in functions."""
        syntax = self.syntax(module)
        body = syntax.body if syntax else []
        node: ast.stmt | None = None
        for part in name.split("."):
            node = next((line for line in reversed(list(at_top(body))) if part in targets(line)), None)
            body = node.body if isinstance(node, ast.ClassDef) else []
        return node

    def has_member(self, dotted: str, member: str) -> bool:
        """May a class have a member of its own? True in doubt."""
        if dotted.startswith("builtins."):
            return hasattr(getattr(builtins, dotted.removeprefix("builtins."), None), member)
        if dotted in KNOWN_BASES:
            return member.startswith(KNOWN_BASES[dotted])
        node = self.class_of(dotted)
        if node is None or node.keywords or {last_name(item) for item in node.decorator_list} - {"dataclass", "final"}:
            return True
        names = {name for item in ast.walk(node) for name in _mentioned(item)}
        return not names.isdisjoint({member, "__getattr__", "__getattribute__"})

    def class_of(self, dotted: str) -> ast.ClassDef | None:
        """The class that a dotted name leads to, if it stands at the top of a module of the repository."""
        module, name = self.split(self.lead(dotted))
        bound = self.of(module)
        found = bound.defined.get(name) if bound else None
        return found if isinstance(found, ast.ClassDef) else None

    def ancestors(self, dotted: str) -> frozenset[str] | None:
        """All that a class inherits of, itself included; None where a part of that is not in the repository.

        Built-in classes are named as `builtins.LookupError`.
        """
        found: set[str] = set()
        todo = [self.lead(dotted)]
        while todo:
            name = todo.pop()
            if name in found:
                continue
            found.add(name)
            if name.startswith("builtins.") or name in KNOWN_BASES:
                continue
            node = self.class_of(name)
            module = self.split(name)[0]
            if node is None:
                return None
            for base in node.bases:
                behind = self.expression(module, base.value if isinstance(base, ast.Subscript) else base)
                if behind is None:
                    return None
                todo += _with_its_bases(self.lead(behind))
        return frozenset(found)

    def expression(self, module: str, node: ast.expr) -> str | None:
        """What a name or a chain of attributes at the top of a module stands for."""
        match node:
            case ast.Attribute(value=value, attr=attribute):
                before = self.expression(module, value)
                return f"{before}.{attribute}" if before else None
            case ast.Name(id=name):
                bound = self.of(module)
                if bound and name in bound.imported:
                    return bound.imported[name]
                if bound and name in bound.defined:
                    return f"{module}.{name}"
                return f"builtins.{name}" if hasattr(builtins, name) else None
        return None


KNOWN_BASES: dict[str, tuple[str, ...]] = {
    "abc.ABC": (),
    "enum.Enum": ("name", "value"),
    "enum.IntEnum": ("name", "value"),
    "enum.StrEnum": ("name", "value"),
    "pydantic.BaseModel": ("model_", "construct", "copy", "dict", "from_", "json", "parse_", "schema", "update_"),
    "typing.Generic": (),
    "typing.NamedTuple": ("count", "index"),
    "typing.Protocol": (),
    "typing_extensions.Protocol": (),
}
"""Bases from elsewhere, with how the names begin that come with them."""


def _with_its_bases(name: str) -> list[str]:
    """A built-in class with those that it inherits of."""
    own = getattr(builtins, name.removeprefix("builtins."), None) if name.startswith("builtins.") else None
    if not isinstance(own, type):
        return [name]
    return [f"builtins.{base.__name__}" for base in own.__mro__]


def _bindings(syntax: ast.Module, module: str, path: str, text: str) -> Bindings:
    found = Bindings(is_dynamic=any(mark in text for mark in _DYNAMIC))
    stars: list[str] = []
    several: set[str] = set()
    for statement in at_top(syntax.body):
        if isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names):
            stars.append(imported_module(statement, module, is_package=is_package(path)) or "")
            continue
        for name, behind in _bound(statement, module, path):
            known = found.imported.get(name)
            if behind is None:
                found.defined[name] = statement
            elif known is None:
                found.imported[name] = behind
            elif known != behind:
                several.add(name)
    # A name that is imported here and bound otherwise there stands for nothing certain.
    for name in several | (found.imported.keys() & found.defined.keys()):
        statement = found.defined.pop(name, syntax.body[0])
        found.imported.pop(name, None)
        found.defined[name] = ast.Pass(lineno=statement.lineno)
    for node in ast.walk(syntax) if "global " in text else ():
        if isinstance(node, ast.Global):
            found.defined |= {name: node for name in node.names if name not in found.imported}
    found.stars = tuple(stars)
    found.is_dynamic |= "__getattr__" in found.defined
    found.exports = _exports(syntax)
    return found


def _bound(statement: ast.stmt, module: str, path: str) -> Iterator[tuple[str, str | None]]:
    match statement:
        case ast.Import():
            for alias in statement.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        case ast.ImportFrom():
            behind = imported_module(statement, module, is_package=is_package(path))
            for alias in statement.names:
                name = alias.asname or alias.name
                yield name, f"{behind}.{alias.name}" if behind else None
        case _:
            yield from ((name, None) for name in targets(statement))


def _exports(syntax: ast.Module) -> frozenset[str] | None:
    """The literal names of `__all__`, of all statements that make it; None where it is made in another way."""
    names: set[str] | None = None
    for statement in syntax.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=value)
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value)
                | ast.AugAssign(target=ast.Name(id="__all__"), value=value)
            ):
                if not isinstance(value, ast.List | ast.Tuple):
                    return None
                given = {
                    item.value for item in value.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)
                }
                names = given if isinstance(statement, ast.Assign | ast.AnnAssign) else {*(names or ()), *given}
    return None if names is None else frozenset(names)


def _mentioned(node: ast.AST) -> Iterator[str]:
    """Names that a part of a class binds somewhere, or names in a text, as `setattr` and `__slots__` need them."""
    match node:
        case (
            ast.Name(id=name, ctx=ast.Store())
            | ast.Attribute(attr=name, ctx=ast.Store())
            | ast.FunctionDef(name=name)
            | ast.AsyncFunctionDef(name=name)
            | ast.ClassDef(name=name)
            | ast.Constant(value=str(name))
        ):
            yield name


def last_name(node: ast.expr) -> str:
    match node:
        case ast.Call(func=function):
            return last_name(function)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""
