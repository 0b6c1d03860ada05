"""The oldest Python that a module runs on: vermin's rules, on what runs whatever the version is."""

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sdlc.review_graphs.checks.techstack.imports import is_environment_test

MOST_LINES = 20_000
"""Of one file. A longer one is data."""
LONGEST_STATEMENT = 400
"""Characters of a line that is given to a parser which has no bounds of its own."""
_OUTPUT = re.compile(r"[^:]*:(\d*):(\d*):[^:]*:(\d+)\.(\d+):(.*)")
_MEMBER = re.compile(r"'([\w.]+)' (?:member|module)|'([\w.]+)\(")
_BUILTIN_TYPES = frozenset(
    {"str", "bytes", "int", "float", "dict", "list", "set", "tuple", "bytearray", "frozenset", "memoryview"}
)
_FAILURES = frozenset(
    {"ImportError", "ModuleNotFoundError", "AttributeError", "NameError", "Exception", "BaseException", "TypeError"}
)
_GENERICS = frozenset({"list", "dict", "set", "frozenset", "tuple", "type"})


@dataclass(frozen=True)
class Feature:
    line: int
    python: tuple[int, int]
    text: str
    """Such as `tomllib` or `pattern matching`."""


def features(text: str, lines: Collection[int] | None = None) -> list[Feature]:
    """What a module needs that not every Python 3 has, each at a line where it needs it.

    Only in statements with one of these lines, where any are given. Nothing behind a question for the version, for
    the module's presence, or for a type checker. A text that does not parse needs something newer than the Python
    that runs here, or is broken: see `unparsed`.
    """
    if text.count("\n") > MOST_LINES:
        return []
    try:
        tree = ast.parse(text)
        names = _Names(tree)
        pruned = _Unguarded(tree).visit(tree)
        if lines is not None and isinstance(pruned, ast.Module):
            pruned.body = _narrowed(pruned.body, lines)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    if not isinstance(pruned, ast.Module):
        return []
    return [*_by_vermin(text, ast.fix_missing_locations(pruned), names), *_annotations(pruned)]


def _narrowed(body: list[ast.stmt], lines: Collection[int]) -> list[ast.stmt]:
    """Of a long module, what a few changed lines are about: vermin takes a second for 20,000 lines."""
    kept = []
    for statement in body:
        touched = any(statement.lineno <= line <= (statement.end_lineno or statement.lineno) for line in lines)
        decorated = any(one.lineno in lines for one in getattr(statement, "decorator_list", ()))
        if isinstance(statement, ast.ClassDef) and touched:
            statement.body = _narrowed(statement.body, lines) or [ast.copy_location(ast.Pass(), statement)]
        if touched or decorated or isinstance(statement, ast.Import | ast.ImportFrom):
            kept.append(statement)
    return kept


def _by_vermin(text: str, tree: ast.Module, names: _Names) -> Iterator[Feature]:
    from vermin import Config, SourceVisitor  # type: ignore[import-untyped]
    from vermin.formats import ParsableFormat  # type: ignore[import-untyped]

    config = Config()
    config.set_format(ParsableFormat())
    config.set_verbose(3)
    config.set_ignore_incomp(True)
    visitor = SourceVisitor(config=config, path="module", source=text)
    # A comment of vermin's own would let a change excuse itself.
    visitor.set_no_lines(set())
    try:
        visitor.tour(tree)
        visitor.minimum_versions()
    except (RecursionError, ValueError, TypeError, AttributeError, AssertionError):
        return
    for line in visitor.output_text().split("\n"):
        found = _OUTPUT.fullmatch(line)
        if found and int(found[3]) == 3 and found[1] and names.vouch_for(found[5]):
            yield Feature(int(found[1]), (3, int(found[4])), _plain(found[5]))


def _plain(text: str) -> str:
    member = _MEMBER.match(text)
    return f"`{text.split(chr(39))[1]}`" if member else text


