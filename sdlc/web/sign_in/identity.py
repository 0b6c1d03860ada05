"""Who somebody is, and what they may do here. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from sdlc.domain import Person
from sdlc.people import Known, by_web_name, recognised, same
from sdlc.web.refusals import Refused

if TYPE_CHECKING:
    from sdlc.config import Settings

Via = Literal["token", "header", "oidc", "none", "link"]

_LONGEST_NAME = 200
_MOST_GROUPS = 1_000


class Role(IntEnum):
    """Each may what those before it may."""

    VIEWER = 1
    APPROVER = 2
    OPERATOR = 3

    @property
    def words(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Claim:
    """Somebody, as the way in has it."""

    name: str
    via: Via
    email: str = ""
    """Only one of which it is known that it is theirs."""
    groups: tuple[str, ...] = ()
    also_called: tuple[str, ...] = ()
    """What they only say that they are called: good for a refusal, never for a right."""


@dataclass(frozen=True)
class Identity(Claim):
    role: Role = Role.VIEWER

    def person(self, known: Sequence[Known] = ()) -> Person:
        """With all the names that the configuration has for them (`settings.people`)."""
        if self.via in ("token", "link"):  # the configuration's own words
            return recognised(Person(name=self.name, email=self.email), known)
        return by_web_name(self.name, self.email, known)


class Roles:
    """What the configuration lets people do."""

    def __init__(self, settings: Settings) -> None:
        self._by_role: Mapping[Role, tuple[str, ...]] = {
            Role.OPERATOR: settings.web.roles.operators,
            Role.APPROVER: settings.web.roles.approvers,
            Role.VIEWER: settings.web.roles.viewers,
        }
        self._groups: Mapping[str, tuple[str, ...]] = settings.groups
        named = (entry[1:] for entries in self._by_role.values() for entry in entries if entry.startswith("@"))
        self._of_provider = {group.casefold() for group in named if group not in self._groups}
        """Groups that the configuration does not have itself."""

    def identity(self, claim: Claim) -> Identity:
        """Raises Refused for somebody without a role."""
        role = self._role(claim)
        if role is None:
            raise Refused(
                403, f"You are signed in as {claim.name}, who has no role here; an operator can add you to web.roles."
            )
        return Identity(claim.name, claim.via, claim.email, claim.groups, claim.also_called, role)

    def of_person(self, person: Person) -> Role | None:
        """The role of somebody whom the configuration knows; None for one without."""
        return self._of(person.names, ())

    def relevant(self, groups: Iterable[str]) -> tuple[str, ...]:
        """Those that make a difference: a cookie has no room for all of a large company's."""
        return tuple(sorted({group for group in groups if group.casefold() in self._of_provider}))

    def _role(self, claim: Claim) -> Role | None:
        if claim.via == "none":
            return Role.VIEWER
        if claim.via == "token":
            return Role.OPERATOR
        return self._of((claim.name, claim.email), claim.groups)

    def _of(self, names: tuple[str, ...], groups: tuple[str, ...]) -> Role | None:
        for role, entries in self._by_role.items():
            if any(self._fits(entry.strip(), names, groups) for entry in entries):
                return role
        return None

    def _fits(self, entry: str, names: tuple[str, ...], groups: tuple[str, ...]) -> bool:
        if not entry.startswith("@"):
            return entry == "*" or same([entry], names)
        if entry[1:] in self._groups:
            return same(self._groups[entry[1:]], names)
        return entry[1:].casefold() in {group.casefold() for group in groups}


def name_of(given: object) -> str:
    """A name as it may be shown and compared; empty for what can't be one.

    Nothing invisible, so that no two look the same; no leading `@`, which is for groups; `*` is everybody.
    """
    if not isinstance(given, str):
        return ""
    name = unicodedata.normalize("NFC", given.strip())
    invisible = any(unicodedata.category(char)[0] == "C" or char in "\u2028\u2029" for char in name)
    return "" if invisible or len(name) > _LONGEST_NAME or name.startswith(("@", "*")) else name


def groups_of(given: object) -> tuple[str, ...]:
    """From a list, or from one text with commas."""
    parts = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else []
    names = (part.strip().lstrip("@/") for part in parts[:_MOST_GROUPS] if isinstance(part, str))
    return tuple(dict.fromkeys(name for name in names if name_of(name)))
