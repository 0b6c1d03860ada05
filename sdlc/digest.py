"""The daily digest: what was finished, what waits for whom, what it cost. Pure; `sdlc.runtime.digest` sends it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from sdlc.activities import Activity
    from sdlc.activity_calls import why
    from sdlc.domain import Record, RunState
    from sdlc.errors import NON_RETRYABLE
    from sdlc.run_card import RunCard

DIGEST_WORKFLOW = "DigestWorkflow"
DIGEST_SCHEDULE = "sdlc-digest"
"""What all schedules of digests are called, before their task queue."""
NOT_ALL_TOLD = "NotAllTold"
"""`sdlc.integrations.notify.channels.NotAllTold`, as Temporal names it."""
_DAY = timedelta(days=1)
_LONGEST = timedelta(days=7)
"""What a digest looks back at most, after days without a worker."""
_PAUSE, _LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=10)
"""Between two tries: with twelve of them, for more than an hour."""
_NOMINAL = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
"""When the schedule meant it to start, as Temporal writes it on the workflow."""


def digest_schedule(task_queue: str) -> str:
    """The id of the schedule; one for each task queue, because others may use the same namespace."""
    return f"{DIGEST_SCHEDULE}-{task_queue}"


class DigestWindow(Record):
    since: datetime
    until: datetime


class DigestSent(Record):
    until: datetime
    channels: tuple[str, ...] = ()
    """Those that had something to hear."""
    refused: str = ""
    """Why not all of them have heard it."""


SEND_DIGEST = Activity("send_digest", DigestWindow, DigestSent)


@workflow.defn(name=DIGEST_WORKFLOW)
class DigestWorkflow:
    """One digest, from where the one before ended, so that no run is missed and none is told twice.

    A channel that stays away misses it; only where nobody has heard anything the next one has it all.
    """

    @workflow.run
    async def run(self) -> DigestSent:
        # Not the time at which a worker came by: the bounds have to be the same for whoever begins it.
        until = workflow.info().typed_search_attributes.get(_NOMINAL) or workflow.now()
        before = workflow.get_last_completion_result(DigestSent) if workflow.has_last_completion_result() else None
        window = DigestWindow(since=max(before.until, until - _LONGEST) if before else until - _DAY, until=until)
        try:
            sent: DigestSent = await workflow.execute_activity(
                SEND_DIGEST.name,
                window,
                result_type=DigestSent,
                start_to_close_timeout=timedelta(minutes=10),
                heartbeat_timeout=timedelta(seconds=30),
                retry_policy=RetryPolicy(
                    initial_interval=_PAUSE,
                    maximum_interval=_LONGEST_PAUSE,
                    maximum_attempts=12,
                    non_retryable_error_types=list(NON_RETRYABLE),
                ),
                summary=f"digest since {window.since:%Y-%m-%d %H:%M} UTC",
            )
        except ActivityError as error:
            cause = error.cause
            if not isinstance(cause, ApplicationError):
                raise
            if not (cause.non_retryable or cause.type in (*NON_RETRYABLE, NOT_ALL_TOLD)):
                raise
            return DigestSent(until=until, refused=why(error))
        return sent


# --- what it says -------------------------------------------------------------------------


class Seen(Record):
    """A run as a list has it."""

    card: RunCard
    closed: datetime | None = None
    status: str = ""
    """Temporal's."""


class Finished(Record):
    card: RunCard
    how: str
    """`closed`, `rejected` …, or how it was ended from outside, such as `terminated`."""


class Waiting(Record):
    card: RunCard
    since: datetime
    people: tuple[str, ...]
    """Whom it waits for; empty: anybody."""


class Digest(Record):
    finished: tuple[Finished, ...] = ()
    """The last first."""
    waiting: tuple[Waiting, ...] = ()
    """The longest first."""

    @property
    def is_empty(self) -> bool:
        return not self.finished and not self.waiting

    @property
    def cost(self) -> str:
        """Of what was finished: `1.20 USD`, `1.20 USD and 2 runs of unknown cost`; empty for nothing."""
        known = [one.card.usd for one in self.finished if one.card.usd is not None]
        unknown = len(self.finished) - len(known)
        parts = [f"{sum(known):.2f} USD"] if known else []
        parts += [f"{unknown} {'run' if unknown == 1 else 'runs'} of unknown cost"] if unknown else []
        return " and ".join(parts)


def digest_of(runs: Iterable[Seen], window: DigestWindow) -> Digest:
    """What ended within the window (`since` is not in it, `until` is), and what waits for people."""
    finished, waiting = [], []
    for run in runs:
        card = run.card
        if run.closed is not None:
            if window.since < run.closed <= window.until:
                how = card.state.value if card.state.is_over else run.status
                finished.append((run.closed, Finished(card=card, how=how)))
        elif card.waiting_since is not None:
            waiting.append(Waiting(card=card, since=card.waiting_since, people=_people(card)))
    finished.sort(key=lambda pair: pair[0], reverse=True)
    return Digest(finished=tuple(one for _, one in finished), waiting=tuple(sorted(waiting, key=lambda one: one.since)))


def for_how_long(since: datetime, until: datetime) -> str:
    """`3 days`, `5 hours`, `less than an hour`."""
    hours = int((until - since).total_seconds() // 3_600)
    if hours < 1:
        return "less than an hour"
    number, unit = (hours // 24, "day") if hours >= 48 else (hours, "hour")
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _people(card: RunCard) -> tuple[str, ...]:
    if card.state is RunState.AWAITING_APPROVAL:
        return tuple(name for name in card.approvers if name not in card.approved_by)
    return (card.starter,) if card.starter else ()
