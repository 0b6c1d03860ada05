"""What a check is: a name, the paths that concern it, and a function of two trees."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

Level = Literal["blocker", "major", "minor", "info"]
"""The values of `sdlc.domain.Severity`, which is not imported here: a check's process starts without pydantic."""

LARGEST_FILE = 2 * 1024**2
"""Bytes. A larger file of the repository is not read by checks."""


class NotRun(Exception):
    """The check could not look: the reason, and what would mend it. Never the same as having found nothing."""


@dataclass(frozen=True)
class Raised:
    """One thing that the change brings, at a line of the head."""

    rule: str
    """Without the check's name, which is put before it: `new-cycle` of the check `import-cycles`."""
    file: str
    line: int
    severity: Level
    message: str
    """One or two sentences: what goes wrong, when, and what to do. No line of the source in it."""
    end_line: int = 0
    confidence: float = 1.0
    suggestion: str = ""
    """At most four lines that should stand there instead of `line` to `end_line`; else empty."""
    confidential: bool = False
    """Its lines hold a secret, so they are not quoted as evidence."""


@dataclass(frozen=True)
class ChangedPath:
    """One file of the change."""

    path: str
    """On the head, where it is; on the base if it was deleted."""
    old_path: str = ""
    """On the base; empty for a new file."""
    status: str = "M"
    """`A`, `M`, `D` or `R`."""
    added: tuple[tuple[int, int], ...] = ()
    """Lines of the head that the change adds or modifies, as closed ranges."""
    mode: str = "100644"
    """Of git, on the head; empty for a deleted file."""
    old_mode: str = ""
    is_text: bool = True
    """A plain text file on the head."""
    is_generated: bool = False
    """Lock file, vendored or generated: nobody reads it line by line."""

    def has_added(self, first: int, last: int = 0) -> bool:
        """Does the change add or modify a line from `first` to `last` (default: `first`)?"""
        return any(start <= max(first, last) and first <= end for start, end in self.added)

    @property
    def added_lines(self) -> set[int]:
        return {line for start, end in self.added for line in range(start, end + 1)}

    @property
    def first_added(self) -> int:
        """Where a finding about the file as a whole is shown: the first line that the change adds, else 1."""
        return self.added[0][0] if self.added else 1


class Tree:
    """The files of one commit. Symbolic links and whatever leaves the tree are not read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._texts: dict[str, str | None] = {}

    def text(self, path: str) -> str | None:
        """A file's text, with `\\n` at the ends of lines; None if there is no such plain file of a sane size."""
        if path not in self._texts:
            content = self.content(path)
            text = None if content is None else content.decode("utf-8", "replace").replace("\r\n", "\n")
            self._texts[path] = text
        return self._texts[path]

    def content(self, path: str) -> bytes | None:
        """A file's bytes; None if there is no such plain file of at most `LARGEST_FILE` bytes."""
        full = self.root / path
        try:
            if not full.resolve().is_relative_to(self.root.resolve()):
                return None
            about = full.lstat()
            if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST_FILE:
                return None
            return full.read_bytes()
        except (OSError, ValueError, RuntimeError):
            return None

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """All plain files of the commit, in order; not those that only lie about, such as build products of others."""
        found: list[str] = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(name for name in folders if name not in _NOT_WALKED)
            for name in sorted(names):
                full = Path(folder, name)
                if full.is_file() and not full.is_symlink():
                    found.append(full.relative_to(self.root).as_posix())
        return tuple(found)


_NOT_WALKED = frozenset({".git", "node_modules", "__pycache__", ".venv", ".tox", ".nox", ".mypy_cache", ".ruff_cache"})


@dataclass(frozen=True)
class Trees:
    """What a check looks at: both commits whole, and what changed between them."""

    head: Tree
    base: Tree
    files: tuple[ChangedPath, ...]
    rules: Mapping[str, Any] = field(default_factory=dict)
    """The `review:` entry of the base's `.sdlc.yml`, as JSON."""

    @property
    def present(self) -> tuple[ChangedPath, ...]:
        """The changed files that are plain text on the head and that people write."""
        return tuple(file for file in self.files if file.status != "D" and file.is_text and not file.is_generated)

    def file(self, path: str) -> ChangedPath | None:
        """The changed file of this path on the head; None if the change does not touch it."""
        return next((file for file in self.files if file.path == path and file.status != "D"), None)

    def before(self, file: ChangedPath) -> str | None:
        """The text of a changed file on the base; None for a new one."""
        return self.base.text(file.old_path) if file.old_path else None


class Check(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def required(self) -> bool:
        """Does a person have to decide where it could not look? False for what needs more than the repository."""
        ...

    def looks_at(self, path: str) -> bool:
        """Does a change of this path concern the check? If none does, the check need not run."""
        ...

    def run(self, trees: Trees) -> Iterable[Raised]:
        """What the change brings, and nothing that the base has already.

        Raises NotRun where it can't look. Whatever else it raises is a failure of the check.
        """
        ...


def is_python(path: str) -> bool:
    return path.endswith((".py", ".pyi"))


def is_test(path: str) -> bool:
    """Does the path look like a test or its support?"""
    *folders, name = path.lower().split("/")
    return (
        bool({"test", "tests", "testing", "__tests__", "spec"}.intersection(folders))
        or name.startswith("test_")
        or name == "conftest.py"
        or any(mark in name for mark in ("_test.", ".test.", ".spec.", "_spec."))
    )
