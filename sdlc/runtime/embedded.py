"""Server and worker in this process's care: what `sdlc run`, `sdlc dev` and the demo stand in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdlc.errors import SdlcError, ServiceUnavailable
from sdlc.runtime.client import configured_address, connect, ensure_retention
from sdlc.runtime.dev_server import ServerRecord
from sdlc.runtime.server_binary import Say
from sdlc.runtime.server_lease import ServerLease, lease_server

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.worker import Worker

    from sdlc.config import Settings
    from sdlc.integrations.services import Services

RETENTION_DAYS = 30
"""By default an embedded server forgets a run, with its audit trail, a day after its end."""

WATCH_EVERY = 1.0
"""Seconds between two looks at the server."""

DRAIN_SECONDS = 20.0
"""Beyond the worker's own grace: activities that don't heed their cancellation are left behind after it."""

_REVIVALS = 5
"""A server that dies more often than this within one process has a fault that starting it again does not mend."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedded:
    client: Client
    services: Services | None
    """None without a worker in this process."""
    server: ServerRecord | None
    """None with a server that was configured."""
    ui_url: str
    """Of the Temporal UI; empty where we know none."""


@contextlib.asynccontextmanager
async def embedded(settings: Settings, *, say: Say, worker: bool = True) -> AsyncIterator[Embedded]:
    """Join the configured server or the embedded one, which is started if need be, and run a worker in this process.

    While the body runs, an embedded server that dies is started again on the same ports, and a worker that dies
    ends the body: the block then raises ServiceUnavailable with the reason. On leaving, the worker finishes or
    gives back what it has in hand (at most about 30 s), then the server is stopped unless others use it.
    """
    async with contextlib.AsyncExitStack() as stack:
        lease = None if configured_address(settings) else await lease_server(settings, say=say)
        if lease is not None:
            stack.push_async_callback(lease.release)
        client = await connect(settings, address=lease.record.address if lease else None)
        if lease is not None:
            await ensure_retention(client, RETENTION_DAYS)
            await stack.enter_async_context(_kept_up(lease, say))
        services = _services(settings) if worker else None
        if services is not None:
            stack.push_async_callback(services.models.close)
            await stack.enter_async_context(running(await _worker(client, services)))
        server = lease.record if lease else None
        yield Embedded(client, services, server, server.ui_url if server else "")


def _services(settings: Settings) -> Services:
    from sdlc.runtime.services import build_services

    return build_services(settings)


async def _worker(client: Client, services: Services) -> Worker:
    from sdlc.runtime.worker import build_worker

    return build_worker(client, services)  # the SDK wants to be in the loop that runs the worker


@contextlib.asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    """Run a worker for the length of a block, which ends with ServiceUnavailable if the worker dies."""
    task = asyncio.create_task(worker.run(), name="sdlc worker")
    try:
        async with _ended_by(task, "The worker stopped"):
            yield
    finally:
        await _drained(worker, task)


async def _drained(worker: Worker, task: asyncio.Task[None]) -> None:
    """Bounded: an activity that does not heed its cancellation must not keep the process."""
    if not task.done():
        closing = asyncio.create_task(worker.shutdown())
        grace = worker.config(active_config=True).get("graceful_shutdown_timeout")
        await asyncio.wait({task}, timeout=DRAIN_SECONDS + (grace.total_seconds() if grace else 0))
        closing.cancel()
        if not task.done():
            _log.warning("The worker still has activities in hand; leaving them to their time-outs.")
            task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await asyncio.wait_for(task, timeout=5)


@contextlib.asynccontextmanager
async def _kept_up(lease: ServerLease, say: Say) -> AsyncIterator[None]:
    task = asyncio.create_task(_keep_alive(lease, say), name="sdlc server watch")
    try:
        async with _ended_by(task, "The embedded Temporal server can't be kept up"):
            yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


@contextlib.asynccontextmanager
async def _ended_by(task: asyncio.Task[None], what: str) -> AsyncIterator[None]:
    """End the block when the task fails, as `asyncio.timeout` ends one: cancel it, and raise the reason instead."""
    body = asyncio.current_task()
    assert body is not None  # noqa: S101 - an async context manager always runs in a task
    failures: list[BaseException] = []

    def look(done: asyncio.Task[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            failures.append(error)
            body.cancel()

    task.add_done_callback(look)
    try:
        yield
    except asyncio.CancelledError:
        if failures and body.uncancel() == 0:
            raise _reason(failures[0], what) from failures[0]
        raise
    finally:
        task.remove_done_callback(look)
    if failures:  # it failed in the very moment in which the block ended
        body.uncancel()
        raise _reason(failures[0], what) from failures[0]


def _reason(error: BaseException, what: str) -> SdlcError:
    if isinstance(error, SdlcError):
        return error
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    return ServiceUnavailable(f"{what}: {' '.join(str(root).split())[:300] or type(root).__name__}.")


async def _keep_alive(lease: ServerLease, say: Say) -> None:
    revived = 0
    while True:
        await asyncio.sleep(WATCH_EVERY)
        if not await lease.revive():
            continue
        revived += 1
        _log.warning("The embedded Temporal server had died and was started again (%d).", revived)
        say("The Temporal server had died and was started again; the run goes on.")
        if revived > _REVIVALS:
            raise ServiceUnavailable(
                f"The embedded Temporal server died {revived} times; its log is beside its database in the data folder."
            )
