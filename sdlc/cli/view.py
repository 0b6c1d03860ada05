"""How a run looks in a terminal. Text from outside is shown as text: no markup, no escape sequences."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sdlc.domain import AuditEntry, Finding, Proof, RunState, Severity, TestReport, Usage
from sdlc.progress import RunProgress, StepProgress, StepState
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
    RunState.NEEDS_ATTENTION: "bold red",
}
_SEVERITY_STYLE = {
    Severity.BLOCKER: "bold red",
    Severity.MAJOR: "red",
    Severity.MINOR: "yellow",
    Severity.INFO: "dim",
}


def plain(text: str) -> str:
    """Without control characters, which a terminal would obey; white space becomes single spaces."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def progress_view(progress: RunProgress, troubles: Iterable[Trouble] = ()) -> RenderableType:
    """The seventeen steps, what the run waits for, what is being tried again."""
    head = Text.assemble(
        (progress.ticket_key, "bold"),
        "  ",
        plain(progress.ticket_title),
        "  ",
        (progress.state.value.replace("_", " "), _STATE_STYLE.get(progress.state, "cyan")),
    )
    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column(justify="right", style="dim")
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    for step in progress.steps:
        sign, style = _SIGNS[step.state]
        again = f" ×{step.attempts}" if step.attempts > 1 else ""
        table.add_row(
            str(step.number), Text(sign, style), Text(step.title + again), _seconds(step), Text(plain(step.result))
        )
    parts: list[RenderableType] = [head, table, Text(usage_line(progress.usage), "dim")]
    if progress.waits_for:
        parts.append(Text(f"Waits for {plain(progress.waits_for)}", "yellow"))
    parts += [Text(f"Trying again: {trouble_line(trouble)}", "yellow") for trouble in troubles]
    parts += [Text(f"Note: {plain(warning)}", "yellow") for warning in progress.warnings]
    return Group(*parts)


def _seconds(step: StepProgress) -> str:
    return f"{step.seconds:.1f} s" if step.ended else ""


def step_line(step: StepProgress) -> str:
    """One plain line for where there is no terminal."""
    seconds = f" ({step.seconds:.1f} s)" if step.ended else ""
    result = f": {plain(step.result)}" if step.result else ""
    return f"{step.number:>2} {step.title}: {step.state.value}{result}{seconds}"


def trouble_line(trouble: Trouble) -> str:
    return f"{trouble.activity} (attempt {trouble.attempt}): {plain(trouble.message)}"


def usage_line(usage: Usage) -> str:
    cost = "cost unknown" if usage.usd is None else f"{usage.usd:.4f} USD"
    tokens = usage.input_tokens + usage.output_tokens
    return f"{usage.model_calls} model calls, {tokens:,} tokens, {cost}"


def evidence_view(progress: RunProgress) -> RenderableType:
    """What a person needs before a decision: what was done, why it can be trusted, what is open."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    if progress.pull_request:
        grid.add_row("Pull request", Text(plain(progress.pull_request.title)))
        grid.add_row("", Text(progress.pull_request.url))
    if progress.change:
        change = progress.change
        size = f"{change.files_changed} files, +{change.insertions} -{change.deletions}"
        grid.add_row("Change", Text(f"{size}, {change.base_sha[:10]} → {change.head_sha[:10]}"))
    if progress.plan and progress.plan.summary:
        grid.add_row("Summary", Text(plain(progress.plan.summary)))
    for report in progress.tests:
        grid.add_row(report.kind.value.capitalize(), Text(_tests(report)))
        if report.proof:
            grid.add_row("Proof", Text(_proof(report.proof)))
    counts = ", ".join(f"{count} {severity}" for severity, count in progress.findings.items())
    grid.add_row("Open findings", Text(counts or "none"))
    rounds = f"{progress.fix_rounds} fix rounds, {progress.revisions} asked for by people"
    grid.add_row("Rounds", Text(f"{rounds}; {usage_line(progress.usage)}"))
    return grid


def _tests(report: TestReport) -> str:
    on_base = sum(failure.on_base for failure in report.failures)
    old = f", {on_base} that fail on the base too" if on_base else ""
    note = f" – {plain(report.note)}" if report.note else ""
    outcome = report.outcome.value.replace("_", " ")
    return f"{outcome}: {report.passed} passed, {len(report.new_failures)} failed{old}{note}"


def _proof(proof: Proof) -> str:
    covered = f"; {proof.coverage.percent:g} % of the changed lines are covered" if proof.coverage else ""
    names = ", ".join(plain(test) for test in proof.shown[:5])
    return f"{len(proof.shown)} tests fail on the base and pass on the head{covered}: {names}"


def findings_table(findings: Iterable[Finding]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for column in ("severity", "panel", "where", "rule", "what"):
        table.add_column(column)
    for finding in findings:
        table.add_row(
            Text(finding.severity.value, _SEVERITY_STYLE[finding.severity]),
            finding.panel.value,
            Text(f"{plain(finding.file)}:{finding.line}"),
            Text(plain(finding.rule)),
            Text(plain(finding.message)),
        )
    return table


def runs_table(rows: Iterable[RunRow]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for column in ("ticket", "state", "step", "waits for", "repository", "started"):
        table.add_column(column)
    for row in rows:
        table.add_row(
            Text(plain(row.ticket_key)), row.state, row.step, row.waits_for, Text(row.repository), _when(row.started)
        )
    return table


def audit_table(entries: Iterable[AuditEntry]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for column in ("at", "what", "by", "from", "head", "counted", "detail"):
        table.add_column(column)
    for entry in entries:
        table.add_row(
            _when(entry.at),
            plain(entry.event),
            Text(plain(entry.by)),
            entry.source,
            entry.head_sha[:10],
            "yes" if entry.accepted else "no",
            Text(plain(entry.detail)),
        )
    return table


def _when(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def console(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, highlight=False)
