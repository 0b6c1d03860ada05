"""A pull request once GitHub knows whether it can be merged: it begins to find out when it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from sdlc.integrations.github import pulls
from sdlc.integrations.github.api import Api

WAITS = (0.2, 0.5, 1.0, 2.0)
"""Seconds between looks."""


async def settled(api: Api, name: str, number: int) -> dict[str, Any]:
    """The pull request as GitHub shows it; undecided (`is_settled`) where it takes longer than all waits."""
    doing = f"reading pull request {number} of {name}"
    for wait in (*WAITS, None):
        pull = dict((await api.get(f"/repos/{name}/pulls/{number}", doing=doing)).data)
        if wait is None or pulls.is_over(pull) or is_settled(pull):
            break
        await asyncio.sleep(wait)
    return pull


def is_settled(pull: Mapping[str, Any]) -> bool:
    return pull.get("mergeable") is not None and pull.get("mergeable_state") != "unknown"
