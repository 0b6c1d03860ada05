"""The engine's conversation and the documents of a run, out of Temporal's histories and the artifact folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sdlc.activities import AGENT_GRAPH
from sdlc.engines.conversation import Message, is_instruction
from sdlc.errors import WorkspaceBroken
from sdlc.runtime.documents import is_of_model, references
from sdlc.web.gateway.asking import Asking, Past
from sdlc.web.gateway.shown import Shown
from sdlc.web.views import Conversation, Document, Engagement, ToolUse, Turn

_MOST_ENGAGEMENTS = 10
_MOST_MESSAGES = 200
"""Of one work loop; tool output counts as part of its message."""
_MOST_CHARS = 4_000
"""Of a message."""
_MOST_OUTPUT = 2_000
"""Of a tool's arguments, and of its output."""
_MODEL, _ACT = f"{AGENT_GRAPH}.model", f"{AGENT_GRAPH}.act"
_LOOP = "WorkLoopWorkflow"


async def conversation_of(asking: Asking, pasts: Sequence[Past], shown: Shown) -> Conversation:
    """What the engine was told, said and did; what can't be read is said."""
    loops = [past for past in pasts if past.kind == _LOOP]
    notes: list[str] = []
    if len(loops) > _MOST_ENGAGEMENTS:
        notes.append(f"Of {len(loops)} work loops the last {_MOST_ENGAGEMENTS} are shown.")
    notes += ["The history is too long to be read to its end."] if any(past.cut for past in pasts) else []
    found = []
    for past in reversed(loops[-_MOST_ENGAGEMENTS:]):
        name = past.workflow_id.partition("/")[2] or past.workflow_id
        try:
            messages = await _messages(asking, past)
        except WorkspaceBroken as error:
            notes.append(f"{name} can't be shown: {error}")
            messages = []
        documents, trouble = await documents_of(asking, [past])
        notes += trouble
        turns = list(_turns(messages, shown))
        found.append(
            Engagement(
                name=name,
                started=past.started,
                ended=past.ended,
                turns=tuple(turns[-_MOST_MESSAGES:]),
                left_out=max(0, len(turns) - _MOST_MESSAGES),
                documents=tuple(documents),
            )
        )
    return Conversation(engagements=tuple(found), notes=tuple(dict.fromkeys(notes)))


async def _messages(asking: Asking, past: Past) -> list[Message]:
    """All of the conversation that the agent's last model call was given, and what came after that."""
    calls = [(ended_before, payloads) for name, ended_before, payloads in past.asked if name == _MODEL]
    if not calls:
        return []
    ended_before, payloads = calls[-1]
    given = await asking.decoded(payloads)
    messages = [*_list(_inner(_list(_inner(given, "args")), "messages"))]
    for done in past.done[ended_before:]:
        if done.name in (_MODEL, _ACT):
            result = _inner(await asking.decoded(done.result), "result")
            messages += _list(result.get("messages")) if isinstance(result, dict) else []
    return [message for message in messages if isinstance(message, dict) and "role" in message]


def _inner(values: Sequence[Any], name: str) -> Any:
    return values[0].get(name) if values and isinstance(values[0], dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _turns(messages: Sequence[Message], shown: Shown) -> Iterator[Turn]:
    answers = {str(one.get("tool_call_id")): str(one.get("content") or "") for one in messages if one["role"] == "tool"}
    number = 0
    for message in messages:
        if message["role"] == "tool":
            continue
        number += 1
        text, cut = shown.part(str(message.get("content") or ""), _MOST_CHARS)
        said = {**message, "content": str(message.get("content") or "")}
        role = "model" if message["role"] == "assistant" else "person" if is_instruction(said) else "system"
        tools = tuple(_tool(call, answers, shown) for call in _list(message.get("tool_calls")))
        yield Turn(number=number, role=role, text=text, cut=cut, tools=tools)


def _tool(call: Any, answers: dict[str, str], shown: Shown) -> ToolUse:
    function = call.get("function") or {}
    arguments, less = shown.part(str(function.get("arguments") or ""), _MOST_OUTPUT)
    output, lesser = shown.part(answers.get(str(call.get("id")), ""), _MOST_OUTPUT)
    name = shown.words(str(function.get("name") or ""))
    return ToolUse(name=name, arguments=arguments, output=output, cut=less + lesser)


async def documents_of(asking: Asking, pasts: Sequence[Past]) -> tuple[list[Document], list[str]]:
    """Each document that activities of the run have written once, in that order; and what could not be read.

    Only results of activities are looked at: nobody can have a document shown by naming it in a message. The
    agent's own nodes write none, and what they say is the model's.
    """
    found: dict[str, Document] = {}
    notes: list[str] = []
    for past in pasts:
        for done in past.done:
            if is_of_model(done.name):
                continue
            try:
                values = await asking.decoded(done.result)
            except WorkspaceBroken as error:
                notes.append(str(error))
                continue
            for ref in references(values):
                found.setdefault(
                    ref.sha256,
                    Document(
                        sha256=ref.sha256,
                        name=ref.name,
                        size=ref.size,
                        media_type=ref.media_type,
                        by=done.name,
                        at=done.at,
                    ),
                )
    return sorted(found.values(), key=lambda one: (one.at is None, one.at)), list(dict.fromkeys(notes))
