"""Who stops the embedded server: the last process that uses it, and nobody while one does.

Every process that needs the server holds a shared lock on `<data>/temporal/users.lock`. On leaving it
tries to make that lock exclusive: whoever gets it is the last, and stops the server. The kernel takes
the locks of a killed process away, so a server whose starter was killed lives on, is adopted by the
next command, and is stopped by it. A server that was started as detached is stopped by nobody here.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from sdlc.errors import ServiceUnavailable
from sdlc.runtime.dev_server import START_SECONDS, DevServer, ServerRecord, running_server, stop_server
from sdlc.runtime.server_binary import Say, ensure_server_binary

if TYPE_CHECKING:
    from sdlc.config import Settings

_LOCK_SECONDS = 2 * START_SECONDS


class ServerLease:
    """The right to use the embedded server of a data folder; while it is held the server is not stopped by others."""

    def __init__(self, settings: Settings, record: ServerRecord, users: int, say: Say) -> None:
        self.record = record
        self._settings = settings
        self._users: int | None = users
        self._say = say

    async def revive(self) -> bool:
        """Start the server again, on the same address, if it died; True if that was needed."""
        if await asyncio.to_thread(running_server, self._settings):
            return False
        async with _starting(self._settings):
            record = running_server(self._settings)
            if record is None:
                self.record = await _started(self._settings, self._say, detached=self.record.detached)
                return True
            self.record = record
        return False

    async def release(self) -> None:
        """Stop using the server, and stop it if nobody else does. May be called twice."""
        if self._users is None:
            return
        users, self._users = self._users, None
        try:
            async with _starting(self._settings):
                if not self.record.detached and _is_last(users):
                    await stop_server(self._settings)
        finally:
            os.close(users)


async def lease_server(settings: Settings, *, say: Say, detached: bool = False) -> ServerLease:
    """Join the embedded server of the data folder, or start it; its binary is made ready first if need be."""
    if running_server(settings) is None:
        # Outside the lock: this can take minutes, and has a lock of its own.
        await ensure_server_binary(settings.cache_dir, say=say)
    async with _starting(settings):
        users = os.open(_folder(settings) / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(users, fcntl.LOCK_SH)
            record = running_server(settings) or await _started(settings, say, detached=detached)
        except BaseException:
            os.close(users)
            raise
    return ServerLease(settings, record, users, say)


async def _started(settings: Settings, say: Say, *, detached: bool) -> ServerRecord:
    binary = await ensure_server_binary(settings.cache_dir, say=say)
    return await DevServer(settings, binary, detached=detached).start()


def _is_last(users: int) -> bool:
    """Nobody else holds the shared lock. Not atomic by itself; `_starting` keeps newcomers out meanwhile."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _folder(settings: Settings) -> Path:
    folder = settings.data_dir.absolute() / "temporal"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextlib.asynccontextmanager
async def _starting(settings: Settings) -> AsyncIterator[None]:
    """One process at a time starts, joins or leaves."""
    handle = os.open(_folder(settings) / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + _LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise ServiceUnavailable(
                        f"Another process has been starting or stopping the Temporal server for {_LOCK_SECONDS:.0f} s; "
                        "look for one that hangs, and try again."
                    ) from None
                await asyncio.sleep(0.05)
        yield
    finally:
        os.close(handle)
