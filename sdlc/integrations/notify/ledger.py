"""What each channel has been told, so that a repetition tells nobody twice: `deliveries.jsonl` beside the notices.

Before a delivery `sending` is written, after it `told`, or `failed` where it surely did not arrive. A `sending` that
stands alone is a worker that died in between, or an answer that never came: nobody can know then whether people were
told, so it is tried once more, and no third time: then a person is told that it is so. The file is one machine's: a
worker on another one knows of it only where both share `data_dir`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sdlc.errors import FinalError, SdlcError, ServiceUnavailable
from sdlc.integrations import local_files
from sdlc.integrations.git import locks
from sdlc.integrations.notify.local import append, recent

FILE = "deliveries.jsonl"
REMEMBERED = timedelta(days=1)
"""The same within this time is a retry of the first. Longer than for local notices: activities try for hours."""
MOST_UNKNOWN = 2
_MAX_BYTES = 512 * 1024
_LOCKS = 32
_LOCK_SECONDS = 90.0


class PerhapsSent(ServiceUnavailable):
    """It can't be known whether it arrived."""


class PerhapsTold(FinalError):
    """Nor will it be: it was sent as often as it may be."""


class Ledger:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def file(self) -> Path:
        return self.folder / FILE

    async def once(self, identity: tuple[str, ...], channel: str, send: Callable[[], Awaitable[None]]) -> bool:
        """Send, unless the channel has been told; False if it was. What `send` raises is raised.

        While one sends, another with the same identity waits. `send` raises PerhapsSent where it can't know; after two
        of those nothing is sent any more, and PerhapsTold is raised.
        """
        key = hashlib.sha256("\0".join((*identity, channel)).encode("utf-8", "replace")).hexdigest()[:32]
        lock = self.folder / f".deliveries-{int(key[:4], 16) % _LOCKS}.lock"
        async with locks.locked(lock, timeout=_LOCK_SECONDS):
            if not await asyncio.to_thread(self._open, key, channel):
                return False
            await asyncio.to_thread(self._write, key, channel, "sending")
            try:
                await send()
            except PerhapsSent:
                raise
            except SdlcError:
                await asyncio.to_thread(self._write, key, channel, "failed")
                raise
            await asyncio.to_thread(self._write, key, channel, "told")
        return True

    def _open(self, key: str, channel: str) -> bool:
        states = [entry.get("state") for entry in recent(self.file, _earliest()) if entry.get("key") == key]
        if "told" in states:
            return False
        if states.count("sending") - states.count("failed") < MOST_UNKNOWN:
            return True
        raise PerhapsTold(
            f"The channel {channel} may or may not have been told: {MOST_UNKNOWN} times nobody learnt how sending "
            "ended. Look there; it is not sent again."
        )

    def _write(self, key: str, channel: str, state: str) -> None:
        entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "key": key, "channel": channel, "state": state}
        with local_files.locked(self.folder, name=f".{FILE}.lock"):
            if self.file.exists() and self.file.stat().st_size > _MAX_BYTES:
                kept = reversed(list(recent(self.file, _earliest())))
                local_files.write_whole(self.file, "".join(json.dumps(line) + "\n" for line in kept))
            append(self.file, entry)


def _earliest() -> datetime:
    return datetime.now(UTC) - REMEMBERED
