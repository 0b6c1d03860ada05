"""Which documents a run has written: references in the results of its activities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from sdlc.activities import AGENT_GRAPH
from sdlc.domain import ArtifactRef


def is_of_model(activity: str) -> bool:
    """Whether an activity's result is the model's words, which may name any document there is: they are not looked at.

    The agent's own nodes write none.
    """
    return activity.startswith(f"{AGENT_GRAPH}.")


def references(value: Any) -> Iterator[ArtifactRef]:
    """All that stand somewhere in a result of an activity."""
    if isinstance(value, dict):
        if {"sha256", "size"} <= value.keys():
            try:
                yield ArtifactRef.model_validate(value)
            except ValidationError:
                return
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from references(inner)
