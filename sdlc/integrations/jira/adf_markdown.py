"""A document of Atlassian (ADF) → Markdown, for whatever a server or an app of somebody's sends as one.

Every node that is not known gives the text it holds; what is no node at all gives nothing. Nothing
raises. Depth, nodes and characters are bounded: beyond them only a mark is left that something was there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

MAX_CHARACTERS = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 24
"""Beyond it the nodes' text is given in one line, without its structure."""

_CUT = "…"
_TICKS = re.compile(r"`+")
_SPECIAL = re.compile(r"[\\`*\[\]<|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|&(?=#?\w+;)")
_BLOCK_START = re.compile(r"^(\s*)(?:([=>]|[-+](?=[-+\s]|$)|#(?=[#\s]|$))|(\d{1,9})([.)])(?=\s|$))")
_HEADING_END = re.compile(r"(^|\s)(#+\s*)$")
"""Which would be taken for the heading's own closing."""
_LINK = re.compile(r"[\s<>()\\]")
_DELIMITERS = {"strong": "**", "em": "*", "strike": "~~"}
_PANELS = {"info": "Info", "note": "Note", "warning": "Warning", "error": "Error", "success": "Success", "tip": "Tip"}
_INLINE = frozenset(
    {
        "text",
        "hardBreak",
        "mention",
        "emoji",
        "date",
        "status",
        "inlineCard",
        "mediaInline",
        "placeholder",
        "inlineExtension",
    }
)
_LISTS = frozenset({"bulletList", "orderedList", "taskList", "decisionList"})
_MEDIA = frozenset({"media", "mediaInline"})


def to_markdown(document: object) -> str:
    """The document, or any part of one, as Markdown without white space at its ends."""
    writer = _Writer()
    nodes = document if isinstance(document, list) else [document]
    text = "\n\n".join(writer.blocks(nodes, 0)).strip()
    cut = writer.cut or len(text) > MAX_CHARACTERS
    return f"{text[:MAX_CHARACTERS].rstrip()}\n\n{_CUT}" if cut else text


def plain_text(document: object) -> str:
    """What the document says, on one line."""
    return _Writer().flat(document)


