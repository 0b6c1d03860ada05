"""Files that become programs, links that lead out of the repository, and repositories within it."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator

from sdlc.review_graphs.checks.base import ChangedPath, Level, Raised, Trees

PROGRAM, LINK, SUBMODULE = "100755", "120000", "160000"
MOST_NAMED = 3
"""Files of which each is told by itself. More of them come from a file system without modes, and are one finding."""

_NO_MODES = re.compile(r"\.(bat|cmd|ps1|exe|com|dll)$", re.IGNORECASE)
"""Programs of Windows, where the mode says nothing."""
_HARMLESS = frozenset({"/dev/null"})
"""Where a link may lead: the way to switch off a unit of systemd."""


class FileModes:
    name = "file-modes"
    required = True

    def looks_at(self, path: str) -> bool:
        return True

    def run(self, trees: Trees) -> Iterable[Raised]:
        yield from _programs(trees)
        for file in trees.files:
            if file.mode == LINK:
                yield from _link(trees, file)
            elif file.mode == SUBMODULE and file.old_mode != SUBMODULE:
                yield _raised(
                    file,
                    "submodule",
                    "minor",
                    f"`{file.path}` is a repository of its own now (a submodule), and none of its code is in this"
                    " review. Look at the commit that it names, or make it a dependency with a pinned version.",
                )


def _programs(trees: Trees) -> Iterator[Raised]:
    became = [
        file
        for file in trees.files
        if file.mode == PROGRAM and file.old_mode != PROGRAM and not _NO_MODES.search(file.path)
        if not _can_run(trees, file)
    ]
    if not became:
        return
    if len(became) > MOST_NAMED:
        others = f"`{became[0].path}` and {len(became) - 1} more files become executable, but begin with no `#!` line."
        yield _raised(became[0], "executable", "minor", f"{others} They are no programs: `chmod -x` them.")
        return
    for file in became:
        what = "has no `#!` line: who starts it gets `sh`, or an error" if file.is_text else "is data"
        mend = "Take the mode away (`chmod -x`)" + (", or add the line." if file.is_text else ".")
        yield _raised(file, "executable", "minor", f"`{file.path}` becomes executable, but {what}. {mend}")


def _can_run(trees: Trees, file: ChangedPath) -> bool:
    """Does it begin like something that a kernel can start?"""
    content = trees.head.content(file.path)
    if content is None:
        return True  # too large to be looked at, so nothing is said of it
    return content.startswith((b"#!", b"\xef\xbb\xbf#!", b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"))


def _link(trees: Trees, file: ChangedPath) -> Iterator[Raised]:
    target = _target(trees.head.root, file.path)
    if target is None or target in _HARMLESS:
        return
    if file.old_mode == LINK and target == _target(trees.base.root, file.old_path):
        return
    leads = posixpath.normpath(posixpath.join(posixpath.dirname(file.path), target))
    if target.startswith("/") or leads == ".." or leads.startswith("../"):
        where = "out of the repository"
    elif ".git" in leads.split("/"):
        where = "into git's own folder"
    else:
        return
    yield _raised(
        file,
        "link-outside",
        "major",
        f"`{file.path}` is a symbolic link {where}: whatever reads, serves or packs it takes files of the machine that"
        " it runs on. Link to a file of the repository, or copy it.",
    )


def _target(root: os.PathLike[str], path: str) -> str | None:
    try:
        return os.readlink(os.path.join(root, path))
    except (OSError, ValueError):
        return None


def _raised(file: ChangedPath, rule: str, severity: Level, message: str) -> Raised:
    return Raised(rule=rule, file=file.path, line=file.first_added, severity=severity, message=message)
