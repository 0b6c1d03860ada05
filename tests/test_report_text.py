"""A review as Markdown, read by a Markdown parser as a code host reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from sdlc.domain import PanelState, Repeat, SourceReport, SourceState
from sdlc.review_graphs.report_text import LONGEST, review_text
from sdlc.review_graphs.reviewed import Reviewed, reviewed
from tests.panel_reports import HOSTILE, a_document, a_finding, a_report, a_review, a_whole_review, dropped

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
OURS = {"<details><summary>Evidence</summary>", "<details><summary>Fingerprint</summary>", "</details>"}
OURS |= {"<details><summary>What did not run, and why</summary>"}


def tokens(text: str) -> list[Token]:
    return [inner for outer in READER.parse(text) for inner in (outer, *(outer.children or []))]


def nothing_active_in(text: str) -> None:
    """Nothing but our own HTML; no link, picture, heading, task or table; mentions and addresses only in code."""
    found = tokens(text)
    html = {token.content.strip() for token in found if token.type in ("html_block", "html_inline")}
    assert html <= OURS
    assert not {token.type for token in found} & {"link_open", "image", "heading_open", "table_open", "blockquote_open"}
    words = " ".join(token.content for token in found if token.type == "text")
    assert not re.search(r"@\w|://|\w#\d", words)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e\u2066]", text)
    opened = sum(token.content.count("<details>") for token in found if token.type == "html_block")
    closed = sum(token.content.count("</details>") for token in found if token.type == "html_block")
    assert opened == closed


def hostile_review(text: str = HOSTILE) -> Reviewed:
    """Every field that comes from outside says the same."""
    finding = a_finding(rule=f"own:{text}", message=text, evidence=text, suggestion=text, file=f"{text}.py")
    others = [finding.model_copy(update={"fingerprint": name}) for name in ("waived", "gone", "moved")]
    sources = tuple(
        SourceReport(name=text, state=state, required=required, note=text)
        for state, required in ((SourceState.FAILED, True), (SourceState.NOT_RUN, False), (SourceState.OK, True))
    )
    left_out = tuple(
        dropped(kind, f"refuted: {text}", text, **finding.model_dump(mode="json"))
        for kind in ("refuted", "outside", "base", "baseline", "other")
    )
    report = a_report(finding, others[0], sources=sources, resolved=(others[1],), state=PanelState.INCOMPLETE)
    report = report.model_copy(update={"repeats": (Repeat(finding=others[2], of=text, panel=finding.panel),)})
    document = a_document(finding, others[0], left_out=left_out)
    return reviewed(report, document, waived={"waived": text})


def test_a_review_says_in_a_line_what_is_open_and_what_is_missing() -> None:
    first, *panels = review_text(a_whole_review()).split("\n\n**blocker**")[0].splitlines()
    assert first == (
        "**Review of `cccccccccc`:** 3 open findings (1 blocker, 1 major, 1 info). "
        "Not complete: techstack; a person has to decide."
    )
    assert panels[1:] == [
        "- **security**: 1 blocker, 1 info. Not run: `workflows`, `containers`.",
        "- **quality**: 1 major, 1 waived.",
        "- **techstack**: nothing found so far; not complete: `pip-audit` failed (no answer from the advisory "
        "service; run it again). Not run: `needless`, `licences`, `pins`, `versions`.",
        "- **architecture**: nothing found. Not run: `migrations`, `contracts`, `layers`.",
    ]


def test_findings_stand_worst_first_with_suggestion_and_folded_evidence() -> None:
    text = review_text(a_whole_review())
    assert re.findall(r"^\*\*(blocker|major|minor|info)\*\* `(.+?)`", text, re.MULTILINE) == [
        ("blocker", "src/parcel/billing/invoice_store.py:41"),
        ("major", "src/parcel/totals.py:3-4"),
        ("info", "scripts/data.csv:1"),
    ]
    major = text.split("**major**")[1].split("**info**")[0]
    assert "(quality, `lens:correctness/off-by-one`, still open): The last item is left out" in major
    assert "Suggestion:\n\n```text\nfor item in items:\n```" in major
    assert (
        "<details><summary>Evidence</summary>\n\n```text\nfor item in items[:-1]:\n```\n\nFingerprint: `a1b2" in major
    )
    assert "confidence 60%" in text


def test_what_the_last_round_mended_is_told_and_the_rest_only_when_asked_for() -> None:
    short, long = review_text(a_whole_review()), review_text(a_whole_review(), everything=True)
    assert "**Resolved** (1)" in short
    assert "A list is shared between calls." in short
    for words in ("**Refuted** (1)", "*Why:* `total` is set to 0 two lines above", "**There before** (1)", "PAR-7"):
        assert words not in short
        assert words in long
    assert "could not be challenged" in long


def test_a_review_that_found_nothing_is_short() -> None:
    text = review_text([a_review(sources=(SourceReport(name="ruff"),))])
    assert text == "**Review of `cccccccccc`:** no open findings.\n\n- **quality**: nothing found.\n"
    assert review_text([]) == "No panel has looked at the change yet.\n"


def test_a_document_that_is_gone_is_said() -> None:
    text = review_text([reviewed(a_report(a_finding()), trouble="Artifact `x` can't be read")])
    assert "Without evidence and what was left out: Artifact `x` can't be read." in text
    nothing_active_in(text)


def test_what_cannot_be_seen_in_code_is_made_visible() -> None:
    text = review_text(
        [a_review(a_finding(evidence="if admin\u202e:  # \u200b <!-- x -->", suggestion="a\r\n\x1b[1mb"))]
    )
    assert "if admin\\u202e:  # \\u200b <!-- x -->" in text
    nothing_active_in(text)


def test_long_evidence_is_cut_and_that_is_said() -> None:
    text = review_text([a_review(a_finding(evidence="x" * 5_000, suggestion="a\n" * 50))])
    assert "*… 3,000 more characters are left out here.*" in text
    assert text.count("\na\n") <= 4


@pytest.mark.parametrize("everything", [False, True])
def test_hostile_words_stay_words(everything: bool) -> None:
    text = review_text([hostile_review()], everything=everything)
    nothing_active_in(text)
    # A comment that nobody would see is taken out of words; in code it is shown.
    assert not any("hidden" in token.content for token in tokens(text) if token.type in ("text", "code_inline"))
    assert any("<!-- hidden -->" in token.content for token in tokens(text) if token.type == "fence")


PIECES = st.sampled_from(
    ["</details>", "<details>", "-->", "<!--", "```", "~~~", "`", "\n", "\n\n", "\r", "# x", "- [x] y", "| a |", "---",
     "@everyone", "[a](http://b)", "![a](b)", "http://c", "*", "_", "<b>", "&lt;", "x#1", "\x1b[0m", "\u202e", " "]
)  # fmt: skip


@given(st.lists(PIECES, max_size=8).map("".join))
def test_any_mixture_stays_words(text: str) -> None:
    nothing_active_in(review_text([hostile_review(text)], everything=True))


def many(number: int) -> Iterable[Reviewed]:
    findings = [a_finding(fingerprint=str(n), line=n + 1, evidence="e" * 1_500) for n in range(number)]
    left_out = tuple(dropped("base", "", rule="ruff:B006", line=n) for n in range(number))
    return [reviewed(a_report(*findings), a_document(*findings, left_out=left_out))]


@pytest.mark.parametrize("limit", [LONGEST, 5_000])
def test_a_long_review_is_cut_between_findings_and_says_how_many_are_left_out(limit: int) -> None:
    text = review_text(many(200), everything=True, limit=limit)
    assert len(text) <= limit
    (left_out,) = re.findall(r"\n\n\*… (\d+) more findings left out here\.\*\n$", text)
    assert text.count("**major**") + text.count("\n- minor") + int(left_out) == 400
    nothing_active_in(text)
