"""Rich text of the fake Jira: what a document in ADF must look like, and a plain conversion from and to wiki markup.

Cloud keeps documents and shows them as wiki markup on `/rest/api/2`; what came in as wiki markup is shown
as a document on `/rest/api/3`. The conversions cover headings, lists, code, quotes, tables, panels, links and marks.
"""

from __future__ import annotations

import re
from typing import Any

from tests.fakes.jira_state import RichText

LIMIT = 32_767
"""Characters of a comment or a description."""

Node = dict[str, Any]

_INLINE = frozenset(
    {
        "text",
        "hardBreak",
        "mention",
        "emoji",
        "inlineCard",
        "date",
        "status",
        "placeholder",
        "mediaInline",
        "inlineExtension",
    }
)
_LISTS = frozenset({"bulletList", "orderedList", "taskList", "decisionList"})
_CELL = (
    frozenset({"paragraph", "heading", "codeBlock", "panel", "blockquote", "rule", "mediaSingle", "mediaGroup"})
    | _LISTS
)
_CELL |= {"blockCard", "embedCard", "nestedExpand", "extension"}
_BLOCKS = (_CELL | {"table", "expand", "bodiedExtension", "layoutSection"}) - {"nestedExpand"}
_ITEM = frozenset({"paragraph", "bulletList", "orderedList", "codeBlock", "mediaSingle", "taskList"})
_CHILDREN: dict[str, frozenset[str]] = {
    "doc": _BLOCKS,
    "paragraph": _INLINE,
    "heading": _INLINE,
    "codeBlock": frozenset({"text"}),
    "blockquote": frozenset({"paragraph", "bulletList", "orderedList", "codeBlock", "mediaSingle", "mediaGroup"}),
    "panel": frozenset(
        {"paragraph", "heading", "bulletList", "orderedList", "codeBlock", "blockCard", "rule", "taskList"}
    ),
    "bulletList": frozenset({"listItem"}),
    "orderedList": frozenset({"listItem"}),
    "listItem": _ITEM,
    "taskList": frozenset({"taskItem", "taskList"}),
    "taskItem": _INLINE,
    "decisionList": frozenset({"decisionItem"}),
    "decisionItem": _INLINE,
    "table": frozenset({"tableRow"}),
    "tableRow": frozenset({"tableCell", "tableHeader"}),
    "tableCell": _CELL,
    "tableHeader": _CELL,
    "expand": _CELL - {"nestedExpand"} | {"table"},
    "nestedExpand": _CELL,
    "mediaSingle": frozenset({"media", "caption"}),
    "mediaGroup": frozenset({"media"}),
    "layoutSection": frozenset({"layoutColumn"}),
    "layoutColumn": _BLOCKS,
    "bodiedExtension": _BLOCKS,
    "caption": _INLINE,
}
_NEVER_EMPTY = frozenset(
    {
        "blockquote",
        "bulletList",
        "orderedList",
        "listItem",
        "taskList",
        "decisionList",
        "table",
        "panel",
        "expand",
    }
)
_ATTRIBUTES = {
    "heading": ("level",),
    "panel": ("panelType",),
    "mention": ("id",),
    "emoji": ("shortName",),
    "taskList": ("localId",),
    "taskItem": ("localId", "state"),
    "decisionList": ("localId",),
    "decisionItem": ("localId", "state"),
    "date": ("timestamp",),
    "status": ("text", "color"),
    "media": ("type",),
    "extension": ("extensionKey", "extensionType"),
}
_MARKS = frozenset(
    {
        "strong",
        "em",
        "code",
        "strike",
        "underline",
        "link",
        "subsup",
        "textColor",
        "backgroundColor",
        "annotation",
        "border",
    }
)
_PANELS = frozenset({"info", "note", "tip", "warning", "error", "success", "custom"})


def is_document(value: object) -> bool:
    """Whether Jira would take it: the root, each node's place, attributes and marks."""
    return isinstance(value, dict) and value.get("type") == "doc" and value.get("version") == 1 and _valid(value)


