"""Which tickets are taken unasked, as JQL. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sdlc.config.jira import JiraSettings

FIELDS = ("assignee", "status", "issuelinks", "labels")
"""What the choice among the found ones needs."""
_ORDER = re.compile(r"""\"(?:[^"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|(?P<order>\border\s+by\b)""", re.IGNORECASE | re.DOTALL)
"""Quoted values are stepped over: `summary ~ "order by"` sorts nothing."""


def quoted(text: str) -> str:
    """`text` as a value in JQL, whatever stands in it."""
    shown = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{shown}"'


def queries(settings: JiraSettings, *, boards: bool = True) -> tuple[str, ...]:
    """The queries in the order in which they are asked; the configured one alone, if there is one.

    `boards`: Jira Software is there, which brings sprints and ranks. Without it the order is priority, then age.
    """
    if settings.jql.strip():
        return (settings.jql.strip(),)
    base = _usual(settings)
    if not boards:
        return (f"{base} ORDER BY priority DESC, created ASC",)
    return (
        f"{base} AND sprint in openSprints() ORDER BY Rank ASC",
        f"{base} AND (sprint is EMPTY OR sprint not in openSprints()) ORDER BY Rank ASC",
    )


def of_one(settings: JiraSettings, key: str) -> str:
    """Finds the ticket of that key if it is among the selected ones."""
    where = without_order(settings.jql) if settings.jql.strip() else _usual(settings)
    return f"({where}) AND key = {quoted(key)}" if where else f"key = {quoted(key)}"


def looked_after(settings: JiraSettings, minutes: int) -> str:
    """Tickets of ours in which something happened in the last `minutes`, the latest first.

    Ours are those of the configured projects; without such those that are assigned to us, labelled, or selected.
    """
    if settings.projects:
        ours = _in_projects(settings)
    else:
        ours = f"assignee = currentUser() OR labels = {quoted(settings.label)}"
        if where := without_order(settings.jql):
            ours += f" OR ({where})"
    # In minutes from now, as a date would be read in the time zone of our account.
    return f"({ours}) AND updated >= -{minutes}m ORDER BY updated DESC"


def without_order(query: str) -> str:
    """The conditions of a query alone."""
    for found in _ORDER.finditer(query):
        if found["order"]:
            return query[: found.start()].strip()
    return query.strip()


def _usual(settings: JiraSettings) -> str:
    wanted = [
        "resolution is EMPTY",
        'statusCategory = "To Do"',
        f"labels = {quoted(settings.label)}",
        "(assignee is EMPTY OR assignee = currentUser())",
    ]
    if settings.projects:
        wanted.insert(0, _in_projects(settings))
    return " AND ".join(wanted)


def _in_projects(settings: JiraSettings) -> str:
    return f"project in ({', '.join(quoted(project) for project in settings.projects)})"


def is_free(issue: Mapping[str, Any], me: str, user_key: str, blocked_by: Sequence[str]) -> bool:
    """Not a person's, not done, and all that it waits for is done. `user_key`: `accountId` or `name`."""
    fields = _mapping(issue.get("fields"))
    assignee = _mapping(fields.get("assignee")).get(user_key)
    if assignee and assignee != me:
        return False
    return not _is_done(fields.get("status")) and not blockers(issue, blocked_by)


def blockers(issue: Mapping[str, Any], blocked_by: Sequence[str]) -> tuple[str, ...]:
    """Keys of the tickets that must be done before this one and aren't."""
    words = {" ".join(phrase.split()).casefold() for phrase in blocked_by}
    links = _mapping(issue.get("fields")).get("issuelinks")
    found: list[str] = []
    for link in links if isinstance(links, list) else ():
        about = _mapping(_mapping(link).get("type"))
        for end, phrase in (("inwardIssue", "inward"), ("outwardIssue", "outward")):
            other = _mapping(_mapping(link).get(end))
            said = " ".join(str(about.get(phrase) or "").split()).casefold()
            if other and said in words and not _is_done(_mapping(other.get("fields")).get("status")):
                found.append(str(other.get("key")))
    return tuple(found)


def _is_done(status: object) -> bool:
    return _mapping(_mapping(status).get("statusCategory")).get("key") == "done"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
