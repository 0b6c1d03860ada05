"""Slack, by an incoming webhook: a header, what is to be said, and buttons that open pages (Block Kit).

All words are `plain_text` objects, in which Slack knows neither links nor mentions nor bold.
"""

from __future__ import annotations

import html
import ssl
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from sdlc.errors import ConfigurationError, PermissionDenied, ServiceUnavailable
from sdlc.integrations.answers import seconds_until
from sdlc.integrations.notify.ledger import PerhapsSent
from sdlc.integrations.notify.message import MAX_TITLE, Link, Message, is_web, one_line, safe_url, uncalled, words

_MAX_BUTTONS = 5
_MAX_URL = 3_000
_MOST_LISTED = 8
_HEARD = ("no_text", "invalid_payload", "invalid_blocks", "missing_text_or_fallback_or_attachments")
"""What Slack says to a message without words, if the webhook is good."""

# With these nothing has left us.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class SlackChannel:
    def __init__(self, name: str, webhook: str) -> None:
        """ConfigurationError for what is no address; it names the channel, never the address."""
        self.name = name
        try:
            self._url, parts = httpx.URL(webhook), urlsplit(webhook)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        except (httpx.InvalidURL, ValueError):
            is_address = False
        if not is_address:
            raise ConfigurationError(
                f"The notification channel {name}: `slack_webhook` is no address such as https://hooks.slack.com/…"
            )

    async def send(self, message: Message) -> None:
        """Raises ServiceUnavailable (nothing has arrived), PerhapsSent, or PermissionDenied for good."""
        await self._post(payload(message), at_best=(200,))

    async def check(self) -> tuple[str, ...]:
        """Asks with a message without words, which a good webhook refuses."""
        said = await self._post({}, at_best=(200, 400))
        if said and not any(word in said for word in _HEARD):
            return (f"The notification channel {self.name}: the webhook answers {said}; is it one of Slack's?",)
        return ()

    async def _post(self, content: dict[str, Any], *, at_best: tuple[int, ...]) -> str:
        try:
            async with httpx.AsyncClient(timeout=httpx.Timeout(15.0), verify=_trusted()) as client:  # noqa: SIM117 - it reads better so
                async with client.stream("POST", self._url, json=content) as response:
                    if response.status_code == 200:
                        return ""  # whatever happens to the rest of the answer, people have been told
                    said = await _first_words(response)
        except _NOT_SENT as error:
            raise ServiceUnavailable(f"The channel {self.name} is not reached ({type(error).__name__}).") from None
        except httpx.HTTPError as error:
            raise PerhapsSent(f"The channel {self.name} gave no answer ({type(error).__name__}).") from None
        status = response.status_code
        if status in at_best:
            return said or str(status)
        if status in (502, 504):
            raise PerhapsSent(f"The channel {self.name} answered {status}.")
        if status in (408, 425, 429) or status >= 500:
            after = seconds_until(response.headers.get("retry-after"))
            raise ServiceUnavailable(f"The channel {self.name} answered {status}.", retry_after=after)
        raise PermissionDenied(
            f"The channel {self.name} does not take messages any more ({status} {said}); make a new webhook."
        )


@cache
def _trusted() -> ssl.SSLContext:
    """Made once: it reads all the certificates of this machine."""
    return httpx.create_ssl_context()


async def _first_words(response: httpx.Response) -> str:
    """A few words of an answer; whoever cuts it off or talks without end has said enough by its status."""
    found = b""
    try:
        async for part in response.aiter_bytes(256):
            found += part
            if len(found) >= 256:
                break
    except httpx.HTTPError:
        pass
    return one_line(found[:256].decode("utf-8", "replace"), 60)


def payload(message: Message) -> dict[str, Any]:
    """The request's JSON. `text` is what a phone shows; as it is Slack's own markup, nothing in it is active."""
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(one_line(message.title))}]
    if body := words(message.body):
        blocks.append({"type": "section", "text": _plain(body)})
    if message.fields:
        fields = [_plain(f"{name}\n{one_line(value)}") for name, value in message.fields[:10]]
        blocks.append({"type": "section", "fields": fields})
    for listed in message.lists[:4]:
        blocks.append({"type": "section", "text": _plain(f"{listed.heading}:")})
        blocks += [_line(line) for line in listed.lines[:_MOST_LISTED]]
        if more := listed.more + max(len(listed.lines) - _MOST_LISTED, 0):
            blocks.append({"type": "context", "elements": [_plain(f"… and {more} more")]})
    buttons = [_button(link) for link in message.links if _opens(link.url)][:_MAX_BUTTONS]
    if buttons:
        buttons[0]["style"] = "primary"
        blocks.append({"type": "actions", "elements": buttons})
    return {"text": escaped(one_line(message.title, MAX_TITLE)), "blocks": blocks}


def escaped(text: str) -> str:
    """Text as Slack takes it: `&`, `<` and `>` as entities, and nobody is called."""
    return uncalled(html.escape(text, quote=False))


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": escaped(text), "emoji": False}


def _line(line: Link) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "section", "text": _plain(one_line(line.text, 200) or "–")}
    if _opens(line.url):
        block["accessory"] = _button(Link("Open", line.url))
    return block


def _opens(url: str) -> bool:
    return is_web(url) and len(safe_url(url)) <= _MAX_URL


def _button(link: Link) -> dict[str, Any]:
    return {"type": "button", "text": _plain(link.text), "url": safe_url(link.url)}