def _valid(node: object) -> bool:
    if not isinstance(node, dict) or not isinstance(kind := node.get("type"), str):
        return False
    attributes = node.get("attrs") or {}
    if not isinstance(attributes, dict) or any(name not in attributes for name in _ATTRIBUTES.get(kind, ())):
        return False
    if kind == "text":
        return isinstance(node.get("text"), str) and bool(node["text"]) and _valid_marks(node.get("marks") or [])
    if kind == "heading" and attributes["level"] not in range(1, 7):
        return False
    if kind == "panel" and attributes["panelType"] not in _PANELS:
        return False
    if kind == "taskItem" and attributes["state"] not in ("TODO", "DONE"):
        return False
    content = node.get("content", [])
    if not isinstance(content, list) or (kind in _NEVER_EMPTY and not content):
        return False
    if kind == "doc" and "content" not in node:
        return False
    if kind == "codeBlock" and any(isinstance(child, dict) and child.get("marks") for child in content):
        return False
    allowed = _CHILDREN.get(kind)
    if allowed is None:
        return not content
    return all(isinstance(child, dict) and child.get("type") in allowed and _valid(child) for child in content)


def _valid_marks(marks: object) -> bool:
    if not isinstance(marks, list) or not all(isinstance(mark, dict) for mark in marks):
        return False
    kinds = [mark.get("type") for mark in marks]
    if any(kind not in _MARKS for kind in kinds) or len(set(kinds)) != len(kinds):
        return False
    if "code" in kinds and set(kinds) - {"code", "link", "annotation"}:
        return False  # code can't be bold: the trap that most converters fall into
    return all((mark.get("attrs") or {}).get("href") for mark in marks if mark["type"] == "link")


def as_document(text: RichText) -> Node | None:
    """For `/rest/api/3`."""
    return from_wiki(text) if isinstance(text, str) else text


def as_wiki(text: RichText) -> str | None:
    """For `/rest/api/2`."""
    return to_wiki(text).strip("\n") if isinstance(text, dict) else text


# --- ADF → wiki ---------------------------------------------------------------------------------

_WRAPS = {"strong": ("*", "*"), "em": ("_", "_"), "code": ("{{", "}}"), "strike": ("-", "-"), "underline": ("+", "+")}


def to_wiki(node: Node, marker: str = "") -> str:
    """Wiki markup of a node; `marker` is the bullets of the list around it."""
    kind, attributes = node.get("type", ""), node.get("attrs") or {}
    children: list[Node] = node.get("content") or []
    inner = "".join(to_wiki(child, marker) for child in children) if kind not in ("bulletList", "orderedList") else ""
    match kind:
        case "text":
            return _marked(node)
        case "hardBreak":
            return "\n"
        case "mention":
            return f"[~accountid:{attributes.get('id')}]"
        case "emoji":
            return str(attributes.get("text") or attributes.get("shortName"))
        case "inlineCard" | "blockCard" | "embedCard":
            return f"[{attributes.get('url')}]"
        case "status":
            return f"[ {attributes.get('text')} ]"
        case "paragraph":
            return f"{inner}\n" if marker else f"{inner}\n\n"
        case "heading":
            return f"h{attributes.get('level')}. {inner}\n\n"
        case "codeBlock":
            language = attributes.get("language")
            return f"{{code{':' + str(language) if language else ''}}}\n{inner}\n{{code}}\n\n"
        case "blockquote":
            return f"{{quote}}\n{inner.strip()}\n{{quote}}\n\n"
        case "panel":
            return f"{{panel:title={attributes.get('panelType')}}}\n{inner.strip()}\n{{panel}}\n\n"
        case "bulletList" | "orderedList":
            deeper = marker + ("*" if kind == "bulletList" else "#")
            return "".join(f"{deeper} {to_wiki(child, deeper).lstrip()}" for child in children) + (
                "" if marker else "\n"
            )
        case "taskItem":
            return f"* [{'x' if attributes.get('state') == 'DONE' else ' '}] {inner}\n"
        case "tableRow":
            return f"{inner}|\n"
        case "tableCell":
            return f"|{inner.strip() or ' '}"
        case "tableHeader":
            return f"||{inner.strip() or ' '}"
        case "rule":
            return "----\n\n"
    return inner


