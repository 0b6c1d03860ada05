"""Who uses a name: of Python what vulture sees, of all other files every word."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO

from sdlc.review_graphs.checks.base import NotRun, Tree
from sdlc.review_graphs.checks.quality.source import nodes, parsed

MOST_FILES = 20_000
"""Of a tree in which uses are looked for: a second or two of reading."""
FEW = 40
"""Up to here names are looked for one by one, which is faster than taking a file apart into words."""

_AFTER = "unreachable code after"
_WORD = re.compile(rb"[A-Za-z_]\w*")
_PART = re.compile(r"[A-Za-z_]\w*")
_ASKED = re.compile(
    # getattr(of, f"start_{x}"), getattr(of, "start_" + x), getattr(of, "start_%s" % x), getattr(of, x)
    r"\bgetattr\(\s*(?P<of>[\w.]+)\s*,\s*"
    r"(?:[rf]{0,2}(?P<quote>[\"'])(?P<start>\w*)(?P<open>[{%]|(?P=quote)\s*[+%.])|\w)"
)
_LISTED = re.compile(r"\b(?:vars|dir|getmembers)\(\s*([\w.]+)|\b([\w.]+)\.__dict__")
_OWN = re.compile(r"\b(?:globals|locals|vars|dir)\(\)|sys\.modules\[__name__\]|__subclasses__\(")
_REFLECTS = re.compile(rb"getattr\(|vars\(|dir\(|getmembers\(|__dict__|globals\(|locals\(|sys\.modules|__subclasses__")


class Uses:
    """Where each of some names is used in a tree.

    Raises NotRun for a tree with more files than can be read in passing.
    """

    def __init__(self, tree: Tree, names: Collection[str]) -> None:
        if len(tree.paths) > MOST_FILES:
            raise NotRun(f"uses are looked for in at most {MOST_FILES:,} files; put it into `review.without`")
        self._tree = tree
        self._users: dict[str, set[str]] = {name: set() for name in names}
        self._starts: set[str] = set()
        self._asked_of: set[str] = set()
        self._ask_themselves: set[str] = set()
        if names:
            for path in tree.paths:
                self._read(path)

    def users(self, name: str) -> set[str]:
        """The files that use it."""
        return self._users[name]

    def by_text(self, name: str, path: str) -> bool:
        """May something of this file be got at by a text that is made at run time, or by going through its names?"""
        stem = path.rpartition("/")[2].removesuffix(".py")
        return (
            path in self._ask_themselves
            or stem in self._asked_of
            or any(start and name.startswith(start) for start in self._starts)
        )

    def _read(self, path: str) -> None:
        content = self._tree.content(path)
        if not content or b"\0" in content[:8_000]:
            return
        is_python = path.endswith(".py")
        if is_python and _REFLECTS.search(content):
            self._ask(path, content.decode("utf-8", "replace"))
        mentioned = _mentioned(content, self._users)
        if not mentioned:
            return
        seen = scanned(content.decode("utf-8", "replace"), path) if is_python else None
        for name in mentioned:
            if seen is None or name in seen.used:
                self._users[name].add(path)

    def _ask(self, path: str, text: str) -> None:
        of = [first or second for first, second in _LISTED.findall(text)]
        for found in _ASKED.finditer(text):
            if found["open"] and found["start"]:
                self._starts.add(found["start"])
            else:
                of.append(found["of"])
        if _OWN.search(text) or any(name.partition(".")[0] in ("self", "cls", "type") for name in of):
            self._ask_themselves.add(path)
        self._asked_of.update(name.rpartition(".")[2] for name in of)


class Mentions:
    """Which files of a tree hold one of some words; of those with these endings only."""

    def __init__(self, tree: Tree, names: Collection[str], *, endings: tuple[str, ...]) -> None:
        self._found: dict[str, set[str]] = {name: set() for name in names}
        for path in tree.paths[:MOST_FILES]:
            if path.endswith(endings) and (content := tree.content(path)):
                for name in _mentioned(content, self._found):
                    self._found[name].add(path)

    def of(self, name: str) -> set[str]:
        return self._found[name]


@dataclass(frozen=True)
class Unreachable:
    """Lines of a module that are never run."""

    after: str
    """What ends the way there: `return`, `raise`, `continue`, `break`, or a statement all of whose branches do."""
    first: int
    last: int


@dataclass(frozen=True)
class Scanned:
    """What vulture sees in a module."""

    used: frozenset[str]
    """Names that are used, in code or in a text that is no docstring."""
    unreachable: tuple[Unreachable, ...]


@lru_cache(maxsize=512)
def scanned(text: str | None, path: str) -> Scanned | None:
    """None if the text can't be read as Python."""
    from vulture import Vulture  # type: ignore[import-untyped]
    from vulture.utils import ExitCode  # type: ignore[import-untyped]

    if parsed(text) is None:
        return None
    scan = Vulture()
    try:
        with redirect_stderr(StringIO()):
            scan.scan(text, path)
    except (TypeError, ValueError, ArithmeticError, RecursionError):
        return None  # it works out conditions of constants, and does not foresee those that can't be
    if scan.exit_code is not ExitCode.NoDeadCode:
        return None
    exported = _imported(nodes(text)) if path.endswith("__init__.py") else frozenset()
    ends = [item for item in scan.unreachable_code if item.message.startswith(_AFTER)]
    return Scanned(
        frozenset({*scan.used_names, *_in_texts(nodes(text)), *exported}),
        tuple(Unreachable(item.name, item.first_lineno, item.last_lineno) for item in ends),
    )


def _mentioned(content: bytes, names: Collection[str]) -> list[str]:
    if len(names) <= FEW:
        return [
            name
            for name in names
            if name.encode() in content and re.search(rb"(?<!\w)" + name.encode() + rb"(?!\w)", content)
        ]
    return [word.decode() for word in set(_WORD.findall(content)).intersection(name.encode() for name in names)]


def _in_texts(every: Sequence[ast.AST]) -> Iterator[str]:
    alone = {id(node.value) for node in every if isinstance(node, ast.Expr)}
    for node in every:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield from _PART.findall(node.value)


def _imported(every: Sequence[ast.AST]) -> frozenset[str]:
    return frozenset(name.name for node in every if isinstance(node, ast.ImportFrom) for name in node.names)
