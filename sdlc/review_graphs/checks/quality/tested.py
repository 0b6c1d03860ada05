"""A test as it is compared: what it is about, what it claims, and whether it is run."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

from sdlc.review_graphs.checks.quality import skips
from sdlc.review_graphs.checks.quality.assertions import Claim, claims, name_of
from sdlc.review_graphs.checks.quality.skips import Skip
from sdlc.review_graphs.checks.quality.source import (
    Function,
    behaviour,
    functions,
    local_names,
    nodes,
    parsed,
    shape,
    walk,
    words,
)

ALIKE = 0.6
"""Share of words that two tests have in common from which one is taken for the other, rewritten."""
CALLED_ALIKE = 0.8
"""Of two names, from which half as many common words will do."""
COVERED = 0.9
"""Share of a test's words that another one has, from which it is taken to be part of that."""


@dataclass(frozen=True)
class Tested:
    """A test of one version of a file."""

    path: str
    """On the head, where the file is; on the base if it was deleted."""
    function: Function
    text: str
    """Of the whole file."""

    @property
    def bare(self) -> str:
        return self.function.bare

    @property
    def name(self) -> str:
        return self.function.said

    @cached_property
    def own(self) -> frozenset[str]:
        return local_names(self.function.node)

    @cached_property
    def words(self) -> frozenset[str]:
        """What it is about: names that are not its own, texts and numbers."""
        return vocabulary(self.function.node) - self.own - {self.bare}

    @cached_property
    def keywords(self) -> frozenset[str]:
        """The names by which it gives arguments."""
        return frozenset(item.arg for item in walk(self.function.node) if isinstance(item, ast.keyword) and item.arg)

    @cached_property
    def does(self) -> str:
        return behaviour(self.function)

    @cached_property
    def claims(self) -> list[Claim]:
        return claims(self.function)

    @cached_property
    def claimed(self) -> frozenset[str]:
        """Its claims, whatever its own variables are called."""
        return frozenset(self.key_of(claim) for claim in self.claims)

    @property
    def skip(self) -> Skip | None:
        """What keeps it from being run, or from failing."""
        module = skips.of_module(parsed(self.text))
        return module or skips.of_class(self.function.owner) or skips.of_function(self.function)

    def key_of(self, claim: Claim) -> str:
        return shape(claim.node, dict.fromkeys(self.own, "_"))

    def is_like(self, other: Tested) -> bool:
        """Is the other this one, perhaps rewritten?"""
        common = len(self.words & other.words) / max(len(self.words | other.words), 1)
        if self.does == other.does or common >= ALIKE:
            return True
        is_called_alike = SequenceMatcher(None, self.bare, other.bare).ratio() >= CALLED_ALIKE
        return is_called_alike and common >= ALIKE / 2

    def is_part_of(self, other: Tested) -> bool:
        """Does the other say all that this one says?"""
        return bool(other.claims) and len(self.words & other.words) >= COVERED * len(self.words)


def tests_of(path: str, text: str | None) -> dict[str, Tested]:
    """The tests of a file by qualified name."""
    return {
        name: Tested(path, item, text or "")
        for name, item in functions(text).items()
        if item.bare.startswith("test") and not item.nested
    }


def vocabulary(node: ast.AST) -> frozenset[str]:
    """The words of a piece of code, and its numbers."""
    numbers = {
        repr(item.value)
        for item in walk(node)
        if isinstance(item, ast.Constant) and isinstance(item.value, int | float | complex)
    }
    return frozenset(words(node) | numbers)


def offered(text: str | None) -> set[str]:
    """What a module of the product defines, takes, says and raises: what a test may be about."""
    found: set[str] = set()
    for node in nodes(text):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.arg(arg=name) | ast.keyword(arg=str(name)) | ast.Attribute(attr=name, ctx=ast.Store()):
                found.add(name)
            case ast.Constant(value=str(text)) if len(text) > 2:
                found.add(text)
            case ast.Raise(exc=ast.expr() as raised):
                found.add(name_of(raised.func if isinstance(raised, ast.Call) else raised))
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    tree = parsed(text)
    for node in tree.body if tree else ():
        if isinstance(node, ast.Assign):
            found.update(item.id for item in node.targets if isinstance(item, ast.Name))
    return found - {""}
