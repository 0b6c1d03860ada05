"""Audit trails: is one whole, and is a file of JSON lines the trail of a run?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import typer
from pydantic import ValidationError

from sdlc.audit_chain import why_broken
from sdlc.cli.context import say
from sdlc.domain import AuditEntry
from sdlc.errors import SdlcError, UsageError
from sdlc.naming import counted


def standing(entries: Sequence[AuditEntry]) -> str:
    """What the chain of a run's own trail says, in a sentence."""
    if entries and not entries[0].hash:
        return "This run is of an older version, whose entries are not chained."
    broken = why_broken(entries)
    return f"The chain is BROKEN: {broken}" if broken else f"The chain of {_count(entries)} is whole."


async def verified(file: Path, key: str, trail: Callable[[], Awaitable[Sequence[AuditEntry]]]) -> int:
    """Look at a file, by itself and against the run if that can be asked; the exit code, 1 if it was tampered with."""
    entries = _read(file)
    broken = why_broken(entries)
    if broken:
        typer.echo(f"{file}: {broken}")
        return 1
    try:
        now = await trail()
    except SdlcError as error:
        typer.echo(f"{file}: the chain of {_count(entries)} is whole.")
        say(f"It could not be compared with the run: {error}")
        return 0
    for number, (kept, known) in enumerate(zip(entries, now, strict=False), 1):
        if kept != known:
            typer.echo(
                f"{file}: entry {number} is not that of the run for {key}. Is it of an earlier execution (--run)?"
            )
            return 1
    if len(entries) > len(now):
        typer.echo(f"{file}: the run for {key} has {_count(now)}, the file {len(entries)}.")
        return 1
    more = len(now) - len(entries)
    since = f" The run has {more} more since." if more else ""
    typer.echo(f"{file}: {_count(entries)}, unchanged.{since}")
    return 0


def _read(file: Path) -> list[AuditEntry]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} can't be read ({error}); give a file that `sdlc audit KEY --jsonl` wrote.") from error
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entries.append(AuditEntry.model_validate_json(line))
        except ValidationError as error:
            raise UsageError(
                f"{file}, line {number}: this is no entry of a trail; give a file that `sdlc audit KEY --jsonl` wrote."
            ) from error
    if not entries:
        raise UsageError(f"{file} has no entry; `sdlc audit KEY --jsonl` writes them.")
    return entries


def _count(entries: Sequence[AuditEntry]) -> str:
    return f"{len(entries)} entries" if len(entries) != 1 else counted(1, "entry")
