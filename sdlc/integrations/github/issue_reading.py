"""GitHub's JSON of an issue → `Ticket`, and what its labels and its text say. Pure: nothing is asked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sdlc.domain import Person, Ticket, TicketComment, TicketStatus
from sdlc.integrations import criteria

Json = Mapping[str, Any]

STATUS_LABELS = {TicketStatus.IN_PROGRESS: "sdlc: in progress", TicketStatus.IN_REVIEW: "sdlc: in review"}
"""An issue is open or closed and nothing else; what lies between stands in these."""
MAX_DESCRIPTION = 32_000
"""Characters of a description that go on to the engine."""
MAX_COMMENTS = 32_000
"""Characters of all comments together; the newest are kept."""
MAX_CRITERIA = 50
MAX_CRITERION = 2_000
LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,38})(?:\[bot\])?")

_KEY = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,100})-(?P<number>[0-9]{1,12})")
_BLOCKED = re.compile(
    r"\b(?:blocked by|depends on)\b[:\s]*(?P<issues>(?:[\w./-]*#\d+(?:\s*(?:,|and|&)\s*)?)+)", re.IGNORECASE
)
_ISSUE = re.compile(r"(?P<repository>[\w.-]{1,39}/[\w.-]{1,100})?#(?P<number>\d{1,12})")
_PRIORITY = re.compile(r"(?:prio(?:rity)?\s*[:/ -]\s*)?(?P<word>[a-z0-9]+)", re.IGNORECASE)
_PRIORITY_WORDS = (
    "blocker urgent highest critical p0",
    "high major p1",
    "medium normal p2",
    "low minor p3",
    "lowest p4",
)
_PRIORITIES = {word: rank for rank, words in enumerate(_PRIORITY_WORDS) for word in words.split()}
_NO_PRIORITY = 2


@dataclass(frozen=True)
class Place:
    """An issue: where it is, and what GitHub says of it."""

    key: str
    repository: str
    """`owner/name`."""
    number: int
    issue: Json

    @property
    def path(self) -> str:
        return f"/repos/{self.repository}/issues/{self.number}"

    @property
    def where(self) -> tuple[str, int]:
        return self.repository, self.number

    @property
    def is_closed(self) -> bool:
        return self.issue.get("state") == "closed"

    @property
    def labels(self) -> tuple[str, ...]:
        return labels_of(self.issue)

    @property
    def assignees(self) -> tuple[str, ...]:
        return tuple(_login(user) for user in self.issue.get("assignees") or ())


def key_of(repository: str, number: object) -> str:
    """`acme/parcel` and 12 → `parcel-12`."""
    return f"{repository.rpartition('/')[2]}-{number}"


def place_of(key: str, repositories: Iterable[str]) -> tuple[str, int] | None:
    """The repository and number of a key, in whichever case it is written; None for none of these repositories."""
    found = _KEY.fullmatch(key)
    if not found:
        return None
    name = found["name"].casefold()
    repository = next((one for one in repositories if one.rpartition("/")[2].casefold() == name), None)
    return (repository, int(found["number"])) if repository else None


def ticket_of(place: Place, comments: Sequence[Json] = ()) -> Ticket:
    """`comments` the oldest first."""
    issue = place.issue
    body = str(issue.get("body") or "").replace("\r\n", "\n").strip()
    description, found = criteria.split(body)
    cut = description[:MAX_DESCRIPTION]
    title = " ".join(str(issue.get("title") or "").split()) or place.key
    whole = "\0".join([title, description, *found])
    return Ticket(
        key=place.key,
        title=title,
        description=cut.strip(),
        acceptance_criteria=tuple(text[:MAX_CRITERION] for text in found[:MAX_CRITERIA]),
        status=status_of(place),
        assignee=", ".join(place.assignees),
        labels=place.labels,
        repository=place.repository,
        comments=_kept(comments),
        url=str(issue.get("html_url") or ""),
        revision=hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:16],
        truncated=len(cut) < len(description),
    )


def status_of(place: Place) -> TicketStatus:
    if place.is_closed:
        return TicketStatus.DONE
    there = {label.casefold() for label in place.labels}
    return next((status for status, label in reversed(STATUS_LABELS.items()) if label in there), TicketStatus.TODO)


def labels_of(issue: Json) -> tuple[str, ...]:
    listed = issue.get("labels") or ()
    names = [one.get("name") if isinstance(one, Mapping) else one for one in listed]
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name))


def is_free(place: Place, me: str) -> bool:
    """Open, no pull request, nobody's but ours, and not in work."""
    others = [login for login in place.assignees if login.casefold() != me.casefold()]
    return "pull_request" not in place.issue and not others and status_of(place) is TicketStatus.TODO


def rank_of(issue: Json) -> int:
    """0 is the most urgent, by a label such as `priority: high` or `P1`."""
    words = [found["word"].casefold() for label in labels_of(issue) if (found := _PRIORITY.fullmatch(label.strip()))]
    return min((_PRIORITIES[word] for word in words if word in _PRIORITIES), default=_NO_PRIORITY)


def named_blockers(place: Place) -> tuple[tuple[str, int], ...]:
    """Repository and number of what the text says it waits for, as in `Blocked by #12`."""
    found: list[tuple[str, int]] = []
    for line in _BLOCKED.finditer(str(place.issue.get("body") or "")[:MAX_DESCRIPTION]):
        for issue in _ISSUE.finditer(line["issues"]):
            found.append((issue["repository"] or place.repository, int(issue["number"])))
    return tuple(dict.fromkeys(found))[:20]


def person_of(user: object, *, mail_host: str = "") -> Person:
    """A user of GitHub's JSON by their login; `ghost`, as GitHub shows it, for an account that is gone.

    `mail_host` is that of the addresses which GitHub gives to everybody, for commits in their name.
    """
    login = _login(user)
    if not login:
        return Person(name="ghost")
    number = user.get("id") if isinstance(user, Mapping) and user.get("type", "User") == "User" else None
    email = f"{number}+{login}@{mail_host}" if mail_host and number else ""
    return Person(name=login, aliases=(login,), email=email)


def moment_of(value: object) -> datetime:
    """`2026-05-01T10:00:00Z` as a moment; 1970 for what isn't one."""
    try:
        found = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _kept(comments: Sequence[Json]) -> tuple[TicketComment, ...]:
    kept: list[TicketComment] = []
    room = MAX_COMMENTS
    for comment in reversed(comments):
        body = str(comment.get("body") or "").strip()[:MAX_COMMENTS]
        room -= len(body)
        if room < 0 and kept:
            break
        author = _login(comment.get("user")) or "ghost"
        kept.append(TicketComment(author=author, body=body, created=moment_of(comment.get("created_at"))))
    return tuple(reversed(kept))


def _login(user: object) -> str:
    return str(user.get("login") or "") if isinstance(user, Mapping) else ""
