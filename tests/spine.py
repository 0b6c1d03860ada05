"""The whole spine for tests: a real worker with every real activity, the demo's repository, a model over HTTP.

Only the model's words are scripted. Server, git, sandbox, tests, reviews, tracker and forge are the product's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError

from sdlc.config import ForgeSettings, ModelSettings, Price, Settings
from sdlc.demo.bundle import TICKET, TICKET_KEY, make_repository
from sdlc.demo.conversation import Script
from sdlc.demo.scripted_model import MODEL, ScriptedModel
from sdlc.domain import ApprovalDecision, DecisionKind, RunRequest, RunState
from sdlc.errors import ServiceUnavailable
from sdlc.integrations.local_tracker import LocalTracker
from sdlc.progress import RunProgress
from sdlc.runtime.embedded import running
from sdlc.runtime.runs import Runs, workflow_id
from sdlc.runtime.services import build_services
from sdlc.runtime.worker import build_worker

PATIENCE = 90.0
"""Seconds that a test waits for a run; on a loaded machine a whole one takes about 30."""


@dataclass
class Spine:
    settings: Settings
    client: Client
    runs: Runs
    model: ScriptedModel
    repository: Path
    key: str

    async def start(self, **policy: Any) -> None:
        await self.runs.start(self.request(**policy))

    def request(self, **policy: Any) -> RunRequest:
        return RunRequest(
            ticket_key=self.key,
            repository=str(self.repository),
            starter="ada",
            policy=self.settings.run_policy().model_copy(update=policy),
        )

    async def until(self, wanted: Callable[[RunProgress], bool], seconds: float = PATIENCE) -> RunProgress:
        """Look until the run is as wanted; fails with what it was instead, and with what is tried again."""
        progress: RunProgress | None = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    # A worker that was killed leaves its sticky queue behind, which nobody answers for some seconds.
                    with contextlib.suppress(ServiceUnavailable):
                        progress = await self.runs.progress(self.key)
                        if wanted(progress):
                            return progress
                        if progress.state is RunState.NEEDS_ATTENTION:
                            break
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pass
        shown = [(s.name, s.state.value, s.attempts, s.result) for s in progress.steps] if progress else "nothing"
        waits = progress.waits_for if progress else ""
        troubles = await self.runs.troubles(self.key)
        raise AssertionError(f"the run is not as wanted: {waits} {troubles} {shown}\n{self.log_tail()}")

    async def until_state(self, state: RunState, seconds: float = PATIENCE) -> RunProgress:
        return await self.until(lambda progress: progress.state is state, seconds)

    async def decide(self, kind: DecisionKind, by: str = "grace", comment: str = "") -> None:
        await self.runs.decide(self.key, ApprovalDecision(kind=kind, by=by, comment=comment, source="cli"))

    async def history(self, of: str = "") -> WorkflowHistory:
        return await self.client.get_workflow_handle(of or workflow_id(self.key)).fetch_history()

    # --- what is seen from outside --------------------------------------------------------------

    @property
    def ticket(self) -> str:
        return (self.settings.tickets_dir / f"{self.key}.md").read_text()

    @property
    def ticket_comments(self) -> str:
        return (self.settings.tickets_dir / f"{self.key}.comments.md").read_text()

    @property
    def pull_requests(self) -> list[Path]:
        return sorted(self.settings.forge_dir.glob("*/pulls/*/pull.md"))

    def log_tail(self) -> str:
        log = self.settings.data_dir / "sdlc.log"
        return log.read_text()[-4_000:] if log.is_file() else ""


def spine_settings(settings: Settings, model: ScriptedModel, cache_dir: Path) -> Settings:
    """Settings of a run against a scripted model; the cache is shared, so that environments are made once."""
    return settings.model_copy(
        update={
            "cache_dir": cache_dir,
            "forge": ForgeSettings(),
            "llm": ModelSettings(
                base_url=model.base_url, name=MODEL, prices={MODEL: Price(input=1.0, output=2.0)}, timeout_seconds=20
            ),
            "run": settings.run.model_copy(
                update={"first_retry_seconds": 0.2, "longest_retry_seconds": 1.0, "starter": "ada"}
            ),
        }
    )


@asynccontextmanager
async def set_up(
    settings: Settings, cache_dir: Path, connect: Callable[[Settings], Any], script: Script | None = None
) -> AsyncIterator[Spine]:
    """Repository, ticket and model, without a worker."""
    async with ScriptedModel(script) as model:
        own = spine_settings(settings, model, cache_dir)
        repository = await make_repository(settings.data_dir / "origin")
        ticket = settings.data_dir / "ticket.md"
        # Runs are named after their ticket, and the server is shared by all tests of a process.
        ticket.write_text(TICKET.read_text().replace(TICKET_KEY, f"DEMO-{uuid.uuid4().int % 10**9}"))
        key = await LocalTracker(own.tickets_dir).import_ticket(ticket)
        client = await connect(own)
        spine = Spine(own, client, Runs(client, task_queue=own.temporal.task_queue), model, repository, key)
        try:
            yield spine
        finally:
            with contextlib.suppress(RPCError):
                await client.get_workflow_handle(workflow_id(key)).terminate("the test is over")


@asynccontextmanager
async def working(spine: Spine) -> AsyncIterator[Spine]:
    """A worker in this process."""
    async with running(build_worker(spine.client, build_services(spine.settings))):
        yield spine


def payloads_of(history: WorkflowHistory) -> Iterator[Payload]:
    """Every payload of a history, wherever it stands."""

    def walk(message: Any) -> Iterator[Payload]:
        if isinstance(message, Payload):
            yield message
            return
        for descriptor, value in message.ListFields():
            if descriptor.message_type is None:
                continue
            if descriptor.message_type.GetOptions().map_entry:
                yield from (one for item in value.values() if hasattr(item, "ListFields") for one in walk(item))
            elif hasattr(value, "ListFields"):
                yield from walk(value)
            else:
                yield from (one for item in value for one in walk(item))

    for event in history.events:
        yield from walk(event)


def text_of(history: WorkflowHistory) -> str:
    """All that a reader of a history can see, in one text."""
    return "\n".join(payload.data.decode("utf-8", "replace") for payload in payloads_of(history)) + json.dumps(
        [str(event) for event in history.events]
    )
