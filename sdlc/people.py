"""Who is who: one person under all their names. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from sdlc.domain import Person


class Known(Protocol):
    """A person as the configuration names them (`sdlc.config.intake.PersonSettings`)."""

    name: str
    email: str
    github: str
    jira: str


def recognised(person: Person, known: Iterable[Known]) -> Person:
    """The same person with all the names that the configuration has for them; unchanged where it has none."""
    for one in known:
        names = [name for name in (one.name, one.email, one.github, one.jira) if name]
        if same(names, person.names):
            return Person(
                name=one.name,
                aliases=tuple(dict.fromkeys((*names[1:], *person.names))),
                email=one.email or person.email,
            )
    return person


Service = Literal["jira", "github"]


def by_account(accounts: Iterable[str], known: Iterable[Known], service: Service) -> Person | None:
    """Whom the configuration has under one of these accounts of a service; None for nobody.

    An account of one service says nothing about another's: anybody may be called `maria` somewhere.
    """
    mine = {_normal(account) for account in accounts if account.strip()}
    one = next((one for one in known if (account := _account(one, service)) and _normal(account) in mine), None)
    if one is None:
        return None
    aliases = tuple(dict.fromkeys(name for name in (one.github, one.jira) if name))
    return Person(name=one.name, aliases=aliases, email=one.email)


def by_login(login: str, known: Sequence[Known]) -> Person:
    """Who decides under a GitHub login, so that it can be held against names that are given in the configuration.

    A login that the configuration does not have and that is somebody's name there is not that somebody's.
    """
    if person := by_account((login,), known, "github"):
        aliases = tuple(
            dict.fromkeys((person.name, *(one for one in person.aliases if _normal(one) != _normal(login))))
        )
        return Person(name=login, aliases=aliases, email=person.email)
    is_anothers = any(same((login,), (one.name, one.email, one.jira)) for one in known)
    return Person(name=f"{login} on GitHub" if is_anothers else login)


def accounts_of(names: Iterable[str], known: Sequence[Known], service: Service) -> tuple[str, ...]:
    """The accounts on a service of people who are named in the configuration; a name that is nobody's is an account."""
    found: list[str] = []
    for name in names:
        one = next((one for one in known if same((name,), (one.name, one.email))), None)
        found.append(name if one is None else _account(one, service))
    return tuple(account for account in found if account)


def _account(one: Known, service: Service) -> str:
    return one.jira if service == "jira" else one.github


def same(one: Sequence[str], other: Sequence[str]) -> bool:
    """Do two lists of names have one in common? Case and white space at the ends don't count."""
    normal = {_normal(name) for name in one if name.strip()}
    return any(_normal(name) in normal for name in other if name.strip())


def _normal(name: str) -> str:
    return name.strip().removeprefix("@").casefold()
