"""The one place where configuration becomes implementations: protocols on the left, settings on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdlc.errors import ConfigurationError
from sdlc.integrations.services import Services

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.integrations.artifacts import ArtifactStore
    from sdlc.integrations.git.runner import Git
    from sdlc.integrations.github.tokens import Tokens
    from sdlc.integrations.notify.channels import LinkFor
    from sdlc.integrations.ports import Forge, Notifier, Tracker
    from sdlc.integrations.workspace import Workspaces


def build_services(settings: Settings, *, link_for: LinkFor | None = None) -> Services:
    """What a worker's activities work with; nothing is reached or started by this.

    `link_for` gives the web page of a notice's run, where there are such pages.

    Raises ConfigurationError for a kind of tracker or forge that is not known.
    """
    from sdlc.integrations.artifacts import ArtifactStore
    from sdlc.integrations.llm import Models
    from sdlc.integrations.project.environment import Environments
    from sdlc.integrations.sandbox import open_sandbox
    from sdlc.integrations.workspace import Workspaces

    artifacts = ArtifactStore(settings.artifacts_dir)
    sandbox = open_sandbox(settings.sandbox)
    github = _GitHub(settings)
    workspaces = Workspaces(settings.cache_dir, submodules=settings.forge.submodules, git=github.git)
    return Services(
        settings=settings,
        tracker=_tracker(settings, github),
        forge=_forge(settings, github, workspaces, artifacts),
        notifier=build_notifier(settings, link_for),
        workspaces=workspaces,
        sandbox=sandbox,
        environments=Environments(settings, workspaces, sandbox, artifacts),
        artifacts=artifacts,
        models=Models(settings.llm),
    )


def build_tracker(settings: Settings) -> Tracker:
    """The tracker alone, for whoever needs nothing else. ConfigurationError for a kind that is not known."""
    return _tracker(settings, _GitHub(settings))


def build_forge(settings: Settings) -> Forge:
    """The forge alone, with clones of the settings' cache. ConfigurationError for a kind that is not known."""
    from sdlc.integrations.artifacts import ArtifactStore
    from sdlc.integrations.workspace import Workspaces

    github = _GitHub(settings)
    workspaces = Workspaces(settings.cache_dir, submodules=settings.forge.submodules, git=github.git)
    return _forge(settings, github, workspaces, ArtifactStore(settings.artifacts_dir))


def build_workspaces(settings: Settings) -> Workspaces:
    """Clones and worktrees of the settings' cache, with a git that has the forge's credentials."""
    from sdlc.integrations.workspace import Workspaces

    return Workspaces(settings.cache_dir, submodules=settings.forge.submodules, git=_GitHub(settings).git)


class _GitHub:
    """What forge and tracker share where either is GitHub: the tokens, and a git that has them."""

    def __init__(self, settings: Settings) -> None:
        self.tokens: Tokens | None = None
        self.git: Git | None = None
        self.git_home = settings.cache_dir.absolute() / "git"
        if "github" in (settings.forge.kind, settings.tracker.kind):
            from sdlc.integrations.git.askpass import TokenGit
            from sdlc.integrations.github.tokens import Tokens

            self.tokens = Tokens(settings.github)
            self.git = TokenGit(home=self.git_home, credentials=self.tokens)


def _tracker(settings: Settings, github: _GitHub) -> Tracker:
    if settings.tracker.kind == "local":
        from sdlc.integrations.local_tracker import LocalTracker

        return LocalTracker(settings.tickets_dir, bot=settings.tracker.claimant)
    if settings.tracker.kind == "jira":
        from sdlc.integrations.jira import JiraTracker

        return JiraTracker(settings.jira, commander_groups=settings.intake.commander_groups)
    if settings.tracker.kind == "github":
        from sdlc.integrations.github.issues import GitHubIssues

        return GitHubIssues(settings.github, tokens=github.tokens, commander_groups=settings.intake.commander_groups)
    raise _unknown("tracker.kind", settings.tracker.kind)


def _forge(settings: Settings, github: _GitHub, workspaces: Workspaces, artifacts: ArtifactStore) -> Forge:
    if settings.forge.kind == "local":
        from sdlc.integrations.local_forge import LocalForge

        return LocalForge(
            settings.forge_dir, publish_branch=settings.forge.publish_branch, bot=settings.run.approval.bot
        )
    if settings.forge.kind == "github":
        from sdlc.integrations.github import GitHubForge

        return GitHubForge(
            settings.github,
            clones=workspaces.clones,
            artifacts=artifacts,
            tokens=github.tokens,
            git_home=github.git_home,
        )
    raise _unknown("forge.kind", settings.forge.kind)


def build_notifier(settings: Settings, link_for: LinkFor | None = None) -> Notifier:
    """Raises ConfigurationError for a channel that can't be used."""
    from sdlc.integrations.notify.channels import ChannelNotifier
    from sdlc.runtime.redaction import Redactor

    return ChannelNotifier(
        settings.notify,
        settings.data_dir,
        known=settings.people,
        groups=settings.groups,
        link_for=link_for or (lambda notice, person: ""),
        redact=Redactor.of(settings),
    )


def _unknown(setting: str, kind: str) -> ConfigurationError:
    return ConfigurationError(f"`{setting}: {kind}` is not known; `sdlc config show` lists what can be chosen.")
