"""How work comes in: which ticket is about which repository, who may start and command runs, what is taken unasked."""

from __future__ import annotations

from pydantic import Field

from sdlc.config.section import Section


class RouteSettings(Section):
    """Tickets that fit all that is said here are about this repository."""

    repository: str
    """As the forge knows it: `owner/name`, an address, or a path."""
    base_branch: str = ""
    """Empty: the repository's default branch."""
    projects: tuple[str, ...] = ()
    """Keys of projects, the part of a ticket's key before its number; empty: any."""
    components: tuple[str, ...] = ()
    """One of them is enough; empty: any."""
    labels: tuple[str, ...] = ()
    """One of them is enough; empty: any."""


class PersonSettings(Section):
    """One person under all their names, so that whoever starts a run in Jira can't approve it on GitHub."""

    name: str
    email: str = ""
    """Stands in the `Co-authored-by` of commits of runs that they start."""
    github: str = ""
    """Login."""
    web: str = ""
    """What signs them in to the web calls them, where that is not `name`: OIDC's `name_claim`, the proxy's user."""
    jira: str = ""
    """Account id (Cloud) or user name (Data Center)."""


class IntakeSettings(Section):
    repositories: tuple[RouteSettings, ...] = ()
    """The first that fits a ticket is its repository."""
    commanders: tuple[str, ...] = ()
    """Who may start and command runs by comments, under any of their names; on GitHub, as long as no groups are
    named, also whoever may write to the repository. In Jira nobody else may."""
    commander_groups: tuple[str, ...] = ()
    """Groups of Jira, or teams of GitHub as `org/team`, whose members may."""
    take_next: bool = True
    """Take the tracker's next ticket unasked, as long as fewer than `max_open_runs` are open."""
    max_open_runs: int = Field(default=3, ge=1)
    poll_seconds: float = Field(default=60, ge=1)
    """How often `sdlc serve --poll` looks for what webhooks have missed."""
