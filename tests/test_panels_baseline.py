"""What the committed baseline comes to in a panel's review, on a real repository."""

from __future__ import annotations

from datetime import date

import pytest

from sdlc.domain import Finding, Panel, PanelState, SourceState
from sdlc.review_graphs.baseline import BASELINE_FILE, written
from sdlc.review_graphs.reviewed import Standing, read_reviews
from tests.test_panels import BASE, Bench, bench, source, whole_bench

__all__ = ["bench", "whole_bench"]  # fixtures

NEW = "def new(names={}):\n    return names\n"


def accepting(**more: date) -> str:
    fingerprint = Finding.fingerprint_of("ruff:B006", "new.py", "def new(names={}):")
    finding = Finding(
        panel=Panel.QUALITY, rule="ruff:B006", severity="major", file="new.py", message="x", fingerprint=fingerprint
    )
    return written(None, [finding], "never changed in place", "ada", **more)  # type: ignore[arg-type]


async def test_what_the_base_accepts_is_no_finding_and_is_told_on_request(bench: Bench) -> None:
    change = bench.change({"new.py": NEW}, {**BASE, BASELINE_FILE: accepting()})
    report = await bench.review(Panel.QUALITY, change)
    assert (report.state, report.findings) == (PanelState.CLEAN, ())
    (review,) = await read_reviews(bench.services.artifacts, [report])
    assert [entry.why for entry in review.standing(Standing.BASELINE)] == ["never changed in place"]
    assert source(report, "ruff").dropped == 1


async def test_a_change_can_not_accept_its_own_findings(whole_bench: Bench) -> None:
    change = whole_bench.change({"new.py": NEW, BASELINE_FILE: accepting()})
    assert "ruff:B006" in {f.rule for f in (await whole_bench.review(Panel.QUALITY, change)).findings}
    (edited,) = (await whole_bench.review(Panel.SECURITY, change)).findings
    assert (edited.rule, edited.file) == ("baseline:accepts", BASELINE_FILE)


@pytest.mark.parametrize(
    ("baseline", "state", "words"),
    [
        (accepting(until=date(2020, 1, 1)), SourceState.OK, "1 of 1 entries"),
        ("{", SourceState.NOT_RUN, "can't be used"),
        (b"\xff", SourceState.NOT_RUN, "it is not UTF-8"),
    ],
    ids=["ended", "no JSON", "no UTF-8"],
)
async def test_a_baseline_that_accepts_nothing_is_said_and_holds_nothing_up(
    bench: Bench, baseline: str | bytes, state: SourceState, words: str
) -> None:
    report = await bench.review(Panel.QUALITY, bench.change({"new.py": NEW}, {**BASE, BASELINE_FILE: baseline}))
    assert [f.rule for f in report.findings] == ["ruff:B006"]
    assert report.state is PanelState.FINDINGS
    note = source(report, "baseline")
    assert (note.state, note.required) == (state, False)
    assert words in note.note
