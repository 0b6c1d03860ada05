"""Telling people, on one machine: a line in the log and one in `notices.jsonl`, which `sdlc` and the web page read."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from sdlc.integrations import local_files
from sdlc.integrations.ports import Notice

FILE = "notices.jsonl"
REPEATED_WITHIN = timedelta(hours=1)
"""The same notice within this time is a retry of the first; after it, a reminder that is meant. Only for notices that
name no occasion."""
_EVER = datetime.min.replace(tzinfo=UTC)
_OF_AN_OCCASION = ("workflow_id", "run_id", "event", "title", "occasion")
_OF_THE_WORDS = ("workflow_id", "run_id", "ticket", "event", "title", "body", "url", "occasion")

log = structlog.get_logger(__name__)


class LocalNotifier:
    """Appends notices to `<folder>/notices.jsonl`, each once, also when several processes write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def file(self) -> Path:
        return self.folder / FILE

    async def notify(self, notice: Notice) -> None:
        """Log and keep the notice, unless it is there: by its occasion, or said by the same run a moment ago."""
        if await asyncio.to_thread(self._append, notice, datetime.now(UTC)):
            log.info(
                "notice", notice=notice.event, title=notice.title, ticket=notice.run.ticket_key, url=notice.url or None
            )

    async def check(self) -> tuple[str, ...]:
        """Nothing: that the folder can be written is looked at for all of it."""
        return ()

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
            **({"occasion": notice.occasion} if notice.occasion else {}),
        }
        with local_files.locked(self.folder, name=f".{FILE}.lock"):
            if self._is_repeated(entry, now):
                return False
            append(self.file, entry)
        return True

    def _is_repeated(self, entry: dict[str, str], now: datetime) -> bool:
        names = _OF_AN_OCCASION if "occasion" in entry else _OF_THE_WORDS
        since = _EVER if "occasion" in entry else now - REPEATED_WITHIN
        return any(all(earlier.get(name) == entry.get(name) for name in names) for earlier in recent(self.file, since))


def append(file: Path, entry: Mapping[str, str]) -> None:
    """A line more, on the disk when this returns. The caller holds the lock."""
    with local_files.writable(file.parent), file.open("a+b") as opened:
        # A line that a crash cut off must not swallow the next one.
        if opened.tell() and os.pread(opened.fileno(), 1, opened.tell() - 1) != b"\n":
            opened.write(b"\n")
        opened.write(json.dumps(entry).encode() + b"\n")
        opened.flush()
        os.fsync(opened.fileno())


def recent(file: Path, since: datetime) -> Iterator[dict[str, str]]:
    """The entries since then, the newest first; lines that can't be read are left out."""
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in reversed(lines):
        try:
            entry = json.loads(line)
            if datetime.fromisoformat(entry["at"]) < since:
                return
        except (ValueError, KeyError, TypeError):
            continue
        yield entry
