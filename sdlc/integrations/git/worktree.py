"""The files of a commit in a folder that sandboxed code may do anything to.

Git's own folder and index lie outside of it, so nothing in it speaks to our git. Moving it to a commit
trusts nothing that is found in it either: what git then still sees as different makes it being built anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sdlc.errors import RepositoryInvalid, ServiceUnavailable, WorkspaceBroken
from sdlc.integrations.git.clones import Clone
from sdlc.integrations.git.diff import SUBMODULE
from sdlc.integrations.git.paths import path_argument
from sdlc.integrations.git.runner import Git
from sdlc.integrations.git.throw_away import empty_trash, throw_away

log = logging.getLogger(__name__)

READ_BY_GIT = frozenset({".gitattributes", ".gitignore", ".gitmodules", ".mailmap"})
"""Files in the tree that git opens by itself: where one is a pipe, it waits for a writer."""
_MOST_LOOKED_AT = 1_000_000
"""Files and folders in one walk, half a second of them; a git that then still waits is ended by its time-out."""
_CLEAN_SECONDS = 30.0
"""For git to remove what is left over: thousands of folders within one another take it minutes, and `rm` a moment."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Tracked:
    """An entry of the index."""

    mode: str
    object: str
    path: bytes

    @classmethod
    def read(cls, record: bytes) -> Tracked:
        about, _, path = record.partition(b"\t")
        mode, sha, _stage = about.decode("ascii").split(" ")
        return cls(mode, sha, path)

    @property
    def is_submodule(self) -> bool:
        return self.mode == SUBMODULE


