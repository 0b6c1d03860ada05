"""From the fixes of a SARIF result to the lines that should stand there instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from sdlc.review_graphs.sarif_places import Files, items, mapping, text, whole
from sdlc.untrusted import escaped_text

MOST_LINES = 4
LONGEST = 800
"""Characters of a suggestion: it is short, or none."""

Source = Callable[[str], Sequence[str]]
"""Path → the lines of the file that was analysed, without their ends; empty where they can't be had."""


def suggestion_of(result: Mapping[str, Any], path: str, lines: tuple[int, int], files: Files, source: Source) -> str:
    """What should stand in place of these lines of the file, in at most four; empty if no fix says that."""
    first, last = lines
    fixes = [mapping(fix) for fix in items(result.get("fixes"))]
    if not fixes or last - first >= MOST_LINES:
        return ""
    code = source(path)[first - 1 : last]
    # Columns count UTF-16 or characters, as the tool likes; below U+10000 both are the same.
    if len(code) != last - first + 1 or any(max(line, default="") > "\uffff" for line in code):
        return ""
    for fix in fixes:
        changes = [mapping(change) for change in items(fix.get("artifactChanges") or fix.get("fileChanges"))]
        if len(changes) != 1 or files.path(changes[0].get("artifactLocation")) != path:
            continue
        replaced = _replaced(code, first, [mapping(item) for item in items(changes[0].get("replacements"))])
        if replaced != code and _is_short(replaced):
            return "\n".join(replaced)
    return ""


def _is_short(code: Sequence[str]) -> bool:
    whole_text = "\n".join(code)
    can_be_seen = escaped_text(whole_text) == whole_text and "\r" not in whole_text
    return bool(whole_text.strip()) and len(code) <= MOST_LINES and len(whole_text) <= LONGEST and can_be_seen


def _replaced(code: Sequence[str], first: int, replacements: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """The lines with all replacements made; as they were where one reaches beyond them or into another."""
    body = "\n".join(code) + "\n"
    spans: list[tuple[int, int, str]] = []
    for replacement in replacements:
        span = _span(code, first, mapping(replacement.get("deletedRegion")))
        inserted = text(mapping(replacement.get("insertedContent")).get("text"))
        meant = _meant(body, *span, inserted) if span else None
        if meant is None:
            return code
        spans.append(meant)
    spans.sort(key=lambda span: span[:2])
    if any(before[1] > after[0] for before, after in pairwise(spans)):
        return code
    for start, end, inserted in reversed(spans):
        body = body[:start] + inserted + body[end:]
    return body[:-1].split("\n") if body.endswith("\n") else code


def _meant(body: str, start: int, end: int, inserted: str) -> tuple[int, int, str] | None:
    """What is to be replaced, and by what; None if that can't be told.

    Some tools give columns and insert whole lines all the same (semgrep does): put where they say, what stands before
    and after would be there twice.
    """
    begin = body.rfind("\n", 0, start) + 1
    finish = body.index("\n", end) if end < len(body) else end
    before, after = body[begin:start], body[end:finish]
    if start < end < len(body) and not (before or after) and body[end - 1] != "\n":
        return start, end, inserted.removesuffix("\n")  # the lines keep their own end
    if not (before or after) or not (inserted.startswith(before) and inserted.endswith(after)):
        return start, end, inserted
    return (begin, finish, inserted) if before else None


def _span(code: Sequence[str], first: int, region: Mapping[str, Any]) -> tuple[int, int] | None:
    """A region as offsets in the lines' text; None if it lies elsewhere."""
    start_line = whole(region.get("startLine"))
    end_line = whole(region.get("endLine", start_line))
    end_column = region.get("endColumn")
    if end_column is None and end_line is not None and first <= end_line < first + len(code):
        end_column = len(code[end_line - first]) + 1
    start = _offset(code, first, start_line, region.get("startColumn", 1))
    end = _offset(code, first, end_line, end_column)
    return None if start is None or end is None or end < start else (start, end)


def _offset(code: Sequence[str], first: int, line: int | None, column: Any) -> int | None:
    before = whole(column)
    if line is None or before is None or not first <= line <= first + len(code):
        return None
    at = line - first
    # One line further there is only its beginning.
    if not 1 <= before <= (len(code[at]) + 1 if at < len(code) else 1):
        return None
    return sum(len(earlier) + 1 for earlier in code[:at]) + before - 1
