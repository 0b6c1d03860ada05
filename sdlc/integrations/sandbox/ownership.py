"""The size of a tree and, when we are root, its owner.

As root the sandboxed user is another one, who must be able to write, chmod and touch everything in the
workspace; git makes files anew as root between two runs, so the tree is looked over before each.
An identity-mapped mount would spare that, but would let the sandbox leave set-uid programs of root behind.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SANDBOX_UID = 65_531
"""Of the sandboxed processes when we are root: no login, no service and no dynamic range has it."""

_DEEPEST = 300
"""Levels that are looked at: one open descriptor and one stack frame each."""
_ENTRY_BYTES = 1024
"""What an entry costs at least, so that a flood of empty files is found as well."""


@dataclass
class TreeSize:
    bytes: int = 0
    """On disk."""
    largest: int = 0
    """Length of the largest file, in bytes."""
    complete: bool = True
    """False where something can't be read or lies too deep to be counted."""


def measure(tree: Path) -> TreeSize:
    """The size of a folder or file; what vanishes or can't be read meanwhile is left out."""
    return _walk(tree, None)


def hand_over(tree: Path, uid: int = SANDBOX_UID) -> TreeSize:
    """Give everything in `tree` to `uid`, and its size. Only what belongs to somebody else is touched.

    Raises PermissionError where the file system doesn't let us.
    """
    return _walk(tree, uid)


def _walk(tree: Path, uid: int | None) -> TreeSize:
    size = TreeSize()
    linked: set[tuple[int, int]] = set()
    try:
        top = os.open(tree, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        size.complete = False
        return size
    try:
        found = os.fstat(top)
        if uid is not None and found.st_uid != uid:
            os.fchown(top, uid, uid)
        if not stat.S_ISDIR(found.st_mode):
            _count(found, size, linked)
            return size
        for directory, name, entry in _entries(top, size):
            _count(entry, size, linked)
            if uid is not None and entry.st_uid != uid and not _is_shared(entry):
                with suppress(FileNotFoundError):
                    os.chown(name, uid, uid, dir_fd=directory, follow_symlinks=False)
    finally:
        os.close(top)
    return size


def _is_shared(entry: os.stat_result) -> bool:
    # A second name may be outside, in somebody's object store or package cache, which isn't ours to give.
    return stat.S_ISREG(entry.st_mode) and entry.st_nlink > 1


def _count(entry: os.stat_result, size: TreeSize, linked: set[tuple[int, int]]) -> None:
    if not stat.S_ISDIR(entry.st_mode) and entry.st_nlink > 1:
        identity = (entry.st_dev, entry.st_ino)
        if identity in linked:
            return
        linked.add(identity)
    size.bytes += max(entry.st_blocks * 512, _ENTRY_BYTES)
    if stat.S_ISREG(entry.st_mode):
        size.largest = max(size.largest, entry.st_size)


def _entries(directory: int, size: TreeSize, depth: int = 0) -> Iterator[tuple[int, str, os.stat_result]]:
    """(folder, name, status) of everything below. By descriptors, so that no swapped symlink leads elsewhere."""
    folders: list[str] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            yield directory, entry.name, status
            if stat.S_ISDIR(status.st_mode):
                folders.append(entry.name)
    if folders and depth == _DEEPEST:
        size.complete = False
        return
    for name in folders:
        try:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            continue
        except OSError:
            size.complete = False
            continue
        try:
            yield from _entries(below, size, depth + 1)
        finally:
            os.close(below)
