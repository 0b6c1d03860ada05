"""Hidden marks by which we know what we wrote: they stand at the very end of a text.

Whoever sees a text of ours can copy its mark, so a mark counts only beside the author whom GitHub names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdlc import markdown

_OPEN, _CLOSE = "<!-- ", " -->"
_LONGEST = 4_000
"""Characters of a mark with all around it."""


def mark_of(text: str | None) -> str:
    """The mark that a text ends with, without what hides it; empty where it ends otherwise.

    Above its end a text is anybody's: it may quote marks, and be made of thousands of their beginnings.
    """
    _, start, mark = (text or "").rstrip()[-_LONGEST:].rpartition(_OPEN)
    if not start or not mark.endswith(_CLOSE):
        return ""
    return _known(mark.removesuffix(_CLOSE))


def last_mark(text: str | None) -> str:
    """The last mark in a text, also where somebody has written on below it; empty where there is none."""
    _, start, rest = (text or "").rpartition(f"{_OPEN}sdlc:")
    mark, end, _ = rest[:_LONGEST].partition(_CLOSE)
    return _known(f"sdlc:{mark}") if start and end else ""


def _known(mark: str) -> str:
    return mark if mark.startswith("sdlc:") and mark[5:6].strip() and not {"\n", "<", ">"} & set(mark) else ""


def is_same(mark: str, other: str) -> bool:
    """Do two marks look the same once they are hidden?"""
    return markdown.hidden(mark) == markdown.hidden(other)


def without_mark(text: str) -> tuple[str, str]:
    """(what stands above the mark, the mark as it is hidden), together the text; the mark is empty for none."""
    at = text.rfind(_OPEN) if mark_of(text) else len(text)
    return text[:at], text[at:]


def is_by_us(item: Mapping[str, Any], login: str) -> bool:
    """Is this account its author? Where GitHub does not tell who we are, as it doesn't to the token of a workflow,
    any bot will do: people can't write as one.
    """
    user = item.get("user")
    if not isinstance(user, Mapping):
        return False
    if login:
        return str(user.get("login") or "").casefold() == login.casefold()
    return user.get("type") == "Bot"
