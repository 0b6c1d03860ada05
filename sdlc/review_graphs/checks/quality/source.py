"""Python source as the checks of this panel compare it: functions by name, and what they do without how it is put."""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sdlc.review_graphs.checks.base import ChangedPath, is_test

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

DEEPEST = 200
"""Levels of a syntax tree. What goes through it calls itself; deeper ones are tables made by programs."""
MOST_COMPARED = 4_000
"""Lines of a file that are compared one by one; of longer ones a finding stands at the first change."""


def listed(*lines: str) -> frozenset[str]:
    """The words of some lines."""
    return frozenset(" ".join(lines).split())


_NOT_PRODUCT = listed("alembic doc docs example examples migrations notebooks samples tutorial tutorials")
_NOT_PRODUCT_AT_THE_TOP = listed("benchmark benchmarks bin ci contrib demo demos scripts tools")
_NOT_PRODUCT_NAMES = listed(
    "conftest.py fabfile.py manage.py noxfile.py setup.py version.py _version.py __version__.py"
)


@dataclass(frozen=True)
class Function:
    """A function or method where it is defined."""

    name: str
    """Qualified, such as `Cart.total`; a second one of the same name is `Cart.total#2`."""
    node: FunctionNode
    owner: ast.ClassDef | None = None
    """The class that it is a method of."""
    nested: bool = False
    """Defined inside a function."""

    @property
    def said(self) -> str:
        return self.name.partition("#")[0]

    @property
    def bare(self) -> str:
        return self.node.name

    @property
    def first(self) -> int:
        """The first line, decorators included."""
        return min([self.node.lineno, *(item.lineno for item in self.node.decorator_list)])

    @property
    def last(self) -> int:
        return self.node.end_lineno or self.node.lineno

    @property
    def is_public(self) -> bool:
        return not self.nested and not any(part.startswith("_") for part in self.said.split("."))

    @property
    def parameters(self) -> list[ast.arg]:
        given = self.node.args
        rest = [item for item in (given.vararg, given.kwarg) if item]
        return [*given.posonlyargs, *given.args, *given.kwonlyargs, *rest]


def parsed(text: str | None) -> ast.Module | None:
    """The syntax tree, which nobody may change; None for what is no Python that we can read."""
    return _read(text)[0] if text is not None else None


def nodes(text: str | None) -> Sequence[ast.AST]:
    """All nodes of a module, as `walk` gives them; none where it does not parse."""
    return _read(text)[1] if text is not None else ()


def walk(*roots: ast.AST) -> list[ast.AST]:
    """These nodes and all below them, without operators and contexts: `ast.walk`, in half the time."""
    found = list(roots)
    for node in found:  # which grows meanwhile
        found += children(node)
    return found


@lru_cache(maxsize=512)
def _read(text: str) -> tuple[ast.Module | None, list[ast.AST]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None, []
    found = _levels(tree)
    return (tree, found) if found else (None, [])


@lru_cache(maxsize=512)
def functions(text: str | None) -> Mapping[str, Function]:
    """All functions and methods of a module by qualified name; none where it does not parse."""
    found: dict[str, Function] = {}
    tree = parsed(text)
    for item in _functions(tree.body if tree else (), "", None, False):
        name, number = item.name, 2
        while name in found:
            name, number = f"{item.name}#{number}", number + 1
        found[name] = Function(name, item.node, item.owner, item.nested)
    return found


def is_product(path: str) -> bool:
    """Is it Python that the product is made of: no test, no script, no example, no migration?"""
    *folders, name = path.lower().split("/")
    return (
        path.endswith(".py")
        and not is_test(path)
        and not _NOT_PRODUCT.intersection(folders)
        and not any("example" in folder for folder in folders)
        and not _NOT_PRODUCT_AT_THE_TOP.intersection(folders[:1])
        and name not in _NOT_PRODUCT_NAMES
    )


def statements(node: FunctionNode | ast.ClassDef | ast.Module) -> list[ast.stmt]:
    """The body without its docstring."""
    body = node.body
    first = body[0] if body else None
    match first:
        case ast.Expr(value=ast.Constant(value=str())):
            return body[1:]
    return body


@lru_cache(maxsize=8192)
def local_names(node: FunctionNode) -> frozenset[str]:
    """What a function names itself: its parameters, and what it assigns."""
    outer: set[str] = set()
    own: set[str] = set()
    for item in walk(node):
        if isinstance(item, ast.arg):
            own.add(item.arg)
        elif isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store | ast.Del):
            own.add(item.id)
        elif isinstance(item, ast.ExceptHandler) and item.name:
            own.add(item.name)
        elif isinstance(item, ast.Global | ast.Nonlocal):
            outer.update(item.names)
    return frozenset(own - outer)


def shape(node: ast.AST | Iterable[ast.AST], renamed: Mapping[str, str] | None = None) -> str:
    """What code does, as a text to compare: without places, docstrings and types, names replaced as `renamed` says."""
    nodes = [node] if isinstance(node, ast.AST) else list(node)
    return ",".join(_shape(item, renamed or {}) for item in nodes)


