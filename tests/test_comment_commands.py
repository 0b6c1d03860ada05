"""Which comments are commands, and which only look like one."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdlc.comment_commands import LONGEST, WORD, Command, Verb, parse
from sdlc.integrations.jira import adf, wiki


@pytest.mark.parametrize(
    ("body", "verb", "text"),
    [
        ("/sdlc start", Verb.START, ""),
        ("/SDLC Status", Verb.STATUS, ""),
        ("  /sdlc pause", Verb.PAUSE, ""),
        ("/sdlc\u00a0resume", Verb.RESUME, ""),
        ("/sdlc start.", Verb.START, ""),
        ("/sdlc status?\n\nThanks!", Verb.STATUS, "Thanks!"),
        ("Please.\n\n/sdlc cancel it is not needed", Verb.CANCEL, "it is not needed"),
        ("/sdlc retry\r\nwith Decimal\r\n\r\n- and a test", Verb.RETRY, "with Decimal\n\n- and a test"),
        ("/sdlc instruct   use `Decimal`\n```\nlog\n```", Verb.INSTRUCT, "use `Decimal`\n```\nlog\n```"),
        ("/sdlc pause\n/sdlc resume", Verb.PAUSE, "/sdlc resume"),
        ("```\n/sdlc cancel\n```\n/sdlc status", Verb.STATUS, ""),
        ("{code} is what it shows\n/sdlc status", Verb.STATUS, ""),
        ("<!-- a word of the template -->\n/sdlc status", Verb.STATUS, ""),
        ("> somebody said\n/sdlc status", Verb.STATUS, ""),
        ("/sdlc pause\\\nuntil Monday", Verb.PAUSE, "until Monday"),
    ],
)
def test_a_line_that_begins_with_the_word_is_a_command(body: str, verb: Verb, text: str) -> None:
    assert parse(body) == Command(verb, text)


@pytest.mark.parametrize("body", ["/sdlc", "/sdlc   ", "/sdlc\\\n", "/sdlc deploy", "/sdlc merge now", "/sdlc 启动"])
def test_what_is_spoken_to_us_and_not_known_is_told_apart_from_no_command(body: str) -> None:
    command = parse(body)
    assert command is not None
    assert command.verb is None


@pytest.mark.parametrize(
    "body",
    [
        "",
        "Write /sdlc start to begin.",
        "/sdlcx start",
        "/sdlc-start",
        "/sdlc/workflow.py is broken",
        "/sdlc: start",
        "//sdlc start",
        "/ſdlc start",
        "/s\u200bdlc start",
        "/ sdlc start",
        "`/sdlc start`",
        "- /sdlc start",
        "* /sdlc start",
        "1. /sdlc start",
        "- to begin:\n  /sdlc start",
        "**/sdlc start**",
        "*/sdlc start*",
        "> /sdlc start",
        ">/sdlc start",
        "bq. /sdlc start",
        "| /sdlc start |",
        "# /sdlc start",
        "    /sdlc start",
        "Text.\n    /sdlc start",
        "```\n/sdlc start\n```",
        "```sh\n/sdlc start",
        "~~~\n```\n/sdlc start\n~~~",
        "````\n```\n/sdlc start\n````",
        "- ```\n/sdlc start\n  ```",
        "{code:sh}\n/sdlc start\n{code}",
        "{noformat}\n/sdlc start\n{noformat}",
        "{quote}\n/sdlc start\n{quote}",
        "<pre>\n/sdlc start\n</pre>",
        "<blockquote>\n/sdlc start\n</blockquote>",
        "<!--\n/sdlc start\n-->",
        "<!-- write\n/sdlc start\n",
    ],
)
def test_code_quotations_lists_and_other_words_are_no_command(body: str) -> None:
    assert parse(body) is None


@pytest.mark.parametrize("to_markdown", [adf, wiki])
def test_what_jira_makes_of_a_comment_is_understood(to_markdown: object) -> None:
    cloud = {
        "type": "doc",
        "content": [
            {
                "type": "paragraph",
                "content": [
                    {"type": "text", "text": "/sdlc retry"},
                    {"type": "hardBreak"},
                    {"type": "text", "text": "keep round_half_up"},
                ],
            }
        ],
    }
    body = adf.to_markdown(cloud) if to_markdown is adf else wiki.to_markdown("/sdlc retry\r\nkeep round_half_up")
    command = parse(body)
    assert command is not None
    assert command.verb is Verb.RETRY
    assert command.text.replace("\\", "") == "keep round_half_up"


@pytest.mark.parametrize(
    "quoted",
    [
        "{quote}\r\n/sdlc cancel\r\n{quote}",
        "{code}\r\n/sdlc cancel\r\n{code}",
        "{noformat}/sdlc cancel{noformat}",
        "bq. /sdlc cancel",
        "* /sdlc cancel",
        "*/sdlc cancel*",
        "{panel}\r\n/sdlc cancel\r\n{panel}",
    ],
)
def test_wiki_markup_that_quotes_a_command_gives_none_read_either_way(quoted: str) -> None:
    assert parse(wiki.to_markdown(quoted)) is None
    if not quoted.startswith("{panel"):
        assert parse(quoted) is None


def test_a_text_is_cut_at_what_a_run_takes_and_the_cut_is_known() -> None:
    command = parse("/sdlc instruct " + "x" * LONGEST)
    assert command is not None
    assert command.cut
    assert len(command.text) <= LONGEST
    assert parse("x" * (LONGEST + 1) + "\n/sdlc start") is None
    assert parse("/sdlc instruct short") == Command(Verb.INSTRUCT, "short", cut=False)


@given(
    st.text(alphabet=st.sampled_from("/sdlcSDLCſ \n\r\t>`~{}<!-pre*\\\u200b\u00a0x:quote"), max_size=200) | st.text()
)
@example("/sdlc\x0bstart")
def test_no_text_makes_it_fail_and_none_without_the_word_is_a_command(body: str) -> None:
    command = parse(body)
    assert command is None or WORD in body.lower()


@given(st.text())
def test_a_command_keeps_to_its_verb_whatever_follows(text: str) -> None:
    command = parse(f"/sdlc instruct {text}")
    assert command is not None
    assert command.verb is Verb.INSTRUCT
    assert len(command.text) <= LONGEST


@pytest.mark.parametrize(
    "line", ["{code:x}", "```", "~~~x", "<pre>", "/sdlcx", "> /sdlc", "- ```", "{quote}", "<!--", "{code}{code}"]
)
def test_a_comment_as_long_as_it_can_be_costs_little(line: str) -> None:
    body = (line + "\n") * (LONGEST // (len(line) + 1)) + "/sdlc start"
    started = time.thread_time()
    parse(body)
    assert time.thread_time() - started < 1.5


def test_a_comment_of_nothing_but_lines_costs_no_more_than_its_length() -> None:
    for body in (
        "\n" * 65_000 + "/sdlc status",
        "a" + "\n" * 65_000 + "/sdlc status",
        "\u200b" + "\n" * 3_990 + "/sdlc x",
    ):
        began = time.perf_counter()
        assert parse(body) is not None
        assert time.perf_counter() - began < 2
