"""The shapes of what can be said to a run: one JSON object each, which can grow."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sdlc.domain import PanelReport, Record, Usage, Waiver


class Decided(Record):
    """Payload of `approve`, `reject` and `request_changes`."""

    by: Annotated[str, Field(min_length=1, max_length=200)]
    comment: Annotated[str, Field(max_length=65_536)] = ""
    head_sha: str = ""
    decision_id: str = ""


class Answered(Record):
    """Payload of `retry`, `waive` and `abort`."""

    by: Annotated[str, Field(min_length=1, max_length=200)]
    reason: Annotated[str, Field(max_length=65_536)] = ""
    instruction: Annotated[str, Field(max_length=65_536)] = ""
    fingerprints: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """Other names of the same person, as the configuration has them. Not read where it comes by a signal."""
    source: str = ""
    """`cli`, `web`, `forge` or `tracker`; for the audit trail."""
    message_id: str = ""
    """Makes a repeated delivery harmless."""


class Spoken(Record):
    """Payload of `pause` and `resume`."""

    by: Annotated[str, Field(max_length=200)] = ""
    reason: Annotated[str, Field(max_length=65_536)] = ""
    source: str = ""
    """`cli`, `web`, `forge` or `tracker`; for the audit trail."""
    message_id: str = ""
    """Makes a repeated delivery harmless."""


class Reassigned(Record):
    """Payload of `reassign`: others shall decide."""

    by: Annotated[str, Field(min_length=1, max_length=200)]
    to: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(min_length=1, max_length=50)]
    reason: Annotated[str, Field(max_length=65_536)] = ""
    aliases: tuple[str, ...] = ()
    """Other names of the same person, as the configuration has them. Not read where it comes by a signal."""
    source: str = ""
    """`cli`, `web`, `forge` or `tracker`; for the audit trail."""
    message_id: str = ""
    """Makes a repeated delivery harmless."""


class ModelChosen(Record):
    """Payload of `escalate_model`."""

    model: Annotated[str, Field(max_length=200)] = ""
    """Empty: the next one of the configuration's ladder."""
    by: str = ""


class EngineNews(Record):
    """What a work loop says to its run while it works."""

    plan: tuple[str, ...] = ()
    usage: Usage = Usage()
    """Of this loop so far."""
    turns: int = 0


class OutsideChange(Record):
    """Payload of `ci_changed` and `pull_request_changed`: a nudge to look again, never a fact by itself."""

    reason: str = ""
    mark: str = ""
    """Of the pull request, where whoever nudges has read it: a run that can't read it is not nudged with it again."""


class PanelReports(Record):
    """Answer of the query `panel_reports`: the last report of each panel, and what of it is waived."""

    reports: tuple[PanelReport, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    """What people let stand, be it after the review."""
