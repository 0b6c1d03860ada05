"""Functions that gave a value on all their ways, and since the change give none on one."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Trees
from sdlc.review_graphs.checks.quality.assertions import name_of
from sdlc.review_graphs.checks.quality.flow import falls_through, is_log
from sdlc.review_graphs.checks.quality.source import (
    Function,
    FunctionNode,
    functions,
    head_line,
    is_same,
    nodes,
    shown_at,
)
from sdlc.review_graphs.checks.quality.uses import Mentions


def lost_returns(trees: Trees, file: ChangedPath) -> Iterator[Raised]:
    before, after = trees.before(file), trees.head.text(file.path)
    if before is None or after is None:
        return
    old = functions(before)
    lost = [
        (item, old[name])
        for name, item in functions(after).items()
        if name in old and not is_same(item, after, old[name], before)
        if _gives_not_always(item) and _gives(old[name])
    ]
    if not lost:
        return
    mentions = Mentions(trees.head, {item.bare for item, _ in lost}, endings=(".py",))
    for item, was in lost:
        user = next(filter(None, (_user(trees, path, item.bare) for path in sorted(mentions.of(item.bare)))), "")
        if user:
            yield Raised(
                rule="return-lost",
                file=file.path,
                line=_line(file, before, after, item, was),
                severity="major",
                confidence=0.85,
                message=(
                    f"`{item.said}` returned a value on all its ways, and now ends without one on a way that is left "
                    f"open: {user} goes on with None. Return a value there, or raise."
                ),
            )


def _gives(function: Function) -> bool:
    """Does it end with a value, or an error, whichever way it takes?"""
    return _may_be_asked(function.node) and bool(_returned(function.node)) and not falls_through(function.node.body)


def _gives_not_always(function: Function) -> bool:
    returned = _returned(function.node)
    if not _may_be_asked(function.node) or not falls_through(function.node.body):
        return False
    if any(value is None or (isinstance(value, ast.Constant) and value.value is None) for value in returned):
        return False  # None is one of its answers
    return not _says_none(function.node.returns) and not _may_not_come_back(function.node.body)


def _may_be_asked(node: FunctionNode) -> bool:
    inside = list(_inside(node))
    return not any(isinstance(item, ast.Yield | ast.YieldFrom) for item in inside) and not node.decorator_list


def _returned(node: FunctionNode) -> list[ast.expr | None]:
    return [item.value for item in _inside(node) if isinstance(item, ast.Return)]


def _inside(node: FunctionNode) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions in it."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        item = waiting.pop()
        yield item
        if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(item))


def _may_not_come_back(body: Sequence[ast.stmt]) -> bool:
    """Does an open way end with a call, of which nobody knows here whether it comes back?"""
    if not body or not falls_through(body):
        return False
    last = body[-1]
    match last:
        case ast.Expr(value=ast.Call(func=func)):
            return not is_log(func) and name_of(func) != "print"
        case ast.If(body=first, orelse=second):
            return _may_not_come_back(first) or _may_not_come_back(second)
        case ast.With(body=first):
            return _may_not_come_back(first)
        case ast.Try(body=first, handlers=handlers):
            return _may_not_come_back(first) or any(_may_not_come_back(handler.body) for handler in handlers)
        case ast.Match():
            return True  # its cases may be all there are
        case ast.While():
            return True  # its condition may hold for ever
    return False


def _says_none(returns: ast.expr | None) -> bool:
    return returns is not None and ("None" in (text := ast.unparse(returns)) or "Optional" in text)


def _user(trees: Trees, path: str, name: str) -> str:
    """Where the value of a call by that name is used, in a module; empty if nowhere."""
    every = nodes(trees.head.text(path))
    dropped = {id(node.value) for node in every if isinstance(node, ast.Expr)}
    dropped |= {
        id(node.value.value) for node in every if isinstance(node, ast.Expr) and isinstance(node.value, ast.Await)
    }
    for node in every:
        if isinstance(node, ast.Call) and name_of(node.func) == name and id(node) not in dropped:
            return f"{path}:{node.lineno}"
    return ""


def _line(file: ChangedPath, before: str, after: str, item: Function, was: Function) -> int:
    """Where a `return` of the base is not any more; else the first line of the function that the change adds."""
    lines = after.split("\n")
    gone = [
        head_line(before, after, node.lineno) for node in _inside(was.node) if isinstance(node, ast.Return | ast.Raise)
    ]
    for line in sorted(gone, reverse=True):
        is_here = item.first <= line <= item.last
        if is_here and not lines[line - 1].strip().startswith(("return", "raise")):
            return line
    return shown_at(file, item.node.lineno, item.last)
