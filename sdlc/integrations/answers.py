"""What every service we call has in common: how long it wants to be left alone, and what of its words may be shown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from sdlc.untrusted import visible_text

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds. A service that says "in a year" is asked again tomorrow."""

LOOKED_AT = 20_000
"""Characters of what a service says of a failure; some answer with a whole page."""
_SECRETS = re.compile(r"(?i)\bbearer\s+\S+|\b(?:sk|pk|key|rk)-[\w*.-]{6,}")


def shown_url(url: str) -> str:
    """A URL as it may be printed: without user, password and query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}" if host else url


def redacted(text: str, *secrets: str, limit: int = 300) -> str:
    """`text` on one line, at most `limit` characters, as a person may see it in a terminal.

    The given secrets and whatever looks like a key are left out, and so is what can't be seen.
    """
    # Twice: only the whole text may be cut, and what was taken out may have stood in the middle of a secret.
    text = _without(visible_text(_without(text, secrets)[:LOOKED_AT])[0], secrets)
    text = " ".join(_SECRETS.sub("[secret]", text).split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in filter(None, secrets):
        text = text.replace(secret, "[secret]")
    return text


def seconds_until(value: str | None, *, now: datetime | None = None) -> float | None:
    """A `Retry-After` header (RFC 9110, 10.2.3: seconds or an HTTP date) as seconds from now; None if it says nothing.

    At least 0 and at most a day.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if math.isfinite(seconds) else None
