"""How a known change is said to each coding program, in its own tongue.

    script = Dialect("aider", {0: edits, 1: more_edits})
    async with ScriptedModel(script) as server: ...

Everything follows from the conversation in the request: the round from the brief's line `Round: N`, what is done
already from what the program shows. Lenses and second looks go on to the demo's own script, side calls (titles,
summaries) get a harmless word, and what is left over is refused, as scripts do.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sdlc.demo.conversation import ROUND, ChatRequest, Reply, Script, ToolCall, say, text_of
from sdlc.demo.script import demo_script

Edits = Sequence[ToolCall]
"""Calls of `edit`, as `sdlc.demo.conversation.edit` and `tests.scripted.edits_from` make them."""
Speaker = Callable[[ChatRequest, Edits], Reply]

SIDE_WORD = "Work on the ticket"
DONE = "Done: the change is made as the ticket asks."
_SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"

_APPLY = """\
import base64, json, pathlib
for edit in json.loads(base64.b64decode("{edits}")):
    path = pathlib.Path(edit["path"])
    text = path.read_text() if path.is_file() else ""
    if edit["new_text"] and edit["new_text"] in text:
        print("already:", path)
        continue
    if edit["old_text"] and edit["old_text"] in text:
        text = text.replace(edit["old_text"], edit["new_text"], 1)
    elif not edit["old_text"] and not text:
        text = edit["new_text"]
    else:
        print("already:", path)
        continue
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print("changed:", path)
"""


def demo_rounds() -> dict[int, list[ToolCall]]:
    """The demo's edits: the change with its fault, and the mending of what the quality panel finds."""
    script = demo_script()
    first = [edit for turn in range(6) for edit in _edits_of(script.answer(_at(0, turn)))]
    return {0: first, 1: list(_edits_of(script.answer(_at(1, 1, seen="notes: list[str] = []) -> int"))))}


def _at(number: int, turn: int, seen: str = "") -> ChatRequest:
    past: list[dict[str, Any]] = [{"role": "assistant", "content": "."}] * turn
    messages = [{"role": "user", "content": f"Round: {number}"}, *past, {"role": "tool", "content": seen}]
    return ChatRequest({"messages": messages, "tools": [{"type": "function", "function": {"name": "edit"}}]})


def _edits_of(reply: Reply) -> Edits:
    return [call for call in reply.tool_calls if call.name == "edit"]


class Dialect(Script):
    """Answers one program's requests for a known change, by round; rounds that it doesn't know are done already."""

    def __init__(self, engine: str, rounds: Mapping[int, Edits], *, panels: Script | None = None) -> None:
        super().__init__(engine)
        self.edits = rounds
        self._panels = panels or demo_script()
        self._speak = _SPEAKERS[engine]

    def answer(self, request: ChatRequest) -> Reply:
        if request.lens is not None or request.verifies is not None:
            return self._panels.answer(request)
        number = round_of(request)
        if number is None:
            return Reply(SIDE_WORD)
        return self._speak(request, self.edits.get(number, ()))


def round_of(request: ChatRequest) -> int | None:
    """Of the brief, which some programs put after messages of their own."""
    found = [
        match
        for message in request.messages
        if message.get("role") == "user"
        for match in ROUND.finditer(text_of(message))
    ]
    return int(found[-1][1]) if found else None


# --- programs with a shell ----------------------------------------------------------------


def apply_command(edits: Edits) -> str:
    """A shell command that makes the edits; those that are made already are left."""
    said = base64.b64encode(json.dumps([call.arguments for call in edits]).encode()).decode()
    return f"python3 - <<'END'\n{_APPLY.format(edits=said)}END\n"


def _with_shell(*names: str, last: Reply | None = None) -> Speaker:
    """The change in one call of the first tool that is there, then `last`."""

    def speak(request: ChatRequest, edits: Edits) -> Reply:
        tool = next((name for name in names if name in request.tools), None)
        if tool is None:
            return Reply(SIDE_WORD)  # the brief is in it, but it asks for a title
        if any(message.get("role") == "tool" for message in request.messages):
            return last or Reply(DONE)
        return say("I'll make the change.", ToolCall(tool, _arguments(request, tool, apply_command(edits))))

    return speak


def _arguments(request: ChatRequest, tool: str, command: str) -> dict[str, Any]:
    """`command` for a shell tool, with whatever else its schema requires."""
    functions = [given.get("function") or {} for given in request.body.get("tools") or ()]
    schema = next((one.get("parameters") or {} for one in functions if one.get("name") == tool), {})
    properties = schema.get("properties") or {}
    key = next((name for name in ("command", "cmd") if name in properties), "command")
    array = (properties.get(key) or {}).get("type") == "array"
    arguments: dict[str, Any] = {key: ["bash", "-c", command] if array else command}
    if "description" in schema.get("required", ()):
        arguments["description"] = "Make the change"
    return arguments


# --- aider --------------------------------------------------------------------------------


def _aider(request: ChatRequest, edits: Edits) -> Reply:
    """It asks for the files first, by naming them, which adds them to the chat; then SEARCH/REPLACE blocks."""
    whole = "\n".join(text_of(message) for message in request.messages if message.get("role") == "user")
    texts: dict[str, str] = {}
    for path in dict.fromkeys(str(_field(call, "path")) for call in edits):
        shown = re.findall(
            rf"^{re.escape(path)}\n(`{{3,}}|<[a-z]+>)\n(.*?)^(?:\1|</[a-z]+>)", whole, re.MULTILINE | re.DOTALL
        )
        if shown:
            texts[path] = shown[-1][1]
    old = [str(_field(call, "path")) for call in edits if _field(call, "old_text")]
    missing = sorted({path for path in old if path not in texts})
    if missing:
        return say("I need to see these files first:\n\n" + "\n".join(f"{path}" for path in missing))
    blocks = []
    for call in edits:
        path, before, after = (str(_field(call, name)) for name in ("path", "old_text", "new_text"))
        text = texts.get(path, "")
        if (before and before not in text) or (not before and text):
            continue
        texts[path] = text.replace(before, after, 1) if before else after
        blocks.append(_block(path, text, before, after))
    return Reply("The change.\n\n" + "\n\n".join(blocks) if blocks else DONE)


def _field(call: ToolCall, name: str) -> Any:
    assert not isinstance(call.arguments, str)
    return call.arguments[name]


def _block(path: str, text: str, before: str, after: str) -> str:
    """The edit widened to whole lines: a part of one can't be said."""
    start = text.find(before)
    end = start + len(before)
    above = text[text.rfind("\n", 0, start) + 1 : start]
    below = "" if not before or before.endswith("\n") else text[end : text.find("\n", end) + 1]
    old, new = (above + part + below if before else part for part in (before, after))
    return f"{path}\n```\n<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n```"


_SPEAKERS: Mapping[str, Speaker] = {
    "aider": _aider,
    "goose": _with_shell("developer__shell", "shell"),
    "codex": _with_shell("exec_command", "shell_command", "shell"),
    "opencode": _with_shell("bash"),
    "claude": _with_shell("Bash"),
    "mini-swe-agent": _with_shell("bash", last=say("Submitting.", ToolCall("bash", {"command": _SUBMIT}))),
}
