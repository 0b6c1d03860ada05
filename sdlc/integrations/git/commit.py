"""A tree as a commit: everything in it, but nothing that would reach out of it or run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path, PurePosixPath

from sdlc.errors import GuardRailViolation, WorkspaceBroken
from sdlc.integrations.git.diff import SUBMODULE, SYMLINK
from sdlc.integrations.git.paths import has_control, path_text
from sdlc.integrations.git.runner import BOT, Git
from sdlc.integrations.git.throw_away import open_up
from sdlc.integrations.git.worktree import READ_BY_GIT, Worktree, remove_special

MAX_FILE_BYTES = 50 * 1024**2
"""Larger files are not committed; GitHub warns from this size on and refuses twice of it."""
_REFUSED_BY_GIT = re.compile(r"Invalid path|Unable to process path|failed to encode|can only add regular files")
_NO_ACCESS = ("could not open directory", "Permission denied")


@dataclass(frozen=True)
class _Change:
    mode: str
    object: str
    status: str
    path: bytes


async def commit(worktree: Worktree, parent: str, message: str, *, author: str = BOT) -> str:
    """Commit everything in the tree that is not ignored, and return the commit; `parent` if nothing changed.

    No hook and no filter runs. Raises GuardRailViolation, with nothing committed, for repositories inside the
    tree, symbolic links that lead out of it, names with control characters, and files above MAX_FILE_BYTES.
    """
    index = worktree.folder / "index.next"
    try:
        tree = await _written_tree(worktree, index)
        changes = await _changes(worktree.git, parent, tree) if tree else []
        if not changes:
            return parent
        await _check(worktree.git, changes)
        sha = await _commit_tree(worktree.git, tree, parent, message, author)
        index.replace(worktree.index)
    finally:
        for leftover in (index, index.with_name("index.next.lock")):
            leftover.unlink(missing_ok=True)
    worktree.clone.has_made(sha)
    return sha


async def _written_tree(worktree: Worktree, index: Path) -> str:
    try:
        return await _write_tree(worktree, index)
    except PermissionError:
        await asyncio.to_thread(open_up, worktree.tree)
    try:
        return await _write_tree(worktree, index)
    except PermissionError as error:
        raise GuardRailViolation(f"Not everything in the workspace can be read: {error}") from error


async def _write_tree(worktree: Worktree, index: Path) -> str:
    """The id of the tree as it would be committed, empty if no file differs.

    Raises PermissionError if something can't be read.
    """
    if not os.access(worktree.tree, os.R_OK | os.X_OK):
        raise PermissionError(f"{worktree.tree} can't be read")
    # Other pipes git doesn't open: they are refused where they took a file's place.
    await asyncio.to_thread(remove_special, worktree.tree, READ_BY_GIT)
    # With its date: git looks closer at files that changed in the second in which the index was written.
    shutil.copy2(worktree.index, index)
    git = worktree.git_with(index)
    # Plumbing, because `git add` runs git, with its configuration, inside what it takes for a submodule.
    listed = await git.run("ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard")
    if any(words in listed.stderr for words in _NO_ACCESS):
        raise PermissionError(listed.stderr[:200])
    paths = sorted(set(listed.records))
    await asyncio.to_thread(_check_paths, worktree.tree, paths)
    if not paths:
        return ""
    arguments = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
    try:
        updated = await git.run(*arguments, stdin=b"".join(path + b"\0" for path in paths))
    except WorkspaceBroken as error:
        if _NO_ACCESS[1] in str(error):
            raise PermissionError(str(error)) from error
        if _REFUSED_BY_GIT.search(str(error)):
            raise GuardRailViolation(f"Git refuses a file of the change: {error}") from error
        raise
    if "Ignoring path" in updated.stderr:  # what some file system would take for `.git`
        raise GuardRailViolation(f"Git refuses a file name of the change ({updated.stderr[:200]}); rename it.")
    return (await git.run("write-tree")).text


def _check_paths(tree: Path, paths: Iterable[bytes]) -> None:
    """What can only be seen in the tree itself, before git reads it."""
    for path in paths:
        name = path_text(path)
        if path.endswith(b"/"):
            raise GuardRailViolation(
                f"{name} is a git repository inside the change; remove its .git folder, or all of it."
            )
        if b".git" in path.lower().split(b"/"):
            raise GuardRailViolation(f"{name} would be read as git's own on some machines; remove it.")
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(os.path.join(os.fsencode(tree), path))
            if stat.S_ISREG(status.st_mode) and status.st_size > MAX_FILE_BYTES:
                raise GuardRailViolation(
                    f"{name} is {status.st_size / 1024**2:.0f} MiB; the limit is {MAX_FILE_BYTES // 1024**2}. "
                    "Remove it, or add it to .gitignore."
                )
            if not any(is_kind(status.st_mode) for is_kind in (stat.S_ISREG, stat.S_ISLNK, stat.S_ISDIR)):
                raise GuardRailViolation(f"{name} is a pipe, socket or device; remove it.")


async def _changes(git: Git, parent: str, tree: str) -> list[_Change]:
    answer = await git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", parent, tree)
    pairs = zip(answer.records[::2], answer.records[1::2], strict=True)
    found = []
    for about, path in pairs:
        _old_mode, mode, _old, new, status = about.decode("ascii").removeprefix(":").split(" ")
        found.append(_Change(mode, new, status, path))
    return found


async def _check(git: Git, changes: list[_Change]) -> None:
    for change in changes:
        name = path_text(change.path)
        if change.status == "A" and has_control(change.path.decode(errors="replace")):
            raise GuardRailViolation(f"The file name {name} has control characters; rename it.")
        if change.mode == SUBMODULE:
            raise GuardRailViolation(f"{name} is a submodule that the change adds or moves; leave it as it was.")
    links = [change for change in changes if change.mode == SYMLINK]
    for link in links:
        target = (await git.run("cat-file", "blob", link.object)).stdout
        if leads_out(link.path, target):
            raise GuardRailViolation(
                f"{path_text(link.path)} is a symbolic link to {path_text(target)}, out of the repository; "
                "link to a file inside of it, by a relative path."
            )


def leads_out(path: bytes, target: bytes) -> bool:
    """Whether a symbolic link at `path` may lead out of the tree, or into its .git folder.

    `..` counts only at the front: after a name it could go up from wherever another link leads.
    """
    parts = PurePosixPath(os.fsdecode(target)).parts
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    depth = len(PurePosixPath(os.fsdecode(path)).parts) - 1
    below = parts[climbs:]
    return (
        not target
        or target.startswith(b"/")
        or b"\0" in target
        or climbs > depth
        or ".." in below
        or any(part.casefold() == ".git" for part in below)
    )


async def _commit_tree(git: Git, tree: str, parent: str, message: str, author: str) -> str:
    name, address = parseaddr(author)
    who = {"NAME": name or "sdlc-bot", "EMAIL": address or "sdlc-bot@users.noreply.invalid"}
    env = {f"GIT_{role}_{key}": _one_line(value) for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    text = message.replace("\0", "").strip() or "Change"
    answer = await git.run("commit-tree", tree, "-p", parent, stdin=f"{text}\n".encode(errors="replace"), env=env)
    return answer.text


def _one_line(text: str) -> str:
    return re.sub(r"[\x00-\x1f<>]", " ", text).strip() or "sdlc-bot"
