"""The committed baseline: what it accepts, what of it can't be used, and how it is written."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.domain import SourceState
from sdlc.review_graphs.baseline import (
    LARGEST_BASELINE,
    MOST_ENTRIES,
    Baseline,
    BaselineInvalid,
    accepted,
    parse_baseline,
    read_baseline,
    written,
)
from tests.panel_reports import HOSTILE, a_finding

TODAY = date(2026, 3, 1)


def entry(fingerprint: str = "a1", **more: Any) -> dict[str, Any]:
    return {"fingerprint": fingerprint, "rule": "ruff:B006", "file": "a.py", "reason": "meant so", **more}


def a_file(*entries: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"version": 1, "accepted": entries, **more}).encode()


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b" \n", a_file(), b'{"version": 1}'])
def test_no_file_and_an_empty_one_accept_nothing(content: bytes | None) -> None:
    assert read_baseline(content, TODAY) == Baseline()


def test_entries_count_by_fingerprint_with_their_reason() -> None:
    content = a_file(entry(), entry("b2", reason="legacy", by="ada"))
    assert read_baseline(content, TODAY) == Baseline(accepted={"a1": "meant so", "b2": "legacy"})


@pytest.mark.parametrize("encode", [lambda b: b"\xef\xbb\xbf" + b, lambda b: b.replace(b",", b",\r\n")])
def test_a_byte_order_mark_and_crlf_do_no_harm(encode: Any) -> None:
    assert read_baseline(encode(a_file(entry())), TODAY).accepted == {"a1": "meant so"}


@pytest.mark.parametrize(("until", "counts"), [("2026-02-28", False), ("2026-03-01", True), ("2026-03-02", True)])
def test_an_entry_counts_up_to_its_last_day(until: str, counts: bool) -> None:
    baseline = read_baseline(a_file(entry(until=until)), TODAY)
    assert (baseline.accepted == {"a1": "meant so"}) is counts
    assert baseline.note == ("" if counts else "1 of 1 entries of `.sdlc/baseline.json` have ended (`until`)")
    source = baseline.source()
    assert (source is None) is counts
    assert source is None or (source.name, source.state, source.required) == ("baseline", SourceState.OK, False)


def test_of_two_entries_for_one_finding_the_one_that_has_not_ended_counts() -> None:
    content = a_file(entry(reason="still"), entry(until="2020-01-01", reason="once"))
    assert read_baseline(content, TODAY).accepted == {"a1": "still"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe{}", "it is not UTF-8; save it as UTF-8"),
        (b"{", "it is not JSON (line 1, column 2"),
        (b'{"version": 1,\n<<<<<<< HEAD\n"accepted": []}', "it is not JSON (line 2, column 1"),
        (b"[]", "valid dictionary"),
        (b"{}", "`version`: field required"),
        (a_file(version=2), "`version`: input should be 1"),
        (a_file(extra=1), "there is no entry `extra`"),
        (a_file(entry(untill="2026-01-01")), "there is no entry `accepted.0.untill`"),
        (a_file(entry(until="soon")), "`accepted.0.until`: input should be a valid date"),
        (a_file(entry(reason=" ")), "`accepted.0.reason`: say why the finding may stand"),
        (a_file({"fingerprint": "a1"}), "`accepted.0.reason`: field required"),
        (a_file(entry("")), "`accepted.0.fingerprint`: string should have at least 1 character"),
        (a_file(entry(7)), "`accepted.0.fingerprint`: input should be a valid string"),  # type: ignore[arg-type]
        (b"[" * 100_000, "can't be used"),
        (b'{"version": ' + b"9" * 5_000 + b"}", "can't be used"),
        (a_file(*[entry(str(number)) for number in range(MOST_ENTRIES + 1)]), f"at most {MOST_ENTRIES} items"),
        (b" " * LARGEST_BASELINE + b"{}", f"it has more than {LARGEST_BASELINE} bytes"),
    ],
    ids=range(17),
)
def test_a_file_that_cannot_be_used_accepts_nothing_and_says_why(content: bytes, words: str) -> None:
    baseline = read_baseline(content, TODAY)
    assert baseline.accepted == {}
    assert words in baseline.note
    assert baseline.note.startswith("`.sdlc/baseline.json` can't be used: ")
    assert baseline.note.endswith("; it is left out")
    assert len(baseline.note) < 300
    source = baseline.source()
    assert source is not None
    assert (source.kind, source.state, source.required) == ("unread", SourceState.NOT_RUN, False)
    with pytest.raises(BaselineInvalid):
        parse_baseline(content)


def test_the_note_holds_no_hidden_characters_of_the_file() -> None:
    note = read_baseline(a_file({HOSTILE * 20: 1}), TODAY).note
    assert note.isprintable()
    assert len(note) < 300


@given(
    content=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["version", "accepted", "fingerprint", "reason"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_the_file_holds_reading_it_ends_well(content: bytes) -> None:
    baseline = read_baseline(content, TODAY)
    assert not (baseline.accepted and baseline.note)


# --- writing -----------------------------------------------------------------------------------


def test_what_is_written_is_read_again() -> None:
    finding = a_finding()
    text = written(None, [finding], "meant so", "ada", until=date(2026, 12, 31))
    (read,) = parse_baseline(text)
    assert read.model_dump(mode="json") == {
        "fingerprint": finding.fingerprint,
        "rule": finding.rule,
        "file": finding.file,
        "reason": "meant so",
        "by": "ada",
        "until": "2026-12-31",
    }
    assert text.endswith("}\n")
    assert "message" not in text


def test_an_entry_is_sorted_in_and_the_others_stay_as_they_are() -> None:
    findings = [a_finding(file=f"{name}.py", fingerprint=name) for name in "dbca"]
    before = written(None, findings[1:], "legacy")
    after = written(before, findings[:1], "meant so", "ada")
    assert written(None, reversed(findings[1:]), "legacy") == before
    assert [item.fingerprint for item in parse_baseline(after)] == ["a", "b", "c", "d"]
    assert {item.fingerprint: item.reason for item in parse_baseline(after)} == {
        "a": "legacy",
        "b": "legacy",
        "c": "legacy",
        "d": "meant so",
    }
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert added == [
        '      "fingerprint": "d",',
        '      "file": "d.py",',
        '      "reason": "meant so",',
        '      "by": "ada"',
    ]
    assert written(after, findings, "other words") == after


def test_a_reason_given_before_stays_unless_it_has_ended() -> None:
    before = written(None, [a_finding()], "until spring", until=date(2026, 2, 28))
    (kept,) = parse_baseline(written(before, [a_finding()], "for good", today=date(2026, 2, 28)))
    (renewed,) = parse_baseline(written(before, [a_finding()], "for good", today=TODAY))
    (ended,) = parse_baseline(written(before, [], "for good", today=TODAY))
    assert (kept.reason, renewed.reason, renewed.until, ended.reason) == (
        "until spring",
        "for good",
        None,
        "until spring",
    )


def test_a_file_that_cannot_be_read_is_not_written_over() -> None:
    with pytest.raises(BaselineInvalid, match="not JSON"):
        written("{", [a_finding()], "meant so")


def test_a_reason_is_needed() -> None:
    with pytest.raises(BaselineInvalid, match="say why the finding may stand"):
        written(None, [a_finding()], " \n")


def test_it_does_not_grow_without_bound() -> None:
    many = [a_finding(fingerprint=str(number)) for number in range(MOST_ENTRIES)]
    full = written(None, many, "legacy")
    assert len(parse_baseline(full)) == MOST_ENTRIES
    with pytest.raises(BaselineInvalid, match="takes no more than"):
        written(full, [a_finding(fingerprint="one more")], "legacy")


@given(file=st.text(max_size=50), rule=st.text(max_size=50), reason=st.text(min_size=1, max_size=50))
def test_whatever_is_accepted_the_file_can_be_kept_and_read(file: str, rule: str, reason: str) -> None:
    finding = a_finding(file=file, rule=rule)
    if not reason.strip():
        return
    text = written(None, [finding], reason)
    assert accepted(parse_baseline(text.encode("utf-8")), TODAY) == {finding.fingerprint: " ".join(reason.split())}


def test_lone_surrogates_do_not_make_a_file_that_cannot_be_saved() -> None:
    text = written(None, [a_finding(file="\ud800.py", rule="own:" + "x" * 500)], "an odd name")
    (read,) = parse_baseline(text.encode("utf-8"))
    assert (read.file, len(read.rule)) == ("\\ud800.py", 200)
    with pytest.raises(BaselineInvalid, match="`reason`"):
        written(None, [a_finding()], "odd \udc80 word")
