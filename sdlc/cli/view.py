"""How a run looks in a terminal. Text from outside is shown as text: no markup, no escape sequences."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sdlc.domain import AuditEntry, Proof, RunState, Severity, TestOutcome, TestReport, Usage
from sdlc.naming import counted
from sdlc.progress import RunProgress, Step, StepProgress, StepState
from sdlc.run_card import RunCard

if TYPE_CHECKING:
    from sdlc.runtime.last_known import LastKnown
    from sdlc.runtime.runs import RunRow, Trouble

_SIGNS = {
    StepState.PENDING: ("·", "dim"),
    StepState.RUNNING: ("▸", "bold cyan"),
    StepState.WAITING: ("◆", "bold yellow"),
    StepState.DONE: ("✓", "green"),
    StepState.FAILED: ("✗", "bold red"),
    StepState.SKIPPED: ("–", "dim"),
}
_STATE_STYLE = {
    RunState.CLOSED: "bold green",
    RunState.AWAITING_APPROVAL: "bold yellow",
    RunState.AWAITING_MERGE: "bold yellow",
    RunState.NEEDS_ATTENTION: "bold red",
}
_PLAIN_WIDTH = 4_000
"""Columns where there is no terminal: a path that is broken in two is of no use in a log."""

LABEL = len("Integration tests")
"""Columns of what stands before a line about a run."""

_SUMMARY = 400
"""Characters; the pull request has all of it."""

_PROOFS = 6
"""Tests that are named as proof; the pull request names all."""

_PLAN_STEPS = 12

_RESULT = 160
"""Characters of a step's result in a line; the table cuts it at the terminal's width."""

SEVERITY_STYLE = {
    Severity.BLOCKER: "bold red",
    Severity.MAJOR: "red",
    Severity.MINOR: "yellow",
    Severity.INFO: "dim",
}


def plain(text: str) -> str:
    """Without control characters, which a terminal would obey; white space becomes single spaces."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def progress_view(
    progress: RunProgress, troubles: Iterable[Trouble] = (), *, now: datetime | None = None
) -> RenderableType:
    """The seventeen steps, what the run waits for, what is being tried again.

    With `now`, a step that is at work shows for how long.
    """
    head = Text.assemble(
        (progress.ticket_key, "bold"),
        "  ",
        state_text(progress.state),
        "  ",
        plain(progress.ticket_title),
        overflow="ellipsis",
        no_wrap=True,
    )
    parts: list[RenderableType] = [
        head,
        _steps(progress, now),
        *_work(progress),
        Text(_engine_and_usage(progress), "dim"),
    ]
    if progress.waits_for:
        parts.append(Text(f"Waits for {plain(progress.waits_for)}", "yellow"))
    parts += [Text(f"Trying again: {trouble_line(trouble)}", "yellow") for trouble in troubles]
    parts += [Text(f"Note: {plain(warning)}", "yellow") for warning in progress.warnings]
    return Group(*parts)


def last_known_view(known: LastKnown) -> RenderableType:
    """A run for which no worker answers: what its card says."""
    row, card = known.row, known.row.card or RunCard(key=known.row.ticket_key)
    risk = card.risk
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True, min_width=LABEL)
    grid.add_column(overflow="fold")

    def line(label: str, text: str) -> None:
        if text:
            grid.add_row(label, Text(plain(text)))

    state = Text(plain(row.state.replace("_", " ")), _STATE_STYLE.get(card.state, "cyan"))
    line("As it stood at", _when(known.at) if known.at else "the last time it said so")
    line("Step", next((f"{one.number} {one.title}" for one in Step if one.key == (row.step or card.step)), ""))
    if row.status == "running":
        since = f", since {_when(card.waiting_since)}" if card.waiting_since else ""
        line("Waits for", f"{card.waits_for}{since}" if card.waits_for else "")
        line("May decide", ", ".join(card.approvers) if card.waits_for else "")
    if card.head_sha:
        size = f"{counted(risk.files, 'file')}, +{risk.insertions} -{risk.deletions}"
        line("Change", f"{size}, head {card.head_sha[:10]}")
        line("Approved by", f"{', '.join(card.approved_by) or 'nobody'}, of {counted(card.required, 'approval')}")
        line("Open findings", _findings(risk.findings))
    line("Pull request", card.pull_request_url)
    line("Cost", f"{card.tokens:,} tokens, {_cost(card.usd)}")
    return Group(Text.assemble((plain(row.ticket_key), "bold"), "  ", state, "  ", plain(card.title)), grid)


