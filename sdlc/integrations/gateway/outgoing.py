"""What goes on to the endpoint of what a program asks: the conversation, and nothing that reaches further than that."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from sdlc.integrations.gateway.wires import ANTHROPIC_VERSION, Wire

_PASSED_ON = ("content-type", "accept", "anthropic-version", "anthropic-beta")
_LONGEST_HEADER = 1_000

_LOCAL_TOOLS = {
    "chat": ("function", "custom"),
    "responses": ("function", "custom", "local_shell", "apply_patch", "namespace"),
    "messages": ("custom", "bash_", "text_editor_", "memory_", "computer_"),
}
"""How the types of tools begin that the program itself runs; the endpoint runs all others, on its network."""
_FIELDS = {
    "chat": """messages frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
        metadata n parallel_tool_calls prediction presence_penalty prompt_cache_key reasoning_effort response_format
        safety_identifier seed stop store stream stream_options temperature tool_choice tools top_logprobs top_p user
        verbosity cache_control chat_template_kwargs enable_thinking guided_choice guided_grammar guided_json
        guided_regex include_reasoning min_p random_seed reasoning reasoning_format reasoning_split repeat_penalty
        repetition_penalty safe_prompt structured_outputs thinking thinking_budget tool_stream top_a top_k typical_p
        usage""",
    "responses": """input instructions context_management include max_output_tokens max_tool_calls metadata
        parallel_tool_calls prompt_cache_key reasoning safety_identifier store stream stream_options temperature text
        tool_choice tools top_k top_logprobs top_p truncation user""",
    "messages": """messages system betas cache_control context_management max_tokens metadata output_config
        output_format reasoning_effort stop_sequences stream temperature thinking tool_choice tools top_k top_p""",
}
"""What is passed on of a request: what is said, and how it is to be answered. Of the rest an endpoint may take another
model or price, fetch, run, or keep something, by a name that nobody here knows yet."""
_CONTENT = ("messages", "input", "system", "instructions", "prediction")
_MEDIA = ("file_data", "image", "video", "audio")
"""Hold the content itself, or with some endpoints an address."""
_ADDRESS = re.compile(r"\s*([a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
_MOST_OUTPUT = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_MOST_UNASKED = 8_192
_MOST_COUNTED = 1_000_000

_MOST_NESTED = 200_000
_MOST_PARTS = 300_000
"""Brackets and commas: each is up to a few hundred bytes of memory once it is read."""


class Outgoing(NamedTuple):
    """What a request becomes."""

    body: bytes
    most_output: int
    """Tokens that the answer may have, as far as the request says so."""


class Unfit(ValueError):
    """The request can't be passed on; the message says why, without its text."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def outgoing_headers(wire: Wire, given: Mapping[str, str], api_key: str) -> dict[str, str]:
    """The headers of the request to the endpoint: the real key, and what the wire needs of those that were given."""
    headers = {
        name: value
        for name in _PASSED_ON
        if (value := given.get(name, "")) and value.isascii() and len(value) <= _LONGEST_HEADER
    }
    # A compressed stream would come in lumps.
    headers |= {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "sdlc"}
    if wire == "messages":
        headers.setdefault("anthropic-version", ANTHROPIC_VERSION)
    if api_key:
        headers |= {"x-api-key": api_key} if wire == "messages" else {"authorization": f"Bearer {api_key}"}
    return headers


def outgoing_body(wire: Wire, body: bytes, model: str) -> Outgoing:
    """The request to the endpoint, for `model`.

    Tools that the endpoint would run are left out, and fields that aren't known. Raises Unfit for what is no JSON
    object, for one of too many parts, and for content that the endpoint would have to fetch.
    """
    if body.count(b"{") + body.count(b"[") > _MOST_NESTED or body.count(b",") > _MOST_PARTS:
        raise Unfit("The request has too many parts.", 413)
    try:
        asked = json.loads(body, parse_constant=_refused)
        if not isinstance(asked, dict):
            raise Unfit("The body is not a JSON object.")
        if any(_names_address(wire, asked.get(name)) for name in _CONTENT):
            raise Unfit("Images and files by URL are not passed on: send their content.")
        most = [asked[name] for name in _MOST_OUTPUT if type(asked.get(name)) is int and asked[name] > 0]
        return Outgoing(
            json.dumps(_rewritten(wire, asked, model)).encode(), min(max(most, default=_MOST_UNASKED), _MOST_COUNTED)
        )
    except Unfit:
        raise
    except (ValueError, RecursionError):
        raise Unfit("The body is not JSON.") from None


def _rewritten(wire: Wire, asked: dict[str, Any], model: str) -> dict[str, Any]:
    known = _FIELDS[wire].split()
    asked = {key: value for key, value in asked.items() if key in known} | {"model": model}
    if wire == "responses" or "store" in asked:  # by default the first keeps all; many that speak chat don't know it
        asked["store"] = False
    if "n" in asked:
        asked["n"] = 1
    tools = asked.get("tools")
    if isinstance(tools, list):
        asked["tools"] = [tool for tool in tools if _is_local(wire, tool)]
        if not asked["tools"]:  # OpenAI refuses an empty list
            del asked["tools"]
    if wire == "chat" and asked.get("stream"):
        options = asked.get("stream_options")
        asked["stream_options"] = (options if isinstance(options, dict) else {}) | {"include_usage": True}
    return asked


def _is_local(wire: Wire, tool: Any) -> bool:
    if not isinstance(tool, dict):
        return False
    kind = str(tool.get("type") or "custom")
    if kind == "namespace":
        return all(_is_local(wire, part) for part in tool.get("tools") or ())
    return kind.startswith(_LOCAL_TOOLS[wire])


def _names_address(wire: Wire, value: Any, key: str = "") -> bool:
    if isinstance(value, str):
        if key in _MEDIA:
            return bool(_ADDRESS.match(value)) and not value.startswith("data:")
        return key.endswith(("url", "uri", "file_id")) and bool(value) and not value.startswith("data:")
    if isinstance(value, list):
        return any(_names_address(wire, part, key) for part in value)
    if not isinstance(value, dict):
        return False
    if value.get("annotations"):  # where an earlier answer had its words from: nothing that is asked
        value["annotations"] = []
    # What a tool was called with is no content.
    called = wire == "messages" and value.get("type") == "tool_use"
    return any(
        _names_address(wire, part, name.lower()) for name, part in value.items() if not (called and name == "input")
    )


def _refused(text: str) -> float:
    raise ValueError(f"{text} is not a number of JSON")
