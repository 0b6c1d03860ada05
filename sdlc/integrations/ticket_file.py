"""A ticket as a Markdown file with YAML front matter: read, checked, and edited without losing a person's hand.

Front matter may hold title, key, status, assignee, labels, type, priority; every other key is
kept as it is. Without `title` the first `# heading` is it. The list under a heading
`Acceptance criteria` becomes the criteria, the rest of the text the description.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from frontmatter.default_handlers import YAMLHandler

from sdlc.domain import TicketStatus
from sdlc.errors import TicketInvalid

MAX_FILE = 8 * 1024**2
"""Bytes; a larger file isn't a ticket."""
MAX_DESCRIPTION = 32_000
"""Characters of a description that go on to the engine."""
MAX_TITLE = 250
MAX_CRITERIA = 50
MAX_CRITERION = 2_000
_MAX_FRONT_MATTER = 64 * 1024

KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")

_YAML = YAMLHandler()


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them unfold to more than there is memory for."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.get_mark()
            raise yaml.composer.ComposerError(None, None, "an alias `*name`", mark)
        return super().compose_node(parent, index)


_HEADING = re.compile(r"^[ ]{0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})")
_ITEM = re.compile(r"^(?P<indent>[ \t]*)(?:[-*+]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?(?P<text>.*)$")
_CRITERIA = re.compile(r"acceptance\s+criteria\W*", re.IGNORECASE)
_STATUSES = {re.sub(r"[\W_]", "", status.value).casefold(): status.value for status in TicketStatus} | {
    "open": TicketStatus.TODO.value,
    "closed": TicketStatus.DONE.value,
}
_TOP_LEVEL = re.compile(r"^(?P<key>[A-Za-z_][\w-]*)[ \t]*:(?:[ \t]|$)")


