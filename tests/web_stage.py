"""Runs on the stage as the web sees them: real workflows on a real server, a gateway in front, requests by HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from starlette.requests import Request
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from sdlc.config import Settings
from sdlc.config.web import WebSettings
from sdlc.domain import ApprovalPolicy, Repository, RunPolicy, RunRequest, RunState
from sdlc.errors import ServiceUnavailable
from sdlc.progress import RunProgress
from sdlc.runtime.client import connect, ensure_search_attributes
from sdlc.runtime.graphs import Graphs
from sdlc.runtime.worker import workflow_runner
from sdlc.web.gateway import Gateway
from sdlc.web.refusals import Refused
from sdlc.web.sign_in.identity import Identity, Role
from sdlc.work_loop import WorkLoopWorkflow
from sdlc.workflow import SdlcWorkflow
from tests import stage as stages
from tests.stage import Script, Stage, quick_policy

GRACE = Identity("grace", "header", role=Role.OPERATOR)
VIEWER = Identity("vera", "header", role=Role.VIEWER)
APPROVER = Identity("amy", "header", role=Role.APPROVER)


@dataclass
class World:
    settings: Settings
    client: Client
    gateway: Gateway
    stage: Stage
    queue: str
    repository: str
    """Its name, which no other test has."""
    new_worker: Callable[[], Worker]
    working: contextlib.AsyncExitStack

    async def stop_worker(self) -> None:
        await self.working.aclose()

    async def start_worker(self) -> None:
        await self.working.enter_async_context(self.new_worker())

    async def start(
        self, key: str = "", *, starter: str = "ada", approvers: tuple[str, ...] = (), **policy: Any
    ) -> str:
        """Start a run and give its key."""
        key = key or f"KEY-{uuid.uuid4().hex[:8]}"
        approval = ApprovalPolicy(allow_starter=True, approvers=approvers)
        request = RunRequest(
            ticket_key=key,
            repository="/src/parcel",
            starter=starter,
            policy=RunPolicy.model_validate({**quick_policy().model_dump(), "approval": approval, **policy}),
        )
        await self.client.start_workflow(
            SdlcWorkflow.run,
            request,
            id=f"sdlc-{key}",
            task_queue=self.queue,
            memo={"repository": request.repository, "starter": request.starter},
        )
        return key

    async def until(self, key: str, wanted: Callable[[RunProgress], bool], seconds: float = 30) -> RunProgress:
        progress = None
        try:
            async with asyncio.timeout(seconds):
                while not (progress and wanted(progress)):
                    await asyncio.sleep(0.03)
                    # A run that a worker lets go of in that moment can't be asked: the plugin's graphs go with it.
                    with contextlib.suppress(ServiceUnavailable):
                        progress = await self.gateway.progress(key)
        except TimeoutError:
            raise AssertionError(f"after {seconds} s the run was: {progress!r}") from None
        return progress

    async def until_state(self, key: str, state: RunState) -> RunProgress:
        return await self.until(key, lambda progress: progress.state is state)

    async def shown(self, names: tuple[str, ...], key: str, *, there: bool = True) -> None:
        """Wait until the run is in the inbox of these names, or is not: Temporal's index is a moment behind."""
        async with asyncio.timeout(20):
            while (key in [line.key for line in (await self.gateway.inbox(names, limit=200)).items]) is not there:
                await asyncio.sleep(0.1)

    async def head(self, key: str) -> str:
        change = (await self.gateway.progress(key)).change
        return change.head_sha if change else ""

    async def waiting(self, key: str = "", **more: Any) -> str:
        """A run that has come to its approval."""
        key = await self.start(key, **more)
        await self.until_state(key, RunState.AWAITING_APPROVAL)
        await self.indexed(key, "SdlcState = 'awaiting_approval'")
        return key

    async def over(self, key: str, state: RunState) -> None:
        """Wait until it has ended so, also in Temporal's index."""
        await self.until_state(key, state)
        await self.indexed(key, f"SdlcState = '{state.value}' AND ExecutionStatus != 'Running'")

    async def indexed(self, key: str, query: str) -> None:
        """Wait until Temporal's index, which is a moment behind, has the run as the query says."""
        async with asyncio.timeout(20):
            while not (await self.client.count_workflows(f"WorkflowId = 'sdlc-{key}' AND {query}")).count:
                await asyncio.sleep(0.03)


@asynccontextmanager
async def web_world(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    script: Script | None = None,
    *,
    repository: Repository | None = None,
    stage: Stage | None = None,
) -> AsyncIterator[World]:
    """A worker for the stage's activities and a gateway; what is still open is terminated at the end."""
    name = f"acme/{uuid.uuid4().hex[:8]}"
    own = (repository or stages.REPOSITORY).model_copy(update={"name": name})
    monkeypatch.setattr(stages, "REPOSITORY", own)
    settings = settings.model_copy(update={"web": WebSettings()})
    client = await connect(settings)
    assert await ensure_search_attributes(client)
    stage = stage or Stage(script or Script())
    queue = settings.temporal.task_queue

    def new_worker() -> Worker:
        return Worker(
            client,
            task_queue=queue,
            workflows=[SdlcWorkflow, WorkLoopWorkflow],
            activities=stage.activities(),
            plugins=[Graphs(stage.graphs())],
            workflow_runner=workflow_runner(),
            max_heartbeat_throttle_interval=timedelta(seconds=0.2),
            default_heartbeat_throttle_interval=timedelta(seconds=0.2),
        )

    async def the_client() -> Client:
        return client

    async with contextlib.AsyncExitStack() as working:
        world = World(settings, client, Gateway(the_client, settings), stage, queue, name, new_worker, working)
        try:
            await world.start_worker()
            yield world
        finally:
            still = f"TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"
            async with asyncio.timeout(20):
                while (await client.count_workflows(still)).count:
                    async for run in client.list_workflows(still):
                        with contextlib.suppress(RPCError):  # the index is a moment behind
                            await client.get_workflow_handle(run.id).terminate()
                    await asyncio.sleep(0.05)


async def by_header(request: Request) -> Identity:
    """In place of `sdlc.web.api.who`: `Authorization: Bearer grace` and the like."""
    named = {one.name: one for one in (GRACE, VIEWER, APPROVER)}
    said = request.headers.get("authorization", "").removeprefix("Bearer ")
    if said not in named:
        raise Refused(401, "Sign in first.")
    return named[said]
