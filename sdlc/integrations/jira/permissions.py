"""What our account may do in Jira, and what it lacks. Waits for the network."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sdlc.config.jira import JiraSettings
from sdlc.errors import ConfigurationError, FinalError
from sdlc.integrations.jira.client import JiraClient

_PERMISSIONS = {
    "BROWSE_PROJECTS": "Browse Projects",
    "ADD_COMMENTS": "Add Comments",
    "EDIT_OWN_COMMENTS": "Edit Own Comments",
    "DELETE_OWN_COMMENTS": "Delete Own Comments",
    "TRANSITION_ISSUES": "Transition Issues",
    "ASSIGN_ISSUES": "Assign Issues",
    "ASSIGNABLE_USER": "Assignable User",
    "LINK_ISSUES": "Link Issues",
}


def missing(client: JiraClient, settings: JiraSettings, commander_groups: Collection[str]) -> tuple[str, ...]:
    """Sentences for a person: projects that are not there, permissions that are not given."""
    found: list[str] = []
    for project in settings.projects or ("",):
        try:
            given = _given(client, tuple(_PERMISSIONS), project)
        except (FinalError, ConfigurationError) as error:
            found.append(f"Jira has no project {project}, or our user may not see it; check jira.projects. {error}")
            continue
        for name, shown in _PERMISSIONS.items():
            needless = name in ("ASSIGN_ISSUES", "ASSIGNABLE_USER") and not settings.assign
            if not needless and given.get(name) is False:
                found.append(f'Our user needs the permission "{shown}"{f" in {project}" if project else ""}.')
    if commander_groups and not _given(client, ("USER_PICKER",), "").get("USER_PICKER"):
        found.append(
            'Our user needs the global permission "Browse users and groups" to see who is in '
            f"intake.commander_groups ({', '.join(commander_groups)})."
        )
    return tuple(found)


def _given(client: JiraClient, names: Collection[str], project: str) -> dict[str, Any]:
    """Name of a permission → whether we have it, as far as Jira tells."""
    params = {"permissions": ",".join(names)} | ({"projectKey": project} if project else {})
    answer = client.get("mypermissions", doing="say what we may do", params=params)
    listed = answer.get("permissions") if isinstance(answer, dict) else None
    about = listed if isinstance(listed, dict) else {}
    return {name: one.get("havePermission") for name, one in about.items() if isinstance(one, dict)}
