"""What a change makes too large to be read in one go: modules, functions, classes, lists of parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sdlc.review_graphs.checks.architecture.names import last_name
from sdlc.review_graphs.checks.architecture.syntax import AnyFunction, Definition, parsed
from sdlc.review_graphs.checks.base import ChangedPath, Raised, Tree, Trees, is_test

MOST_FUNCTION_LINES = 100
"""Lines of code: without comments, docstrings, empty lines, what is nested, and literals of many lines."""
MOST_METHODS = 30
MOST_PARAMETERS = 8
"""That may be given by position, or that must be given."""
GROWTH = 1.1
"""How much larger a module must get that is too large already."""
LITERAL_LINES = 8
"""A literal of as many lines is data, which is not read as code is."""
DATA_SHARE = 0.6
"""A module of which as much is literals is a table."""

_PLAIN_DECORATORS = frozenset(
    {"abstractmethod", "asynccontextmanager", "cache", "classmethod", "contextmanager", "lru_cache", "staticmethod"}
)
_VISITS = ("visit_", "depart_", "leave_")


class Size:
    """Growth beyond a limit, once for each thing, and never where it was as large before or elsewhere."""

    name = "size"
    required = True

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py") and not is_test(path)

    def run(self, trees: Trees) -> Iterator[Raised]:
        files = [file for file in trees.files if self.looks_at(file.path) and not file.is_generated]
        read = {file.path: (_read(trees.base, file.old_path), _read(trees.head, file.path)) for file in files}
        gone = [
            (path, thing)
            for path, (before, now) in read.items()
            for name, thing in before.things.items()
            if name not in now.things
        ]
        for file in files:
            if file.added:
                before, now = read[file.path]
                yield from _module(file, before, now, int(trees.rules["largest_module"]))
                yield from _things(file, before, now, gone)


@dataclass(frozen=True)
class _Sizes:
    statements: int = 0
    lines: int = 0
    methods: int = 0
    parameters: int = 0


@dataclass(frozen=True)
class _Thing:
    """A function or a class."""

    name: str
    """Qualified, such as `Cart.add`."""
    node: Definition
    sizes: _Sizes


@dataclass(frozen=True)
class _Module:
    lines: int = 0
    is_data: bool = False
    things: dict[str, _Thing] = field(default_factory=dict)


def _module(file: ChangedPath, before: _Module, now: _Module, most: int) -> Iterator[Raised]:
    if now.is_data or now.lines <= most or now.lines <= before.lines * (GROWTH if before.lines > most else 1):
        return
    grown = f"grows from {before.lines:,} to {now.lines:,} lines" if before.lines else f"has {now.lines:,} lines"
    message = (
        f"The module {grown}; beyond {most:,} nobody finds their way in it. Put what belongs together into a module "
        "of its own (`largest_module` in `.sdlc.yml` is the limit)."
    )
    yield Raised("module", file.path, file.first_added, "minor", message)


def _things(file: ChangedPath, before: _Module, now: _Module, gone: Sequence[tuple[str, _Thing]]) -> Iterator[Raised]:
    for thing in now.things.values():
        first, last = thing.node.lineno, thing.node.end_lineno or thing.node.lineno
        added = [line for line in range(first, last + 1) if file.has_added(line)]
        if not added:
            continue
        # What has no forerunner of its name may be one that is gone from this file, or moved from another.
        own = before.things.get(thing.name)
        others = [old for path, old in gone if path == file.path or old.node.name == thing.node.name]
        was, sizes = _most([own] if own else others), thing.sizes
        if was.lines <= MOST_FUNCTION_LINES < sizes.lines and sizes.statements > was.statements:
            message = (
                f"`{thing.name}` has {sizes.lines} lines of code{f', {was.lines} before' if own else ''}: more than "
                "can be read or tested as one. Give its steps functions with names."
            )
            yield Raised("function", file.path, added[0], "minor", message)
        if was.methods <= MOST_METHODS < sizes.methods:
            message = (
                f"`{thing.name}` has {sizes.methods} methods{f', {was.methods} before' if own else ''}: more than one "
                "subject by all odds. Put those that share a part of its state into a class of their own."
            )
            yield Raised("class", file.path, added[0], "minor", message)
        if was.parameters <= MOST_PARAMETERS < sizes.parameters and added[0] <= max(
            first, thing.node.body[0].lineno - 1
        ):
            message = (
                f"`{thing.name}` takes {sizes.parameters} parameters, which callers mix up. Hand over what belongs "
                "together as one object, or make those with a default keyword-only."
            )
            yield Raised("parameters", file.path, added[0], "minor", message)


def _most(things: Sequence[_Thing]) -> _Sizes:
    """The largest of each, as far as there are any."""
    sizes = [thing.sizes for thing in things] or [_Sizes()]
    return _Sizes(
        max(size.statements for size in sizes),
        max(size.lines for size in sizes),
        max(size.methods for size in sizes),
        max(size.parameters for size in sizes),
    )


def _read(tree: Tree, path: str) -> _Module:
    text, module = (tree.text(path), parsed(tree, path)) if path else (None, None)
    if text is None or module is None:
        return _Module()
    lines = text.split("\n")
    empty = {number for number, line in enumerate(lines, 1) if not line.strip() or line.lstrip().startswith("#")}
    data = _literal_lines(module)
    things = {thing.name: thing for thing in _defined(module, "", empty | data)}
    return _Module(text.count("\n") + (not text.endswith("\n")), len(data) > DATA_SHARE * len(lines), things)


def _defined(node: ast.Module | Definition, prefix: str, left_out: set[int]) -> Iterator[_Thing]:
    for child in _definitions_in(node):
        name = f"{prefix}{child.name}"
        if isinstance(child, ast.ClassDef):
            names = {item.name for item in child.body if isinstance(item, AnyFunction)}
            yield _Thing(name, child, _Sizes(methods=sum(not item.startswith(_VISITS) for item in names)))
        else:
            statements = sum(isinstance(item, ast.stmt) for item in ast.walk(child))
            lines, parameters = _code_lines(child, left_out), _parameters(child, node)
            yield _Thing(name, child, _Sizes(statements, lines, parameters=parameters))
        yield from _defined(child, f"{name}.", left_out)


def _definitions_in(node: ast.AST) -> Iterator[Definition]:
    """Those that stand in it, in branches too, and not those within them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            yield child
        elif isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _definitions_in(child)


