"""Scripts: what a scripted model says, and the chat-completions request that it decides by."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

ROUND = re.compile(r"^Round:\s*(\d+)\s*$", re.MULTILINE)
LENS = re.compile(
    r"^You are the (?P<panel>\w+) panel of a code review\. Lens: (?P<lens>[\w-]+)\.(?:\s|$)", re.MULTILINE
)
VERIFY = re.compile(
    r"\AYou are the (?P<panel>\w+) panel of a code review\. Verify one finding of the lens (?P<lens>[\w-]+)\.$",
    re.MULTILINE,
)
HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")


@dataclass(frozen=True)
class ToolCall:
    name: str
    arguments: Mapping[str, Any] | str
    """A string is sent as it is, valid JSON or not. It is also the input of a custom tool, which takes text."""


@dataclass(frozen=True)
class Reply:
    """One assistant message."""

    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = ""
    """Empty: `tool_calls` if there are any, otherwise `stop`."""


@dataclass(frozen=True)
class AddedLine:
    """A line that a diff adds, with its number in the new file."""

    file: str
    line: int
    code: str


@dataclass(frozen=True)
class ChatRequest:
    """The body of a request, with what a script decides by. Everything follows from the conversation itself."""

    body: Mapping[str, Any] = field(repr=False)

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        return self.body.get("messages") or ()

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """The JSON schema that the answer must fit, if one was given."""
        given = (self.body.get("response_format") or {}).get("json_schema") or {}
        schema: Mapping[str, Any] | None = given.get("schema")
        return schema

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of all that are offered."""
        given = self.body.get("tools") or ()
        return tuple(str((tool.get("function") or tool.get("custom") or {}).get("name")) for tool in given)

    @cached_property
    def lens(self) -> tuple[str, str] | None:
        """Panel and lens in lower case, if this is a reviewer's request; the last word counts, after the change."""
        if self.tools or self.verifies is not None:
            return None
        whole = "\n".join(text_of(message) for message in self.messages)
        match = next(iter(reversed(list(LENS.finditer(whole)))), None)
        return (match["panel"].lower(), match["lens"].lower()) if match else None

    @cached_property
    def verifies(self) -> tuple[str, str] | None:
        """Panel and lens in lower case, if this is a second look at a finding of theirs."""
        match = VERIFY.match(self._first("system", "developer"))
        return (match["panel"].lower(), match["lens"].lower()) if match and not self.tools else None

    @property
    def is_agent(self) -> bool:
        return bool(self.tools)

    @cached_property
    def brief(self) -> str:
        """The first user message with a line `Round: N`; without any, the first. Programs put their own before it."""
        users = [text_of(message) for message in self.messages if message.get("role") == "user"]
        return next((text for text in users if ROUND.search(text)), users[0] if users else "")

    @property
    def round(self) -> int | None:
        """The number on the brief's line `Round: N`."""
        match = ROUND.search(self.brief)
        return int(match[1]) if match else None

    @property
    def turn(self) -> int:
        """How many answers the conversation already holds: killed and restarted, it is still the same."""
        return sum(1 for message in self.messages if message.get("role") == "assistant")

    @property
    def last_outputs(self) -> str:
        """What the tools said since the last answer."""
        outputs: list[str] = []
        for message in reversed(self.messages):
            if message.get("role") == "assistant":
                break
            if message.get("role") == "tool":
                outputs.append(text_of(message))
        return "\n".join(reversed(outputs))

    @property
    def calls(self) -> list[Mapping[str, Any]]:
        """The arguments of every tool call so far; those that are no JSON object are left out."""
        texts = [
            (call.get("function") or {}).get("arguments")
            for message in self.messages
            for call in message.get("tool_calls") or ()
        ]
        return [arguments for text in texts if isinstance(arguments := _parsed(text), Mapping)]

    @property
    def user_text(self) -> str:
        return "\n".join(text_of(message) for message in self.messages if message.get("role") == "user")

    @property
    def label(self) -> str:
        """For logs and errors, such as `agent round 0 turn 3` or `quality/correctness`."""
        if self.lens is not None:
            return "/".join(self.lens)
        if self.verifies is not None:
            return f"verify {'/'.join(self.verifies)}"
        if self.is_agent:
            number = "?" if self.round is None else self.round
            return f"agent round {number} turn {self.turn}"
        return "a request with neither tools nor a lens"

    @cached_property
    def digest(self) -> str:
        """Names the request by what was asked: the same digest twice is the same call made again."""
        asked = {key: self.body.get(key) for key in ("model", "messages", "tools", "response_format")}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def _first(self, *roles: str) -> str:
        return next((text_of(message) for message in self.messages if message.get("role") in roles), "")


def text_of(message: Mapping[str, Any]) -> str:
    """A message's text, whether it stands as a string or as a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content or () if isinstance(part, Mapping))


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return None


def added_lines(text: str) -> list[AddedLine]:
    """The lines that the unified diffs in a text add, in their order."""
    added: list[AddedLine] = []
    file, line, inside = "", 0, False
    for row in text.splitlines():
        if row.startswith("+++ "):
            file, inside = row[4:].strip().removeprefix("b/"), False
        elif match := HUNK.match(row):
            line, inside = int(match[1]), True
        elif inside and row.startswith("+"):
            added.append(AddedLine(file, line, row[1:]))
            line += 1
        elif inside and (row.startswith(" ") or not row):
            line += 1
        elif inside and not row.startswith(("-", "\\")):
            inside = False
    return added


def fit(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value with only those properties that a JSON schema knows; strict endpoints give no others.

    Where the schema requires a property that the value does not have, it is left blank (null, empty text, empty
    list). Raises LookupError where that is not allowed either: a number or a choice can't be blank.
    """
    return _fit(value, schema, schema)


