"""What git says about a difference, as values.

The patch is read here and not by unidiff: git's own line counts say where a hunk ends, so that no content
(another patch, a lone carriage return, another encoding) can be taken for a header, and no line is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from sdlc.domain import Record
from sdlc.errors import WorkspaceBroken
from sdlc.integrations.git.paths import path_text, unquoted

Status = Literal["A", "M", "D", "R"]

SUBMODULE = "160000"
SYMLINK = "120000"
_HUNK = re.compile(rb"^@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


class ChangedFile(Record):
    path: str
    """As `paths.path_text` writes it."""
    old_path: str = ""
    """Of a renamed file; else empty."""
    status: Status
    """A change of type, such as a file that became a symbolic link, is `M`; `mode` tells."""
    binary: bool = False
    added: int = 0
    """Lines; 0 for binary files."""
    deleted: int = 0
    mode: str = ""
    """Octal, of the new side; of the old side for a deleted file."""
    old_mode: str = ""
    """Octal, of the old side; empty for a new file."""

    @property
    def is_submodule(self) -> bool:
        return self.mode == SUBMODULE

    @property
    def is_symlink(self) -> bool:
        return self.mode == SYMLINK


class DiffStat(Record):
    files: int = 0
    insertions: int = 0
    deletions: int = 0


def stat_of(files: Sequence[ChangedFile]) -> DiffStat:
    return DiffStat(
        files=len(files), insertions=sum(file.added for file in files), deletions=sum(file.deleted for file in files)
    )


def read_changed_files(records: Sequence[bytes]) -> list[ChangedFile]:
    """From the output of `diff-tree -r -z --raw --numstat`, in git's order."""
    rest = iter(records)
    entries: list[tuple[list[str], bytes, bytes]] = []
    counts: dict[bytes, tuple[bytes, bytes]] = {}
    for record in rest:
        if record.startswith(b":"):
            fields = record[1:].decode("ascii").split(" ")
            first = next(rest)
            entries.append((fields, first, next(rest) if fields[4][0] in "RC" else b""))
        else:
            added, deleted, path = record.split(b"\t", 2)
            if not path:  # a rename: the old and the new name follow
                next(rest)
                path = next(rest)
            counts[path] = (added, deleted)
    return [_changed_file(*entry, counts) for entry in entries]


def _changed_file(
    fields: list[str], first: bytes, second: bytes, counts: dict[bytes, tuple[bytes, bytes]]
) -> ChangedFile:
    old_mode, new_mode, _old, _new, letter = fields
    path = second or first
    added, deleted = counts.get(path, (b"0", b"0"))
    binary = added == b"-"
    status: Status = "A" if letter[0] in "AC" else "D" if letter[0] == "D" else "R" if letter[0] == "R" else "M"
    return ChangedFile(
        path=path_text(path),
        old_path=path_text(first) if status == "R" else "",
        status=status,
        binary=binary,
        added=0 if binary else int(added),
        deleted=0 if binary else int(deleted),
        mode=old_mode if status == "D" else new_mode,
        old_mode="" if status == "A" else old_mode,
    )


def read_changed_lines(patch: bytes) -> dict[str, frozenset[int]]:
    """New-side line numbers by path, from a patch without context (`-U0`).

    Files without new lines (deleted, binary, renamed as they were) and submodules are not in it.
    """
    found: dict[str, set[int]] = {}
    path: str | None = None
    submodule = False
    lines = iter(patch.split(b"\n"))
    for line in lines:
        if line.startswith(b"diff --git "):
            path, submodule = None, False
        elif line in (b"new file mode 160000", b"new mode 160000") or (
            line.startswith(b"index ") and line.endswith(b" 160000")
        ):
            submodule = True
        elif line.startswith(b"+++ "):
            path = None if submodule else _new_path(line[4:])
        elif hunk := _HUNK.match(line):
            old, start, new = int(hunk[1] or 1), int(hunk[2]), int(hunk[3] or 1)
            if path is not None and new:
                found.setdefault(path, set()).update(range(start, start + new))
            _skip(lines, old + new)
    return {path: frozenset(numbers) for path, numbers in found.items()}


def _new_path(name: bytes) -> str | None:
    if name == b"/dev/null":
        return None
    # A tab ends a name with spaces in it, as patch(1) wants it.
    raw = unquoted(name.removesuffix(b"\t"))
    if not raw.startswith(b"b/"):
        raise WorkspaceBroken(f"git wrote a patch that can't be read: {raw[:80]!r}")
    return path_text(raw[2:])


def _skip(lines: Iterator[bytes], count: int) -> None:
    """Pass over the lines of a hunk; the remark about a missing newline is not counted in its header."""
    while count and (line := next(lines, None)) is not None:
        count -= not line.startswith(b"\\")
