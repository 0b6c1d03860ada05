"""Comments in a Markdown file that people read and write too.

Each of ours stands between two hidden lines, of which the first says whose it is and on what
topic, so that a repeated effect edits its first instead of adding a second. What people write
beside them is kept as it is, and read as theirs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sdlc.domain import TicketComment

_BEGIN = "<!-- sdlc:comment "
_END = "<!-- sdlc:end -->"
_BLOCK = re.compile(
    rf"^{re.escape(_BEGIN)}(?P<meta>\{{[^\n]*\}}) -->\r?$\n(?P<body>.*?)^{re.escape(_END)}\r?$\n?",
    re.MULTILINE | re.DOTALL,
)
_HEADING = re.compile(r"^###[ \t]+(?P<author>[^\n,]+?)(?:,[^\n]*)?[ \t]*$", re.MULTILINE)
_OUR_LINES = re.compile(r"<!--(?=\s*sdlc:(?:comment|end))")


@dataclass(frozen=True)
class Comment:
    """One comment of ours."""

    marker: str
    """Whose: `RunIdentity.marker`."""
    topic: str
    author: str
    body: str
    """Markdown, finished."""
    created: datetime
    edited: datetime | None = None
    facts: dict[str, str] = field(default_factory=dict)
    """What the program must find again, such as the state of a finding."""


def upsert(text: str, comment: Comment) -> str:
    """`text` with the comment of this marker and topic in it: edited in its place, else added at the end."""
    for match, found in _blocks(text):
        if (found.marker, found.topic) != (comment.marker, comment.topic):
            continue
        if found.body == _harmless(comment.body) and found.facts == comment.facts:
            return text
        edited = replace(comment, created=found.created, edited=comment.created)
        return text[: match.start()] + _rendered(edited) + text[match.end() :]
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return text + gap + _rendered(comment)


def find(text: str, marker: str, topic: str) -> Comment | None:
    """The comment of this marker and topic."""
    return next((found for found in ours(text) if (found.marker, found.topic) == (marker, topic)), None)


def ours(text: str) -> tuple[Comment, ...]:
    """All comments of ours, in the order in which they stand."""
    return tuple(found for _, found in _blocks(text))


def every(text: str) -> tuple[TicketComment, ...]:
    """All comments in their order: ours, and what people wrote between them under `### name`."""
    comments: list[TicketComment] = []
    position = 0
    for match, found in _blocks(text):
        comments += _by_hand(text[position : match.start()])
        comments.append(TicketComment(author=found.author, body=found.body, created=found.edited or found.created))
        position = match.end()
    return (*comments, *_by_hand(text[position:]))


def _blocks(text: str) -> Iterator[tuple[re.Match[str], Comment]]:
    for match in _BLOCK.finditer(text):
        try:
            meta = json.loads(match["meta"])
            comment = Comment(
                marker=str(meta["marker"]),
                topic=str(meta["topic"]),
                author=str(meta["author"]),
                body=_body_of(match["body"]),
                created=datetime.fromisoformat(meta["created"]),
                edited=datetime.fromisoformat(meta["edited"]) if meta.get("edited") else None,
                facts={str(key): str(value) for key, value in meta.get("facts", {}).items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # edited by hand beyond recognition: then it is a person's
        yield match, comment


def _rendered(comment: Comment) -> str:
    meta: dict[str, object] = {
        "marker": comment.marker,
        "topic": comment.topic,
        "author": comment.author,
        "created": comment.created.astimezone(UTC).isoformat(timespec="seconds"),
    }
    if comment.edited:
        meta["edited"] = comment.edited.astimezone(UTC).isoformat(timespec="seconds")
    if comment.facts:
        meta["facts"] = comment.facts
    # `<`, `>` and `--` as escapes: whatever stands in a field, it can't end the hidden line.
    line = json.dumps(meta).replace("<", "\\u003c").replace(">", "\\u003e").replace("--", "-\\u002d")
    edited = f" (edited {_moment(comment.edited)})" if comment.edited else ""
    author = " ".join(comment.author.replace("<", "").replace(",", " ").split())
    heading = f"### {author}, {_moment(comment.created)}{edited}"
    return f"{_BEGIN}{line} -->\n{heading}\n\n{_harmless(comment.body)}\n{_END}\n"


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _harmless(body: str) -> str:
    """A body that can't be taken for the lines that hold it."""
    return _OUR_LINES.sub("&lt;!--", body.replace("\r\n", "\n").replace("\r", "\n").strip("\n"))


def _body_of(block: str) -> str:
    """A block without its heading."""
    lines = block.replace("\r\n", "\n").split("\n")
    return "\n".join(lines[1:] if lines and lines[0].startswith("### ") else lines).strip("\n")


def _by_hand(text: str) -> Iterator[TicketComment]:
    headings = list(_HEADING.finditer(text))
    first = text[: headings[0].start()] if headings else text
    if _says_something(first):
        yield TicketComment(author="", body=first.strip())
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    for heading, end in zip(headings, ends, strict=False):
        body = text[heading.end() : end]
        if body.strip():
            yield TicketComment(author=heading["author"].strip(), body=body.strip())


def _says_something(text: str) -> bool:
    """More than a title: a file's own `# Comments on X`."""
    return any(line.strip() and not line.startswith("# ") for line in text.splitlines())
