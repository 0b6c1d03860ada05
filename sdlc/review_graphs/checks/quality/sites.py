"""Calls where they stand: in which function and class, what becomes of their result, and whether they may fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from sdlc.review_graphs.checks.quality.assertions import name_of
from sdlc.review_graphs.checks.quality.modules import names_inside
from sdlc.review_graphs.checks.quality.source import FunctionNode, children, listed, parsed

_EXPECTING = listed("raises assertRaises assertRaisesRegex suppress warns")
_CAUGHT = listed("TypeError Exception BaseException ImportError AttributeError ModuleNotFoundError NameError")


@dataclass(frozen=True)
class Around:
    """What a node stands in."""

    functions: tuple[FunctionNode, ...] = ()
    """From the outermost to the innermost."""
    owner: ast.ClassDef | None = None
    """The class whose method the innermost function is."""
    is_expected_to_fail: bool = False
    """In a `pytest.raises` or a `try` that catches what a wrong call or import raises."""
    is_for_types: bool = False
    """Under `if TYPE_CHECKING`."""

    def hides(self, name: str) -> bool:
        """Does the name mean something of a function around, instead of the module's?"""
        return any(name in names_inside(function) for function in self.functions)


@dataclass(frozen=True)
class Site:
    """A call, an attribute or an import of a module."""

    node: ast.Call | ast.Attribute | ast.ImportFrom | ast.Import
    around: Around
    is_dropped: bool
    """Its value is not used."""


@lru_cache(maxsize=512)
def sites(text: str | None) -> tuple[Site, ...]:
    """All calls, attributes and imports of a module; none where it does not parse."""
    tree = parsed(text)
    return tuple(_sites(tree, Around(), in_class=None)) if tree else ()


def _sites(node: ast.AST, around: Around, *, in_class: ast.ClassDef | None) -> Iterator[Site]:
    for child in children(node):
        if isinstance(child, ast.Call | ast.Attribute | ast.ImportFrom | ast.Import):
            yield Site(child, around, isinstance(node, ast.Expr))
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _of_function(child, around, in_class)
            case ast.ClassDef():
                yield from _sites(child, around, in_class=child)
            case ast.With(items=items) | ast.AsyncWith(items=items) if any(map(_expects, items)):
                yield from _sites(child, replace(around, is_expected_to_fail=True), in_class=None)
            case ast.Try(handlers=handlers) if any(_catches(handler.type) for handler in handlers):
                yield from _sites(child, replace(around, is_expected_to_fail=True), in_class=None)
            case ast.If(test=test) if name_of(test) == "TYPE_CHECKING":
                yield from _sites(child, replace(around, is_for_types=True), in_class=None)
            case _:
                yield from _sites(child, around, in_class=None)


def _of_function(node: FunctionNode, around: Around, owner: ast.ClassDef | None) -> Iterator[Site]:
    # Decorators, defaults and types belong to what is around.
    outside = [ast.Expression(body=item) for item in (*node.decorator_list, *filter(None, [node.returns]))]
    for part in (node.args, *outside):
        yield from _sites(part, around, in_class=None)
    inside = replace(around, functions=(*around.functions, node), owner=owner)
    yield from _sites(ast.Module(body=node.body, type_ignores=[]), inside, in_class=None)


def _expects(item: ast.withitem) -> bool:
    return isinstance(item.context_expr, ast.Call) and name_of(item.context_expr.func) in _EXPECTING


def _catches(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Tuple):
        return any(_catches(item) for item in node.elts)
    return node is None or name_of(node) in _CAUGHT
