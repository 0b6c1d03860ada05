"""Jira's JSON of an issue → `Ticket`. Pure: what was fetched comes in, nothing is asked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sdlc import markdown
from sdlc.domain import Ticket, TicketComment
from sdlc.integrations import criteria
from sdlc.integrations.jira import adf, transitions, wiki

Json = Mapping[str, Any]

MAX_DESCRIPTION = 32_000
"""Characters of a description that go on to the engine."""
MAX_COMMENTS = 32_000
"""Characters of all comments together; the newest are kept."""
MAX_TITLE = 250
MAX_CRITERIA = 50
MAX_CRITERION = 2_000
_MAX_PARENT = 8_000
_MAX_LISTED = 50


@dataclass(frozen=True)
class Reading:
    """How to read what a server sends."""

    is_cloud: bool
    base_url: str
    criteria_field: str = ""
    """Id of the field."""
    statuses: Mapping[str, str] | None = None
    """As in the settings."""


def ticket_of(issue: Json, reading: Reading, *, comments: Sequence[Json] = (), parent: Json | None = None) -> Ticket:
    """The ticket. `comments` the oldest first; `parent` the issue that this one is a subtask of."""
    fields = _mapping(issue.get("fields"))
    key = str(issue.get("key") or "")
    title = " ".join(str(fields.get("summary") or "").split()) or key
    description, found = criteria.split(rich_text(fields.get("description"), is_cloud=reading.is_cloud))
    found = _of_field(fields.get(reading.criteria_field), reading) or found if reading.criteria_field else found
    cut = description[:MAX_DESCRIPTION]
    sections = [_parent_section(parent, reading), _links_section(fields), _attachments_section(fields)]
    whole = "\0".join([title, description, *found])
    assignee = _mapping(fields.get("assignee"))
    return Ticket(
        key=key,
        title=title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1].rstrip() + "…",
        description="\n\n".join(part for part in (cut.strip(), *sections) if part),
        acceptance_criteria=tuple(text[:MAX_CRITERION] for text in found[:MAX_CRITERIA]),
        status=transitions.known_status(_mapping(fields.get("status")), reading.statuses or {}),
        assignee=user_name(assignee),
        labels=_labels(fields),
        components=_components(fields),
        comments=_comments(comments, reading),
        url=f"{reading.base_url}/browse/{key}",
        revision=hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:16],
        truncated=len(cut) < len(description),
    )


def rich_text(value: object, *, is_cloud: bool) -> str:
    """A rich field as Markdown: ADF, wiki markup, or the plain text that apps write."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").strip() if is_cloud else wiki.to_markdown(value)
    return adf.to_markdown(value) if isinstance(value, dict | list) else ""


def user_name(user: Json) -> str:
    """What people call a user; empty for nobody."""
    return str(user.get("displayName") or user.get("name") or user.get("accountId") or "")


def moment(value: object) -> datetime | None:
    """`2026-05-01T10:00:00.000+0000` as a moment; None for what isn't one."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None


def _of_field(value: object, reading: Reading) -> list[str]:
    """The criteria in a field of their own: a text with a list, or a check list of an app."""
    if isinstance(value, list):
        lines = [_check_list_item(one) for one in value]
        return [line for line in lines if line]
    return criteria.items(rich_text(value, is_cloud=reading.is_cloud))[0]


def _check_list_item(item: object) -> str:
    if isinstance(item, Mapping):
        item = next((item[name] for name in ("name", "text", "value", "title", "summary") if item.get(name)), "")
    return " ".join(item.split()) if isinstance(item, str) else ""


def _labels(fields: Json) -> tuple[str, ...]:
    """Labels, components and the type."""
    labels = [label for label in _sequence(fields.get("labels")) if isinstance(label, str)]
    named = [*labels, *_components(fields), _mapping(fields.get("issuetype")).get("name")]
    return tuple(dict.fromkeys(name for name in named if isinstance(name, str) and name))


def _components(fields: Json) -> tuple[str, ...]:
    named = [_mapping(component).get("name") for component in _sequence(fields.get("components"))]
    return tuple(dict.fromkeys(name for name in named if isinstance(name, str) and name))


def _comments(comments: Sequence[Json], reading: Reading) -> tuple[TicketComment, ...]:
    kept: list[TicketComment] = []
    room = MAX_COMMENTS
    for comment in reversed(comments):
        body = rich_text(comment.get("body"), is_cloud=reading.is_cloud)
        room -= len(body)
        if room < 0 and kept:
            break
        author = user_name(_mapping(comment.get("author"))) or "somebody"
        body = body if room >= 0 else body[:MAX_COMMENTS]
        kept.append(TicketComment(author=author, body=body, created=moment(comment.get("created"))))
        if room < 0:
            break
    return tuple(reversed(kept))


def _parent_section(parent: Json | None, reading: Reading) -> str:
    if not parent:
        return ""
    fields = _mapping(parent.get("fields"))
    title = markdown.inline(f"{parent.get('key')} {fields.get('summary') or ''}", MAX_TITLE)
    text = rich_text(fields.get("description"), is_cloud=reading.is_cloud)
    # A level down, so that no heading of the parent ends our section.
    text = re.sub(r"^(#{1,4}) ", r"##\1 ", text, flags=re.MULTILINE)
    shown = text[:_MAX_PARENT].rstrip() + ("\n\n…" if len(text) > _MAX_PARENT else "")
    return f"## Part of {title}\n\n{shown}".rstrip()


def _links_section(fields: Json) -> str:
    lines: list[str] = []
    for link in _sequence(fields.get("issuelinks")):
        about = _mapping(_mapping(link).get("type"))
        for end, phrase in (("inwardIssue", "inward"), ("outwardIssue", "outward")):
            other = _mapping(_mapping(link).get(end))
            if other:
                inside = _mapping(other.get("fields"))
                status = _mapping(inside.get("status")).get("name")
                said = f"{about.get(phrase) or 'relates to'} {other.get('key')}: {inside.get('summary') or ''}"
                lines.append(f"- {markdown.inline(said + (f' ({status})' if status else ''), MAX_TITLE)}")
    for subtask in _sequence(fields.get("subtasks")):
        title = _mapping(_mapping(subtask).get("fields")).get("summary")
        said = f"has the subtask {_mapping(subtask).get('key')}: {title or ''}"
        lines.append(f"- {markdown.inline(said, MAX_TITLE)}")
    return _section("Linked issues", lines)


def _attachments_section(fields: Json) -> str:
    named = [_mapping(attachment) for attachment in _sequence(fields.get("attachment"))]
    lines = [f"- {markdown.inline(str(one.get('filename') or 'file'), 200)}{_size(one.get('size'))}" for one in named]
    return _section("Attachments (by name only)", lines)


def _size(size: object) -> str:
    return f" ({size:,} bytes)" if isinstance(size, int) else ""


def _section(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    more = [f"- … and {len(lines) - _MAX_LISTED} more"] if len(lines) > _MAX_LISTED else []
    return "\n".join([f"## {title}", "", *lines[:_MAX_LISTED], *more])


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