def _fit(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    schema = _resolved(schema, root)
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [_fit(item, schema["items"], root) for item in value]
    properties = schema.get("properties")
    if not isinstance(value, Mapping) or not isinstance(properties, Mapping):
        return value
    required = schema.get("required", ())
    return {
        name: _fit(value[name], part, root) if name in value else _blank(name, part, root)
        for name, part in properties.items()
        if name in value or name in required
    }


def _blank(name: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    kinds = [_resolved(kind, root) for kind in schema.get("anyOf", (schema,))]
    types = {kind.get("type") for kind in kinds if "enum" not in kind}
    for type_, blank in (("null", None), ("string", ""), ("array", [])):
        if type_ in types:
            return blank
    raise LookupError(f"the schema requires `{name}`, which the script does not say")


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    for key in reference.removeprefix("#/").split("/"):
        root = root[key]
    return root


# --- a script -----------------------------------------------------------------------------


def shell(command: str) -> ToolCall:
    return ToolCall("shell", {"command": command})


def edit(path: str, old_text: str, new_text: str) -> ToolCall:
    """An empty `old_text` creates the file; otherwise it stands in the file exactly once."""
    return ToolCall("edit", {"path": path, "old_text": old_text, "new_text": new_text})


def plan(*steps: str, done: int = 0) -> ToolCall:
    """The plan, with its first `done` steps done."""
    states = ["done" if number < done else "todo" for number in range(len(steps))]
    return ToolCall(
        "plan", {"steps": [{"step": step, "state": state} for step, state in zip(steps, states, strict=True)]}
    )


def submit(summary: str, *plan: str) -> ToolCall:
    return ToolCall("submit", {"summary": summary, "plan": list(plan)})


def say(content: str, *tool_calls: ToolCall) -> Reply:
    return Reply(content, tool_calls)


Turn = Reply | Callable[[ChatRequest], Reply]
"""What is said in one turn, or how it follows from what the tools said before."""
LensAnswer = Mapping[str, Any] | Callable[[ChatRequest], Mapping[str, Any]]
"""The object that a lens, or a second look, answers with; what the request's schema does not know is left out."""

STANDS: Mapping[str, Any] = {"refuted": False, "why": "It happens as described.", "confidence": 0.9}
"""Answer of a second look that finds nothing against a finding."""


class Script:
    """What a model will say: turns by round for the coding agent, an object by lens for the panels.

    The whole choice rests on the conversation in the request, so that it is the same after any restart.
    """

    def __init__(self, name: str = "scripted") -> None:
        self.name = name
        self._rounds: dict[int, tuple[Turn, ...]] = {}
        self._later: tuple[Turn, ...] = ()
        self._lenses: dict[tuple[str, str], LensAnswer] = {}
        self._verifiers: dict[tuple[str, str], LensAnswer] = {}

    def round(self, number: int, *turns: Turn) -> Script:
        """The turns of one round, from `Round: 0` on."""
        self._rounds[number] = turns
        return self

    def later(self, *turns: Turn) -> Script:
        """The turns of every round from 1 on that has none of its own."""
        self._later = turns
        return self

    def lens(self, panel: str, answer: LensAnswer, lens: str = "*") -> Script:
        """The answer of a panel's lens; `*` stands for every panel or lens that has none of its own."""
        self._lenses[panel.lower(), lens.lower()] = answer
        return self

    def verify(self, panel: str, answer: LensAnswer, lens: str = "*") -> Script:
        """The answer of the second look at findings of a panel's lens; `*` as for `lens`."""
        self._verifiers[panel.lower(), lens.lower()] = answer
        return self

    def answer(self, request: ChatRequest) -> Reply:
        """The reply to a request. Raises LookupError if the script has none: nothing is ever made up."""
        if request.lens is not None:
            return _of(self._lenses, request, *request.lens)
        if request.verifies is not None:
            return _of(self._verifiers, request, *request.verifies)
        if request.is_agent:
            return self._of_round(request)
        raise LookupError("it has neither tools nor a prompt that names a panel and a lens")

    def _of_round(self, request: ChatRequest) -> Reply:
        number = request.round
        if number is None:
            raise LookupError("no user message of it has a line `Round: N`")
        turns = self._rounds.get(number, self._later if number else ())
        if request.turn >= len(turns):
            raise LookupError(f"the script has {len(turns)} turns for round {number}")
        turn = turns[request.turn]
        return turn(request) if callable(turn) else turn


def _of(answers: Mapping[tuple[str, str], LensAnswer], request: ChatRequest, panel: str, lens: str) -> Reply:
    for key in ((panel, lens), (panel, "*"), ("*", lens), ("*", "*")):
        if key in answers:
            answer = answers[key]
            value = answer(request) if callable(answer) else answer
            return Reply(json.dumps(value if request.schema is None else fit(value, request.schema)))
    raise LookupError(f"the script has no answer for {request.label}")
