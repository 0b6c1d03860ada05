"""Who uses a name: imports, attributes, calls, and members of objects whose class can be read off the code.

What can't be read off is not told: a name that is bound twice, an object of unknown class, an import that may fail.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sdlc.review_graphs.checks.architecture.modules import is_package
from sdlc.review_graphs.checks.architecture.names import Names
from sdlc.review_graphs.checks.architecture.syntax import AnyFunction, Definition, imported_module, parsed, targets
from sdlc.review_graphs.checks.base import is_test

MOST_PARSED = 400
"""Files that mention a name and are looked at."""


@dataclass(frozen=True)
class Use:
    """One place that uses what a dotted name leads to."""

    dotted: str
    path: str
    line: int
    how: str
    """`imports`, `uses` or `calls`."""
    call: ast.Call | None = None
    is_bound: bool = False
    """A call of a method of an object, so that the first parameter is given."""


@dataclass(frozen=True)
class _Object:
    """An object of a class, by the name that the class goes by where it is defined."""

    class_: str


_Value = str | _Object | None
"""What a name stands for: a dotted name, an object, or nothing certain."""


def uses(names: Names, wanted: Iterable[tuple[str, str]]) -> list[Use]:
    """All uses of these (module, name in it) in a tree, those outside tests first."""
    sought = {f"{module}.{name}" if name else module: (module, name) for module, name in wanted}
    words = _words(names)
    suspected: dict[str, set[str]] = defaultdict(set)
    for dotted, (module, name) in sought.items():
        for path in _suspects(names, words, module, name):
            suspected[path].add(dotted)
    found: list[Use] = []
    for path in sorted(suspected, key=lambda path: (is_test(path), path))[:MOST_PARSED]:
        syntax = parsed(names.tree, path)
        if syntax is not None:
            reader = _Reader(names, path, frozenset(suspected[path]))
            reader.read(syntax)
            found += reader.found
    return found


_WORD = re.compile(r"[^\W\d]\w*")


def _words(names: Names) -> dict[str, frozenset[str]]:
    """All words of the Python files of a tree."""
    files = [path for path in names.tree.paths if path.endswith(".py")]
    return {path: frozenset(_WORD.findall(names.tree.text(path) or "")) for path in files}


def _suspects(names: Names, words: Mapping[str, frozenset[str]], module: str, name: str) -> Iterator[str]:
    """Files that may use it: they have its words, and those of a module to have it from."""
    own = names.layout.path_of.get(module, "")
    needed = set(name.split(".")) if name else {module.rpartition(".")[2]}
    passing = [path for path in words if is_package(path) and needed <= words[path]]
    tails = {module.rpartition(".")[2], *(path.split("/")[-2] for path in passing if "/" in path)}
    folders = {path.rpartition("/")[0] for path in passing}
    for path, found in words.items():
        is_own = path == own and name.rpartition(".")[2] in found
        if is_own or (needed <= found and (not name or found & tails or path.rpartition("/")[0] in folders)):
            yield path


class _Reader(ast.NodeVisitor):
    def __init__(self, names: Names, path: str, sought: frozenset[str]) -> None:
        self._names, self._path, self._sought = names, path, sought
        self._module = names.layout.name_of.get(path, "")
        self._scopes: list[dict[str, _Value]] = []
        last = {dotted.rpartition(".")[2] for dotted in sought} | {"__init__"}
        text = names.tree.text(path) or ""
        self._lines = [number for number, line in enumerate(text.split("\n"), 1) if last & set(_WORD.findall(line))]
        """Where one of the names is."""
        self._above: list[_Value] = []
        """What `super()` is in the classes that are being read."""
        self._class = ""
        """Of the function that is read next, if it is a method."""
        self._may_fail = 0
        self.found: list[Use] = []

    def read(self, syntax: ast.Module) -> None:
        with self._scope(syntax.body):
            for statement in syntax.body:
                self.visit(statement)

    def visit(self, node: ast.AST) -> None:
        """Only what has one of the names in it is gone into."""
        if isinstance(node, ast.stmt):
            first = bisect_left(self._lines, _first_line(node))
            if first == len(self._lines) or self._lines[first] > (node.end_lineno or node.lineno):
                return
        super().visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._use(alias.name, alias.lineno, "imports")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        behind = self._behind(node)
        if behind is None:
            return
        for number, alias in enumerate(node.names):
            if self._names.lead(behind) in self._sought:
                self._use(behind, node.lineno, "imports") if number == 0 else None
            else:
                self._use(f"{behind}.{alias.name}", alias.lineno, "imports")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        value = self._value(node)
        if isinstance(value, str) and isinstance(node.ctx, ast.Load):
            self._use(value, node.end_lineno or node.lineno, "uses")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        value = self._value(node.func)
        if isinstance(value, str):
            is_bound = isinstance(node.func, ast.Attribute) and isinstance(self._value(node.func.value), _Object)
            self._use(value, node.lineno, "calls", node, is_bound=is_bound)
        for child in ast.iter_child_nodes(node):
            if child is node.func and isinstance(child, ast.Attribute):
                self.visit(child.value)
                if isinstance(value, str):
                    self._use(value, child.end_lineno or child.lineno, "uses")
            else:
                self.visit(child)

    def visit_Try(self, node: ast.Try) -> None:
        caught = {name for handler in node.handlers for name in _names_in(handler.type)}
        is_bare = any(handler.type is None for handler in node.handlers)
        may_fail = is_bare or bool(
            caught & {"ImportError", "ModuleNotFoundError", "AttributeError", "TypeError", "Exception"}
        )
        with self._guarded(may_fail):
            for statement in node.body:
                self.visit(statement)
        with self._guarded(may_fail):
            for child in (*node.handlers, *node.orelse, *node.finalbody):
                self.visit(child)

    def visit_If(self, node: ast.If) -> None:
        with self._guarded(bool(_names_in(node.test) & {"hasattr", "getattr", "version_info"})):
            self.generic_visit(node)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        with self._guarded(
            any(_names_in(item.context_expr) & {"raises", "suppress", "assertRaises"} for item in node.items)
        ):
            self.generic_visit(node)

    visit_AsyncWith = visit_With

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        class_, self._class = self._class, ""
        self._function(node, class_)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._scopes.append({argument.arg: None for argument in _arguments(node.args)})
        self.visit(node.body)
        self._scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for child in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(child)
        own = f"{self._module}.{node.name}" if len(self._scopes) == 1 and self._module else ""
        above = self._value(node.bases[0]) if len(node.bases) == 1 else None
        self._above.append(_Object(self._names.lead(above)) if isinstance(above, str) else None)
        for statement in node.body:
            if isinstance(statement, AnyFunction):
                self._class = own
                self.visit(statement)
                self._class = ""
            else:
                self.visit(statement)
        self._above.pop()

    def _function(self, node: AnyFunction, class_: str) -> None:
        for child in (*node.decorator_list, *_outside(node)):
            self.visit(child)
        with self._scope(node.body, node.args):
            scope = self._scopes[-1]
            arguments = _arguments(node.args)
            for argument in arguments:
                scope[argument.arg] = self._object_of(argument.annotation)
            decorators = {name for decorator in node.decorator_list for name in _names_in(decorator)}
            if class_ and arguments and "staticmethod" not in decorators:
                scope[arguments[0].arg] = class_ if "classmethod" in decorators else _Object(class_)
            for statement in node.body:
                self.visit(statement)

    @contextmanager
    def _scope(self, body: Sequence[ast.stmt], arguments: ast.arguments | None = None) -> Iterator[None]:
        """The names that a function or a module binds. What is bound more than once stands for nothing certain."""
        scope: dict[str, _Value] = {argument.arg: None for argument in _arguments(arguments)} if arguments else {}
        self._scopes.append(scope)
        for statement in _statements(body):
            for name, value in self._bound(statement):
                scope[name] = value if name not in scope or scope[name] == value else None
        yield
        self._scopes.pop()

    def _bound(self, statement: ast.AST) -> Iterator[tuple[str, _Value]]:
        match statement:
            case ast.Import():
                for alias in statement.names:
                    top = alias.name.partition(".")[0]
                    yield (alias.asname, alias.name) if alias.asname else (top, top)
            case ast.ImportFrom():
                behind = self._behind(statement)
                for alias in statement.names:
                    yield alias.asname or alias.name, f"{behind}.{alias.name}" if behind else None
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=function)):
                value = self._value(function)
                yield name, _Object(self._names.lead(value)) if isinstance(value, str) else None
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                yield name, self._object_of(annotation)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, f"{self._module}.{name}" if len(self._scopes) == 1 and self._module else None
            case ast.stmt():
                yield from ((name, None) for name in targets(statement))
            case ast.comprehension(target=target):
                yield from ((node.id, None) for node in ast.walk(target) if isinstance(node, ast.Name))
            case (
                ast.NamedExpr(target=ast.Name(id=name))
                | ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
            ):
                yield name, None

    def _behind(self, node: ast.ImportFrom) -> str | None:
        if node.level and not self._module:
            return None
        return imported_module(node, self._module, is_package=is_package(self._path))

    def _value(self, node: ast.expr) -> _Value:
        match node:
            case ast.Name(id=name):
                return next((scope[name] for scope in reversed(self._scopes) if name in scope), None)
            case ast.Attribute(value=inner, attr=attribute):
                value = self._value(inner)
                if isinstance(value, _Object):
                    return self._member(value.class_, attribute)
                return f"{value}.{attribute}" if value else None
            case ast.Call(func=ast.Name(id="super"), args=[]) if self._above:
                return self._above[-1]
            case ast.Call(func=function):
                value = self._value(function)
                return _Object(self._names.lead(value)) if isinstance(value, str) else None
        return None

    def _member(self, class_: str, name: str) -> str:
        """Where an object of a class has a member from: the class, or the first above it that is asked for."""
        todo, seen = [class_], {class_}
        while todo:
            current = todo.pop(0)
            if f"{current}.{name}" in self._sought or (name == "__init__" and current in self._sought):
                return f"{current}.{name}"
            node = self._names.class_of(current)
            if node is None or any(name in targets(item) for item in node.body):
                break
            for base in node.bases:
                behind = self._names.expression(self._names.split(current)[0], base)
                above = self._names.lead(behind) if behind else ""
                if above not in seen:
                    seen.add(above)
                    todo.append(above)
        return f"{class_}.{name}"

    def _object_of(self, annotation: ast.expr | None) -> _Value:
        if isinstance(annotation, ast.Name | ast.Attribute):
            value = self._value(annotation)
            return _Object(self._names.lead(value)) if isinstance(value, str) else None
        return None

    def _use(self, dotted: str, line: int, how: str, call: ast.Call | None = None, *, is_bound: bool = False) -> None:
        found = self._names.lead(dotted.removesuffix(".__init__") if is_bound else dotted)
        if found in self._sought and not self._may_fail:
            self.found.append(Use(found, self._path, line, how, call, is_bound))

    @contextmanager
    def _guarded(self, may_fail: bool) -> Iterator[None]:
        self._may_fail += may_fail
        yield
        self._may_fail -= may_fail


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """All that may bind a name in a scope, without what stands in inner functions and classes."""
    todo: list[ast.AST] = list(reversed(body))
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, AnyFunction | ast.ClassDef | ast.Lambda):
            todo += reversed(list(ast.iter_child_nodes(node)))


def _first_line(node: ast.stmt) -> int:
    """Of a statement, with the decorators of a definition."""
    decorators = node.decorator_list if isinstance(node, Definition) else []
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    more = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *more]


def _outside(node: AnyFunction) -> list[ast.expr]:
    """What of a function is evaluated where it is defined."""
    annotations = [argument.annotation for argument in _arguments(node.args)]
    return [part for part in (*node.args.defaults, *node.args.kw_defaults, *annotations, node.returns) if part]


def _names_in(node: ast.AST | None) -> set[str]:
    if node is None:
        return set()
    walked = list(ast.walk(node))
    return {item.id for item in walked if isinstance(item, ast.Name)} | {
        item.attr for item in walked if isinstance(item, ast.Attribute)
    }
