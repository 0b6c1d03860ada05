"""The connection of a process that serves: one client for all who ask, made when it is needed, anew when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

REST_SECONDS = 1.0
"""After a failure, before it is tried again: who asks until then is told of that failure."""
_PROBE = timedelta(seconds=3)

SILENT = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)
"""What a call ends with that the server has not answered. Of a query, also where only its worker is silent."""


class Connection:
    """What is given in place of a client makes one. Belongs to the event loop in which it is used first.

    An embedded server that was started anew may be at another address, which no old client looks for.
    """

    def __init__(self, client: Client | Callable[[], Awaitable[Client]]) -> None:
        self._client = client if isinstance(client, Client) else None
        self._connect = None if isinstance(client, Client) else client
        self._attempt: asyncio.Task[Client] | None = None
        self._failed_at = 0.0
        self._probe: asyncio.Task[None] | None = None

    async def client(self, seconds: float | None = None) -> Client:
        """The client, connected if need be. All who wait share one attempt, and its failure.

        Raises what connecting raises, and TimeoutError after `seconds`; then the attempt goes on for the next one.
        """
        if self._client is not None:
            return self._client
        attempt = self._attempt
        if attempt is None or (attempt.done() and attempt.get_loop().time() - self._failed_at >= REST_SECONDS):
            assert self._connect is not None  # noqa: S101 - a client that was given is never lost
            attempt = self._attempt = asyncio.ensure_future(self._connect())
            attempt.add_done_callback(self._tried)
        async with asyncio.timeout(seconds):
            return await asyncio.shield(attempt)

    def lost(self, client: Client) -> None:
        """The next one who asks connects anew; a client that was given stays."""
        if self._connect is not None and self._client is client:
            self._client = None

    def unanswered(self, client: Client, cause: BaseException | None) -> None:
        """A question to this client has failed. Where that may be its worker's silence, the server itself is asked,
        while nobody waits for that."""
        status = cause.status if isinstance(cause, RPCError) else None
        if status is RPCStatusCode.UNAVAILABLE:
            self.lost(client)
        unsure = status in SILENT or isinstance(cause, TimeoutError | WorkflowUpdateRPCTimeoutOrCancelledError)
        if unsure and self._client is client and self._connect is not None and self._probe is None:
            self._probe = asyncio.ensure_future(self._ask(client))

    async def close(self) -> None:
        """Give up connecting."""
        going_on = [task for task in (self._attempt, self._probe) if task is not None and not task.done()]
        for task in going_on:
            task.cancel()
        if going_on:
            await asyncio.wait(going_on, timeout=5)

    def _tried(self, attempt: asyncio.Task[Client]) -> None:
        if not attempt.cancelled() and attempt.exception() is not None:
            self._failed_at = attempt.get_loop().time()
            return  # it stays, to be told to who asks next
        self._attempt = None
        if not attempt.cancelled():
            self._client = attempt.result()

    async def _ask(self, client: Client) -> None:
        try:
            async with asyncio.timeout(2 * _PROBE.total_seconds()):
                await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=_PROBE)
        except TimeoutError:
            self.lost(client)
        except RPCError as error:
            if error.status in SILENT:
                self.lost(client)
        finally:
            self._probe = None
