"""The parts of a ticket on a real server: who begins when, from where, and what becomes of trouble.

Engine, planner and merging are stand-ins that a test scripts; what they really do is shown elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError
from temporalio.worker import Replayer, Worker

from sdlc import activities as do
from sdlc import loop_children
from sdlc.config import Settings
from sdlc.demo.conversation import ChatRequest, fit
from sdlc.demo.conversation import Script as ScriptOfAModel
from sdlc.domain import (
    Budget,
    ChangeSet,
    Instruction,
    Plan,
    RunIdentity,
    RunRequest,
    RunState,
    SplitPolicy,
    SubIssue,
    Ticket,
    Usage,
)
from sdlc.integrations.heartbeat import heartbeats
from sdlc.integrations.local_tracker import LocalTracker
from sdlc.parts import PartsResult, PartsState, SubIssueRequest
from sdlc.progress import PartProgress, StepState
from sdlc.run_payloads import Answered, ModelChosen, Spoken
from sdlc.runtime.client import connect
from sdlc.runtime.graphs import Graphs
from sdlc.runtime.runs import Runs, workflow_id
from sdlc.runtime.worker import workflow_runner
from sdlc.sub_issues import SubIssueWorkflow
from sdlc.work_loop import WorkLoopRequest, WorkLoopResult, WorkLoopWorkflow
from sdlc.workflow import SdlcWorkflow
from tests.repositories import git
from tests.scripted import Reply, ScriptedModel, edit, reviewed_clean, say, shell, submit
from tests.small_run import TICKET as SMALL_TICKET
from tests.small_run import small_repository
from tests.spine import Spine, spine_settings, working
from tests.stage import BASE, REPOSITORY, Script, Stage, State, final, quick_policy
from tests.stage import Play as RunPlay

WORKFLOWS = [SubIssueWorkflow, WorkLoopWorkflow]
CHANGE = ChangeSet(repository=REPOSITORY, base_sha=BASE, head_sha=BASE, branch="sdlc/KEY-1")
TICKET = Ticket(key="KEY-1", title="Export")


def part(key: str, *needs: str) -> SubIssue:
    return SubIssue(key=key, title=f"Part {key}", needs=needs)


@pytest.fixture
async def client(temporal_settings: Settings) -> Client:
    return await connect(temporal_settings)


@dataclass
class PartsStage(Stage):
    """A part is named by the end of its branch; `run` is the run's own line, where conflicts are resolved."""

    began: list[str] = field(default_factory=list)
    starts: dict[str, str] = field(default_factory=dict)
    """The head that each part's engine began from, the first time."""
    most_at_once: int = 0
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    """Parts whose engine waits for this."""
    ends: Callable[[str, int], dict[str, Any]] = lambda _, __: {}
    """Fields of a part's result, by part and how often its engine was called."""
    conflicts: Callable[[str, int], tuple[str, ...]] = lambda _, __: ()
    """By part, whose second merge is that of the first resolution."""
    plans: dict[str, do.TicketPlan] = field(default_factory=dict)
    """By ticket key."""
    merges: list[tuple[str, str, str]] = field(default_factory=list)
    """Part, the run's head before, the part's head."""
    planned: list[do.PlanTicket] = field(default_factory=list)
    _at_once: int = 0

    async def _agent(self, state: State) -> State:
        request = do.EngineRequest.model_validate(state["request"])
        name = request.change.branch.partition("--")[2] or "run"
        await self._called("agent")
        self.began.append(name)
        self.starts.setdefault(name, request.change.head_sha)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if name in self.held:
                async with heartbeats(every=0.1):
                    await self.held[name].wait()
        finally:
            self._at_once -= 1
        more = self.ends(name, self.began.count(name))
        return {"result": self._engine_result(1, request, **more).model_dump(mode="json")}

    def activities(self) -> list[Callable[..., Any]]:
        @activity.defn(name=do.PLAN_TICKET.name)
        async def plan_ticket(request: do.PlanTicket) -> do.TicketPlan:
            await self._called("plan_ticket")
            self.planned.append(request)
            return self.plans.get(request.ticket.key, do.TicketPlan())

        @activity.defn(name=do.MERGE_PART.name)
        async def merge_part(request: do.MergePart) -> do.PartMerged:
            await self._called("merge_part")
            before, offered = request.change.head_sha, request.part.head_sha
            name = request.title.rpartition("(")[2].rstrip(")")
            self.merges.append((name, before, offered))
            head = hashlib.sha256(f"{before}{offered}".encode()).hexdigest()[:40]
            times = sum(1 for merge in self.merges if merge[0] == name)
            change = request.change.model_copy(update={"head_sha": head, "files_changed": 1})
            return do.PartMerged(change=change, conflicts=self.conflicts(name, times))

        return [*super().activities(), plan_ticket, merge_part]

    def merged(self) -> list[str]:
        return [name for name, _, _ in self.merges]


