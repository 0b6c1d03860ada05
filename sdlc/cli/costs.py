"""What runs have cost, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sdlc.cli.view import plain, usage_line
from sdlc.domain import RunState
from sdlc.naming import counted
from sdlc.progress import RunProgress
from sdlc.runtime.runs import RunRow


def by_step(progress: RunProgress) -> RenderableType:
    """The steps that asked a model, and the sum."""
    table = _table("step", "calls", "tokens in", "tokens out", "USD")
    for step in progress.steps:
        usage = step.usage
        if usage.model_calls:
            tokens = f"{usage.input_tokens:,}", f"{usage.output_tokens:,}"
            table.add_row(f"{step.number} {step.title}", str(usage.model_calls), *tokens, _usd(usage.usd))
    parts: list[RenderableType] = [table] if table.row_count else []
    return Group(*parts, Text(f"In all: {usage_line(progress.usage)}"))


def steps_as_json(progress: RunProgress) -> dict[str, Any]:
    shown = {step.name: step.usage.model_dump() for step in progress.steps if step.usage.model_calls}
    return {"ticket": progress.ticket_key, "steps": shown, "usage": progress.usage.model_dump()}


def by_run(rows: Sequence[RunRow], days: int) -> RenderableType:
    """A line for each run, and what it comes to for each that was finished."""
    table = _table("ticket", "tokens", "USD", "rounds")
    table.columns[0].min_width = 12
    for row in rows:
        card = row.card
        told = (f"{card.tokens:,}", _usd(card.usd), str(card.fix_rounds + card.revisions)) if card else ("?", "?", "?")
        table.add_row(Text(f"{plain(row.ticket_key)} ({plain(row.state.replace('_', ' '))})"), *told)
    total = runs_as_json(rows)
    each = total["usd_per_closed"]
    lines = [
        f"{counted(len(rows), 'run')} of the last {counted(days, 'day')}: {total['tokens']:,} tokens, "
        f"{_amount(total['usd'])}; {counted(total['closed'], 'run')} closed"
        + (f", {_amount(each)} for each of them." if total["closed"] else ".")
    ]
    if total["unknown"]:
        lines.append(f"Of {counted(total['unknown'], 'run')} the cost is not known (llm.prices), and not in the sum.")
    return Group(table, *(Text(line) for line in lines))


def runs_as_json(rows: Sequence[RunRow]) -> dict[str, Any]:
    """`usd` is the sum of what is known; `usd_per_closed` has the cost of runs that came to nothing in it as well."""
    known = [row.card.usd for row in rows if row.card and row.card.usd is not None]
    closed = sum(row.state == RunState.CLOSED.value for row in rows)
    usd = round(sum(known), 6)
    return {
        "runs": [
            {
                "ticket": row.ticket_key,
                "state": row.state,
                "repository": row.repository,
                "tokens": row.card.tokens if row.card else None,
                "usd": row.card.usd if row.card else None,
            }
            for row in rows
        ],
        "tokens": sum(row.card.tokens for row in rows if row.card),
        "usd": usd,
        "unknown": len(rows) - len(known),
        "closed": closed,
        "usd_per_closed": round(usd / closed, 6) if closed else None,
    }


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:.4f}"


def _amount(usd: float) -> str:
    return f"{usd:.2f} USD"
