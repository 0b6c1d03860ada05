"""Which transition of a workflow brings a ticket where it should be. Pure.

Asked by the configured name, then by the status it leads to, then by that status's category; never by
guessing among several. A refusal lists what the workflow allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdlc.domain import TicketStatus
from sdlc.errors import PermissionDenied

Json = Mapping[str, Any]

_NAMES = {
    TicketStatus.TODO: "to do|open|reopened|backlog|selected for development|ready|ready for development|new",
    TicketStatus.IN_PROGRESS: "in progress|in development|doing|started|in work|implementing",
    TicketStatus.IN_REVIEW: "in review|review|code review|peer review|reviewing|under review|ready for review",
    TicketStatus.DONE: "done|closed|resolved|complete|completed|finished",
}
_CATEGORIES = {
    TicketStatus.TODO: "new",
    TicketStatus.IN_PROGRESS: "indeterminate",
    TicketStatus.IN_REVIEW: "indeterminate",
    TicketStatus.DONE: "done",
}
_NOT_DONE = re.compile(
    r"won'?t|will not|reject|declin|cancel|duplicate|invalid|obsolete|abandon|cannot reproduce|discard", re.IGNORECASE
)
"""Statuses of the category Done that don't say that anything was done."""
_RESOLUTIONS = ("done", "fixed", "resolved", "complete", "completed")


