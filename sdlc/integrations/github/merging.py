"""Merging, where branch protection agrees: what an administrator could merge in spite of it is not merged."""

from __future__ import annotations

from typing import Any

from sdlc.domain import PullRequest, PullRequestState, RunIdentity
from sdlc.errors import BranchConflict, ServiceUnavailable
from sdlc.integrations.github import pulls
from sdlc.integrations.github.api import Api
from sdlc.integrations.github.settling import is_settled, settled

_MAY_MERGE = ("clean", "unstable", "has_hooks")
_WHY_NOT = {
    "blocked": "branch protection does not allow it yet; reviews or checks that it asks for are missing",
    "behind": "branch protection wants the branch to be up to date with its base, and it is behind",
    "dirty": "it conflicts with the base branch; merge by hand",
    "draft": "it is a draft",
}
_METHODS = {"merge": "allow_merge_commit", "squash": "allow_squash_merge", "rebase": "allow_rebase_merge"}
"""Method → the setting of the repository that allows it."""


class Merging:
    def __init__(self, api: Api, method: str) -> None:
        self.api = api
        self.method = method
        """The one that is wished; another one is taken where the repository does not allow it."""

    async def merge(self, name: str, pull_request: PullRequest, run: RunIdentity) -> PullRequest:
        """Merge the head of `pull_request`; see `Forge.merge`."""
        number, head_sha = pull_request.number, pull_request.head_sha
        pull = await settled(self.api, name, number)
        if pulls.base_of(pull) != pull_request.base_branch:
            # Before all else: what was merged elsewhere was not merged where people had approved it.
            raise BranchConflict(pulls.other_base(name, pull, pull_request.base_branch))
        if pulls.state_of(pull) is PullRequestState.MERGED:
            return pulls.as_domain(pull)
        if pulls.is_over(pull) or pull["head"]["sha"] != head_sha:
            raise BranchConflict(
                f"Pull request {number} of {name} ({pulls.state_of(pull).value}) is at "
                f"{str(pull['head']['sha'])[:10]}, and {head_sha[:10]} was approved; it is not merged."
            )
        if not is_settled(pull):
            raise ServiceUnavailable(f"GitHub does not tell yet whether pull request {number} of {name} can be merged.")
        state = str(pull.get("mergeable_state") or "unknown")
        if state not in _MAY_MERGE:
            raise BranchConflict(
                f"Pull request {number} of {name} is not merged: {_WHY_NOT.get(state, f'GitHub says {state}')}."
            )
        answer = await self.api.call(
            "PUT",
            f"/repos/{name}/pulls/{number}/merge",
            body={"sha": head_sha, **await self._how(name, pull, run)},
            doing=f"merging pull request {number} of {name}",
        )
        if not (answer.data or {}).get("merged", True):
            raise BranchConflict(f"Pull request {number} of {name} is not merged: {answer.data.get('message')}")
        return pulls.as_domain({**pull, "merged": True, "state": "closed"})

    async def _how(self, name: str, pull: dict[str, Any], run: RunIdentity) -> dict[str, str]:
        about = (await self.api.get(f"/repos/{name}", doing=f"reading the repository {name}")).data
        allowed = [method for method, setting in _METHODS.items() if about.get(setting) is not False]
        method = self.method if self.method in allowed or not allowed else allowed[0]
        how = {"merge_method": method}
        if run.coauthor and method != "rebase":
            # A rebase makes no commit of its own, and the run's commits name the co-author themselves.
            trailer = f"Co-authored-by: {' '.join(run.coauthor.split())}"
            title = " ".join(str(pull.get("title") or "").split())
            how["commit_message"] = f"{title}\n\n{trailer}" if method == "merge" and title else trailer
        return how