@dataclass
class Play:
    handle: WorkflowHandle[SubIssueWorkflow, PartsResult]
    client: Client
    stage: PartsStage

    async def result(self, seconds: float = 30) -> PartsResult:
        return await asyncio.wait_for(self.handle.result(), seconds)

    async def progress(self) -> dict[str, PartProgress]:
        return {one.key: one for one in await self.handle.query(SubIssueWorkflow.progress)}

    async def until(self, wanted: Callable[[], bool], seconds: float = 20) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not wanted():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not as wanted: {self.stage.began} {self.stage.merges}") from None

    async def replays(self) -> None:
        """Every workflow of this play, from its history alone."""
        query = f"WorkflowId STARTS_WITH '{self.handle.id}'"
        replayer = Replayer(
            workflows=WORKFLOWS,
            plugins=[Graphs(self.stage.graphs())],
            workflow_runner=workflow_runner(),
            data_converter=self.client.data_converter,
        )
        await replayer.replay_workflow(await self.handle.fetch_history())
        children = [row.id async for row in self.client.list_workflows(query) if row.id != self.handle.id]
        for child in children:
            await replayer.replay_workflow(await self.client.get_workflow_handle(child).fetch_history())


def request(
    state: PartsState | None, *, depth: int = 0, plan: SplitPolicy | None = None, **more: Any
) -> SubIssueRequest:
    budget = more.pop("budget", Budget())
    brief = do.BriefRequest(
        run=RunIdentity(workflow_id="sdlc-KEY-1", run_id="r1", ticket_key="KEY-1"), ticket=TICKET, change=CHANGE
    )
    policy = quick_policy(plan=plan or SplitPolicy(split="auto", at_once=2), budget=budget)
    return SubIssueRequest(loop=WorkLoopRequest(brief=brief, policy=policy, **more), depth=depth, state=state)


@asynccontextmanager
async def play(client: Client, stage: PartsStage, asked: SubIssueRequest) -> AsyncIterator[Play]:
    queue = f"parts-{uuid.uuid4().hex[:8]}"
    worker = Worker(
        client,
        task_queue=queue,
        workflows=WORKFLOWS,
        activities=stage.activities(),
        plugins=[Graphs(stage.graphs())],
        workflow_runner=workflow_runner(),
        max_heartbeat_throttle_interval=timedelta(seconds=0.2),
        default_heartbeat_throttle_interval=timedelta(seconds=0.2),
    )
    async with worker:
        handle = await client.start_workflow(SubIssueWorkflow.run, asked, id=queue, task_queue=queue)
        try:
            yield Play(handle, client, stage)
        finally:
            description = await handle.describe()
            if description.status is not None and description.status.name == "RUNNING":
                await handle.terminate()


def parts(*given: SubIssue) -> PartsState:
    return PartsState(parts=given, change=CHANGE)


# --- the way through ----------------------------------------------------------------------------


