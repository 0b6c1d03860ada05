"""Text from outside (tickets, models, tools, people) on its way into a Markdown document.

What is shown is what was written: nothing of it becomes a link, an image, a heading, HTML, a
mention that calls somebody, or a reference that closes an issue. Renderers look for mentions,
references and addresses in the finished text, where a backslash helps no more; those become code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sdlc.untrusted import visible_text

MAX_LINE = 60_000
"""Characters of one line; more is a file that somebody pasted."""

_TICKS = re.compile(r"`+")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[\w+-]{0,30}\s*$")
# Every repetition is bounded, so that a long line costs no more than its length.
_ACTIVE = re.compile(
    r"(?:[a-z][a-z0-9+.-]{0,30}://|www\.|(?:mailto|javascript|data|vbscript|xmpp):)"
    r"[^\s`<>\"']{0,2000}[^\s`<>\"'.,;:!?)\]}*_~|]"
    r"|[\w.+-]{0,64}@[\w./-]+"  # mentions, teams, mail addresses
    r"|(?:[\w.-]{1,60}/[\w.-]{1,60})?\#\d+"  # references to issues
    r"|\bGH-\d+",
    re.IGNORECASE,
)
_PUNCTUATION = re.compile(r"[\\`*\[\]<|~$]|&(?=\#?\w+;)")
_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BLOCK_START = re.compile(r"^(?:([=:>]|[-+](?=[-+\s]|$)|\#(?=[\#\s]|$))|(\d{1,9})([.)])(?=\s|$))")


def inline(text: str, limit: int = MAX_LINE) -> str:
    """`text` on one line as plain words; code spans stay code. `limit` in characters of the text."""
    return _inline(text, limit, in_table=False)


def cell(text: str, limit: int = MAX_LINE) -> str:
    """`text` for a table: like `inline`. An empty cell is `–`, so that it is seen to be empty on purpose."""
    return _inline(text, limit, in_table=True) or "–"


def code(text: str, limit: int = MAX_LINE) -> str:
    """`text` as a code span on one line; empty for nothing."""
    return _code(_one_line(text, limit), in_table=False)


def code_cell(text: str, limit: int = MAX_LINE) -> str:
    """`text` as a code span for a table."""
    return _code(_one_line(text, limit), in_table=True) or "–"


def quote(text: str, limit: int = MAX_LINE) -> str:
    """`text` as a block quote, line by line; `limit` in characters, the cut is said. Empty for nothing.

    Its code blocks stay code blocks, with a fence that they can't end.
    """
    shown, cut = _capped(visible_text(text)[0].strip("\n"), limit)
    lines: list[str] = []
    for block, is_code in _blocks(shown.split("\n")):
        made = fenced("\n".join(block)).split("\n") if is_code else [inline(line) for line in block]
        lines += [f"> {line}".rstrip() for line in made]
    if cut:
        lines += [">", f"> *… {cut:,} more characters are left out here.*"]
    return "\n".join(lines) if shown.strip() else ""


def fenced(text: str, limit: int = MAX_LINE) -> str:
    """`text` as a code block that it can't end; `limit` in characters, the cut is said below it."""
    shown, cut = _capped(visible_text(text)[0].strip("\n"), limit)
    longest = max((len(run) for run in _TICKS.findall(shown)), default=0)
    fence = "`" * max(3, longest + 1)
    more = f"\n\n*… {cut:,} more characters are left out here.*" if cut else ""
    return f"{fence}text\n{shown}\n{fence}{more}"


def link(text: str, url: str) -> str:
    """A link of ours to an address that a service gave us; only its text if that is not http, https or file."""
    if not re.match(r"(?:https?|file)://", url):
        return inline(text)
    return f"[{inline(text)}]({re.sub(r'[^!#-&*-;=?-Z_a-z~]', _percent, url)})"


def hidden(mark: str) -> str:
    """An HTML comment that holds `mark` and can't be ended by it. Stands on a line of its own."""
    return f"<!-- {re.sub('[<>]', '', ' '.join(mark.split()))} -->"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of finished cells; empty without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(header)} |", "|" + "---|" * len(header), *lines])


def _blocks(lines: Sequence[str]) -> Iterable[tuple[list[str], bool]]:
    """Runs of lines, and whether each is the inside of a fenced code block. One that is never closed is none."""
    block: list[str] = []
    rest = list(lines)
    while rest:
        line = rest.pop(0)
        fence = _FENCE.match(line)
        end = next((at for at, other in enumerate(rest) if fence and other.strip() == fence[1]), None)
        if end is None:
            block.append(line)
            continue
        if block:
            yield block, False
            block = []
        if any(inside.strip() for inside in rest[:end]):
            yield rest[:end], True
        del rest[: end + 1]
    if block:
        yield block, False


def _inline(text: str, limit: int, *, in_table: bool) -> str:
    parts: list[str] = []
    after_code = False
    for part, is_code in _parts(_one_line(text, limit)):
        made = _code(" ".join(part.split()), in_table=in_table) if is_code else _escaped(part)
        if not made:
            continue
        if is_code and after_code:
            parts.append(" ")  # two spans that touch would be one
        parts.append(made)
        after_code = is_code
    return _BLOCK_START.sub(lambda match: f"\\{match[1]}" if match[1] else f"{match[2]}\\{match[3]}", "".join(parts))


def _code(line: str, *, in_table: bool) -> str:
    if not line:
        return ""
    longest = max((len(run) for run in _TICKS.findall(line)), default=0)
    ticks = "`" * (longest + 1)
    pad = " " if line[0] == "`" or line[-1] == "`" else ""
    # A table takes its cells apart before it looks for code, and `\|` is what it puts together again.
    # Two backslashes before it would be one of their own in some readers, hence the blank.
    shown = line.replace("\\|", "\\ |").replace("|", "\\|") if in_table else line
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def _one_line(text: str, limit: int) -> str:
    limit = min(limit, MAX_LINE)
    line = " ".join(visible_text(text[: MAX_LINE + 1])[0].split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _capped(text: str, limit: int) -> tuple[str, int]:
    """The text within `limit` characters, cut at a line's end where that costs little, and how many are left out."""
    if len(text) <= limit:
        return text, 0
    cut = text[:limit]
    at_line = cut.rfind("\n")
    kept = cut[:at_line] if at_line > limit // 2 else cut
    return kept, len(text) - len(kept)


def _parts(line: str) -> Iterable[tuple[str, bool]]:
    """The line in its order: words, and what has to be code, with whether it has."""
    for part, is_code in _spans(line):
        if is_code:
            yield part, True
            continue
        position = 0
        for match in _ACTIVE.finditer(part):
            yield part[position : match.start()], False
            yield match[0], True
            position = match.end()
        yield part[position:], False


def _spans(line: str) -> Iterable[tuple[str, bool]]:
    """The code spans of a line and what stands between them."""
    position = 0
    opening = _TICKS.search(line)
    while opening:
        close = next((run for run in _TICKS.finditer(line, opening.end()) if len(run[0]) == len(opening[0])), None)
        if close is None:
            opening = _TICKS.search(line, opening.end())
            continue
        yield line[position : opening.start()], False
        yield line[opening.end() : close.start()], True
        position = close.end()
        opening = _TICKS.search(line, position)
    yield line[position:], False


def _escaped(text: str) -> str:
    return _UNDERSCORE.sub(r"\\_", _PUNCTUATION.sub(lambda match: f"\\{match[0]}", text))


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "replace"))
