"""Work of others on its way into the run's line: parts of a ticket, commits of people, the base; and a branch shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from temporalio import activity

from sdlc.activities import (
    MERGE_PART,
    PUBLISH_BRANCH,
    TAKE_IN,
    BranchPublished,
    MergePart,
    PartMerged,
    PublishBranch,
    TakeIn,
    TakenIn,
)
from sdlc.engines.batons import Judged, work_ref
from sdlc.engines.batons import judged as judge
from sdlc.engines.commit_message import commit_message
from sdlc.errors import BranchConflict, FinalError, UsageError
from sdlc.integrations.git.merging import Merged, leftover_markers, merge_joined, merge_squashed
from sdlc.naming import numbered_branch

if TYPE_CHECKING:
    from sdlc.domain import ChangeSet, Repository, RunIdentity
    from sdlc.integrations.services import Services

MOST_NAMES = 50
"""Branches of one name, with numbers, that are tried before a person has to tidy up."""

log = structlog.get_logger(__name__)


class MergingSteps:
    """The activities MERGE_PART and PUBLISH_BRANCH."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def activities(self) -> list[Callable[..., Any]]:
        return [self.merge_part, self.take_in, self.publish_branch]

    @activity.defn(name=MERGE_PART.name)
    async def merge_part(self, request: MergePart) -> PartMerged:
        """The run's line with the part as one commit on it, published as a work ref; the same when it is repeated.

        Conflicts are named, those without markers with their kind. Markers that an engine has left are conflicts too.
        """
        change, part, workspaces = request.change, request.part, self.services.workspaces
        clone = workspaces.clones.of(change.repository.url)
        message = commit_message(request.run.ticket_key, request.title)
        merged = await merge_squashed(clone, change.head_sha, part.head_sha, message)
        conflicts = await self._published(request.run, change, merged)
        made = await workspaces.change_set(change.repository, change.base_sha, merged.sha, change.branch)
        return PartMerged(change=made, conflicts=conflicts)

    async def _published(self, run: RunIdentity, change: ChangeSet, merged: Merged) -> tuple[str, ...]:
        """Publish what was merged; the files with conflicts, those without markers with their kind."""
        workspaces, repository = self.services.workspaces, change.repository
        conflicts = dict(merged.conflicts)
        if merged.sha != change.head_sha:
            await workspaces.publish(repository, work_ref(run, merged.sha), merged.sha)
            files = await (await workspaces.objects(repository)).changed_files(change.head_sha, merged.sha)
            clone = workspaces.clones.of(repository.url)
            left = await leftover_markers(clone, merged.sha, [file.path for file in files if file.status != "D"])
            conflicts = {**dict.fromkeys(left, ""), **conflicts}
        return tuple(f"{path} ({kind})" if kind else path for path, kind in sorted(conflicts.items()))

    @activity.defn(name=TAKE_IN.name)
    async def take_in(self, request: TakeIn) -> TakenIn:
        """Commits of people on the run's branch, and the base where it is wished, merged and published as a work ref.

        Both histories stay: nothing is forced over anybody. The change's base becomes what its head and the base
        branch have in common, so that only the change itself is reviewed. The same when it is repeated.
        Raises GuardRailViolation for secrets and tricks on git in what people have pushed.
        """
        change, workspaces = request.change, self.services.workspaces
        repository = change.repository
        now = await self.services.forge.open_repository(
            repository.origin or repository.name, base_branch=repository.base_branch
        )
        clone = workspaces.clones.of(repository.url)
        head = change.head_sha
        authors: tuple[str, ...] = ()
        conflicts: tuple[str, ...] = ()
        if request.head_sha:
            objects = await workspaces.objects(repository)
            authors = await objects.authors(change.head_sha, request.head_sha)
            merged = await merge_joined(clone, head, request.head_sha, _message(request, "commits of people"))
            conflicts = await self._published(request.run, change, merged)
            head = merged.sha
        if request.with_base and not conflicts:
            merged = await merge_joined(clone, head, now.base_sha, _message(request, repository.base_branch))
            conflicts = await self._published(request.run, change, merged)
            head = merged.sha
        objects = await workspaces.objects(repository)
        base = await objects.merge_base(head, now.base_sha) or change.base_sha
        judged = Judged() if head == change.head_sha else await judge(objects, base, head, self.services.settings.guard)
        updated = repository.model_copy(update={"base_sha": base})
        return TakenIn(
            change=await workspaces.change_set(updated, base, head, change.branch),
            conflicts=conflicts,
            authors=authors,
            protected=judged.protected,
            unasked=judged.unasked,
        )

    @activity.defn(name=PUBLISH_BRANCH.name)
    async def publish_branch(self, request: PublishBranch) -> BranchPublished:
        """The change's head as a branch of the forge and, where the settings say so, of the repository that was given.

        A name that is taken gets a number; a repetition finds its own branch. Raises BranchConflict, PermissionDenied.
        """
        change, repository = request.change, request.change.repository
        for number in range(1, MOST_NAMES + 1):
            branch = numbered_branch(change.branch, number)
            try:
                await self.services.workspaces.push_branch(repository, branch, change.head_sha, expected=None)
                url = await self._at_origin(repository, branch, change.head_sha)
            except BranchConflict:
                continue
            return BranchPublished(branch=branch, url=url)
        raise BranchConflict(
            f"{repository.name} has {MOST_NAMES} branches named {change.branch} with other work; delete those that "
            "are not needed any more."
        )

    async def _at_origin(self, repository: Repository, branch: str, sha: str) -> str:
        """Where the branch can be checked out. An origin that takes none is no failure: the forge has it."""
        origin = repository.origin
        if not origin or origin == repository.url or not self.services.settings.forge.publish_branch:
            return repository.url
        try:
            await self.services.workspaces.push_branch(repository, branch, sha, expected=None, to=origin)
        except BranchConflict:
            raise
        except (FinalError, UsageError) as error:
            log.warning("branch_not_published", branch=branch, reason=str(error))
            return repository.url
        return origin


def _message(request: TakeIn, what: str) -> str:
    return commit_message(request.run.ticket_key, f"chore: take in {what}")
