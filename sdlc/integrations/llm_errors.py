"""What goes wrong at a model's endpoint, in our words and without its secrets.

429, 5xx, time-outs and broken connections are the world's fault and come back as
`ServiceUnavailable`; everything that would fail again in the same way is `ModelRefused`, by kind:
`ModelKeyRefused`, `ContentRefused`, and `ContextTooLong` where less of the conversation would do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sdlc.errors import ContentRefused, ContextTooLong, ModelKeyRefused, ModelRefused, SdlcError, ServiceUnavailable
from sdlc.integrations.answers import LONGEST_RETRY_AFTER, LOOKED_AT, redacted, seconds_until

_CONTEXT = re.compile(
    r"context_length_exceeded|context (length|window|size)|maximum context|prompt is too long"
    r"|input tokens exceed|too many tokens|ContextWindowExceeded|exceeds the maximum number of tokens",
    re.IGNORECASE,
)
_FORMAT = re.compile(r"response_format|json_schema|structured output|guided|output_config", re.IGNORECASE)
_CONTENT = re.compile(
    r"content_filter|content_policy|content management policy|safety|moderation|flagged", re.IGNORECASE
)
_KEY = re.compile(
    r"invalid[ _](x-)?api[ _-]key|incorrect api key|api key not valid|API_KEY_INVALID|authentication_error",
    re.IGNORECASE,
)
_UNPAID = re.compile(
    r"insufficient[ _](quota|balance|credit)|credit balance|billing_(hard_limit|not_active)|billing_error",
    re.IGNORECASE,
)


class StructuredOutputUnsupported(Exception):
    """The endpoint does not know the `response_format` that was asked for; never leaves `sdlc.integrations.llm`."""


_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


def retry_delay(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds after which an answer's headers ask to be called again, at most a day; None if they say nothing.

    `retry-after-ms` and `x-ratelimit-reset-requests` or `-tokens` (`6m0s`, where nothing remains) are OpenAI's.
    """
    with suppress(ValueError):
        seconds = float(headers.get("retry-after-ms") or "nan") / 1000
        if math.isfinite(seconds):
            return seconds_until(str(seconds))
    if (delay := seconds_until(headers.get("retry-after"), now=now)) is not None:
        return delay
    used_up = [kind for kind in ("requests", "tokens") if headers.get(f"x-ratelimit-remaining-{kind}") == "0"]
    resets = [_duration(headers.get(f"x-ratelimit-reset-{kind}", "")) for kind in used_up]
    return max((reset for reset in resets if reset is not None), default=None)


def _duration(text: str) -> float | None:
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, thousandths = (float(part or 0) for part in found.groups())
    return min(hours * 3600 + minutes * 60 + seconds + thousandths / 1000, LONGEST_RETRY_AFTER)


@dataclass(frozen=True)
class Asked:
    """Who was asked, and what a person can change about it: for messages."""

    url: str
    """As it may be printed."""
    model: str
    secret: str = field(repr=False)
    key_setting: str = "OPENAI_API_KEY"
    url_setting: str = "OPENAI_BASE_URL"


def translated(error: Exception, asked: Asked) -> SdlcError | StructuredOutputUnsupported | None:
    """What an exception of a client means, or None if it is not one of a client's."""
    import httpx
    import openai
    from langchain_core import exceptions as known

    url = asked.url
    if isinstance(error, openai.APITimeoutError | known.ModelTimeoutError | httpx.TimeoutException | TimeoutError):
        return ServiceUnavailable(f"The model endpoint {url} did not answer in time; it is asked again.")
    if (source := _with_status(error)) is not None:
        return _of_status(source, asked)
    if isinstance(error, known.ContextOverflowError):
        return _too_long(asked, redacted(str(error), asked.secret))
    if isinstance(error, openai.APIConnectionError | known.ModelConnectionError | httpx.TransportError):
        return ServiceUnavailable(
            f"The model endpoint {url} can't be reached; check {asked.url_setting} and that the server is up."
        )
    if isinstance(error, openai.ContentFilterFinishReasonError):
        return refused(asked, "the content filter stopped the answer")
    if isinstance(error, openai.APIError) or (isinstance(error, known.ModelError) and error.is_retryable):
        return ServiceUnavailable(f"The model endpoint {url} broke off: {redacted(str(error), asked.secret)}")
    if isinstance(error, known.ModelError):
        return ModelRefused(f"The model endpoint {url} refused the request: {redacted(str(error), asked.secret)}")
    return None


