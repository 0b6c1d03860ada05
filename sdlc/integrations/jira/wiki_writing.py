"""A document (ADF) → wiki markup of Jira Data Center.

What a text says stays text: nothing of it becomes a macro, an image, a mention or a link of its own.
"""

from __future__ import annotations

import re
from typing import Any

Node = dict[str, Any]

_DELIMITERS = {"strong": "*", "em": "_", "strike": "-", "underline": "+"}
_PANELS = {"info": "info", "note": "note", "warning": "warning", "error": "warning", "success": "tip", "tip": "tip"}
_SPECIAL = re.compile(r"[{}\[\]!|]|\?\?|(?<!\w)[*_+^~-]|[*_+^~-](?!\w)|--+")
_BLOCK_START = re.compile(r"^(\s*)(?:(h[1-6]|bq)\.|(\#{1,10}(?:\s|$)))")
_BACKSLASH = "&#92;"
"""Two backslashes are a line break, and there is no other way to show them."""
_DEPTH = 24


def to_wiki(document: Node) -> str:
    """The document as wiki markup, without white space at its ends. `document` is one that we made."""
    return "\n\n".join(_blocks(document.get("content", []), 0)).strip()


def escaped(text: str) -> str:
    """`text` so that it is shown as it is."""
    shown = _SPECIAL.sub(lambda match: "".join(f"\\{character}" for character in match[0]), text.replace("\\", "\0"))
    shown = shown.replace("\0", _BACKSLASH)
    return "\n".join(_BLOCK_START.sub(_escaped_start, line) for line in shown.split("\n"))


def _escaped_start(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}&#46;" if match[2] else f"{match[1]}\\{match[3]}"


def _blocks(nodes: list[Node], depth: int) -> list[str]:
    made = [_block(node, depth) for node in nodes] if depth <= _DEPTH else []
    return [block for block in made if block.strip()]


def _block(node: Node, depth: int) -> str:
    kind, attrs, content = node.get("type", ""), node.get("attrs", {}), node.get("content", [])
    if kind == "heading":
        return f"h{attrs.get('level', 2)}. {_one_line(content)}"
    if kind == "codeBlock":
        return _code(str(attrs.get("language", "")), "".join(child.get("text", "") for child in content))
    if kind == "rule":
        return "----"
    if kind in ("bulletList", "orderedList", "taskList"):
        return "\n".join(_list(node, "", depth))
    if kind == "blockquote":
        return "\n".join(["{quote}", "\n\n".join(_blocks(content, depth + 1)), "{quote}"])
    if kind == "panel":
        name = _PANELS.get(str(attrs.get("panelType")), "note")
        return "\n".join([f"{{{name}}}", "\n\n".join(_blocks(content, depth + 1)), f"{{{name}}}"])
    if kind == "table":
        return "\n".join(_row(row) for row in content)
    return _inline(content)


def _code(language: str, text: str) -> str:
    """A block that its text can't end: in one that holds `{code}`, the other macro, else an entity does it."""
    macro = "noformat" if "{code" in text else f"code:{language}" if language else "code"
    if "{noformat" in text and "{code" in text:
        text = text.replace("{code", "{ code").replace("{noformat", "{ noformat")
    name = macro.partition(":")[0]
    return f"{{{macro}}}\n{text}\n{{{name}}}"


def _list(node: Node, prefix: str, depth: int) -> list[str]:
    prefix = (prefix + ("#" if node["type"] == "orderedList" else "*"))[:10]
    lines: list[str] = []
    for item in node.get("content", []):
        if item.get("type") == "taskItem":
            box = "[x]" if item.get("attrs", {}).get("state") == "DONE" else "[ ]"
            lines.append(f"{prefix} \\{box[:-1]}\\] {_one_line(item.get('content', []))}")
            continue
        own: list[str] = []
        below: list[str] = []
        for block in item.get("content", []):
            if block.get("type") in ("bulletList", "orderedList", "taskList"):
                below += _list(block, prefix, depth + 1) if depth < _DEPTH else []
            elif made := _block(block, depth + 1):
                own.append(made)
        lines += [f"{prefix} {_without_blank_lines(own)}".rstrip(), *below]
    return lines


def _without_blank_lines(blocks: list[str]) -> str:
    """An empty line ends a list, except within a code block."""
    return "\n".join(block if block.startswith("{") else re.sub(r"\n{2,}", "\n", block) for block in blocks)


def _row(row: Node) -> str:
    cells = row.get("content", [])
    is_header = bool(cells) and all(cell.get("type") == "tableHeader" for cell in cells)
    bar = "||" if is_header else "|"
    texts = [
        " ".join(_one_line(block.get("content", [])) for block in cell.get("content", [])) or " " for cell in cells
    ]
    return bar + bar.join(texts) + bar


def _one_line(content: list[Node]) -> str:
    return " ".join(_inline(content).split("\n"))


def _inline(content: list[Node]) -> str:
    parts: list[str] = []
    for node in content:
        if node.get("type") == "hardBreak":
            parts.append("\n")
        elif node.get("type") == "text":
            parts.append(_text(node))
        else:
            parts.append(_inline(node.get("content", [])))
    return "".join(parts)


def _text(node: Node) -> str:
    text = str(node.get("text", ""))
    marks = {mark["type"]: mark.get("attrs", {}) for mark in node.get("marks", [])}
    inner = text.strip()
    if not inner:
        return text
    if "code" in marks:
        made = f"{{{{{escaped(inner)}}}}}"
    else:
        made = escaped(inner)
        for kind, mark in _DELIMITERS.items():
            if kind in marks:
                made = f"{mark}{made}{mark}"
    if "link" in marks:
        href = re.sub(r"[\s\[\]|{}]", lambda match: f"%{ord(match[0]):02X}", str(marks["link"].get("href", "")))
        made = f"[{made}|{href}]" if href else made
    before = text[: len(text) - len(text.lstrip())]
    return f"{before}{made}{text[len(text.rstrip()) :]}"
