"""Commands in comments: which one a comment gives, if any. Pure.

A command is a line that begins with `/sdlc`, outside of code and quotations, so that a comment can speak about
commands, or quote one, without giving it. A list item and bold type don't begin with it either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sdlc.untrusted import visible_text

WORD = "/sdlc"
LONGEST = 65_536
"""Characters of a comment that are read, and of a command's text: what a run takes in one message."""


class Verb(StrEnum):
    START = "start"
    STATUS = "status"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    INSTRUCT = "instruct"
    CANCEL = "cancel"
    APPROVE = "approve"
    REQUEST_CHANGES = "request-changes"
    REJECT = "reject"


@dataclass(frozen=True)
class Command:
    verb: Verb | None
    """None: it is spoken to us, and we don't know the word."""
    text: str = ""
    """What follows, up to the comment's end, as people see it; at most `LONGEST` characters."""
    cut: bool = False
    """The comment is longer than what is read of it."""


def parse(body: str) -> Command | None:
    """The first command of a comment (plain text, Markdown or wiki markup); None where there is none. Never raises."""
    if WORD not in body.lower():
        return None  # also where hidden characters would have to be taken out first
    lines = visible_text(body[:LONGEST])[0].split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    for number in _lines_of_the_writer(lines):
        rest = _after_the_word(lines[number], is_first=number <= first)
        if rest is not None:
            return _command(rest, lines[number + 1 :], cut=len(body) > LONGEST)
    return None


def _after_the_word(line: str, *, is_first: bool) -> str | None:
    """What stands behind `/sdlc`; None if the line is no command."""
    if is_first and len(line) - len(line.lstrip(" ")) <= 3:
        line = line.lstrip(" ")  # further down, an indented line may belong to a list
    # Not by `casefold` or a regular expression without case: they take other letters for these as well.
    if line[: len(WORD)].lower() != WORD:
        return None
    rest = line[len(WORD) :].rstrip().removesuffix("\\").rstrip()  # a forced line break, as Jira's editors make them
    return rest if not rest or rest[0].isspace() else None


def _command(rest: str, following: list[str], *, cut: bool) -> Command:
    words = rest.split(None, 1)
    word = words[0].strip(".,;:!?").lower() if words else ""
    text = "\n".join([*words[1:], *following]).strip()
    verb = Verb(word) if word in set(Verb) else None
    return Command(verb, text[:LONGEST], cut=cut or len(text) > LONGEST)


# --- code and quotations --------------------------------------------------------------------------

_FENCE = re.compile(r"[ ]{0,3}(?:(?:[-*+]|\d{1,9}[.)])[ ]{1,4})?(?P<fence>`{3,}(?!.*`)|~{3,})")
_MACRO = re.compile(r"\s*\{(?P<name>code|noformat|quote)(?::[^}\n]{0,500})?\}", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r"[ ]{0,3}<(?P<name>pre|blockquote)\b", re.IGNORECASE | re.ASCII)


def _lines_of_the_writer(lines: list[str]) -> Iterator[int]:
    """The numbers of the lines that are in no block of code or quotation (a line of `>` is no command anyway)."""
    number = 0
    endless: set[str] = set()
    """Macros whose end is not in what is left: looked for once, so that the cost grows with the length alone."""
    while number < len(lines):
        end = _end_of_block(lines, number, endless)
        if end is None:
            yield number
        number = (number if end is None else end) + 1


def _end_of_block(lines: list[str], number: int, endless: set[str]) -> int | None:
    """The last line of the block that begins with this one; None if none does."""
    line = lines[number]
    if fence := _FENCE.match(line):
        mark = fence["fence"]
        return next((at for at in range(number + 1, len(lines)) if _closes(lines[at].strip(), mark)), len(lines))
    if macro := _MACRO.match(line):
        shut = f"{{{macro['name'].lower()}}}"
        if shut in line[macro.end() :].lower():
            return number
        if shut in endless:
            return None
        end = next((at for at in range(number + 1, len(lines)) if shut in lines[at].lower()), None)
        if end is None:
            endless.add(shut)  # it is no macro then, and shown as it was typed
        return end
    if tag := _TAG.match(line):
        shut = f"</{tag['name'].lower()}>"
        return next((at for at in range(number, len(lines)) if shut in lines[at].lower()), len(lines))
    return None


def _closes(line: str, mark: str) -> bool:
    return len(line) >= len(mark) and not line.strip(mark[0])
