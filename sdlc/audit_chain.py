"""The chain that holds an audit trail together: each entry carries the hash of the one before. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from sdlc.domain import AuditEntry


def chained(entry: AuditEntry, previous: AuditEntry | None) -> AuditEntry:
    """The entry as the next one after `previous`, with its number and hash."""
    placed = entry.model_copy(
        update={"number": previous.number + 1 if previous else 1, "previous": previous.hash if previous else ""}
    )
    return placed.model_copy(update={"hash": hash_of(placed)})


def hash_of(entry: AuditEntry) -> str:
    """SHA-256 of the entry's JSON without its hash: keys in order, no white space, moments in ISO 8601."""
    document = entry.model_dump(mode="json", exclude={"hash"})
    plain = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def why_broken(entries: Sequence[AuditEntry]) -> str | None:
    """Where a trail was tampered with, in a sentence; None if it is whole. Only its end can be missing unseen."""
    before: AuditEntry | None = None
    for place, entry in enumerate(entries, 1):
        number, previous = (before.number + 1, before.hash) if before else (1, "")
        if entry.number != number or entry.previous != previous:
            return f"Entry {place} does not follow the one before it: something was left out, added or moved there."
        if entry.hash != hash_of(entry):
            hint = " A secret was taken out of it when it was exported." if "[secret]" in entry.detail else ""
            return f"Entry {place} was changed after it was written.{hint}"
        before = entry
    return None
