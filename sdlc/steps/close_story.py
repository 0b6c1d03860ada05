"""Step 17, and the other end of a run: what it holds is given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from temporalio import activity

from sdlc.activities import CLOSE_STORY, RELEASE_RUN, CloseStory, Nothing, ReleaseRun
from sdlc.domain import PullRequest, TicketStatus
from sdlc.errors import SdlcError, ServiceUnavailable, TicketNotFound
from sdlc.integrations.ports import Notice
from sdlc.steps.evidence import cost
from sdlc.steps.ticket_comments import closed_comment

if TYPE_CHECKING:
    from sdlc.integrations.services import Services

_SURELY_GONE = 3
"""Attempts after which a ticket that is not found is taken to be deleted, and not to be late."""

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
        notice = Notice(
            event="finished",
            title=f"{key} is done: pull request {pull_request.number} {pull_request.state.value}",
            body=cost(evidence.usage),
            run=run,
            url=pull_request.url,
        )
        await self.services.notifier.notify(notice)
        return pull_request

    @activity.defn(name=RELEASE_RUN.name)
    async def release_run(self, request: ReleaseRun) -> Nothing:
        """Close what is open, give the claim back, tell people; with whatever of it there is by now.

        Each part is tried, whatever becomes of the others; then the first failure is raised, for a retry.
        """
        failures: list[SdlcError] = []
        for part in (self._close_pull_request, self._give_back, self._tell):
            try:
                await part(request)
            except SdlcError as error:
                log.warning("release_incomplete", part=part.__name__.strip("_"), reason=str(error))
                failures.append(error)
        if failures:
            # Also what is final elsewhere: nobody is left who could be asked, so all attempts are used.
            raise ServiceUnavailable(str(failures[0]))
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

    async def _tell(self, request: ReleaseRun) -> None:
        key = request.run.ticket_key
        url = request.pull_request.url if request.pull_request else ""
        notice = Notice(event="finished", title=f"{key} has ended", body=request.reason, run=request.run, url=url)
        await self.services.notifier.notify(notice)
