"""Workspaces: the files of a commit in a folder, for one activity at a time; and what goes back from there.

A pool of worktrees per repository in `<cache>/workspaces`, each locked while it is used by a lock that the
kernel frees when its holder dies. Whatever is to outlive the activity is committed and published.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from sdlc.domain import ChangeSet, Repository
from sdlc.integrations.git import push
from sdlc.integrations.git.clones import Clones, check_sha, name_of
from sdlc.integrations.git.commit import commit
from sdlc.integrations.git.diff import ChangedFile, DiffStat
from sdlc.integrations.git.locks import try_lock
from sdlc.integrations.git.objects import GitObjects
from sdlc.integrations.git.runner import BOT, Git
from sdlc.integrations.git.sandbox_git import SandboxGit
from sdlc.integrations.git.submodules import fill_submodules
from sdlc.integrations.git.worktree import Worktree

__all__ = ["ChangedFile", "DiffStat", "GitObjects", "Workspace", "Workspaces"]


@dataclass
class Workspace:
    """A folder with the files of a commit, ours until the activity ends."""

    path: Path
    """Everything below is the repository's; sandboxed code may do with it what it likes."""
    sha: str
    """The commit that the files came from, or that was made of them last."""
    repository: Repository
    objects: GitObjects = field(repr=False)
    _worktree: Worktree = field(repr=False)

    @property
    def git(self) -> Git:
        """Our git on this worktree and its index, for what the methods here don't do."""
        return self._worktree.git

    async def commit(self, message: str, *, author: str = BOT) -> str:
        """Commit everything in the tree that is not ignored; the same sha if nothing changed.

        Raises GuardRailViolation, with nothing committed, for what may not be in a change.
        """
        self.sha = await commit(self._worktree, self.sha, message, author=author)
        return self.sha

    async def publish(self, ref: str, sha: str) -> None:
        """Bring the work ref `refs/sdlc/<run id>/<name>` of the repository to `sha`; safe to repeat."""
        await push.publish(self._worktree.clone, ref, sha)

    async def overlay(self, sha: str, paths: Sequence[str]) -> None:
        """Have these files or folders as they are in another commit; what it doesn't have of them is removed."""
        await self._worktree.clone.require(check_sha(sha))
        await self._worktree.overlay(sha, paths)

    async def sandbox_git(self) -> None:
        """Make a fresh throw-away `.git` in the workspace, at `sha`. Nothing of ours reads it."""
        repository = self.repository
        await SandboxGit(self._worktree, self.sha, repository.base_sha, repository.base_branch).make()

    async def diff(self, base: str, head: str, *paths: str, context: int = 3) -> str:
        return await self.objects.diff(base, head, *paths, context=context)

    async def changed_files(self, base: str, head: str) -> list[ChangedFile]:
        return await self.objects.changed_files(base, head)

    async def changed_lines(self, base: str, head: str) -> dict[str, frozenset[int]]:
        return await self.objects.changed_lines(base, head)

    async def diff_stat(self, base: str, head: str) -> DiffStat:
        return await self.objects.diff_stat(base, head)

    async def show(self, sha: str, path: str) -> bytes | None:
        return await self.objects.show(sha, path)

    async def merge_base(self, one: str, other: str) -> str | None:
        return await self.objects.merge_base(one, other)