@dataclass(frozen=True)
class TicketFile:
    """What stands in a ticket's file."""

    title: str
    description: str
    """Not more than `MAX_DESCRIPTION` characters."""
    truncated: bool
    criteria: tuple[str, ...]
    revision: str
    """Of all the text, the part that was cut off included."""
    metadata: dict[str, Any]

    @property
    def key(self) -> str:
        """As the front matter has it; empty if it has none."""
        return _text(self.metadata.get("key"))

    @property
    def status(self) -> str:
        """One of ours where it is meant, whatever the spelling; other words stay."""
        said = _text(self.metadata.get("status"))
        return _STATUSES.get(re.sub(r"[\W_]", "", said).casefold(), said) if said else TicketStatus.TODO.value

    @property
    def assignee(self) -> str:
        return _text(self.metadata.get("assignee"))

    @property
    def claimed_by(self) -> str:
        """`<workflow id>/<run id>` of the run that has it, or empty."""
        return _text(self.metadata.get("claimed_by"))

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels, and the type as one more."""
        found = self.metadata.get("labels") or ()
        listed = re.split(r"[,\s]+", found) if isinstance(found, str) else found if isinstance(found, list) else ()
        named = (_text(label) for label in [*listed, self.metadata.get("type")])
        return tuple(dict.fromkeys(label for label in named if label))

    @property
    def priority(self) -> str:
        return _text(self.metadata.get("priority"))


def read(path: Path) -> str:
    """The file's text, line ends as they are, without a byte order mark.

    Raises TicketInvalid, in one sentence with place and mend, for what can't be a ticket.
    """
    try:
        if path.is_dir():
            raise TicketInvalid(f"{path} is a folder; name the Markdown file of one ticket.")
        size = path.stat().st_size
        if size > MAX_FILE:
            raise TicketInvalid(
                f"{path} has {size:,} bytes, more than a ticket may have ({MAX_FILE:,}); put logs and data elsewhere."
            )
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise TicketInvalid(f"There is no ticket file {path}; check the path.") from error
    except OSError as error:
        raise TicketInvalid(f"The ticket file {path} can't be read ({error.strerror}); check its mode.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TicketInvalid(f"{path}, line {line}: the text is not UTF-8; save the file as UTF-8.") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TicketInvalid(f"{path}, line {line}: there is a NUL byte in it; save the ticket as plain UTF-8 text.")
    if not text.strip():
        raise TicketInvalid(f"{path} is empty; give it at least a title, as in `# Rounds half a cent down`.")
    return text


def parse(text: str, path: Path) -> TicketFile:
    """What the text says. `path` is for messages only. Raises TicketInvalid."""
    metadata, body = _front_matter(text, path)
    title = metadata.get("title")
    if isinstance(title, dict | list):
        raise TicketInvalid(f"{path}: `title` in the front matter is not a text; put it in quotes.")
    heading, body = _without_title(body, drop=_text(title))
    shown_title = " ".join((_text(title) or heading).split())
    if not shown_title:
        raise TicketInvalid(
            f"{path} has no title; add `title:` to its front matter, or a first line such as `# What is wrong`."
        )
    description, criteria = _criteria(body)
    description = description.strip()
    cut = description[:MAX_DESCRIPTION]
    whole = "\0".join([shown_title, description, *criteria])
    return TicketFile(
        title=shown_title if len(shown_title) <= MAX_TITLE else shown_title[: MAX_TITLE - 1].rstrip() + "…",
        description=cut,
        truncated=len(cut) < len(description),
        criteria=tuple(criterion[:MAX_CRITERION] for criterion in criteria[:MAX_CRITERIA]),
        revision=hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        metadata=metadata,
    )


def edited(text: str, changes: dict[str, str | None], path: Path) -> str:
    """The text with other values in its front matter; None takes a key out.

    Only the lines of those keys change: order, comments and unknown keys stay as a person wrote
    them. Front matter that is not written line by line is written anew, with the same content.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    before, body = _front_matter(text, path)
    wanted = {key: value for key, value in (before | changes).items() if value is not None}
    lines = _lines_of(text)
    if lines is None:
        block = [_yaml_line(key, value) for key, value in wanted.items()]
        return newline.join(["---", *block, "---", "", text.lstrip("\r\n")])
    result = _assembled(_changed(lines[0], changes), lines[1], newline)
    try:
        if _front_matter(result, path) == (wanted, body):
            return result
    except TicketInvalid:
        pass
    dumped: str = yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True, width=1_000)
    return _assembled(dumped.splitlines(), lines[1], newline)


