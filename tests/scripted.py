"""Scripts for tests: what a scripted model says, and how a known change becomes its words.

script = solve({"pkg/money.py": (before, after)}, check="python -m pytest -q")
async with ScriptedModel(script) as server:
    ModelSettings(base_url=server.base_url, name=MODEL)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from sdlc.demo.conversation import ChatRequest, Reply, Script, ToolCall, edit, say, shell, submit
from sdlc.demo.script import CLEAN
from sdlc.demo.scripted_model import MODEL, Fault, ScriptedModel

__all__ = [
    "CLEAN",
    "MODEL",
    "Fault",
    "Reply",
    "Script",
    "ScriptedModel",
    "ToolCall",
    "change_of_folders",
    "edit",
    "edits_between",
    "edits_from",
    "finding",
    "reviewed_clean",
    "say",
    "shell",
    "solve",
    "submit",
]

_BEGUN = "## What the branch holds so far"
"""Stands in the brief when the engine is called again."""
_NOTHING_MORE = say("", submit("There is nothing to add.", "Look"))

Change = Mapping[str, tuple[str, str]]
"""Path → text before (empty: the file is new) and after."""


def reviewed_clean(script: Script | None = None) -> Script:
    """A script in which no lens of any panel finds anything."""
    return (script or Script()).lens("*", CLEAN)


def finding(file: str, line: int, message: str, **more: Any) -> dict[str, Any]:
    """A lens's finding; fields that the request's schema does not know are left out."""
    return {
        "rule": "correctness",
        "severity": "major",
        "confidence": 0.9,
        "file": file,
        "line": line,
        "end_line": line,
        "message": message,
        "evidence": "",
        "suggestion": "",
        **more,
    }


def solve(change: Change, *, check: str = "", look: str = "ls", summary: str = "Solved as the ticket asks.") -> Script:
    """A script that looks, makes a known change, runs `check` and submits; the panels find nothing.

    Called again, in whatever round, the engine has nothing to add: an edit made twice would not find its place.
    """
    turns = [say("First a look.", shell(look)), say("The change.", *edits_from(change))]
    if check:
        turns.append(say("The tests.", shell(check)))
    turns.append(say("", submit(summary, "Look", "Change", "Test")))
    script = reviewed_clean().round(0, *(_unless_begun(turn) for turn in turns))
    return script.later(*[_NOTHING_MORE] * len(turns))


def _unless_begun(turn: Reply) -> Callable[[ChatRequest], Reply]:
    return lambda request: _NOTHING_MORE if _BEGUN in request.brief else turn


def edits_from(change: Change) -> tuple[ToolCall, ...]:
    """The edits that make a change."""
    return tuple(call for path, (before, after) in change.items() for call in edits_between(path, before, after))


def edits_between(path: str, before: str, after: str) -> Iterable[ToolCall]:
    """Edits, each with an `old_text` that occurs once at its time, which turn `before` into `after`."""
    if not before:
        return [edit(path, "", after)]
    text, calls = before, []
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    # From the end on, so that the line numbers of what is still to be done stay true.
    for tag, start, end, new_start, new_end in reversed(SequenceMatcher(None, old, new, autojunk=False).get_opcodes()):
        if tag == "equal":
            continue
        lines = text.splitlines(keepends=True)
        above, below = start, end
        while above == below or text.find(piece := "".join(lines[above:below])) != text.rfind(piece):
            above, below = max(0, above - 1), min(len(lines), below + 1)
        replacement = "".join([*lines[above:start], *new[new_start:new_end], *lines[end:below]])
        calls.append(edit(path, "".join(lines[above:below]), replacement))
        text = "".join([*lines[:above], replacement, *lines[below:]])
    assert text == after, f"{path}: the edits do not lead from one text to the other"
    return calls


def change_of_folders(before: Path, after: Path, *paths: str) -> Change:
    """The change between two checkouts, for the given paths."""

    def text(folder: Path, path: str) -> str:
        file = folder / path
        return file.read_text(encoding="utf-8") if file.is_file() else ""

    return {path: (text(before, path), text(after, path)) for path in paths}