def behaviour(function: Function) -> str:
    """The shape of a function, whatever it and its own variables are called."""
    # In the order in which they come: two functions that swap their variables are not the same.
    order = [item for item in walk(function.node) if isinstance(item, ast.Name | ast.arg)]
    own = local_names(function.node)
    names = dict.fromkeys(item.arg if isinstance(item, ast.arg) else item.id for item in order)
    renamed = {name: f"${number}" for number, name in enumerate(name for name in names if name in own)}
    body = shape(statements(function.node), renamed)
    return f"{shape(function.node.decorator_list)}|{_shape(function.node.args, renamed)}|{body}"


def words(node: ast.AST) -> set[str]:
    """Names, attributes, keywords and whole texts that stand in code, docstrings too."""
    found: set[str] = set()
    for item in walk(node):
        match item:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.alias(name=name):
                found.update(name.split("."))
            case ast.Constant(value=str(text)) if text:
                found.add(text)
    return found


def spoken(names: Iterable[str], most: int = 3) -> str:
    """`` `a`, `b`, `c` and 2 more``."""
    every = list(names)
    shown = ", ".join(f"`{name}`" for name in every[:most])
    return f"{shown} and {len(every) - most} more" if len(every) > most else shown


def head_line(before: str, after: str, line: int) -> int:
    """Where a line of the base is on the head, or would be: next to what stands there in its place."""
    old, new = before.split("\n"), after.split("\n")
    first = 0
    while first < min(len(old), len(new)) and old[first] == new[first]:
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and old[-1 - last] == new[-1 - last]:
        last += 1
    if line <= first:
        return line
    if line > len(old) - last:
        return line - len(old) + len(new)
    middle_old, middle_new = old[first : len(old) - last], new[first : len(new) - last]
    at = first + 1
    if max(len(middle_old), len(middle_new)) <= MOST_COMPARED:
        for tag, start, end, to, to_end in difflib.SequenceMatcher(None, middle_old, middle_new).get_opcodes():
            if start <= line - 1 - first < end:
                offset = line - 1 - first - start
                at = first + 1 + (to + offset if tag == "equal" else min(to + offset, max(to_end - 1, to)))
    return max(1, min(at, len(new) - (not new[-1])))


def shown_at(file: ChangedPath, first: int, last: int) -> int:
    """Where a finding about lines `first` to `last` stands: `first` if the change adds it, else what it adds there."""
    if file.has_added(first):
        return first
    return next((max(start, first) for start, end in file.added if start <= last and first <= end), first)


@lru_cache(maxsize=512)
def lines(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n"))


def is_same(item: Function, text: str, other: Function, before: str) -> bool:
    """Does one function stand in two texts word for word?"""
    return lines(text)[item.first - 1 : item.last] == lines(before)[other.first - 1 : other.last]


def _functions(body: Iterable[ast.stmt], prefix: str, owner: ast.ClassDef | None, nested: bool) -> Iterator[Function]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Function(f"{prefix}{node.name}", node, owner, nested)
            yield from _functions(node.body, f"{prefix}{node.name}.", None, True)
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}{node.name}.", node, nested)
        else:
            yield from _functions(_below(node), prefix, owner, nested)


def _below(node: ast.stmt) -> Iterator[ast.stmt]:
    """The statements inside a statement that is no definition."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from child.body


_LEFT_OUT = frozenset({"annotation", "returns", "type_comment", "type_params", "ctx", "kind", "simple"})


def _shape(value: object, renamed: Mapping[str, str]) -> str:
    if isinstance(value, list):
        return "[" + ",".join([_shape(item, renamed) for item in value]) + "]"
    if isinstance(value, ast.AnnAssign):
        if value.value is None:
            return ""
        return f"Assign([{_shape(value.target, renamed)}],{_shape(value.value, renamed)})"
    if isinstance(value, ast.Assign):
        return f"Assign({_shape(value.targets, renamed)},{_shape(value.value, renamed)})"
    if isinstance(value, ast.Name):
        return f"Name({renamed.get(value.id, value.id)})"
    if isinstance(value, ast.arg):
        return f"arg({renamed.get(value.arg, value.arg)})"
    if isinstance(value, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        fields = [(name, item) for name, item in ast.iter_fields(value) if name != "body"]
        fields.append(("body", statements(value)))
    elif isinstance(value, ast.AST):
        fields = list(ast.iter_fields(value))
    else:
        return repr(value)
    parts = [_shape(item, renamed) for name, item in fields if name not in _LEFT_OUT]
    return f"{type(value).__name__}({','.join(parts)})"


def _levels(tree: ast.Module) -> list[ast.AST]:
    """All nodes; none of a tree that is too deep."""
    found: list[ast.AST] = []
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        found += level
        level = [child for node in level for child in children(node)]
        if not level:
            return found
    return []


_KEPT: dict[type[ast.AST], tuple[str, ...]] = {}
"""Kind of node → its fields, without those that hold no code."""


def children(node: ast.AST) -> list[ast.AST]:
    """`ast.iter_child_nodes`, without operators and contexts."""
    kind = type(node)
    if kind not in _KEPT:
        _KEPT[kind] = tuple(name for name in kind._fields if name not in ("ctx", "op", "ops", "kind", "type_comment"))
    found: list[ast.AST] = []
    for name in _KEPT[kind]:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found