class _Names:
    """Which names are what vermin takes them for: it asks for names alone."""

    def __init__(self, tree: ast.Module) -> None:
        self.roots: set[str] = set()
        self.bound: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self.roots |= {alias.name.partition(".")[0] for alias in node.names}
                self.bound |= {alias.asname or "" for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                if node.level == 0 and node.module:
                    self.roots.add(node.module.partition(".")[0])
                self.bound |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.bound.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.bound.add(node.id)
            elif isinstance(node, ast.arg):
                self.bound.add(node.arg)

    def vouch_for(self, text: str) -> bool:
        member = _MEMBER.match(text)
        if not member:
            return True
        root, dot, _ = (member[1] or member[2]).partition(".")
        if root in _BUILTIN_TYPES or not dot:
            return root not in self.bound
        return root in self.roots


class _Unguarded(ast.NodeTransformer):
    """Takes out what does not run on every version."""

    def __init__(self, tree: ast.Module) -> None:
        self._flags = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign) and "version_info" in ast.dump(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def visit(self, node: ast.AST) -> ast.AST | None:
        body = getattr(node, "body", None)
        if isinstance(body, list):
            for number, statement in enumerate(body):
                # `if sys.version_info < …: return` speaks for all that follows.
                if isinstance(statement, ast.If) and self._asks(statement.test) and _leaves(statement.body):
                    del body[number:]
                    body.append(ast.Pass(lineno=statement.lineno, col_offset=0))
                    break
        result: ast.AST | None = super().visit(node)
        return result

    def _asks(self, test: ast.expr) -> bool:
        names = {part.id for part in ast.walk(test) if isinstance(part, ast.Name)}
        return (
            bool(names & (self._flags | {"TYPE_CHECKING"}))
            or "TYPE_CHECKING" in ast.dump(test)
            or is_environment_test(test)
        )

    def visit_If(self, node: ast.If) -> ast.AST:
        return self._passed(node) if self._asks(node.test) else self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        return ast.copy_location(ast.Constant(None), node) if self._asks(node.test) else self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> ast.AST:
        caught = {
            part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else ""
            for handler in node.handlers
            for part in (ast.walk(handler.type) if handler.type else [ast.Name("Exception")])
        }
        return self._passed(node) if caught & _FAILURES else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._definition(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._definition(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._definition(node)

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.AST:
        skipped = any(re.search(r"skip|version_info|requires_py", ast.dump(one)) for one in node.decorator_list)
        return self._passed(node) if skipped else self.generic_visit(node)

    def _passed(self, node: ast.stmt) -> ast.AST:
        return ast.copy_location(ast.Pass(), node)


def _leaves(body: list[ast.stmt]) -> bool:
    last = body[-1]
    return isinstance(last, ast.Return | ast.Raise | ast.Continue | ast.Break) or (
        isinstance(last, ast.Expr)
        and isinstance(last.value, ast.Call)
        and bool(re.search("skip|exit", ast.dump(last.value.func)))
    )


def _annotations(tree: ast.Module) -> Iterator[Feature]:
    """Annotations that fail when the definition runs: `int | None` and `list[int]`."""
    if any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    ):
        return
    for annotation in _evaluated(tree):
        for node in ast.walk(annotation):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and _is_type(node.left, node.right):
                yield Feature(node.lineno, (3, 10), "a union of types written `X | Y`")
            elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in _GENERICS:
                yield Feature(node.lineno, (3, 9), f"`{node.value.id}[…]` as a type")


def _is_type(left: ast.expr, right: ast.expr) -> bool:
    """Is it certain that two operands are types? A class may define `|` for itself."""
    return any(isinstance(one, ast.Constant) and one.value is None for one in (left, right)) or any(
        isinstance(one, ast.Name) and one.id in _BUILTIN_TYPES | {"bool", "object"} for one in (left, right)
    )


def _evaluated(tree: ast.Module) -> Iterator[ast.expr]:
    local = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in node.body
        for inner in ast.walk(statement)
        if isinstance(inner, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = (
                *node.args.posonlyargs,
                *node.args.args,
                *node.args.kwonlyargs,
                node.args.vararg,
                node.args.kwarg,
            )
            yield from (one.annotation for one in arguments if one and one.annotation)
            if node.returns:
                yield node.returns
        elif isinstance(node, ast.AnnAssign) and id(node) not in local:
            yield node.annotation


def unparsed(text: str) -> int:
    """The line at which the Python that runs here gives up, though the syntax is right for a newer one; else 0."""
    try:
        ast.parse(text)
    except SyntaxError as error:
        line = error.lineno or 0
        lines = text.split("\n")
        return line if 0 < line <= len(lines) and _is_newer_syntax(lines[line - 1]) else 0
    except (ValueError, RecursionError, MemoryError):
        return 0
    return 0


@lru_cache(maxsize=64)
def _is_newer_syntax(line: str) -> bool:
    """Does deptry's parser, which is that of ruff, take a statement that Python does not?

    It tells by the imports that it finds, and gets one line only: nesting without end makes it end the process.
    """
    from deptry.rust import get_imports_from_py_files  # type: ignore[import-untyped]

    statement = line.strip()
    if statement.endswith(":"):
        statement += " pass"
    if len(statement) > LONGEST_STATEMENT:
        return False
    try:
        ast.parse(statement)
    except SyntaxError:
        pass
    except (ValueError, RecursionError, MemoryError):
        return False
    else:
        return False
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "module.py"
            path.write_text(f"{statement}\nimport sdlc_parsed\n", encoding="utf-8", errors="replace")
            return "sdlc_parsed" in get_imports_from_py_files([str(path)])
    except OSError:
        return False
