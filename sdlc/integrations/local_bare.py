"""The bare repository of the local forge: fetched from the origin, holding the runs' branches."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from pathlib import Path

from sdlc.errors import BranchConflict, SdlcError, ServiceUnavailable, WorkspaceBroken
from sdlc.integrations.git.address import kind_of
from sdlc.integrations.git.push import refs_of
from sdlc.integrations.git.runner import TRANSFER_SECONDS, Git

NO_COMMIT = "0" * 40
_PUSH_SECONDS = 300.0
STALE_LOCK_SECONDS = 120.0
_RECEIVE = (
    "git -c core.hooksPath=/dev/null -c receive.denyCurrentBranch=refuse -c receive.autogc=false "
    "-c gc.auto=0 receive-pack"
)
"""The origin's end of a push: whatever its configuration says, a branch that is checked out there is not moved."""
_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "sdlc-bot"), ("EMAIL", "sdlc-bot@users.noreply.invalid"))
}


class BareRepository:
    """A bare repository of ours. Moves of refs say what they expect, so that nothing is overwritten unseen."""

    def __init__(self, path: Path, git: Git) -> None:
        self.path = path
        self.git = git.on(path)

    # --- from the origin ----------------------------------------------------------------------

    async def fetch(self, address: str, branch: str) -> str:
        """Fetch `branch` and all tags of `address`; the sha to start from.

        That is the origin's, or ours where we have merged and the origin has not been brought up to
        that. A base that went another way at the origin is followed, and ours kept in `refs/sdlc/kept/`.
        """
        await self._prepare()
        await self.git.run(
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--update-shallow",
            address,
            f"+refs/heads/{branch}:refs/remotes/origin/{branch}",
            "+refs/tags/*:refs/tags/*",
            timeout=TRANSFER_SECONDS,
            remote=address,
        )
        if (await self.git.run("symbolic-ref", "HEAD")).text != f"refs/heads/{branch}":
            await self.git.run("symbolic-ref", "HEAD", f"refs/heads/{branch}")
        theirs = await self.tip(f"refs/remotes/origin/{branch}")
        ours = await self.tip(f"refs/heads/{branch}")
        if ours and await self.is_ancestor(theirs, ours):
            return ours
        if ours and not await self.is_ancestor(ours, theirs):
            await self.git.run("update-ref", f"refs/sdlc/kept/{branch}-{ours[:10]}", ours)
        await self.move(f"refs/heads/{branch}", theirs, expected=ours)
        return theirs

    async def _prepare(self) -> None:
        """Make the repository, or free it from what a killed git has left behind."""
        if not all((self.path / name).exists() for name in ("HEAD", "config", "objects", "refs")):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            await self.git.run("init", "--bare", "--quiet", str(self.path))
        self._free_stale_locks()

    def _free_stale_locks(self) -> None:
        """Lock files that are older than any move of a ref takes: their git is dead."""
        for lock in (*self.path.glob("*.lock"), *(self.path / "refs").rglob("*.lock")):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > STALE_LOCK_SECONDS:
                    lock.unlink()

    async def ahead(self, branch: str) -> int:
        """How many commits of ours the origin's base does not have."""
        answer = await self.git.run(
            "rev-list", "--count", f"refs/remotes/origin/{branch}..refs/heads/{branch}", accept=(0, 128)
        )
        return int(answer.text) if answer.exit_code == 0 else 0

    # --- refs ---------------------------------------------------------------------------------

    async def tip(self, ref: str) -> str:
        """The commit of a full ref name, empty if there is none."""
        answer = await self.git.run("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", accept=(0, 1))
        return answer.text if answer.exit_code == 0 else ""

    async def has(self, sha: str) -> bool:
        answer = await self.git.run("cat-file", "-e", f"{sha}^{{commit}}", accept=(0, 1, 128))
        return answer.exit_code == 0

    async def is_ancestor(self, ancestor: str, sha: str) -> bool:
        answer = await self.git.run("merge-base", "--is-ancestor", ancestor, sha, accept=(0, 1))
        return answer.exit_code == 0

    async def move(self, ref: str, sha: str, *, expected: str) -> None:
        """Set a ref that holds `expected` (empty: that does not exist) to `sha`.

        Raises BranchConflict if somebody was faster.
        """
        if sha == expected:
            return
        answer = await self.git.run("update-ref", ref, sha, expected or NO_COMMIT, accept=(0, 1, 128))
        if answer.exit_code and "File exists" in answer.stderr:
            self._free_stale_locks()
            raise ServiceUnavailable(f"{ref} in {self.path} is being written by another git; it is tried again.")
        if answer.exit_code and await self.tip(ref) != sha:
            raise BranchConflict(
                f"{ref} in {self.path} was moved by somebody else ({answer.stderr}); look at it there."
            )

    # --- contents -----------------------------------------------------------------------------

    async def diff(self, base: str, head: str) -> bytes:
        """What `head` adds to where it left `base`, as a patch."""
        fork = await self.git.run("merge-base", base, head, accept=(0, 1))
        answer = await self.git.run(
            "diff-tree", "-p", "-M", "--stat", "--no-color", "--no-ext-diff", "--no-textconv", fork.text or base, head
        )
        return answer.stdout

    async def merge(self, base_branch: str, head: str, message: str) -> str:
        """Put a merge of `head` on the base branch, without any work tree; its sha.

        Nothing if the base has it already. Raises BranchConflict if the two can't be merged.
        """
        ref = f"refs/heads/{base_branch}"
        base = await self.tip(ref)
        if not base:
            raise WorkspaceBroken(f"{self.path} has no branch {base_branch}; open the repository again.")
        if await self.is_ancestor(head, base):
            return base
        tree = await self.git.run("merge-tree", "--write-tree", "--name-only", base, head, accept=(0, 1))
        if tree.exit_code:
            files = ", ".join(tree.text.split("\n\n")[0].splitlines()[1:6])
            raise BranchConflict(
                f"{head[:10]} can't be merged into {base_branch}: both changed {files}; merge by hand."
            )
        made = await self.git.run(
            "commit-tree", tree.text, "-p", base, "-p", head, stdin=message.encode(), env=_IDENTITY
        )
        await self.move(ref, made.text, expected=base)
        return made.text

    # --- to the origin ------------------------------------------------------------------------

    async def publish(self, address: str, branch: str, sha: str, *, ours: Collection[str]) -> str:
        """Bring `branch` of the origin to `sha`, if it does not exist there or holds a commit of `ours`.

        Nothing else of the origin is touched: no other ref, no index, no work tree, no hook runs.
        Returns why not, or an empty text: the branch is in the forge in any case.
        """
        ref = f"refs/heads/{branch}"
        try:
            there = (await refs_of(self.git, address, ref)).get(ref, "")
            if there == sha:
                return ""
            if there and there not in ours:
                return f"{branch} was not pushed to the origin: it holds {there[:10]} there, which is not ours."
            receive = [f"--receive-pack={_RECEIVE}"] if kind_of(address) == "path" else []
            await self.git.run(
                *("push", "--quiet", "--no-verify", *receive, f"--force-with-lease={ref}:{there}"),
                *(address, f"{sha}:{ref}"),
                timeout=_PUSH_SECONDS,
                remote=address,
            )
        except SdlcError as error:
            return f"{branch} was not pushed to the origin: {error}"
        return ""
