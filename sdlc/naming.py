"""Names that a run gives to things: its branch. Pure, because the workflow needs them too."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from sdlc.domain import Ticket

MAX_BRANCH = 80
"""Characters; longer names are cut off in most lists of branches."""
_SUFFIX_ROOM = 4
"""Left free for `-2` to `-999`, when the name is taken by an earlier run."""
_MAX_KEY = 40


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


def slug(text: str, limit: int) -> str:
    """Lower-case ASCII words joined by `-`, at most `limit` characters, cut between words where that is possible.

    Empty when nothing of the text can be written so, as with a title of emoji only.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
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
