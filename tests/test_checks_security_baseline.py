"""Changes to the committed baseline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdlc.review_graphs.baseline import BASELINE_FILE, written
from sdlc.review_graphs.checks.security.baseline import Accepted
from tests.panel_reports import a_finding
from tests.trees import only, raised, trees

ONE = written(None, [a_finding(fingerprint="one")], "legacy")
TWO = written(ONE, [a_finding(fingerprint="two", file="z.py")], "meant so")


@pytest.mark.parametrize("base", [{}, {BASELINE_FILE: ONE}, {BASELINE_FILE: "{"}], ids=["new", "more", "mended"])
def test_what_is_accepted_anew_is_told_at_its_line(tmp_path: Path, base: dict[str, str]) -> None:
    found = only(Accepted(), trees(tmp_path, base=base, head={BASELINE_FILE: TWO}))
    first = "two" if base.get(BASELINE_FILE) == ONE else "one"
    assert (found.rule, found.severity) == ("accepts", "info")
    assert first in TWO.splitlines()[found.line - 1]
    assert ("one finding" in found.message) is (first == "two")


def test_an_end_that_is_taken_away_is_told(tmp_path: Path) -> None:
    base = ONE.replace('"reason": "legacy"', '"reason": "legacy",\n      "until": "2026-01-01"')
    assert raised(Accepted(), trees(tmp_path, base={BASELINE_FILE: base}, head={BASELINE_FILE: ONE}))[0][0] == "accepts"


@pytest.mark.parametrize(
    ("base", "head"),
    [
        (TWO, ONE),
        (ONE, ONE.replace("legacy", "see PAR-7")),
        (ONE, json.dumps(json.loads(ONE))),
        (ONE, ONE.replace("\n", "\r\n")),
        (ONE, None),
        ("", ""),
        (ONE, '{"version": 1, "accepted": "none"}'),
        (ONE, '{"version": 1, "accepted": [1, {"fingerprint": 2}]}'),
    ],
    ids=["fewer", "words", "layout", "CRLF", "deleted", "empty", "no list", "odd entries"],
)
def test_what_accepts_no_more_is_no_finding(tmp_path: Path, base: str, head: str | None) -> None:
    given = trees(tmp_path, base={BASELINE_FILE: base}, head={} if head is None else {BASELINE_FILE: head})
    assert raised(Accepted(), given) == []


@pytest.mark.parametrize("head", ['{\n"version": 1,\n<<<<<<< HEAD\n', "[" * 100_000, b"\xff\xfe"])
def test_a_file_that_nobody_will_be_able_to_use_is_told(tmp_path: Path, head: str | bytes) -> None:
    found = only(Accepted(), trees(tmp_path, base={BASELINE_FILE: ONE}, head={BASELINE_FILE: head}))
    assert (found.rule, found.severity) == ("unusable", "minor")


def test_other_files_are_none_of_its_business() -> None:
    assert Accepted().looks_at(BASELINE_FILE)
    assert not Accepted().looks_at(f"example/{BASELINE_FILE}")
