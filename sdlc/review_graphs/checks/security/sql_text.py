"""Python: values pasted into SQL. Names of tables and columns can't be given as parameters, so those are left alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sdlc.review_graphs.checks.security.python_module import Function, Module, last_name, risk, text_of
from sdlc.review_graphs.checks.security.risk import Risk

_RUNS = frozenset(
    [
        "execute",
        "executemany",
        "executescript",
        "execute_sql",
        "raw",
        "fetch",
        "fetchrow",
        "fetchval",
        "fetch_all",
        "fetch_one",
        "fetch_val",
        "read_sql",
        "read_sql_query",
        "scalar",
        "scalars",
        "exec_driver_sql",
    ]
)
_WRAPS = frozenset({"text", "sqlalchemy.text", "sqlalchemy.sql.text", "dedent", "textwrap.dedent"})
_SQL = re.compile(
    r"^\s*(?:select\b.+\bfrom\b|insert\s+(?:or\s+\w+\s+)?into\b|update\b.+\bset\b|delete\s+from\b|replace\s+into\b"
    r"|merge\s+into\b|with\b.+\b(?:select|insert|update|delete)\b)",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED_VALUE = re.compile(r"'%?$")
_BARE_VALUE = re.compile(r"(?:=|<|>|\blike|\bilike|\bvalues\s*\(|\bbetween)\s*$", re.IGNORECASE)
_NUMBERS = re.compile(r"^(?:int|float|bool|Decimal|UUID|uuid\.UUID|date|datetime|Literal\[.*\])(?:\s*\|\s*None)?$")
_SAFE_CALL = re.compile(
    r"(?:^|\.)(?:int|float|bool|len|abs|round|min|max|sum|quote\w*|escape\w*|literal|Literal|Identifier|SQL|placeholder\w*"
    r"|isoformat|timestamp|strftime|now|today|uuid\d?|time)$"
)
_PLACEHOLDER = re.compile(r"placeholder|param|marker|qmark|bind|^ph$|^p$|^mark", re.IGNORECASE)
_NUMBER_NAME = re.compile(
    r"(?:^|_)(?:id|pk|count|limit|offset|size|year|month|day|number|num|index|version|n|i)$", re.IGNORECASE
)


@dataclass(frozen=True)
class Piece:
    """A part of a text that is put together: a literal, or what is pasted in."""

    literal: str = ""
    value: ast.expr | None = None


def sql_risks(module: Module) -> Iterator[Risk]:
    if re.search(r"(^|/)(migrations|alembic|versions)/", module.path):
        return
    said: set[int] = set()
    for call, name in module.calls:
        if name.rpartition(".")[2] not in _RUNS or not call.args:
            continue
        texts = list(_texts(module, call.args[0]))
        if not any(_SQL.search("".join(piece.literal or "?" for piece in pieces)) for _, pieces in texts):
            continue
        for node, pieces in texts:
            pasted = [pieces[at].value for at in range(len(pieces)) if _is_pasted_value(module, pieces, at)]
            if pasted and id(node) not in said:
                said.add(id(node))
                yield risk(
                    "sql-from-text",
                    "blocker" if any(value and _is_from_request(value) for value in pasted) else "major",
                    "A value is pasted into an SQL statement: a quote in it ends the text, and what follows is run. Put"
                    " a placeholder there (`?` or `%s`) and give the value as a parameter.",
                    node,
                    0.85,
                )


def _texts(module: Module, node: ast.expr) -> Iterator[tuple[ast.expr, list[Piece]]]:
    """The expressions of which the text is made: itself, or all that the name was given in this function."""
    if isinstance(node, ast.Call) and module.full(node.func) in _WRAPS and node.args:
        yield from _texts(module, node.args[0])
    elif isinstance(node, ast.Name):
        for value in module.given(node.id, module.scope(node)):
            inner = (
                value.args[0]
                if isinstance(value, ast.Call) and module.full(value.func) in _WRAPS and value.args
                else value
            )
            yield inner, list(pieces_of(inner))
    else:
        yield node, list(pieces_of(node))


def pieces_of(node: ast.expr) -> Iterator[Piece]:
    """What a text is put together from, whichever way."""
    if isinstance(node, ast.Constant):
        yield Piece(literal=str(node.value))
    elif isinstance(node, ast.JoinedStr):
        for value in node.values:
            yield from [Piece(value=value.value)] if isinstance(value, ast.FormattedValue) else pieces_of(value)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from pieces_of(node.left)
        yield from pieces_of(node.right)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and text_of(node.left):
        right = node.right
        values = (
            list(right.elts)
            if isinstance(right, ast.Tuple)
            else list(right.values)
            if isinstance(right, ast.Dict)
            else [right]
        )
        yield from _filled(re.split(r"%(?:\(\w+\))?[sdr]", text_of(node.left)), values)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        values = [*node.args, *(item.value for item in node.keywords)]
        yield from _filled(re.split(r"\{[^{}]*\}", text_of(node.func.value)), values)
    else:
        yield Piece(value=node)


def _filled(literals: list[str], values: list[ast.expr]) -> Iterator[Piece]:
    for index, literal in enumerate(literals):
        yield Piece(literal=literal)
        if index + 1 < len(literals):
            yield Piece(value=values[index] if index < len(values) else None)


def _is_pasted_value(module: Module, pieces: list[Piece], at: int) -> bool:
    value = pieces[at].value
    if value is None or at == 0:
        return False
    before = pieces[at - 1].literal
    after = pieces[at + 1].literal if at + 1 < len(pieces) else ""
    if _QUOTED_VALUE.search(before):
        return not is_harmless(module, value, quoted=True)
    return bool(_BARE_VALUE.search(before)) and after[:1] not in (".", "(", "_") and not is_harmless(module, value)


def is_harmless(module: Module, node: ast.expr, *, quoted: bool = False, depth: int = 0) -> bool:
    """A constant, a number, a placeholder, or something that was made safe."""
    if isinstance(node, ast.Constant | ast.Compare | ast.Lambda) or depth > 3:
        return True
    if isinstance(node, ast.Call):
        name = module.full(node.func) or last_name(node.func)
        if re.search(r"(?:^|\.)(?:str|strip|lower|upper|format|replace)$", name):
            inner = node.args[0] if node.args and "." not in name else getattr(node.func, "value", node)
            return inner is not node and is_harmless(module, inner, quoted=quoted, depth=depth + 1)
        # What any other function gives back is not known.
        return bool(_SAFE_CALL.search(name)) or not _is_from_request(node)
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.IfExp | ast.JoinedStr):
        inner_values = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        return all(is_harmless(module, child, quoted=quoted, depth=depth + 1) for child in inner_values)
    name = last_name(node)
    if not name or name.isupper() or _PLACEHOLDER.search(name):
        return True
    if isinstance(node, ast.Attribute):
        return not _is_of_parameter(module, node) or (not quoted and _NUMBER_NAME.search(name) is not None)
    if isinstance(node, ast.Subscript):
        return False
    return _is_harmless_name(module, node, name, quoted, depth)


def _is_of_parameter(module: Module, node: ast.expr) -> bool:
    """`user.name` of a `user` that the function is given; what stands in `self` was set by somebody else."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    function = module.function(node)
    return (
        isinstance(node, ast.Name) and function is not None and node.id in set(_parameters(function)) - {"self", "cls"}
    )


def _is_harmless_name(module: Module, node: ast.expr, name: str, quoted: bool, depth: int) -> bool:
    function = module.function(node)
    given = module.given(name, function or module.tree)
    if given:
        return all(is_harmless(module, value, quoted=quoted, depth=depth + 1) for value in given)
    if function is None or name not in (parameters := _parameters(function)):
        return True  # of a loop, of a module: where it comes from is not seen here
    annotation = parameters[name]
    return annotation is not None and bool(_NUMBERS.match(ast.unparse(annotation)))


def _parameters(function: Function) -> dict[str, ast.expr | None]:
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return {argument.arg: argument.annotation for argument in arguments}


def _is_from_request(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id in ("request", "req") for inner in ast.walk(node))
