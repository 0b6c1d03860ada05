"""The tools `view` and `search`: what is in the workspace, bounded, and never by way of a link out of it."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sdlc.engines.conversation import cut_middle
from sdlc.engines.editing import read_bytes, resolved
from sdlc.engines.tool_definitions import ToolRefused
from sdlc.untrusted import escaped_text

if TYPE_CHECKING:
    from sdlc.integrations.sandbox import CommandResult, Sandbox

SEARCH_SECONDS = 20.0
_MAX_ENTRIES = 400
_MAX_FOUND = 300
_MAX_LINE = 400
"""Characters of a found line: more is a generated file."""
_MAX_VIEWED_LINE = 2_000
_UNSEEN = 10_000
"""Bytes that are missing in the sandbox's answer where it kept but a part; a few are what can't be printed."""
_NO_MATCH = 1
_GREP = ("git", "grep", "--no-index", "--exclude-standard", "--no-color", "--line-number", "-I")
_NO_REPOSITORY = {"GIT_DIR": os.devnull, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
"""Whatever a command has made of the workspace's `.git` decides nothing."""


def view(
    root: Path, path: str, start: int | None, end: int | None, *, limit: int = 12_000, inside: str = "/work"
) -> str:
    """Lines `start` to `end` (from 1 on, both included) of a file with their numbers, or the entries of a folder.

    At most about `limit` characters. Raises ToolRefused with what to do instead.
    """
    target = resolved(root, path, inside, root_too=True)
    shown = target.relative_to(root.resolve()).as_posix()
    if target.is_dir():
        return cut_middle(_entries(target, shown), limit)
    content = read_bytes(target, shown)
    if b"\0" in content[:8_192]:
        raise ToolRefused(f"`{shown}` is a binary file of {len(content):,} bytes; use `shell` to look into it.")
    lines = re.split(r"\r\n|\n|\r", content.decode("utf-8", "replace"))
    if not lines[-1]:
        lines.pop()
    first, last = start or 1, min(end or len(lines), len(lines))
    if not lines:
        return f"{shown} is empty."
    if first > last:
        raise ToolRefused(f"{shown} has {len(lines):,} lines; there is nothing from line {first} to {end or last}.")
    numbered = (f"{number:6}\t{_line(lines[number - 1], _MAX_VIEWED_LINE)}" for number in range(first, last + 1))
    which = f"{len(lines):,} lines" if last - first + 1 == len(lines) else f"lines {first} to {last} of {len(lines):,}"
    return f"{shown}, {which}\n{cut_middle(chr(10).join(numbered), limit)}"


def _entries(folder: Path, shown: str) -> str:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise ToolRefused(f"`{shown}` can't be read: {error.strerror}.") from None
    rows = [_entry(entry) for entry in entries if entry.name.lower() != ".git"]
    more = [f"[… and {len(rows) - _MAX_ENTRIES:,} more]"] if len(rows) > _MAX_ENTRIES else []
    return "\n".join([f"folder {shown}, {len(rows):,} entries", *rows[:_MAX_ENTRIES], *more])


def _entry(entry: os.DirEntry[str]) -> str:
    name = _line(os.fsencode(entry.name).decode("utf-8", "replace"), _MAX_LINE)
    try:
        if entry.is_symlink():
            return f"{name} -> {_line(os.fsencode(os.readlink(entry.path)).decode('utf-8', 'replace'), _MAX_LINE)}"
        if entry.is_dir(follow_symlinks=False):
            return f"{name}/"
        return f"{name}  {entry.stat(follow_symlinks=False).st_size:,} bytes"
    except OSError:
        return name


async def search(
    root: Path,
    sandbox: Sandbox,
    pattern: str,
    path: str = "",
    *,
    plain: bool = False,
    limit: int = 12_000,
    seconds: float = SEARCH_SECONDS,
) -> str:
    """Lines that match `pattern` (a Perl-compatible expression, or plain text), in files that git doesn't ignore.

    `path` is a file, a folder, or a pattern of file names. It is run in the sandbox for at most `seconds`, whatever
    the expression costs. At most about `limit` characters. Raises ToolRefused with what to do instead, and
    SandboxUnavailable.
    """
    if not pattern or any(char in pattern for char in "\0\n"):
        raise ToolRefused("`pattern` is empty or has more than one line; search for a piece of one line.")
    where = _where(root, path, sandbox.inside(root))
    result = await sandbox.run(
        [*_GREP, "--fixed-strings" if plain else "--perl-regexp", "-e", pattern, "--", where],
        workspace=root,
        timeout=seconds,
        env=_NO_REPOSITORY,
        network=False,
    )
    return _found(result, where, seconds, limit)


def _where(root: Path, path: str, inside: str) -> str:
    """A path or pattern of the model's as git's pathspec."""
    path = path.strip()
    given = PurePosixPath(path)
    if not any(char in path for char in "*?["):
        target = resolved(root, path or ".", inside, root_too=True)
        if not target.exists():
            raise ToolRefused(f"There is no `{path}` to search in; `path` is a file, a folder or a pattern as `*.py`.")
        return f":(literal){target.relative_to(root.resolve()).as_posix()}"
    if given.is_absolute() and given.is_relative_to(inside):
        given = given.relative_to(inside)
    if given.is_absolute() or ".." in given.parts or "\0" in path:
        raise ToolRefused(f"`{path}` is outside the repository; give a pattern such as `src/**/*.py`.")
    return f":(glob){given}" if len(given.parts) > 1 else f":(glob)**/{given}"


def _found(result: CommandResult, where: str, seconds: float, limit: int) -> str:
    lines = [_line(line, _MAX_LINE) for line in result.output.splitlines()]
    if result.timed_out or result.limit in ("time", "cpu"):
        raise ToolRefused(f"The search was stopped after {seconds:.0f} s; take a simpler pattern or a smaller `path`.")
    if result.exit_code == _NO_MATCH and not result.limit:
        among = "" if where.endswith(")") or where == ":(literal)." else f" in {where.partition(')')[2]}"
        return f"Nothing found{among}."
    if result.exit_code != 0 and not result.limit:
        said = next((line for line in reversed(lines) if line.startswith(("fatal:", "error:"))), "".join(lines[-1:]))
        raise ToolRefused(f"The search failed: {said or f'exit code {result.exit_code}'}. Mend the pattern or `plain`.")
    counted = f"{len(lines):,} line{'' if len(lines) == 1 else 's'} found"
    if result.limit or result.output_bytes - len(result.output.encode()) > _UNSEEN:
        counted = "More lines found than can be kept; narrow it down"
    more = [f"[… {len(lines) - _MAX_FOUND:,} more lines; narrow it down]"] if len(lines) > _MAX_FOUND else []
    shown = cut_middle("\n".join([*lines[:_MAX_FOUND], *more]), limit)
    return f"{counted}\n{shown}"


def _line(text: str, limit: int) -> str:
    text = escaped_text(text)
    return text if len(text) <= limit else f"{text[:limit]} [… {len(text):,} characters]"
