"""Locks between processes and between tasks, which the kernel frees when their holder dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sdlc.errors import ServiceUnavailable

_FIRST_WAIT = 0.005
_LONGEST_WAIT = 0.25


def try_lock(file: Path) -> FileLock | None:
    """The lock on `file`, taken; None if somebody has it. To be released in the same process."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A soft lock would outlive a kill, so better an error than a silent fallback to one.
    lock = FileLock(file, thread_local=False, fallback_to_soft=False, mode=0o600)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


@asynccontextmanager
async def locked(file: Path, *, timeout: float) -> AsyncIterator[None]:
    """Hold the lock on `file`; the event loop goes on while waiting.

    Raises ServiceUnavailable after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    wait = _FIRST_WAIT
    while (lock := try_lock(file)) is None:
        if time.monotonic() > deadline:
            raise ServiceUnavailable(f"{file} has been locked by another process for {timeout:.0f} s.")
        await asyncio.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT)
    try:
        yield
    finally:
        lock.release()
