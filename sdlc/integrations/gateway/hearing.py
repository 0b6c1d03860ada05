"""What an answer says of itself while it passes: tokens, whether it came to its end, and an error in the middle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sdlc.integrations.gateway.wires import Wire

LONGEST_LINE = 64 * 1024**2
"""Bytes of one event of a stream that are looked at; OpenAI's last one holds the whole answer again."""

_INPUT = {
    "chat": ("prompt_tokens",),
    "responses": ("input_tokens",),
    "messages": ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
}
"""Anthropic counts what it reads from and writes to its cache apart; the others count it in."""
_OUTPUT = {"chat": "completion_tokens", "responses": "output_tokens", "messages": "output_tokens"}
_CACHED = {"chat": "cached_tokens", "responses": "cached_tokens", "messages": "cache_read_input_tokens"}
_DETAILS = {"chat": "prompt_tokens_details", "responses": "input_tokens_details", "messages": ""}
_TEXT = ("choices", "delta", "item", "content_block", "output", "content")
"""Of an event or an answer: where what the model says is."""
_STATUS_OF = {"rate_limit": 429, "overloaded": 529, "invalid_request": 400, "context_length": 400, "quota": 429}


class Heard:
    """An answer, as far as it has come."""

    def __init__(self, wire: Wire) -> None:
        self.complete = False
        """The answer said that it was over."""
        self.failure: tuple[int, str] | None = None
        """Status and message of an error that came in the answer's stead."""
        self.characters = 0
        """Of what the model said, about; not of what events are wrapped in, which is far more."""
        self._wire = wire
        self._names = {*_INPUT[wire], _OUTPUT[wire], _CACHED[wire]}
        self._usage: dict[str, int] = {}
        self._line = bytearray()

    @property
    def counts(self) -> tuple[int, int] | None:
        """Tokens of input and output, so far; None if nothing was said of them."""
        of_output = self._usage.get(_OUTPUT[self._wire])
        return None if of_output is None else (sum(self._usage.get(name, 0) for name in _INPUT[self._wire]), of_output)

    @property
    def cached(self) -> int:
        """Tokens of the input that the endpoint had kept from earlier calls."""
        return self._usage.get(_CACHED[self._wire], 0)

    def stream(self, chunk: bytes) -> None:
        """The next bytes of a stream of server-sent events."""
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._line += line
            if self._line.startswith(b"data:") and len(self._line) <= LONGEST_LINE:
                self._event(bytes(self._line[5:]))
            self._line.clear()
        if len(self._line) <= LONGEST_LINE:
            self._line += rest

    def whole(self, body: bytes) -> None:
        """The body of an answer that is no stream."""
        said = _object(body)
        self.complete = bool(said)
        self.characters += _characters(said)
        self._count(said.get("usage"))
        if self._wire == "responses" and said.get("status") == "failed":
            self._failed(said.get("error"))
        elif "choices" not in said and said.get("error"):
            self._failed(said["error"])

    def _event(self, data: bytes) -> None:
        event = _object(data)
        kind = event.get("type")
        self.characters += _characters(event)
        if kind == "error" or (self._wire == "chat" and event.get("error")):
            return self._failed(event.get("error") or event)
        inner = event.get("response" if self._wire == "responses" else "message")
        inner = inner if isinstance(inner, Mapping) else {}
        self._count(inner.get("usage"))
        self._count(event.get("usage"))
        if kind == "response.failed":
            self._failed(inner.get("error"))
        choices = event.get("choices")
        self.complete |= kind in ("response.completed", "response.incomplete", "message_stop") or any(
            isinstance(choice, Mapping) and choice.get("finish_reason")
            for choice in (choices if isinstance(choices, list) else ())
        )
        return None

    def _count(self, usage: Any) -> None:
        if isinstance(usage, Mapping):
            details = usage.get(_DETAILS[self._wire])
            usage = {**details, **usage} if isinstance(details, Mapping) else usage
            self._usage |= {
                name: usage[name] for name in self._names if type(usage.get(name)) is int and usage[name] >= 0
            }

    def _failed(self, error: Any) -> None:
        said = error if isinstance(error, Mapping) else {"message": error}
        kind, code = f"{said.get('type')} {said.get('code')}", said.get("code")
        status = next((number for name, number in _STATUS_OF.items() if name in kind), 500)
        if isinstance(code, int) and 400 <= code < 600:
            status = code
        self.failure = status, str(said.get("message") or kind)


def _characters(said: Mapping[str, Any]) -> int:
    count, rest = 0, [said.get(name) for name in _TEXT]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            count += len(part)
        elif isinstance(part, list):
            rest += part
        elif isinstance(part, dict):
            rest += part.values()
    return count


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
