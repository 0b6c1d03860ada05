"""The acceptance criteria in a description. Pure; in and out is Markdown.

They are the list under a heading (or a line in bold) "Acceptance criteria"; without one, a check list.
"""

from __future__ import annotations

import re

_HEADING = re.compile(r"^\\?(#{1,6})[ \t]+(.*?)[ \t#]*$")
_BOLD = re.compile(r"^\*\*(.+?)\*\*:?$|^([^*\n]{1,60}):$")
_FENCE = re.compile(r"^(?:[-*>\d.) \t]*)(`{3,}|~{3,})")
_ITEM = re.compile(r"^(?P<indent>[ \t]*)(?:[-*+]|\d{1,9}[.)])[ \t]+(?P<box>\\?\[[ xX]\\?\][ \t]+)?(?P<text>.*)$")
_CRITERIA = re.compile(r"[\W_]*acceptance\s+criteri(?:a|on)[\W_]*", re.IGNORECASE)
_ALIKE = re.compile(r"^(?:AC|akzeptanzkriterien|crit[eè]res d.acceptation|definition of done)\W*$", re.IGNORECASE)


def split(text: str) -> tuple[str, list[str]]:
    """The description without its criteria, and the criteria. A section that holds more than a list stays in both."""
    lines = text.split("\n")
    in_code = _code_lines(lines)
    for index, line in enumerate(lines):
        level = 0 if in_code[index] else _level(line, only_criteria=True)
        if not level:
            continue
        end = next(
            (at for at in range(index + 1, len(lines)) if not in_code[at] and _ends(lines[at], level)), len(lines)
        )
        found, only_a_list = items("\n".join(lines[index + 1 : end]))
        if found:
            kept = lines if not only_a_list else [*lines[:index], *lines[end:]]
            return _tidy(kept), found
    boxes = [_ITEM.match(line) for index, line in enumerate(lines) if not in_code[index]]
    return text, [match["text"].strip() for match in boxes if match and match["box"] and match["text"].strip()]


def items(text: str) -> tuple[list[str], bool]:
    """The items of a list (what is nested joins its parent; without a list, each paragraph), and if that was all."""
    found: list[str] = []
    only_a_list = True
    for line in text.split("\n"):
        match = _ITEM.match(line)
        nested = line[:1] in (" ", "\t") and bool(found)
        if match and not nested:
            found.append(match["text"].strip())
        elif nested and line.strip():
            found[-1] = f"{found[-1]} {(match['text'] if match else line).strip()}".strip()
        elif line.strip():
            only_a_list = False
    if not found and not only_a_list:
        paragraphs = re.split(r"\n\s*\n|\\\n", text.strip())
        return [" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip()], True
    return [item for item in found if item], only_a_list


def _level(line: str, *, only_criteria: bool) -> int:
    """1 to 6 for a heading, 7 for a line in bold that stands for one, 0 for neither."""
    if len(line) > 300:
        return 0
    heading = _HEADING.match(line)
    bold = None if heading else _BOLD.match(line.strip().removesuffix("\\"))
    title = heading[2] if heading else (bold[1] or bold[2]) if bold else ""
    if not title or (only_criteria and not (_CRITERIA.fullmatch(title) or _ALIKE.match(title.strip("*: ")))):
        return 0
    return len(heading[1]) if heading else 7


def _ends(line: str, level: int) -> bool:
    found = _level(line, only_criteria=False)
    return 0 < found <= level


def _code_lines(lines: list[str]) -> list[bool]:
    """Which lines stand in a fenced code block, its fences included."""
    found: list[bool] = []
    fence = ""
    for line in lines:
        mark = _FENCE.match(line)
        found.append(bool(fence) or mark is not None)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
    return found


def _tidy(lines: list[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