def _front_matter(text: str, path: Path) -> tuple[dict[str, Any], str]:
    split = _lines_of(text)
    if split is None:
        if _YAML.detect(text):
            raise TicketInvalid(f"{path}, line 1: the front matter has no end; put a line `---` after it.")
        return {}, text
    block, body = "\n".join(split[0]), split[1]
    if len(block) > _MAX_FRONT_MATTER:
        raise TicketInvalid(f"{path}: the front matter is longer than {_MAX_FRONT_MATTER:,} characters; shorten it.")
    try:
        metadata = _YAML.load(block, Loader=_PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TicketInvalid(_why_not_yaml(error, path)) from error
    if metadata is None:
        return {}, body
    if not isinstance(metadata, dict):
        raise TicketInvalid(f"{path}, line 2: the front matter is not a list of `key: value` lines; write it so.")
    return {str(key): value for key, value in metadata.items()}, body


def _why_not_yaml(error: Exception, path: Path) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"{path}, line {mark.line + 2}" if mark else f"{path}, front matter"
    problem = getattr(error, "problem", None) or "it is nested too deeply or has a value that can't be"
    return f"{place}: the front matter is not YAML ({problem}); put a value with a colon or a quote in quotes."


def _lines_of(text: str) -> tuple[list[str], str] | None:
    """The front matter's lines and what follows its end; None if there is none or it has no end."""
    if not _YAML.detect(text):
        return None
    boundary = re.compile(r"^-{3,}[ \t]*\r?$\n?", re.MULTILINE)
    opening = boundary.match(text)
    closing = boundary.search(text, opening.end()) if opening else None
    if opening is None or closing is None:
        return None
    return text[opening.end() : closing.start()].splitlines(), text[closing.end() :]


def _assembled(lines: list[str], body: str, newline: str) -> str:
    return newline.join(["---", *lines, "---", ""]) + body


def _changed(lines: list[str], changes: dict[str, str | None]) -> list[str]:
    """The lines with each changed key in its place, new keys at the end."""
    left = dict(changes)
    result: list[str] = []
    dropping = False
    for line in lines:
        match = _TOP_LEVEL.match(line)
        if match and match["key"] in changes:
            dropping = True
            value = left.pop(match["key"], None)
            if value is not None:
                result.append(_yaml_line(match["key"], value))
        elif dropping and (line[:1] in (" ", "\t") or line.startswith("- ")):
            continue  # the rest of a value that is replaced
        else:
            dropping = False
            result.append(line)
    return result + [_yaml_line(key, value) for key, value in left.items() if value is not None]


def _yaml_line(key: str, value: Any) -> str:
    dumped: str = yaml.safe_dump({key: value}, allow_unicode=True, width=10_000, default_flow_style=False)
    return dumped.strip()


def _without_title(body: str, *, drop: str) -> tuple[str, str]:
    """The first `# heading`, and the text without it.

    With a title of its own (`drop`), the heading only goes if it repeats that.
    """
    lines = body.splitlines()
    for index, line, in_code in _lines(body):
        heading = None if in_code else _HEADING.match(line)
        if heading and len(heading[1]) == 1 and heading[2]:
            if drop and " ".join(heading[2].split()).casefold() != " ".join(drop.split()).casefold():
                break
            return heading[2], "\n".join(lines[:index] + lines[index + 1 :])
    return "", "\n".join(lines)


def _lines(body: str) -> list[tuple[int, str, bool]]:
    """Each line with its index and whether it stands in a fenced code block."""
    found: list[tuple[int, str, bool]] = []
    fence = ""
    for index, line in enumerate(body.splitlines()):
        mark = _FENCE.match(line)
        found.append((index, line, bool(fence) or mark is not None))
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1][0] == fence[0] and len(mark[1]) >= len(fence) and not line.strip().strip(fence[0]):
            fence = ""
    return found


def _criteria(body: str) -> tuple[str, list[str]]:
    """The description and the criteria. A section that holds more than a list stays in the description too."""
    lines = _lines(body)
    start = level = -1
    end = len(lines)
    for index, line, in_code in lines:
        heading = None if in_code else _HEADING.match(line)
        if heading is None:
            continue
        if start < 0 and _CRITERIA.fullmatch(heading[2]):
            start, level = index, len(heading[1])
        elif start >= 0 and len(heading[1]) <= level:
            end = index
            break
    texts = [line for _, line, _ in lines]
    if start < 0:
        return "\n".join(texts), []
    criteria, only_a_list = _items(texts[start + 1 : end])
    if only_a_list:
        return "\n".join(texts[:start] + texts[end:]), criteria
    return "\n".join(texts), criteria


def _items(lines: list[str]) -> tuple[list[str], bool]:
    """The items of a list (what is nested joins its parent; without a list, each paragraph), and if that was all."""
    items: list[str] = []
    only_a_list = True
    for line in lines:
        match = _ITEM.match(line)
        nested = bool(line) and line[0] in " \t" and bool(items)
        if match and not nested:
            items.append(match["text"].strip())
        elif nested:
            items[-1] = f"{items[-1]} {(match['text'] if match else line).strip()}".strip()
        elif line.strip():
            only_a_list = False
    if not items and not only_a_list:
        paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip())
        return [" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip()], True
    return [item for item in items if item], only_a_list


def _text(value: Any) -> str:
    """A scalar of the front matter as text; lists and mappings are no text."""
    if value is None or isinstance(value, dict | list | set):
        return ""
    return str(value).strip()
