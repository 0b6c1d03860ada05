"""Logs of the data folder: their ends, and what is written to them."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from pathlib import Path

import typer

from sdlc.cli.context import log_file
from sdlc.config import Settings
from sdlc.untrusted import escaped_text

_LOOK_EVERY = 0.3
_MOST_BYTES = 32 * 1024**2
"""Read from a log's end; a process puts its log aside long before."""


def log_of(settings: Settings, which: str) -> Path | None:
    """The file of `temporal` or `worker`; None if there is none yet."""
    file = settings.data_dir / "temporal" / "server.log" if which == "temporal" else log_file(settings)
    return file if file.is_file() else None


async def show_log(file: Path, lines: int, *, follow: bool, about: str = "") -> None:
    """Print the last lines, of those that name the workflow `about`, and with `follow` all that are written later."""
    named = re.compile(rf"{re.escape(about)}(?![\w-])") if about else re.compile("")
    size, data = _end_of(file)
    for line in deque((line for line in _decoded(data) if named.search(line)), maxlen=lines):
        typer.echo(line)
    while follow:
        await asyncio.sleep(_LOOK_EVERY)
        size, new = _written_since(file, size)
        for line in _decoded(new):
            if named.search(line):
                typer.echo(line)


def _end_of(file: Path) -> tuple[int, bytes]:
    """How long the file is, and what stands at its end."""
    size = file.stat().st_size
    with file.open("rb") as log:
        log.seek(max(0, size - _MOST_BYTES))
        return size, log.read(_MOST_BYTES)


def _written_since(file: Path, size: int) -> tuple[int, bytes]:
    """How far whole lines go now, and those after `size`; from its start where the log was begun anew."""
    try:
        now = file.stat().st_size
        with file.open("rb") as log:
            begin = size if now >= size else 0
            log.seek(begin)
            new = log.read(_MOST_BYTES)
    except FileNotFoundError:  # put aside in this moment
        return 0, b""
    whole = new[: new.rfind(b"\n") + 1]
    return begin + len(whole), whole


def _decoded(data: bytes) -> list[str]:
    return escaped_text(data.decode("utf-8", "replace")).splitlines()
