"""OpenAI's responses and Anthropic's messages, by way of chat completions: requests become those, and answers are made
of theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sdlc.demo.conversation import ChatRequest, text_of
from sdlc.demo.wire import chunks_of

Body = dict[str, Any]


@dataclass(frozen=True)
class Spoken:
    """A wire, seen from chat completions."""

    chat: Callable[[Body], Body]
    """A request's body as that of a chat completion."""
    answer: Callable[[ChatRequest, Body], Body]
    """The body of the answer, of a completion's."""
    stream: Callable[[ChatRequest, Body], Iterator[str]]
    """The same as the lines of a stream."""
    error: Callable[[Body], Body]
    """The body of an error, of OpenAI's."""


class _Conversation:
    """Messages of a chat completion, made of pieces: those of one answer become one message."""

    def __init__(self) -> None:
        self.messages: list[Body] = []

    def say(self, role: str, content: Any) -> None:
        text = (
            content if isinstance(content, str) else "\n".join(text_of({"content": [part]}) for part in content or ())
        )
        last = self.messages[-1] if self.messages else {}
        if role == "assistant" == last.get("role"):
            last["content"] = f"{last['content']}{text}"
        else:
            self.messages.append({"role": role, "content": text})

    def call(self, identity: str, name: str, arguments: str) -> None:
        """Some programs put the output of a call before the next call of the same answer; our ids tell."""
        answer: Body = next((message for message in reversed(self.messages) if message["role"] == "assistant"), {})
        calls = answer.get("tool_calls") or ()
        of_answer = identity.rpartition("_")[0]
        same = bool(of_answer) and any(call["id"].rpartition("_")[0] == of_answer for call in calls)
        if not same and (not answer or answer is not self.messages[-1]):
            answer = {"role": "assistant", "content": ""}
            self.messages.append(answer)
        called = {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}
        answer.setdefault("tool_calls", []).append(called)

    def output(self, identity: str, content: Any) -> None:
        self.say("tool", content if isinstance(content, str | list) else json.dumps(content))
        self.messages[-1]["tool_call_id"] = identity


def _tool(tool: Mapping[str, Any], schema: str) -> Body:
    kind = str(tool.get("type") or "function")
    described = {"name": tool.get("name") or kind, "description": tool.get("description") or ""}
    return {"type": kind, "function": described | {"parameters": tool.get(schema) or {}}}


def _chat(body: Body, conversation: _Conversation, tools: list[Body], **more: Any) -> Body:
    kept: Body = {name: body[name] for name in ("model", "stream") if name in body}
    return {**kept, "messages": conversation.messages, **({"tools": tools} if tools else {}), **more}


def _calls(completion: Body) -> list[tuple[str, str, str]]:
    """Id, name and arguments of what a completion calls."""
    calls = completion["choices"][0]["message"].get("tool_calls") or ()
    return [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls]


