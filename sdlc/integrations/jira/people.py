"""Who somebody in Jira is, and whom they belong to."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from sdlc.domain import Person
from sdlc.integrations.jira.client import JiraClient

_ACCOUNT_ID = re.compile(r"[0-9A-Za-z]+:[0-9A-Za-z:_-]+|[0-9a-f]{24}")
_MAX_NAME = 200


def person_of(user: object, *, is_cloud: bool) -> Person:
    """A user of Jira's JSON; "somebody", without aliases, for nobody.

    `aliases` tell who it is: account id or user name, and on Cloud, which has it confirmed, the e-mail address where
    it is shown. The name is only what people read, as everybody chooses their own.
    """
    about: dict[str, Any] = user if isinstance(user, dict) else {}
    ids = [about.get("accountId")] if is_cloud else [about.get("name")]
    email = about.get("emailAddress")
    told = (*ids, email) if is_cloud else ids
    aliases = tuple(dict.fromkeys(one for one in told if isinstance(one, str) and one))
    shown = " ".join(str(about.get("displayName") or "").split())
    if aliases and (not shown or _reads_like_an_id(shown, is_cloud=is_cloud)):
        # Who calls himself like the id of another would be taken for that one.
        shown = aliases[0]
    return Person(name=shown[:_MAX_NAME] or "somebody", aliases=aliases, email=email if isinstance(email, str) else "")


def _reads_like_an_id(name: str, *, is_cloud: bool) -> bool:
    return "@" in name or (bool(_ACCOUNT_ID.fullmatch(name)) if is_cloud else " " not in name)


def is_member(client: JiraClient, person: Person, groups: Collection[str]) -> bool:
    """Does somebody, as `person_of` gave them, belong to one of the groups? Waits for the network.

    Raises PermissionDenied if our user may not browse users and groups.
    """
    wanted = {group.casefold() for group in groups}
    for alias in person.aliases:
        found = _groups(client, alias, person)
        if found is not None:
            return any(name.casefold() in wanted for name in found)
    return False


def _groups(client: JiraClient, alias: str, person: Person) -> list[str] | None:
    """Names of the groups of the user with that id; None if there is no such user, or it is somebody else."""
    common = {"doing": "say which groups somebody is in", "needs": "Browse users and groups", "scope": "read:jira-user"}
    if client.server.is_cloud:
        if not _ACCOUNT_ID.fullmatch(alias):
            return None
        listed = client.found("user/groups", params={"accountId": alias}, **common)
    else:
        user = client.found("user", params={"username": alias, "expand": "groups"}, **common)
        # An alias may come from elsewhere, and be the user name of another here.
        if not isinstance(user, dict) or person_of(user, is_cloud=False).name not in person.names:
            return None
        found = user.get("groups")
        listed = found.get("items") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        return None
    return [str(one["name"]) for one in listed if isinstance(one, dict) and one.get("name")]
