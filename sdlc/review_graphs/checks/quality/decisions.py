"""What a function decides by, to tell a change of what it does from a change of how it is written."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from sdlc.review_graphs.checks.quality.source import Function, statements

_LOGGED = re.compile(r"(log|logger|logging|_log|_logger|LOG|LOGGER|warnings)\Z")
_EITHER_WAY: dict[type[ast.cmpop], str] = {
    ast.NotEq: "Eq",
    ast.IsNot: "Is",
    ast.NotIn: "In",
    ast.LtE: "Gt",
    ast.Lt: "GtE",
}


def decisions(function: Function) -> Counter[str]:
    """What a function decides by: its conditions, what it compares and counts with, and what it raises.

    Names are left out, so that renaming is no decision.
    """
    found = Counter[str]()
    for node in own_nodes(function):
        match node:
            case ast.If(test=test) | ast.IfExp(test=test) if _is_none(test):
                continue  # mostly a default that is filled in, put one way or another
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                found[f"if {_nameless(test)}"] += 1
            case ast.comprehension(ifs=tests):
                found.update(f"if {_nameless(test)}" for test in tests)
            case ast.ExceptHandler():
                found["except"] += 1
            case ast.match_case(pattern=pattern):
                found[f"case {_nameless(pattern)}"] += 1
            case ast.Compare() if not _is_none(node):
                found[_nameless(node)] += 1
            case ast.BoolOp(op=op, values=values):
                found[type(op).__name__] += len(values) - 1
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                found[f"number {number!r}"] += 1
            case ast.Raise(exc=raised) if raised is not None:
                found["raise"] += 1
    return found


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of functions inside it, of types and of what is only told."""
    waiting: list[ast.AST] = [*statements(function.node)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or _is_telling(node):
            continue
        yield node
        if isinstance(node, ast.AnnAssign):
            waiting.extend(item for item in (node.target, node.value) if item)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _is_telling(node: ast.AST) -> bool:
    """A call that writes to a log."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name))):
            return bool(_LOGGED.match(name))
        case ast.Call(func=ast.Name(id="print")):
            return True
    return False


def _is_none(node: ast.expr) -> bool:
    match node:
        case ast.Compare(ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(value=None)]):
            return True
    return False


def _nameless(node: ast.AST) -> str:
    """A condition without names, and whichever way round: guards that return early turn conditions over."""
    match node:
        case ast.Compare(left=left, ops=ops, comparators=right):
            constants = [repr(item.value) for item in (left, *right) if isinstance(item, ast.Constant)]
            return f"{[_EITHER_WAY.get(type(op), type(op).__name__) for op in ops]} {constants}"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _nameless(operand)
        case ast.Name() | ast.Attribute() | ast.Subscript() | ast.Call() | ast.NamedExpr():
            return "value"
    return type(node).__name__
