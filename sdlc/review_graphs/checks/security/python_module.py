"""A module of Python as the rules of insecure code need it: what names mean, and what stands around a node."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property

from sdlc.review_graphs.checks.base import Level
from sdlc.review_graphs.checks.security.risk import Risk

Function = ast.FunctionDef | ast.AsyncFunctionDef
LONGEST_KEY = 400
"""Characters of code by which a risk is found again on the base."""


class Module:
    def __init__(self, text: str, path: str) -> None:
        """Raises SyntaxError, or what else the parser raises for what it can't read."""
        self.path = path
        self.tree = ast.parse(text)
        self._parents: dict[int, ast.AST] = {}
        self.nodes: list[ast.AST] = []
        self._aliases: dict[str, str] = {}
        for node in ast.walk(self.tree):
            self.nodes.append(node)
            for child in ast.iter_child_nodes(node):
                self._parents[id(child)] = node
            self._learn(node)

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                self._aliases[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                self._aliases[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"

    @cached_property
    def calls(self) -> list[tuple[ast.Call, str]]:
        """All calls with the full name of what is called."""
        return [(node, self.full(node.func)) for node in self.nodes if isinstance(node, ast.Call)]

    @property
    def functions(self) -> Iterator[Function]:
        return (node for node in self.nodes if isinstance(node, Function))

    def full(self, node: ast.AST | None) -> str:
        """`jwt.decode` for whatever the module has imported it as; empty for what has no name."""
        if isinstance(node, ast.Name):
            return self._aliases.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            before = self.full(node.value)
            return f"{before}.{node.attr}" if before else ""
        if isinstance(node, ast.Call):
            before = self.full(node.func)
            return f"{before}()" if before else ""
        return ""

    def imports(self, *packages: str) -> bool:
        return any(name.partition(".")[0] in packages for name in self._aliases.values())

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """What the node stands in, from the inside out."""
        parent = self._parents.get(id(node))
        while parent is not None:
            yield parent
            parent = self._parents.get(id(parent))

    def function(self, node: ast.AST) -> Function | None:
        return next((outer for outer in self.around(node) if isinstance(outer, Function)), None)

    def scope(self, node: ast.AST) -> ast.AST:
        return self.function(node) or self.tree

    def statement(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.stmt):
            return node
        return next((outer for outer in self.around(node) if isinstance(outer, ast.stmt)), node)

    def is_under(self, node: ast.AST, condition: re.Pattern[str]) -> bool:
        """Does an `if` around it ask for something that matches?"""
        return any(
            isinstance(outer, ast.If | ast.IfExp) and condition.search(ast.unparse(outer.test))
            for outer in self.around(node)
        )

    def given(self, name: str, scope: ast.AST) -> list[ast.expr]:
        """All values that a name is given in a scope: by assignments, and by `with … as`."""
        found: list[ast.expr] = []
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign):
                found += [node.value for target in node.targets if _is(target, name)]
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr | ast.AugAssign):
                found += [node.value] if node.value is not None and _is(node.target, name) else []
            elif isinstance(node, ast.withitem) and node.optional_vars and _is(node.optional_vars, name):
                found.append(node.context_expr)
        return found

    def resolved(self, node: ast.expr | None) -> ast.expr | None:
        """What a name stands for, where it is given one value in its scope or in the module; else the node itself."""
        if isinstance(node, ast.Name):
            for scope in (self.scope(node), self.tree):
                found = self.given(node.id, scope)
                if len(found) == 1:
                    return found[0]
        return node


def risk(rule: str, severity: Level, message: str, node: ast.AST, confidence: float = 0.8) -> Risk:
    first = getattr(node, "lineno", 1)
    last = getattr(node, "end_lineno", None) or first
    key = ast.unparse(node)[:LONGEST_KEY]
    return Risk(rule, severity, message, tuple(range(first, min(last, first + 60) + 1)), key, confidence)


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((item.value for item in call.keywords if item.arg == name), None)


def is_constant(node: ast.AST | None, *values: object) -> bool:
    """Is it one of these literal values, of the same type?"""
    return isinstance(node, ast.Constant) and any(
        node.value == value and type(node.value) is type(value) for value in values
    )


def text_of(node: ast.AST | None) -> str:
    """Of a literal text; empty for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def last_name(node: ast.AST | None) -> str:
    """`password` of `self.form.password`, of `form["password"]` and of itself."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return text_of(node.slice) if isinstance(node, ast.Subscript) else ""


def decorators(function: Function | ast.ClassDef) -> list[str]:
    return [ast.unparse(decorator) for decorator in function.decorator_list]


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
