"""Wiki markup of Jira Data Center → a document as Cloud has it (ADF), so that one writer makes Markdown of both.

Never raises; what isn't understood stays the text that it is. The cost grows with the length of the
text alone: every search for an end that was in vain is remembered.
"""

from __future__ import annotations

import re
from typing import Any

Node = dict[str, Any]

MAX_WIKI = 1_000_000
"""Characters that are looked at."""
_MAX_LINE = 20_000
"""A longer line is a paste; it is shown as it is."""
_DEPTH = 6

_HEADING = re.compile(r"^\s*h([1-6])\.\s*(.*)$")
_QUOTE_LINE = re.compile(r"^\s*bq\.\s*(.*)$")
_RULE = re.compile(r"^\s*-{4,5}\s*$")
_ITEM = re.compile(r"^\s*([*#]{1,10}|-)\s+(.*)$")
_TASK = re.compile(r"^\\?\[([ xX])\\?\]\s+")
_MACRO = re.compile(r"\{(code|noformat|quote|panel|info|note|warning|tip)(?::([^}\n]{0,500}))?\}")
_OPENING = re.compile(rf"^\s*{_MACRO.pattern}")
_PANELS = {"panel": "note", "info": "info", "note": "note", "warning": "warning", "tip": "success"}
_MARKS = {"*": "strong", "_": "em", "-": "strike", "+": "underline", "^": "subsup", "~": "subsup"}
_CLOSING = {mark: re.compile(rf"(?<![\s\\]){re.escape(mark)}(?!\w)") for mark in _MARKS}
_INLINE = re.compile(
    r"\\\\[ \t]?(?=\S|$)"  # a forced line break
    r"|\\[\\*_\-+^~\[\]{}!|?#(]"
    r"|\{\{(?P<code>[^\n]{1,2000}?)\}\}"
    r"|\{(?P<macro>color|anchor)(?::[^}\n]{0,2000})?\}"
    r"|\[(?P<link>[^\[\]\n]{1,2000})\]"
    r"|!(?P<image>[^\s!|][^!\n|]{0,300})(?:\|[^!\n]{0,200})?!"
    r"|(?P<url>(?:https?|ftp)://[^\s|\]\[<>{}\"]{1,2000})"
    r"|\?\?(?P<cite>[^?\n]{1,500})\?\?"
    r"|&\#(?P<entity>\d{1,6});"
    r"|(?P<mark>(?<!\w)[*_\-+^~](?=\S))"
)
_LANGUAGE = re.compile(r"[\w+#.-]{1,30}")


def from_wiki(text: str) -> Node:
    """The document that says what the markup says."""
    lines = text[:MAX_WIKI].replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return {"version": 1, "type": "doc", "content": _Blocks(lines).all(0)}