async def test_independent_parts_work_at_once_and_others_after_what_they_need(client: Client) -> None:
    stage = PartsStage(held={"p1": asyncio.Event(), "p2": asyncio.Event()})
    async with play(client, stage, request(parts(part("p1"), part("p2"), part("p3", "p1", "p2")))) as run:
        await run.until(lambda: set(stage.began) == {"p1", "p2"})
        states = {key: one.state for key, one in (await run.progress()).items()}
        assert states == {"p1": StepState.RUNNING, "p2": StepState.RUNNING, "p3": StepState.PENDING}
        stage.held["p2"].set()
        await asyncio.sleep(0.3)
        assert stage.merges == []  # p1 is before it
        stage.held["p1"].set()
        result = await run.result()
    assert stage.merged() == ["p1", "p2", "p3"]
    assert (stage.starts["p1"], stage.starts["p2"]) == (BASE, BASE)
    assert stage.starts["p3"] == stage.merges[2][1]  # both are in it
    assert result.parts is not None
    assert (result.ended, result.reason, result.parts.merged) == ("submitted", "", ("p1", "p2", "p3"))
    assert result.change == result.parts.change
    assert (result.change.branch, result.change.base_sha) == ("sdlc/KEY-1", BASE)
    assert result.usage == Usage(model_calls=3, input_tokens=30, output_tokens=3)
    assert (result.turns, result.plan) == (3, ("Part p1", "Part p2", "Part p3"))
    assert "- Part p1: did 1" in result.summary
    await run.replays()


async def test_each_part_is_told_of_its_own_piece_and_of_the_others(client: Client) -> None:
    stage = PartsStage()
    async with play(client, stage, request(parts(part("p1"), part("p2", "p1")))) as run:
        await run.result()
    assert [brief.ticket.key for brief in stage.briefs] == ["KEY-1-p1", "KEY-1-p2"]
    assert [brief.change.branch for brief in stage.briefs] == ["sdlc/KEY-1--p1", "sdlc/KEY-1--p2"]
    assert "- p1: Part p1 (done already)" in stage.briefs[1].ticket.description


async def test_no_more_parts_are_at_work_than_are_allowed(client: Client) -> None:
    stage = PartsStage()
    plan = SplitPolicy(split="auto", at_once=1)
    async with play(client, stage, request(parts(*(part(f"p{n}") for n in range(4))), plan=plan)) as run:
        assert (await run.result()).ended == "submitted"
    assert stage.most_at_once == 1
    assert stage.merged() == ["p0", "p1", "p2", "p3"]


# --- conflicts ----------------------------------------------------------------------------------


async def test_conflicts_go_to_an_engine_and_its_resolution_is_merged_in_place_of_the_part(client: Client) -> None:
    stage = PartsStage(conflicts=lambda name, times: ("a.py", "x.png (binary)") if (name, times) == ("p2", 1) else ())
    async with play(client, stage, request(parts(part("p1"), part("p2")))) as run:
        result = await run.result()
    assert result.ended == "submitted"
    first, again = stage.merges[1:]
    assert first[:2] == again[:2]  # the same head before
    assert again[2] != first[2]
    brief = stage.briefs[-1]
    assert brief.change.branch == "sdlc/KEY-1"
    assert "- a.py\n- x.png (binary)" in brief.instructions[-1].text
    assert "what both sides mean is kept" in brief.instructions[-1].text
    await run.replays()


async def test_conflicts_that_two_engines_leave_are_told_and_nothing_merged_is_lost(client: Client) -> None:
    stage = PartsStage(conflicts=lambda name, _: ("a.py",) if name == "p2" else ())
    async with play(client, stage, request(parts(part("p1"), part("p2"), part("p3"), part("p4", "p2")))) as run:
        result = await run.result()
    assert result.parts is not None
    assert (result.ended, result.parts.merged) == ("failed", ("p1", "p3"))
    assert "Part p2 (Part p2): its conflicts with the parts before it are not resolved in a.py." in result.reason
    assert "Not done yet: p4." in result.reason
    assert stage.began.count("run") == 2
    assert result.change.head_sha == result.parts.change.head_sha != BASE
    await run.replays()


