"""Conditions that are always the same: a method that is not called, a case that is asked for twice."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator

from sdlc.review_graphs.checks.quality.assertions import name_of
from sdlc.review_graphs.checks.quality.mistake import IsTouched, Mistake, lines_of
from sdlc.review_graphs.checks.quality.modules import bound, names_inside
from sdlc.review_graphs.checks.quality.source import FunctionNode, functions, nodes, shape, walk

_NUMBERS = (int, float, complex)


def conditions(text: str, is_touched: IsTouched) -> Iterator[Mistake]:
    yield from _not_called(text, is_touched)
    for node in nodes(text):
        if not isinstance(node, ast.If | ast.Compare | ast.Try) or not is_touched(node):
            continue
        if isinstance(node, ast.If):
            yield from _asked_twice(node)
            yield from _same_branches(node)
        elif isinstance(node, ast.Compare):
            yield from _with_itself(node)
        else:
            yield from _handlers(node, set(bound(text) or ()))


def _not_called(text: str, is_touched: IsTouched) -> Iterator[Mistake]:
    changed = [item for item in functions(text).values() if is_touched(item.node)]
    if not changed:
        return
    stored = {node.attr for node in nodes(text) if isinstance(node, ast.Attribute) and not _is_read(node)}
    known = _plain_functions(text)
    for item in changed:
        methods = _plain_methods(item.owner) - stored if item.owner else set()
        is_method = bool(item.owner) and not item.node.decorator_list
        hidden = names_inside(item.node)
        for node, how in _as_values(item.node):
            name = ""
            match node:
                case ast.Attribute(value=ast.Name(id="self"), attr=attribute) if is_method and attribute in methods:
                    name = f"self.{attribute}"
                case ast.Name(id=own) if own in known and own not in hidden:
                    name = own
            if name:
                yield Mistake(
                    "not-called",
                    node.lineno,
                    f"`{name}` is a {'method' if '.' in name else 'function'} and is not called here: {how}. "
                    f"Write `{name}()`.",
                    touches=lines_of(node),
                )


def _as_values(function: FunctionNode) -> Iterator[tuple[ast.expr, str]]:
    """Expressions of which the value matters, and what happens where that is a function."""
    always, never = "the condition is always true", "the comparison never holds"
    for node in walk(function):
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test=test):
                for part in _parts(test):
                    yield part, always
            case ast.comprehension(ifs=tests):
                for part in (part for test in tests for part in _parts(test)):
                    yield part, always
            case ast.Compare(left=left, ops=[op], comparators=[right]) if not isinstance(op, ast.Is | ast.IsNot):
                is_order = isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE)
                if isinstance(op, ast.In | ast.NotIn):
                    continue
                for one, other in ((left, right), (right, left)):
                    if isinstance(other, ast.Constant) and isinstance(other.value, (*_NUMBERS, str)):
                        yield one, "it raises a TypeError" if is_order else never
            case ast.BinOp(left=left, right=ast.Constant(value=value)) if isinstance(value, _NUMBERS):
                yield left, "it raises a TypeError"
            case ast.FormattedValue(value=value, conversion=-1):
                yield value, "the text gets the name of a function in memory"


def _parts(test: ast.expr) -> Iterator[ast.expr]:
    """The operands of a condition."""
    if isinstance(test, ast.BoolOp):
        for value in test.values:
            yield from _parts(value)
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from _parts(test.operand)
    else:
        yield test


def _plain_methods(owner: ast.ClassDef) -> set[str]:
    """Methods that are certainly methods: undecorated, and bound once."""
    names = [node.name for node in owner.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assigned = {node.id for item in owner.body for node in walk(item) if isinstance(node, ast.Name)}
    return {
        node.name
        for node in owner.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.decorator_list
        and names.count(node.name) == 1
        and node.name not in assigned
    }


def _plain_functions(text: str) -> set[str]:
    return {
        name
        for name, places in (bound(text) or {}).items()
        if len(places) == 1
        and places[0].is_certain
        and isinstance(places[0].node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not places[0].node.decorator_list
    }


def _is_read(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Load)


def _asked_twice(node: ast.If) -> Iterator[Mistake]:
    """A condition of an `elif` that an earlier branch has asked for."""
    chain: list[ast.If] = [node]
    seen: dict[str, ast.If] = {}
    while len(chain[-1].orelse) == 1 and isinstance(chain[-1].orelse[0], ast.If):
        chain.append(chain[-1].orelse[0])
    for part in chain:
        key = shape(part.test)
        if key in seen and not _may_differ(part.test):
            yield Mistake(
                "asked-twice",
                part.lineno,
                f"This branch is never taken: line {seen[key].lineno} asks for the same and comes first. "
                "Ask for what is meant, or take the branch out.",
                touches=lines_of(part.test, seen[key].test),
            )
        seen.setdefault(key, part)


def _may_differ(test: ast.expr) -> bool:
    """May it say something else the second time?"""
    return any(isinstance(node, ast.Call | ast.Await | ast.NamedExpr | ast.Yield) for node in walk(test))


def _same_branches(node: ast.If) -> Iterator[Mistake]:
    is_chain = len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If)
    if not node.orelse or is_chain or shape(node.body) != shape(node.orelse):
        return
    if all(isinstance(item, ast.Pass) for item in node.body):
        return
    yield Mistake(
        "same-branches",
        node.lineno,
        "Both branches do the same, so the condition decides nothing. Mend the one that is wrong, or take the "
        "condition out.",
        severity="minor",
        touches=lines_of(node.test, *node.body, *node.orelse),
    )


def _with_itself(node: ast.Compare) -> Iterator[Mistake]:
    if len(node.ops) != 1 or isinstance(node.left, ast.Constant) or shape(node.left) != shape(node.comparators[0]):
        return
    # `x != x` asks for NaN.
    if isinstance(node.ops[0], ast.NotEq | ast.Is | ast.IsNot) or _may_differ(node):
        return
    if isinstance(node.left, ast.Name | ast.Attribute | ast.Subscript):
        yield Mistake(
            "compared-with-itself",
            node.lineno,
            "Something is compared with itself here, so the answer is always the same. Compare it with what is meant.",
            confidence=0.9,
            touches=lines_of(node),
        )


def _handlers(node: ast.Try, own: set[str]) -> Iterator[Mistake]:
    """An `except` behind a broader one; ruff knows those behind an equal one."""
    before: list[tuple[type[BaseException], int]] = []
    for handler in node.handlers:
        types = [kind for kind in _types(handler.type) if kind.__name__ not in own]
        for known in types:
            earlier = next((line for kind, line in before if issubclass(known, kind) and known is not kind), 0)
            if earlier and len(types) == 1:
                yield Mistake(
                    "never-caught",
                    handler.lineno,
                    f"This `except {known.__name__}` is never reached: the one on line {earlier} catches it first. "
                    "Put the narrower one first.",
                    touches=lines_of(*(_heads(node.handlers))),
                )
        before.extend((known, handler.lineno) for known in types)


def _heads(handlers: Iterable[ast.ExceptHandler]) -> Iterator[ast.expr]:
    for handler in handlers:
        if handler.type:
            yield handler.type


def _types(node: ast.expr | None) -> Iterator[type[BaseException]]:
    for item in node.elts if isinstance(node, ast.Tuple) else [node] if node else []:
        known = getattr(builtins, name_of(item), None) if isinstance(item, ast.Name) else None
        if isinstance(known, type) and issubclass(known, BaseException):
            yield known
