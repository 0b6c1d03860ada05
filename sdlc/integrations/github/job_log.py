"""The part that matters of a failed job's log."""

from __future__ import annotations

import re

from sdlc.untrusted import visible_text

_TIME = re.compile(r"^\ufeff?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z ?")
_COLOUR = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_ERROR = re.compile(r"^##\[error\]")
_STEP = re.compile(r"^##\[group\]Run ")
_COMMAND = re.compile(r"^##\[(?:group|endgroup|section|command|debug)\]")
_CLEANING_UP = re.compile(r"^(?:Post job cleanup\.|Cleaning up orphan processes)")
_MAX_LINE = 2_000
LAST_LINES = 400
"""Where no error is marked."""


def failing_part(log: str, *, limit: int) -> str:
    """The step that failed, from its command to its error, without time stamps and colours; at most `limit` characters.

    Where the log marks no error, its last lines. Of a part that is too long its beginning and, mostly, its end stay.
    """
    lines = [_plain(line) for line in log.splitlines()]
    errors = [index for index, line in enumerate(lines) if _ERROR.match(line)]
    if errors:
        first = errors[0]
        start = next((at for at in range(first, -1, -1) if _STEP.match(lines[at])), max(0, first - LAST_LINES))
        # Errors of the same step belong to it; the next step, or the clean-up, does not.
        after = range(first + 1, len(lines))
        end = next((at for at in after if _STEP.match(lines[at]) or _CLEANING_UP.match(lines[at])), len(lines))
        last = max(error for error in errors if error < end)
        part = lines[start : last + 1]
    else:
        ended = next((at for at, line in enumerate(lines) if _CLEANING_UP.match(line)), len(lines))
        part = lines[:ended][-LAST_LINES:] or lines[-LAST_LINES:]
    shown = [_marked(line) for line in part]
    return _within("\n".join(line for line in shown if line is not None).strip("\n"), limit)


def _plain(line: str) -> str:
    text = _COLOUR.sub("", _TIME.sub("", line)).rstrip()
    text = visible_text(text)[0]
    return text if len(text) <= _MAX_LINE else text[:_MAX_LINE] + "…"


def _marked(line: str) -> str | None:
    if _STEP.match(line):
        return "$ " + _STEP.sub("", line)
    if _ERROR.match(line):
        return "error: " + _ERROR.sub("", line)
    if line.startswith("##[warning]"):
        return "warning: " + line.removeprefix("##[warning]")
    return None if _COMMAND.match(line) else line


def _within(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = limit // 5
    first, rest = text[:head], text[head:]
    room = limit - head - 60
    left_out = len(rest) - room
    return f"{first}\n… {left_out:,} characters are left out here …\n{rest[left_out:]}"
