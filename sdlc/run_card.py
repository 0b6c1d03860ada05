"""A run on one card: what lists and the inbox show of it, kept in its memo so that no list asks each run."""

from __future__ import annotations

from datetime import datetime

from sdlc.domain import Record, RunState

MEMO = "card"
"""The memo's key."""


class Risk(Record):
    """What somebody who decides wants to know at a glance."""

    files: int = 0
    insertions: int = 0
    deletions: int = 0
    findings: dict[str, int] = {}
    """Open ones, by severity."""
    proof: int = 0
    """Tests that fail without the change and pass with it."""
    red: int = 0
    """Kinds of tests that are red and waived."""
    protected: int = 0
    """Protected paths that the change touches."""


class RunCard(Record):
    key: str
    title: str = ""
    repository: str = ""
    state: RunState = RunState.RUNNING
    step: str = ""
    waits_for: str = ""
    waiting_since: datetime | None = None
    """Since when it waits for people, whatever else happened in between; None while it does not."""
    starter: str = ""
    approvers: tuple[str, ...] = ()
    """Who may decide; empty: anybody."""
    required: int = 1
    approved_by: tuple[str, ...] = ()
    """Of the present head."""
    risk: Risk = Risk()
    pull_request_url: str = ""
    head_sha: str = ""
    usd: float | None = 0.0
    """None: unknown."""
    tokens: int = 0
    fix_rounds: int = 0
    revisions: int = 0
    asked: int = 0
    """How often a person was needed for trouble."""
    started: datetime | None = None
    pull_request_at: datetime | None = None
    """When people could first look at it."""
    waited_seconds: float = 0.0
    """For people, in all."""
    ended: datetime | None = None
