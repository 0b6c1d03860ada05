"""Between the OpenAI wire format, which our states and histories carry, and LangChain's messages."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage, InvalidToolCall, ToolCall

Wire = dict[str, Any]
"""A message as it goes over the wire: JSON-native."""

_FENCE = re.compile(r"```[\w-]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", re.DOTALL)
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


def to_langchain(messages: Sequence[Wire]) -> list[BaseMessage]:
    """The messages of a conversation; tool calls whose arguments are not a JSON object are passed on as they are."""
    from langchain_core.messages import AIMessage, convert_to_messages

    converted: list[BaseMessage] = []
    for message in messages:
        if message.get("role") == "assistant":
            calls, invalid = split_tool_calls(message.get("tool_calls") or ())
            converted.append(
                AIMessage(content=message.get("content") or "", tool_calls=calls, invalid_tool_calls=invalid)
            )
        else:
            converted.extend(convert_to_messages([message]))
    return converted


def split_tool_calls(raw: Sequence[Mapping[str, Any]]) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """Tool calls of the wire as LangChain's valid and invalid ones.

    LangChain's own parser lets arguments pass that are JSON but no object, and then fails on them.
    """
    from langchain_core.messages.tool import invalid_tool_call, tool_call

    valid: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for number, call in enumerate(raw):
        function = call.get("function") or {}
        name, text = str(function.get("name") or ""), function.get("arguments")
        identity = str(call.get("id") or f"call_{number}")
        arguments = _object(text)
        if arguments is None:
            invalid.append(invalid_tool_call(name=name, args=str(text), id=identity, error="not a JSON object"))
        else:
            valid.append(tool_call(name=name, args=arguments, id=identity))
    return valid, invalid


def _object(text: Any) -> dict[str, Any] | None:
    if text is None or text == "":
        return {}
    try:
        value = text if isinstance(text, dict) else json.loads(text, strict=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def from_langchain(message: AIMessage) -> Wire:
    """An assistant's message as JSON that can be sent again: role, content, and tool calls if there are any."""
    wire: Wire = {"role": "assistant", "content": str(message.text)}
    calls = [_call(call["name"], json.dumps(call["args"]), call["id"]) for call in message.tool_calls]
    calls += [_call(call["name"], call["args"], call["id"]) for call in message.invalid_tool_calls]
    if calls:
        wire["tool_calls"] = calls
    return wire


def _call(name: str | None, arguments: str | None, identity: str | None) -> Wire:
    return {
        "id": identity or "",
        "type": "function",
        "function": {"name": name or "", "arguments": arguments or ""},
    }


_FINISHED = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    **dict.fromkeys(("refusal", "safety", "recitation", "blocklist", "prohibited_content", "spii"), "content_filter"),
}
"""What Anthropic and Google call it, in OpenAI's words."""


def finish_reason(facts: Mapping[str, Any]) -> str:
    """Why an answer ended, in OpenAI's words, from the metadata of LangChain's message."""
    if (facts.get("prompt_feedback") or {}).get("block_reason"):
        return "content_filter"
    said = facts.get("finish_reason") or facts.get("stop_reason")
    reason = str(said or ("length" if facts.get("status") == "incomplete" else "stop")).lower()
    return _FINISHED.get(reason, reason)


def json_of(text: str) -> Any:
    """The JSON value of a model's answer, out of a code fence if it is in one.

    Raises ValueError for anything else, for NaN and for infinite numbers.
    """
    text = _THOUGHT.sub("", text).strip()
    fenced = _FENCE.findall(text)
    if fenced and not text.startswith(("{", "[")):
        if len(fenced) > 1:
            raise ValueError("more than one code block; answer with one JSON object")
        text = fenced[0].strip()
    if not text:
        raise ValueError("the answer is empty")
    try:
        return json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_number(text: str) -> float:
    raise ValueError(f"{text} is not a number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


_NOT_IN_STRICT = ("title", "default", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "pattern")
"""Keywords that endpoints with strict schemas refuse; the answer is validated against the whole schema anyway."""


def strict_schema(schema: Any) -> Any:
    """A JSON schema as strict endpoints want it: every property required, no other ones, no bounds."""
    if isinstance(schema, list):
        return [strict_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: strict_schema(value) for key, value in schema.items() if key not in _NOT_IN_STRICT}
    if isinstance(schema.get("properties"), dict):
        # The names of properties are no keywords: one may be called `title`.
        strict["properties"] = {name: strict_schema(value) for name, value in schema["properties"].items()}
        strict["required"] = list(schema["properties"])
        strict["additionalProperties"] = False
    return strict
