"""HTML by small functions that escape: what isn't `Html` already is text, whoever wrote it."""

from __future__ import annotations

import html
import re
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
"""No scripts, no pictures, nothing from elsewhere."""

_STYLE = (Path(__file__).parent / "web.css").read_text(encoding="utf-8")
_VOID = ("br", "input", "meta", "hr")
_KEPT = re.compile(r"&lt;(/?(?:details|summary|sub|sup|kbd|br))&gt;")
_HIDDEN = re.compile(r"<!--.*?-->", re.DOTALL)
_TASK = re.compile(r"^\[([ xX])\] ")


class Html(str):
    """Text that is HTML."""


Child = str | int | None


def el(element: str, /, *children: Child | list[Html], **attributes: str | bool | None) -> Html:
    """An element; `class_` is `class`. Attributes that are False or None are left out."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    written = "".join(
        f" {key}" if value is True else f' {key}="{html.escape(str(value))}"'
        for key, value in named.items()
        if value not in (None, False)
    )
    start = f"<{element}{written}>"
    return Html(start if element in _VOID else f"{start}{join(*children)}</{element}>")


def join(*children: Child | list[Html]) -> Html:
    """Children one after the other; text among them is escaped."""
    made = []
    for child in children:
        if isinstance(child, list):
            made.append(join(*child))
        elif child is not None:
            made.append(child if isinstance(child, Html) else html.escape(str(child)))
    return Html("".join(made))


def link(url: str, *children: Child) -> Html:
    """A link, if the address is one of the web; else its text."""
    safe = re.match(r"(?:https?://|/(?!/))", url)
    return el("a", *children, href=url, rel="noreferrer") if safe else join(*children)


def badge(text: str, kind: str = "") -> Html:
    """A word with a colour: `good`, `bad`, `busy`, `done` or none."""
    return el("span", text, class_=f"badge {kind}".strip())


def page(title: str, *content: Child | list[Html], follow: bool = False, path: str = "/") -> Html:
    """A whole page. `follow`: it loads itself again every three seconds."""
    head = [
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", Html(_STYLE)),
    ]
    if follow:
        head.append(el("meta", http_equiv="refresh", content="3"))
    live = link(path if follow else f"{path}?follow=1", "Stop reloading" if follow else "Reload every 3 s")
    bar = el(
        "header",
        el("nav", link("/", "Tickets and pull requests"), link("/webhooks", "Webhooks"), link("/connect", "Connect")),
        el("p", "Imitations of Jira and GitHub, to try things out with. Nothing here leaves this machine. ", live),
    )
    body = el("body", bar, el("main", *content))
    return join(Html("<!doctype html>"), el("html", el("head", head), body, lang="en"))


def form(action: str, *fields: Child, button: str, kind: str = "") -> Html:
    """A form with one button."""
    return el("form", *fields, el("button", button, class_=kind or None), method="post", action=action)


def select(name: str, label: str, options: dict[str, str], chosen: str = "") -> Html:
    """A choice: value → what it is called."""
    made = [el("option", text, value=value, selected=value == chosen) for value, text in options.items()]
    return el("label", label, el("select", made, name=name))


def field(name: str, label: str, value: str = "", *, rows: int = 1, needed: bool = False) -> Html:
    """A line or a box to write into."""
    if rows > 1:
        return el("label", label, el("textarea", value, name=name, rows=str(rows), required=needed))
    return el("label", label, el("input", name=name, value=value, required=needed))


def markdown(text: str | None) -> Html:
    """Markdown as GitHub shows it: comments are hidden, a few plain elements are kept, all other HTML is text."""
    return el("div", Html(_READER.render(text or "")), class_="text")


def _as_text(renderer: RendererHTML, tokens: list[Token], index: int, options: object, environment: object) -> str:
    return _KEPT.sub(r"<\1>", html.escape(_HIDDEN.sub("", tokens[index].content)))


def _item_text(renderer: RendererHTML, tokens: list[Token], index: int, options: object, environment: object) -> str:
    content = html.escape(tokens[index].content)
    return _TASK.sub(lambda box: "☐ " if box[1] == " " else "☑ ", content) if index == 0 else content


_READER = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable("image")
_READER.add_render_rule("html_block", _as_text)
_READER.add_render_rule("html_inline", _as_text)
_READER.add_render_rule("text", _item_text)
