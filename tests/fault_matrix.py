"""The fault matrix is played: runs of the real workflow with the real delivery steps, side by side on one worker.

Engine, panels and tests are doubles (`tests.stage`); Jira, GitHub and git are served by each run's own `World`.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from sdlc import activities as do
from sdlc.config import Settings
from sdlc.domain import (
    ApprovalDecision,
    AttentionAnswer,
    AttentionKind,
    DecisionKind,
    Finding,
    MessageReceipt,
    Panel,
    RunPolicy,
    RunRequest,
    RunState,
    Severity,
    StepLimits,
)
from sdlc.errors import SdlcError
from sdlc.progress import RunOutcome, RunProgress
from sdlc.run_payloads import OutsideChange
from sdlc.runtime import worker as product
from sdlc.runtime.activity_failures import ActivityInterceptor
from sdlc.runtime.graphs import Graphs
from sdlc.runtime.redaction import Redactor
from sdlc.work_loop import WorkLoopWorkflow
from sdlc.workflow import SdlcWorkflow
from tests.fault_cases import FAULTS, Case, Say, Scenario
from tests.fault_world import ANOTHER, NAME, PERSON, World
from tests.stage import Script, Stage

Handle = WorkflowHandle[SdlcWorkflow, RunOutcome]
Step = Callable[..., Any]
AT_ONCE = 6
PATIENCE = 60.0
"""Seconds until a run that has not come to its end never will."""
MOST_ASKED = 2
"""How often a run may ask a person because of one fault; more is a circle."""
_CATALOGUE = {found.name: found for found in vars(do).values() if isinstance(found, do.Activity)}
_DOUBLES = frozenset(double.name for double in (do.WRITE_BRIEF, do.RUN_TESTS, do.CHECK_ACCEPTANCE))


@dataclass
class _Play:
    """A run that is played."""

    world: World
    scenario: Scenario
    steps: dict[str, Step]
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One activity of a run at a time, so that each call is known to be its."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    told: int = 0
    """How often people were told something."""


class Theatre:
    """One worker, on which runs are played side by side; each activity goes to the world of its run."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.folder = folder
        self.queue = f"faults-{uuid.uuid4().hex[:8]}"
        self.stage = Stage(Script(findings=self._findings))
        self._doubles = {name: step for name, step in _by_name(self.stage.activities()).items() if name in _DOUBLES}
        self._plays: dict[str, _Play] = {}
        self._first_heads: set[str] = set()
        """Those that a panel has something to say about."""
        self._room = asyncio.Semaphore(AT_ONCE)

    def worker(self) -> Worker:
        return Worker(
            self.client,
            task_queue=self.queue,
            workflows=[SdlcWorkflow, WorkLoopWorkflow],
            activities=[self._routed(found) for found in _CATALOGUE.values()],
            plugins=[Graphs(self.stage.graphs())],
            interceptors=[ActivityInterceptor(Redactor.of(Settings()))],
            workflow_runner=UnsandboxedWorkflowRunner(),  # others show that it is deterministic
            build_id="fault-matrix",
            max_concurrent_activities=4 * AT_ONCE,
        )

    def _routed(self, like: do.Activity[Any, Any]) -> Step:
        async def routed(request: Any) -> Any:
            play = self._plays[activity.info().workflow_id.partition("/")[0]]
            async with play.turn:
                if like is do.WAIT_FOR_CI and play.scenario.ci:
                    await asyncio.to_thread(play.world.end_checks, request.pull_request.head_sha, play.scenario.ci)
                play.world.doing = like.name
                try:
                    result = await play.steps[like.name](request)
                    play.told += like is do.TELL_PEOPLE
                finally:
                    play.world.doing = ""
                    play.moved.set()
            if like is do.RUN_ENGINE and play.scenario.finding and request.change.is_empty:
                self._first_heads.add(result.change.head_sha)
            return result

        routed.__annotations__ = {"request": like.takes, "return": like.gives}
        return activity.defn(name=like.name)(routed)

    def _findings(self, panel: Panel, head: str) -> tuple[Finding, ...]:
        if panel is not Panel.QUALITY or head not in self._first_heads:
            return ()
        place = {"file": "money.py", "line": 2, "end_line": 2, "fingerprint": "f1"}
        said = "`round` is no total."
        return (Finding(panel=panel, rule="lens:names", severity=Severity.MINOR, message=said, **place),)

    async def play(self, case: Case) -> Case:
        """The case with what came of it. Raises nothing that a fault may bring about."""
        async with self._room:
            await self._in_a_world(case)
            if not (case.struck or case.broke or case.nth == 1):
                # How often a run looks at its pull request depends on when it is told to.
                case.nth, case.number = 1, case.number + 100_000
                await self._in_a_world(case)
        return case

    async def _in_a_world(self, case: Case) -> None:
        world = World(
            key=f"ACME-{case.number}",
            folder=self.folder / str(case.number),
            enterprise=case.scenario.enterprise,
            strikes_at=(case.call, case.nth) if case.call else None,
        )
        world.folder.mkdir(parents=True)
        await asyncio.to_thread(world.open)
        fault = FAULTS.get(case.fault)
        world.watch(replace(fault, after=case.after) if fault else None)
        run_id = f"sdlc-{world.key}-{uuid.uuid4().hex[:8]}"
        steps = {**_by_name(product.activities(world.services)), **self._doubles, do.RUN_ENGINE.name: world.engine}
        self._plays[run_id] = _Play(world, case.scenario, steps)
        try:
            await _selected(world)
            await self._played(case, world, run_id)
        finally:
            del self._plays[run_id]
            case.calls = world.calls
            await asyncio.to_thread(world.close)
            await asyncio.to_thread(shutil.rmtree, world.folder, ignore_errors=True)

    async def _played(self, case: Case, world: World, run_id: str) -> None:
        policy = RunPolicy(
            first_retry_seconds=0.05,
            longest_retry_seconds=0.2,
            limits={"implement": StepLimits(timeout_seconds=60, attempts=10)},
            max_fix_rounds=0,
            engine="double",
            merge=case.scenario.merge,
        )
        request = RunRequest(
            ticket_key=world.key, repository=NAME, starter="ada", policy=policy, search_attributes=False
        )
        handle = await self.client.start_workflow(SdlcWorkflow.run, request, id=run_id, task_queue=self.queue)
        try:
            async with asyncio.timeout(PATIENCE):
                outcome = await self._steered(case, handle)
        except (TimeoutError, IndexError, RPCError, WorkflowFailureError) as error:
            progress = await _progress(handle)
            stood = f"{progress.step} ({progress.waits_for})" if progress else "nothing"
            case.broke = f"{type(error).__name__} {error} at {stood}, a person was asked: {case.asked}"
            with contextlib.suppress(RPCError):
                await handle.terminate()
            return
        case.seen = {"run": outcome.state.value, **world.picture()}
        case.struck = case.call is None or world.struck

    async def _steered(self, case: Case, handle: Handle) -> RunOutcome:
        """Say what people say until the run is over."""
        said: set[str] = set()
        while True:
            progress = await self._turn(handle, len(case.asked))
            head = progress.change.head_sha if progress.change else ""
            if progress.state is RunState.AWAITING_APPROVAL and head not in said:
                if await self._say(case.scenario.says[len(said)], head, handle):
                    said.add(head)
            elif progress.state is RunState.AWAITING_APPROVAL:
                # As polling does, should the run have missed it.
                await handle.signal(SdlcWorkflow.pull_request_changed, OutsideChange(reason="polled"))
                await asyncio.sleep(0.3)
            elif progress.state is RunState.NEEDS_ATTENTION:
                planned = case.scenario.ends is RunState.ABORTED and "checks are red" in progress.waits_for
                answer = AttentionAnswer(kind=AttentionKind.ABORT if planned else AttentionKind.RETRY, by=PERSON)
                if await _taken(handle.execute_update(SdlcWorkflow.attend, answer)) and not planned:
                    case.asked.append(progress.waits_for)
                    if len(case.asked) > MOST_ASKED:
                        raise TimeoutError("it goes in a circle")
            else:
                return await handle.result()

    async def _say(self, say: Say, head: str, handle: Handle) -> bool:
        """False where the run does not hear it any more."""
        if say is Say.DECIDE:  # by somebody who has not pushed to it
            decision = ApprovalDecision(kind=DecisionKind.APPROVE, by=ANOTHER, head_sha=head, source="cli")
            return await _taken(handle.execute_update(SdlcWorkflow.decide, decision))
        play = self._plays[handle.id]
        async with play.turn:  # what is said while the run reads is heard in another order each time
            await asyncio.to_thread(play.world.on_forge, say.value)
        await handle.signal(SdlcWorkflow.pull_request_changed, OutsideChange(reason=say.value))
        return True

    async def _turn(self, handle: Handle, asked: int) -> RunProgress:
        """When people have something to say (and know it, after they were `asked` so often), or it is over."""
        play = self._plays[handle.id]
        while True:
            progress = await _progress(handle)
            if progress is not None:
                untold = any("could not be told" in warning for warning in progress.warnings)
                is_asked = progress.state is RunState.NEEDS_ATTENTION and (untold or play.told > asked)
                if is_asked or progress.state.is_over or progress.state is RunState.AWAITING_APPROVAL:
                    return progress
            play.moved.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(play.moved.wait(), 0.5)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def theatre(client: Client, folder: Path) -> AsyncIterator[Theatre]:
    """Open for the length of the block."""
    # A call that hangs keeps a thread, and must not keep others waiting.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(8 * AT_ONCE))
    made = Theatre(client, folder)
    async with made.worker():
        yield made


def _by_name(activities: list[Step]) -> dict[str, Step]:
    return {found.__temporal_activity_definition.name: found for found in activities}  # type: ignore[attr-defined]


async def _selected(world: World) -> None:
    """What polling does before there is a run: a poll that fails is followed by another one."""
    world.doing = "next_key"
    for _ in range(3):
        with contextlib.suppress(SdlcError):
            assert await world.services.tracker.next_key() == world.key, "another ticket was chosen"
            break
    else:
        raise AssertionError("no ticket was chosen")
    world.doing = ""


async def _taken(update: Awaitable[MessageReceipt]) -> bool:
    """False where the run has moved on, or has not yet moved on from the last word."""
    try:
        return (await update).accepted
    except WorkflowUpdateFailedError:
        await asyncio.sleep(0.05)
        return False


async def _progress(handle: Handle) -> RunProgress | None:
    try:
        return await handle.query(SdlcWorkflow.progress)
    except RPCError:
        return None  # it has not begun yet