async def test_after_a_retry_only_the_merge_is_done_again(client: Client) -> None:
    stage = PartsStage(conflicts=lambda name, times: ("a.py",) if name == "p2" and times <= 3 else ())
    async with play(client, stage, request(parts(part("p1"), part("p2")))) as run:
        failed = await run.result()
    async with play(client, stage, request(failed.parts)) as run:
        result = await run.result()
    assert result.ended == "submitted"
    assert stage.began == ["p1", "p2", "run", "run"] or stage.began == ["p2", "p1", "run", "run"]


async def test_an_engine_that_does_nothing_about_conflicts_has_not_resolved_them(client: Client) -> None:
    stage = PartsStage(
        conflicts=lambda name, times: ("x.png (binary)",) if (name, times) == ("p1", 1) else (),
        ends=lambda name, _: {"ended": "no_change", "summary": "Fine as it is."} if name == "run" else {},
    )
    stage.script = Script(engine=_unchanged_on("sdlc/KEY-1"))
    async with play(client, stage, request(parts(part("p1"), part("p2")))) as run:
        result = await run.result()
    assert result.ended == "failed"
    assert "x.png (binary)" in result.reason
    assert stage.merged() == ["p1", "p2"]


def _unchanged_on(branch: str) -> Callable[[int, do.EngineRequest], dict[str, Any]]:
    return lambda _, asked: {"change": asked.change} if asked.change.branch == branch else {}


# --- trouble ------------------------------------------------------------------------------------


async def test_a_part_that_fails_keeps_back_only_what_needs_it_and_a_retry_does_what_is_missing(client: Client) -> None:
    stage = PartsStage(ends=lambda name, times: {"ended": "failed"} if (name, times) == ("p1", 1) else {})
    stage.script = Script(engine=lambda _, asked: {"reason": "It broke."} if asked.change.branch.endswith("p1") else {})
    given = parts(part("p1"), part("p2"), part("p3", "p1"))
    async with play(client, stage, request(given)) as run:
        failed = await run.result()
        states = {key: one.state for key, one in (await run.progress()).items()}
    assert states == {"p1": StepState.FAILED, "p2": StepState.DONE, "p3": StepState.PENDING}
    assert failed.parts is not None
    assert (failed.ended, failed.parts.merged) == ("failed", ("p2",))
    assert failed.reason == "Part p1 (Part p1): It broke. Not done yet: p3."
    assert failed.usage.model_calls == 2
    left = failed.parts.begun["p1"].head_sha  # what it had done is where it goes on
    async with play(client, stage, request(failed.parts)) as run:
        result = await run.result()
    assert (result.ended, result.reason) == ("submitted", "")
    assert stage.began.count("p2") == 1
    assert stage.merged() == ["p2", "p1", "p3"]
    assert [asked.change.head_sha for asked in stage.asked if asked.change.branch.endswith("p1")] == [BASE, left]
    await run.replays()


@pytest.mark.parametrize("summary", ["p1 has done it all.", ""])
async def test_nothing_to_do_is_an_answer_if_it_has_a_reason(client: Client, summary: str) -> None:
    stage = PartsStage(ends=lambda name, _: {"ended": "no_change", "summary": summary} if name == "p2" else {})
    stage.script = Script(engine=_unchanged_on("sdlc/KEY-1--p2"))
    async with play(client, stage, request(parts(part("p1"), part("p2", "p1")))) as run:
        result = await run.result()
        told = (await run.progress())["p2"].result
    if summary:
        assert (result.ended, told) == ("submitted", "nothing to do")
    else:
        assert result.reason == "Part p2 (Part p2): the engine ended without a change."
    assert stage.merged() == ["p1"]


