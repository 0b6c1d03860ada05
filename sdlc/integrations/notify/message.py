"""What a channel is told, and how it looks as text, Markdown and HTML. Pure.

All that stands in a `Message` is words of others, but for headings and labels: each format shows it as it was written.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sdlc import markdown
from sdlc.integrations.ports import Notice
from sdlc.untrusted import visible_text

MAX_TITLE = 120
MAX_BODY = 2_000
"""Characters of what is said; the pages behind the links have the rest."""
MAX_LINES = 20
"""Of a list; the rest is counted."""

_GAP = "\u200b"
# `@here`, and what is a command within `<…>` in Slack and Discord. Services look for them in the finished text.
_CALLS = re.compile(r"(?<![\w.+-])@(?=\w)|<(?=[!@#])")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_UNSAFE = re.compile(r"[^!#-%&(-;=?-Z_a-z~]")


@dataclass(frozen=True)
class Link:
    text: str
    url: str


@dataclass(frozen=True)
class Listed:
    """A heading with lines; each may have an address."""

    heading: str
    lines: tuple[Link, ...]
    more: int = 0
    """Left out."""


@dataclass(frozen=True)
class Message:
    event: str
    title: str
    body: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    """What and how."""
    lists: tuple[Listed, ...] = ()
    links: tuple[Link, ...] = ()


def message_of(notice: Notice, *, repository: str, people: Sequence[str], page: str = "", own: bool = False) -> Message:
    """`page` is the run's page on the web; with `own` the link is one person's, good for deciding."""
    fields = (("Ticket", notice.run.ticket_key), ("Repository", repository), ("For", ", ".join(people)))
    links = (
        Link("Look and decide" if own else "Open the run", page),
        Link("Pull request", notice.url),
        Link("Temporal", notice.run.link),
    )
    return Message(
        event=notice.event,
        title=notice.title,
        body=notice.body,
        fields=tuple((name, value) for name, value in fields if value),
        links=tuple(link for link in links if link.url),
    )


# --- words --------------------------------------------------------------------------------


def one_line(text: str, limit: int = MAX_TITLE) -> str:
    """What a person would see of it, on one line of at most `limit` characters."""
    line = " ".join(visible_text(text[: 20 * limit])[0].split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def words(text: str, limit: int = MAX_BODY) -> str:
    """What a person would see of it, with its lines."""
    shown = "\n".join(line.rstrip() for line in visible_text(text[: 20 * limit])[0].strip().split("\n"))
    shown = re.sub(r"\n{3,}", "\n\n", shown)
    return shown if len(shown) <= limit else shown[: max(limit - 1, 0)].rstrip() + "…"


def uncalled(text: str) -> str:
    """A finished text in which nobody is called: `@here` looks the same and is no mention."""
    return _CALLS.sub(lambda match: match[0] + _GAP, text)


def is_web(url: str) -> bool:
    return bool(_WEB.match(url))


def safe_url(url: str) -> str:
    """The address with whatever could end it as percent codes."""
    return _UNSAFE.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "replace")), url)


# --- formats ------------------------------------------------------------------------------


def as_text(message: Message) -> str:
    """For services without any markup; what may be clicked is whole."""
    parts = [uncalled(words(message.body))]
    parts.append("\n".join(f"{name}: {uncalled(one_line(value))}" for name, value in message.fields))
    for listed in message.lists:
        lines = [f"- {uncalled(one_line(line.text, 200))} {safe_url(line.url)}".rstrip() for line in listed.lines]
        parts.append("\n".join([f"{listed.heading}:", *lines, *_left_out(listed)]))
    parts.append("\n".join(f"{link.text}: {safe_url(link.url)}" for link in message.links))
    return "\n\n".join(filter(None, parts))


def as_markdown(message: Message) -> str:
    parts = [uncalled(markdown.quote(words(message.body)))]
    parts.append("\n".join(f"- **{name}:** {uncalled(markdown.inline(value, 120))}" for name, value in message.fields))
    for listed in message.lists:
        lines = [f"- {_markdown_line(line)}" for line in listed.lines]
        parts.append("\n".join([f"**{listed.heading}**", "", *lines, *_left_out(listed)]))
    parts.append(" · ".join(markdown.link(link.text, link.url) for link in message.links))
    return "\n\n".join(filter(None, parts))


def _markdown_line(line: Link) -> str:
    shown = uncalled(markdown.inline(line.text, 200))
    return f"{shown} ({markdown.link('open', line.url)})" if is_web(line.url) else shown


def as_html(message: Message) -> str:
    body = "<br>".join(_html(line) for line in words(message.body).split("\n"))
    parts = [f"<p>{body}</p>"] if message.body.strip() else []
    if message.fields:
        fields = (f"<b>{name}:</b> {_html(one_line(value))}" for name, value in message.fields)
        parts.append(f"<p>{'<br>'.join(fields)}</p>")
    for listed in message.lists:
        lines = [_anchor(Link(one_line(line.text, 200), line.url)) for line in listed.lines]
        parts.append(f"<p><b>{listed.heading}</b><br>{'<br>'.join([*lines, *_left_out(listed)])}</p>")
    if message.links:
        parts.append(f"<p>{' · '.join(_anchor(link) for link in message.links)}</p>")
    return "\n".join(parts)


def _anchor(link: Link) -> str:
    shown = _html(link.text)
    return f'<a href="{html.escape(safe_url(link.url))}">{shown}</a>' if is_web(link.url) else shown


def _html(text: str) -> str:
    return uncalled(html.escape(text))


def _left_out(listed: Listed) -> list[str]:
    return [f"… and {listed.more} more"] if listed.more else []


FORMATS: dict[str, Callable[[Message], str]] = {"text": as_text, "markdown": as_markdown, "html": as_html}


def shortened(message: Message, *, body: int, lines: int) -> Message:
    """The message with at most so many characters said, and so many lines in each of its lists."""
    lists = tuple(
        replace(listed, lines=listed.lines[:lines], more=listed.more + max(len(listed.lines) - lines, 0))
        for listed in message.lists
    )
    return replace(message, body=words(message.body, body) if body else "", lists=lists)


def fitted(message: Message, form: str, limit: int) -> str:
    """The message in a format (`text`, `markdown`, `html`) within `limit` characters: less is said, links stay."""
    show = FORMATS[form]
    for body, lines in ((MAX_BODY, MAX_LINES), (600, 8), (150, 3), (0, 0)):
        made = show(shortened(message, body=body, lines=lines))
        if len(made) <= limit:
            return made
    links = message.links
    while links and len(show(Message(message.event, message.title, links=links))) > limit:
        links = links[:-1]
    return show(Message(message.event, message.title, links=links))
