"""Reports put together with their documents: what became of each finding."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.config import Settings
from sdlc.domain import ArtifactRef, Panel, PanelState, Severity, SourceReport, SourceState
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.review_graphs.report_json import listed, whole
from sdlc.review_graphs.reviewed import (
    ASIDE,
    Standing,
    by_severity,
    named,
    read_reviews,
    reviewed,
    silences,
    worst_first,
)
from tests.panel_reports import HEAD, a_document, a_finding, a_report, a_review, a_whole_review, dropped


def test_each_finding_stands_where_it_belongs() -> None:
    quality = a_whole_review()[2]
    assert {standing: len(quality.standing(standing)) for standing in Standing} == dict.fromkeys(Standing, 1)
    (refuted,) = quality.standing(Standing.REFUTED)
    assert refuted.why == "`total` is set to 0 two lines above, so it is never unbound"
    assert (refuted.severity, refuted.place, refuted.source) == (
        Severity.MAJOR,
        "src/parcel/totals.py:12",
        "correctness",
    )
    (elsewhere,) = quality.standing(Standing.ELSEWHERE)
    assert elsewhere.why == "the security panel says it (5ec0000000000001)"
    (waived,) = quality.standing(Standing.WAIVED)
    assert waived.why == "the error is logged by the caller"


def test_evidence_comes_from_the_document() -> None:
    finding = a_finding(evidence="for i in range(n - 1):", suggestion="for i in range(n):")
    (with_it,) = reviewed(a_report(finding), a_document(finding)).open
    assert (with_it.evidence, with_it.suggestion) == (finding.evidence, finding.suggestion)
    (without,) = reviewed(a_report(finding)).open
    assert (without.evidence, without.suggestion, without.status) == ("", "", "")


def test_the_report_decides_what_is_open_and_not_the_document() -> None:
    """The workflow moves findings between panels after the document was written."""
    stays, moved = a_finding(), a_finding(fingerprint="moved")
    review = reviewed(a_report(stays), a_document(stays, moved))
    assert [entry.fingerprint for entry in review.open] == [stays.fingerprint]


def test_a_finding_is_waived_by_the_document_or_by_what_people_said_since() -> None:
    finding = a_finding()
    assert [e.standing for e in reviewed(a_report(finding), a_document(finding, waived=True)).entries] == [
        Standing.WAIVED
    ]
    assert reviewed(a_report(finding), waived={finding.fingerprint: "fine"}).open == ()


def test_what_is_carried_says_so() -> None:
    finding = a_finding()
    (entry,) = reviewed(a_report(finding), a_document(finding, status="open", carried=True)).open
    assert (entry.status, entry.carried) == ("open", True)


@pytest.mark.parametrize(("of_report", "of_document"), [(True, False), (False, True), (True, True)])
def test_what_is_resolved_stands_once(of_report: bool, of_document: bool) -> None:
    gone = (a_finding(),)
    report = a_report(resolved=gone if of_report else ())
    review = reviewed(report, a_document(resolved=gone if of_document else ()))
    assert [entry.fingerprint for entry in review.standing(Standing.RESOLVED)] == [a_finding().fingerprint]


@pytest.mark.parametrize("kind", [None, "unheard-of", "open", "waived"])
def test_a_kind_that_is_not_known_is_some_other_reason(kind: str | None) -> None:
    item = dropped("", "it says nothing")
    item = {**item, "kind": kind} if kind else {key: value for key, value in item.items() if key != "kind"}
    (entry,) = reviewed(a_report(), a_document(left_out=(item,))).entries
    assert (entry.standing, entry.why) == (Standing.OTHER, "it says nothing")


@pytest.mark.parametrize(
    "document",
    ["", "{", "[]", "null", '"x"', "{}", '{"findings": 1, "dropped": [], "resolved": []}', "[" * 100_000,
     '{"findings": [], "dropped": [{"source": "x"}], "resolved": []}',
     '{"findings": [], "dropped": [{"source": "x", "finding": [], "reason": ""}], "resolved": []}',
     '{"findings": [], "dropped": [], "resolved": [{"file": "a.py"}]}'],
    ids=range(11),
)  # fmt: skip
def test_a_document_that_is_none_leaves_the_report(document: str) -> None:
    review = reviewed(a_report(a_finding()), document)
    assert len(review.open) == 1
    assert review.trouble == "the panel's document is not what a panel writes"


@given(
    st.dictionaries(
        st.sampled_from(["file", "line", "end_line", "severity", "rule", "message", "evidence", "fingerprint"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.text(max_size=3)),
    )
)
def test_whatever_a_model_said_it_can_be_listed(finding: dict[str, Any]) -> None:
    item = {"source": "correctness", "finding": finding, "reason": "junk", "kind": "outside"}
    review = reviewed(a_report(), a_document(left_out=(item,)))
    assert review.trouble == ""
    assert len(listed([review], everything=True)) == 1


async def test_documents_are_read_from_the_artifact_folder(settings: Settings) -> None:
    artifacts = ArtifactStore(settings.artifacts_dir)
    finding = a_finding(evidence="x = []")
    kept = await artifacts.put(a_document(finding), name="quality-report.json")
    lost = ArtifactRef(sha256="0" * 64, size=1, name="security-report.json")
    reports = (
        a_report(finding, report=kept),
        a_report(a_finding(panel=Panel.SECURITY), panel=Panel.SECURITY, report=lost),
        a_report(panel=Panel.TECHSTACK),
    )
    there, gone, bare = await read_reviews(artifacts, reports, waived={finding.fingerprint: "fine"})
    assert (there.trouble, there.entries[0].evidence, there.entries[0].standing) == ("", "x = []", Standing.WAIVED)
    assert "can't be read from" in gone.trouble
    assert len(gone.entries) == 1
    assert (bare.trouble, bare.entries) == ("", ())


# --- in an order -------------------------------------------------------------------------------


def test_the_worst_comes_first_and_what_is_not_complete_before_what_is_quiet() -> None:
    assert [review.panel.value for review in worst_first(a_whole_review())] == [
        "security",
        "quality",
        "techstack",
        "architecture",
    ]
    minor, major = a_finding(severity=Severity.MINOR, fingerprint="1"), a_finding(line=9, fingerprint="2")
    unsure = a_finding(confidence=0.4, fingerprint="3")
    assert [entry.fingerprint for entry in a_review(minor, unsure, major).open] == ["2", "3", "1"]


def test_findings_are_counted_by_severity() -> None:
    assert by_severity(a_whole_review()[1].entries) == "1 blocker, 1 info"
    assert by_severity(()) == ""


def test_silence_is_told_by_reason_and_what_had_to_speak_comes_first() -> None:
    def source(name: str, note: str, **more: Any) -> SourceReport:
        return SourceReport(name=name, **{"state": SourceState.NOT_RUN, "required": False, "note": note, **more})

    failed = source("pip-audit", "no network", state=SourceState.FAILED, required=True)
    reviews = [
        a_review(sources=(SourceReport(name="ruff"), source("pins", "nothing"), source("lens", "no model"))),
        a_review(panel=Panel.TECHSTACK, sources=(source("pins", "nothing"), source("licences", "nothing"), failed)),
    ]
    assert [(s.names, s.panels, s.required) for s in silences(reviews)] == [
        (("pip-audit",), (Panel.TECHSTACK,), True),
        (("pins", "licences"), (Panel.QUALITY, Panel.TECHSTACK), False),
        (("lens",), (Panel.QUALITY,), False),
    ]
    assert (named(("a", "b"), 2), named(("a", "b", "c"), 1)) == ("a, b", "a and 2 more")


# --- JSON --------------------------------------------------------------------------------------


def test_the_list_has_the_fields_of_a_finding_and_what_is_open_alone() -> None:
    reviews = a_whole_review()
    items = listed(reviews)
    assert [(item["severity"], item["panel"]) for item in items] == [
        ("blocker", "security"),
        ("major", "quality"),
        ("info", "security"),
    ]
    assert {item["standing"] for item in items} == {"open"}
    for item in items:
        assert set(a_finding().model_dump(mode="json")) <= set(item)
    assert items[0]["suggestion"].startswith("cursor.execute(")


def test_with_everything_the_others_follow_by_what_became_of_them() -> None:
    items = listed(a_whole_review(), everything=True)
    assert [item["standing"] for item in items] == ["open"] * 3 + [standing.value for standing in ASIDE]
    assert json.loads(json.dumps(items)) == items


def test_the_whole_says_what_did_not_run() -> None:
    document = whole(a_whole_review())
    assert json.loads(json.dumps(document)) == document
    by_panel = {item["panel"]: item for item in document["panels"]}
    assert [by_panel[panel.value]["state"] for panel in Panel] == ["clean", "findings", "findings", "incomplete"]
    assert by_panel["techstack"]["sources"][0]["state"] == "failed"
    assert by_panel["techstack"]["head_sha"] == HEAD
    assert len(by_panel["quality"]["findings"]) == 1
    assert len(whole(a_whole_review(), everything=True)["panels"][2]["findings"]) == 11


def test_an_incomplete_panel_is_not_complete() -> None:
    assert not reviewed(a_report(state=PanelState.INCOMPLETE)).is_complete
