"""GitHub as the forge: github.com or an Enterprise server, by a personal token or as an App."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from sdlc import markdown
from sdlc.config import default_cache_dir
from sdlc.config.github import GitHubSettings
from sdlc.domain import ApprovalDecision, CiReport, PullRequest, PullRequestNews, Repository, RunIdentity
from sdlc.errors import PermissionDenied, RepositoryInvalid
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.integrations.git.askpass import TokenGit
from sdlc.integrations.git.clones import Clones
from sdlc.integrations.git.runner import Git
from sdlc.integrations.github import pulls
from sdlc.integrations.github.access import Access
from sdlc.integrations.github.address import RepositoryAddress, looks_remote, repository_address
from sdlc.integrations.github.api import Api, segment
from sdlc.integrations.github.ci import Ci
from sdlc.integrations.github.codeowners import Reviewers
from sdlc.integrations.github.comments import Comments
from sdlc.integrations.github.merging import Merging
from sdlc.integrations.github.news import News
from sdlc.integrations.github.opening import Opening
from sdlc.integrations.github.publishing import Publisher
from sdlc.integrations.github.reviewers import Asking
from sdlc.integrations.github.tokens import Tokens
from sdlc.integrations.ports import PullRequestDraft, Review

_READY = "mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) { pullRequest { isDraft } } }"


class GitHubForge:
    """Repositories and pull requests on GitHub."""

    def __init__(
        self,
        settings: GitHubSettings,
        *,
        clones: Clones | None = None,
        artifacts: ArtifactStore | None = None,
        tokens: Tokens | None = None,
        git_home: Path | None = None,
    ) -> None:
        """`clones` are the worker's, made with a `TokenGit` that has `tokens`; `artifacts` keep logs of red checks."""
        self.settings = settings
        self.tokens = tokens or Tokens(settings)
        self.git: Git = TokenGit(home=git_home, credentials=self.tokens)
        self.clones = clones or Clones(self.git, (git_home or default_cache_dir() / "git").parent / "repositories")
        self.api = Api(settings, self.tokens)
        self.comments = Comments(self.api)
        self._opening = Opening(self.api, self.comments, self.clones)
        self._publisher = Publisher(self.api, self.comments, settings)
        self._news = News(self.api)
        self._ci = Ci(self.api, settings, artifacts)
        self._asking = Asking(self.api, self._news, code_owners=settings.code_owners)
        self._merging = Merging(self.api, settings.merge_method)
        self._access = Access(self.api, settings)

    # --- repositories ---------------------------------------------------------------------------

    async def open_repository(self, origin: str, *, base_branch: str = "") -> Repository:
        """The repository of `owner/name`, an address, or a checkout whose `origin` is on this GitHub.

        Raises RepositoryInvalid for one that is not there, archived, empty or without that branch, and
        PermissionDenied where the token may not push.
        """
        address = await self._address_of(origin)
        doing = f"reading the repository {address.full_name}"
        about = (await self.api.get(f"/repos/{address.full_name}", doing=doing)).data
        # Renamed or moved, it answers under its new name.
        name = str(about["full_name"])
        if about.get("archived") or about.get("disabled"):
            state = "archived" if about.get("archived") else "disabled"
            raise RepositoryInvalid(f"{name} is {state}, nothing can be pushed to it; unarchive it or take another.")
        # Of an App this says nothing; `check` asks what its installation may do.
        if not self.tokens.is_app and (about.get("permissions") or {}).get("push") is False:
            raise PermissionDenied(
                f"The token may only read {name}; it needs write access (scope repo, or contents and pull requests)."
            )
        base = base_branch or str(about.get("default_branch") or "")
        branch = await self.api.get(f"/repos/{name}/branches/{segment(base)}", doing=doing, accept=(404, 409))
        if not branch.ok:
            known = await self.api.get(f"/repos/{name}/branches", doing=doing, accept=(404, 409), per_page=10)
            names = [str(one["name"]) for one in known.data] if known.ok and isinstance(known.data, list) else []
            if not names:
                raise RepositoryInvalid(f"{name} is empty; push a first commit.")
            raise RepositoryInvalid(f"{name} has no branch {base}; name one that it has ({', '.join(names)}).")
        return Repository(
            url=str(about["clone_url"]),
            name=name,
            base_branch=str(branch.data.get("name") or base),
            base_sha=str(branch.data["commit"]["sha"]),
            origin=str(about["clone_url"]),
        )

    # --- pull requests --------------------------------------------------------------------------

    async def open_pull_request(self, draft: PullRequestDraft, *, run: RunIdentity) -> PullRequest:
        """Bring the run's branch and its one pull request to the draft.

        Found by author, branch and marker, or by its branch where a try broke off; else made, as a draft. A branch
        that holds somebody else's work is left alone, and the next free name is taken; ours only ever goes forward.
        Raises BranchConflict when a person has pushed to the run's branch, closed its pull request or changed its base.
        """
        return await self._opening.open(draft, run)

    async def pull_request(self, repository: Repository, number: int) -> PullRequest:
        """As it stands now, whoever changed it."""
        return pulls.as_domain(await self._pull(repository.name, number))

    async def pull_request_of(self, repository: Repository, run: RunIdentity) -> PullRequest | None:
        """The pull request that we made for a run, to its base, for one that ended before it learnt of it."""
        pull = await self._opening.of_run(repository, run)
        return pulls.as_domain(pull) if pull else None

    async def checks(self, repository: Repository, pull_request: PullRequest) -> CiReport:
        """Checks and statuses of the head, the required ones of the base branch deciding where there are some."""
        return await self._ci.report(repository.name, pull_request)

    async def publish_review(
        self, repository: Repository, pull_request: PullRequest, review: Review, *, run: RunIdentity
    ) -> None:
        """Statuses on the head, findings inline each once, earlier ones that are gone marked resolved, one summary."""
        await self._publisher.publish(repository.name, pull_request, review, run)

    async def news(self, repository: Repository, pull_request: PullRequest, *, run: RunIdentity) -> PullRequestNews:
        """Decisions and feedback of those who may write, the words of the rest to be shown, how it stands or ended."""
        return await self._news.read(repository.name, pull_request.number)

    async def mark(self, repository: Repository, pull_request: PullRequest) -> str:
        """`PullRequestNews.mark` alone, of answers that cost nothing where they are as they were."""
        return await self._news.mark(repository.name, pull_request.number)

    async def check(self, origin: str = "") -> tuple[str, ...]:
        """What is missing of permissions, and of the repository `origin`; writes nothing.

        Raises ConfigurationError for a wrong address or key, PermissionDenied for a token that GitHub refuses,
        ServiceUnavailable.
        """
        said = await self._access.of_account()
        if not origin:
            return said
        try:
            repository = await self.open_repository(origin)
        except (RepositoryInvalid, PermissionDenied) as error:
            return (*said, str(error))
        return (*said, *await self._access.of_repository(repository))

    async def login(self) -> tuple[str, ...]:
        """The name under which we write; none where GitHub does not tell, as for the token of a workflow."""
        login = await self.tokens.login()
        return (login,) if login else ()

    async def say(
        self, repository: Repository, pull_request: PullRequest, body: str, *, run: RunIdentity, topic: str
    ) -> None:
        """Write or edit this run's one comment on `topic`; what is longer than GitHub takes is cut, and says so."""
        await self.comments.say(repository.name, pull_request.number, body, run=run, topic=topic)

    async def mark_ready(
        self,
        repository: Repository,
        pull_request: PullRequest,
        *,
        reviewers: tuple[str, ...],
        run: RunIdentity,
        starter: tuple[str, ...] = (),
    ) -> PullRequest:
        """Draft → open, the named reviewers and the code owners asked; what is over stays as it is.

        Whoever has one of the `starter`'s names, also by their public profile, is never the only one.
        """
        name, number = repository.name, pull_request.number
        pull = await self._pull(name, number)
        if pulls.is_over(pull):
            return pulls.as_domain(pull)
        if pull.get("draft"):
            doing = f"marking pull request {number} of {name} as ready"
            await self.api.graphql(_READY, {"id": str(pull["node_id"])}, repository=name, doing=doing)
            pull = {**pull, "draft": False}
        wanted = await self._asking.wanted(name, pull, reviewers, starter)
        asked, refused = await self._asking.ask(name, pull, wanted)
        said = f"Ready for review.{f' Asked: {_names(asked)}.' if asked else ''}"
        if refused:
            said += f" GitHub takes no review of {_names(refused)}: they need access to the repository."
        await self.comments.say(name, number, said, run=run, topic="ready")
        return pulls.as_domain(pull)

    async def record_decision(
        self, repository: Repository, pull_request: PullRequest, decision: ApprovalDecision, *, run: RunIdentity
    ) -> None:
        """A comment for each decision, the same one once. One that was made here is seen here already."""
        if decision.source == "forge":
            return
        identity = decision.decision_id or hashlib.sha256(decision.model_dump_json().encode()).hexdigest()[:12]
        body = (
            f"{markdown.inline(decision.by, 200)}: **{decision.kind.value.replace('_', ' ')}** "
            f"{markdown.code(decision.head_sha[:10])} (by {markdown.inline(decision.source, 50)})"
        )
        if decision.comment.strip():
            body += f"\n\n{markdown.quote(decision.comment, 20_000)}"
        topic = f"decision:{identity}"
        await self.comments.say(repository.name, pull_request.number, body, run=run, topic=topic)

    async def merge(self, repository: Repository, pull_request: PullRequest, *, run: RunIdentity) -> PullRequest:
        """Merge the head of `pull_request` into its base, if both are still that and branch protection agrees; nothing
        if it is merged.

        What an administrator could merge in spite of the protection is not merged. Raises BranchConflict.
        """
        return await self._merging.merge(repository.name, pull_request, run)

    async def close(
        self, repository: Repository, pull_request: PullRequest, *, reason: str, run: RunIdentity
    ) -> PullRequest:
        """Close without merging; the branch stays. Nothing if it is over already."""
        pull = await self._pull(repository.name, pull_request.number)
        return pulls.as_domain(await self._opening.close(repository.name, pull, reason, run))

    # --- parts of them --------------------------------------------------------------------------

    async def _address_of(self, origin: str) -> RepositoryAddress:
        text = origin.strip()
        if not looks_remote(text) and (folder := await asyncio.to_thread(_folder_of, text)):
            asked = ("config", "--get", "remote.origin.url")
            git = self.git.on(folder / ".git" if (folder / ".git").exists() else folder)
            found = await git.run(*asked, cwd=folder, accept=(0, 1, 128))
            if found.exit_code or not found.text:
                raise RepositoryInvalid(
                    f"{text} is a folder without an `origin` on GitHub; give owner/name or the address."
                )
            text = found.text
        return repository_address(text, self.settings.base_url)

    async def _pull(self, name: str, number: int) -> dict[str, Any]:
        answer = await self.api.get(f"/repos/{name}/pulls/{number}", doing=f"reading pull request {number} of {name}")
        return dict(answer.data)


def _folder_of(text: str) -> Path | None:
    """The folder that is meant; None for what is none, and then is the name of a repository."""
    folder = Path(text).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if text.startswith(("/", ".", "~")):
        raise RepositoryInvalid(f"There is no folder {text}; check the path.")
    return None


def _names(reviewers: Reviewers) -> str:
    return ", ".join(markdown.inline(name, 100) for name in (*reviewers.people, *reviewers.teams))
