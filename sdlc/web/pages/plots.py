"""How runs went, as bars: geometry for a template that draws it, and the same numbers as a table. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from sdlc.web.pages.rendering import duration, usd
from sdlc.web.views import Measure, Stats

WIDTH, HEIGHT = 320.0, 96.0
_TOP = 6.0
_MOST_BARS = 62
"""More days than that become weeks: thinner bars can't be seen."""


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    tone: str


@dataclass(frozen=True)
class Plot:
    name: str
    title: str
    of: str
    """What counts, in words."""
    headline: str
    summary: str
    """In a sentence, in place of the picture."""
    top: str
    """What the highest bar stands for."""
    bars: tuple[Bar, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    first: str
    last: str


def plots_of(stats: Stats) -> tuple[Plot, ...]:
    return (_throughput(stats), *(_measure(measure, stats) for measure in stats.measures))


def _throughput(stats: Stats) -> Plot:
    days = [point.day for point in stats.throughput]
    closed = {point.day: float(point.closed) for point in stats.throughput}
    other = {point.day: float(point.other) for point in stats.throughput}
    total, others = sum(closed.values()), sum(other.values())
    slots = _slots(days)
    values = [(sum(closed[day] for day in slot), sum(other[day] for day in slot)) for slot in slots]
    return Plot(
        name="throughput",
        title="Throughput",
        of="runs by the day of their end: closed, and below in grey those that ended otherwise",
        headline=f"{total:.0f} closed",
        summary=f"In {stats.days} days {total:.0f} runs were closed and {others:.0f} ended otherwise.",
        top=f"{max((a + b for a, b in values), default=0):.0f} a {'week' if len(slots) < len(days) else 'day'}",
        bars=_bars([(second, first) for first, second in values], ("other", "main")),
        columns=("Day", "Closed", "Ended otherwise"),
        rows=tuple(
            (day.isoformat(), f"{closed[day]:.0f}", f"{other[day]:.0f}") for day in days if closed[day] or other[day]
        ),
        first=days[0].isoformat() if days else "",
        last=days[-1].isoformat() if days else "",
    )


def _measure(measure: Measure, stats: Stats) -> Plot:
    points = {point.day: point for point in measure.series}
    days = [stats.since.date() + timedelta(days=number) for number in range(stats.days + 1)]
    values: list[tuple[float, ...]] = []
    for slot in _slots(days):
        found = [points[day] for day in slot if day in points]
        runs = sum(point.count for point in found)
        values.append((sum((point.median or 0.0) * point.count for point in found) / runs if runs else 0.0,))
    whole = measure.whole
    median = _said(measure.unit, whole.median)
    return Plot(
        name=measure.name,
        title=measure.title,
        of=measure.of,
        headline=median if whole.count else "no runs yet",
        summary=f"Of {whole.count} runs: half at most {median}, nine of ten at most {_said(measure.unit, whole.p90)}."
        if whole.count
        else "There are no such runs yet.",
        top=_said(measure.unit, max((value[0] for value in values), default=0.0)),
        bars=_bars(values, ("main",)),
        columns=("Day", "Runs", "Half at most", "Nine of ten at most"),
        rows=tuple(
            (day.isoformat(), str(at.count), _said(measure.unit, at.median), _said(measure.unit, at.p90))
            for day, at in points.items()
        ),
        first=days[0].isoformat(),
        last=days[-1].isoformat(),
    )


def _slots(days: list[date]) -> list[list[date]]:
    size = 1 if len(days) <= _MOST_BARS else 7
    return [days[at : at + size] for at in range(0, len(days), size)]


def _bars(values: list[tuple[float, ...]], tones: tuple[str, ...]) -> tuple[Bar, ...]:
    """Each value's parts stand on each other, the first at the bottom."""
    highest = max((sum(parts) for parts in values), default=0.0)
    if not highest:
        return ()
    room = WIDTH / len(values)
    width = max(2.0, min(24.0, room * 0.72))
    found = []
    for number, parts in enumerate(values):
        floor = HEIGHT
        for part, tone in zip(parts, tones, strict=True):
            height = part / highest * (HEIGHT - _TOP)
            if part:
                floor -= height
                x = number * room + (room - width) / 2
                found.append(Bar(round(x, 1), round(floor, 1), round(width, 1), round(height, 1), tone))
    return tuple(found)


def _said(unit: str, value: float | None) -> str:
    if value is None:
        return "–"
    if unit == "USD":
        return usd(value)
    return duration(value) if unit == "seconds" else f"{value:.1f}".removesuffix(".0")
