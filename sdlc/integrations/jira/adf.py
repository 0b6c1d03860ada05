"""Jira Cloud's rich text, the Atlassian Document Format, to and from Markdown."""

from __future__ import annotations

from sdlc.integrations.jira.adf_markdown import plain_text, to_markdown
from sdlc.integrations.jira.markdown_adf import from_markdown, plain_document

__all__ = ["from_markdown", "plain_document", "plain_text", "to_markdown"]
