"""What a manifest says: its dependencies, each with the line it stands on, and what it asks of the interpreter."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

Ecosystem = Literal["python", "npm", "go", "cargo"]
Kind = Literal["main", "optional", "dev", "peer", "build"]
Dialect = Literal["pep440", "poetry", "npm", "go", "cargo"]

_DEV_GROUP = re.compile(
    r"(^|[-_])(dev(el(op(ment)?)?)?|tests?|testing|lint(ing|ers?)?|docs?|documentation|typing|types?|typecheck|ci|qa|format"
    r"|coverage|bench(marks?)?|nox|tox|pre-?commit|release|tools?|style|checks?|mypy|pytest|examples?)($|[-_\d])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Source:
    """Where a dependency comes from that no index is asked for."""

    kind: Literal["git", "url", "path", "workspace"]
    where: str
    """An address or a path, as it is written."""
    ref: str = ""
    """Commit, tag or branch; empty where the default branch is taken."""

    @property
    def is_fixed(self) -> bool:
        """Does it name one state for good: a commit, or something that is named like a release?"""
        if self.kind == "url":
            return bool(re.search(r"#(?:.*&)?(sha\d+|md5)=|\d+\.\d+|[0-9a-f]{40}", self.where))
        return bool(re.fullmatch(r"[0-9a-f]{7,40}|v?\d+(\.\d+)+\S*", self.ref))

    @property
    def is_commit(self) -> bool:
        return bool(re.fullmatch(r"[0-9a-f]{7,40}", self.ref))


@dataclass(frozen=True)
class Dependency:
    """One declaration."""

    name: str
    """As its ecosystem compares names: that of PyPI in lower case with single hyphens."""
    ecosystem: Ecosystem
    file: str
    line: int
    kind: Kind = "main"
    group: str = ""
    """The table or list it stands in, such as `project.dependencies`."""
    spec: str = ""
    """The versions that it accepts, in the words of `dialect`; empty for any."""
    dialect: Dialect = "pep440"
    source: Source | None = None
    marker: str = ""
    """Of PEP 508; its presence means that not every installation has the dependency."""
    extras: tuple[str, ...] = ()
    hashed: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.group


@dataclass(frozen=True)
class Option:
    """A line of a requirements file that is no requirement, such as `-r other.txt`."""

    name: str
    value: str
    line: int


@dataclass(frozen=True)
class Manifest:
    """A file that declares dependencies, as far as it can be read without running anything."""

    path: str
    ecosystem: Ecosystem
    dependencies: tuple[Dependency, ...] = ()
    declares: bool = True
    """Has it a list of dependencies at all? A pyproject.toml with nothing but tools has none."""
    is_complete: bool = True
    """False where a list is computed by a program, or the file can't be read."""
    is_compiled: bool = False
    """Written by a resolver: what it lists was not chosen by a person."""
    own_name: str = ""
    requires: str = ""
    """The versions of Python, or of Node, that it accepts."""
    requires_line: int = 1
    requires_dialect: Dialect = "pep440"
    options: tuple[Option, ...] = ()
    is_package: bool = False
    """Is something built of it that others install?"""
    classifiers: tuple[str, ...] = field(default=())
    version: str = ""

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]


def python_name(name: str) -> str:
    """A distribution's name as the index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def dev_group(name: str) -> bool:
    """Is a group of this name for those who work on the project rather than for those who use it?"""
    return bool(_DEV_GROUP.search(name))