class Workspaces:
    """All workspaces and clones below one cache folder; made once per worker."""

    def __init__(self, cache_dir: Path, *, submodules: bool = False, git: Git | None = None) -> None:
        cache = cache_dir.absolute()
        self._clones = Clones(git or Git(cache / "git"), cache / "repositories")
        self._folder = cache / "workspaces"
        self._submodules = submodules
        self._shared: dict[tuple[str, str], _Shared] = {}

    @property
    def clones(self) -> Clones:
        """The clones that workspaces are made of, for who reads a commit without one."""
        return self._clones

    @asynccontextmanager
    async def at(self, repository: Repository, sha: str, *, run_id: str = "") -> AsyncIterator[Workspace]:
        """A workspace with the files of `sha`, and nobody else in it until the end of the block.

        With a `run_id` that is also its last user's, files that the repository ignores (build products) stay from
        then; they may speed a build up, and may make a test pass that would fail elsewhere. Otherwise they are removed.
        Raises RepositoryInvalid, ServiceUnavailable, WorkspaceBroken.
        """
        clone = self._clones.of(repository.url)
        await clone.require(sha)
        slot = self._free_slot(self._folder / name_of(clone.address), run_id, sha)
        try:
            worktree = Worktree(clone, slot.folder)
            await worktree.move_to(sha, keep_ignored=bool(run_id) and slot.run_id == run_id)
            slot.mark(run_id, sha)
            if self._submodules:
                await fill_submodules(self._clones, worktree, sha)
            yield Workspace(worktree.tree, sha, repository, GitObjects(clone), worktree)
        finally:
            slot.lock.release()

    @asynccontextmanager
    async def reading(self, repository: Repository, sha: str) -> AsyncIterator[Workspace]:
        """A workspace that others of this process read at the same time.

        Only for programs of ours that leave the files as they are; what a repository names itself takes `at`.
        """
        key = (repository.url, sha)
        shared = self._shared.setdefault(key, _Shared())
        shared.readers += 1
        try:
            async with shared.lock:
                if shared.workspace is None:
                    shared.workspace = await shared.holder.enter_async_context(self.at(repository, sha))
            yield shared.workspace
        finally:
            shared.readers -= 1
            if not shared.readers:
                del self._shared[key]
                await shared.holder.aclose()

    async def objects(self, repository: Repository) -> GitObjects:
        """Read access to the repository's commits; no worktree is needed."""
        clone = self._clones.of(repository.url)
        await clone.prepare()
        return GitObjects(clone)

    async def change_set(self, repository: Repository, base_sha: str, head_sha: str, branch: str) -> ChangeSet:
        """The baton for what lies between two commits, with its counts."""
        stat = await (await self.objects(repository)).diff_stat(base_sha, head_sha)
        return ChangeSet(
            repository=repository,
            base_sha=base_sha,
            head_sha=head_sha,
            branch=branch,
            files_changed=stat.files,
            insertions=stat.insertions,
            deletions=stat.deletions,
        )

    async def publish(self, repository: Repository, ref: str, sha: str) -> None:
        """Bring a work ref (`refs/sdlc/…`) to `sha`; safe to repeat. GuardRailViolation for any other ref."""
        await push.publish(self._clones.of(repository.url), ref, sha)

    async def push_branch(
        self, repository: Repository, branch: str, sha: str, *, expected: str | None, to: str = ""
    ) -> None:
        """Bring a branch `sdlc/…` to `sha`, if it is at `expected` (None: does not exist) or at `sha` already.

        `to`: another repository, by path or URL, that shall have it. Raises BranchConflict if somebody
        moved the branch, GuardRailViolation for a branch that is not named `sdlc/…`, PermissionDenied.
        """
        await push.push_branch(self._clones.of(repository.url), branch, sha, expected=expected, to=to)

    async def refresh(self, repository: Repository) -> None:
        """Fetch the repository's branches and tags as they stand now."""
        await self._clones.of(repository.url).update()

    def _free_slot(self, folder: Path, run_id: str, sha: str) -> _Slot:
        """A worktree nobody uses, locked: the run's own before one at that commit, any other, a new one."""
        known = [_Slot.read(entry) for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []
        known.sort(key=lambda slot: (not (run_id and slot.run_id == run_id), slot.sha != sha, int(slot.folder.name)))
        number = 0
        taken = {slot.folder.name for slot in known}
        for slot in known:
            if slot.take():
                return slot
        while True:
            slot = _Slot(folder / str(number))
            if slot.folder.name not in taken and slot.take():
                return slot
            number += 1


@dataclass
class _Shared:
    """A workspace with several readers; the last one gives it back."""

    readers: int = 0
    workspace: Workspace | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    holder: AsyncExitStack = field(default_factory=AsyncExitStack)


class _Slot:
    """A numbered place in the pool, and who used it last."""

    def __init__(self, folder: Path, run_id: str = "", sha: str = "") -> None:
        self.folder = folder
        self.run_id = run_id
        self.sha = sha
        self.lock: FileLock

    @classmethod
    def read(cls, folder: Path) -> _Slot:
        with suppress(OSError, ValueError, TypeError, KeyError):
            mark = json.loads((folder / "mark").read_text())
            return cls(folder, str(mark["run_id"]), str(mark["sha"]))
        return cls(folder)

    def take(self) -> bool:
        lock = try_lock(self.folder / "lock")
        if lock is None:
            return False
        self.lock = lock
        # Somebody else may have used it between the look and the lock.
        fresh = self.read(self.folder)
        self.run_id, self.sha = fresh.run_id, fresh.sha
        return True

    def mark(self, run_id: str, sha: str) -> None:
        draft = self.folder / "mark.draft"
        draft.write_text(json.dumps({"run_id": run_id, "sha": sha}))
        draft.replace(self.folder / "mark")
