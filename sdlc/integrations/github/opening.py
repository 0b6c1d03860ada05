"""The run's pull request: found, made, brought to its draft, closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from github import GithubException

from sdlc import markdown
from sdlc.domain import PullRequest, PullRequestState, Repository, RunIdentity, Ticket
from sdlc.errors import BranchConflict, PermissionDenied, RepositoryInvalid, SdlcError, ServiceUnavailable
from sdlc.integrations.git.clones import Clones
from sdlc.integrations.github import pulls
from sdlc.integrations.github.api import Api
from sdlc.integrations.github.branches import Branch
from sdlc.integrations.github.comments import Comments
from sdlc.integrations.github.failures import said_of
from sdlc.integrations.github.marks import is_by_us
from sdlc.integrations.ports import PullRequestDraft
from sdlc.naming import branch_name, numbered_branch

MAX_BRANCHES = 50
"""Names that are tried for a run's branch."""
LOOKED_THROUGH = 3
"""Pages of 100 pull requests, newest first, in which a run's own is looked for."""

Pull = dict[str, Any]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Place:
    branch: str
    tip: str
    """What the branch holds; empty: there is none."""
    pull: Pull | None = None
    """What is there already: the run's own pull request, or one that a person made of our branch."""


class Opening:
    """Pull requests of runs; every part of it finds what it did before.

    A pull request is a run's own if we made it, of a branch with the run's name, and it bears the run's mark: the mark
    alone can be copied by whoever reads it. What a text says decides neither what is overwritten nor what is merged.
    """

    def __init__(self, api: Api, comments: Comments, clones: Clones) -> None:
        self.api = api
        self.comments = comments
        self.clones = clones

    async def open(self, draft: PullRequestDraft, run: RunIdentity) -> PullRequest:
        """The run's one pull request, as the draft has it; see `Forge.open_pull_request`."""
        names = {numbered_branch(draft.branch, number) for number in range(1, MAX_BRANCHES + 1)}
        own = await self._of_run(draft.repository, run, names.__contains__)
        pull = own[0] if own else None
        if pull is None:
            place = await self._place(draft, run)
            pull = place.pull
            if pull is None:
                branch = Branch(self.clones, draft.repository, place.branch, draft.repository.base_sha)
                await self._push(branch, draft, expected=place.tip)
                pull = await self._made(draft, place.branch, run)
        return await self._brought(draft, pull, run)

    async def of_run(self, repository: Repository, run: RunIdentity) -> Pull | None:
        """The run's pull request to the repository's base branch; None where it has made none."""
        # A person may have started the run with the key in another case.
        stem = branch_name(Ticket(key=run.ticket_key, title="")).casefold()
        own = await self._of_run(repository, run, lambda name: f"{name.casefold()}-".startswith(f"{stem}-"))
        return next((pull for pull in own if pulls.base_of(pull) == repository.base_branch), None)

    async def _of_run(self, repository: Repository, run: RunIdentity, is_named: Callable[[str], bool]) -> list[Pull]:
        """Those of the run among the newest; see `_own`."""
        name = repository.name
        doing = f"looking for the run's pull request in {name}"
        newest = {"state": "all", "sort": "created", "direction": "desc"}
        listed: AsyncIterator[Pull] = self.api.pages(f"/repos/{name}/pulls", doing=doing, most=LOOKED_THROUGH, **newest)
        fitting = [
            pull
            async for pull in listed
            if pulls.is_within(pull, name) and is_named(str((pull.get("head") or {}).get("ref") or ""))
        ]
        return _own(fitting, run, repository.base_branch, await self.api.tokens.login())

    async def _of_branch(self, name: str, branch: str) -> list[Pull]:
        doing = f"looking for pull requests of {branch} in {name}"
        head = f"{name.partition('/')[0]}:{branch}"
        listed = await self.api.listed(f"/repos/{name}/pulls", doing=doing, most=1, state="all", head=head)
        # A filter that GitHub can't read is a filter that it leaves out.
        return [
            pull for pull in listed if pulls.is_within(pull, name) and (pull.get("head") or {}).get("ref") == branch
        ]

    async def _place(self, draft: PullRequestDraft, run: RunIdentity) -> _Place:
        """The first name that is free or holds our own work."""
        name, base = draft.repository.name, draft.repository.base_branch
        login = await self.api.tokens.login()
        for number in range(1, MAX_BRANCHES + 1):
            branch = numbered_branch(draft.branch, number)
            present = await self._of_branch(name, branch)
            if own := _own(present, run, base, login):
                return _Place(branch, str(own[0]["head"]["sha"]), own[0])
            earlier = [(pull, pulls.marks_of(pull.get("body"))) for pull in present if is_by_us(pull, login)]
            if any(marks.marker for _, marks in earlier):
                for pull, marks in earlier:
                    # The same workflow id under another marker: that run is over, and this is the ticket's next.
                    if marks.workflow_id == run.workflow_id and not pulls.is_over(pull):
                        await self.close(name, pull, f"superseded by the run {run.run_id}", run)
                continue
            there = Branch(self.clones, draft.repository, branch, draft.repository.base_sha)
            tip = await there.tip()
            if tip and not await there.is_ours(tip, draft.head_sha):
                continue
            return _Place(branch, tip, _adopted(present, base, draft.head_sha))
        raise BranchConflict(
            f"{name} has {MAX_BRANCHES} branches named like {draft.branch} already; delete those that nobody needs."
        )

    async def _made(self, draft: PullRequestDraft, branch: str, run: RunIdentity) -> Pull:
        name = draft.repository.name
        wanted = {
            "title": pulls.cut_title(draft.title),
            "head": branch,
            "base": draft.repository.base_branch,
            "body": pulls.marked_body(draft.body, run, issue=draft.issue),
            "draft": True,
        }
        doing = f"making the pull request of {branch} in {name}"
        path = f"/repos/{name}/pulls"
        answer = await self.api.call("POST", path, body=wanted, doing=doing, accept=(422,))
        if not answer.ok and "draft pull requests are not supported" in _text(answer.data):
            # Private repositories of free plans have none.
            answer = await self.api.call("POST", path, body={**wanted, "draft": False}, doing=doing, accept=(422,))
        if answer.ok:
            return dict(answer.data)
        if "already exists" in _text(answer.data):
            base = draft.repository.base_branch
            present = [pull for pull in await self._of_branch(name, branch) if pulls.base_of(pull) == base]
            if still_open := [pull for pull in present if not pulls.is_over(pull)]:
                return still_open[0]
            raise ServiceUnavailable(f"GitHub says that {branch} has a pull request and does not show it yet.")
        # The same call again, so that its refusal is told as any other.
        return dict((await self.api.call("POST", path, body=wanted, doing=doing)).data)

    async def _brought(self, draft: PullRequestDraft, pull: Pull, run: RunIdentity) -> PullRequest:
        """The pull request with the draft's text, labels and commit."""
        name, number = draft.repository.name, int(pull["number"])
        if pulls.base_of(pull) != draft.repository.base_branch:
            raise BranchConflict(pulls.other_base(name, pull, draft.repository.base_branch))
        if pulls.is_over(pull):
            raise BranchConflict(
                f"Pull request {number} of {name} is {pulls.state_of(pull).value}; reopen it on GitHub and retry, "
                "or abort."
            )
        branch = Branch(self.clones, draft.repository, str(pull["head"]["ref"]), draft.repository.base_sha)
        tip = await branch.tip()
        if tip and not await branch.goes_forward(tip, draft.head_sha):
            raise BranchConflict(
                f"The branch {branch.name} of {name} holds {tip[:10]}, which is no part of this run's work; "
                "take it in or move it to another branch, then retry."
            )
        await self._push(branch, draft, expected=tip)
        words = "" if pulls.is_of(pull.get("body"), run) else str(pull.get("body") or "").strip()
        text = f"{draft.body.rstrip()}\n\n{markdown.quote(words, 10_000)}" if words else draft.body
        wanted = {
            "title": pulls.cut_title(draft.title),
            "body": pulls.marked_body(text, run, issue=draft.issue),
        }
        if any(str(pull.get(key) or "") != value for key, value in wanted.items()):
            doing = f"editing pull request {number} of {name}"
            pull = dict((await self.api.call("PATCH", f"/repos/{name}/pulls/{number}", body=wanted, doing=doing)).data)
        await self._label(name, pull, draft.labels)
        return pulls.as_domain(pull, head_sha=draft.head_sha)

    async def _label(self, name: str, pull: Pull, labels: Sequence[str]) -> None:
        present = {str(label.get("name") or "").casefold() for label in pull.get("labels") or ()}
        missing = [label for label in labels if label.casefold() not in present]
        if not missing:
            return
        doing = f"labelling pull request {pull['number']} of {name}"
        path = f"/repos/{name}/issues/{pull['number']}/labels"
        try:
            await self.api.call("POST", path, body={"labels": missing}, doing=doing)
        except ServiceUnavailable:
            raise
        except SdlcError as error:
            # A label is no reason to hold a run up.
            log.warning("pull_request_not_labelled", pull_request=pull["number"], reason=str(error))

    async def _push(self, branch: Branch, draft: PullRequestDraft, *, expected: str) -> None:
        """Git tells a repository that was archived, and a branch that rules protect, by the same word."""
        name = draft.repository.name
        try:
            await branch.push(draft.head_sha, expected=expected)
        except PermissionDenied as error:
            about = (await self.api.get(f"/repos/{name}", doing=f"reading the repository {name}")).data
            if about.get("archived"):
                raise RepositoryInvalid(f"{name} is archived, nothing can be pushed to it; unarchive it.") from error
            raise PermissionDenied(
                f"{error} If a rule or branch protection of {name} fits {branch.name}, let this account past it."
            ) from error

    async def close(self, name: str, pull: Pull, reason: str, run: RunIdentity) -> Pull:
        """Close it, with a comment that says why; nothing if it is over."""
        if pulls.is_over(pull):
            return pull
        branch = markdown.code(str(pull["head"]["ref"]))
        said = f"Closed without merging: {markdown.inline(reason, 1_000)}. The branch {branch} stays."
        number = int(pull["number"])
        await self.comments.say(name, number, said, run=run, topic="closed")
        doing = f"closing pull request {number} of {name}"
        answer = await self.api.call("PATCH", f"/repos/{name}/pulls/{number}", body={"state": "closed"}, doing=doing)
        return dict(answer.data)


def _own(present: Sequence[Pull], run: RunIdentity, base: str, login: str) -> list[Pull]:
    """Those of them that the run made: to its base before others, the oldest first, since a copy comes later."""
    own = [pull for pull in present if is_by_us(pull, login) and pulls.is_of(pull.get("body"), run)]
    return sorted(own, key=lambda pull: (pulls.base_of(pull) != base, int(pull["number"])))


def _adopted(present: Sequence[Pull], base: str, head_sha: str) -> Pull | None:
    """The open pull request that a person made of our branch to its base; or the one by which this very head was
    merged, so that it is not offered again.
    """
    fitting = [pull for pull in present if pulls.base_of(pull) == base]
    still_open = [pull for pull in fitting if not pulls.is_over(pull)]
    merged = [
        pull for pull in fitting if pulls.state_of(pull) is PullRequestState.MERGED and pull["head"]["sha"] == head_sha
    ]
    return next(iter((*still_open, *merged)), None)


def _text(data: Any) -> str:
    return said_of(GithubException(422, data)).casefold()
