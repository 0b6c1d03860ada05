"""What has changed outside, told to the runs that it concerns: they look for themselves."""

from __future__ import annotations

from sdlc.deliveries import Delivery
from sdlc.domain import Repository
from sdlc.errors import RunNotFound
from sdlc.progress import RunProgress
from sdlc.run_payloads import OutsideChange
from sdlc.runtime.intake_runs import IntakeRuns, is_named

_SIGNALS = {"pull_request": "pull_request_changed", "checks": "ci_changed"}


async def tell_runs(runs: IntakeRuns, delivery: Delivery) -> tuple[str, ...]:
    """Nudge the open runs that a `pull_request` or `checks` delivery is about; what was done.

    One of that repository that does not say which pull request is its own is nudged as well: it looks for itself.
    """
    found = await runs.open_ones(repository=delivery.repository)
    concerned = [run.ticket_key for run in found.runs if is_about(delivery, run)]
    did = []
    for key in (*concerned, *found.silent):
        if await nudge(runs, key, _SIGNALS[delivery.kind], f"{delivery.source}: {delivery.kind}"):
            did.append(f"told the run for {key}" + (", which did not answer" if key in found.silent else ""))
    return tuple(did) or ("no open run is about it",)


async def nudge(runs: IntakeRuns, key: str, signal: str, reason: str, *, mark: str = "") -> bool:
    """False if the run is over by now."""
    try:
        await runs.signal(key, signal, OutsideChange(reason=reason, mark=mark))
    except RunNotFound:
        return False
    return True


def is_about(delivery: Delivery, run: RunProgress) -> bool:
    """Does a delivery name the run's pull request, by its number, its branch or its head?"""
    change, pull_request = run.change, run.pull_request
    if not is_named(delivery.repository, run.repository, *_names(change.repository if change else None)):
        return False
    branches = {one.branch for one in (change, pull_request) if one}
    heads = {one.head_sha for one in (change, pull_request) if one}
    return (
        (pull_request is not None and delivery.number == pull_request.number)
        or (bool(delivery.branch) and delivery.branch in branches)
        or (bool(delivery.head_sha) and delivery.head_sha in heads)
    )


def _names(repository: Repository | None) -> tuple[str, ...]:
    return (repository.name, repository.url, repository.origin) if repository else ()
