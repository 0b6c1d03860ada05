"""Findings as SARIF 2.1.0: what the standard's schema takes, and what code hosts make of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from sdlc.domain import Panel, PanelState, Severity, SourceReport, SourceState
from sdlc.review_graphs.reviewed import reviewed
from sdlc.review_graphs.sarif import export, merged
from tests.panel_reports import (
    HEAD,
    HOSTILE,
    a_document,
    a_finding,
    a_report,
    a_review,
    a_whole_review,
    dropped,
)

SCHEMA = Draft7Validator(json.loads((Path(__file__).parent / "data" / "sarif-schema-2.1.0.json").read_text()))


def valid(document: dict[str, Any]) -> dict[str, Any]:
    """The document as a reader gets it, after the schema and the rules that the schema can't say."""
    again: dict[str, Any] = json.loads(json.dumps(document))
    assert again == document
    errors = [f"{error.json_path}: {error.message[:200]}" for error in SCHEMA.iter_errors(again)]
    assert errors == []
    for run in again["runs"]:
        rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
        assert len(set(rules)) == len(rules)
        for result in run["results"]:
            assert rules[result["ruleIndex"]] == result["ruleId"]
        # Of all results of a run, or of none.
        for key in ("suppressions", "baselineState"):
            assert len({key in result for result in run["results"]}) <= 1
    return again


def only_run(document: dict[str, Any]) -> dict[str, Any]:
    (run,) = valid(document)["runs"]
    assert isinstance(run, dict)
    return run


def only_result(document: dict[str, Any]) -> dict[str, Any]:
    (result,) = only_run(document)["results"]
    assert isinstance(result, dict)
    return result


def test_the_schema_is_one_that_refuses() -> None:
    document = export([a_review(a_finding())])
    del document["runs"][0]["tool"]["driver"]["name"]
    document["runs"][0]["results"][0]["level"] = "fatal"
    assert len(list(SCHEMA.iter_errors(document))) == 2


def test_a_whole_review_is_valid_by_panel_and_in_one_run() -> None:
    by_panel, together = valid(export(a_whole_review())), valid(merged(a_whole_review()))
    assert [run["tool"]["driver"]["name"] for run in by_panel["runs"]] == [
        "sdlc architecture panel",
        "sdlc security panel",
        "sdlc quality panel",
        "sdlc techstack panel",
    ]
    (run,) = together["runs"]
    assert run["tool"]["driver"]["name"] == "sdlc"
    assert [result["partialFingerprints"] for result in run["results"]] == [
        result["partialFingerprints"] for one in by_panel["runs"] for result in one["results"]
    ]
    assert {result["properties"]["panel"] for result in run["results"]} == {"security", "quality"}
    assert run["properties"]["state"] == "incomplete"
    assert run["invocations"][0]["executionSuccessful"] is False
    assert "refuted" not in json.dumps(together)


@pytest.mark.parametrize("make", [export, merged])
def test_reviews_without_a_finding_and_no_reviews_at_all_are_valid(make: Any) -> None:
    quiet = valid(make([a_report(), a_report(panel=Panel.SECURITY)]))
    assert all(run["results"] == [] for run in quiet["runs"])
    valid(make([]))


def test_code_hosts_tell_the_panels_apart_by_category() -> None:
    documents = export([a_report(), a_report(panel=Panel.SECURITY)]), merged([a_report()])
    ids = [run["automationDetails"]["id"] for document in documents for run in valid(document)["runs"]]
    assert ids == [f"sdlc/quality/{HEAD}", f"sdlc/security/{HEAD}", f"sdlc/{HEAD}"]


def test_a_result_points_to_its_rule_and_its_lines() -> None:
    finding, other = a_finding(file="src/a file.py"), a_finding(rule="ruff:B006", fingerprint="def")
    first, second = only_run(export([a_report(finding, other)]))["results"]
    assert (first["ruleId"], second["ruleId"]) == ("lens:correctness/off-by-one", "ruff:B006")
    assert first["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "src/a%20file.py", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 3, "endLine": 4},
            }
        }
    ]
    assert first["partialFingerprints"] == {"sdlc/v1": finding.fingerprint}
    assert first["rank"] == 90.0


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("a%b#c?.py", "a%25b%23c%3F.py"),
        ("über/ä.py", "%C3%BCber/%C3%A4.py"),
        ("c:/x.py", "c%3A/x.py"),
        ('"caf\\351.txt"', "caf%E9.txt"),  # as git quotes a name that is not UTF-8
    ],
)
def test_any_path_becomes_a_uri(path: str, uri: str) -> None:
    result = only_result(export([a_report(a_finding(file=path))]))
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_severities_become_levels() -> None:
    findings = [a_finding(severity=severity, fingerprint=severity.value) for severity in Severity]
    run = only_run(export([a_report(*findings)]))
    assert [result["level"] for result in run["results"]] == ["error", "error", "warning", "note"]


