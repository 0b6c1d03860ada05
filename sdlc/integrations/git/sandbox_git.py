"""The throw-away `.git` for what runs in the sandbox: status, diff, log, describe work there.

It has objects of its own, because the sandbox sees only the workspace, and copies of them, because a link
would let the sandbox write into our clone. It is put together from packs and plain files: no git of ours ever
runs in it, so whatever becomes of its hooks, configuration or commits stays without effect on us.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sdlc.integrations.git.clones import ATTRIBUTES, LEFT_OUT, Clone
from sdlc.integrations.git.locks import locked
from sdlc.integrations.git.runner import LOCAL_SECONDS
from sdlc.integrations.git.throw_away import throw_away
from sdlc.integrations.git.worktree import Worktree

FULL_HISTORY_BYTES = 64 * 1024**2
"""Of a larger repository the sandbox gets all commits and tags, and the files of the newest commit only."""
_KEPT_HISTORIES = 4

_CONFIG = """[core]
	repositoryformatversion = 0
	bare = false
	filemode = true
	logallrefupdates = true
[gc]
	auto = 0
[user]
	name = sdlc-bot
	email = sdlc-bot@users.noreply.invalid
"""


@dataclass(frozen=True)
class SandboxGit:
    """Makes the `.git` of one worktree at one commit."""

    worktree: Worktree
    sha: str
    base_sha: str
    base_branch: str

    @property
    def _clone(self) -> Clone:
        return self.worktree.clone

    async def make(self) -> None:
        """Put a fresh `.git` in the tree, on a detached HEAD, with `origin/<base branch>` at the base."""
        base = self.base_sha or self.sha
        await self._clone.require(self.sha, base)
        draft = self.worktree.folder / "sandbox.draft"
        await throw_away(draft)
        (draft / "objects" / "pack").mkdir(parents=True)
        with self._clone.watched():
            tags = await self._history(base, draft / "objects" / "pack")
            if self.sha != base:
                await self._pack(f"{self.sha}\n^{base}\n", draft / "objects" / "pack" / "pack")
        await asyncio.to_thread(self._write, draft, tags)
        await throw_away(self.worktree.tree / ".git", by_way_of=self.worktree.folder)
        # A rename is not led astray by anything that lies in the tree.
        draft.rename(self.worktree.tree / ".git")

    def _write(self, draft: Path, tags: str) -> None:
        (draft / "refs" / "heads").mkdir(parents=True)
        (draft / "info").mkdir()
        (draft / "HEAD").write_text(f"{self.sha}\n")
        (draft / "config").write_text(_CONFIG)
        (draft / "info" / "exclude").write_text("".join(f"{pattern}\n" for pattern in LEFT_OUT))
        (draft / "info" / "attributes").write_text(ATTRIBUTES)
        base = f"{self.base_sha} refs/remotes/origin/{self.base_branch}\n" if self.base_sha and self.base_branch else ""
        (draft / "packed-refs").write_text(base + tags)
        shutil.copy2(self.worktree.index, draft / "index")  # with its date, which git trusts

    async def _history(self, base: str, into: Path) -> str:
        """Copy the pack of everything up to `base` to `into`, making it the first time; returns its tags."""
        histories = self._clone.folder.with_name(f"{self._clone.folder.name}.history")
        async with locked(histories.with_suffix(".history-lock"), timeout=LOCAL_SECONDS):
            kept = histories / base
            if not (kept / "tags").is_file():
                await self._make_history(base, kept)
                for old in _oldest(histories):
                    await throw_away(old)
            os.utime(kept)
            await asyncio.to_thread(shutil.copytree, kept / "pack", into, dirs_exist_ok=True)
            return (kept / "tags").read_text()

    async def _make_history(self, base: str, kept: Path) -> None:
        draft = kept.with_name("draft")
        await throw_away(draft)
        (draft / "pack").mkdir(parents=True)
        tags = await self._clone.git.run(
            "for-each-ref", f"--merged={base}", "--format=%(objectname) %(refname)", "refs/tags/"
        )
        starts = [base, *(line.split(" ", 1)[0] for line in tags.text.splitlines())]
        if await asyncio.to_thread(self._packed_bytes) <= FULL_HISTORY_BYTES:
            await self._pack("".join(f"{start}\n" for start in starts), draft / "pack" / "pack")
        else:
            await self._pack_without_old_files(base, starts, draft / "pack" / "pack")
        (draft / "tags").write_text(f"{tags.text}\n" if tags.text else "")
        draft.rename(kept)

    async def _pack(self, revisions: str, name: Path) -> None:
        await self._clone.git.run(
            *("pack-objects", "--revs", "--quiet", "--threads=1", "--delta-base-offset", str(name)),
            stdin=revisions.encode(),
        )

    async def _pack_without_old_files(self, base: str, starts: list[str], name: Path) -> None:
        listing = ("rev-list", "--objects", "--no-object-names")
        commits = await self._clone.git.run(*listing, "--filter=tree:0", *starts)
        files = await self._clone.git.run(*listing, "--no-walk", base)
        await self._clone.git.run(
            *("pack-objects", "--quiet", "--threads=1", "--delta-base-offset", str(name)),
            stdin=commits.stdout + files.stdout,
        )

    def _packed_bytes(self) -> int:
        return sum(pack.stat().st_size for pack in (self._clone.folder / "objects" / "pack").glob("*.pack"))


def _oldest(histories: Path) -> list[Path]:
    return sorted(histories.iterdir(), key=lambda history: history.stat().st_mtime, reverse=True)[_KEPT_HISTORIES:]
