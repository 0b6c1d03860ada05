"""Jira Data Center's wiki markup, to and from Markdown."""

from __future__ import annotations

from sdlc.integrations.jira import adf
from sdlc.integrations.jira.wiki_reading import from_wiki
from sdlc.integrations.jira.wiki_writing import escaped, to_wiki

__all__ = ["escaped", "from_markdown", "to_markdown"]


def to_markdown(text: str) -> str:
    """Wiki markup as Markdown. Never raises."""
    return adf.to_markdown(from_wiki(text))


def from_markdown(text: str) -> str:
    """Markdown as wiki markup. Never raises."""
    return to_wiki(adf.from_markdown(text))
