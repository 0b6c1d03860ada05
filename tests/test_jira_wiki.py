"""Wiki markup of Jira Data Center to and from Markdown."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sdlc.integrations.jira import wiki


@pytest.mark.parametrize(
    ("markup", "shown"),
    [
        ("h2. Rounding", "## Rounding"),
        ("a *b* _c_ -d- {{e_f}} round_half_up", "a **b** *c* ~~d~~ `e_f` round_half_up"),
        (
            "[docs|https://a.example/x] and [https://b.example]",
            "[docs](https://a.example/x) and [https://b.example](https://b.example)",
        ),
        ("see https://a.example/x.", "see [https://a.example/x](https://a.example/x)."),
        ("[~maria] look", "@maria look"),
        ("* one\n** in it\n* two", "- one\n  - in it\n- two"),
        ("# one\n# two", "1. one\n2. two"),
        ("* [ ] open\n* [x] did", "- [ ] open\n- [x] did"),
        ("{code:java|title=A}\nint a;\n{code}", "```java\nint a;\n```"),
        ("{noformat}\n*as it is*\n{noformat}", "```\n*as it is*\n```"),
        ("{quote}\nsaid\n{quote}", "> said"),
        ("bq. said", "> said"),
        ("{panel:title=Mind}\nthe ledger\n{panel}", "> **Note**\n>\n> **Mind**\n>\n> the ledger"),
        ("{warning}no{warning}", "> **Warning**\n>\n> no"),
        ("||in||out||\n|a|b|", "| in | out |\n| --- | --- |\n| a | b |"),
        ("|[a|https://x.example]|b|", "|  |  |\n| --- | --- |\n| [a](https://x.example) | b |"),
        ("above\n----\nbelow", "above\n\n---\n\nbelow"),
        ("!shot.png|thumbnail! and [^log.txt]", "(attachment: shot.png) and (attachment: log.txt)"),
        ("one\\\\two", "one\\\ntwo"),
        ("{color:red}red{color}{anchor:sdlc-abc}", "red"),
        ("\\*not bold\\* &#92;", "\\*not bold\\* \\\\"),
        ("{code}\nnever ended", "{code}\\\nnever ended"),
        ("5 * 3 - 2", "5 \\* 3 - 2"),
    ],
)
def test_what_people_use_is_markdown(markup: str, shown: str) -> None:
    assert wiki.to_markdown(markup) == shown


@pytest.mark.parametrize(
    ("markdown", "markup"),
    [
        ("## Title", "h2. Title"),
        ("**a** *b* ~~c~~ `d` [e](https://x.example)", "*a* _b_ -c- {{d}} [e|https://x.example]"),
        ("- a\n  - b\n\n1. c", "* a\n** b\n\n# c"),
        ("```py\nx = {1}\n```", "{code:py}\nx = {1}\n{code}"),
        ("> said", "{quote}\nsaid\n{quote}"),
        ("| a | b |\n|---|---|\n| 1 |  |", "||a||b||\n|1| |"),
        ("---", "----"),
        ("<!-- hidden -->", ""),
        (
            "[~maria] and !https://x.example/a.png! {code}",
            "\\[\\~maria\\] and \\!https://x.example/a.png\\! \\{code\\}",
        ),
        ("h1. no heading", "h1&#46; no heading"),
        ("a \\\\ b", "a &#92; b"),
    ],
)
def test_markdown_becomes_markup(markdown: str, markup: str) -> None:
    assert wiki.from_markdown(markdown) == markup


@pytest.mark.parametrize(
    "markdown",
    [
        "## Title\n\nA **bold** and *it* and `code`.\n\n- one\n  - two\n- three\n\n1. a\n2. b",
        "- [ ] open\n- [x] did",
        "```python\nprint(1)\n```\n\n> said\n\n---\n\n| a | b |\n| --- | --- |\n| 1 | 2 |",
        "[text](https://x.example/a) and snake_case, 0.125 - 1, \\[\\~maria\\]",
    ],
)
def test_it_comes_back_as_it_was(markdown: str) -> None:
    assert wiki.to_markdown(wiki.from_markdown(markdown)) == markdown


@given(st.text(max_size=200) | st.text(alphabet="*_-+^~{}[]|!\\h1.bq# \nacode:?&;()", max_size=200))
@settings(max_examples=500, deadline=None)
def test_nothing_raises_and_every_word_stays(markup: str) -> None:
    shown = wiki.to_markdown(markup)
    again = wiki.from_markdown(markup)

    assert isinstance(shown, str)
    assert isinstance(again, str)


@example("# \n#")
@given(st.text(alphabet="*_-+^~{}[]|!# \nab?&;()<>`", max_size=120))
@settings(max_examples=500, deadline=None)
def test_text_on_its_way_to_jira_starts_no_macro_mention_or_image(words: str) -> None:
    from sdlc.integrations.jira import adf, wiki_reading, wiki_writing

    document = adf.plain_document(words)
    markup = wiki_writing.to_wiki(document)

    assert not re.search(r"(?<!\\)[{\[!]", markup.replace("\\\\", ""))
    back = wiki_reading.from_wiki(markup)
    assert "".join(adf.plain_text(back).split()) == "".join(adf.plain_text(document).split())


@pytest.mark.parametrize(
    "part",
    ["*a ", "[", "{{", "!", "{code}\n", "* a\n", "|a", "\n|a", "**********\n", "{quote}\n", "*_-+^~", "h1. "]
    + [f"{opening * 6_000}\n" for opening in ("[a|", "{{a", "!a", "*a ", "[~", "|a")],
)
def test_a_megabyte_takes_bounded_time(part: str) -> None:
    started = time.thread_time()
    wiki.to_markdown(part * (1_000_000 // len(part)))

    assert time.thread_time() - started < 20


def test_code_can_not_end_its_block() -> None:
    made = wiki.from_markdown("```\na {code} b {noformat} [~maria]\n```")

    assert made.count("{noformat}") == 2
    assert made.startswith("{noformat}\n")
    assert made.endswith("\n{noformat}")
