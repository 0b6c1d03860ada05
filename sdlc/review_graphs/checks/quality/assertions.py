"""What a test claims: its assertions in a form that can be compared, whichever way they are written."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from sdlc.review_graphs.checks.quality.source import Function, listed, shape, walk

BROAD = listed("Exception BaseException")
_EQUAL = listed(
    "assertEqual assertEquals assertListEqual assertDictEqual assertTupleEqual assertSetEqual assertMultiLineEqual",
    "assertSequenceEqual assertCountEqual assertIs",
)
_RAISES = listed("raises assertRaises assertRaisesRegex assertRaisesRegexp")
_CLAIMING = ("assert", "_assert", "check_", "_check_", "verify", "_verify", "expect", "_expect")


@dataclass(frozen=True)
class Claim:
    """One assertion."""

    kind: str
    """`equal`, `some` (true, not None, of a type, not empty), `nothing` (never fails), `raises` or `other`."""
    key: str
    """All of it, as a shape."""
    line: int
    subjects: tuple[str, ...] = ()
    """What `equal` and `some` are about, as shapes; constants are not."""
    expected: frozenset[str] = frozenset()
    """The exceptions of `raises`."""
    is_matched: bool = False
    """`raises` looks at the message, too."""
    node: ast.AST = field(default_factory=ast.Pass, compare=False)


def claims(function: Function) -> list[Claim]:
    """All that a test claims, in order."""
    return sorted(_claims(function.node), key=lambda claim: claim.line)


def can_not_fail(node: ast.AST) -> bool:
    """Is it an assertion that holds whatever the product does?"""
    match node:
        case ast.Constant(value=value):
            return bool(value)
        case ast.Compare(left=left, ops=[ast.Eq() | ast.Is() | ast.LtE() | ast.GtE()], comparators=[right]):
            # Two calls may answer differently.
            return shape(left) == shape(right) and not any(isinstance(item, ast.Call) for item in walk(left))
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(isinstance(item, ast.Constant) and bool(item.value) for item in values)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Constant(value=value)):
            return not value
    return False


def name_of(node: ast.expr) -> str:
    """The last part of a name; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _claims(node: ast.AST) -> Iterator[Claim]:
    whole = walk(node)
    never = [item for item in whole if isinstance(item, ast.If | ast.While) and _is_false(item.test)]
    unreached = {id(inner) for item in never for inner in walk(*item.body)}
    for item in whole:
        if id(item) in unreached:
            continue
        if isinstance(item, ast.Assert):
            yield _asserted(item.test, item)
        elif isinstance(item, ast.Call):
            name = name_of(item.func)
            if name in _RAISES:
                yield _raises(item)
            elif name.startswith(_CLAIMING) or name in ("warns", "fail", "deprecated_call"):
                yield _called(name, item)


def _is_false(test: ast.expr) -> bool:
    return isinstance(test, ast.Constant) and not test.value


def _asserted(test: ast.expr, node: ast.Assert | ast.Call) -> Claim:
    key, line = f"assert {shape(test)}", node.lineno
    if can_not_fail(test):
        return Claim("nothing", key, line, node=node)
    match test:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            if isinstance(right, ast.Constant) and (right.value is True or right.value is None):
                return Claim("other", key, line, node=node)
            return Claim("equal", key, line, _subjects(left, right), node=node)
        case ast.Compare(left=left, ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
            return Claim("some", key, line, _subjects(left), node=node)
        case ast.Compare(left=ast.Call(func=ast.Name(id="len"), args=[of]), ops=[ast.Gt() | ast.GtE() | ast.NotEq()]):
            return Claim("some", key, line, _subjects(of), node=node)
        case ast.Call(func=ast.Name(id="isinstance" | "callable" | "bool" | "len"), args=[of, *_]):
            return Claim("some", key, line, _subjects(of), node=node)
        case ast.Name() | ast.Attribute() | ast.Subscript() | ast.Call() | ast.Await():
            return Claim("some", key, line, _subjects(test), node=node)
    return Claim("other", key, line, node=node)


def _called(name: str, node: ast.Call) -> Claim:
    match name, node.args:
        case "assertTrue", [test, *_]:
            return _asserted(test, node)
        case (("assertIsNotNone" | "assertIsInstance"), [of, *_]):
            return Claim("some", shape(node), node.lineno, _subjects(of), node=node)
        case _, [left, right, *_] if name in _EQUAL:
            if can_not_fail(ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
                return Claim("nothing", shape(node), node.lineno, node=node)
            if isinstance(right, ast.Constant) and (right.value is True or right.value is None):
                return Claim("other", shape(node), node.lineno, node=node)
            return Claim("equal", shape(node), node.lineno, _subjects(left, right), node=node)
    return Claim("other", shape(node), node.lineno, node=node)


def _raises(node: ast.Call) -> Claim:
    given = node.args[0] if node.args else None
    types = given.elts if isinstance(given, ast.Tuple) else [given] if given else []
    is_matched = any(item.arg == "match" for item in node.keywords) or "Regex" in name_of(node.func)
    return Claim(
        "raises",
        shape(node),
        node.lineno,
        expected=frozenset(name_of(item) for item in types),
        is_matched=is_matched,
        node=node,
    )


def _subjects(*operands: ast.expr) -> tuple[str, ...]:
    return tuple(shape(item) for item in operands if not isinstance(item, ast.Constant))