class Worktree:
    """`folder` holds `tree`, which the sandbox sees, and the index, which it doesn't."""

    def __init__(self, clone: Clone, folder: Path) -> None:
        self.clone = clone
        self.folder = folder
        self.tree = folder / "tree"
        self.index = folder / "index"
        self.git = self.git_with(self.index)

    def git_with(self, index: Path) -> Git:
        """Git on this tree with another index."""
        return self.clone.git.on(self.clone.folder, work_tree=self.tree, index=index)

    async def move_to(self, sha: str, *, keep_ignored: bool = False) -> None:
        """Have exactly the files of `sha` in the tree; with `keep_ignored`, ignored files as well.

        Costs what differs. Raises WorkspaceBroken, and condemns the clone, if the commit can't be checked out.
        """
        await empty_trash(self.folder)
        if self._can_move():
            try:
                await self._move(sha, keep_ignored=keep_ignored)
                return
            except (WorkspaceBroken, ServiceUnavailable, OSError) as error:
                log.info("the workspace %s is built anew: %s", self.folder, error)
        with self.clone.watched():
            await self._build(sha)

    async def tracked(self) -> list[Tracked]:
        """What the index holds."""
        return await self.tracked_in(self.git)

    @staticmethod
    async def tracked_in(git: Git) -> list[Tracked]:
        """What the index of `git` holds."""
        listed = await git.run("ls-files", "--stage", "-z")
        return [Tracked.read(record) for record in listed.records]

    async def overlay(self, sha: str, paths: Sequence[str]) -> None:
        """Have these files and folders in the tree as they are in `sha`; what `sha` doesn't have is removed."""
        index = self.folder / "index.overlay"
        await asyncio.to_thread(remove_special, self.tree, READ_BY_GIT)
        try:
            git = self.git_with(index)
            await git.run("read-tree", sha)
            wanted = (await git.run("ls-files", "-z", "--", *map(path_argument, paths))).stdout
            here = await self.git.run("ls-files", "-z", "-c", "-o", "--", *map(path_argument, paths))
            for path in set(here.records) - set(wanted.split(b"\0")):
                await throw_away(self.inside(path), by_way_of=self.folder)
            await git.run("checkout-index", "--force", "-z", "--stdin", stdin=wanted)
        finally:
            index.unlink(missing_ok=True)

    def inside(self, path: bytes) -> Path:
        """A path of the tree; WorkspaceBroken if a symbolic link would lead out of it."""
        place = self.tree / os.fsdecode(path)
        if place.parent.resolve() != self.tree.resolve() / place.parent.relative_to(self.tree):
            raise WorkspaceBroken(
                f"A folder above {place} was replaced by a symbolic link; the workspace is made anew."
            )
        return place

    def _can_move(self) -> bool:
        # A lock on the index was left by a git that was killed in the middle of something.
        if any(self.folder.glob("index*.lock")) or not self.index.is_file() or self.tree.is_symlink():
            return False
        return self.tree.is_dir() and os.access(self.tree, os.R_OK | os.W_OK | os.X_OK)

    async def _move(self, sha: str, *, keep_ignored: bool) -> None:
        await throw_away(self.tree / ".git", by_way_of=self.folder)
        await asyncio.to_thread(remove_special, self.tree)
        if os.geteuid() == 0:
            # The sandbox is another user then; files that only changed their owner are not written again.
            await self.git.run("update-index", "-q", "--refresh", accept=(0, 1))
        await self.git.run("read-tree", "--reset", "-u", sha)
        differing, tracked = await asyncio.gather(self._differing(), self.tracked())
        if differing:
            raise WorkspaceBroken(f"{len(differing)} files are not as in {sha}")
        for path in await asyncio.to_thread(self._strange, tracked, keep_ignored):
            await throw_away(path, by_way_of=self.folder)
        for entry in tracked:
            if entry.is_submodule:
                self.inside(entry.path).mkdir(parents=True, exist_ok=True)
        cleaned = await self.git.run("clean", "-ffdq", *(() if keep_ignored else ("-x",)), timeout=_CLEAN_SECONDS)
        if cleaned.stderr:
            raise WorkspaceBroken(cleaned.stderr[:200])

    def _strange(self, entries: Iterable[Tracked], same_run: bool) -> list[Path]:
        """What git passes over in folders that it tracks: repositories, pipes, whatever is in submodules' places.

        For a new run, permissions that git doesn't track are put right as well.
        """
        found: list[Path] = []
        folders = {b""}
        for entry in entries:
            folder = os.path.dirname(entry.path)
            while folder and folder not in folders:
                folders.add(folder)
                folder = os.path.dirname(folder)
            if entry.is_submodule:
                place = self.inside(entry.path)
                found += place.iterdir() if place.is_dir() and not place.is_symlink() else [place]
            elif not same_run:
                self._put_right(entry.path)
        for folder in folders:
            if not same_run:
                self._put_right(folder)
            with os.scandir(self.tree / os.fsdecode(folder)) as listed:
                found += [Path(item.path) for item in listed if item.name == ".git" or _is_special(item)]
        return found

    def _put_right(self, path: bytes) -> None:
        place = self.tree / os.fsdecode(path)
        mode = place.lstat().st_mode
        bits, kind = stat.S_IMODE(mode), stat.S_IFMT(mode)
        needed = stat.S_IRWXU if kind == stat.S_IFDIR else stat.S_IRUSR | stat.S_IWUSR
        unwanted = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | stat.S_IWGRP | stat.S_IWOTH
        if kind in (stat.S_IFDIR, stat.S_IFREG) and (bits & needed != needed or bits & unwanted):
            place.chmod(0o755 if bits & stat.S_IXUSR or kind == stat.S_IFDIR else 0o644)

    async def _build(self, sha: str) -> None:
        await throw_away(self.tree)
        for leftover in self.folder.glob("index*"):
            leftover.unlink()
        self.tree.mkdir(parents=True)
        await self.git.run("read-tree", "--reset", "-u", sha)
        if differing := await self._differing():
            names = ", ".join(os.fsdecode(path) for path in differing[:3])
            raise RepositoryInvalid(
                f"The commit {sha[:12]} can't be checked out as it is ({names}); do two paths differ in case only?"
            )

    async def _differing(self) -> list[bytes]:
        """Files that are not as in the index. `read-tree` believes one that it reaches through a symbolic link."""
        return (await self.git.run("diff-files", "--name-only", "-z", "--ignore-submodules=all")).records


def remove_special(root: Path, names: Collection[str] | None = None) -> None:
    """Remove pipes, sockets and devices below a folder in which nobody works; with `names` only those called so.

    Follows no link. Blocks, 10 ms for 20,000 files: for a thread. What can't be removed stays.
    """
    left, folders = _MOST_LOOKED_AT, [""]
    top = os.open(root, _FOLDER)
    try:
        while folders and left > 0:
            place = folders.pop()
            # From the top on, as git does: it reaches what has too long a path for us.
            with suppress(OSError), _opened(place or ".", top) as folder, os.scandir(folder) as listed:
                for item in listed:
                    left -= 1
                    if item.is_dir(follow_symlinks=False):
                        folders.append(f"{place}/{item.name}" if place else item.name)
                    elif _is_special(item) and (names is None or item.name in names):
                        with suppress(OSError):
                            os.fchmod(folder, stat.S_IMODE(os.fstat(folder).st_mode) | stat.S_IRWXU)
                        with suppress(OSError):
                            os.unlink(item.name, dir_fd=folder)
    finally:
        os.close(top)


@contextmanager
def _opened(folder: str, top: int) -> Iterator[int]:
    handle = os.open(folder, _FOLDER, dir_fd=top)
    try:
        yield handle
    finally:
        os.close(handle)


def _is_special(entry: os.DirEntry[str]) -> bool:
    """A pipe, socket or device: git doesn't see them."""
    return not (entry.is_symlink() or entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False))
