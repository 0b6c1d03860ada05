"""A stage on which a run plays: the real workflows on a real server, with activities that a test scripts.

It shows what the workflow *decides*. What the steps really do is shown by the spine's tests.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from sdlc import activities as do
from sdlc.domain import (
    ApprovalPolicy,
    ArtifactRef,
    CiReport,
    CiState,
    Finding,
    Panel,
    PanelReport,
    PanelState,
    Proof,
    PullRequest,
    PullRequestNews,
    PullRequestState,
    Record,
    Repository,
    RunPolicy,
    RunRequest,
    RunState,
    Severity,
    TestKind,
    TestOutcome,
    TestReport,
    Ticket,
    Usage,
)
from sdlc.integrations.heartbeat import heartbeats
from sdlc.progress import RunOutcome, RunProgress
from sdlc.runtime.graphs import Graphs
from sdlc.runtime.worker import workflow_runner
from sdlc.work_loop import WorkLoopWorkflow
from sdlc.workflow import SdlcWorkflow

BASE = "b" * 40
REPOSITORY = Repository(url="/forge/parcel.git", name="parcel", base_branch="main", base_sha=BASE)
PULL_REQUEST = PullRequest(
    number=1,
    url="file:///forge/pulls/1/pull.md",
    title="fix: rounding",
    branch="sdlc/KEY-1",
    base_branch="main",
    base_sha=BASE,
    head_sha="",
)


def sha(number: int) -> str:
    return f"{number:040x}"


class State(TypedDict, total=False):
    request: dict[str, Any]
    report: dict[str, Any]
    result: dict[str, Any]


def final(message: str = "It can't be done; do something else.") -> ApplicationError:
    return ApplicationError(message, type="PermissionDenied", non_retryable=True)


def a_finding(fingerprint: str = "f1", severity: Severity = Severity.MAJOR, panel: Panel = Panel.QUALITY) -> Finding:
    return Finding(
        panel=panel, rule="ruff:B006", severity=severity, file="a.py", message="mutable", fingerprint=fingerprint
    )


@dataclass
class Script:
    """What the activities answer; a test replaces what it is about. Each gets the number of its call, 1 first."""

    ticket: Callable[[int], Ticket] = lambda _: Ticket(key="KEY-1", title="Rounding", revision="r1")
    engine: Callable[[int, do.EngineRequest], dict[str, Any]] = lambda _, __: {}
    """Fields that differ from a submitted change on a new head."""
    program: Callable[[int], Any] = lambda _: None
    """Awaited while a command-line engine works, if it gives an awaitable."""
    findings: Callable[[Panel, str], tuple[Finding, ...]] = lambda _, __: ()
    panel_state: Callable[[Panel, int], PanelState | None] = lambda _, __: None
    tests: Callable[[TestKind, int], TestOutcome] = lambda _, __: TestOutcome.PASSED
    ci: Callable[[int], CiState] = lambda _: CiState.NONE
    owners: tuple[str, ...] = ()
    news: Callable[[int, PullRequestNews], PullRequestNews] = lambda _, as_it_was: as_it_was
    """The pull request as people have left it."""
    taken_in: Callable[[int, do.TakeIn], do.TakenIn] = lambda _, request: do.TakenIn(change=request.change)
    raises: Callable[[str, int], Exception | None] = lambda _, __: None
    """An error instead of an answer, by activity name and call."""
    before: Callable[[str, int], Any] = lambda _, __: None
    """Awaited before an activity answers, if it gives an awaitable."""


@dataclass
class Stage:
    script: Script = field(default_factory=Script)
    calls: list[str] = field(default_factory=list)
    briefs: list[do.BriefRequest] = field(default_factory=list)
    asked: list[do.EngineRequest] = field(default_factory=list)
    """Of the engine, whichever it is."""
    told: list[do.TellPeople] = field(default_factory=list)
    released: list[do.ReleaseRun] = field(default_factory=list)
    closed: list[do.CloseStory] = field(default_factory=list)
    decided: list[do.RecordDecision] = field(default_factory=list)
    announced: list[do.Announce] = field(default_factory=list)
    said: list[do.SayOnPullRequest] = field(default_factory=list)
    _heads: int = 0

    def count(self, name: str) -> int:
        return self.calls.count(name)

    async def _called(self, name: str) -> int:
        self.calls.append(name)
        number = self.count(name)
        waits = self.script.before(name, number)
        if waits is not None:
            await waits
        error = self.script.raises(name, number)
        if error is not None:
            raise error
        return number

    def activities(self) -> list[Callable[..., Any]]:
        @activity.defn(name=do.SELECT_TASK.name)
        async def select_task(request: do.SelectTask) -> Ticket:
            return self.script.ticket(await self._called("select_task"))

        @activity.defn(name=do.REFRESH_TICKET.name)
        async def refresh_ticket(request: do.SelectTask) -> Ticket:
            return self.script.ticket(1 + await self._called("refresh_ticket"))

        @activity.defn(name=do.OPEN_REPOSITORY.name)
        async def open_repository(request: do.OpenRepository) -> Repository:
            await self._called("open_repository")
            return REPOSITORY

        @activity.defn(name=do.WRITE_BRIEF.name)
        async def write_brief(request: do.BriefRequest) -> ArtifactRef:
            await self._called("write_brief")
            self.briefs.append(request)
            return ArtifactRef(sha256="0" * 64, size=1)

        @activity.defn(name=do.RUN_ENGINE.name)
        async def run_engine(request: do.EngineRequest) -> do.EngineResult:
            number = await self._called("run_engine")
            ended = {}
            try:
                async with heartbeats(every=0.1):
                    works = self.script.program(number)
                    if works is not None:
                        await works
            except asyncio.CancelledError:
                ended = {"ended": "interrupted"}
            return self._engine_result(number, request, engine="tool 1.2.3", **ended)

        @activity.defn(name=do.RUN_TESTS.name)
        async def run_tests(request: do.RunTests) -> TestReport:
            name = f"tests:{request.kind.value}"
            number = await self._called(name)
            return TestReport(
                kind=request.kind, head_sha=request.change.head_sha, outcome=self.script.tests(request.kind, number)
            )

        @activity.defn(name=do.CHECK_ACCEPTANCE.name)
        async def check_acceptance(request: do.CheckAcceptance) -> TestReport:
            number = await self._called("check_acceptance")
            return TestReport(
                kind=TestKind.ACCEPTANCE,
                head_sha=request.change.head_sha,
                outcome=self.script.tests(TestKind.ACCEPTANCE, number),
                proof=Proof(fails_on_base=("t",), passes_on_head=("t",)),
            )

        @activity.defn(name=do.CREATE_PULL_REQUEST.name)
        async def create_pull_request(request: do.Evidence) -> PullRequest:
            await self._called("create_pull_request")
            return PULL_REQUEST.model_copy(update={"head_sha": request.change.head_sha})

        @activity.defn(name=do.WAIT_FOR_CI.name)
        async def wait_for_ci(request: do.OnPullRequest) -> CiReport:
            number = await self._called("wait_for_ci")
            return CiReport(state=self.script.ci(number), head_sha=request.pull_request.head_sha)

        @activity.defn(name=do.CODE_OWNERS.name)
        async def code_owners(request: do.OwnersRequest) -> do.Owners:
            await self._called("code_owners")
            return do.Owners(names=self.script.owners)

        @activity.defn(name=do.LOOK_AT_PULL_REQUEST.name)
        async def look_at_pull_request(request: do.LookAtPullRequest) -> PullRequestNews:
            number = await self._called("look_at_pull_request")
            return self.script.news(number, PullRequestNews(pull_request=request.pull_request))

        @activity.defn(name=do.SAY_ON_PULL_REQUEST.name)
        async def say_on_pull_request(request: do.SayOnPullRequest) -> do.Nothing:
            await self._called("say_on_pull_request")
            self.said.append(request)
            return do.Nothing()

        @activity.defn(name=do.TAKE_IN.name)
        async def take_in(request: do.TakeIn) -> do.TakenIn:
            number = await self._called("take_in")
            return self.script.taken_in(number, request)

        @activity.defn(name=do.PUBLISH_REVIEWS.name)
        async def publish_reviews(request: do.OnPullRequest) -> do.Nothing:
            await self._called("publish_reviews")
            return do.Nothing()

        @activity.defn(name=do.REQUEST_APPROVAL.name)
        async def request_approval(request: do.RequestApproval) -> PullRequest:
            await self._called("request_approval")
            return request.pull_request.model_copy(update={"state": PullRequestState.OPEN})

        @activity.defn(name=do.RECORD_DECISION.name)
        async def record_decision(request: do.RecordDecision) -> do.Nothing:
            await self._called("record_decision")
            self.decided.append(request)
            return do.Nothing()

        @activity.defn(name=do.CLOSE_STORY.name)
        async def close_story(request: do.CloseStory) -> PullRequest:
            await self._called("close_story")
            self.closed.append(request)
            return request.pull_request

        @activity.defn(name=do.RELEASE_RUN.name)
        async def release_run(request: do.ReleaseRun) -> do.Nothing:
            await self._called("release_run")
            self.released.append(request)
            return do.Nothing()

        @activity.defn(name=do.ANNOUNCE.name)
        async def announce(request: do.Announce) -> do.Nothing:
            await self._called("announce")
            self.announced.append(request)
            return do.Nothing()

        @activity.defn(name=do.TELL_PEOPLE.name)
        async def tell_people(request: do.TellPeople) -> do.Nothing:
            await self._called("tell_people")
            self.told.append(request)
            return do.Nothing()

        return [value for value in locals().values() if hasattr(value, "__temporal_activity_definition")]

    # --- graphs -----------------------------------------------------------------------------

    def graphs(self) -> dict[str, StateGraph[Any, Any, Any, Any]]:
        graphs = {do.panel_graph(panel): _one_node(self._panel) for panel in Panel}
        return {**graphs, do.AGENT_GRAPH: _one_node(self._agent, before=_steer)}

    async def _panel(self, state: State) -> State:
        request = do.PanelRequest.model_validate(state["request"])
        number = await self._called(f"panel:{request.panel.value}")
        findings = self.script.findings(request.panel, request.change.head_sha)
        panel_state = self.script.panel_state(request.panel, number)
        report = PanelReport(
            panel=request.panel,
            head_sha=request.change.head_sha,
            state=panel_state or (PanelState.FINDINGS if findings else PanelState.CLEAN),
            findings=findings,
        )
        return {"report": report.model_dump(mode="json")}

    async def _agent(self, state: State) -> State:
        request = do.EngineRequest.model_validate(state["request"])
        number = await self._called("agent")
        return {"result": self._engine_result(number, request).model_dump(mode="json")}

    def _engine_result(self, number: int, request: do.EngineRequest, **more: str) -> do.EngineResult:
        self.asked.append(request)
        fields = {**self.script.engine(number, request), **more}
        self._heads += 1
        change = request.change.model_copy(update={"head_sha": sha(self._heads), "files_changed": 1})
        usage = Usage(model_calls=1, input_tokens=10, output_tokens=1)
        return do.EngineResult(**{"change": change, "summary": f"did {number}", "usage": usage, "turns": 1, **fields})


async def _steer(state: State) -> State:
    loop = workflow.instance()
    await loop.before_turn(0, Usage())
    return {}


def _one_node(
    node: Callable[[State], Any], before: Callable[[State], Any] | None = None
) -> StateGraph[Any, Any, Any, Any]:
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    graph.add_node("node", node, metadata={"execute_in": "activity", **_options()})
    if before is not None:
        graph.add_node("steer", before, metadata={"execute_in": "workflow"})
        graph.add_edge(START, "steer")
        graph.add_edge("steer", "node")
    else:
        graph.add_edge(START, "node")
    graph.add_edge("node", END)
    return graph


def _options() -> dict[str, Any]:
    return {
        "start_to_close_timeout": timedelta(seconds=60),
        "heartbeat_timeout": timedelta(seconds=20),
        "retry_policy": RetryPolicy(maximum_attempts=2, initial_interval=timedelta(milliseconds=50)),
    }


# --- a run on the stage -------------------------------------------------------------------------


@dataclass
class Play:
    handle: WorkflowHandle[SdlcWorkflow, RunOutcome]
    stage: Stage

    async def progress(self) -> RunProgress:
        return await self.handle.query(SdlcWorkflow.progress)

    async def until(self, wanted: Callable[[RunProgress], bool], seconds: float = 20) -> RunProgress:
        """Look until the run is as wanted; fails with what it was instead."""
        progress = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    progress = await self.progress()
                    if wanted(progress):
                        return progress
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"after {seconds} s the run was: {progress!r}") from None

    async def until_state(self, state: RunState) -> RunProgress:
        return await self.until(lambda progress: progress.state is state)

    async def result(self, seconds: float = 20) -> RunOutcome:
        return await asyncio.wait_for(self.handle.result(), seconds)


def quick_policy(**more: Any) -> RunPolicy:
    fields: dict[str, Any] = {
        "first_retry_seconds": 0.05,
        "longest_retry_seconds": 0.1,
        "approval": ApprovalPolicy(allow_starter=True),
    }
    return RunPolicy(**{**fields, **more})


@asynccontextmanager
async def play(
    client: Client, script: Script | None = None, *, first_signal: tuple[str, Record] | None = None, **policy: Any
) -> AsyncIterator[Play]:
    """A run that plays a script; terminated at the end if it is still open. `first_signal` comes before any worker."""
    stage = Stage(script or Script())
    queue = f"stage-{uuid.uuid4().hex[:8]}"
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[SdlcWorkflow, WorkLoopWorkflow],
        activities=stage.activities(),
        plugins=[Graphs(stage.graphs())],
        workflow_runner=workflow_runner(),
        max_heartbeat_throttle_interval=timedelta(seconds=0.2),
        default_heartbeat_throttle_interval=timedelta(seconds=0.2),
    )
    handle = await client.start_workflow(
        SdlcWorkflow.run,
        RunRequest(
            ticket_key="KEY-1",
            repository="/src/parcel",
            starter="ada",
            policy=quick_policy(**policy),
            search_attributes=False,
        ),
        id=f"sdlc-KEY-1-{uuid.uuid4().hex[:8]}",
        task_queue=queue,
    )
    if first_signal is not None:
        await handle.signal(*first_signal)
    async with worker:
        try:
            yield Play(handle, stage)
        finally:
            description = await handle.describe()
            if description.status is not None and description.status.name == "RUNNING":
                await handle.terminate()
