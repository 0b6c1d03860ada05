"""What Python files import: each import with its line, and whether the program can do without it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from sdlc.review_graphs.checks.base import Tree, is_test

MOST_FILES = 3_000
"""Of a tree that are read for imports. In a larger repository the rest is not asked."""
_LINE = re.compile(
    r'^[ \t]*(?:"[ \t]*)?(?:from[ \t]+([A-Za-z_]\w*)[\w.]*[ \t]+import\b|import[ \t]+(\w[^\n#;"(]*))', re.MULTILINE
)
_IMPORT_FAILURES = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


@dataclass(frozen=True)
class Import:
    module: str
    """Absolute and whole, such as `google.cloud.storage`."""
    line: int
    is_optional: bool = False
    """Below a guard: the code goes another way where the module is missing."""
    is_typing: bool = False
    """Below `if TYPE_CHECKING:`: only a type checker imports it."""
    is_inner: bool = False
    """In a function: it runs only when that does."""

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


@lru_cache(maxsize=64)
def imports_in(text: str) -> tuple[Import, ...]:
    """All absolute imports of a module; none of a text that does not parse."""
    found = _Imports()
    try:
        found.visit(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    return tuple(
        one if one.top not in found.skipped else Import(one.module, one.line, True, one.is_typing, one.is_inner)
        for one in found.imports
    )


class _Imports(ast.NodeVisitor):
    def __init__(self) -> None:
        self.imports: list[Import] = []
        self.skipped: set[str] = set()
        """Modules without which the tests of the file are skipped."""
        self._optional = 0
        self._typing = 0
        self._inner = 0

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level == 0 and node.module:
            for alias in node.names:
                self._add(f"{node.module}.{alias.name}" if alias.name != "*" else node.module, node.lineno)

    def _add(self, module: str, line: int) -> None:
        self.imports.append(Import(module, line, self._optional > 0, self._typing > 0, self._inner > 0))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._inner += 1
        self.generic_visit(node)
        self._inner -= 1

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Try(self, node: ast.Try) -> None:
        guarded = any(_catches_import(handler) for handler in node.handlers)
        self._optional += guarded
        for statement in (*node.body, *node.handlers):
            self.visit(statement)
        self._optional -= guarded
        for statement in (*node.orelse, *node.finalbody):
            self.visit(statement)

    def visit_With(self, node: ast.With) -> None:
        guarded = any(
            isinstance(item.context_expr, ast.Call)
            and _last_name(item.context_expr.func) in ("suppress", "raises")
            and any(_last_name(argument) in _IMPORT_FAILURES for argument in item.context_expr.args)
            for item in node.items
        )
        self._optional += guarded
        self.generic_visit(node)
        self._optional -= guarded

    def visit_If(self, node: ast.If) -> None:
        words = {_last_name(part) for part in ast.walk(node.test)}
        typing = "TYPE_CHECKING" in words
        guarded = not typing and is_environment_test(node.test)
        self._typing += typing
        self._optional += guarded
        for statement in node.body:
            self.visit(statement)
        self._typing -= typing
        for statement in node.orelse:
            self.visit(statement)
        self._optional -= guarded

    def visit_Call(self, node: ast.Call) -> None:
        if _last_name(node.func) == "importorskip" and node.args and isinstance(node.args[0], ast.Constant):
            self.skipped.add(str(node.args[0].value).partition(".")[0])
        self.generic_visit(node)


def is_environment_test(test: ast.expr) -> bool:
    """Does a condition ask what there is to run on: version, platform, a module?"""
    words = {_last_name(part) for part in ast.walk(test)}
    known = {
        "version_info",
        "platform",
        "find_spec",
        "PY2",
        "PY3",
        "hasattr",
        "implementation",
        "python_implementation",
    }
    return bool(known & words) or any(
        word.upper().lstrip("_").startswith(("HAS_", "HAVE_", "WITH_", "IS_WINDOWS", "WINDOWS", "PY3", "PYTHON_"))
        or word.upper().endswith(("_AVAILABLE", "_INSTALLED"))
        for word in words
        if word
    )


def _catches_import(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(_last_name(kind) in _IMPORT_FAILURES for kind in kinds)


def _last_name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


@lru_cache(maxsize=4)
def imported(tree: Tree) -> dict[str, tuple[tuple[str, int], ...]]:
    """Top-level modules that the Python files and notebooks of a tree import, each with (path, line) in order.

    By their lines alone: thousands of files take a second to parse, and deptry's parser ends the process on one with
    20,000 brackets. What stands in a docstring counts as well; `imports_in` knows better where it matters.
    """
    found: dict[str, list[tuple[str, int]]] = {}
    for path in [path for path in tree.paths if path.endswith((".py", ".pyi", ".ipynb"))][:MOST_FILES]:
        text = tree.text(path) or ""
        for match in _LINE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            for name in (match[1],) if match[1] else re.findall(r"(?:^|,)\s*(\w+)", match[2]):
                found.setdefault(name, []).append((path, line))
    return {module: tuple(places) for module, places in found.items()}


def is_first_party(tree: Tree, module: str, importer: str) -> bool:
    """Can a module of this name be imported from the files of the tree?

    It can where it lies in a folder that is no package itself, and beside the file that imports it, which may be run
    as a script. Folders of tests are on the path of tests only.
    """
    return any(
        (folder not in _packages(tree) and (is_test(importer) or not is_test(f"{folder}/{module}")))
        or folder == importer.rpartition("/")[0]
        for folder in _modules(tree).get(module, ())
    )


@lru_cache(maxsize=4)
def _packages(tree: Tree) -> frozenset[str]:
    """Folders with an `__init__.py`."""
    return frozenset(path.rpartition("/")[0] for path in tree.paths if path.endswith(("/__init__.py", "/__init__.pyi")))


@lru_cache(maxsize=4)
def _modules(tree: Tree) -> dict[str, frozenset[str]]:
    """Names of modules and packages, namespace packages among them, with the folders in which they lie."""
    found: dict[str, set[str]] = {}
    for path in tree.paths:
        pure = PurePosixPath(path)
        if pure.suffix not in (".py", ".pyi", ".pyx", ".so", ".pyd", ".c", ".cpp"):
            continue
        name = pure.name.partition(".")[0]
        if name != "__init__":
            found.setdefault(name, set()).add(_text(pure.parent))
        if pure.suffix in (".py", ".pyi", ".pyx", ".so"):
            for parent in _parents(pure):
                found.setdefault(parent.name, set()).add(_text(parent.parent))
    return {name: frozenset(folders) for name, folders in found.items()}


def _parents(path: PurePosixPath) -> Iterator[PurePosixPath]:
    yield from (parent for parent in path.parents if parent.name)


def _text(path: PurePosixPath) -> str:
    return "" if str(path) == "." else str(path)


def submodules(tree: Tree) -> frozenset[str]:
    """Names of the repositories that are parts of this one, whose files are not there."""
    text = tree.text(".gitmodules") or ""
    paths: Iterable[str] = (
        line.partition("=")[2].strip() for line in text.split("\n") if line.strip().startswith("path")
    )
    return frozenset(part.replace("-", "_") for path in paths for part in path.split("/") if part)
