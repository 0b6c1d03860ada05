"""Findings as SARIF 2.1.0."""

from __future__ import annotations

import json
from typing import Any

from sdlc.domain import Finding, Panel, PanelReport, PanelState, Severity, SourceReport, SourceState
from sdlc.review_graphs.sarif import export

HEAD = "c" * 40


def a_finding(**changes: Any) -> Finding:
    given: dict[str, Any] = {
        "panel": Panel.QUALITY,
        "rule": "lens:correctness/off-by-one",
        "severity": Severity.MAJOR,
        "confidence": 0.8,
        "file": "src/a file.py",
        "line": 3,
        "end_line": 4,
        "message": "The last item is left out.",
        "fingerprint": "abc",
    }
    return Finding(**{**given, **changes})


def a_report(*findings: Finding, **changes: Any) -> PanelReport:
    return PanelReport(panel=Panel.QUALITY, head_sha=HEAD, state=PanelState.FINDINGS, findings=findings).model_copy(
        update=changes
    )


def test_a_document_has_a_run_for_each_panel_and_is_plain_json() -> None:
    document = export([a_report(a_finding()), a_report(panel=Panel.SECURITY)])
    assert json.loads(json.dumps(document)) == document
    assert document["version"] == "2.1.0"
    assert document["$schema"].endswith("sarif-schema-2.1.0.json")
    assert [run["tool"]["driver"]["name"] for run in document["runs"]] == ["sdlc quality panel", "sdlc security panel"]
    assert document["runs"][1]["results"] == []


def test_a_result_points_to_its_rule_and_its_lines() -> None:
    (run,) = export([a_report(a_finding(), a_finding(rule="ruff:B006", fingerprint="def"))])["runs"]
    rules = run["tool"]["driver"]["rules"]
    first, second = run["results"]
    assert rules == [{"id": "lens:correctness/off-by-one", "name": "OffByOne"}, {"id": "ruff:B006", "name": "B006"}]
    assert [rules[result["ruleIndex"]]["id"] for result in (first, second)] == [first["ruleId"], second["ruleId"]]
    assert first["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "src/a%20file.py", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 3, "endLine": 4},
            }
        }
    ]
    assert first["partialFingerprints"] == {"sdlc/v1": "abc"}
    assert first["rank"] == 80.0


def test_severities_become_levels() -> None:
    findings = [a_finding(severity=severity, fingerprint=severity.value) for severity in Severity]
    (run,) = export([a_report(*findings)])["runs"]
    assert [result["level"] for result in run["results"]] == ["error", "error", "warning", "note"]


def test_evidence_and_suggestion_are_there_when_the_finding_has_them() -> None:
    (run,) = export([a_report(a_finding(evidence="for i in range(n - 1):", suggestion="for i in range(n):"))])["runs"]
    (result,) = run["results"]
    assert result["locations"][0]["physicalLocation"]["region"]["snippet"] == {"text": "for i in range(n - 1):"}
    assert result["fixes"][0]["artifactChanges"][0]["replacements"] == [
        {"deletedRegion": {"startLine": 3, "endLine": 4}, "insertedContent": {"text": "for i in range(n):"}}
    ]


def test_a_waived_finding_is_suppressed_and_not_hidden() -> None:
    (run,) = export([a_report(a_finding(), a_finding(fingerprint="other", line=9, end_line=9))], waived=["abc"])["runs"]
    assert [result.get("suppressions") for result in run["results"]] == [
        [{"kind": "external", "status": "accepted"}],
        None,
    ]


def test_what_failed_is_said_so_that_an_empty_result_does_not_look_clean() -> None:
    sources = (
        SourceReport(name="ruff", state=SourceState.FAILED, note="crashed"),
        SourceReport(name="correctness", kind="lens", state=SourceState.NOT_RUN, required=False, note="no model"),
        SourceReport(name="bandit"),
    )
    (run,) = export([a_report(sources=sources, state=PanelState.INCOMPLETE)])["runs"]
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert [(note["level"], note["message"]["text"]) for note in invocation["toolExecutionNotifications"]] == [
        ("error", "ruff: failed: crashed"),
        ("note", "correctness: not_run: no model"),
    ]
