"""The embedded forge: for each repository a folder with a bare repository and its pull requests as files.

    <folder>/<name>-<hash>/
        repository.git/            fetched from the origin; holds the runs' branches and work refs
        pulls/<n>/pull.md          state in the front matter, the evidence as its text
        pulls/<n>/comments.md      review summary, requests, decisions
        pulls/<n>/findings.md      findings, each once, marked when they are no longer there
        pulls/<n>/statuses.json    by head and context
        pulls/<n>/changes.diff     the change, for the reader's convenience
        pulls/<n>/checks.json      put there by hand or by a script, if the forge is to report checks

Written for one person on one machine, by any number of processes: writers take turns by a lock on
the repository's folder. The origin is only read, except for the run's branch where that is wished.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from sdlc import markdown
from sdlc.domain import (
    ApprovalDecision,
    CiReport,
    PullRequest,
    PullRequestNews,
    PullRequestState,
    Repository,
    RunIdentity,
)
from sdlc.errors import BranchConflict, RepositoryInvalid, SdlcError, WorkspaceBroken
from sdlc.integrations import local_files, local_pulls
from sdlc.integrations.comment_file import Comment
from sdlc.integrations.git.runner import Git
from sdlc.integrations.local_bare import BareRepository
from sdlc.integrations.local_checks import read_checks
from sdlc.integrations.local_origin import Origin, origin_of
from sdlc.integrations.local_pulls import Pull, Pulls, now
from sdlc.integrations.local_review import finding_comments
from sdlc.integrations.ports import PullRequestDraft, Review
from sdlc.naming import numbered_branch, slug

ORIGIN = "origin.json"
MAX_DIFF = 20 * 1024**2
"""Bytes of `changes.diff`."""

log = structlog.get_logger(__name__)


class LocalForge:
    """Repositories and pull requests in a folder."""

    def __init__(
        self, folder: Path, *, git: Git | None = None, publish_branch: bool = True, bot: str = "sdlc-bot"
    ) -> None:
        self.folder = folder
        self.git = git or Git()
        self.publish_branch = publish_branch
        """Push the run's branch to the origin as well; a failure of it is a note in the pull request."""
        self.bot = bot
        """Who signs our comments."""

    # --- repositories -------------------------------------------------------------------------

    async def open_repository(self, origin: str, *, base_branch: str = "") -> Repository:
        """Fetch the base branch and the tags of a path or URL; only commits count, never what is not committed.

        Raises RepositoryInvalid for what is no repository, has no commit, or needs what we can't give.
        """
        found = await origin_of(self.git, origin, base_branch)
        folder = self._folder_of(found.name, found.address)
        bare = BareRepository(folder / "repository.git", self.git)
        async with local_files.locked_async(folder):
            base_sha = await bare.fetch(found.address, found.base_branch)
            # Kept apart from the payloads of a run: an address may have credentials in it.
            local_files.write_whole(folder / ORIGIN, json.dumps({"address": found.address}) + "\n", mode=0o600)
        for warning in await self._warnings(found, bare):
            log.warning("repository", repository=found.name, warning=warning)
        return Repository(
            url=str(bare.path.resolve()),
            name=found.name,
            base_branch=found.base_branch,
            base_sha=base_sha,
            origin=found.shown,
        )

    async def warnings(self, origin: str, *, base_branch: str = "") -> tuple[str, ...]:
        """What the person who gave this origin should know, each in a sentence: uncommitted work, submodules, LFS."""
        found = await origin_of(self.git, origin, base_branch)
        folder = self._folder_of(found.name, found.address)
        return await self._warnings(found, BareRepository(folder / "repository.git", self.git))

    @staticmethod
    async def _warnings(found: Origin, bare: BareRepository) -> tuple[str, ...]:
        ahead = await bare.ahead(found.base_branch) if bare.path.exists() else 0
        if not ahead:
            return found.warnings
        return (
            *found.warnings,
            f"The work starts from {ahead} commits that were merged in the forge and that {found.shown} does not have; "
            f"to have them there: git pull {bare.path} {found.base_branch}",
        )

    # --- pull requests ------------------------------------------------------------------------

    async def open_pull_request(self, draft: PullRequestDraft, *, run: RunIdentity) -> PullRequest:
        """Bring the run's branch and its one pull request to the draft.

        The pull request is found by the run's marker, else made. An earlier run's branch of that name is
        left as it is (what it has open is closed as superseded), and the next free name is taken.
        Raises BranchConflict when the branch holds commits that are not ours, or a person has closed it.
        """
        async with self._repository(draft.repository) as (bare, pulls):
            if not await bare.has(draft.head_sha):
                raise WorkspaceBroken(f"{bare.path} does not have {draft.head_sha[:10]}; run the step before again.")
            pull = self._ours(pulls, run) or await self._new_pull(bare, pulls, draft, run)
            if pull.is_over:
                raise BranchConflict(
                    f"Pull request {pull.number} is {pull.state.value}; set `state: open` in "
                    f"{pulls.of(pull.number) / local_pulls.FILE} and retry, or abort."
                )
            ref = f"refs/heads/{pull.branch}"
            tip = await bare.tip(ref)
            if tip and tip not in pull.heads and not await bare.is_ancestor(tip, draft.head_sha):
                raise BranchConflict(
                    f"The branch {pull.branch} in {bare.path} holds {tip[:10]}, which this run did not make; "
                    "take it in or move it to another branch, then retry."
                )
            pull = replace(
                pull,
                title=draft.title,
                body=draft.body,
                labels=draft.labels,
                base_branch=draft.repository.base_branch,
                base_sha=draft.repository.base_sha,
                head_sha=draft.head_sha,
                heads=tuple(dict.fromkeys((*pull.heads, draft.head_sha))),
            )
            # First the record that this head is ours, then the branch: a try that breaks off between goes on here.
            pulls.write(pull)
            await bare.move(ref, draft.head_sha, expected=tip)
            pull = await self._published(bare, pulls, pull)
            await self._write_diff(bare, pulls, pull)
            return pulls.as_domain(pull)

    async def pull_request(self, repository: Repository, number: int) -> PullRequest:
        """As it stands now, whoever changed it."""
        async with self._repository(repository, lock=False) as (_, pulls):
            return pulls.as_domain(pulls.read(number))

    async def pull_request_of(self, repository: Repository, run: RunIdentity) -> PullRequest | None:
        """The pull request of a run, for one that ended before it learnt of it."""
        async with self._repository(repository, lock=False) as (_, pulls):
            pull = self._ours(pulls, run)
            return pulls.as_domain(pull) if pull else None

    async def checks(self, repository: Repository, pull_request: PullRequest) -> CiReport:
        """NONE, as this forge runs no checks itself, or what `checks.json` beside the pull request says."""
        async with self._repository(repository, lock=False) as (_, pulls):
            number = pull_request.number
            path = pulls.of(number) / local_pulls.CHECKS
            return read_checks(pulls.text(number, local_pulls.CHECKS), path, pull_request.head_sha)

    async def publish_review(
        self, repository: Repository, pull_request: PullRequest, review: Review, *, run: RunIdentity
    ) -> None:
        """Statuses on the head, findings (earlier ones that are gone marked resolved), one summary."""
        async with self._repository(repository) as (_, pulls):
            number = pulls.read(pull_request.number).number
            pulls.set_statuses(number, review.head_sha, review.statuses)
            findings = finding_comments(
                pulls.text(number, local_pulls.FINDINGS),
                review.findings,
                marker=run.marker,
                head_sha=review.head_sha,
                author=self.bot,
                now=now(),
            )
            if findings:
                pulls.comment(number, findings, file=local_pulls.FINDINGS)
            pulls.comment(number, [self._said(run, "review", review.summary)])

    async def mark_ready(
        self,
        repository: Repository,
        pull_request: PullRequest,
        *,
        reviewers: tuple[str, ...],
        run: RunIdentity,
        starter: tuple[str, ...] = (),
    ) -> PullRequest:
        """Draft → open, with who was asked; what is over stays as it is."""
        async with self._repository(repository) as (_, pulls):
            pull = pulls.read(pull_request.number)
            if pull.is_over:
                return pulls.as_domain(pull)
            pull = replace(pull, state=PullRequestState.OPEN, reviewers=reviewers or pull.reviewers)
            asked = ", ".join(markdown.inline(reviewer, 100) for reviewer in reviewers)
            pulls.comment(
                pull.number, [self._said(run, "ready", f"Ready for review.{f' Asked: {asked}.' if asked else ''}")]
            )
            pulls.write(pull)
            return pulls.as_domain(pull)

    async def news(self, repository: Repository, pull_request: PullRequest, *, run: RunIdentity) -> PullRequestNews:
        """How it stands. Decisions come by the command line here, and nobody comments in a file."""
        return PullRequestNews(pull_request=await self.pull_request(repository, pull_request.number))

    async def mark(self, repository: Repository, pull_request: PullRequest) -> str:
        """Nothing to watch: whoever changes something here says so to the run."""
        return ""

    async def say(
        self, repository: Repository, pull_request: PullRequest, body: str, *, run: RunIdentity, topic: str
    ) -> None:
        """Write or edit this run's one comment on `topic`."""
        async with self._repository(repository) as (_, pulls):
            pulls.comment(pull_request.number, [self._said(run, topic, body)])

    async def login(self) -> tuple[str, ...]:
        """Nobody else's name is used here."""
        return ()

    async def check(self, origin: str = "") -> tuple[str, ...]:
        """Can the folder be written to?"""
        return await asyncio.to_thread(local_files.why_not_writable, self.folder)

    async def record_decision(
        self, repository: Repository, pull_request: PullRequest, decision: ApprovalDecision, *, run: RunIdentity
    ) -> None:
        """A comment for each decision, the same one once."""
        identity = decision.decision_id or _digest(decision.model_dump_json())
        body = (
            f"{markdown.inline(decision.by, 200)}: **{decision.kind.value.replace('_', ' ')}** "
            f"{markdown.code(decision.head_sha[:10])} (by {markdown.inline(decision.source, 50)})"
        )
        if decision.comment.strip():
            body += f"\n\n{markdown.quote(decision.comment, 20_000)}"
        async with self._repository(repository) as (_, pulls):
            pulls.comment(pulls.read(pull_request.number).number, [self._said(run, f"decision:{identity}", body)])

    async def merge(self, repository: Repository, pull_request: PullRequest, *, run: RunIdentity) -> PullRequest:
        """Merge the head of `pull_request` into the base branch here; nobody's checkout is moved.

        Nothing if it is merged already. Raises BranchConflict if the head is another by now, it was closed,
        or the base can't take it.
        """
        async with self._repository(repository) as (bare, pulls):
            pull = pulls.read(pull_request.number)
            if pull.state is PullRequestState.MERGED:
                return pulls.as_domain(pull)
            tip = await bare.tip(f"refs/heads/{pull.branch}")
            if pull.is_over or {pull.head_sha, tip} != {pull_request.head_sha}:
                raise BranchConflict(
                    f"Pull request {pull.number} ({pull.state.value}) is at {tip[:10] or 'no commit'}, and "
                    f"{pull_request.head_sha[:10]} was approved; it is not merged."
                )
            await self._follow_origin(bare, pull.base_branch)
            message = f"Merge pull request {pull.number}: {pull.title}\n\n{run.workflow_id}\n"
            merged_as = await bare.merge(pull.base_branch, pull.head_sha, message)
            pull = replace(pull, state=PullRequestState.MERGED, merged_as=merged_as)
            how = markdown.code(f"git pull {bare.path} {pull.base_branch}")
            said = f"Merged into {markdown.code(pull.base_branch)} as {markdown.code(merged_as[:10])}. To get it: {how}"
            pulls.comment(pull.number, [self._said(run, "merged", said)])
            pulls.write(pull)
            return pulls.as_domain(pull)

    async def close(
        self, repository: Repository, pull_request: PullRequest, *, reason: str, run: RunIdentity
    ) -> PullRequest:
        """Close without merging; the branch stays. Nothing if it is over already."""
        async with self._repository(repository) as (_, pulls):
            return pulls.as_domain(self._closed(pulls, pulls.read(pull_request.number), reason, run))

    # --- parts of them ------------------------------------------------------------------------

    @staticmethod
    def _ours(pulls: Pulls, run: RunIdentity) -> Pull | None:
        return next((pull for pull in pulls.all() if pull.marker == run.marker), None)

    async def _new_pull(self, bare: BareRepository, pulls: Pulls, draft: PullRequestDraft, run: RunIdentity) -> Pull:
        earlier = {pull.branch: pull for pull in reversed(pulls.all())}
        number = 1
        while (branch := numbered_branch(draft.branch, number)) in earlier:
            before = earlier[branch]
            # The same workflow id under another marker: that run is over, and this is the ticket's next.
            if before.workflow_id != run.workflow_id and not before.is_over:
                raise BranchConflict(
                    f"The branch {branch} belongs to pull request {before.number} of {before.workflow_id}; "
                    "close that one first, then retry."
                )
            if not before.is_over:
                self._closed(pulls, before, f"superseded by the run {run.run_id}", run)
            number += 1
        tip = await bare.tip(f"refs/heads/{branch}")
        if tip and tip != draft.head_sha:
            raise BranchConflict(
                f"The branch {branch} in {bare.path} holds {tip[:10]}, which no run made; rename it, then retry."
            )
        return Pull(
            number=pulls.next_number(),
            title=draft.title,
            branch=branch,
            base_branch=draft.repository.base_branch,
            base_sha=draft.repository.base_sha,
            head_sha=draft.head_sha,
            marker=run.marker,
            workflow_id=run.workflow_id,
            opened=now().isoformat(timespec="seconds"),
        )

    async def _published(self, bare: BareRepository, pulls: Pulls, pull: Pull) -> Pull:
        address = _address(bare)
        if not self.publish_branch or not address:
            return pull
        note = await bare.publish(address, pull.branch, pull.head_sha, ours=pull.heads)
        if note:
            log.warning("branch_not_published", pull_request=pull.number, reason=note)
        notes = (note,) if note else ()
        if notes != pull.notes:
            pull = replace(pull, notes=notes)
            pulls.write(pull)
        return pull

    @staticmethod
    async def _write_diff(bare: BareRepository, pulls: Pulls, pull: Pull) -> None:
        patch = await bare.diff(pull.base_sha, pull.head_sha)
        if len(patch) > MAX_DIFF:
            patch = (
                patch[:MAX_DIFF]
                + f"\n… cut; the whole: git -C {bare.path} diff {pull.base_sha}...{pull.head_sha}\n".encode()
            )
        local_files.write_whole(pulls.of(pull.number) / local_pulls.DIFF, patch)

    async def _follow_origin(self, bare: BareRepository, base_branch: str) -> None:
        """So that the person can pull the merge without one of their own; an origin that is away holds up nothing."""
        try:
            await bare.fetch(_address(bare), base_branch)
        except SdlcError as error:
            log.warning("origin_not_fetched", reason=str(error))

    def _closed(self, pulls: Pulls, pull: Pull, reason: str, run: RunIdentity) -> Pull:
        if pull.is_over:
            return pull
        said = (
            f"Closed without merging: {markdown.inline(reason, 1_000)}. The branch {markdown.code(pull.branch)} stays."
        )
        pulls.comment(pull.number, [self._said(run, "closed", said)])
        pull = replace(pull, state=PullRequestState.CLOSED)
        pulls.write(pull)
        return pull

    def _said(self, run: RunIdentity, topic: str, body: str) -> Comment:
        return Comment(marker=run.marker, topic=topic, author=self.bot, body=body, created=now())

    def _folder_of(self, name: str, address: str) -> Path:
        return self.folder / f"{slug(name, 40) or 'repository'}-{_digest(address)}"

    @asynccontextmanager
    async def _repository(
        self, repository: Repository, *, lock: bool = True
    ) -> AsyncIterator[tuple[BareRepository, Pulls]]:
        """The bare repository and the pull requests of a repository of this forge, held against other writers."""
        path = Path(repository.url)
        folder = path.parent
        if folder.parent != self.folder.resolve() or not (path / "HEAD").is_file():
            raise RepositoryInvalid(
                f"{repository.url} is no repository of the forge in {self.folder}; "
                "give this worker the forge.folder that the run began with."
            )
        content = BareRepository(path, self.git), Pulls(folder / "pulls")
        if not lock:
            yield content
            return
        async with local_files.locked_async(folder):
            yield content


def _address(bare: BareRepository) -> str:
    """Where the repository came from; empty if that is not known any more."""
    try:
        return str(json.loads((bare.path.parent / ORIGIN).read_text("utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
