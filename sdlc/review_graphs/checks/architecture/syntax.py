"""Reading the repository's Python without running it: syntax trees, and what a module does while it is imported."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from weakref import WeakKeyDictionary

from sdlc.review_graphs.checks.base import ChangedPath, Tree

AnyImport = ast.Import | ast.ImportFrom
AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_INDENTED_IMPORT = re.compile(r"(?:^[ \t]+|[:;][ \t]*)(?:import|from)\b", re.MULTILINE)
_trees: WeakKeyDictionary[Tree, dict[str, ast.Module | None]] = WeakKeyDictionary()


def parsed(tree: Tree, path: str) -> ast.Module | None:
    """The syntax tree of a file; None if there is no such file or it does not parse."""
    known = _trees.setdefault(tree, {})
    if path not in known:
        text = tree.text(path)
        known[path] = None if text is None else parse(text)
    return known[path]


def parse(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.removeprefix("\ufeff"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def on_import(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements that run when a module is imported, in order: not those of functions, nor of a main program."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and never_on_import(statement.test):
            yield from on_import(statement.orelse)
        elif isinstance(statement, ast.ClassDef):
            yield from on_import(statement.body)
        else:
            yield from on_import(_inner(statement))


def at_top(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements that bind names of a module: in branches too, whoever sees them, and not those of classes."""
    for statement in body:
        yield statement
        yield from at_top(_inner(statement))


def _inner(statement: ast.stmt) -> list[ast.stmt]:
    """The statements of the blocks in a statement that is no definition."""
    match statement:
        case ast.If() | ast.For() | ast.AsyncFor() | ast.While():
            return [*statement.body, *statement.orelse]
        case ast.Try() | ast.TryStar():
            handled = [line for handler in statement.handlers for line in handler.body]
            return [*statement.body, *handled, *statement.orelse, *statement.finalbody]
        case ast.With() | ast.AsyncWith():
            return statement.body
        case ast.Match():
            return [line for case in statement.cases for line in case.body]
    return []


def never_on_import(test: ast.expr) -> bool:
    """`TYPE_CHECKING` in any of its spellings, and `__name__ == "__main__"`."""
    if isinstance(test, ast.UnaryOp):
        return False
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(test) if isinstance(node, ast.Attribute)}
    return "TYPE_CHECKING" in names or ("__name__" in names and isinstance(test, ast.Compare))


def imports_on_import(tree: Tree, path: str) -> dict[int, AnyImport] | None:
    """The import statements that run when a module is imported, by their first line; None: all of them do."""
    text = tree.text(path)
    if text is None or not _INDENTED_IMPORT.search(text):
        return None
    module = parsed(tree, path)
    if module is None:
        return {}
    return {line.lineno: line for line in on_import(module.body) if isinstance(line, AnyImport)}


def import_statements(module: ast.Module) -> dict[int, AnyImport]:
    """All import statements of a module by their first line, those of functions too."""
    return {node.lineno: node for node in ast.walk(module) if isinstance(node, AnyImport)}


def added_import_line(file: ChangedPath, statement: AnyImport, imported: str) -> int | None:
    """The line of a statement that imports this module, if the change adds or modifies it."""
    last_name = imported.rpartition(".")[2]
    lines = [alias.lineno for alias in statement.names if alias.name.rpartition(".")[2] == last_name]
    last = statement.end_lineno or statement.lineno
    return next((line for line in (*lines, *range(statement.lineno, last + 1)) if file.has_added(line)), None)


def targets(statement: ast.stmt) -> set[str]:
    """The names that a statement binds where it stands, apart from what the statements in it bind."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names):
            return {alias.asname or alias.name.partition(".")[0] for alias in names}
        case ast.ImportFrom(names=names):
            return {alias.asname or alias.name for alias in names}
        case ast.Match(cases=cases):
            return {name for case in cases for name in _stored(case.pattern)}
        case ast.Try() | ast.TryStar():
            return set()
    own = [child for child in ast.iter_child_nodes(statement) if not isinstance(child, ast.stmt)]
    return {name for child in own for name in _stored(child)}


def imported_module(statement: ast.ImportFrom, module: str, *, is_package: bool) -> str | None:
    """The dotted name behind `from`, seen from `module`; None if it leads out of the top."""
    if not statement.level:
        return statement.module
    parts = module.split(".")
    parts = parts[: len(parts) - statement.level + is_package]
    if not parts:
        return None
    return ".".join([*parts, *([statement.module] if statement.module else [])])


def _stored(node: ast.AST) -> Iterator[str]:
    for child in ast.walk(node):
        match child:
            case ast.Name(id=name, ctx=ast.Store()) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name
