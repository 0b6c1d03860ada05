"""Telling people, on one machine: a line in the log and one in `notices.jsonl`, which `sdlc` and the web page read."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from sdlc.integrations import local_files
from sdlc.integrations.ports import Notice

FILE = "notices.jsonl"
REPEATED_WITHIN = timedelta(hours=1)
"""The same notice within this time is a retry of the first; after it, a reminder that is meant."""

log = structlog.get_logger(__name__)


class LocalNotifier:
    """Appends notices to `<folder>/notices.jsonl`, each once, also when several processes write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def file(self) -> Path:
        return self.folder / FILE

    async def notify(self, notice: Notice) -> None:
        """Log and keep the notice, unless the same run has said the same a moment ago."""
        if await asyncio.to_thread(self._append, notice, datetime.now(UTC)):
            log.info(
                "notice", notice=notice.event, title=notice.title, ticket=notice.run.ticket_key, url=notice.url or None
            )

    def _append(self, notice: Notice, now: datetime) -> bool:
        entry = {
            "at": now.isoformat(timespec="seconds"),
            "workflow_id": notice.run.workflow_id,
            "run_id": notice.run.run_id,
            "ticket": notice.run.ticket_key,
            "event": notice.event,
            "title": notice.title,
            "body": notice.body,
            "url": notice.url,
        }
        with local_files.locked(self.folder, name=f".{FILE}.lock"):
            if self._is_repeated(entry, now):
                return False
            with local_files.writable(self.folder), self.file.open("a+b") as file:
                # A line that a crash cut off must not swallow the next one.
                if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                    file.write(b"\n")
                file.write(json.dumps(entry).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        return True

    def _is_repeated(self, entry: dict[str, str], now: datetime) -> bool:
        try:
            lines = self.file.read_bytes().splitlines()
        except FileNotFoundError:
            return False
        for line in reversed(lines):
            try:
                earlier = json.loads(line)
                if datetime.fromisoformat(earlier["at"]) < now - REPEATED_WITHIN:
                    return False
                if all(earlier.get(name) == value for name, value in entry.items() if name != "at"):
                    return True
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return False