class _Blocks:
    """Walks the lines once. A macro takes its lines out, up to its end."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.at = 0
        self.endless: set[str] = set()
        """Macros that have no end in what is left."""

    def all(self, depth: int) -> list[Node]:
        found: list[Node] = []
        paragraph: list[str] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            made = self._special(line, depth)
            if made is None and line.strip():
                paragraph.append(line)
                self.at += 1
                continue
            if paragraph:
                found.append(_paragraph(paragraph))
                paragraph = []
            if made is None:
                self.at += 1
            else:
                found += made
        return [*found, _paragraph(paragraph)] if paragraph else found

    def _special(self, line: str, depth: int) -> list[Node] | None:
        """What begins at this line other than a paragraph; its lines are taken. None: nothing does."""
        if len(line) > _MAX_LINE:
            self.at += 1
            return [{"type": "paragraph", "content": [_text(line)]}]
        macro = _OPENING.match(line)
        if macro and depth < _DEPTH:
            inside = self._macro(macro)
            return None if inside is None else _macro_node(macro, inside, depth)
        if heading := _HEADING.match(line):
            self.at += 1
            return [{"type": "heading", "attrs": {"level": int(heading[1])}, "content": _inline(heading[2])}]
        if quote := _QUOTE_LINE.match(line):
            self.at += 1
            return [{"type": "blockquote", "content": [_paragraph([quote[1]])]}]
        if _RULE.match(line):
            self.at += 1
            return [{"type": "rule"}]
        if _ITEM.match(line):
            return self._list()
        if line.lstrip().startswith("|"):
            return self._table()
        return None

    def _macro(self, opening: re.Match[str]) -> list[str] | None:
        """The lines within a macro; None if it never ends, then its name is only text."""
        name = opening[1]
        end = f"{{{name}}}"
        if name in self.endless:
            return None
        first = self.lines[self.at][opening.end() :]
        inside: list[str] = []
        for index in range(self.at, len(self.lines)):
            line = first if index == self.at else self.lines[index]
            before, closed, after = line.partition(end)
            inside.append(before)
            if closed:
                self.at = index + 1
                if after.strip():
                    # What follows on the line of the end is looked at as a line of its own.
                    self.at = index
                    self.lines[index] = after
                return inside
        self.endless.add(name)
        return None

    def _list(self) -> list[Node]:
        items: list[tuple[str, list[str]]] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            match = _ITEM.match(line) if len(line) <= _MAX_LINE else None
            if match:
                items.append((match[1], [match[2]]))
            elif line.strip() and not self._begins_a_block(line):
                items[-1][1].append(line.strip())
            else:
                break
            self.at += 1
        return _nested(items, 1)

    @staticmethod
    def _begins_a_block(line: str) -> bool:
        if len(line) > _MAX_LINE or line.lstrip().startswith("|"):
            return True
        return any(pattern.match(line) for pattern in (_OPENING, _HEADING, _QUOTE_LINE, _RULE))

    def _table(self) -> list[Node]:
        rows: list[Node] = []
        while self.at < len(self.lines) and self.lines[self.at].lstrip().startswith("|"):
            rows.append({"type": "tableRow", "content": _cells(self.lines[self.at][:_MAX_LINE].strip())})
            self.at += 1
        return [{"type": "table", "attrs": {}, "content": rows}]


def _macro_node(opening: re.Match[str], inside: list[str], depth: int) -> list[Node]:
    name, options = opening[1], opening[2] or ""
    if name in ("code", "noformat"):
        text = "\n".join(inside).strip("\n")
        attrs = {"language": language} if (language := _language(options)) and name == "code" else {}
        return [{"type": "codeBlock", "attrs": attrs, "content": [_text(text)] if text else []}]
    content = _Blocks(inside).all(depth + 1)
    if name == "quote":
        return [{"type": "blockquote", "content": content}]
    title = next((part[6:] for part in options.split("|") if part.startswith("title=")), "")
    heading = [{"type": "paragraph", "content": [_text(title, "strong")]}] if title.strip() else []
    return [{"type": "panel", "attrs": {"panelType": _PANELS[name]}, "content": [*heading, *content]}]


def _language(options: str) -> str:
    for part in options.split("|"):
        name, _, value = part.partition("=")
        if name == "language" and _LANGUAGE.fullmatch(value):
            return value
        if not value and _LANGUAGE.fullmatch(name):
            return name
    return ""


def _nested(items: list[tuple[str, list[str]]], level: int) -> list[Node]:
    """Items with their prefixes (`**` is one level below `*`) as lists within lists."""
    found: list[Node] = []
    at = 0
    while at < len(items):
        ordered = items[at][0][level - 1 :][:1] == "#"
        made: list[Node] = []
        tasks = True
        while at < len(items) and (items[at][0][level - 1 :][:1] == "#") is ordered:
            # A list that begins at a deeper level than this one has an item without a text of its own.
            own = [] if len(items[at][0]) > level else items[at][1]
            at += bool(own)
            below = at
            while below < len(items) and len(items[below][0]) > level:
                below += 1
            children = _nested(items[at:below], level + 1) if below > at else []
            at = below
            tasks = tasks and bool(own) and not children and _TASK.match(own[0]) is not None
            made.append({"own": own, "children": children})
        found.append(_list_node(made, ordered, tasks))
    return found


def _list_node(items: list[Node], ordered: bool, tasks: bool) -> Node:
    if tasks and not ordered:
        content = [_task_item(item["own"]) for item in items]
        return {"type": "taskList", "attrs": {}, "content": content}
    content = [
        {"type": "listItem", "content": [*([_paragraph(item["own"])] if item["own"] else []), *item["children"]]}
        for item in items
    ]
    return {"type": "orderedList" if ordered else "bulletList", "attrs": {}, "content": content}


def _task_item(own: list[str]) -> Node:
    match = _TASK.match(own[0])
    state = "DONE" if match and match[1] != " " else "TODO"
    lines = [own[0][match.end() if match else 0 :], *own[1:]]
    return {"type": "taskItem", "attrs": {"state": state}, "content": _paragraph(lines)["content"]}


def _cells(line: str) -> list[Node]:
    """The cells of a row; a bar in a link or behind a backslash divides nothing."""
    cells: list[Node] = []
    parts = re.split(r"(\|\||(?<!\\)\|)(?![^\[\]\n|]{0,500}\])", line)
    for divider, text in zip(parts[1::2], parts[2::2], strict=False):
        if divider == parts[-2] and text is parts[-1] and not text.strip():
            continue
        kind = "tableHeader" if divider == "||" else "tableCell"
        cells.append({"type": kind, "attrs": {}, "content": [{"type": "paragraph", "content": _inline(text.strip())}]})
    return cells


def _paragraph(lines: list[str]) -> Node:
    content: list[Node] = []
    for line in lines:
        if content:
            content.append({"type": "hardBreak"})
        content += _inline(line.strip())
    return {"type": "paragraph", "content": content}


def _text(text: str, *marks: str, href: str = "") -> Node:
    made = [{"type": mark} for mark in marks] + ([{"type": "link", "attrs": {"href": href}}] if href else [])
    return {"type": "text", "text": text} | ({"marks": made} if made else {})


def _inline(text: str, marks: tuple[str, ...] = ()) -> list[Node]:
    """The inline nodes of one line."""
    if len(text) > _MAX_LINE:
        return [_text(text, *marks)]
    found: list[Node] = []
    plain: list[str] = []
    endless: set[str] = set()
    position = 0

    def add(*nodes: Node) -> None:
        if plain:
            found.append(_text("".join(plain), *marks))
            plain.clear()
        found.extend(nodes)

    while match := _INLINE.search(text, position):
        plain.append(text[position : match.start()])
        position = match.end()
        if mark := match["mark"]:
            end = None if mark in endless or len(marks) >= _DEPTH else _CLOSING[mark].search(text, match.end() + 1)
            if end is None:
                endless.add(mark)
                plain.append(mark)
                continue
            add(*_inline(text[match.end() : end.start()], (*marks, _MARKS[mark])))
            position = end.end()
        elif match["link"] is not None:
            add(_link(match["link"], marks))
        elif match["image"] is not None:
            add({"type": "mediaInline", "attrs": {"alt": match["image"]}})
        elif match["code"] is not None:
            add(_text(match["code"].replace("\\", ""), *marks, "code"))
        elif match["url"] is not None:
            url = match["url"].rstrip(".,;:!?)'")
            add(_text(url, *marks, href=url))
            position = match.start() + len(url)
        elif match["cite"] is not None:
            add(_text(match["cite"], *marks, "em"))
        elif match["entity"] is not None:
            plain.append(_character(match["entity"]))
        elif match["macro"] is not None:
            continue  # a colour, an anchor: nothing to read
        elif match[0].startswith("\\\\"):
            add({"type": "hardBreak"})
        else:
            plain.append(match[0][1:])
    plain.append(text[position:])
    plain[:] = [part for part in plain if part]
    add()
    return found


def _link(inside: str, marks: tuple[str, ...]) -> Node:
    """`[text|url]`, `[url]`, `[~name]`, `[^file]`, `[#anchor]`."""
    if inside.startswith("~"):
        name = inside[1:].removeprefix("accountid:")
        return {"type": "mention", "attrs": {"id": name, "text": f"@{name}"}}
    if inside.startswith("^"):
        return {"type": "mediaInline", "attrs": {"alt": inside[1:]}}
    text, bar, url = inside.partition("|")
    url = (url if bar else text).partition("|")[0].strip()
    if re.match(r"(?:https?|ftp)://|mailto:", url):
        return _text((text if bar and text.strip() else url).replace("\\", ""), *marks, href=url)
    return _text(text if bar else f"[{inside}]", *marks)


def _character(number: str) -> str:
    code = int(number)
    return chr(code) if 32 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else ""
