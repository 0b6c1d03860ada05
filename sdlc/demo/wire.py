"""Replies as the bodies of an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sdlc.demo.conversation import ChatRequest, Reply, ToolCall

CHARS_PER_TOKEN = 4
"""Near enough to what tokenisers make of English and code."""
CREATED = 1_735_689_600
"""A fixed moment: the same request has the same answer, byte for byte."""


def tokens_in(value: object) -> int:
    """About how many tokens a text or a JSON value is; at least 1."""
    text = value if isinstance(value, str) else json.dumps(value)
    return max(1, -(-len(text) // CHARS_PER_TOKEN))


def tokens_asked(request: ChatRequest) -> int:
    """About how long a request is."""
    return sum(tokens_in(part) for part in (request.messages, request.body.get("tools"), request.schema) if part)


def completion_of(request: ChatRequest, reply: Reply, refusal: str = "") -> dict[str, Any]:
    """The body of a `chat.completion`; tool calls have ids that follow from the place in the script."""
    calls = [
        {
            "id": f"call_{request.digest[:8]}_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": _arguments(call)},
        }
        for index, call in enumerate(reply.tool_calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": reply.content or None, "refusal": refusal or None}
    if calls:
        message["tool_calls"] = calls
    asked = tokens_asked(request)
    said = tokens_in(reply.content) + sum(tokens_in(call["function"]) for call in calls)
    return {
        "id": f"chatcmpl-{request.digest[:24]}",
        "object": "chat.completion",
        "created": CREATED,
        "model": request.model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": reply.finish_reason or ("tool_calls" if calls else "stop"),
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
    }


def _arguments(call: ToolCall) -> str:
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)


def chunks_of(completion: dict[str, Any], *, usage: bool) -> Iterator[dict[str, Any]]:
    """The same answer as the chunks of a stream."""
    choice = completion["choices"][0]
    message = choice["message"]
    head = {key: completion[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]}

    yield chunk({"role": "assistant", "content": ""})
    for word in (message["content"] or "").splitlines(keepends=True):
        yield chunk({"content": word})
    for index, call in enumerate(message.get("tool_calls", ())):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    if message["refusal"]:
        yield chunk({"refusal": message["refusal"]})
    yield chunk({}, choice["finish_reason"])
    if usage:
        yield {**head, "choices": [], "usage": completion["usage"]}


def error_of(message: str, code: str) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"message": message, "type": "scripted_model", "param": None, "code": code}}
