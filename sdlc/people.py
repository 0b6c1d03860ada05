"""Who is who: one person under all their names. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sdlc.domain import Person


class Known(Protocol):
    """A person as the configuration names them (`sdlc.config.intake.PersonSettings`)."""

    name: str
    email: str
    github: str
    jira: str
    web: str


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


def by_web_name(name: str, email: str, known: Sequence[Known]) -> Person:
    """Who has signed in to the web, by what the provider calls them or by an address that is known to be theirs.

    As with accounts: a name that is somebody's elsewhere says nothing here.
    """
    addresses = (email, name if "@" in name else "")  # one that came as a name was looked at, too
    for one in known:
        if same((name,), (one.web or one.name,)) or same(addresses, (one.email,)):
            aliases = tuple(dict.fromkeys(alias for alias in (name, one.github, one.jira) if alias))
            return Person(name=one.name, aliases=aliases, email=one.email or email)
    is_anothers = any(same((name,), (one.name, one.email, one.github, one.jira, one.web)) for one in known)
    return Person(name=f"{name} on the web" if is_anothers else name, email=email)


@dataclass(frozen=True)
class ApproverName:
    """What somebody is called where it gives a right."""

    name: str
    aliases: tuple[str, ...]
    also_called: tuple[str, ...]
    """What they call themselves: good for a refusal, never for a right."""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)


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


def by_author(author: Person, known: Sequence[Known], service: Service) -> ApproverName:
    """Who decides by a comment: by their account on the service, which they can't choose as they like."""
    account = author.aliases[0] if author.aliases else author.name
    own = tuple(name for name in (author.name, author.email) if name)
    if person := by_account(author.aliases, known, service):
        return ApproverName(person.name, tuple(dict.fromkeys((*person.aliases, person.email, account))), own)
    is_anothers = any(same((account,), (one.name, one.email, one.github, one.jira)) for one in known)
    return ApproverName(f"{account} in {service.capitalize()}" if is_anothers else account, (), own)


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
