"""Deliveries of trackers and forges, kept by Temporal itself: each is a small workflow, named after what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from sdlc.deliveries import DELIVERY_WORKFLOW, Delivery
from sdlc.errors import SdlcError, ServiceUnavailable
from sdlc.intake import summary_of

RETRY_AFTER = 10.0
"""Seconds after which a sender may try again."""

log = structlog.get_logger(__name__)


class Deliveries:
    """Keeps deliveries. What is given in place of a client makes one when it is needed, and again after a failure.

    `answer_seconds` bound each call. Belongs to the event loop in which it is used first.
    """

    def __init__(
        self, client: Client | Callable[[], Awaitable[Client]], task_queue: str, *, answer_seconds: float = 10.0
    ) -> None:
        self._client = client if isinstance(client, Client) else None
        self._connect = None if isinstance(client, Client) else client
        self._connecting: asyncio.Task[Client] | None = None
        self._task_queue = task_queue
        self._seconds = answer_seconds

    async def keep(self, delivery: Delivery) -> bool:
        """True if it is new, False if it was kept before: then nothing happens.

        Raises ServiceUnavailable if Temporal is not reached in time. It may have been kept all the same, which the
        next try finds out.
        """
        try:
            await self._within_time(self._start(delivery))
        except WorkflowAlreadyStartedError:
            return False
        return True

    async def check(self) -> None:
        """Raises ServiceUnavailable, with the reason, unless Temporal would keep a delivery now."""
        await self._within_time(self._describe())

    async def client(self) -> Client:
        """The client, connected if need be. Raises what connecting raises."""
        if self._client is not None:
            return self._client
        if self._connecting is None:
            assert self._connect is not None  # noqa: S101 - a client that was given is never dropped
            self._connecting = asyncio.ensure_future(self._connect())
            self._connecting.add_done_callback(self._connected)
        # Whoever is out of patience leaves; the connection is made for the next one.
        return await asyncio.shield(self._connecting)

    async def close(self) -> None:
        """Give up connecting."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting}, timeout=5)

    def _connected(self, task: asyncio.Task[Client]) -> None:
        self._connecting = None
        if not task.cancelled() and task.exception() is None:
            self._client = task.result()

    async def _start(self, delivery: Delivery) -> None:
        client = await self.client()
        await client.start_workflow(
            DELIVERY_WORKFLOW,
            delivery,
            id=delivery.workflow_id,
            task_queue=self._task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            static_summary=summary_of(delivery),
            rpc_timeout=timedelta(seconds=self._seconds),
        )

    async def _describe(self) -> None:
        client = await self.client()
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace), timeout=timedelta(seconds=self._seconds)
        )

    async def _within_time(self, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await work
        except TimeoutError as error:
            self._drop()
            raise _unavailable(f"Temporal has not answered within {self._seconds:g} s") from error
        except RPCError as error:
            if _is_cancelled():
                raise asyncio.CancelledError from error  # the SDK makes one error of both
            if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
                self._drop()
            words = " ".join(error.message.split())[:200]
            raise _unavailable(f"Temporal does not take deliveries ({error.status.name}: {words})") from error
        except SdlcError as error:  # of connecting; what a person has to mend is told, and tried again until they have
            raise _unavailable(str(error).rstrip(".")) from error

    def _drop(self) -> None:
        """An embedded server that was started anew may be at another address."""
        if self._connect is not None:
            self._client = None


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _unavailable(reason: str) -> ServiceUnavailable:
    log.warning("a delivery can't be kept", reason=reason)
    return ServiceUnavailable(f"{reason}.", retry_after=RETRY_AFTER)
