"""What activities work with, put together once per worker from the settings (`sdlc.runtime.services`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.integrations.artifacts import ArtifactStore
    from sdlc.integrations.llm import Models
    from sdlc.integrations.ports import Forge, Notifier, Tracker
    from sdlc.integrations.project.environment import Environments
    from sdlc.integrations.sandbox import Sandbox
    from sdlc.integrations.workspace import Workspaces


@dataclass(frozen=True)
class Services:
    settings: Settings
    tracker: Tracker
    forge: Forge
    notifier: Notifier
    workspaces: Workspaces
    sandbox: Sandbox
    environments: Environments
    artifacts: ArtifactStore
    models: Models