async def test_a_merge_that_fails_for_good_is_a_parts_failure(client: Client) -> None:
    stage = PartsStage(
        Script(raises=lambda name, times: final("No right.") if (name, times) == ("merge_part", 1) else None)
    )
    async with play(client, stage, request(parts(part("p1"), part("p2")))) as run:
        result = await run.result()
    assert result.parts is not None
    assert (result.ended, result.parts.merged) == ("failed", ("p2",))
    assert result.reason == "Part p1 (Part p1): it could not be merged: No right."


async def test_parts_share_the_budget_and_go_on_while_some_is_left(client: Client) -> None:
    def ends(name: str, times: int) -> dict[str, Any]:
        return {"ended": "budget", "turns": 10} if (name, times) == ("p1", 1) else {"turns": 1}

    stage = PartsStage(ends=ends)
    async with play(client, stage, request(parts(part("p1"), part("p2")), budget=Budget(turns=20))) as run:
        result = await run.result()
    assert result.ended == "submitted"
    assert sorted(stage.began) == ["p1", "p1", "p2"]
    assert stage.asked[0].max_turns == 10  # half of what there is


async def test_a_budget_that_is_spent_ends_the_work_between_parts(client: Client) -> None:
    stage = PartsStage(ends=lambda _, __: {"turns": 12})
    plan = SplitPolicy(split="auto", at_once=1)
    asked = request(parts(part("p1"), part("p2"), part("p3")), budget=Budget(turns=20), plan=plan)
    async with play(client, stage, asked) as run:
        result = await run.result()
    assert result.parts is not None
    assert (result.ended, result.parts.merged) == ("budget", ("p1", "p2"))
    assert result.reason == "The budget of 20 turns of the engine is spent. Not done yet: p3."


async def test_a_part_whose_time_is_over_is_not_begun_again_behind_peoples_back(client: Client) -> None:
    stage = PartsStage(
        ends=lambda name, _: {"ended": "budget", "reason": "Its 120 min are over."} if name == "p1" else {}
    )
    async with play(client, stage, request(parts(part("p1"), part("p2")))) as run:
        result = await run.result()
    assert (result.ended, stage.began.count("p1")) == ("failed", 1)
    assert result.reason == "Part p1 (Part p1): Its 120 min are over."


async def test_protected_paths_of_parts_are_told_also_by_a_later_try(client: Client) -> None:
    def ends(name: str, times: int) -> dict[str, Any]:
        return (
            {"protected": (".github/ci.yml",), "allowed": ("CODEOWNERS",)}
            if name == "p1"
            else {"ended": "failed"}
            if times == 1
            else {}
        )

    stage = PartsStage(ends=ends)
    async with play(client, stage, request(parts(part("p1"), part("p2")))) as run:
        failed = await run.result()
    async with play(client, stage, request(failed.parts)) as run:
        result = await run.result()
    assert failed.protected == result.protected == (".github/ci.yml",)
    assert result.allowed == ("CODEOWNERS",)
    assert stage.began.count("p1") == 1


# --- people -------------------------------------------------------------------------------------


async def test_a_cancelled_run_cancels_its_parts_and_their_loops(client: Client) -> None:
    stage = PartsStage(held={"p1": asyncio.Event(), "p2": asyncio.Event()})
    async with play(client, stage, request(parts(part("p1"), part("p2")))) as run:
        await run.until(lambda: len(stage.began) == 2)
        await run.handle.cancel()
        with pytest.raises(WorkflowFailureError) as failed:
            await run.result()
        assert isinstance(failed.value.cause, CancelledError)
        for child in ("part-p1", "part-p2", "part-p1/loop", "part-p2/loop"):
            described = await client.get_workflow_handle(f"{run.handle.id}/{child}").describe()
            assert described.status is not None
            assert described.status.name == "CANCELED"
    assert stage.merges == []
    await run.replays()


async def test_a_cancel_while_the_planner_thinks_is_not_lost(client: Client) -> None:
    reached = asyncio.Event()

    async def hold(name: str, _: int) -> None:
        if name == "plan_ticket":
            reached.set()
            await asyncio.shield(asyncio.sleep(0.5))

    stage = PartsStage(Script(before=hold))
    async with play(client, stage, request(None, plan=SplitPolicy(split="auto"))) as run:
        await asyncio.wait_for(reached.wait(), 20)
        await run.handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await run.result()
    assert stage.began == []


