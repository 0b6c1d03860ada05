"""The coding agent's tools as the model is told of them, and what is wrong with a call before it is tried."""

from __future__ import annotations

from typing import Any

from sdlc.engines.conversation import ToolCall

READING = frozenset({"view", "search"})
"""Tools that change nothing: those of one message may run at the same time."""
WITHOUT_FILES = frozenset({"plan"})
"""Tools that need no workspace."""

_PATH = {"type": "string", "description": "Relative to the repository's root."}


def _tool(name: str, description: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS: list[dict[str, Any]] = [
    _tool(
        "plan",
        "Say how you will solve the ticket, as the first thing you do, and again when a step is done or the plan "
        "changes: always the whole list. People who watch the run see it.",
        {
            "steps": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "step": {"type": "string", "description": "One short line."},
                        "state": {"type": "string", "enum": ["todo", "done"]},
                    },
                    "required": ["step", "state"],
                },
            }
        },
        ["steps"],
    ),
    _tool(
        "shell",
        "Run a command with bash in the repository's root, in a sandbox without network, with the repository's own "
        "environment. Answers with the exit code and the output (standard output and error as one; long output is "
        "cut in the middle). Nothing keeps running after the command.",
        {"command": {"type": "string", "description": "What bash runs, such as `pytest -q tests/test_money.py`."}},
        ["command"],
    ),
    _tool(
        "view",
        "Look at a text file, with line numbers that are not part of it, or at a folder's entries. "
        "Long ones are cut in the middle; ask for a range of lines then.",
        {
            "path": {**_PATH, "description": "Relative to the repository's root; `.` for the root itself."},
            "start": {"type": "integer", "description": "First line, from 1 on; default the file's first."},
            "end": {"type": "integer", "description": "Last line; default the file's last."},
        },
        ["path"],
    ),
    _tool(
        "search",
        "Find lines in the repository's files, also in new ones; those that git ignores are left out. "
        "Answers with path, line number and line.",
        {
            "pattern": {"type": "string", "description": "A Perl-compatible regular expression, for one line."},
            "path": {"type": "string", "description": "Only there: a file, a folder, or a pattern such as `*.py`."},
            "plain": {"type": "boolean", "description": "Take the pattern as plain text."},
        },
        ["pattern"],
    ),
    _tool(
        "edit",
        "Replace one piece of a text file. `old_text` must stand in the file exactly once, with its exact white space; "
        "take enough lines around it. With an empty `old_text` a new file is made.",
        {
            "path": _PATH,
            "old_text": {"type": "string", "description": "The exact text to replace; empty for a new file."},
            "new_text": {"type": "string", "description": "What stands there afterwards; empty removes the old text."},
        },
        ["path", "old_text", "new_text"],
    ),
    _tool(
        "write",
        "Write a whole text file, a new one or in place of what is there. To change a part of a file, use `edit`.",
        {"path": _PATH, "content": {"type": "string", "description": "All that the file holds afterwards."}},
        ["path", "content"],
    ),
    _tool(
        "submit",
        "The work is complete: the ticket is solved, tests are added and pass. Ends your work.",
        {
            "summary": {
                "type": "string",
                "description": "For the reviewer: one short line of what was changed, then why and how it was tested.",
            },
            "plan": {
                "type": "array",
                "items": {"type": "string"},
                "description": "The steps that were taken, one short line each; default the plan as you kept it.",
            },
        },
        ["summary"],
    ),
]
"""The tools in the wire format."""

_PARAMETERS: dict[str, dict[str, Any]] = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}


class ToolRefused(Exception):
    """A call that can't be done; the message is the answer to the model."""


def problem_with(call: ToolCall) -> str:
    """Why a call can't be tried (unknown tool, bad arguments), as an answer to the model; empty if it can."""
    if call.name not in _PARAMETERS:
        return f"There is no tool `{call.name}`. The tools are: {', '.join(_PARAMETERS)}."
    if call.problem:
        return call.problem
    properties, required = _PARAMETERS[call.name]["properties"], _PARAMETERS[call.name]["required"]
    missing = [name for name in required if name not in call.arguments]
    if missing:
        return f"`{call.name}` was called without {', '.join(missing)}. Its parameters are: {', '.join(properties)}."
    for name, value in call.arguments.items():
        wanted = properties.get(name, {}).get("type")
        if wanted == "string" and not isinstance(value, str) and (name in required or value is not None):
            return f"`{name}` of `{call.name}` must be a string."
        if wanted == "integer" and value is not None and line_number(value) is None:
            return f"`{name}` of `{call.name}` must be a whole number from 1 on."
        if wanted == "array" and name in required and not isinstance(value, list):
            return f"`{name}` of `{call.name}` must be a list."
    return ""


def line_number(value: Any) -> int | None:
    """A number from 1 on, also where a model wrote it as a string or as 3.0; None if it is none."""
    if isinstance(value, bool):
        return None
    try:
        number = int(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return int(number) if isinstance(number, int | float) and 1 <= number < 2**53 and number == int(number) else None
