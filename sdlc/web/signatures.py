"""Is a body signed by who knows the secret? As GitHub and Jira (by WebSub) sign: HMAC-SHA256 of the raw body."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})", re.ASCII | re.IGNORECASE)


def stated_digest(headers: Sequence[str]) -> str | None:
    """The digest in the one signature header of a request; None where there is none, or another method, or two."""
    found = _SIGNATURE.fullmatch(headers[0]) if len(headers) == 1 else None
    return found[1].lower() if found else None


def is_signed(secret: bytes, body: bytes | bytearray, digest: str) -> bool:
    """Compared in constant time. Nothing is signed by an empty secret."""
    return bool(secret) and hmac.compare_digest(hmac.new(secret, body, hashlib.sha256).hexdigest(), digest)