def _code_lines(function: AnyFunction, left_out: set[int]) -> int:
    lines = set(range(function.lineno, (function.end_lineno or function.lineno) + 1)) - left_out
    for nested in _definitions_in(function):
        lines -= set(range(nested.lineno, (nested.end_lineno or nested.lineno) + 1))
    if ast.get_docstring(function, clean=False) is not None:
        lines -= set(range(function.body[0].lineno, (function.body[0].end_lineno or 0) + 1))
    return len(lines)


def _literal_lines(module: ast.Module) -> set[int]:
    """The lines of long literals without code in them, but for their first."""
    found: set[int] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Dict | ast.List | ast.Set | ast.Tuple | ast.Constant | ast.JoinedStr):
            last = node.end_lineno or node.lineno
            if last - node.lineno >= LITERAL_LINES and node.lineno not in found and not _has_code(node):
                found.update(range(node.lineno + 1, last + 1))
    return found


def _has_code(node: ast.AST) -> bool:
    code = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Await, ast.Yield, ast.IfExp)
    return any(isinstance(child, code) for child in ast.walk(node))


def _parameters(function: AnyFunction, inside: ast.AST) -> int:
    """How many a caller has to tell apart; 0 where others than its author decide what it takes."""
    decorators = {last_name(decorator) for decorator in function.decorator_list}
    if not decorators <= _PLAIN_DECORATORS:
        return 0
    is_method = isinstance(inside, ast.ClassDef)
    if isinstance(inside, ast.ClassDef) and inside.bases and function.name != "__init__":
        return 0
    found = function.args
    by_position = [*found.posonlyargs, *found.args]
    defaults = [*[None] * (len(by_position) - len(found.defaults)), *found.defaults]
    required = [(name, None) for name, default in zip(found.kwonlyargs, found.kw_defaults, strict=True) if not default]
    own = is_method and "staticmethod" not in decorators
    counted = [*zip(by_position, defaults, strict=True)][own:] + required
    return sum(not _is_filled_in(argument, default) for argument, default in counted)


def _is_filled_in(argument: ast.arg, default: ast.expr | None) -> bool:
    """Does a framework give the value, as for `Annotated[str, Option()]` and `user = Depends(current)`?"""
    annotation = argument.annotation
    is_annotated = isinstance(annotation, ast.Subscript) and last_name(annotation.value) == "Annotated"
    return is_annotated or isinstance(default, ast.Call)
