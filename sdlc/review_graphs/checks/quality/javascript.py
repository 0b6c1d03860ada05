"""JavaScript and TypeScript without a parser: code without its comments and texts, and the tests that it holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

LARGEST = 400_000
"""Characters of a file that is looked into; a larger one is a product of other programs."""
LONGEST_TEST = 100_000
"""Characters in which the end of a test is looked for."""
ENDINGS = (".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs", ".mts", ".cts")

_BEFORE_REGEX = frozenset("(,=:[!&|?{};+-*%<>~^\n")
_KEYWORD = re.compile(r"\b(?:return|typeof|case|in|of|void|delete|throw|do|else|await|yield)\s*\Z")
_TEST = re.compile(
    r"(?<![\w.$])(?P<skip>x|f)?(?P<kind>it|test|describe|context|suite|specify)"
    r"(?P<how>(?:\.(?:skip|only|failing|fails|todo|concurrent|sequential|each))*)\s*(?=[(`])"
)
_QUOTES = "\"'`"


@dataclass(frozen=True)
class Block:
    """A call such as `it("adds", …)` or `describe.skip("cart", …)`."""

    kind: str
    title: str
    line: int
    is_skipped: bool
    is_focused: bool
    body: str
    """Its code without comments and texts; empty where its end was not found."""

    @property
    def is_test(self) -> bool:
        return self.kind in ("it", "test", "specify")


def is_javascript(path: str) -> bool:
    return path.endswith(ENDINGS) and not path.endswith((".d.ts", ".min.js"))


@lru_cache(maxsize=256)
def code_of(text: str) -> str:
    """The text with blanks for comments and for what stands between quotes: places stay what they are."""
    if len(text) > LARGEST:
        return ""
    result = list(text)
    at, size = 0, len(text)
    depth: list[int] = []
    """Of braces, since each `${` that is open."""

    def blank(first: int, end: int) -> None:
        for place in range(first, min(end, size)):
            if result[place] != "\n":
                result[place] = " "

    while at < size:
        char, pair = text[at], text[at : at + 2]
        if pair == "//":
            end = _found(text, "\n", at)
            blank(at, end)
        elif pair == "/*":
            end = _found(text, "*/", at + 2) + 2
            blank(at, end)
        elif char in "\"'":
            end = _end_of_quoted(text, at)
            blank(at + 1, end - 1)
        elif char == "`" or (char == "}" and depth and depth[-1] == 0):
            if char == "}":
                depth.pop()
            end = _end_of_template(text, at + 1)
            blank(at + 1, end - 1)
            if text[end - 1 : end + 1] == "${":
                depth.append(0)
                end += 1
        elif char == "/" and _starts_regex(text, at):
            end = _end_of_regex(text, at)
            blank(at + 1, end - 1)
        else:
            if depth and char in "{}":
                depth[-1] += 1 if char == "{" else -1
            end = at + 1
        at = max(end, at + 1)
    return "".join(result)


@lru_cache(maxsize=256)
def blocks(text: str) -> tuple[Block, ...]:
    """The tests and groups of tests of a file, in their order."""
    code = code_of(text)
    found = []
    for match in _TEST.finditer(code):
        opened = match.end()
        if ".each" in match["how"]:
            opened = _after_table(code, opened)
        quoted = re.compile(r"\(\s*([\"'`])").match(code, opened)
        if not quoted:
            continue
        first = quoted.end()
        last = code.find(quoted[1], first)
        how = match["how"].split(".")
        found.append(
            Block(
                kind=match["kind"],
                title=text[first : max(last, first)],
                line=text.count("\n", 0, match.start()) + 1,
                is_skipped=match["skip"] == "x" or "skip" in how,
                is_focused=match["skip"] == "f" or "only" in how,
                body=code[opened : _closing(code, opened)],
            )
        )
    return tuple(found)


def _found(text: str, what: str, at: int) -> int:
    place = text.find(what, at)
    return len(text) if place < 0 else place


def _end_of_quoted(text: str, at: int) -> int:
    """After the closing quote; a text does not go over the end of its line."""
    quote, place = text[at], at + 1
    while place < len(text) and text[place] != "\n":
        if text[place] == "\\":
            place += 1
        elif text[place] == quote:
            return place + 1
        place += 1
    return place


def _end_of_template(text: str, at: int) -> int:
    """After the closing quote, or after the `$` of a `${`."""
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "`" or text[at : at + 2] == "${":
            return at + 1
        at += 1
    return at


def _starts_regex(text: str, at: int) -> bool:
    before = text[max(0, at - 40) : at].rstrip(" \t")
    # `</div>` and `/>` of JSX are no regular expressions.
    if before.endswith("<") or text[at : at + 2] == "/>":
        return False
    return not before or before[-1] in _BEFORE_REGEX or bool(_KEYWORD.search(before))


def _end_of_regex(text: str, at: int) -> int:
    place, in_class = at + 1, False
    while place < len(text) and text[place] != "\n":
        if text[place] == "\\":
            place += 1
        elif text[place] == "[":
            in_class = True
        elif text[place] == "]":
            in_class = False
        elif text[place] == "/" and not in_class:
            return place + 1
        place += 1
    return at + 1


def _after_table(code: str, at: int) -> int:
    """After the table of an `each`."""
    if code[at : at + 1] == "`":
        # What stands between `${` and `}` is code; the last back quote before a parenthesis ends the table.
        end = re.compile(r"`\s*(?=\()").search(code, at + 1)
        return end.end() if end else at
    at = _closing(code, at)
    while code[at : at + 1].isspace():
        at += 1
    return at


def _closing(code: str, at: int) -> int:
    """After the parenthesis that closes the one at `at`; `at` where there is none."""
    depth = 0
    for place in range(at, min(len(code), at + LONGEST_TEST)):
        if code[place] in "([{":
            depth += 1
        elif code[place] in ")]}":
            depth -= 1
            if depth == 0:
                return place + 1
    return at
