"""What somebody may have meant who typed something that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SECONDS = 3.0
_MOST_RUNS = 200


def closest(word: str, known: Iterable[str]) -> str:
    """The name that a word is closest to, whatever its case; empty if it is close to none."""
    by_fold = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else ""


def meant_key(key: str) -> str:
    """The key of a run that somebody may have meant by `key`; empty without one, or where nobody can be asked soon."""
    import asyncio

    async def look() -> str:
        from sdlc.cli.context import CONTEXT, connected_runs

        async with asyncio.timeout(_SECONDS):
            rows = await (await connected_runs(CONTEXT.settings())).list(limit=_MOST_RUNS)
        return closest(key, [row.ticket_key for row in rows if row.ticket_key != key])

    try:
        return asyncio.run(look())
    except Exception:  # the error that is being told must not give way to one about the telling
        return ""