def state_text(state: RunState) -> Text:
    return Text(_words(state), _STATE_STYLE.get(state, "cyan"))


def _engine_and_usage(progress: RunProgress) -> str:
    engine = plain(" with ".join(filter(None, (progress.engine, progress.model))))
    return f"{engine} · {usage_line(progress.usage)}" if engine else usage_line(progress.usage)


def _work(progress: RunProgress) -> list[RenderableType]:
    """The engine's plan while it works, and the parts of a ticket that was split."""
    lines: list[RenderableType] = []
    if progress.plan and progress.step == Step.IMPLEMENT.key and not progress.state.is_over:
        lines += [Text(f"     {cut(step, _RESULT)}", "dim") for step in progress.plan.steps[:_PLAN_STEPS]]
    for part in progress.parts:
        sign, style = _SIGNS[part.state]
        said = f": {cut(part.result, _RESULT)}" if part.result else ""
        lines.append(Text.assemble("   ", (sign, style), f" {plain(part.key)} {cut(part.title, _RESULT)}{said}"))
    return lines


def _steps(progress: RunProgress, now: datetime | None) -> Table:
    # A step that was entered twice says ×2. Only the results give way where a terminal is narrow.
    titles = [f"{step.title} ×{step.attempts}" if step.attempts > 1 else step.title for step in progress.steps]
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=2, justify="right", style="dim")
    table.add_column(width=1)
    table.add_column(width=max(map(len, titles), default=1), no_wrap=True)
    table.add_column(width=7, justify="right", style="dim", no_wrap=True)
    table.add_column()  # the one that may be wrapped is the one that gives way; its texts are cut instead
    for step, title in zip(progress.steps, titles, strict=True):
        sign, style = _SIGNS[step.state]
        table.add_row(str(step.number), Text(sign, style), title, _seconds(step, now), _result(step))
    return table


def _result(step: StepProgress) -> Text:
    style = "dim" if step.state is StepState.SKIPPED else ""
    return Text(plain(step.result), style, no_wrap=True, overflow="ellipsis")


def _seconds(step: StepProgress, now: datetime | None) -> str:
    if step.ended:
        return f"{step.seconds:.1f} s"
    if step.state is StepState.RUNNING and step.started and now:
        return f"{step.seconds + max(0.0, (now - step.started).total_seconds()):.0f} s"
    return ""


def step_line(step: StepProgress) -> str:
    """One plain line for where there is no terminal."""
    seconds = f" ({step.seconds:.1f} s)" if step.ended else ""
    result = cut(step.result, _RESULT)
    return f"{step.number:>2} {step.title}: {step.state.value}{f': {result}' if result else ''}{seconds}"


def cut(text: str, length: int) -> str:
    """`text` on one line as plain words, at most so many characters of it."""
    text = plain(text)
    return text if len(text) <= length else text[:length].rpartition(" ")[0].rstrip(" .,;:") + " …"


def trouble_line(trouble: Trouble) -> str:
    when = f"; again at {trouble.next_try.astimezone():%H:%M:%S}" if trouble.next_try else ""
    return f"{plain(trouble.activity)}, attempt {trouble.attempt}{when}: {plain(trouble.message)}"


def usage_line(usage: Usage) -> str:
    tokens = usage.input_tokens + usage.output_tokens
    return f"{counted(usage.model_calls, 'model call')}, {tokens:,} tokens, {_cost(usage.usd)}"


def _cost(usd: float | None) -> str:
    return "cost unknown" if usd is None else f"{usd:.4f} USD" if usd else "no cost"


