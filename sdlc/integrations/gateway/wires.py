"""The three ways in which programs speak to models over HTTP."""

from __future__ import annotations

from typing import Any, Literal

Wire = Literal["chat", "responses", "messages"]
"""OpenAI's chat completions, OpenAI's responses, Anthropic's messages."""

ANTHROPIC_VERSION = "2023-06-01"
DEFAULT_BASE = {
    "chat": "https://api.openai.com/v1",
    "responses": "https://api.openai.com/v1",
    "messages": "https://api.anthropic.com/v1",
}
CALL = {"chat": "/chat/completions", "responses": "/responses", "messages": "/messages"}
"""Where a model is called, below the base."""
COUNT_TOKENS = "/messages/count_tokens"
"""Answers how long a request would be; no model is called."""

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
"""Anthropic's names."""


def base_of(wire: Wire, base_url: str) -> str:
    """The base that the wire's paths are added to, without a slash at the end; empty: that of the wire's inventor."""
    base = (base_url or DEFAULT_BASE[wire]).rstrip("/")
    return f"{base.removesuffix('/v1')}/v1" if wire == "messages" else base


def place(wire: Wire, path: str) -> str | None:
    """What a POST to `path` asks for, as a path below the base; None if it is nothing of the wire."""
    below = path.removeprefix("/v1")
    if below == CALL[wire] or (wire == "messages" and below == COUNT_TOKENS):
        return below
    return None


def error_body(wire: Wire, status: int, message: str, code: str = "") -> dict[str, Any]:
    """An error as the wire's clients read it."""
    kind = _KINDS.get(status, "api_error")
    if wire == "messages":
        return {"type": "error", "error": {"type": kind, "message": message}}
    return {"error": {"message": message, "type": kind, "param": None, "code": code or kind}}


def models_body(wire: Wire, model: str) -> dict[str, Any]:
    """The list of the one model."""
    if wire == "messages":
        entry = {"type": "model", "id": model, "display_name": model, "created_at": "1970-01-01T00:00:00Z"}
        return {"data": [entry], "has_more": False, "first_id": model, "last_id": model}
    return {"object": "list", "data": [{"id": model, "object": "model", "created": 0, "owned_by": "sdlc"}]}
