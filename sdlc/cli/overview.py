"""All of a run on one screen: the ticket beside what became of it, why it can be trusted, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sdlc.cli.view import LABEL, cut, evidence_rows, plain, state_text, trouble_line
from sdlc.domain import Ticket
from sdlc.naming import counted
from sdlc.progress import RunProgress, Step, StepProgress, StepState
from sdlc.run_card import RunCard
from sdlc.runtime.runs import Trouble

_NARROW = 80
"""Columns below which the ticket stands above the result."""
_DESCRIPTION = 600
_LINE = 200
_CRITERIA = 12
_STEPS = 12
_REVIEWS = (Step.REVIEW_ARCHITECTURE, Step.REVIEW_SECURITY, Step.REVIEW_QUALITY, Step.REVIEW_TECHSTACK)


def overview(
    progress: RunProgress, ticket: Ticket | None, card: RunCard, troubles: Iterable[Trouble], *, width: int
) -> RenderableType:
    """What there is to know; texts of others are shown as text, and cut where they are long."""
    head = Text.assemble((plain(progress.ticket_key), "bold"), "  ", state_text(progress.state), "  ")
    head.append(plain(progress.ticket_title))
    sides = [_ticket(ticket), _result(progress)]
    if width >= _NARROW:
        both = Table.grid(padding=(0, 3), expand=True)
        both.add_column(ratio=1, overflow="fold")
        both.add_column(ratio=1, overflow="fold")
        both.add_row(*sides)
        sides = [both]
    parts: list[RenderableType] = [head, Text(), *sides, Text(), _facts(progress, card)]
    if progress.waits_for:
        parts.append(Text(f"Waits for {plain(progress.waits_for)}", "yellow"))
    parts += [Text(f"Trying again: {trouble_line(trouble)}", "yellow") for trouble in troubles]
    parts += [Text(f"Note: {plain(warning)}", "yellow") for warning in progress.warnings]
    return Group(*parts)


def _ticket(ticket: Ticket | None) -> RenderableType:
    if ticket is None:
        return Group(Text("Ticket", "bold"), Text("Not read yet.", "dim"))
    lines = [Text("Ticket", "bold"), Text(cut(ticket.description, _DESCRIPTION) or "It has no description.")]
    lines += [Text(f"  - {cut(criterion, _LINE)}") for criterion in ticket.acceptance_criteria[:_CRITERIA]]
    more = len(ticket.acceptance_criteria) - _CRITERIA
    lines += [Text(f"  and {more} more criteria", "dim")] if more > 0 else []
    lines += [Text(plain(ticket.url), "dim")] if ticket.url else []
    return Group(*lines)


def _result(progress: RunProgress) -> RenderableType:
    lines = [Text("Result", "bold")]
    plan = progress.plan
    lines.append(Text(cut(plan.summary, _DESCRIPTION)) if plan and plan.summary else Text("None yet.", "dim"))
    lines += [Text(f"  {number}. {cut(step, _LINE)}") for number, step in enumerate(_plan(progress), 1)]
    return Group(*lines)


def _plan(progress: RunProgress) -> tuple[str, ...]:
    return progress.plan.steps[:_STEPS] if progress.plan else ()


def _facts(progress: RunProgress, card: RunCard) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True, min_width=LABEL)
    grid.add_column(overflow="fold")
    now = next((step for step in progress.steps if step.name == progress.step), None)
    if now is not None and not progress.state.is_over:
        grid.add_row("Step", Text(f"{now.number} {now.title}, attempt {now.attempts or 1}"))
    reviews = [_review(step) for step in progress.steps if step.name in {one.key for one in _REVIEWS} and step.attempts]
    if reviews:
        grid.add_row("Reviews", Text("\n".join(reviews)))
    for label, text in evidence_rows(progress):
        grid.add_row(label, text)
    if progress.pull_request is not None:
        grid.add_row("Where", Text(plain(f"{progress.pull_request.url} ({progress.pull_request.state.value})")))
    grid.add_row("People", Text(_people(card)))
    return grid


def _review(step: StepProgress) -> str:
    said = plain(step.result) or step.state.value
    name = step.title.removeprefix("Review: ")
    return f"{name}: {'FAILED, ' if step.state is StepState.FAILED else ''}{said}"


def _people(card: RunCard) -> str:
    given = f" ({', '.join(map(plain, card.approved_by))})" if card.approved_by else ""
    may = f", by {', '.join(map(plain, card.approvers))}" if card.approvers else ""
    needed = counted(card.required, "approval")
    asked = f"; asked {counted(card.asked, 'time')} for help" if card.asked else ""
    return f"started by {plain(card.starter)}; {len(card.approved_by)} of {needed}{given}{may}{asked}"
