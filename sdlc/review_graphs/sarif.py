"""Findings as SARIF 2.1.0 (OASIS standard of 27 March 2020), for code hosts and editors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from sdlc import __version__
from sdlc.domain import Finding, PanelReport, Severity, SourceState

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
_LEVEL = {
    Severity.BLOCKER: "error",
    Severity.MAJOR: "error",
    Severity.MINOR: "warning",
    Severity.INFO: "note",
}


def export(reports: Iterable[PanelReport], *, waived: Iterable[str] = ()) -> dict[str, Any]:
    """One SARIF document with a run for each report; findings whose fingerprint is in `waived` are suppressed.

    A report without source text gives results without snippets; put the findings of its artifact in
    (`PanelReport.model_copy(update={"findings": …})`) to have them.
    """
    without = frozenset(waived)
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report, without) for report in reports]}


def _run(report: PanelReport, waived: frozenset[str]) -> dict[str, Any]:
    rules = list(dict.fromkeys(finding.rule for finding in report.findings))
    return {
        "tool": {
            "driver": {
                "name": f"sdlc {report.panel.value} panel",
                "version": __version__,
                "rules": [{"id": rule, "name": _name(rule)} for rule in rules],
            }
        },
        "automationDetails": {"id": f"sdlc/{report.panel.value}/{report.head_sha}"},
        "invocations": [_invocation(report)],
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, rules, waived) for finding in report.findings],
        "properties": {"state": report.state.value, "headSha": report.head_sha},
    }


def _invocation(report: PanelReport) -> dict[str, Any]:
    """What ran and what did not: a result file without findings must not look clean when nobody has looked."""
    return {
        "executionSuccessful": not any(
            source.required and source.state is not SourceState.OK for source in report.sources
        ),
        "toolExecutionNotifications": [
            {
                "level": "error" if source.required else "note",
                "message": {
                    "text": f"{source.name}: {source.state.value}" + (f": {source.note}" if source.note else "")
                },
            }
            for source in report.sources
            if source.state is not SourceState.OK
        ],
    }


def _result(finding: Finding, rules: Sequence[str], waived: frozenset[str]) -> dict[str, Any]:
    region: dict[str, Any] = {"startLine": finding.line, "endLine": max(finding.line, finding.end_line)}
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": _LEVEL[finding.severity],
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": {"artifactLocation": _location(finding), "region": region}}],
        "partialFingerprints": {"sdlc/v1": finding.fingerprint},
        # SARIF's rank runs from 0 to 100.
        "rank": round(finding.confidence * 100, 1),
        "properties": {"severity": finding.severity.value, "panel": finding.panel.value},
    }
    if finding.evidence:
        region["snippet"] = {"text": finding.evidence}
    if finding.suggestion:
        result["fixes"] = [_fix(finding)]
    if finding.fingerprint in waived:
        result["suppressions"] = [{"kind": "external", "status": "accepted"}]
    return result


def _fix(finding: Finding) -> dict[str, Any]:
    deleted = {"startLine": finding.line, "endLine": max(finding.line, finding.end_line)}
    replacement = {"deletedRegion": deleted, "insertedContent": {"text": finding.suggestion}}
    return {
        "description": {"text": "Suggested replacement"},
        "artifactChanges": [{"artifactLocation": _location(finding), "replacements": [replacement]}],
    }


def _location(finding: Finding) -> dict[str, str]:
    return {"uri": quote(finding.file), "uriBaseId": "%SRCROOT%"}


def _name(rule: str) -> str:
    """`lens:correctness/off-by-one` → `OffByOne`; codes such as `ruff:B006` stay what they are."""
    last = rule.replace("/", ":").rpartition(":")[2]
    return "".join(part[:1].upper() + part[1:] for part in last.split("-")) or rule
