"""Loops that skip items, fail, or end with their first round."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from sdlc.review_graphs.checks.quality.mistake import IsTouched, Mistake, lines_of
from sdlc.review_graphs.checks.quality.source import FunctionNode, nodes, shape, walk

_TAKING = frozenset({"remove", "pop", "insert", "clear", "popitem", "discard"})
_GATHERING = frozenset({"append", "add", "extend", "update", "insert", "appendleft"})
_LEAVING = (ast.Return, ast.Break, ast.Raise)


def loops(text: str, is_touched: IsTouched) -> Iterator[Mistake]:
    for node in nodes(text):
        if not isinstance(node, ast.For | ast.FunctionDef | ast.AsyncFunctionDef) or not is_touched(node):
            continue
        if isinstance(node, ast.For):
            yield from _changed_meanwhile(node)
        else:
            yield from _first_round(node)


def _changed_meanwhile(loop: ast.For) -> Iterator[Mistake]:
    """`for x in xs: xs.remove(x)`, and the like."""
    of = loop.iter
    is_view = False
    match of:
        case ast.Call(func=ast.Attribute(value=value, attr="items" | "keys" | "values"), args=[]):
            of, is_view = value, True
        case ast.Call(func=ast.Name(id="enumerate"), args=[value, *_]):
            of = value
    if not isinstance(of, ast.Name | ast.Attribute):
        return
    key = shape(of)
    if any(_binds(item, key) for item in walk(*loop.body)):
        return
    for block, is_left in _blocks(loop.body, is_left=False):
        for number, statement in enumerate(block):
            taken = _takes(statement, key)
            if taken and not is_left and not _leaves(block[number + 1 :]):
                skips = "so that the item behind each one that goes is passed over"
                what = "which raises a RuntimeError with the next round" if is_view else skips
                yield Mistake(
                    "changed-while-iterated",
                    taken.lineno,
                    f"The loop on line {loop.lineno} goes through what is changed here, {what}. Go through a copy, or "
                    "gather what is to go and take it out afterwards.",
                    touches=lines_of(taken, loop.iter),
                )
                return


def _blocks(body: Sequence[ast.stmt], *, is_left: bool) -> Iterator[tuple[Sequence[ast.stmt], bool]]:
    """The blocks of a loop's round, not those of functions and loops inside it; is the loop left after the block?"""
    yield body, is_left
    for number, node in enumerate(body):
        if isinstance(node, ast.If | ast.With | ast.Try):
            is_last = is_left or _leaves(body[number + 1 :])
            for name in ("body", "orelse", "finalbody"):
                yield from _blocks(getattr(node, name, []), is_left=is_last)
            for handler in getattr(node, "handlers", []):
                yield from _blocks(handler.body, is_left=is_last)


def _leaves(rest: Sequence[ast.stmt]) -> bool:
    return any(isinstance(item, _LEAVING) for item in rest)


def _takes(statement: ast.stmt, key: str) -> ast.stmt | None:
    match statement:
        case (
            ast.Expr(value=ast.Call(func=ast.Attribute(value=of, attr=name)))
            | ast.Assign(value=ast.Call(func=ast.Attribute(value=of, attr=name)))
        ) if name in _TAKING and shape(of) == key:
            return statement
        case ast.Delete(targets=[ast.Subscript(value=of)]) if shape(of) == key:
            return statement
    return None


def _binds(node: ast.AST, key: str) -> bool:
    is_store = isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store)
    return is_store and shape(node) == key


def _first_round(function: FunctionNode) -> Iterator[Mistake]:
    """A `return` of what a loop gathers, one level too deep."""
    for block in _all_blocks(function.body):
        for number, loop in enumerate(block):
            if not isinstance(loop, ast.For) or len(loop.body) < 2 or loop.orelse:
                continue
            last = loop.body[-1]
            if not isinstance(last, ast.Return) or not isinstance(last.value, ast.Name):
                continue
            name = last.value.id
            is_begun = any(name in _assigned(item) for item in block[:number])
            if is_begun and _gathers(loop.body[:-1], name) and not _goes_on(loop.body):
                yield Mistake(
                    "returns-in-first-round",
                    last.lineno,
                    f"The loop on line {loop.lineno} gathers `{name}`, and this ends it in its first round: all other "
                    "items are left out. Return behind the loop.",
                    touches=lines_of(last, loop.iter),
                )


def _all_blocks(body: Sequence[ast.stmt]) -> Iterator[Sequence[ast.stmt]]:
    yield body
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for name in ("body", "orelse", "finalbody"):
            yield from _all_blocks(getattr(node, name, []))
        for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            yield from _all_blocks(part.body)


def _assigned(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _gathers(body: Sequence[ast.stmt], name: str) -> bool:
    """Is more put to the name with each round?"""
    for node in walk(*body):
        match node:
            case ast.AugAssign(target=ast.Name(id=target)) if target == name:
                return True
            case ast.AugAssign(target=ast.Subscript(value=ast.Name(id=target))) if target == name:
                return True
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=target))]) if target == name:
                return True
            case ast.Call(func=ast.Attribute(value=ast.Name(id=target), attr=method)) if target == name:
                if method in _GATHERING:
                    return True
    return False


def _goes_on(body: Sequence[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Continue) for node in walk(*body))