def test_a_rule_says_what_it_is_and_weighs_as_much_as_its_worst_finding() -> None:
    mild = a_finding(severity=Severity.INFO, confidence=0.6, fingerprint="mild")
    code = a_finding(rule="ruff:B006", severity=Severity.MINOR, fingerprint="code")
    model, tool = only_run(export([a_report(a_finding(), mild, code)]))["tool"]["driver"]["rules"]
    assert (model["name"], model["defaultConfiguration"]) == ("OffByOne", {"level": "error"})
    assert model["shortDescription"]["text"] == "Off by one (lens:correctness/off-by-one)"
    assert "A model said it" in model["fullDescription"]["text"]
    assert model["properties"] == {"tags": ["quality"], "precision": "very-high", "problem.severity": "error"}
    assert (tool["name"], tool["shortDescription"]["text"]) == ("B006", "ruff B006")
    assert "`ruff` found it" in tool["help"]["text"]
    assert "`ruff` found it" in tool["help"]["markdown"]
    assert tool["properties"]["problem.severity"] == "warning"


def test_findings_of_the_security_panel_are_ranked_as_such() -> None:
    findings = [
        a_finding(panel=Panel.SECURITY, rule=f"bandit:{severity.value}", severity=severity, fingerprint=severity.value)
        for severity in Severity
    ]
    security = only_run(export([a_report(*findings, panel=Panel.SECURITY)]))["tool"]["driver"]["rules"]
    assert [float(rule["properties"]["security-severity"]) for rule in security] == [9.5, 8.0, 5.0, 2.0]
    assert {tag for rule in security for tag in rule["properties"]["tags"]} == {"security"}
    both = [a_report(a_finding(rule="ruff:S1")), a_report(a_finding(panel=Panel.SECURITY, rule="ruff:S1"))]
    (rule,) = only_run(merged(both))["tool"]["driver"]["rules"]
    assert rule["properties"]["tags"] == ["quality", "security"]
    assert rule["properties"]["security-severity"] == "8.0"


def test_evidence_is_a_snippet_where_it_is_the_code_of_the_lines() -> None:
    code = a_finding(rule="ruff:B006", evidence="for i in range(n - 1):\n    pass", suggestion="for i in range(n):")
    result = only_result(export([a_review(code)]))
    assert result["locations"][0]["physicalLocation"]["region"]["snippet"] == {"text": code.evidence}
    assert result["fixes"][0]["artifactChanges"][0]["replacements"] == [
        {"deletedRegion": {"startLine": 3, "endLine": 4}, "insertedContent": {"text": "for i in range(n):"}}
    ]


@pytest.mark.parametrize(
    "finding",
    [a_finding(evidence="total([5]) is 0"), a_finding(rule="ruff:C901", end_line=90, evidence="def long():")],
    ids=["a model's case", "the first of many lines"],
)
def test_other_evidence_is_no_snippet(finding: Any) -> None:
    result = only_result(export([a_review(finding)]))
    assert "snippet" not in result["locations"][0]["physicalLocation"]["region"]
    assert result["properties"]["evidence"] == finding.evidence


def test_what_was_waived_or_accepted_is_suppressed_with_the_reason_and_not_hidden() -> None:
    waived, open_one = a_finding(), a_finding(fingerprint="other", line=9, end_line=9)
    gone = a_finding(fingerprint="known", rule="ruff:B006").model_dump(mode="json")
    left_out = (dropped("baseline", "generated, see PAR-7", "ruff", **gone), dropped("base", "the base has it already"))
    document = a_document(waived, open_one, left_out=left_out)
    review = reviewed(a_report(waived, open_one), document, waived={waived.fingerprint: "the caller checks"})
    results = {result["partialFingerprints"]["sdlc/v1"]: result for result in only_run(export([review]))["results"]}
    assert {key: result["suppressions"] for key, result in results.items()} == {
        waived.fingerprint: [{"kind": "external", "status": "accepted", "justification": "the caller checks"}],
        "other": [],
        "known": [{"kind": "external", "status": "accepted", "justification": "generated, see PAR-7"}],
    }


