"""An endpoint's answer without the key that it was asked with."""

from __future__ import annotations

import json
from typing import Any

from sdlc.integrations.answers import redacted
from sdlc.integrations.gateway.wires import Wire, error_body

_SHORTEST = 12
"""Characters of a key that is looked for in what a model says; shorter ones are words that may well stand there."""
_LONGEST_TEXT = 2_000


class Without:
    """Takes a secret out of bytes that come in pieces; what may be its beginning is held back for the next piece."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode() if len(secret) >= _SHORTEST else b""
        self._held = b""

    def passed(self, piece: bytes, *, last: bool = False) -> bytes:
        """What can go on; with `last` all of it."""
        if not self._secret:
            return piece
        whole = (self._held + piece).replace(self._secret, b"[secret]")
        longest = 0 if last else min(len(self._secret) - 1, len(whole))
        held = next((size for size in range(longest, 0, -1) if self._secret.startswith(whole[-size:])), 0)
        self._held = whole[len(whole) - held :]
        return whole[: len(whole) - held]


def refusal(wire: Wire, status: int, body: bytes, secret: str) -> tuple[dict[str, Any], str]:
    """An endpoint's error as JSON that a program may see, and its message; both without the secret."""
    try:
        said = _shown(json.loads(body, parse_constant=str), secret)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        text = redacted(body.decode(errors="replace"), secret, limit=_LONGEST_TEXT)
        said = error_body(wire, status, text or "The endpoint gave no reason.")
    error = said.get("error")
    message = error.get("message") if isinstance(error, dict) else error or said.get("message") or said.get("detail")
    return said, redacted(str(message or "no reason given"), secret)


def _shown(value: Any, secret: str) -> Any:
    if isinstance(value, str):
        return redacted(value, secret, limit=_LONGEST_TEXT)
    if isinstance(value, list):
        return [_shown(part, secret) for part in value]
    if isinstance(value, dict):
        return {redacted(str(key), secret): _shown(part, secret) for key, part in value.items()}
    return value
