"""Jira Cloud's documents to and from Markdown, whatever is sent as one."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sdlc.integrations.jira import adf, adf_markdown
from tests.fakes import jira_text

Node = dict[str, Any]


def doc(*content: Node) -> Node:
    return {"version": 1, "type": "doc", "content": list(content)}


def text(words: str, *marks: str, href: str = "") -> Node:
    made: list[Node] = [{"type": mark} for mark in marks]
    made += [{"type": "link", "attrs": {"href": href}}] if href else []
    return {"type": "text", "text": words, **({"marks": made} if made else {})}


def node(kind: str, *content: Node, **attrs: Any) -> Node:
    return {"type": kind, **({"attrs": attrs} if attrs else {}), "content": list(content)}


def paragraph(*content: Node | str) -> Node:
    return node("paragraph", *(text(part) if isinstance(part, str) else part for part in content))


def item(words: str, *more: Node) -> Node:
    return node("listItem", paragraph(words), *more)


# --- to Markdown -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        (node("heading", text("Rounding"), level=2), "## Rounding"),
        (paragraph("a ", text("b", "strong"), " ", text("c", "em"), " ", text("d", "strike")), "a **b** *c* ~~d~~"),
        (paragraph(text("x = 1", "code")), "`x = 1`"),
        (paragraph(text("a`b", "code")), "``a`b``"),
        (paragraph(text("both ", "strong", "em"), "plain"), "***both*** plain"),
        (paragraph(text("docs", href="https://a.example/x y")), "[docs](https://a.example/x%20y)"),
        (paragraph("one", {"type": "hardBreak"}, "two"), "one\\\ntwo"),
        (node("bulletList", item("one", node("bulletList", item("in it"))), item("two")), "- one\n  - in it\n- two"),
        (node("orderedList", item("three"), item("four"), order=3), "3. three\n4. four"),
        (
            node(
                "taskList",
                node("taskItem", text("open"), state="TODO", localId="1"),
                node("taskItem", text("did"), state="DONE", localId="2"),
            ),
            "- [ ] open\n- [x] did",
        ),
        (node("codeBlock", text("a\n```\nb"), language="python"), "````python\na\n```\nb\n````"),
        (node("panel", paragraph("Mind the ledger."), panelType="warning"), "> **Warning**\n>\n> Mind the ledger."),
        (node("blockquote", paragraph("said")), "> said"),
        ({"type": "rule"}, "---"),
        (
            node(
                "table",
                node("tableRow", node("tableHeader", paragraph("in")), node("tableHeader", paragraph("out"))),
                node("tableRow", node("tableCell", paragraph("a|b"))),
            ),
            "| in | out |\n| --- | --- |\n| a\\|b |  |",
        ),
        (paragraph({"type": "mention", "attrs": {"id": "5", "text": "@Maria"}}, " look"), "@Maria look"),
        (paragraph({"type": "mention", "attrs": {"id": "5:ab"}}), "@5:ab"),
        (paragraph({"type": "emoji", "attrs": {"shortName": ":tada:", "text": "🎉"}}), "🎉"),
        (paragraph({"type": "date", "attrs": {"timestamp": "1777593600000"}}), "2026-05-01"),
        (paragraph({"type": "status", "attrs": {"text": "BLOCKED", "color": "red"}}), "**BLOCKED**"),
        (
            paragraph({"type": "inlineCard", "attrs": {"url": "https://a.example/1"}}),
            "[https://a.example/1](https://a.example/1)",
        ),
        (node("mediaSingle", {"type": "media", "attrs": {"id": "9", "alt": "shot.png"}}), "(attachment: shot.png)"),
        (node("expand", paragraph("inside"), title="More"), "**More**\n\ninside"),
        (node("somethingNew", paragraph("still read")), "still read"),
        ({"type": "extension", "attrs": {"text": "a macro"}}, "a macro"),
        (paragraph({"type": "newInline", "content": [text("seen")]}), "seen"),
    ],
)
def test_what_people_use_is_markdown(block: Node, shown: str) -> None:
    assert adf.to_markdown(doc(block)) == shown


@pytest.mark.parametrize("words", ["# no heading", "- no item", "1. no item", "> no quote", "*not bold*", "`no code`"])
def test_a_text_stays_what_it_says(words: str) -> None:
    markdown = adf.to_markdown(doc(paragraph(words)))

    assert adf.from_markdown(markdown) == doc(paragraph(words))


def test_a_blank_line_keeps_paragraphs_of_one_item_apart() -> None:
    shown = adf.to_markdown(doc(node("bulletList", node("listItem", paragraph("a"), paragraph("b")))))

    assert shown == "- a\n\n  b"


# --- wild input ------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=8), inside, max_size=4),
    max_leaves=12,
)
KINDS = [*adf_markdown._INLINE, *adf_markdown._LISTS, *adf_markdown._MEDIA]
KINDS += ["doc", "paragraph", "heading", "listItem", "taskItem", "codeBlock", "blockquote", "panel", "table"]
KINDS += ["tableRow", "tableCell", "tableHeader", "mediaSingle", "rule", "expand", "blockCard", "new"]
ATTRIBUTES = ["level", "order", "text", "url", "title", "timestamp", "state", "language", "alt", "id", "panelType"]
NODES = st.recursive(
    JSON,
    lambda inside: st.fixed_dictionaries(
        {"type": st.sampled_from(KINDS) | JSON},
        optional={
            "text": st.text(max_size=20) | JSON,
            "content": st.lists(inside, max_size=4) | JSON,
            "attrs": st.dictionaries(st.sampled_from(ATTRIBUTES), JSON, max_size=3) | JSON,
            "marks": st.lists(
                st.fixed_dictionaries({"type": st.sampled_from(["strong", "code", "link", "em", "x"]) | JSON})
                | st.fixed_dictionaries({"type": st.just("link"), "attrs": st.dictionaries(st.just("href"), JSON)}),
                max_size=3,
            )
            | JSON,
        },
    ),
    max_leaves=20,
)


@given(NODES)
@settings(max_examples=400, deadline=None)
def test_nothing_that_is_sent_as_a_document_raises(sent: Any) -> None:
    assert isinstance(adf.to_markdown(sent), str)
    assert "\n" not in adf.plain_text(sent)


@given(st.text(max_size=300) | st.text(alphabet="*_`[]()<>!|-#\n 1.ax~", max_size=200))
@settings(max_examples=400, deadline=None)
def test_every_text_becomes_a_document_that_jira_takes(markdown: str) -> None:
    made = adf.from_markdown(markdown)

    assert jira_text.is_document(made)
    json.dumps(made).encode()
    kinds = {found["type"] for found in _all(made)}
    assert not kinds & {"mention", "media", "extension", "inlineExtension"}


@given(st.text(alphabet="*_`[]()<>!|-#\n 1.ax~>\\&;=+@:", max_size=120))
@settings(max_examples=400, deadline=None)
def test_text_survives_the_way_there_and_back(words: str) -> None:
    sent = adf.plain_document(words)
    back = adf.from_markdown(adf.to_markdown(sent))

    assert "".join(adf.plain_text(back).split()) == "".join(adf.plain_text(sent).split())


WORDS = (
    st.text(alphabet="abc xyz_*`|#-.1", min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda words: re.search("[a-z]", words) is not None)
)
BLOCKS = st.recursive(
    st.one_of(
        WORDS.map(paragraph),
        st.tuples(WORDS, st.integers(1, 6)).map(lambda found: node("heading", text(found[0]), level=found[1])),
        WORDS.map(lambda words: {**node("codeBlock", text(words)), "attrs": {}}),
    ),
    lambda inside: st.lists(st.tuples(WORDS, st.none() | inside), min_size=1, max_size=3).map(
        lambda items: node(
            "bulletList",
            *(item(words, *([below] if below and below["type"] == "bulletList" else [])) for words, below in items),
        )
    ),
    max_leaves=6,
)


@example([node("heading", text("a #"), level=1)])
@given(st.lists(BLOCKS, min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_a_document_comes_back_as_it_was(blocks: list[Node]) -> None:
    apart = [part for block in blocks for part in (block, {"type": "rule"})]  # two lists in a row would be one

    assert adf.from_markdown(adf.to_markdown(doc(*apart))) == doc(*apart)


def _all(root: Node) -> list[Node]:
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].get("content", [])
    return found


# --- bounds ----------------------------------------------------------------------------------


def test_a_document_of_any_depth_is_read_in_bounded_time() -> None:
    deep = paragraph("the bottom")
    for _ in range(20_000):
        deep = node("blockquote", deep)
    started = time.thread_time()
    shown = adf.to_markdown(doc(deep))

    assert "the bottom" in shown
    assert time.thread_time() - started < 5


def test_a_document_of_megabytes_is_bounded_and_said_to_be_cut() -> None:
    started = time.thread_time()
    shown = adf.to_markdown(doc(*(paragraph("word " * 2_000) for _ in range(300))))

    assert len(shown) <= adf_markdown.MAX_CHARACTERS + 10
    assert shown.endswith("…")
    assert time.thread_time() - started < 10


@pytest.mark.parametrize("part", ["*a ", "[", "> ", "- ", "`", "<", "*_", "\n- a", "|a"])
def test_a_megabyte_of_markdown_takes_bounded_time(part: str) -> None:
    started = time.thread_time()
    adf.from_markdown(part * (1_000_000 // len(part)))

    assert time.thread_time() - started < 20


# --- from Markdown ---------------------------------------------------------------------------


def test_our_markdown_becomes_a_document() -> None:
    made = adf.from_markdown(
        "<!-- hidden -->\n\n**a** [b](https://x.example) `c`\n\n- [x] did\n- [ ] open\n\n```py\nx\n```"
    )

    assert made == doc(
        paragraph(text("a", "strong"), " ", text("b", href="https://x.example"), " ", text("c", "code")),
        node(
            "taskList",
            node("taskItem", text("did"), localId="1", state="DONE"),
            node("taskItem", text("open"), localId="2", state="TODO"),
            localId="tasks",
        ),
        node("codeBlock", text("x"), language="py"),
    )


def test_a_text_calls_nobody_and_loads_nothing() -> None:
    made = adf.from_markdown("@maria ![shot](https://x.example/a.png) [x](javascript:alert(1)) <img src=x>")

    assert {found["type"] for found in _all(made)} == {"doc", "paragraph", "text"}
    assert "javascript" not in json.dumps([found.get("marks") for found in _all(made)])
    assert "<img src=x>" in adf.plain_text(made)


def test_a_list_item_holds_only_what_jira_takes_in_one() -> None:
    made = adf.from_markdown("- # heading\n- > quote\n- - nested\n- [ ] a\n  - [ ] b\n\n> # in a quote")

    items = [found for found in _all(made) if found["type"] in ("listItem", "blockquote")]
    assert items
    for found in items:
        assert {child["type"] for child in found["content"]} <= {"paragraph", "bulletList", "orderedList", "codeBlock"}
        assert found["content"][0]["type"] in ("paragraph", "codeBlock")