def _marked(node: Node) -> str:
    text = str(node.get("text", ""))
    for mark in node.get("marks") or []:
        if mark["type"] == "link":
            text = f"[{text}|{mark['attrs']['href']}]"
        else:
            before, after = _WRAPS.get(mark["type"], ("", ""))
            text = f"{before}{text}{after}"
    return text


# --- wiki → ADF ---------------------------------------------------------------------------------

_FENCE = re.compile(r"\{(code|noformat)(?::([\w+#-]+))?[^}]*\}")
_LINE = re.compile(r"(?P<bullets>[*#-]+) (?P<item>.*)|h(?P<level>[1-6])\. (?P<title>.*)|(?P<rule>-{4,})$")
_SPAN = re.compile(
    r"\{\{(?P<code>.+?)\}\}|(?<!\w)\*(?P<strong>[^*\n]+)\*(?!\w)|(?<!\w)_(?P<em>[^_\n]+)_(?!\w)"
    r"|\[~accountid:(?P<person>[^\]]+)\]|\[(?:(?P<label>[^\]|\n]+)\|)?(?P<href>(?:https?|mailto):[^\]\s]+)\]"
)


def from_wiki(text: str) -> Node:
    """A document of headings, lists, code blocks and paragraphs."""
    blocks: list[Node] = []
    lines = text.replace("\r\n", "\n").split("\n")
    paragraph: list[str] = []

    def close() -> None:
        if paragraph:
            blocks.append({"type": "paragraph", "content": _spans("\n".join(paragraph))})
            paragraph.clear()

    while lines:
        line = lines.pop(0)
        fence, match = _FENCE.fullmatch(line.strip()), _LINE.fullmatch(line)
        if fence:
            close()
            code: list[str] = []
            while lines and lines[0].strip() != f"{{{fence[1]}}}":
                code.append(lines.pop(0))
            lines = lines[1:]
            attributes = {"attrs": {"language": fence[2]}} if fence[2] else {}
            body = "\n".join(code)
            blocks.append(
                {"type": "codeBlock", **attributes, "content": [{"type": "text", "text": body}] if body else []}
            )
        elif match and match["bullets"]:
            close()
            _into_list(blocks, match["bullets"], match["item"])
        elif match:
            close()
            title = match["title"]
            heading = {"type": "heading", "attrs": {"level": int(match["level"] or 1)}, "content": _spans(title or "")}
            blocks.append({"type": "rule"} if match["rule"] else heading)
        elif line.strip():
            paragraph.append(line)
        else:
            close()
    close()
    return {"type": "doc", "version": 1, "content": blocks}


def _into_list(blocks: list[Node], bullets: str, text: str) -> None:
    """Add an item to the list that the blocks end with, as deep as it has bullets."""
    place = blocks
    for depth, bullet in enumerate(bullets):
        kind = "orderedList" if bullet == "#" else "bulletList"
        if not place or place[-1]["type"] != kind:
            place.append({"type": kind, "content": []})
        items = place[-1]["content"]
        if depth == len(bullets) - 1:
            items.append({"type": "listItem", "content": [{"type": "paragraph", "content": _spans(text)}]})
        elif not items:
            items.append({"type": "listItem", "content": [{"type": "paragraph", "content": []}]})
        place = items[-1]["content"]


def _spans(text: str) -> list[Node]:
    found: list[Node] = []
    at = 0
    for match in _SPAN.finditer(text):
        found += _plain(text[at : match.start()])
        at = match.end()
        if match["person"]:
            found.append({"type": "mention", "attrs": {"id": match["person"], "text": "@someone"}})
        elif match["href"]:
            mark = {"type": "link", "attrs": {"href": match["href"]}}
            found.append({"type": "text", "text": match["label"] or match["href"], "marks": [mark]})
        else:
            kind = str(match.lastgroup)
            found.append({"type": "text", "text": match[kind], "marks": [{"type": kind}]})
    return found + _plain(text[at:])


def _plain(text: str) -> list[Node]:
    nodes: list[Node] = []
    for index, line in enumerate(text.split("\n")):
        if index:
            nodes.append({"type": "hardBreak"})
        if line:
            nodes.append({"type": "text", "text": line})
    return nodes
