"""The run's branch: which name it has, whose work it holds, how it is brought to a commit."""

from __future__ import annotations

from sdlc.domain import Repository
from sdlc.integrations.git.clones import Clone, Clones
from sdlc.integrations.git.push import push_branch, refs_of


class Branch:
    """A branch of a repository on GitHub, seen through the clone of this host."""

    def __init__(self, clones: Clones, repository: Repository, name: str, base_sha: str) -> None:
        self.clone: Clone = clones.of(repository.url)
        self.name = name
        self.base_sha = base_sha

    async def tip(self) -> str:
        """Its commit as git tells it, which is never late; empty where there is no such branch."""
        ref = f"refs/heads/{self.name}"
        await self.clone.prepare()
        return (await refs_of(self.clone.git, self.clone.address, ref)).get(ref, "")

    async def goes_forward(self, tip: str, head_sha: str) -> bool:
        """Is `tip` part of `head_sha`? Only then may the branch go there: nothing of anybody is lost by that.

        Git alone decides. What a text says of commits that are ours was written by whoever may edit the text.
        """
        return tip == head_sha or await self._is_ancestor(tip, head_sha)

    async def is_ours(self, tip: str, head_sha: str) -> bool:
        """Is it a branch of this change, which nothing else says? So it is where `tip` is part of the change itself:
        of `head_sha`, and not of the base.
        """
        if tip == head_sha:
            return True
        return await self.goes_forward(tip, head_sha) and not await self._is_ancestor(tip, self.base_sha)

    async def push(self, head_sha: str, *, expected: str) -> None:
        """Bring it from `expected` (empty: it is new) to `head_sha`.

        Raises BranchConflict if somebody was faster, PermissionDenied, ServiceUnavailable.
        """
        if expected != head_sha:
            await push_branch(self.clone, self.name, head_sha, expected=expected or None)

    async def _is_ancestor(self, ancestor: str, sha: str) -> bool:
        await self.clone.require(ancestor, sha)
        answer = await self.clone.git.run("merge-base", "--is-ancestor", ancestor, sha, accept=(0, 1))
        return answer.exit_code == 0
