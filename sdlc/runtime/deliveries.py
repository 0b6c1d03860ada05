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
from temporalio.service import RPCError

from sdlc.deliveries import DELIVERY_WORKFLOW, Delivery
from sdlc.errors import SdlcError, ServiceUnavailable
from sdlc.intake import summary_of
from sdlc.runtime.connection import SILENT, Connection

RETRY_AFTER = 10.0
"""Seconds after which a sender may try again."""

log = structlog.get_logger(__name__)


class Deliveries:
    """Keeps deliveries. `answer_seconds` bound each call. What is given in place of a client makes one, as
    `Connection` says."""

    def __init__(
        self, client: Client | Callable[[], Awaitable[Client]], task_queue: str, *, answer_seconds: float = 10.0
    ) -> None:
        self.connection = Connection(client)
        """For all who ask Temporal in this process: what one of them finds dead is made anew for everybody."""
        self._task_queue = task_queue
        self._seconds = answer_seconds

    async def keep(self, delivery: Delivery) -> bool:
        """True if it is new, False if it was kept before: then nothing happens.

        Raises ServiceUnavailable if Temporal is not reached in time. It may have been kept all the same, which the
        next try finds out.
        """
        try:
            await self._within_time(lambda client: self._start(client, delivery))
        except WorkflowAlreadyStartedError:
            return False
        return True

    async def check(self) -> None:
        """Raises ServiceUnavailable, with the reason, unless Temporal would keep a delivery now."""
        await self._within_time(self._describe)

    async def client(self) -> Client:
        """The client, connected if need be. Raises what connecting raises."""
        return await self.connection.client()

    async def close(self) -> None:
        """Give up connecting."""
        await self.connection.close()

    async def _start(self, client: Client, delivery: Delivery) -> None:
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

    async def _describe(self, client: Client) -> None:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace), timeout=timedelta(seconds=self._seconds)
        )

    async def _within_time(self, work: Callable[[Client], Awaitable[None]]) -> None:
        client = None
        try:
            async with asyncio.timeout(self._seconds):
                client = await self.connection.client()
                await work(client)
        except TimeoutError as error:
            if client is not None:
                self.connection.lost(client)
            raise _unavailable(f"Temporal has not answered within {self._seconds:g} s") from error
        except RPCError as error:
            if _is_cancelled():
                raise asyncio.CancelledError from error  # the SDK makes one error of both
            if client is not None and error.status in SILENT:
                self.connection.lost(client)
            words = " ".join(error.message.split())[:200]
            raise _unavailable(f"Temporal does not take deliveries ({error.status.name}: {words})") from error
        except SdlcError as error:  # of connecting; what a person has to mend is told, and tried again until they have
            raise _unavailable(str(error).rstrip(".")) from error


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _unavailable(reason: str) -> ServiceUnavailable:
    log.warning("a delivery can't be kept", reason=reason)
    return ServiceUnavailable(f"{reason}.", retry_after=RETRY_AFTER)
