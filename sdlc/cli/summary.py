"""The last word about a run: for people, and as the one JSON object of `--json`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sdlc.cli.view import LABEL, plain
from sdlc.domain import Proof, Severity, TestOutcome, TestReport
from sdlc.progress import RunProgress
from sdlc.runtime.runs import HistorySize

_LOCAL = "/pull.md"
"""How the address of a pull request in the local forge ends; its other files lie beside it."""

_GREEN = (TestOutcome.PASSED, TestOutcome.NOT_DECLARED)


def as_json(progress: RunProgress, history: HistorySize) -> dict[str, Any]:
    """The run as one JSON-native object; documented in README.md."""
    pull_request, change = progress.pull_request, progress.change
    return {
        "ticket": progress.ticket_key,
        "state": progress.state.value,
        "steps": [
            {
                "number": step.number,
                "name": step.name,
                "state": step.state.value,
                "attempts": step.attempts,
                "seconds": step.seconds,
            }
            for step in progress.steps
        ],
        "pull_request": {
            "url": pull_request.url if pull_request else None,
            "branch": pull_request.branch if pull_request else change.branch if change else None,
            "base_sha": change.base_sha if change else None,
            "head_sha": change.head_sha if change else None,
            "state": pull_request.state.value if pull_request else None,
        },
        "fix_rounds": progress.fix_rounds,
        "revisions": progress.revisions,
        "findings": {severity.value: progress.findings.get(severity.value, 0) for severity in Severity},
        "tests": _tests(progress.tests),
        "usage": progress.usage.model_dump(include={"model_calls", "input_tokens", "output_tokens", "usd"}),
        "workflow_id": progress.workflow_id,
        "history": {"events": history.events, "bytes": history.bytes},
        "warnings": list(progress.warnings),
    }


def _tests(reports: tuple[TestReport, ...]) -> dict[str, Any]:
    counted = [report for report in reports if report.proof is None]
    proof = next((report.proof for report in reports if report.proof), Proof())
    return {
        "passed": sum(report.passed for report in counted),
        "failed": sum(len(report.new_failures) for report in counted),
        "skipped": sum(report.skipped for report in counted),
        "outcomes": {report.kind.value: report.outcome.value for report in reports},
        "proof": {
            "fails_on_base": len(proof.fails_on_base),
            "passes_on_head": len(proof.shown),
            "coverage_percent": proof.coverage.percent if proof.coverage else None,
        },
    }


def where_the_change_is(progress: RunProgress) -> list[str]:
    """Pull request, diff and branch, a line each."""
    pull_request = progress.pull_request
    if pull_request is None:
        return []
    lines = [_line("Pull request", f"{pull_request.url} ({pull_request.state.value})")]
    if pull_request.url.endswith(_LOCAL):
        lines.append(_line("Diff", pull_request.url.removesuffix(_LOCAL) + "/changes.diff"))
    return [*lines, _line("Branch", f"{pull_request.branch} at {pull_request.head_sha[:10]}")]


def where_to_look(
    progress: RunProgress, *, ui_url: str, namespace: str, ui_stays: bool, command: str = "sdlc"
) -> list[str]:
    """How it ended, and where the pull request, the diff, the findings and the Temporal UI page are, a line each.

    `command` is how this installation is called for the same data folder; `ui_stays`: the server outlives it.
    """
    key = progress.ticket_key
    lines = [_line(key, f"{progress.state.value.replace('_', ' ')}: {progress.ticket_title}")]
    lines += [_line("Note", warning) for warning in progress.warnings]
    lines += where_the_change_is(progress)
    lines.append(_line("Findings", _findings(progress, command, ui_stays=ui_stays)))
    red = [report.kind.value for report in progress.tests if report.outcome not in _GREEN]
    if red:
        lines.append(_line("Not shown", f"{', '.join(red)}: see the pull request for why"))
    meanwhile = "" if ui_stays else f" (while `{command} dev` runs)"
    if ui_url:
        page = f"{ui_url}/namespaces/{quote(namespace, safe='')}/workflows/{quote(progress.workflow_id, safe='')}"
        lines.append(_line("Temporal UI", page + meanwhile))
    return lines


def _findings(progress: RunProgress, command: str, *, ui_stays: bool) -> str:
    counts = ", ".join(f"{count} {severity}" for severity, count in progress.findings.items() if count)
    if not counts:
        return "none open"
    if progress.pull_request and progress.pull_request.url.endswith(_LOCAL):
        return f"{counts} open: {progress.pull_request.url.removesuffix(_LOCAL)}/findings.md"
    return f"{counts} open: {command} findings {progress.ticket_key}" + ("" if ui_stays else " (while a worker runs)")


def _line(name: str, text: str) -> str:
    return f"{name:<{LABEL}}  {plain(text)}"
