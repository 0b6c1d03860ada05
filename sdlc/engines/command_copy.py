"""Files copied, one by one, out of a folder in which a program is at work that may be hostile.

Nothing is followed: git that hashes `d/id_rsa` while a program turns `d` into a link reads what lies behind the link,
and the worker can read more than the program can.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from sdlc.engines.guard_rails import link_problem, name_problem
from sdlc.integrations.git.commit import MAX_FILE_BYTES
from sdlc.integrations.git.paths import path_text

MAX_COPIED_BYTES = 64 * 1024**2
"""At once: a change is far smaller, a cache that nobody ignores may be far larger, and what is published stays."""
MAX_RUN_BYTES = 256 * 1024**2
"""Of all checkpoints of a program together, and once more of the last one."""
_SMALL = 1024**2
_FOR_SMALL = 64 * 1024**2
"""Bytes of the whole that only files up to `_SMALL` may take: a database that grows doesn't keep the code from it."""

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_UNFIT = (errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO)
_SPECIAL = "is a pipe, socket or device."
_Seen = tuple[int, int, int, int]
"""Inode, length, times of content and status: git's own signs that a file is the same."""


class Allowance:
    """How many bytes may still be copied, at once and of all checkpoints of one program."""

    def __init__(self) -> None:
        self._in_all = MAX_RUN_BYTES
        self.begin(last=False)

    def begin(self, *, last: bool) -> None:
        """For one more checkpoint; the last one may take as much as all of them."""
        self._in_all = MAX_RUN_BYTES if last else self._in_all
        self._limit = self._at_once = MAX_RUN_BYTES if last else MAX_COPIED_BYTES
        self._reserved = 0 if last else _FOR_SMALL

    def refusal(self, size: int) -> str:
        """Why a file of this size can't be copied, as what follows its name; empty if it can."""
        if size > self._at_once:
            return f"and others are more than {self._limit // 1024**2} MiB together."
        if size > self._in_all - (self._reserved if size > _SMALL else 0):
            return f"and what was kept before it are more than {MAX_RUN_BYTES // 1024**2} MiB together."
        return ""

    def spend(self, size: int) -> None:
        self._at_once -= size
        self._in_all -= size


class Mirror:
    """Keeps files of `target`, which only we write, as they are in `source`, which is only read."""

    def __init__(self, source: Path, target: Path, allowance: Allowance | None = None) -> None:
        """`allowance` is shared by the mirrors of one program."""
        self._source = source
        self._target = target
        self._seen: dict[bytes, _Seen] = {}
        self._allowance = allowance or Allowance()
        self._stopped = False

    def stop(self) -> None:
        """Have `bring` end after the file that it is at."""
        self._stopped = True

    def bring(self, paths: Sequence[bytes], *, last: bool = False) -> list[str]:
        """Have these files as they are in the source, or gone if they are gone there; also those of earlier calls.

        Returns why files were left as they were, in sentences. Blocks: for a thread. Raises OSError.
        """
        self._allowance.begin(last=last)
        every = [*paths, *(set(self._seen) - set(paths))]
        return list(filter(None, map(self._bring, takewhile(lambda _: not self._stopped, every))))

    def _bring(self, path: bytes) -> str:
        shown = path_text(path)
        if path.endswith(b"/"):
            return f"{shown} is a git repository of its own; remove its .git folder."
        if problem := name_problem(shown):
            return problem
        try:
            with _folder_of(self._source, path) as (folder, name):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                seen = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                if self._seen.get(path) == seen:
                    return ""
                problem = self._brought(path, folder, name, status)
        except OSError as error:
            if error.errno in _UNFIT:
                return f"{shown[:200]} can't be read: {error.strerror}."
            if error.errno not in _NOT_THERE:
                raise
            self._forget(path)
            return ""
        if not problem:
            self._seen[path] = seen
        return problem

    def _brought(self, path: bytes, folder: int, name: bytes, status: os.stat_result) -> str:
        if stat.S_ISDIR(status.st_mode):
            self._forget(path)
            return ""
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(name, dir_fd=folder)
            if problem := link_problem(path_text(path), target):
                return problem
            os.symlink(target, os.fsencode(_room(self._target, path)))
            return ""
        return self._file(path, folder, name) if stat.S_ISREG(status.st_mode) else f"{path_text(path)} {_SPECIAL}"

    def _file(self, path: bytes, folder: int, name: bytes) -> str:
        # What is opened may be another thing than was looked at.
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                return f"{path_text(path)} {_SPECIAL}"
            if status.st_size <= MAX_FILE_BYTES and (why := self._allowance.refusal(status.st_size)):
                return f"{path_text(path)} {why}"
            content = file.read(MAX_FILE_BYTES + 1) if status.st_size <= MAX_FILE_BYTES else None
        if content is None or len(content) > MAX_FILE_BYTES:
            size = f"{status.st_size / 1024**2:,.0f} MiB"
            return f"{path_text(path)} has {size}; the limit is {MAX_FILE_BYTES // 1024**2} MiB for one file."
        if why := self._allowance.refusal(len(content)):
            return f"{path_text(path)} {why}"
        self._allowance.spend(len(content))
        mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(_room(self._target, path), flags, mode), "wb") as copy:
            copy.write(content)
            os.fchmod(copy.fileno(), mode)
        return ""

    def _forget(self, path: bytes) -> None:
        """Remove it from the target, unless it is a folder there: what is in one is told by itself."""
        self._seen.pop(path, None)
        with suppress(OSError), _folder_of(self._target, path) as (folder, name):
            if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=folder)


@contextmanager
def _folder_of(root: Path, path: bytes) -> Iterator[tuple[int, bytes]]:
    """A descriptor of the folder that a path is in, reached without a link, and the name in it. Raises OSError."""
    *folders, name = path.split(b"/")
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(root, flags)
    try:
        for below in folders:
            above, folder = folder, os.open(below, flags, dir_fd=folder)
            os.close(above)
        yield folder, name
    finally:
        os.close(folder)


def _room(root: Path, path: bytes) -> Path:
    """Where a file can be made, with folders above it that are none of the links and files that stood there."""
    *folders, name = (os.fsdecode(part) for part in path.split(b"/"))
    place = root
    for folder in folders:
        place /= folder
        if place.is_symlink() or place.is_file():
            place.unlink()
        place.mkdir(exist_ok=True)
    place /= name
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    return place
