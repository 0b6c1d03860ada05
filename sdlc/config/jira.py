"""What can be set about Jira. Which flavour it is isn't: the server says so."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SecretStr

from sdlc.config.section import Section


class JiraSettings(Section):
    url: str = ""
    """Such as `https://acme.atlassian.net` or `https://jira.acme.example/jira`; with an OAuth token of Cloud
    `https://api.atlassian.com/ex/jira/<cloud id>`."""
    email: str = ""
    """Cloud with an API token: whose it is. Empty: the token is sent as a bearer, as Data Center's personal access
    tokens and OAuth tokens are."""
    token: SecretStr | None = None
    projects: tuple[str, ...] = ()
    """Keys of the projects that tickets are taken from; empty: all that the account sees. Commands in comments are
    looked for in these; without them in tickets that are ours, labelled or selected."""
    jql: str = ""
    """Which tickets are taken unasked, in which order; empty: unresolved, in the active sprint and then in the
    backlog, labelled with `label`, not assigned to a person, by rank."""
    label: str = "ai-ready"
    assign: bool = True
    """Assign a claimed ticket to our own account; False where it can't be an assignee."""
    criteria_field: str = ""
    """Id or name of the field with the acceptance criteria; empty: the heading or checklist in the description."""
    statuses: dict[str, str] = {}
    """`todo`, `in_progress`, `in_review`, `done` → name of the status in your workflow."""
    transitions: dict[str, str] = {}
    """`todo`, `in_progress`, `in_review`, `done` → name or id of the transition to take."""
    transition_fields: dict[str, dict[str, Any]] = {}
    """`done` and so on → id or name of a field that the transition asks for → its value, as a name or as Jira's
    JSON of it."""
    blocked_by: tuple[str, ...] = ("is blocked by", "depends on")
    """How links read that must be done first."""
    comment_limit: int = Field(default=30_000, ge=1_000, le=32_767)
    """Characters of one comment of ours; Jira's own bound is 32,767 unless it was changed."""
    connect_seconds: float = Field(default=5, gt=0)
    read_seconds: float = Field(default=30, gt=0)
    verify: bool | str = True
    """Path of a file with certificates for a server that has its own; False checks none."""
    webhook_secret: SecretStr | None = None
    """Signs what Jira sends to `/webhooks/jira`; without one nothing is taken there."""