def refused(asked: Asked, why: str) -> ContentRefused:
    """The model, or the filter before it, declines; `why` is fit for a person."""
    return ContentRefused(
        f"`{asked.model}` at {asked.url} refused to answer ({why}). Reword the ticket, or set another model (llm.name)."
    )


def _too_long(asked: Asked, said: str) -> ContextTooLong:
    return ContextTooLong(
        f"The conversation is longer than `{asked.model}` takes; set llm.context_tokens to its window, or another "
        f"model. ({said})"
    )


def _with_status(error: Exception) -> Exception | None:
    """The exception that has the answer's HTTP status: this one, or the provider's own behind it."""
    return next((one for one in (error, error.__cause__) if isinstance(one, Exception) and _status(one)), None)


def _status(error: Exception) -> int:
    """OpenAI's and Anthropic's clients call it `status_code`, Google's `code`, httpx has the response; 0 for none."""
    response = getattr(error, "response", None)
    numbers = (
        getattr(error, "status_code", None),
        getattr(error, "code", None),
        getattr(response, "status_code", None),
    )
    return next((number for number in numbers if isinstance(number, int) and number >= 400), 0)


def _said(error: Exception) -> tuple[str, str]:
    """What the endpoint says of a failure, for people, and all of its words, to find out what it means."""
    body: Any = getattr(error, "body", None) or getattr(error, "details", None)
    inner = body.get("error", body) if isinstance(body, Mapping) else body
    text = str(getattr(error, "message", "") or error)
    if not isinstance(inner, Mapping):
        return (inner if isinstance(inner, str) and inner else text), text
    told = inner.get("message") or inner.get("detail")
    words = " ".join(str(inner.get(key) or "") for key in ("code", "type", "status"))
    return (told if isinstance(told, str) else text), f"{words} {told} {text}"


def _of_status(error: Exception, asked: Asked) -> SdlcError | StructuredOutputUnsupported:
    status, (told, kind) = _status(error), _said(error)
    url, model = asked.url, asked.model
    said, kind = redacted(told, asked.secret), kind[:LOOKED_AT]
    if status == 402 or (400 <= status < 500 and _UNPAID.search(kind)):
        return ModelRefused(
            f"The account at {url} has no quota left ({status}): look at its billing, or set another "
            f"{asked.key_setting}. ({said})"
        )
    if status in (408, 409, 425, 429) or status >= 500:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        return ServiceUnavailable(
            f"The model endpoint {url} answered {status}: {said}", retry_after=retry_delay(headers)
        )
    if status == 403 and _CONTENT.search(kind):
        return refused(asked, said)
    if status in (401, 403) or _KEY.search(kind):
        more = f", and that it may use `{model}`: {said}" if status == 403 else "."
        return ModelKeyRefused(f"The model endpoint {url} refuses the key ({status}); check {asked.key_setting}{more}")
    if status == 404:
        return ModelRefused(f"{url} knows no model `{model}` (404); check SDLC_MODEL and {asked.url_setting}.")
    if status == 413 or _CONTEXT.search(kind):
        return _too_long(asked, said)
    if status in (400, 422) and _FORMAT.search(kind):
        return StructuredOutputUnsupported(said)
    if _CONTENT.search(kind):
        return refused(asked, f"content filter: {said}")
    return ModelRefused(f"The model endpoint {url} refused the request ({status}): {said}")
