"""The last word about a run: for people, and as the one JSON object of `--json`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sdlc.domain import Proof, Severity, TestOutcome, TestReport
from sdlc.progress import RunProgress
from sdlc.runtime.runs import HistorySize


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


def where_to_look(progress: RunProgress, ui_url: str, *, ui_stays: bool, command: str = "sdlc") -> list[str]:
    """Where the pull request, the diff, the findings and the Temporal UI page are, a line each.

    `command` is how this installation is called for the same data folder.
    """
    lines = []
    pull_request = progress.pull_request
    if pull_request:
        lines.append(f"Pull request   {pull_request.url}")
        if pull_request.url.endswith("/pull.md"):
            lines.append(f"Diff           {pull_request.url.removesuffix('pull.md')}changes.diff")
        lines.append(f"Branch         {pull_request.branch} at {pull_request.head_sha[:10]}")
    open_findings = sum(Counter(progress.findings).values())
    lines.append(f"Findings       {open_findings} open: {command} findings {progress.ticket_key}")
    red = [report.kind.value for report in progress.tests if report.outcome is not TestOutcome.PASSED]
    if red:
        lines.append(f"Not shown      {', '.join(red)}: see the pull request for why")
    if ui_url:
        page = f"{ui_url}/namespaces/default/workflows/{progress.workflow_id}"
        lines.append(f"Temporal UI    {page}" + ("" if ui_stays else f" (while `{command} dev` runs)"))
    return lines
