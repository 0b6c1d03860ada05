"""Words to a reviewing model in places where people do not look: comments of code, and those that pages do not show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

_ABOUT_IT = re.compile(
    r"prompt|jailbreak|injection|guard|red[-_]?team|eval|bench|untrusted|sanitiz|moderation|llm|agent|claude|copilot"
    r"|cursor|skill|review|\.ai/|pull_request_template|issue_template",
    re.IGNORECASE,
)
"""Paths of what is written for models, or about them."""
_PAGES = frozenset({".md", ".mdx", ".html", ".htm", ".xml", ".svg", ".vue", ".rst", ".txt", ".svelte"})
_UNSEEN = re.compile(
    r"<!--(?P<text>.*?)(?:-->|\Z)|^\[(?://|comment)\]:\s*#(?P<reference>[^\n]*)", re.DOTALL | re.MULTILINE
)
_COMMENT = re.compile(r"(?:^|\s)(?:#|//|--|;;)+\s?(?P<line>.*)|^\s*(?:/?\*+)\s?(?P<block>.*)")

_TO = r"(?:to|for|attention:?|dear|hey|hi)\s+(?:any|all|the|every)?\s*"
_MODEL = (
    r"(?:(?:ai|llm|gpt|claude|copilot|automated|automatic|machine|ai-based)[\s-]+(?:code[\s-]+)?"
    r"(?:reviewers?|review(?:ing)?[\s-]+(?:agents?|bots?|tools?|models?|systems?)|agents?|assistants?|models?|tools?|bots?)"
    r"|language models?|llms?|review(?:ing)?[\s-]+(?:bots?|agents?|models?))"
)
_WISH = (
    r"(?:approve\b|report\s+no\b|no\s+(?:findings|issues)|(?:do\s+not|don't|never)\s+(?:report|flag|mention|raise|comment)"
    r"|skip\s+(?:this|the)\s+(?:file|review|check)|mark\s+(?:\w+\s+){0,3}(?:as\s+)?(?:safe|approved|clean|resolved)"
    r"|verdict|lgtm|consider\s+(?:this|it)\s+(?:safe|approved|reviewed)|ignore\s+(?:this|these|any|all|the)\b)"
)
_URGED = r"(?:[:.,;!?\n]\s*|\b(?:please|should|must|and|can|may|to)\s+)(?:please\s+)?"
_ASKS = (
    re.compile(rf"(?:{_TO}{_MODEL}|{_MODEL}\s*[:,]).{{0,400}}?{_URGED}{_WISH}", re.IGNORECASE | re.DOTALL),
    re.compile(
        r"\b(?:ignore|disregard|forget)\s+(?:all\s+|any\s+|your\s+|the\s+|of\s+)*(?:previous|prior|above|earlier|preceding)\s+"
        r"(?:instructions|prompts|directions|guidelines)\b",
        re.IGNORECASE,
    ),
    re.compile(r"<\|(?:im_start|system|assistant)\|>|\[/?INST\]"),
)
_QUOTES = "\"'`“‘«"


def instructions(path: str, text: str) -> Iterator[tuple[int, str]]:
    """(line, its text) of each place where a comment tells a model what to say. Nothing for what is about that."""
    if _ABOUT_IT.search(path):
        return
    for first, comment in _comments(path, text):
        for pattern in _ASKS:
            found = pattern.search(comment)
            if found and not _is_quoted(comment, found):
                line = first + comment.count("\n", 0, found.start())
                yield line, text.split("\n")[line - 1].strip()
                break


def _comments(path: str, text: str) -> Iterator[tuple[int, str]]:
    """(first line, text) of each comment; lines that follow each other are one, however a sentence is broken."""
    if PurePosixPath(path).suffix.lower() in _PAGES:
        for match in _UNSEEN.finditer(text):
            start = match.start("text") if match["text"] is not None else match.start("reference")
            yield text.count("\n", 0, start) + 1, match["text"] or match["reference"] or ""
        return
    block: list[str] = []
    first = 0
    for number, line in enumerate(text.split("\n"), 1):
        found = _COMMENT.search(line[:1_000])
        if found:
            first = first or number
            block.append(found["line"] or found["block"] or "")
        elif block:
            yield first, "\n".join(block)
            block, first = [], 0
    if block:
        yield first, "\n".join(block)


def _is_quoted(comment: str, found: re.Match[str]) -> bool:
    """Is it told about, rather than said?"""
    return comment[: found.start()].rstrip(" (")[-1:] in tuple(_QUOTES)
