"""The state of the coding agent's graph, and how much of it each node is given.

JSON only: it crosses an activity boundary at every node.
"""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from sdlc.engines.conversation import Message


class AgentState(TypedDict, total=False):
    request: dict[str, Any]
    messages: Annotated[list[Message], operator.add]
    pending: Message | None
    """The model's last message while its tool calls wait to be carried out."""
    head_sha: str
    turn: int
    """Model calls made."""
    usage: dict[str, Any]
    model: str
    """To ask; empty: the configured coder."""
    answered_by: str
    """The model of the last answer."""
    limit: int
    """Characters of conversation that the model is taken to take."""
    compacted: dict[str, Any]
    crowded: bool
    """The conversation is to be summed up before the model is asked. Decided in an activity, where the measure may
    change while runs are under way."""
    compact_after: int
    """Messages before which it is not tried (again)."""
    idle_turns: int
    changed: int
    """The last turn that changed a file."""
    declined: bool
    """The last request was declined by a content filter."""
    reminders: int
    """Messages without a tool call, one after the other."""
    marks: list[str]
    """Digests of the last turns, by which going in circles is noticed."""
    refused: list[str]
    """Why a submit was refused already; a second one for the same reason is taken."""
    ended: str
    reason: str
    summary: str
    plan: list[str]
    """A step that is done begins with `✓ `."""
    result: dict[str, Any]


class OpenState(TypedDict, total=False):
    request: dict[str, Any]


class CompactState(TypedDict, total=False):
    messages: list[Message]
    compacted: dict[str, Any]
    limit: int
    model: str
    usage: dict[str, Any]
    plan: list[str]


class ActState(TypedDict, total=False):
    """What `act` needs: the conversation stays behind, which keeps the history small."""

    request: dict[str, Any]
    pending: Message | None
    head_sha: str
    turn: int
    marks: list[str]
    refused: list[str]


class FinishState(TypedDict, total=False):
    request: dict[str, Any]
    head_sha: str
    turn: int
    usage: dict[str, Any]
    answered_by: str
    ended: str
    reason: str
    summary: str
    plan: list[str]