async def test_what_people_say_reaches_every_part_also_those_that_begin_later(client: Client) -> None:
    stage = PartsStage(held={"p1": asyncio.Event(), "p2": asyncio.Event()})
    async with play(client, stage, request(parts(part("p1"), part("p2"), part("p3", "p1")))) as run:
        await run.until(lambda: len(stage.began) == 2)
        await run.handle.signal(SubIssueWorkflow.inject_instruction, Instruction(text="Use tabs.", by="ada"))
        await run.handle.signal(SubIssueWorkflow.escalate_model, ModelChosen(model="large"))
        await run.handle.signal(SubIssueWorkflow.pause, Spoken(by="ada"))
        loop = client.get_workflow_handle(f"{run.handle.id}/part-p2/loop")
        async with asyncio.timeout(20):
            while (await loop.query(WorkLoopWorkflow.progress))["model"] != "large":
                await asyncio.sleep(0.05)
        for held in stage.held.values():
            held.set()
        await run.until(lambda: "p2" in stage.merged())
        await asyncio.sleep(0.3)
        assert "p3" not in stage.began  # its loop waits before the first turn
        await run.handle.signal(SubIssueWorkflow.resume, Spoken(by="ada"))
        result = await run.result()
    assert result.ended == "submitted"
    last = next(brief for brief in stage.briefs if brief.change.branch.endswith("p3"))
    assert [word.text for word in last.instructions] == ["Use tabs."]
    assert next(asked.model for asked in stage.asked if asked.change.branch.endswith("p3")) == "large"
    assert result.chosen_model == "large"
    await run.replays()


async def test_a_word_that_no_engine_has_heard_comes_back(client: Client) -> None:
    stage = PartsStage(held={"p2": asyncio.Event()})
    async with play(client, stage, request(parts(part("p1"), part("p2")))) as run:
        await run.until(lambda: "p1" in stage.merged())
        await run.handle.signal(SubIssueWorkflow.inject_instruction, Instruction(text="Too late?", by="ada"))
        stage.held["p2"].set()
        result = await run.result()
    assert [word.text for word in result.unheard] == ["Too late?"]


