"""Runs as the intake looks at them: all that are open, and what they know of their pull requests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from temporalio.client import WorkflowQueryFailedError

from sdlc.domain import RunState
from sdlc.errors import RunNotFound, ServiceUnavailable
from sdlc.progress import RunProgress
from sdlc.runtime.runs import RunRow, Runs

MOST_RUNS = 1_000
"""Open runs that are looked at in one go."""
_AT_ONCE = 8
_PEOPLE = frozenset({RunState.AWAITING_APPROVAL, RunState.AWAITING_MERGE, RunState.NEEDS_ATTENTION})


class IntakeRuns(Runs):
    async def knows(self, key: str) -> bool | None:
        """True: a run for the ticket is open; False: there was one; None: Temporal remembers none."""
        try:
            return await self.is_open(key)
        except RunNotFound:
            return None

    async def pull_request_mark(self, key: str) -> str | None:
        """The mark of the pull request as the run has seen it last; None where the run can't tell."""
        try:
            return await self._query(key, "pull_request_mark", str | None)  # type: ignore[arg-type]
        except ServiceUnavailable as error:
            if isinstance(error.__cause__, WorkflowQueryFailedError):
                return None  # its worker is older than the question
            raise

    async def open_ones(self, *, waiting: bool = False, repository: str = "") -> Open:
        """How the open runs stand (`waiting`: those that wait for people; `repository`: those about `owner/name`)."""
        rows = await self.list(include_closed=False, limit=MOST_RUNS)
        if waiting:
            # Without search attributes there is no step either, and the run itself has to be asked.
            rows = [row for row in rows if not row.step or row.state in _PEOPLE]
        if repository:
            rows = [row for row in rows if not row.repository or is_named(repository, row.repository)]
        turns = asyncio.Semaphore(_AT_ONCE)

        async def asked(row: RunRow) -> RunProgress:
            async with turns:
                return await self.progress(row.ticket_key)

        answers = await asyncio.gather(*(asked(row) for row in rows), return_exceptions=True)
        found = [one for one in answers if isinstance(one, RunProgress) and (not waiting or one.state in _PEOPLE)]
        silent = {
            row.ticket_key: one
            for row, one in zip(rows, answers, strict=True)
            if isinstance(one, Exception) and not isinstance(one, RunNotFound)
        }
        return Open(found, silent)


@dataclass(frozen=True)
class Open:
    """Runs that are open."""

    runs: list[RunProgress]
    silent: dict[str, Exception]
    """By key: those that did not answer, and why. One that can't must not keep the others waiting."""


def is_named(name: str, *names: str) -> bool:
    """Is `owner/name` a repository that has these names, or addresses?"""
    wanted = name.casefold().strip("/")
    for one in names:
        known = one.casefold().rstrip("/").removesuffix(".git")
        if wanted and (known == wanted or known.endswith((f"/{wanted}", f":{wanted}"))):
            return True
    return False