class _Writer:
    """One conversion, with what is left of its bounds."""

    def __init__(self) -> None:
        self.nodes = MAX_NODES
        self.characters = MAX_CHARACTERS
        self.cut = False

    # --- blocks -------------------------------------------------------------------------------

    def blocks(self, nodes: Iterable[object], depth: int) -> list[str]:
        """Each block as a text of one or more lines; neighbouring inline nodes make one paragraph."""
        found: list[str] = []
        loose: list[dict[str, Any]] = []
        for node in nodes:
            if not isinstance(node, dict):
                continue
            if not self._takes_node():
                break
            if _kind(node) in _INLINE:
                loose.append(node)
                continue
            self._paragraph(loose, found, depth)
            found += self._block(node, depth)
        self._paragraph(loose, found, depth)
        return [block for block in found if block.strip()]

    def _paragraph(self, loose: list[dict[str, Any]], found: list[str], depth: int) -> None:
        if loose:
            found.append(_at_block_start(self._inline(loose, depth)))
            loose.clear()

    def _block(self, node: dict[str, Any], depth: int) -> list[str]:
        kind, attrs, content = _kind(node), _attrs(node), _content(node)
        if depth >= MAX_DEPTH:
            text = self.flat(node)
            return [_at_block_start(_escaped(text))] if text else []
        if kind == "paragraph":
            return [_at_block_start(self._inline(content, depth + 1))]
        if kind == "heading":
            level = attrs.get("level")
            level = min(max(level, 1), 6) if isinstance(level, int) else 2
            text = self._inline(content, depth + 1).replace("\\\n", " ").replace("\n", " ")
            text = _HEADING_END.sub(r"\1\\\2", text)
            return [f"{'#' * level} {text}"] if text.strip() else []
        if kind == "codeBlock":
            return [self._code(attrs, content)]
        if kind == "rule":
            return ["---"]
        if kind in _LISTS:
            return [self._list(kind, attrs, content, depth)]
        if kind == "blockquote":
            return [_quoted(self.blocks(content, depth + 1))]
        if kind == "panel":
            name = _PANELS.get(str(attrs.get("panelType")), "Note")
            return [_quoted([f"**{name}**", *self.blocks(content, depth + 1)])]
        if kind == "table":
            return [self._table(content, depth)]
        if kind in ("expand", "nestedExpand"):
            title = self._taken(attrs.get("title"))
            return [*([f"**{_escaped(title)}**"] if title else []), *self.blocks(content, depth + 1)]
        if kind in ("blockCard", "embedCard"):
            return [self._card(attrs)]
        if kind in _MEDIA:
            return [self._media(attrs)]
        inside = self.blocks(content, depth + 1)
        text = "" if inside else self._named(node, attrs)
        return inside or ([_at_block_start(_escaped(text))] if text else [])

    def _code(self, attrs: dict[str, Any], content: Sequence[object]) -> str:
        text = "".join(self._raw(node) for node in content)
        longest = max((len(run) for run in _TICKS.findall(text)), default=0)
        fence = "`" * max(3, longest + 1)
        language = re.sub(r"[^\w+#.-]", "", str(attrs.get("language") or ""))[:40]
        return f"{fence}{language}\n{text}\n{fence}"

    def _list(self, kind: str, attrs: dict[str, Any], content: Sequence[object], depth: int) -> str:
        order = attrs.get("order")
        number = order if isinstance(order, int) and 0 <= order < 10**8 else 1
        lines: list[str] = []
        for item in content:
            if not isinstance(item, dict) or not self._takes_node():
                continue
            if _kind(item) in _LISTS:  # a task list in a task list stands beside its items
                nested = self._list(_kind(item), _attrs(item), _content(item), depth + 1) if depth < MAX_DEPTH else ""
                lines += [f"  {line}" for line in nested.split("\n") if line.strip()]
                continue
            bullet = f"{number}. " if kind == "orderedList" else "- "
            number += 1
            box = ""
            if _kind(item) == "taskItem":
                box = "[x] " if _attrs(item).get("state") == "DONE" else "[ ] "
            lines += self._item(item, bullet, box, depth)
        return "\n".join(lines)

    def _item(self, item: dict[str, Any], bullet: str, box: str, depth: int) -> list[str]:
        blocks = self.blocks(_content(item) or ([item] if _kind(item) in _INLINE else []), depth + 1)
        lines: list[str] = []
        for block in blocks:
            # A blank line within an item is only needed where two paragraphs would run together.
            is_list = re.match(r"(?:[-] |\d+\. )", block) is not None
            lines += ["", *block.split("\n")] if lines and not is_list else block.split("\n")
        indent = " " * len(bullet)
        head = lines[0] if lines else ""
        return [f"{bullet}{box}{head}".rstrip(), *((indent + line).rstrip() for line in lines[1:])]

    def _table(self, content: Sequence[object], depth: int) -> str:
        rows: list[tuple[bool, list[str]]] = []
        for row in content:
            if not isinstance(row, dict) or not self._takes_node():
                continue
            cells = [cell for cell in _content(row) if isinstance(cell, dict) and self._takes_node()]
            is_header = bool(cells) and all(_kind(cell) == "tableHeader" for cell in cells)
            rows.append((is_header, [self._cell(cell, depth) for cell in cells[:100]]))
        width = max((len(cells) for _, cells in rows), default=0)
        if not width:
            return ""
        header = rows.pop(0)[1] if rows[0][0] else []
        lines = [header, ["---"] * width, *(cells for _, cells in rows)]
        return "\n".join("| " + " | ".join([*cells, *[""] * (width - len(cells))]) + " |" for cells in lines)

    def _cell(self, cell: dict[str, Any], depth: int) -> str:
        """One line: a cell of a Markdown table holds no blocks."""
        parts: list[str] = []
        for block in self.blocks(_content(cell), depth + 1):
            lines = [line.strip().removesuffix("\\") for line in block.split("\n")]
            parts.append(" ".join(line for line in lines if line and not line.startswith("```")))
        return re.sub(r"(?<!\\)((?:\\\\)*)\|", r"\1\\|", " ".join(parts))

    # --- inline -------------------------------------------------------------------------------

    def _inline(self, nodes: Iterable[object], depth: int) -> str:
        parts: list[str] = []
        run: list[tuple[str, tuple[str, ...], str]] = []
        for node in nodes:
            if not isinstance(node, dict) or not self._takes_node():
                continue
            if _kind(node) == "text":
                run.append(self._text(node))
                continue
            parts.append(_marked(run))
            run = []
            parts.append(self._inline_node(node, depth))
        parts.append(_marked(run))
        # A break at either end breaks nothing, and its backslash would be one of the text.
        while parts and parts[-1].strip() in ("", "\\"):
            parts.pop()
        while parts and parts[0].strip() in ("", "\\"):
            parts.pop(0)
        return "".join(parts).strip()

    def _text(self, node: dict[str, Any]) -> tuple[str, tuple[str, ...], str]:
        """The text, its marks of emphasis, its link; code is finished here."""
        marks = [mark for mark in _list(node.get("marks"))[:20] if isinstance(mark, dict)]
        kinds = {str(mark.get("type")) for mark in marks}
        href = next((_attrs(mark).get("href") for mark in marks if mark.get("type") == "link"), "")
        # A line end in a text node is shown as white space; a paragraph of its own would be more than it says.
        text = re.sub(r"\s*\n\s*", " ", self._taken(node.get("text")))
        shown = _code_span(text) if "code" in kinds else _escaped(text)
        return shown, tuple(kind for kind in _DELIMITERS if kind in kinds), href if isinstance(href, str) else ""

    def _inline_node(self, node: dict[str, Any], depth: int) -> str:
        kind, attrs = _kind(node), _attrs(node)
        if kind == "hardBreak":
            return "\\\n"
        if kind == "mention":
            name = self._taken(attrs.get("text") or attrs.get("id"))
            return _escaped(name if name.startswith("@") else f"@{name}")
        if kind == "emoji":
            return _escaped(self._taken(attrs.get("text") or attrs.get("shortName")))
        if kind == "date":
            return _date(attrs.get("timestamp"))
        if kind == "status":
            text = self._taken(attrs.get("text"))
            return f"**{_escaped(text)}**" if text.strip() else ""
        if kind in ("inlineCard", "blockCard", "embedCard"):
            return self._card(attrs)
        if kind in _MEDIA:
            return self._media(attrs)
        inside = _content(node)
        if inside and depth < MAX_DEPTH:
            return self._inline(inside, depth + 1)
        return _escaped(self.flat(node) or self._named(node, attrs))

    def _card(self, attrs: dict[str, Any]) -> str:
        url = attrs.get("url")
        if isinstance(url, str) and url.strip():
            return _link(_escaped(self._taken(url)), url)
        data = attrs.get("data")
        return _escaped(self._taken(data.get("name"))) if isinstance(data, dict) else ""

    def _media(self, attrs: dict[str, Any]) -> str:
        """By name: the file itself is behind a log-in, and nothing here fetches it."""
        name = next((attrs[key] for key in ("alt", "name", "__fileName", "url", "id") if attrs.get(key)), "")
        return _escaped(f"(attachment: {self._taken(name)})" if isinstance(name, str) and name else "(attachment)")

    def _named(self, node: dict[str, Any], attrs: dict[str, Any]) -> str:
        """What an unknown node says of itself."""
        return self._taken(node.get("text") or attrs.get("text") or attrs.get("title") or attrs.get("url"))

    def _raw(self, node: object) -> str:
        if not isinstance(node, dict) or not self._takes_node():
            return ""
        return "\n" if _kind(node) == "hardBreak" else self._taken(node.get("text")) or self.flat(node)

    def flat(self, document: object) -> str:
        """The text of all nodes below, in order, on one line. Walks without recursion, so any depth will do."""
        parts: list[str] = []
        waiting: list[object] = [document]
        while waiting and self._takes_node():
            node = waiting.pop()
            if isinstance(node, list):
                waiting.extend(reversed(node))
            elif isinstance(node, dict):
                if isinstance(node.get("text"), str):
                    parts.append(self._taken(node["text"]))
                elif isinstance(_attrs(node).get("text"), str):
                    parts.append(self._taken(_attrs(node)["text"]))
                elif _kind(node) not in _INLINE:
                    parts.append(" ")
                waiting.extend(reversed(_content(node)))
        return " ".join("".join(parts).split())

    # --- bounds -------------------------------------------------------------------------------

    def _takes_node(self) -> bool:
        self.nodes -= 1
        self.cut = self.cut or self.nodes < 0
        return self.nodes >= 0

    def _taken(self, value: object) -> str:
        """The text, as much of it as there is room for."""
        if not isinstance(value, str):
            return ""
        kept = value[: max(self.characters, 0)]
        self.characters -= len(value)
        self.cut = self.cut or len(kept) < len(value)
        return kept


