"""Step 17, and the other end of a run: what it holds is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from temporalio import activity

from sdlc.activities import ALL_GIVEN_BACK, CLOSE_STORY, RELEASE_RUN, CloseStory, Nothing, ReleaseRun
from sdlc.domain import PullRequest, TicketStatus
from sdlc.errors import PermissionDenied, SdlcError, ServiceUnavailable, TicketNotFound
from sdlc.integrations.ports import Notice
from sdlc.steps.ticket_comments import closed_comment

if TYPE_CHECKING:
    from sdlc.integrations.services import Services

_SURELY_GONE = 3
"""Attempts after which a ticket that is not found is taken to be deleted, and not to be late."""
_TELLING = 3
"""How often people are told that a run has ended, if a channel is away."""
_PAUSE, _LONGEST_PAUSE = 2.0, 10.0
"""Seconds between two of these tries; short, because the run is shown to be over only after the last."""

log = structlog.get_logger(__name__)


class CloseSteps:
    """The activities by which a run ends."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def activities(self) -> list[Callable[..., Any]]:
        return [self.close_story, self.release_run]

    @activity.defn(name=CLOSE_STORY.name)
    async def close_story(self, request: CloseStory) -> PullRequest:
        """Merge if that is asked, ticket Done with the pull request's link and the cost. The branch is kept."""
        evidence, forge, tracker = request.evidence, self.services.forge, self.services.tracker
        run, key, repository = evidence.run, evidence.run.ticket_key, evidence.change.repository
        if request.merge:
            pull_request = await forge.merge(repository, request.pull_request, run=run)
        else:
            pull_request = await forge.pull_request(repository, request.pull_request.number)
        body = closed_comment(evidence, pull_request, request.approvals)
        await tracker.comment(key, body, run=run, topic="closed")
        await tracker.move(key, TicketStatus.DONE, run=run)
        return pull_request

    @activity.defn(name=RELEASE_RUN.name)
    async def release_run(self, request: ReleaseRun) -> Nothing:
        """Close what is open, give the claim back, then tell people; with whatever of it there is by now.

        Each part is tried, whatever becomes of the others; then the first failure is raised, for a retry. That people
        could not be told is raised as final: all is tidy by then, and the run says it.
        """
        failures: list[SdlcError] = []
        for part in (self._close_pull_request, self._give_back):
            try:
                await part(request)
            except SdlcError as error:
                log.warning("release_incomplete", part=part.__name__.strip("_"), reason=str(error))
                failures.append(error)
        untold = await self._tell(request, tries=1 if failures else _TELLING)
        if failures:
            # Also what is final elsewhere: nobody is left who could be asked, so all attempts are used.
            raise ServiceUnavailable(str(failures[0]))
        if untold is not None:
            raise PermissionDenied(f"{ALL_GIVEN_BACK}, but not all people could be told. {untold}")
        return Nothing()

    async def _close_pull_request(self, request: ReleaseRun) -> None:
        if request.repository is None:
            return
        forge, pull_request = self.services.forge, request.pull_request
        if pull_request is None:
            # Cancelled between the making of it and the run's hearing of it.
            pull_request = await forge.pull_request_of(request.repository, request.run)
        if pull_request is not None:
            await forge.close(request.repository, pull_request, reason=request.reason, run=request.run)

    async def _give_back(self, request: ReleaseRun) -> None:
        try:
            await self.services.tracker.release(request.run.ticket_key, run=request.run, reason=request.reason)
        except TicketNotFound as error:
            if activity.info().attempt < _SURELY_GONE:
                raise
            log.info("nothing_to_give_back", reason=str(error))

    async def _tell(self, request: ReleaseRun, *, tries: int) -> SdlcError | None:
        """A notice of the end. Why not all have heard it, where so many tries were not enough."""
        info, key = activity.info(), request.run.ticket_key
        notice = Notice(
            event="failed",
            title=f"{key} has ended",
            body=request.reason,
            run=request.run,
            url=request.pull_request.url if request.pull_request else "",
            repository=request.repository.name if request.repository else request.repository_name,
            people=request.people,
            # The same for each attempt; another one where a run that was reset ends once more.
            occasion=f"{info.workflow_run_id}/release",
        )
        for left in reversed(range(tries)):
            try:
                await self.services.notifier.notify(notice)
            except SdlcError as error:
                log.warning("not_all_told", reason=str(error), tries_left=left)
                if not left or not isinstance(error, ServiceUnavailable):
                    return error
                await asyncio.sleep(min(error.retry_after or _PAUSE, _LONGEST_PAUSE))
            else:
                return None
        return None
