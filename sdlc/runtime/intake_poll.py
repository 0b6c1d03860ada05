"""One poll: what webhooks have missed, or would have told where none come in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from sdlc.comment_commands import parse
from sdlc.deliveries import Delivery
from sdlc.errors import FinalError, ServiceUnavailable, UsageError
from sdlc.progress import RunProgress
from sdlc.runtime.client import task_queue
from sdlc.runtime.deliveries import Deliveries
from sdlc.runtime.intake_news import nudge
from sdlc.runtime.intake_starts import Starts, tells

if TYPE_CHECKING:
    from sdlc.integrations.services import Services

LOOKS_BACK = timedelta(hours=24)
"""An older comment is obeyed no more: whoever wrote it has stopped waiting. Temporal has to remember deliveries for
longer than that, which is the least that a namespace can be set to."""
MOST_COMMENTS = 200

_MOST_OFFERED = 20
"""Tickets that are tried in one poll: some can't be taken, and stand before those that can."""

log = structlog.get_logger(__name__)


class Polling:
    def __init__(self, services: Services, starts: Starts) -> None:
        self.services = services
        self.starts = starts
        self.runs = starts.runs
        self.deliveries = Deliveries(starts.client, task_queue(services.settings))
        self._did: list[str] = []
        self._failures: list[Exception] = []

    async def once(self) -> tuple[str, ...]:
        """Look at comments, at pull requests that people are to act on, and for the next ticket; what was done.

        None of them keeps the others from being looked at. What another try may mend is raised at the end, the first
        of it; what only a person can is told.
        """
        for part in (self._comments, self._pull_requests, self._tickets):
            await self._tried(part)
        if self._failures:
            log.warning("poll_incomplete", did=self._did, failed=[str(error) for error in self._failures])
            raise self._failures[0]
        return tuple(self._did)

    async def _tried(self, work: Callable[[], Awaitable[None]], about: str = "") -> None:
        try:
            await work()
        except (UsageError, FinalError) as error:
            log.warning("poll_refused", about=about, reason=str(error))
            self._did.append(f"{about}refused: {error}")
        except Exception as error:
            log.warning("poll_part_failed", about=about, reason=str(error), kind=type(error).__name__)
            self._failures.append(error)

    # --- comments -----------------------------------------------------------------------------------

    async def _comments(self) -> None:
        tracker, kind = tells(self.services), self.services.settings.tracker.kind
        if tracker is None or kind == "local":
            return
        since = datetime.now(UTC) - LOOKS_BACK
        commands = [
            comment
            for comment in await tracker.comments_since(since)
            if not comment.ours and not comment.answered and comment.created >= since and parse(comment.body)
        ]
        for comment in commands[:MOST_COMMENTS]:
            delivery = Delivery(
                source=kind,
                kind="comment",
                identity=f"comment-{comment.comment_id}",
                ticket_key=comment.ticket_key,
                comment_id=comment.comment_id,
            )
            if await self.deliveries.keep(delivery):
                self._did.append(f"found comment {comment.comment_id} on {comment.ticket_key}")

    # --- pull requests ------------------------------------------------------------------------------

    async def _pull_requests(self) -> None:
        found = await self.runs.open_ones(waiting=True)
        self._did += [f"{key} does not answer: {error}" for key, error in found.silent.items()]
        for run in found.runs:
            await self._tried(partial(self._pull_request, run), f"{run.ticket_key}: ")
            if any(isinstance(error, ServiceUnavailable) and error.retry_after for error in self._failures):
                return  # it wants to be left alone, and each further question makes that longer

    async def _pull_request(self, run: RunProgress) -> None:
        if run.change is None or run.pull_request is None:
            return
        known = await self.runs.pull_request_mark(run.ticket_key)
        if known is None:
            return
        mark = await self.services.forge.mark(run.change.repository, run.pull_request)
        key = run.ticket_key
        if mark and mark != known and await nudge(self.runs, key, "pull_request_changed", "poll", mark=mark):
            self._did.append(f"told the run for {run.ticket_key} that its pull request has changed")

    # --- tickets ------------------------------------------------------------------------------------

    async def _tickets(self) -> None:
        if not self.services.settings.intake.take_next:
            return
        room = await self.starts.room()
        seen: list[str] = []  # a run claims its ticket a moment after its start, and what can't be taken is in no way
        while room > 0 and len(seen) < _MOST_OFFERED:
            key = await self.services.tracker.next_key(besides=seen)
            if key is None:
                return
            seen.append(key)
            did = await self.starts.unasked(key)
            self._did.append(did)
            room -= self.starts.has_begun(did)
