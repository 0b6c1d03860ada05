"""Jira, Cloud and Data Center, as a tracker."""

from __future__ import annotations

from sdlc.config.jira import JiraSettings
from sdlc.integrations.jira.tracker import JiraTracker

__all__ = ["JiraSettings", "JiraTracker"]