def _object(text: str) -> Body:
    """Arguments as an object, whatever a script says."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"input": text}


def _events(events: Iterable[Body]) -> Iterator[str]:
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


# --- chat completions ----------------------------------------------------------------------


def _chat_stream(request: ChatRequest, completion: Body) -> Iterator[str]:
    usage = bool((request.body.get("stream_options") or {}).get("include_usage"))
    for chunk in chunks_of(completion, usage=usage):
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


# --- responses -----------------------------------------------------------------------------


def _chat_of_response(body: Body) -> Body:
    conversation = _Conversation()
    if body.get("instructions"):
        conversation.say("system", body["instructions"])
    given = body.get("input") or ()
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        identity = str(item.get("call_id") or item.get("id") or "")
        match item.get("type") or "message":
            case "message":
                conversation.say(str(item.get("role")), item.get("content"))
            case "function_call":
                conversation.call(identity, str(item.get("name")), str(item.get("arguments")))
            case "custom_tool_call":
                conversation.call(identity, str(item.get("name")), json.dumps({"input": item.get("input")}))
            case "local_shell_call":
                conversation.call(identity, "local_shell", json.dumps(item.get("action")))
            case "function_call_output" | "custom_tool_call_output" | "local_shell_call_output":
                conversation.output(identity, item.get("output"))
    tools: list[Body] = []
    for tool in body.get("tools") or ():
        parts = tool.get("tools") or () if tool.get("type") == "namespace" else (tool,)
        tools += [_tool(part, "parameters") for part in parts]
    schema = (body.get("text") or {}).get("format") or {}
    format_ = {"response_format": {"json_schema": schema}} if schema.get("schema") else {}
    return _chat(body, conversation, tools, **format_)


def _response(request: ChatRequest, completion: Body) -> Body:
    choice, used = completion["choices"][0], completion["usage"]
    cut = choice["finish_reason"] == "length"
    return {
        "id": completion["id"].replace("chatcmpl-", "resp_"),
        "object": "response",
        "created_at": completion["created"],
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "model": completion["model"],
        "output": _items(request, completion),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": used["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": used["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used["total_tokens"],
        },
    }


def _items(request: ChatRequest, completion: Body) -> list[Body]:
    said, items = completion["choices"][0]["message"], []
    kinds = {tool["function"]["name"]: tool["type"] for tool in request.body.get("tools") or ()}
    content: list[Body] = []
    if said["content"]:
        content.append({"type": "output_text", "text": said["content"], "annotations": []})
    if said["refusal"]:
        content.append({"type": "refusal", "refusal": said["refusal"]})
    if content or not said.get("tool_calls"):
        identity = completion["id"].replace("chatcmpl-", "msg_")
        items.append({"id": identity, "type": "message", "role": "assistant", "content": content})
    for call_id, name, arguments in _calls(completion):
        item: Body = {"id": call_id.replace("call_", "item_"), "call_id": call_id}
        match kinds.get(name):
            case "custom":
                given = _object(arguments).get("input")
                text = given if isinstance(given, str) else arguments
                items.append(item | {"type": "custom_tool_call", "name": name, "input": text})
            case "local_shell":
                action = {"type": "exec", "env": {}, **_object(arguments)}
                items.append(item | {"type": "local_shell_call", "action": action})
            case _:
                items.append(item | {"type": "function_call", "name": name, "arguments": arguments})
    return [item | {"status": "completed"} for item in items]


def _response_stream(request: ChatRequest, completion: Body) -> Iterator[str]:
    events = enumerate(_response_events(_response(request, completion)))
    return _events(event | {"sequence_number": number} for number, event in events)


def _response_events(response: Body) -> Iterator[Body]:
    begun = response | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        blank: Body = {"status": "in_progress"} | ({"content": []} if item["type"] == "message" else {})
        field, name = {"custom_tool_call": ("input", "custom_tool_call_input")}.get(
            item["type"], ("arguments", "function_call_arguments")
        )
        typed = item.get(field)
        yield {
            "type": "response.output_item.added",
            "output_index": index,
            "item": item | blank | ({} if typed is None else {field: ""}),
        }
        for number, part in enumerate(item.get("content", ())):
            yield from _part_events(place | {"content_index": number}, part)
        if typed is not None:
            for piece in _halves(typed):
                yield {"type": f"response.{name}.delta", **place, "delta": piece}
            yield {"type": f"response.{name}.done", **place, field: typed}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{response['status']}", "response": response}


def _part_events(place: Body, part: Body) -> Iterator[Body]:
    kind = part["type"]
    field = "refusal" if kind == "refusal" else "text"
    more: Body = {} if kind == "refusal" else {"logprobs": []}
    yield {"type": "response.content_part.added", **place, "part": part | {field: ""}}
    for line in part[field].splitlines(keepends=True):
        yield {"type": f"response.{kind}.delta", **place, "delta": line, **more}
    yield {"type": f"response.{kind}.done", **place, field: part[field], **more}
    yield {"type": "response.content_part.done", **place, "part": part}


# --- messages ------------------------------------------------------------------------------


def _chat_of_message(body: Body) -> Body:
    conversation = _Conversation()
    if body.get("system"):
        conversation.say("system", body["system"])
    for message in body.get("messages") or ():
        role, content = str(message.get("role")), message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
        texts = [block for block in blocks if block.get("type") == "text"]
        for block in blocks:
            if block.get("type") == "tool_result":
                conversation.output(str(block.get("tool_use_id")), block.get("content") or "")
        if texts or role == "assistant":
            conversation.say(role, texts)
        for block in blocks:
            if block.get("type") == "tool_use":
                arguments = json.dumps(block.get("input"))
                conversation.call(str(block.get("id")), str(block.get("name")), arguments)
    return _chat(body, conversation, [_tool(tool, "input_schema") for tool in body.get("tools") or ()])


_STOPPED = {"length": "max_tokens", "tool_calls": "tool_use"}


def _message(request: ChatRequest, completion: Body) -> Body:
    choice, used = completion["choices"][0], completion["usage"]
    said = choice["message"]
    text = said["content"] or said["refusal"]
    content: list[Body] = [{"type": "text", "text": text}] if text else []
    for identity, name, arguments in _calls(completion):
        content.append({"type": "tool_use", "id": identity, "name": name, "input": _object(arguments)})
    return {
        "id": completion["id"].replace("chatcmpl-", "msg_"),
        "type": "message",
        "role": "assistant",
        "model": completion["model"],
        "content": content,
        "stop_reason": "refusal" if said["refusal"] else _STOPPED.get(choice["finish_reason"], "end_turn"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": used["prompt_tokens"],
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": used["completion_tokens"],
        },
    }


def _message_stream(request: ChatRequest, completion: Body) -> Iterator[str]:
    arguments = {identity: text for identity, _, text in _calls(completion)}
    return _events(_message_events(_message(request, completion), arguments))


def _message_events(message: Body, arguments: Mapping[str, str]) -> Iterator[Body]:
    used = message["usage"]
    begun = {"content": [], "stop_reason": None, "usage": used | {"output_tokens": 1}}
    yield {"type": "message_start", "message": message | begun}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        is_text = block["type"] == "text"
        blank: Body = {"text": ""} if is_text else {"input": {}}
        yield {"type": "content_block_start", "index": index, "content_block": block | blank}
        # Arguments go as the script has them, JSON or not.
        for piece in block["text"].splitlines(keepends=True) if is_text else _halves(arguments[block["id"]]):
            delta = {"type": "text_delta", "text": piece}
            if not is_text:
                delta = {"type": "input_json_delta", "partial_json": piece}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": used["output_tokens"]}}
    yield {"type": "message_stop"}


def _message_error(error: Body) -> Body:
    said = error["error"]
    return {"type": "error", "error": {"type": said["code"], "message": said["message"]}}


COUNT_TOKENS = "/v1/messages/count_tokens"
_CHAT = Spoken(lambda body: body, lambda _, completion: completion, _chat_stream, lambda error: error)
_RESPONSES = Spoken(_chat_of_response, _response, _response_stream, lambda error: error)
_MESSAGES = Spoken(_chat_of_message, _message, _message_stream, _message_error)
SPOKEN = {
    "/v1/chat/completions": _CHAT,
    "/v1/responses": _RESPONSES,
    "/v1/messages": _MESSAGES,
    COUNT_TOKENS: _MESSAGES,
}
"""By path."""
