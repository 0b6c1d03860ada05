"""The daily digest on its way: the schedule, and the activity that looks at the runs and tells each channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from temporalio import activity
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from sdlc.digest import (
    DIGEST_WORKFLOW,
    SEND_DIGEST,
    Digest,
    DigestSent,
    DigestWindow,
    Seen,
    digest_of,
    digest_schedule,
    for_how_long,
)
from sdlc.errors import PermissionDenied, ServiceUnavailable
from sdlc.integrations.notify.channels import ChannelNotifier
from sdlc.integrations.notify.message import MAX_LINES, Link, Listed, Message
from sdlc.integrations.notify.routing import hears
from sdlc.run_card import RunCard
from sdlc.runtime.client import task_queue
from sdlc.runtime.runs import RunRow, Runs

if TYPE_CHECKING:
    from sdlc.config.notify import ChannelSettings
    from sdlc.integrations.services import Services
    from sdlc.people import Known

_ANSWER_WITHIN = timedelta(seconds=10)
_CATCH_UP = timedelta(hours=12)
"""A digest that was missed while Temporal was away comes late rather than not."""
_OLDEST = timedelta(days=60)
_MOST_RUNS = 5_000

log = structlog.get_logger(__name__)


async def ensure_digest_schedule(client: Client, *, task_queue: str, at: str, zone: str) -> None:
    """A digest each day `at` (such as `08:00`) in the time `zone`, by the queue's own schedule. One that a person has
    paused stays so.

    Raises PermissionDenied, or ServiceUnavailable where Temporal does not answer.
    """
    name = digest_schedule(task_queue)
    hour, _, minute = at.partition(":")
    spec = ScheduleSpec(
        calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(int(hour))], minute=[ScheduleRange(int(minute))])],
        time_zone_name=zone,
    )
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            DIGEST_WORKFLOW,
            id=name,
            task_queue=task_queue,
            execution_timeout=timedelta(hours=20),
            static_summary="digest",
        ),
        spec=spec,
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=_CATCH_UP),
    )

    def updated(found: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule.state = found.description.schedule.state
        return ScheduleUpdate(schedule=schedule)

    with _told(name):
        try:
            await client.create_schedule(name, schedule, rpc_timeout=_ANSWER_WITHIN)
        except ScheduleAlreadyRunningError:
            await client.get_schedule_handle(name).update(updated, rpc_timeout=_ANSWER_WITHIN)


async def remove_digest_schedule(client: Client, *, task_queue: str) -> bool:
    """No digest of this queue any more; False if there was no schedule. Raises as above."""
    name = digest_schedule(task_queue)
    with _told(name):
        try:
            await client.get_schedule_handle(name).delete(rpc_timeout=_ANSWER_WITHIN)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
    return True


class DigestSteps:
    """Reaches Temporal by the worker's own client."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def activities(self) -> list[Callable[..., Any]]:
        return [self.send_digest]

    @activity.defn(name=SEND_DIGEST.name)
    async def send_digest(self, window: DigestWindow) -> DigestSent:
        """One message to each channel that has something to hear; a repetition tells nobody twice."""
        notifier = self.services.notifier
        if not isinstance(notifier, ChannelNotifier):
            return DigestSent(until=window.until)
        queue = task_queue(self.services.settings)
        runs = Runs(activity.client(), task_queue=queue)
        rows = await runs.list(include_closed=True, since=window.until - _OLDEST, limit=_MOST_RUNS)
        digest = digest_of(map(_seen, rows), window)

        def made(channel: ChannelSettings) -> Message | None:
            return message_for(digest_for(digest, channel, notifier.known), window.until)

        period = (window.since.isoformat(), window.until.isoformat())
        told = await notifier.post((digest_schedule(queue), *period), made)
        log.info("digest", finished=len(digest.finished), waiting=len(digest.waiting), channels=told)
        return DigestSent(until=window.until, channels=tuple(told))


def digest_for(digest: Digest, channel: ChannelSettings, known: Sequence[Known]) -> Digest:
    """Of its repositories and people. A person hears what they started, and what waits for them."""

    def fits(card: RunCard, people: Sequence[str]) -> bool:
        return hears(
            channel, event="digest", repository=card.repository, people=tuple(filter(None, people)), known=known
        )

    return Digest(
        finished=tuple(one for one in digest.finished if fits(one.card, (one.card.starter,))),
        waiting=tuple(one for one in digest.waiting if fits(one.card, one.people)),
    )


def message_for(digest: Digest, until: datetime) -> Message | None:
    """None where there is nothing to say."""
    if digest.is_empty:
        return None
    waiting = [
        Link(
            f"{_name(one.card)} – {one.card.state.value.replace('_', ' ')} for {for_how_long(one.since, until)}: "
            f"{', '.join(one.people) or 'anybody'}",
            one.card.pull_request_url,
        )
        for one in digest.waiting
    ]
    finished = [Link(f"{_name(one.card)} – {one.how}", one.card.pull_request_url) for one in digest.finished]
    lists = [_listed("Waiting for people, the longest first", waiting), _listed("Finished", finished)]
    return Message(
        event="digest",
        title=f"{until:%Y-%m-%d}: {len(finished)} finished, {len(waiting)} waiting for people",
        fields=(("Cost of what was finished", digest.cost),) if digest.cost else (),
        lists=tuple(listed for listed in lists if listed.lines),
    )


def _listed(heading: str, lines: Sequence[Link]) -> Listed:
    return Listed(heading, tuple(lines[:MAX_LINES]), more=max(len(lines) - MAX_LINES, 0))


def _name(card: RunCard) -> str:
    title = card.title if len(card.title) <= 80 else f"{card.title[:79]}…"
    return " ".join(filter(None, (card.key, title)))


def _seen(row: RunRow) -> Seen:
    card = row.card or RunCard(key=row.ticket_key, repository=row.repository, starter=row.starter, usd=None)
    return Seen(card=card, closed=row.closed, status=row.status)


@contextmanager
def _told(schedule: str) -> Iterator[None]:
    try:
        yield
    except RPCError as error:
        said = " ".join(error.message.split())[:200]
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
            raise PermissionDenied(
                f"Temporal does not let us change the schedule {schedule} ({said}); look at TEMPORAL_API_KEY."
            ) from error
        raise ServiceUnavailable(f"Temporal does not take the schedule {schedule} ({said}).") from error
