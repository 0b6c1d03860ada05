"""Reviewers from CODEOWNERS, as GitHub reads it: the last line that matches a file names its owners.

Source: "About code owners" in GitHub's documentation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sdlc.people import same

PLACES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
"""Where GitHub looks, in this order; the first that is there is the one."""
MAX_SIZE = 3 * 1024**2
"""GitHub ignores a larger one."""
MAX_REVIEWERS = 15
"""GitHub asks no more people of one pull request."""

_LOGIN = re.compile(r"@([A-Za-z0-9][A-Za-z0-9_-]{0,99})\Z")
_TEAM = re.compile(r"@([A-Za-z0-9][A-Za-z0-9_-]{0,99})/([A-Za-z0-9][A-Za-z0-9_.-]{0,99})\Z")
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")


@dataclass(frozen=True)
class Rule:
    pattern: str
    owners: tuple[str, ...]
    """As written; empty takes files out of what a line above gave."""


@dataclass(frozen=True)
class Reviewers:
    people: tuple[str, ...] = ()
    """Logins."""
    teams: tuple[str, ...] = ()
    """Slugs within the repository's organisation."""

    def __bool__(self) -> bool:
        return bool(self.people or self.teams)


def rules_of(text: str) -> list[Rule]:
    """The lines that mean something; a line that GitHub would not take is left out, as GitHub does it."""
    if len(text.encode("utf-8", "replace")) > MAX_SIZE:
        return []
    rules = []
    for line in text.splitlines():
        words = _words(line)
        if not words:
            continue
        pattern, owners = words[0], words[1:]
        usable = not pattern.startswith("!") and not re.search(r"(?<!\\)[\[\]]", pattern)
        if usable and all(_LOGIN.match(owner) or _TEAM.match(owner) or _MAIL.match(owner) for owner in owners):
            rules.append(Rule(pattern, tuple(owners)))
    return rules


def owners_of(rules: Sequence[Rule], path: str) -> tuple[str, ...]:
    """Who owns a file; nobody where no line matches, or the last that does names nobody."""
    for rule in reversed(rules):
        if _expression(rule.pattern).match(path):
            return rule.owners
    return ()


def reviewers_of(
    text: str,
    paths: Iterable[str],
    *,
    organisation: str,
    starter: Collection[str] = (),
    bot: Collection[str] = (),
    author: str = "",
) -> Reviewers:
    """Who is to be asked about a change of these files, those first who own the most of them.

    Never `bot` or the pull request's `author`, whom GitHub refuses, and `starter` (all their names) only beside
    somebody else.
    Owners who are named by a mail address or who are a team of another organisation can't be asked.
    """
    rules = rules_of(text)
    count: dict[str, int] = {}
    for path in paths:
        for owner in owners_of(rules, path):
            count[owner] = count.get(owner, 0) + 1
    never = {name.casefold() for name in (*bot, author) if name}
    people: list[str] = []
    teams: list[str] = []
    for owner in sorted(count, key=lambda one: (-count[one], one.casefold())):
        if team := _TEAM.match(owner):
            if team[1].casefold() == organisation.casefold() and team[2] not in teams:
                teams.append(team[2])
        elif person := _LOGIN.match(owner):
            known = never | {other.casefold() for other in people}
            if person[1].casefold() not in known:
                people.append(person[1])
    return not_alone(Reviewers(tuple(people[:MAX_REVIEWERS]), tuple(teams[:MAX_REVIEWERS])), starter)


def not_alone(reviewers: Reviewers, starter: Collection[str]) -> Reviewers:
    """The same, or nobody where the starter would be the only one: who asked for a change does not judge it alone."""
    alone = not reviewers.teams and all(same((person,), tuple(starter)) for person in reviewers.people)
    return Reviewers() if alone else reviewers


def _words(line: str) -> list[str]:
    """Words between blanks that no backslash holds together, up to a comment."""
    words = re.findall(r"(?:\\.|[^\s\\]|\\$)+", line)
    for index, word in enumerate(words):
        if word.startswith("#"):
            return words[:index]
    return words


@functools.lru_cache(maxsize=4096)
def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern of .gitignore as a regular expression, with what CODEOWNERS has different:
    `docs/*` are the files in that folder and not what lies deeper.
    """
    text = re.sub(r"\\(.)", lambda escaped: escaped[1] if escaped[1] not in "*?" else escaped[0], pattern)
    folder = text.endswith("/")
    anchored = "/" in text.rstrip("/")
    parts = [part for part in text.strip("/").split("/") if part]
    ends = bool(parts) and parts[-1] == "**"
    # What stands between two `**`: the first place where it fits is the best one, so no other is ever tried.
    between = [""]
    for index, part in enumerate(parts):
        if part != "**":
            between[-1] += _part(part) + ("" if index == len(parts) - 1 else "/")
        elif between[-1] or index == 0:
            between.append("")
    first, *rest = between
    middle, last = (rest, ".+") if ends else (rest[:-1], "".join(f"(?:.*/)?{one}" for one in rest[-1:]))
    made = ("" if anchored else "(?:.*/)?") + first
    made += "".join(f"(?>(?:.*?/)??{one})" for one in middle if one) + last
    if folder:
        made += "/.+"
    elif parts and parts[-1] != "**" and (parts[-1] != "*" or not anchored):
        # What names a folder means everything in it.
        made += "(?:/.*)?"
    return re.compile(rf"{made}\Z", re.DOTALL) if parts else re.compile(r".*\Z" if text == "/" else r"(?!)")


def _part(part: str) -> str:
    """A part between slashes. Of what stands between two stars the first place is taken, and no other tried."""
    between = [""]
    for piece in re.findall(r"\\[*?]|\*+|\?|[^*?\\]+|\\", part):
        if piece.startswith("*"):
            between.append("")
        elif piece == "?":
            between[-1] += "[^/]"
        else:
            between[-1] += re.escape(piece[1] if piece in ("\\*", "\\?") else piece)
    first, *rest = between
    return first + "".join(f"(?>[^/]*?{one})" for one in rest[:-1]) + "".join(f"[^/]*{one}" for one in rest[-1:])
