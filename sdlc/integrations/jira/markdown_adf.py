"""Markdown → a document of Atlassian (ADF), by a CommonMark parser with tables and strike-through.

Our own bodies go this way, so nothing of a text becomes more than it says: an `@name` stays a text
and calls nobody, an image becomes a link, HTML that isn't a comment is shown as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

Node = dict[str, Any]

MAX_MARKDOWN = 200_000
"""Characters that are looked at; Jira takes far fewer."""
_NESTING = 20
_MARKS = {"strong": "strong", "em": "em", "s": "strike"}
_TASK = re.compile(r"\[([ xX])\][ \t]+")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_SAFE_LINK = re.compile(r"(?:https?|mailto|ftp)://?|mailto:", re.IGNORECASE)


def from_markdown(text: str) -> Node:
    """The document that says what `text` says. Never raises; what is beyond `MAX_MARKDOWN` is left out."""
    parser = MarkdownIt("commonmark", {"maxNesting": _NESTING}).enable(["table", "strikethrough"])
    # A lone surrogate, from an answer cut in half, is nothing that JSON can carry.
    clean = text[:MAX_MARKDOWN].encode("utf-8", "replace").decode("utf-8")
    content = _Reader(parser.parse(clean)).blocks()
    return {"version": 1, "type": "doc", "content": content}


def plain_document(text: str) -> Node:
    """`text` as paragraphs, nothing of it understood."""
    parts = [part for part in re.split(r"\n{2,}", text) if part.strip()]
    return {"version": 1, "type": "doc", "content": [_paragraph(_lines(part)) for part in parts]}


class _Reader:
    """Walks the parser's flat list of tokens once."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def blocks(self, end: str = "") -> list[Node]:
        """The blocks up to the token `end`, which is taken as well."""
        found: list[Node] = []
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token.type == end:
                break
            found += self._block(token)
        return found

    def _block(self, token: Token) -> list[Node]:
        kind = token.type
        if kind == "paragraph_open":
            inline = self._inline("paragraph_close")
            return [_paragraph(inline)] if inline else []
        if kind == "heading_open":
            return [_with_content("heading", self._inline("heading_close"), level=int(token.tag[1:]))]
        if kind in ("fence", "code_block"):
            return [_code(token)]
        if kind == "hr":
            return [{"type": "rule"}]
        if kind == "blockquote_open":
            inside = [_allowed(block, _IN_QUOTE) for block in self.blocks("blockquote_close")]
            return [{"type": "blockquote", "content": inside or [_paragraph([])]}]
        if kind in ("bullet_list_open", "ordered_list_open"):
            return self._list(token)
        if kind == "table_open":
            return self._table()
        if kind == "html_block":
            shown = _COMMENT.sub("", token.content).strip()
            return [_paragraph(_lines(shown))] if shown else []
        return [_paragraph(_lines(token.content))] if token.content.strip() else []

    def _inline(self, end: str) -> list[Node]:
        found: list[Node] = []
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token.type == end:
                break
            if token.type == "inline":
                found += _inline(token.children or [])
        return found

    def _list(self, opening: Token) -> list[Node]:
        items: list[list[Node]] = []
        close = opening.type.replace("_open", "_close")
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token.type == close:
                break
            if token.type == "list_item_open":
                items.append(self.blocks("list_item_close"))
        tasks = [_task(item) for item in items]
        if opening.type == "bullet_list_open" and items and all(tasks):
            made = [
                {"type": "taskItem", "attrs": {"localId": str(number), "state": task[0]}, "content": task[1]}
                for number, task in enumerate((task for task in tasks if task), start=1)
            ]
            return [{"type": "taskList", "attrs": {"localId": "tasks"}, "content": made}]
        content = [{"type": "listItem", "content": _item(item)} for item in items]
        if opening.type == "bullet_list_open":
            return [{"type": "bulletList", "content": content}]
        start = int(opening.attrs.get("start", 1))
        return [{"type": "orderedList", "attrs": {"order": start}, "content": content}]

    def _table(self) -> list[Node]:
        rows: list[Node] = []
        cells: list[Node] = []
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token.type == "table_close":
                break
            if token.type == "tr_open":
                cells = []
            elif token.type == "tr_close":
                rows.append({"type": "tableRow", "content": cells})
            elif token.type in ("th_open", "td_open"):
                kind = "tableHeader" if token.tag == "th" else "tableCell"
                inline = self._inline(f"{token.tag}_close")
                cells.append({"type": kind, "attrs": {}, "content": [_paragraph(inline)]})
        attrs = {"isNumberColumnEnabled": False, "layout": "default"}
        return [{"type": "table", "attrs": attrs, "content": rows}] if rows else []


