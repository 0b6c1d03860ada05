"""Marks and calls by which a test is not run, or run without a say, whatever the machine it runs on."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sdlc.review_graphs.checks.quality.assertions import name_of
from sdlc.review_graphs.checks.quality.source import Function, shape, statements


@dataclass(frozen=True)
class Skip:
    """One of them."""

    how: str
    """`skip` or `xfail`."""
    line: int


def of_function(function: Function) -> Skip | None:
    """What its own decorators and the first level of its body say."""
    return _of_decorators(function.node.decorator_list) or _of_body(statements(function.node))


def is_conditional(function: Function) -> bool:
    """Is it run on some machines only?"""
    marks = (node.func for node in function.node.decorator_list if isinstance(node, ast.Call))
    return any(name_of(mark) in ("skipif", "skipIf", "skipUnless") for mark in marks)


def of_class(node: ast.ClassDef | None) -> Skip | None:
    """What the decorators of a class of tests say."""
    return _of_decorators(node.decorator_list) if node else None


@lru_cache(maxsize=512)
def of_module(tree: ast.Module | None) -> Skip | None:
    """What `pytestmark` says, or a `pytest.skip(allow_module_level=True)`."""
    for node in tree.body if tree else ():
        match node:
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=ast.List(elts=marks) | ast.Tuple(elts=marks)):
                found = _of_decorators(marks)
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=mark):
                found = _of_decorators([mark])
            case ast.Expr():
                found = _of_body([node])
            case _:
                continue
        if found:
            return found
    return None


def cases(function: Function) -> Iterator[tuple[str, list[ast.expr]]]:
    """(names of the arguments, values) of each `parametrize` with a list that stands there."""
    for decorator in function.node.decorator_list:
        match decorator:
            case ast.Call(func=ast.Attribute(attr="parametrize"), args=[names, ast.List(elts=values), *_]):
                yield shape(names), values
            case ast.Call(func=ast.Attribute(attr="parametrize"), args=[names, ast.Tuple(elts=values), *_]):
                yield shape(names), values


def of_case(value: ast.expr) -> Skip | None:
    """What the marks of a `pytest.param` say."""
    match value:
        case ast.Call(func=func, keywords=keywords) if name_of(func) == "param":
            for item in keywords:
                if item.arg == "marks":
                    marks = item.value.elts if isinstance(item.value, ast.List | ast.Tuple) else [item.value]
                    return _of_decorators(marks)
    return None


def _of_decorators(decorators: Iterable[ast.expr]) -> Skip | None:
    for node in decorators:
        call = node if isinstance(node, ast.Call) else None
        name = name_of(call.func if call else node)
        condition = _condition(call) if call else None
        match name:
            case "skip":
                return Skip("skip", node.lineno)
            case "skipif" | "skipIf" if _is_constant(condition, True):
                return Skip("skip", node.lineno)
            case "skipUnless" if _is_constant(condition, False):
                return Skip("skip", node.lineno)
            case "expectedFailure":
                return Skip("xfail", node.lineno)
            case "xfail" if condition is None or _is_constant(condition, True):
                return Skip("xfail", node.lineno)
    return None


def _condition(call: ast.Call) -> ast.expr | None:
    if call.args:
        return call.args[0]
    return next((item.value for item in call.keywords if item.arg == "condition"), None)


def _is_constant(node: ast.expr | None, value: bool) -> bool:
    if not isinstance(node, ast.Constant):
        return False
    said = node.value if not isinstance(node.value, str) else node.value.strip() not in ("False", "0", "")
    return bool(said) is value


def _of_body(body: Sequence[ast.stmt]) -> Skip | None:
    for at, node in enumerate(body):
        match node:
            case ast.Return() if at + 1 < len(body):
                return Skip("skip", node.lineno)
            case ast.Expr(
                value=ast.Call(func=ast.Attribute(value=ast.Name(id="pytest"), attr=("skip" | "xfail") as how))
            ):
                return Skip(how, node.lineno)
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr="skipTest"))):
                return Skip("skip", node.lineno)
            case ast.Raise(exc=ast.expr() as raised):
                called = raised.func if isinstance(raised, ast.Call) else raised
                if name_of(called) == "SkipTest":
                    return Skip("skip", node.lineno)
    return None
