"""Names that a run gives to things: its branch, its pull request. Pure, because the workflow needs them too."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from sdlc.domain import Ticket
from sdlc.untrusted import visible_text, without_orders

MAX_BRANCH = 80
"""Characters; longer names are cut off in most lists of branches."""
_SUFFIX_ROOM = 4
"""Left free for `-2` to `-999`, when the name is taken by an earlier run."""
_MAX_KEY = 40
MAX_TITLE = 120

_PREFIX = re.compile(
    r"(?:feat|fix|docs|refactor|perf|test|build|ci|chore|style|revert)(?:\([^)]*\))?!?: ", re.IGNORECASE
)
_TYPES = {
    "fix": "bug bugfix defect fix hotfix incident regression error",
    "docs": "docs documentation",
    "refactor": "refactor refactoring tech-debt techdebt cleanup",
    "perf": "perf performance",
    "test": "test tests testing",
    "chore": "chore maintenance dependencies task",
    "feat": "feature feat enhancement story improvement",
}
_TYPE_OF_LABEL = {label: kind for kind, labels in _TYPES.items() for label in labels.split()}
_SOUNDS_LIKE_A_BUG = re.compile(
    r"\b(?:fix(?:es)?|bugs?|wrong(?:ly)?|crash(?:es)?|fails?|errors?|broken|breaks|incorrect(?:ly)?|"
    r"doesn'?t|does not|isn'?t|can'?t|cannot|missing|loses|regression|leaks?|instead of)\b",
    re.IGNORECASE,
)


def branch_name(ticket: Ticket) -> str:
    """`sdlc/<KEY>-<title>`: ASCII, at most 76 characters, a valid git ref for every ticket there can be."""
    stem = f"sdlc/{_key_part(ticket.key)}"
    title = slug(ticket.title, MAX_BRANCH - _SUFFIX_ROOM - len(stem) - 1)
    return f"{stem}-{title}" if title else stem


def numbered_branch(branch: str, number: int) -> str:
    """The name to take when `branch` is used up: itself for 1, then `<branch>-2` and so on, at most 80 characters."""
    if number <= 1:
        return branch
    suffix = f"-{number}"
    return branch[: MAX_BRANCH - len(suffix)].rstrip("-/") + suffix


def pull_request_title(ticket: Ticket) -> str:
    """`fix: round half a cent up (BUG-1)`: a conventional commit's first line of at most 120 characters."""
    title = " ".join(without_orders(visible_text(ticket.title)[0]).split()).rstrip(".") or ticket.key
    prefix = _PREFIX.match(title)
    if prefix is None:
        title = f"{_kind(ticket)}: {_uncapitalised(title)}"
    key = f" ({ticket.key})" if ticket.key not in title else ""
    room = MAX_TITLE - len(key)
    return (title if len(title) <= room else title[: room - 1].rstrip() + "…") + key


def _kind(ticket: Ticket) -> str:
    for label in ticket.labels:
        if kind := _TYPE_OF_LABEL.get(label.casefold()):
            return kind
    return "fix" if _SOUNDS_LIKE_A_BUG.search(ticket.title) else "feat"


def _uncapitalised(title: str) -> str:
    """`Round` → `round`, but `HTTP` and `I` stay."""
    first = title.split(" ", 1)[0]
    return title[0].lower() + title[1:] if len(first) > 1 and first[1:].islower() else title


def slug(text: str, limit: int) -> str:
    """Lower-case ASCII words joined by `-`, at most `limit` characters, cut between words where that is possible.

    Empty when nothing of the text can be written so, as with a title of emoji only.
    """
    letters = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(words) <= limit:
        return words
    cut = words[: limit + 1].rpartition("-")[0]
    return cut or words[:limit]


def _key_part(key: str) -> str:
    """The key as it is where that is possible; else what can be kept of it, and a hash so that two never meet."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", key).strip("-")
    if plain == key and 0 < len(key) <= _MAX_KEY:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[:_MAX_KEY].rstrip('-')}-{digest}".lstrip("-")


def coauthor_of(name: str, email: str) -> str:
    """`Name <e-mail>` as git writes it; empty where either can't stand in a trailer."""
    plain = " ".join(re.sub(r"[<>\x00-\x1f\x7f]", " ", visible_text(name)[0]).split())[:100]
    is_address = re.fullmatch(r"[^\s<>@]{1,64}@[^\s<>@]{1,190}", email.strip())
    return f"{plain} <{email.strip()}>" if plain and is_address else ""


def counted(number: int, noun: str) -> str:
    """`1 finding`, `2 findings`, `2 lenses`."""
    if number == 1:
        return f"{number} {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"