def _kind(node: dict[str, Any]) -> str:
    kind = node.get("type")
    return kind if isinstance(kind, str) else ""


def _attrs(node: dict[str, Any]) -> dict[str, Any]:
    attrs = node.get("attrs")
    return attrs if isinstance(attrs, dict) else {}


def _content(node: dict[str, Any]) -> list[object]:
    return _list(node.get("content"))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", text)


def _at_block_start(text: str) -> str:
    """No line of a paragraph begins a heading, a list, a quote or a rule."""
    return "\n".join(_BLOCK_START.sub(_escaped_start, line) for line in text.split("\n"))


def _escaped_start(match: re.Match[str]) -> str:
    return f"{match[1]}\\{match[2]}" if match[2] else f"{match[1]}{match[3]}\\{match[4]}"


def _code_span(text: str) -> str:
    if not text.strip():
        return text
    longest = max((len(run) for run in _TICKS.findall(text)), default=0)
    ticks = "`" * (longest + 1)
    pad = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _marked(run: Sequence[tuple[str, tuple[str, ...], str]]) -> str:
    """A run of texts with their marks. Neighbours with the same marks are one, white space stands outside of them."""
    merged: list[tuple[str, tuple[str, ...], str]] = []
    for text, marks, href in run:
        if merged and merged[-1][1:] == (marks, href) and not text.startswith("`"):
            text = merged.pop()[0] + text
        merged.append((text, marks, href))
    parts: list[str] = []
    for text, marks, href in merged:
        inner = text.strip()
        if not inner:
            parts.append(text)
            continue
        made = inner
        for mark in reversed(marks):
            made = f"{_DELIMITERS[mark]}{made}{_DELIMITERS[mark]}"
        if href:
            made = _link(made, href)
        before = text[: len(text) - len(text.lstrip())]
        after = text[len(text.rstrip()) :]
        parts.append(f"{before}{made}{after}")
    return "".join(parts)


def _link(text: str, url: str) -> str:
    address = _LINK.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), url.strip())
    return f"[{text}]({address})" if address else text


def _quoted(blocks: Sequence[str]) -> str:
    return "\n".join(f"> {line}".rstrip() for line in "\n\n".join(blocks).split("\n"))


def _date(timestamp: object) -> str:
    """A date is given in milliseconds, as a text."""
    try:
        return datetime.fromtimestamp(int(str(timestamp)) / 1000, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return ""