def evidence_view(progress: RunProgress) -> RenderableType:
    """What a person needs before a decision: what was done, why it can be trusted, what is open."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True, min_width=LABEL)
    grid.add_column(overflow="fold")
    for label, text in evidence_rows(progress, summary=True):
        grid.add_row(label, text)
    return grid


def evidence_rows(progress: RunProgress, *, summary: bool = False) -> list[tuple[str, Text]]:
    """The same as labels and texts; the engine's own summary only if asked for."""
    rows: list[tuple[str, Text]] = []
    if progress.pull_request:
        rows.append(("Pull request", Text(plain(progress.pull_request.title))))
    if progress.change:
        change = progress.change
        size = f"{counted(change.files_changed, 'file')}, +{change.insertions} -{change.deletions}"
        rows.append(("Change", Text(f"{size}, {change.base_sha[:10]} → {change.head_sha[:10]}")))
    if summary and progress.plan and progress.plan.summary:
        rows.append(("Summary", Text(cut(progress.plan.summary, _SUMMARY))))
    for report in progress.tests:
        label = f"{report.kind.value.capitalize()} tests".replace("Static tests", "Static checks")
        rows.append((label, _tests(report)))
        if report.proof:
            rows.append(("Proof", _proof(report.proof)))
    rows.append(("Open findings", Text(_findings(progress.findings))))
    rounds = f"{counted(progress.fix_rounds, 'fix round')}, {progress.revisions} asked for by people"
    rows.append(("Rounds", Text(f"{rounds}; {usage_line(progress.usage)}")))
    return rows


def _findings(by_severity: dict[str, int]) -> str:
    return ", ".join(f"{count} {severity}" for severity, count in by_severity.items() if count) or "none"


def _tests(report: TestReport) -> Text:
    failed = len(report.new_failures)
    on_base = sum(failure.on_base for failure in report.failures)
    counts = [f"{report.passed} passed"] if report.passed else []
    counts += [f"{failed} failed"] if failed else []
    counts += [f"{on_base} that fail on the base too"] if on_base else []
    good = report.outcome in (TestOutcome.PASSED, TestOutcome.NOT_DECLARED)
    said = [] if good and (counts or report.note) else [_words(report.outcome)]
    said += [", ".join(counts)] if counts else []
    said += [plain(report.note)] if report.note else []
    return Text(": ".join(said), "" if good else "red")


def _proof(proof: Proof) -> Text:
    covered = f"; {proof.coverage.percent:g} % of the changed lines covered" if proof.coverage else ""
    # Cases of one test stand together: `a_test (3 cases)`.
    names = Counter(re.sub(r"\[.*\]$", "", plain(test).rpartition("::")[2]) for test in proof.shown)
    shown = [f"  {name}{f' ({count} cases)' if count > 1 else ''}" for name, count in list(names.items())[:_PROOFS]]
    shown += [f"  and {len(names) - _PROOFS} more"] if len(names) > _PROOFS else []
    headline = f"{counted(len(proof.shown), 'test')} failing on the base and passing on the head{covered}"
    return Text("\n".join([headline, *shown]))


def _words(state: RunState | TestOutcome) -> str:
    return state.value.replace("_", " ")


def runs_table(rows: Iterable[RunRow]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for column in ("ticket", "state", "step", "waits for", "repository", "by", "started"):
        table.add_column(column)
    for row in rows:
        table.add_row(
            Text(plain(row.ticket_key)),
            Text(row.state.replace("_", " ")),
            Text(row.step.replace("_", " ")),
            Text(plain(row.waits_for)),
            Text(plain(row.repository)),
            Text(plain(row.starter or (row.card.starter if row.card else ""))),
            Text(_when(row.started)),
        )
    return table


def audit_table(entries: Iterable[AuditEntry]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for column in ("at", "what", "by", "from", "head", "counted", "detail"):
        table.add_column(column)
    for entry in entries:
        table.add_row(
            Text(_when(entry.at)),
            Text(plain(entry.event)),
            Text(plain(entry.by)),
            Text(plain(entry.source)),
            Text(entry.head_sha[:10]),
            "yes" if entry.accepted else "no",
            Text(plain(entry.detail)),
        )
    return table


def _when(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def console(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, highlight=False)


def show(view: RenderableType, *, stderr: bool = False) -> None:
    """Print a view: as wide as the terminal, and where there is none without a break, a colour or padding."""
    target = console(stderr=stderr)
    if target.is_terminal:
        target.print(view)
        return
    text = StringIO()
    Console(file=text, width=_PLAIN_WIDTH, highlight=False, color_system=None, force_terminal=False).print(view)
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    print("\n".join(lines), file=sys.stderr if stderr else sys.stdout, flush=True)
