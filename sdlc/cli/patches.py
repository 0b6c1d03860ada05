"""Patches and other long texts at a terminal: shown as text, in colours, by a pager; elsewhere as they are."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from sdlc.naming import counted
from sdlc.untrusted import escaped_text

if TYPE_CHECKING:
    from sdlc.integrations.git.diff import ChangedFile

_PAGER = "less -FRX"
_STYLES = (("+++", "bold"), ("---", "bold"), ("diff --git", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))


def names(files: Sequence[ChangedFile]) -> str:
    return "".join(f"{file.path}\n" for file in files)


def stat_lines(files: Sequence[ChangedFile]) -> str:
    """A line for each file, and a sum."""
    width = max((len(file.path) for file in files), default=0)
    lines = [
        f"{file.path:<{width}}  {'binary' if file.binary else f'+{file.added} -{file.deleted}'}"
        f"{f'  (was {file.old_path})' if file.old_path else ''}"
        for file in files
    ]
    added, deleted = sum(file.added for file in files), sum(file.deleted for file in files)
    return "\n".join([*lines, f"{counted(len(files), 'file')}, +{added} -{deleted}", ""])


def show_patch(patch: str) -> None:
    """A patch: coloured at a terminal, and byte for byte elsewhere, so that `git apply` takes it."""
    if not sys.stdout.isatty():
        _write(patch)
        return
    lines = [Text(line, _style(line)) for line in escaped_text(patch).splitlines()]
    _page(Text("\n").join(lines))


def show_text(text: str) -> None:
    """A text of somebody else: without what a terminal would obey, if there is one."""
    if sys.stdout.isatty():
        _page(Text(escaped_text(text).rstrip("\n")))
    else:
        _write(text)


def _style(line: str) -> str:
    return next((style for start, style in _STYLES if line.startswith(start)), "")


def _write(text: str) -> None:
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    sys.stdout.flush()


def _page(text: Text) -> None:
    drawn = StringIO()
    Console(file=drawn, force_terminal=True, highlight=False, soft_wrap=True).print(text)
    command = shlex.split(os.environ.get("PAGER") or _PAGER)
    try:
        pager = subprocess.Popen(command, stdin=subprocess.PIPE, encoding="utf-8", errors="replace")
    except (OSError, IndexError):  # there is none
        _write(drawn.getvalue())
        return
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        pager.communicate(drawn.getvalue())
    pager.wait()
