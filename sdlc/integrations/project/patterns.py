"""Patterns of paths as `.sdlc.yml` has them, written as in `.gitignore`.

They are matched name by name: as one regular expression, a pattern with many stars could take for ever on a long path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


def fits(path: str, patterns: Iterable[str]) -> bool:
    """Does a path, relative to the top of the repository, fit the patterns?

    `*.ts` fits at any depth, `src/*.ts` in that folder alone, `src/**` and `src/` everything below it, `**/gen/*.go`
    in any folder `gen`. `*`, `?` and `[a-z]` stay within one name. A pattern that begins with `!` takes back what
    those before it have said; the last one that fits decides.
    """
    parts = path.split("/")
    fitting = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        if _fits(wanted, parts):
            fitting = wanted == pattern
    return fitting


def _fits(pattern: str, parts: Sequence[str]) -> bool:
    is_folder = pattern.endswith("/")
    wanted = [name for name in pattern.split("/") if name]
    if not wanted:
        return False
    if "/" not in pattern.rstrip("/"):
        wanted = ["**", *wanted]
    if wanted[-1] == "**":
        wanted.append("*")
    reached = {0}
    for name in wanted:
        if name == "**":
            reached = set(range(min(reached), len(parts) + 1)) if reached else reached
        else:
            reached = {at + 1 for at in reached if at < len(parts) and fnmatchcase(parts[at], name)}
    # What fits a folder fits everything in it.
    return any(at < len(parts) or not is_folder for at in reached)