@dataclass(frozen=True)
class Wanted:
    """Where a ticket should go, and what the configuration says of the way."""

    status: TicketStatus
    transition: str = ""
    """Name or id."""
    status_name: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """By id or name of the field."""

    @property
    def setting(self) -> str:
        """The key in `jira.transitions` and its neighbours."""
        return self.status.name.lower()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of statuses that are meant, in lower case, the likeliest first."""
        configured = (_folded(self.status_name),) if self.status_name else ()
        return configured or tuple(_NAMES[self.status].split("|"))

    @property
    def category(self) -> str:
        return _CATEGORIES[self.status]


@dataclass(frozen=True)
class Choice:
    id: str
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def choose(key: str, status: Json, transitions: Sequence[Json], wanted: Wanted) -> Choice | None:
    """The transition to take from `status` (Jira's JSON of it); None if the ticket is where it should be.

    `transitions` with their fields (`expand=transitions.fields`). Raises PermissionDenied, which lists what the
    workflow allows and says which setting mends it.
    """
    if is_there(status, wanted):
        return None
    open_ways = [way for way in transitions if way.get("isAvailable", True)]
    if wanted.transition:
        named = [way for way in open_ways if _is_named(way, wanted.transition)]
        if not named:
            raise _refusal(key, status, open_ways, wanted, f'there is no transition "{wanted.transition}"')
        return _fillable(key, status, open_ways, named, wanted)
    for name in wanted.names:
        if ways := [way for way in open_ways if _folded(_target(way).get("name")) == name]:
            return _fillable(key, status, open_ways, ways, wanted)
    if wanted.status_name:
        raise _refusal(key, status, open_ways, wanted, f'none leads to "{wanted.status_name}"')
    if category_of(status) == wanted.category and not _is_false_end(status):
        return None  # such as a workflow that knows no review: in progress is as near as it gets
    ways = [
        way for way in open_ways if category_of(_target(way)) == wanted.category and not _is_false_end(_target(way))
    ]
    if len({_folded(_target(way).get("name")) for way in ways}) > 1:
        raise _refusal(key, status, open_ways, wanted, "several would do")
    if not ways:
        raise _refusal(key, status, open_ways, wanted, "none leads there")
    return _fillable(key, status, open_ways, ways, wanted)


def is_there(status: Json, wanted: Wanted) -> bool:
    """Does the status' own name say that it is the one?"""
    return _folded(status.get("name")) in wanted.names


def category_of(status: Json) -> str:
    """`new`, `indeterminate`, `done`; empty where the server does not say."""
    category = status.get("statusCategory")
    key = category.get("key") if isinstance(category, Mapping) else None
    return key if isinstance(key, str) else ""


def known_status(status: Json, names: Mapping[str, str]) -> str:
    """One of ours where the ticket's status means it (`names` as configured); else the status' own name."""
    for ours in TicketStatus:
        if is_there(status, Wanted(ours, status_name=names.get(ours.name.lower(), ""))):
            return ours.value
    if category_of(status) == "done":
        return TicketStatus.DONE.value
    return str(status.get("name") or "")


def _fillable(key: str, status: Json, allowed: Sequence[Json], ways: Sequence[Json], wanted: Wanted) -> Choice:
    """The first of the ways whose required fields can all be filled."""
    missing: list[str] = []
    for way in ways:
        filled, lacking = _fields(way, wanted)
        if not lacking:
            return Choice(str(way.get("id")), str(way.get("name")), filled)
        missing = missing or lacking
    fields = ", ".join(missing)
    raise _refusal(key, status, allowed, wanted, f"it asks for {fields}; set jira.transition_fields.{wanted.setting}")


def _fields(way: Json, wanted: Wanted) -> tuple[dict[str, Any], list[str]]:
    """What to send along, and the names of the fields that are required and not configured."""
    given = {_folded(name): value for name, value in wanted.fields.items()}
    filled: dict[str, Any] = {}
    missing: list[str] = []
    screen = way.get("fields")
    for field_id, about in (screen if isinstance(screen, Mapping) else {}).items():
        about = about if isinstance(about, Mapping) else {}
        value = given.get(_folded(field_id), given.get(_folded(about.get("name"))))
        if value is None and about.get("required") and not about.get("hasDefaultValue"):
            value = _usual(field_id, about)
            if value is None:
                allowed = ", ".join(sorted(_names(about)))[:300]
                name = f'"{about.get("name") or field_id}"'
                missing.append(f"{name} (one of: {allowed})" if allowed else name)
        if value is not None:
            filled[field_id] = _as_json(value, about)
    return filled, missing


def _usual(field_id: str, about: Json) -> Any:
    """A resolution is asked for so often that "Done" needs no configuration."""
    if field_id != "resolution":
        return None
    return next((name for usual in _RESOLUTIONS for name in _names(about) if name.casefold() == usual), None)


def _as_json(value: Any, about: Json) -> Any:
    """A plain name as Jira takes it for such a field; whatever is more than that stays as it is."""
    schema = about.get("schema")
    schema = schema if isinstance(schema, Mapping) else {}
    is_array = schema.get("type") == "array"
    if isinstance(value, list | tuple):
        return [_as_json(one, {**about, "schema": {"type": schema.get("items")}}) for one in value]
    if isinstance(value, Mapping):
        return [value] if is_array else value
    for allowed in about.get("allowedValues") or ():
        if isinstance(allowed, Mapping):
            for kind in ("name", "value"):
                if _folded(allowed.get(kind)) == _folded(value):
                    made: Any = {kind: allowed[kind]}
                    return [made] if is_array else made
    return [value] if is_array else value


def _names(about: Json) -> list[str]:
    values = about.get("allowedValues")
    allowed = [one for one in (values if isinstance(values, list) else ()) if isinstance(one, Mapping)]
    return [str(one.get("name") or one.get("value")) for one in allowed if one.get("name") or one.get("value")]


def _refusal(key: str, status: Json, allowed: Sequence[Json], wanted: Wanted, why: str) -> PermissionDenied:
    ways = "; ".join(f'"{way.get("name")}" to "{_target(way).get("name")}"' for way in allowed[:20])
    there = f"the workflow allows {ways}" if ways else 'the workflow allows nothing (permission "Transition Issues"?)'
    mend = "" if "jira." in why else f" Set jira.transitions.{wanted.setting} or jira.statuses.{wanted.setting}."
    return PermissionDenied(
        f'{key} can\'t be brought from "{status.get("name")}" to {wanted.status_name or wanted.status.value}: '
        f"{why}. From there {there}.{mend}"
    )


def _is_named(way: Json, name: str) -> bool:
    """By the transition's own name or id; a name that is only a status' is taken as that of its target."""
    return _folded(name) in (_folded(way.get("name")), _folded(way.get("id")), _folded(_target(way).get("name")))


def _is_false_end(status: Json) -> bool:
    return bool(_NOT_DONE.search(str(status.get("name") or "")))


def _target(way: Json) -> Json:
    to = way.get("to")
    return to if isinstance(to, Mapping) else {}


def _folded(text: object) -> str:
    return " ".join(str(text).split()).casefold() if text is not None else ""
