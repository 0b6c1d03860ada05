"""What goes wrong at a model's endpoint, in our words and without its secrets.

429, 5xx, time-outs and broken connections are the world's fault and come back as
`ServiceUnavailable`; everything that would fail again in the same way is `ModelRefused`, or
`ContextTooLong` where less of the conversation would do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sdlc.errors import ContextTooLong, ModelRefused, SdlcError, ServiceUnavailable
from sdlc.untrusted import visible_text

if TYPE_CHECKING:
    import openai

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds. A service that says "in a year" is asked again tomorrow."""

_CONTEXT = re.compile(
    r"context_length_exceeded|context (length|window|size)|maximum context|prompt is too long"
    r"|input tokens exceed|too many tokens|ContextWindowExceeded",
    re.IGNORECASE,
)
_FORMAT = re.compile(r"response_format|json_schema|structured output|guided", re.IGNORECASE)
_CONTENT = re.compile(r"content_filter|content_policy|content management policy|safety", re.IGNORECASE)
_LOOKED_AT = 20_000
"""Characters of what an endpoint says of a failure; some answer with a whole page."""
_SECRETS = re.compile(r"(?i)\bbearer\s+\S+|\b(?:sk|pk|key|rk)-[\w*.-]{6,}")


class StructuredOutputUnsupported(Exception):
    """The endpoint does not know the `response_format` that was asked for; never leaves `sdlc.integrations.llm`."""


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
    text = _without(visible_text(_without(text, secrets)[:_LOOKED_AT])[0], secrets)
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


def translated(
    error: Exception, *, url: str, model: str, secret: str
) -> SdlcError | StructuredOutputUnsupported | None:
    """What an exception of the client means, or None if it is not one of the client's."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return ServiceUnavailable(f"The model endpoint {url} did not answer in time; it is asked again.")
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, url=url, model=model, secret=secret)
    if isinstance(error, openai.APIConnectionError):
        return ServiceUnavailable(
            f"The model endpoint {url} can't be reached; check OPENAI_BASE_URL and that the server is up."
        )
    if isinstance(error, openai.ContentFilterFinishReasonError):
        return ModelRefused(f"The content filter of {url} stopped the answer of `{model}`.")
    if isinstance(error, openai.APIError):
        return ServiceUnavailable(f"The model endpoint {url} broke off: {redacted(str(error), secret)}")
    return None


def _of_status(
    error: openai.APIStatusError, *, url: str, model: str, secret: str
) -> SdlcError | StructuredOutputUnsupported:
    status = int(error.status_code)
    said = redacted(str(error.message), secret)
    kind = f"{error.code} {error.type} {said}"
    if status == 429 and "insufficient_quota" in kind:
        return ModelRefused(f"The account at {url} has no quota left: top it up, or set another OPENAI_API_KEY.")
    if status in (408, 409, 425, 429) or status >= 500:
        return ServiceUnavailable(
            f"The model endpoint {url} answered {status}: {said}",
            retry_after=seconds_until(error.response.headers.get("retry-after")),
        )
    if status in (401, 403):
        return ModelRefused(f"The model endpoint {url} refuses the key ({status}); check OPENAI_API_KEY.")
    if status == 404:
        return ModelRefused(f"{url} knows no model `{model}` (404); check SDLC_MODEL and OPENAI_BASE_URL.")
    if status == 413 or _CONTEXT.search(kind):
        return ContextTooLong(f"The conversation is longer than `{model}` takes: {said}")
    if status in (400, 422) and _FORMAT.search(kind):
        return StructuredOutputUnsupported(said)
    if _CONTENT.search(kind):
        return ModelRefused(f"The content filter of {url} refused the request: {said}")
    return ModelRefused(f"The model endpoint {url} refused the request ({status}): {said}")
