"""Files that a person reads while we write them: whole at every moment, one writer at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from sdlc.errors import PermissionDenied, ServiceUnavailable
from sdlc.integrations.git import locks

LOCK_SECONDS = 60.0
"""How long a writer waits for another; nothing here takes longer unless a process was stopped in the midst of it."""


@contextlib.contextmanager
def locked(folder: Path, *, name: str = ".lock", timeout: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold `folder` against every other writer on this machine (blocking; `timeout` in seconds).

    `name` is that of the lock's file, for a folder that is not one writer's alone.

    Raises ServiceUnavailable when somebody holds it for longer, PermissionDenied when it can't be written.
    """
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # A soft lock would outlive a kill, so better an error than a silent fallback to one.
        lock = FileLock(folder / name, timeout=timeout, fallback_to_soft=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise ServiceUnavailable(
                f"{folder} has been held by another process for {timeout:g} s; it is tried again. "
                f"If nothing runs, end the process that holds {name} there."
            ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.asynccontextmanager
async def locked_async(folder: Path, *, timeout: float = LOCK_SECONDS) -> AsyncIterator[None]:
    """As `locked`, without blocking the event loop. The two exclude each other."""
    async with contextlib.AsyncExitStack() as held:
        with writable(folder):
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            await held.enter_async_context(locks.locked(folder / ".lock", timeout=timeout))
        yield


def write_whole(path: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Put `content` (text as UTF-8, line ends as they are) in place: a reader finds the old file or the new one.

    It is on the disk when this returns. `mode` is for a new file, that of one that is there stays.
    A symbolic link is followed.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    target = path.resolve()
    with writable(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), _mode_for(target, mode))
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn what the system says about writing in `folder` into our errors."""
    try:
        yield
    except PermissionError as error:
        raise PermissionDenied(f"{folder} can't be written by this user; change its owner or its mode.") from error
    except OSError as error:
        raise ServiceUnavailable(f"{folder} can't be written: {error.strerror}; it is tried again.") from error


def why_not_writable(folder: Path) -> tuple[str, ...]:
    """Why nothing can be written in `folder`, in one sentence; nothing where it can. It need not be there yet."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return ()
    return (f"{there} can't be written by this user; change its owner or its mode.",)


def _mode_for(target: Path, new: int) -> int:
    try:
        return target.stat().st_mode & 0o777
    except OSError:
        return new
