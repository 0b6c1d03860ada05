"""The one place where configuration becomes implementations: protocols on the left, settings on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdlc.errors import ConfigurationError
from sdlc.integrations.services import Services

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.integrations.ports import Forge, Notifier, Tracker


def build_services(settings: Settings) -> Services:
    """What a worker's activities work with; nothing is reached or started by this.

    Raises ConfigurationError for a kind of tracker or forge that is not known.
    """
    from sdlc.integrations.artifacts import ArtifactStore
    from sdlc.integrations.llm import Models
    from sdlc.integrations.project.environment import Environments
    from sdlc.integrations.sandbox import open_sandbox
    from sdlc.integrations.workspace import Workspaces

    artifacts = ArtifactStore(settings.artifacts_dir)
    sandbox = open_sandbox(settings.sandbox)
    workspaces = Workspaces(settings.cache_dir, submodules=settings.forge.submodules)
    return Services(
        settings=settings,
        tracker=_tracker(settings),
        forge=_forge(settings),
        notifier=_notifier(settings),
        workspaces=workspaces,
        sandbox=sandbox,
        environments=Environments(settings, workspaces, sandbox, artifacts),
        artifacts=artifacts,
        models=Models(settings.llm),
    )


def _tracker(settings: Settings) -> Tracker:
    if settings.tracker.kind == "local":
        from sdlc.integrations.local_tracker import LocalTracker

        return LocalTracker(settings.tickets_dir, bot=settings.tracker.claimant)
    raise _unknown("tracker.kind", settings.tracker.kind)


def _forge(settings: Settings) -> Forge:
    if settings.forge.kind == "local":
        from sdlc.integrations.local_forge import LocalForge

        return LocalForge(
            settings.forge_dir, publish_branch=settings.forge.publish_branch, bot=settings.run.approval.bot
        )
    raise _unknown("forge.kind", settings.forge.kind)


def _notifier(settings: Settings) -> Notifier:
    from sdlc.integrations.notify import LocalNotifier

    return LocalNotifier(settings.data_dir)


def _unknown(setting: str, kind: str) -> ConfigurationError:
    return ConfigurationError(f"`{setting}: {kind}` is not known; `sdlc config show` lists what can be chosen.")
