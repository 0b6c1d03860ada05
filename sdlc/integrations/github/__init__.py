"""GitHub as the forge: branches, pull requests, checks, reviews."""

from sdlc.config.github import GitHubSettings
from sdlc.integrations.github.forge import GitHubForge

__all__ = ["GitHubForge", "GitHubSettings"]
