"""Which model the coder goes on with when the present one does not get the tests green."""

from __future__ import annotations

from collections.abc import Sequence


def next_model(ladder: Sequence[str], current: str) -> str:
    """The model above `current`, empty at the top. What is not on the ladder, such as the usual model, stands below it.

    A name that the ladder has twice counts where it stands first, so that climbing ends.
    """
    rungs = [rung for rung in dict.fromkeys(ladder) if rung]
    above = rungs[rungs.index(current) + 1 :] if current in rungs else rungs
    return above[0] if above else ""


def due(red_rounds: int, escalate_after: int) -> bool:
    """Is it time for the next model? `red_rounds` in a row with the present one; never where `escalate_after` is 0."""
    return 0 < escalate_after <= red_rounds
