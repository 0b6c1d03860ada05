"""How runs went, from their cards alone. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from sdlc.domain import RunState
from sdlc.run_card import RunCard
from sdlc.runtime.runs import RunRow
from sdlc.web.views import DayPoint, Measure, Stats, Summary, Throughput

MOST_RUNS = 2_000
Unit = Literal["seconds", "USD", "rounds"]


def stats_of(rows: Sequence[RunRow], since: datetime, days: int) -> Stats:
    """`rows`: those that began or ended since then, the newest first, `MOST_RUNS` at most."""
    cards = [row.card for row in rows if row.card is not None]
    over = [(row, _ended(row)) for row in rows]
    ended = [(row, moment.date()) for row, moment in over if moment is not None]
    by_day = [(since + timedelta(days=number)).date() for number in range(days + 1)]
    closed = Counter(day for row, day in ended if row.state == RunState.CLOSED)
    other = Counter(day for row, day in ended if row.state != RunState.CLOSED)
    return Stats(
        since=since,
        days=days,
        runs=len(rows),
        cut=len(rows) >= MOST_RUNS,
        without_card=len(rows) - len(cards),
        states=dict(Counter(row.state for row in rows)),
        throughput=tuple(Throughput(day=day, closed=closed[day], other=other[day]) for day in by_day),
        measures=tuple(_measure(*wanted, rows) for wanted in _MEASURES),
        needed_people=sum(card.asked > 0 for card in cards) / len(cards) if cards else None,
    )


def _ended(row: RunRow) -> datetime | None:
    """When it was over, by itself or from outside."""
    moment = (row.card.ended if row.card else None) or row.closed
    return moment.astimezone(UTC) if moment else None


def _to_pull_request(card: RunCard) -> float | None:
    if card.started is None or card.pull_request_at is None:
        return None
    return max(0.0, (card.pull_request_at - card.started).total_seconds())


_MEASURES: tuple[tuple[str, str, Unit, str, Callable[[RunCard], bool], Callable[[RunCard], float | None]], ...] = (
    (
        "time_to_pull_request",
        "Time to pull request",
        "seconds",
        "runs with a pull request that people could look at, by the day on which they could",
        lambda card: card.pull_request_at is not None,
        _to_pull_request,
    ),
    (
        "approval_wait",
        "Wait for people",
        "seconds",
        "runs that are over and had a pull request, by the day of their end",
        lambda card: card.state.is_over and card.pull_request_at is not None,
        lambda card: card.waited_seconds,
    ),
    (
        "cost",
        "Cost of a closed change",
        "USD",
        "closed runs whose cost is known, by the day of their end",
        lambda card: card.state is RunState.CLOSED,
        lambda card: card.usd,
    ),
    (
        "rounds",
        "Rounds",
        "rounds",
        "closed runs, by the day of their end: fix rounds and those that people asked for",
        lambda card: card.state is RunState.CLOSED,
        lambda card: float(card.fix_rounds + card.revisions),
    ),
)


def _measure(
    name: str,
    title: str,
    unit: Unit,
    of: str,
    counts: Callable[[RunCard], bool],
    value: Callable[[RunCard], float | None],
    rows: Sequence[RunRow],
) -> Measure:
    values: list[float] = []
    days: defaultdict[date, list[float]] = defaultdict(list)
    for row in rows:
        card = row.card
        known = value(card) if card is not None and counts(card) else None
        moment = None if card is None else (card.pull_request_at if name == "time_to_pull_request" else _ended(row))
        if known is not None and moment is not None:
            values.append(known)
            days[moment.astimezone(UTC).date()].append(known)
    series = tuple(
        DayPoint(day=day, count=len(found), median=part(found, 0.5), p90=part(found, 0.9))
        for day, found in sorted(days.items())
    )
    whole = Summary(count=len(values), median=part(values, 0.5), p90=part(values, 0.9))
    return Measure(name=name, title=title, unit=unit, of=of, whole=whole, series=series)


def part(values: Sequence[float], share: float) -> float | None:
    """The value below which this share of them lies, between two where it falls between; None for none."""
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (place - low), 6)
