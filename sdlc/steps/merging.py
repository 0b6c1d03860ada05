"""The parts of a ticket and the results of work loops on their way: merged into the run's line, shown as a branch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from temporalio import activity

from sdlc.activities import MERGE_PART, PUBLISH_BRANCH, BranchPublished, MergePart, PartMerged, PublishBranch
from sdlc.engines.batons import work_ref
from sdlc.engines.commit_message import commit_message
from sdlc.errors import BranchConflict, FinalError, UsageError
from sdlc.integrations.git.merging import leftover_markers, merge_squashed
from sdlc.naming import numbered_branch

if TYPE_CHECKING:
    from sdlc.domain import Repository
    from sdlc.integrations.services import Services

MOST_NAMES = 50
"""Branches of one name, with numbers, that are tried before a person has to tidy up."""

log = structlog.get_logger(__name__)


class MergingSteps:
    """The activities MERGE_PART and PUBLISH_BRANCH."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def activities(self) -> list[Callable[..., Any]]:
        return [self.merge_part, self.publish_branch]

    @activity.defn(name=MERGE_PART.name)
    async def merge_part(self, request: MergePart) -> PartMerged:
        """The run's line with the part as one commit on it, published as a work ref; the same when it is repeated.

        Conflicts are named, those without markers with their kind. Markers that an engine has left are conflicts too.
        """
        change, part, workspaces = request.change, request.part, self.services.workspaces
        clone = workspaces.clones.of(change.repository.url)
        message = commit_message(request.run.ticket_key, request.title)
        merged = await merge_squashed(clone, change.head_sha, part.head_sha, message)
        conflicts = dict(merged.conflicts)
        if merged.sha != change.head_sha:
            await workspaces.publish(change.repository, work_ref(request.run, merged.sha), merged.sha)
            objects = await workspaces.objects(change.repository)
            files = await objects.changed_files(change.head_sha, merged.sha)
            left = await leftover_markers(clone, merged.sha, [file.path for file in files if file.status != "D"])
            conflicts = {**dict.fromkeys(left, ""), **conflicts}
        return PartMerged(
            change=await workspaces.change_set(change.repository, change.base_sha, merged.sha, change.branch),
            conflicts=tuple(f"{path} ({kind})" if kind else path for path, kind in sorted(conflicts.items())),
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