class Handle:
    """A child that has just started."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def signal(self, name: str, payload: Any) -> None:
        self.heard.append(name)

    def __await__(self) -> Generator[Any, None, WorkLoopResult]:
        async def result() -> WorkLoopResult:
            return WorkLoopResult(change=CHANGE)

        return result().__await__()


async def test_what_is_said_while_a_child_starts_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Handle()

    async def start(*_: Any, **__: Any) -> Handle:
        await children.tell("inject_instruction", Instruction(text="Use tabs."))
        await children.tell("pause", Spoken())
        return handle

    temporal = SimpleNamespace(
        time=lambda: 0.0,
        info=lambda: SimpleNamespace(workflow_id="w"),
        start_child_workflow=start,
        ChildWorkflowCancellationType=workflow.ChildWorkflowCancellationType,
    )
    monkeypatch.setattr(loop_children, "workflow", temporal)
    children = loop_children.Children(request(None).loop)
    await children.tell("escalate_model", ModelChosen(model="large"))
    asked = children.request(TICKET, CHANGE)
    await children.run("WorkLoopWorkflow", asked, "loop", change=CHANGE, gives=WorkLoopResult)
    assert (asked.model, asked.paused, asked.brief.instructions) == ("large", False, ())
    assert handle.heard == ["inject_instruction", "pause"]
    assert children.waiting == []


# --- splitting again ----------------------------------------------------------------------------


def planned(*given: SubIssue) -> do.TicketPlan:
    return do.TicketPlan(
        plan=Plan(summary="s", steps=("one",)), parts=given, usage=Usage(model_calls=1, input_tokens=5)
    )


async def test_a_part_is_split_again_as_deep_as_is_allowed(client: Client) -> None:
    stage = PartsStage(
        plans={"KEY-1-p1": planned(part("a"), part("b", "a")), "KEY-1-p1-a": planned(part("x"), part("y"))}
    )
    plan = SplitPolicy(split="auto", max_depth=2)
    async with play(client, stage, request(parts(part("p1"), part("p2")), plan=plan)) as run:
        result = await run.result()
    assert result.ended == "submitted"
    assert [asked.ticket.key for asked in stage.planned if "-a" in asked.ticket.key] == []
    assert sorted(stage.began) == ["p1--a", "p1--b", "p2"]
    assert [name for name in stage.merged() if name in "ab"] == ["a", "b"]
    assert result.usage.model_calls == 3 + 1
    await run.replays()


async def test_parts_of_a_part_are_not_done_twice_after_a_retry(client: Client) -> None:
    stage = PartsStage(
        plans={"KEY-1-p1": planned(part("a"), part("b", "a"))},
        ends=lambda name, times: {"ended": "failed"} if (name, times) == ("p1--b", 1) else {},
    )
    plan = SplitPolicy(split="auto", max_depth=2)
    async with play(client, stage, request(parts(part("p1"), part("p2")), plan=plan)) as run:
        failed = await run.result()
    assert "Part p1 (Part p1): Part b (Part b): the engine ended with `failed`" in failed.reason
    async with play(client, stage, request(failed.parts, plan=plan)) as run:
        result = await run.result()
    assert result.ended == "submitted"
    assert sorted(stage.began) == ["p1--a", "p1--b", "p1--b", "p2"]
    assert [asked.ticket.key for asked in stage.planned] in (["KEY-1-p1", "KEY-1-p2"], ["KEY-1-p2", "KEY-1-p1"])


async def test_without_depth_left_a_part_is_one_loop_and_no_planner_is_asked(client: Client) -> None:
    stage = PartsStage(plans={"KEY-1": planned(part("a"), part("b"))})
    async with play(client, stage, request(None, depth=1)) as run:
        result = await run.result()
    assert (result.ended, result.parts, stage.planned) == ("submitted", None, [])
    assert stage.began == ["run"]


async def test_parts_that_need_each_other_are_done_as_one(client: Client) -> None:
    stage = PartsStage(plans={"KEY-1": planned(part("a", "b"), part("b", "a"))})
    async with play(client, stage, request(None, depth=1, plan=SplitPolicy(split="auto", max_depth=2))) as run:
        result = await run.result()
    assert (result.parts, stage.began) == (None, ["run"])
    assert result.usage.model_calls == 2
    assert stage.briefs[0].plan == Plan(summary="s", steps=("one",))


# --- in a run -----------------------------------------------------------------------------------


async def test_a_run_does_its_ticket_in_parts_asks_people_about_trouble_and_goes_on(client: Client) -> None:
    stage = PartsStage(
        plans={"KEY-1": planned(part("p1"), part("p2"), part("p3", "p2"))},
        ends=lambda name, times: {"ended": "failed", "reason": "It broke."} if (name, times) == ("p2", 1) else {},
    )
    queue = f"parts-{uuid.uuid4().hex[:8]}"
    asked = RunRequest(
        ticket_key="KEY-1",
        repository="/src/parcel",
        starter="ada",
        policy=quick_policy(plan=SplitPolicy(split="always")),
        search_attributes=False,
    )
    async with Worker(
        client,
        task_queue=queue,
        workflows=[SdlcWorkflow, *WORKFLOWS],
        activities=stage.activities(),
        plugins=[Graphs(stage.graphs())],
        workflow_runner=workflow_runner(),
    ):
        handle = await client.start_workflow(SdlcWorkflow.run, asked, id=queue, task_queue=queue)
        run = RunPlay(handle, stage)
        stuck = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "Part p2 (Part p2): It broke. Not done yet: p3." in stuck.waits_for
        assert [one.state for one in stuck.parts] == [StepState.DONE, StepState.FAILED, StepState.PENDING]
        await handle.signal(SdlcWorkflow.retry, Answered(by="grace", instruction="Mend it."))
        due = await run.until_state(RunState.AWAITING_APPROVAL)
        await handle.terminate()
    assert stage.planned[0].always
    assert len(stage.planned) == 1
    assert stage.merged() == ["p1", "p2", "p3"]
    assert {one.state for one in due.parts} == {StepState.DONE}
    again = [brief for brief in stage.briefs if brief.ticket.key == "KEY-1-p2"][-1]
    assert [word.text for word in again.instructions] == ["Mend it."]
    assert due.usage.model_calls == 1 + 4
    assert stage.count("create_pull_request") == 1


# --- for real -----------------------------------------------------------------------------------


TEST = """import unittest