_IN_QUOTE = frozenset({"paragraph", "bulletList", "orderedList", "codeBlock"})
_IN_ITEM = _IN_QUOTE


def _item(blocks: list[Node]) -> list[Node]:
    """What a list item holds: a list in it never comes first."""
    content = [_allowed(block, _IN_ITEM) for block in blocks]
    is_headless = not content or content[0]["type"] in ("bulletList", "orderedList")
    return [_paragraph([]), *content] if is_headless else content


def _allowed(block: Node, kinds: frozenset[str]) -> Node:
    """The block, or what it says as a paragraph: Jira refuses a whole document for a heading in a list item."""
    if block["type"] in kinds:
        return block
    return _paragraph(_joined(block))


def _joined(node: Node) -> list[Node]:
    """All inline nodes of a block, one line for each of its paragraphs."""
    found: list[Node] = []
    for child in node.get("content", ()):
        if child["type"] in ("text", "hardBreak"):
            found.append(child)
            continue
        inside = _joined(child)
        if found and inside:
            found.append({"type": "hardBreak"})
        found += inside
    return found


def _task(item: list[Node]) -> tuple[str, list[Node]] | None:
    """State and content of an item that begins with `[ ]` or `[x]` and holds one paragraph."""
    if len(item) != 1 or item[0]["type"] != "paragraph":
        return None
    content: list[Node] = item[0].get("content", [])
    first = content[0] if content else {}
    match = _TASK.match(first.get("text", "")) if not first.get("marks") else None
    if match is None:
        return None
    state = "TODO" if match[1] == " " else "DONE"
    rest = first["text"][match.end() :]
    return state, [*([{"type": "text", "text": rest}] if rest else []), *content[1:]]


def _inline(tokens: Sequence[Token]) -> list[Node]:
    found: list[Node] = []
    marks: list[Node] = []
    for token in tokens:
        name = token.type.removesuffix("_open").removesuffix("_close")
        if name in _MARKS:
            if token.nesting > 0:
                marks.append({"type": _MARKS[name]})
            elif marks:
                marks.pop()
        elif token.type == "link_open":
            marks.append({"type": "link", "attrs": {"href": str(token.attrs.get("href", ""))}})
        elif token.type == "link_close":
            if marks:
                marks.pop()
        elif token.type == "code_inline":
            _add(found, token.content, [*(mark for mark in marks if mark["type"] == "link"), {"type": "code"}])
        elif token.type in ("softbreak", "hardbreak"):
            found.append({"type": "hardBreak"})
        elif token.type == "image":
            href = str(token.attrs.get("src", ""))
            _add(found, token.content or href, [*marks, {"type": "link", "attrs": {"href": href}}])
        elif token.type == "html_inline" and _COMMENT.fullmatch(token.content):
            continue
        else:
            _add(found, token.content, marks)
    return found


def _add(found: list[Node], text: str, marks: Sequence[Node]) -> None:
    if not text:
        return
    kept: list[Node] = []
    for mark in marks:
        known = any(mark["type"] == other["type"] for other in kept)
        if not known and (mark["type"] != "link" or _SAFE_LINK.match(mark["attrs"]["href"])):
            kept.append(mark)
    last = found[-1] if found else {}
    if last.get("type") == "text" and last.get("marks", []) == kept:
        last["text"] += text
        return
    found.append({"type": "text", "text": text} | ({"marks": kept} if kept else {}))


def _code(token: Token) -> Node:
    language = token.info.split()[0][:40] if token.type == "fence" and token.info.split() else ""
    text = token.content.removesuffix("\n")
    node: Node = {"type": "codeBlock", "attrs": {"language": language} if language else {}}
    return node | {"content": [{"type": "text", "text": text}] if text else []}


def _lines(text: str) -> list[Node]:
    found: list[Node] = []
    for line in text.splitlines():
        if found:
            found.append({"type": "hardBreak"})
        if line.strip():
            found.append({"type": "text", "text": line})
    return found


def _paragraph(content: list[Node]) -> Node:
    return {"type": "paragraph", "content": content}


def _with_content(kind: str, content: list[Node], **attrs: Any) -> Node:
    return {"type": kind, "attrs": attrs, "content": content}
