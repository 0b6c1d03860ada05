"""Which channel hears what. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from sdlc.domain import Person
from sdlc.errors import ConfigurationError
from sdlc.people import Known, recognised, same


class Heard(Protocol):
    """`sdlc.config.notify.ChannelSettings`."""

    @property
    def events(self) -> Sequence[str]: ...
    @property
    def repositories(self) -> Sequence[str]: ...
    @property
    def people(self) -> Sequence[str]: ...


def hears(channel: Heard, *, event: str, repository: str, people: Sequence[str], known: Sequence[Known] = ()) -> bool:
    """Is it for this channel? `people` are those who are meant; nobody by name is everybody."""
    if channel.events and event not in channel.events:
        return False
    name = repository.casefold()
    if channel.repositories and not any(fnmatch.fnmatchcase(name, one.casefold()) for one in channel.repositories):
        return False
    return not channel.people or not people or any(meant(channel.people, people, known))


def meant(owners: Iterable[str], people: Sequence[str], known: Sequence[Known] = ()) -> list[str]:
    """Those of `people` whom the channel's owners are, under whatever name; as `people` has them."""
    names = [recognised(Person(name=owner), known).names for owner in owners if owner.strip()]
    named = [one for one in people if one.strip()]
    return [one for one in named if any(same(recognised(Person(name=one), known).names, own) for own in names)]


def only_reader(channel: Heard, people: Sequence[str], known: Sequence[Known] = ()) -> str:
    """The one person who reads this channel, as `people` has them; empty where others might.

    What is one person's, such as a link that is signed for them, must not stand where others read it.
    """
    return next(iter(meant(channel.people, people, known)), "") if len(channel.people) == 1 else ""


def expanded(names: Iterable[str], groups: Mapping[str, Iterable[str]], channel: str) -> tuple[str, ...]:
    """People in place of `@group`. ConfigurationError for a group that is not there."""
    found: list[str] = []
    for name in names:
        if name.startswith("@") and name[1:] not in groups:
            raise ConfigurationError(
                f"The notification channel {channel} names {name}, and there is no such group; add it to `groups`."
            )
        found += groups[name[1:]] if name.startswith("@") else [name]
    return tuple(dict.fromkeys(found))