def test_fingerprints_alone_suppress_as_well() -> None:
    result = only_result(export([a_report(a_finding())], waived=[a_finding().fingerprint]))
    assert [item["justification"] for item in result["suppressions"]] == ["A person waived it."]
    assert "suppressions" not in only_result(export([a_report(a_finding())]))


def test_a_second_round_says_what_is_new() -> None:
    old, new = a_finding(), a_finding(fingerprint="new")
    document = json.loads(a_document(old, new))
    document["findings"][0]["status"] = "open"
    review = reviewed(a_report(old, new), json.dumps(document))
    assert [result["baselineState"] for result in only_run(export([review]))["results"]] == ["unchanged", "new"]
    # Where nothing is known of one, nothing is said of any.
    run = only_run(merged([review, a_report(a_finding(fingerprint="x"))]))
    assert not any("baselineState" in result for result in run["results"])


def test_what_failed_is_said_so_that_an_empty_result_does_not_look_clean() -> None:
    sources = (
        SourceReport(name="ruff", state=SourceState.FAILED, note="crashed"),
        SourceReport(name="correctness", kind="lens", state=SourceState.NOT_RUN, required=False, note="no model"),
        SourceReport(name="bandit"),
    )
    (invocation,) = only_run(export([a_report(sources=sources, state=PanelState.INCOMPLETE)]))["invocations"]
    assert invocation["executionSuccessful"] is False
    assert [(note["level"], note["message"]["text"]) for note in invocation["toolExecutionNotifications"]] == [
        ("error", "ruff: failed: crashed"),
        ("note", "correctness: not run: no model"),
    ]
    (incomplete,) = only_run(export([a_report(state=PanelState.INCOMPLETE)]))["invocations"]
    assert incomplete["executionSuccessful"] is False


def test_words_from_outside_are_no_links_placeholders_or_escapes() -> None:
    finding = a_finding(
        rule=f"own:{HOSTILE}", message=HOSTILE, evidence=HOSTILE, suggestion=HOSTILE, file="a\x1b[31m.py"
    )
    source = SourceReport(name=HOSTILE, state=SourceState.FAILED, note=HOSTILE)
    gone = finding.model_copy(update={"fingerprint": "gone"}).model_dump(mode="json")
    left_out = (dropped("baseline", HOSTILE, HOSTILE, **gone),)
    review = reviewed(a_report(finding, sources=(source,)), a_document(finding, left_out=left_out))
    run = only_run(export([review]))
    messages = [result["message"]["text"] for result in run["results"]]
    messages += [note["message"]["text"] for note in run["invocations"][0]["toolExecutionNotifications"]]
    for text in messages:
        assert "](" not in text
        assert not re.search(r"(?<!\{)\{\d+\}", text)
        assert "<!--" not in text
    (rule,) = run["tool"]["driver"]["rules"]
    said = [*messages, rule["id"], rule["shortDescription"]["text"], rule["help"]["text"], rule["help"]["markdown"]]
    said += [item["justification"] for result in run["results"] for item in result["suppressions"]]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e\u2066]", "".join(said))
    assert not re.search(r"(?<!\\)<script", rule["help"]["markdown"])


ANY_TEXT = st.text(max_size=40)


@given(rule=ANY_TEXT, message=ANY_TEXT, evidence=ANY_TEXT, suggestion=ANY_TEXT, fingerprint=ANY_TEXT)
def test_whatever_is_said_the_document_is_valid(**said: str) -> None:
    finding = a_finding(**said)
    sources = (SourceReport(name=said["rule"], state=SourceState.FAILED, note=said["message"]),)
    review = reviewed(a_report(finding, sources=sources), a_document(finding))
    for document in (export([review]), merged([review, a_report(panel=Panel.SECURITY)])):
        valid(document)
