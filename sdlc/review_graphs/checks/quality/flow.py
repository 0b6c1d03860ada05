"""Which statements are followed by the next one, and which leave their block."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from sdlc.review_graphs.checks.quality.assertions import name_of

_NEVER_BACK = frozenset({"exit", "_exit", "abort", "fail", "skip", "assert_never", "die"})


def falls_through(body: Sequence[ast.stmt]) -> bool:
    """Can the end of a block be reached?"""
    return all(goes_on(node) for node in body)


def goes_on(node: ast.stmt) -> bool:
    match node:
        case ast.Return() | ast.Raise() | ast.Continue() | ast.Break():
            return False
        case ast.If(body=body, orelse=orelse):
            return falls_through(body) or falls_through(orelse)
        case ast.With(body=body) | ast.AsyncWith(body=body):
            return falls_through(body)
        case ast.While(test=ast.Constant(value=value)) if value:
            return _has_break(node.body)
        case ast.For(orelse=orelse) | ast.AsyncFor(orelse=orelse) | ast.While(orelse=orelse) if orelse:
            return _has_break(node.body) or falls_through(orelse)
        case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
            if finalbody and not falls_through(finalbody):
                return False
            is_open = falls_through(body) and falls_through(orelse)
            return is_open or any(falls_through(handler.body) for handler in handlers)
        case ast.Match(cases=cases):
            is_whole = any(
                case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None
                for case in cases
            )
            return not is_whole or any(falls_through(case.body) for case in cases)
        case ast.Expr(value=ast.Call(func=func)):
            return name_of(func) not in _NEVER_BACK and not (name_of(func) == "error" and not is_log(func))
        case ast.Assert(test=ast.Constant(value=False)):
            return False
    return True


def _has_break(body: Sequence[ast.stmt]) -> bool:
    for node in body:
        if isinstance(node, ast.Break):
            return True
        if isinstance(node, ast.For | ast.AsyncFor | ast.While):
            if _has_break(node.orelse):
                return True
            continue
        parts = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
        parts += [part.body for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ()))]
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and any(map(_has_break, parts)):
            return True
    return False


def is_log(func: ast.expr) -> bool:
    """Is it a method of something that logs?"""
    of = func.value if isinstance(func, ast.Attribute) else None
    return of is not None and name_of(of).lower().strip("_") in ("log", "logger", "logging")