from money import total


class PartTest(unittest.TestCase):
    def test_{name}(self) -> None:
        self.assertEqual({check})
"""


class InParts(ScriptOfAModel):
    """A planner with two parts that change the same line, their engines, and one that resolves the conflict."""

    def answer(self, request: ChatRequest) -> Reply:
        if str(request.messages[0]["content"]).startswith("You are the planner of a software delivery pipeline.\n"):
            named = [("p1", "Round once"), ("p2", "Count nothing as nothing")]
            said = {"summary": "Two things.", "parts": [{"key": key, "title": title} for key, title in named]}
            assert request.schema is not None
            return Reply(json.dumps(fit(said, request.schema)))
        if not request.is_agent:
            return super().answer(request)
        if request.turn:
            return say("", submit("Done as the part asks.", "Change"))
        if "resolve the conflicts" in request.brief:
            both = "    return round(sum(amounts or ()), 2)"
            return say("Both.", shell(f"sed -i '/^<<<<<<</,/^>>>>>>>/c\\{both}' money.py"))
        line = "return sum(round(amount, 2) for amount in amounts)"
        name, changed, check = "none", line.replace("amounts)", "amounts or ())"), "total(None), 0"
        if "# Ticket BUG-7-p1" in request.brief:
            name, changed, check = "once", "return round(sum(amounts), 2)", "total([0.125, 0.125]), 0.25"
        test = TEST.format(name=name, check=check)
        return say("The change.", edit("money.py", line, changed), edit(f"test_{name}.py", "", test))


async def test_a_ticket_in_two_parts_for_real(temporal_settings: Settings, tmp_path: Path) -> None:
    checkout = small_repository(tmp_path / "money")
    ticket = tmp_path / "bug.md"
    ticket.write_text(SMALL_TICKET)
    async with ScriptedModel(reviewed_clean(InParts())) as model:
        settings = spine_settings(temporal_settings, model, tmp_path / "cache")
        client = await connect(settings)
        key = await LocalTracker(settings.tickets_dir).import_ticket(ticket)
        runs = Runs(client, task_queue=settings.temporal.task_queue)
        spine = Spine(settings, client, runs, model, checkout.path, key)
        async with working(spine):
            await spine.start(plan=SplitPolicy(split="always"), max_fix_rounds=1)
            due = await spine.until_state(RunState.AWAITING_APPROVAL)
            await client.get_workflow_handle(workflow_id(key)).terminate()
    assert due.change is not None
    forge = Path(due.change.repository.url)
    log = git(forge, "log", "--format=%s", f"{checkout.head}..{due.change.head_sha}").splitlines()
    assert log == ["fix(BUG-7): count nothing as nothing (p2)", "fix(BUG-7): round once (p1)"]
    text = git(forge, "show", f"{due.change.head_sha}:money.py")
    assert "    return round(sum(amounts or ()), 2)" in text
    assert "<<<<<<<" not in git(forge, "show", f"{due.change.head_sha}")
    assert {"test_once.py", "test_none.py"} <= set(git(forge, "ls-tree", "--name-only", due.change.head_sha).split())
