"""Work loops without a run: what they decide on a stage, and one for real that ends with a branch to check out."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Replayer, Worker

from sdlc import activities as do
from sdlc.alone import AloneResult, AloneWorkflow
from sdlc.cli import work_loops
from sdlc.config import ForgeSettings, ModelSettings, Settings
from sdlc.domain import Instruction, TestKind, TestOutcome
from sdlc.errors import FinalError, UsageError
from sdlc.run_payloads import ModelChosen, Spoken
from sdlc.runtime.client import connect
from sdlc.runtime.conversion import data_converter
from sdlc.runtime.graphs import Graphs
from sdlc.runtime.loops import Loop, Loops, LoopStep, loop_of
from sdlc.runtime.runs import workflow_id
from sdlc.runtime.services import build_services
from sdlc.runtime.worker import activities, langgraph_plugin, workflow_runner
from sdlc.steps.merging import MergingSteps
from tests.commands import Done, running, sdlc
from tests.repositories import git
from tests.scripted import MODEL, ScriptedModel
from tests.small_run import small_repository, small_script
from tests.stage import BASE, REPOSITORY, Script, Stage, final


@dataclass
class AloneStage(Stage):
    published: list[do.PublishBranch] = field(default_factory=list)

    def activities(self) -> list[Callable[..., Any]]:
        @activity.defn(name=do.PUBLISH_BRANCH.name)
        async def publish_branch(request: do.PublishBranch) -> do.BranchPublished:
            await self._called("publish_branch")
            self.published.append(request)
            return do.BranchPublished(branch=request.change.branch, url="/src/parcel")

        return [*super().activities(), publish_branch]


@dataclass
class Play:
    loops: Loops
    loop: Loop
    stage: AloneStage
    client: Client

    @property
    def handle(self) -> Any:
        return self.client.get_workflow_handle(workflow_id(self.loop.key))

    async def result(self) -> AloneResult:
        return await asyncio.wait_for(self.loops.loop_result(self.loop.key), 30)


@asynccontextmanager
async def play(
    settings: Settings, script: Script | None = None, step: str = "implement", **more: Any
) -> AsyncIterator[Play]:
    run = settings.run.model_copy(update={"first_retry_seconds": 0.05, "longest_retry_seconds": 0.1})
    settings = settings.model_copy(update={"run": run, **more})
    client, stage = await connect(settings), AloneStage(script or Script())
    worker = Worker(
        client,
        task_queue=settings.temporal.task_queue,
        workflows=[AloneWorkflow],
        activities=stage.activities(),
        plugins=[Graphs(stage.graphs())],
        workflow_runner=workflow_runner(),
        max_heartbeat_throttle_interval=timedelta(seconds=0.2),
        default_heartbeat_throttle_interval=timedelta(seconds=0.2),
    )
    loops = Loops(client, task_queue=settings.temporal.task_queue)
    # The server is shared by all tests of a process, and a loop's id comes from what it is about.
    loop = loop_of(settings, step, f"/src/{uuid.uuid4().hex}", "Round once, at the end.\nNot twice.")
    async with worker:
        await loops.start_loop(loop)
        try:
            yield Play(loops, loop, stage, client)
        finally:
            if await loops.is_open(loop.key):
                await client.get_workflow_handle(workflow_id(loop.key)).terminate()


async def test_a_loop_opens_its_repository_works_and_shows_its_branch(temporal_settings: Settings) -> None:
    async with play(temporal_settings) as run:
        result = await run.result()
        history = await run.handle.fetch_history()
        assert await run.handle.query(AloneWorkflow.current_state) == "done"
        assert await run.handle.query(AloneWorkflow.iteration_count) == 1
        assert [report.kind for report in await run.handle.query(AloneWorkflow.test_results)] == [TestKind.UNIT]
        assert (await run.loops.loop_progress(run.loop.key))["turns"] == 1
    assert run.stage.calls == ["open_repository", "write_brief", "agent", "tests:unit", "publish_branch"]
    brief = run.stage.briefs[0]
    assert brief.run.workflow_id == f"sdlc-{run.loop.key}"
    assert (brief.ticket.title, brief.ticket.key) == (
        "Round once, at the end.",
        run.loop.key.replace("workloop", "LOOP"),
    )
    assert brief.instructions == (
        Instruction(text="Round once, at the end.\nNot twice.", by=temporal_settings.run.starter),
    )
    assert (brief.change.base_sha, brief.change.head_sha) == (BASE, BASE)
    assert result.branch.startswith("sdlc/LOOP-")
    assert (result.url, result.ended, result.usage.model_calls) == ("/src/parcel", "submitted", 1)
    assert run.stage.published[0].change == result.change
    replayer = Replayer(
        workflows=[AloneWorkflow],
        plugins=[Graphs(run.stage.graphs())],
        workflow_runner=workflow_runner(),
        data_converter=data_converter(temporal_settings),
    )
    await replayer.replay_workflow(history)


@pytest.mark.parametrize(
    ("step", "kind"),
    [("unit_tests", TestKind.UNIT), ("integration_tests", TestKind.INTEGRATION), ("static_checks", TestKind.STATIC)],
)
async def test_a_step_says_what_has_to_become_green(temporal_settings: Settings, step: str, kind: TestKind) -> None:
    red = Script(tests=lambda _, times: TestOutcome.FAILED if times == 1 else TestOutcome.PASSED)
    async with play(temporal_settings, red, step=step) as run:
        result = await run.result()
    assert run.stage.count(f"tests:{kind.value}") == 2
    assert run.stage.count("agent") == 2
    assert result.tests is not None
    assert (result.tests.kind, result.tests.is_green, result.iterations) == (kind, True, 2)


async def test_red_work_is_shown_as_well_and_its_exit_code_says_so(
    temporal_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with play(temporal_settings, Script(tests=lambda _, __: TestOutcome.FAILED)) as run:
        result = await asyncio.wait_for(work_loops.follow(run.loops, run.loop.key), 30)
    assert result.branch
    assert work_loops.show_result(result, as_json=False) == 1
    assert "unit tests: failed" in capsys.readouterr().out


@pytest.mark.parametrize("ended", ["no_change", "failed"])
async def test_without_a_change_there_is_no_branch(
    temporal_settings: Settings, ended: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(engine=lambda _, asked: {"change": asked.change, "ended": ended, "reason": "Nothing to do."})
    async with play(temporal_settings, script) as run:
        result = await run.result()
    assert (result.branch, result.ended, run.stage.published) == ("", ended, [])
    assert work_loops.show_result(result, as_json=False) == 1
    shown = capsys.readouterr().out
    assert "There is no branch." in shown
    assert "Nothing to do." in shown


async def test_a_change_of_protected_paths_is_not_shown_without_a_persons_consent(temporal_settings: Settings) -> None:
    async with play(temporal_settings, Script(engine=lambda _, __: {"protected": (".github/ci.yml",)})) as run:
        result = await run.result()
    assert (result.branch, run.stage.published) == ("", [])
    assert "It changes .github/ci.yml, which only a person may." in result.reason
    assert f"`git fetch {REPOSITORY.url} refs/sdlc/" in result.reason


async def test_a_repository_that_can_not_be_opened_ends_the_loop_with_the_reason(temporal_settings: Settings) -> None:
    script = Script(raises=lambda name, _: final("There is no such repository.") if name == "open_repository" else None)
    async with play(temporal_settings, script) as run:
        with pytest.raises(FinalError, match=r"workloop-\w+ failed: There is no such repository\."):
            await run.result()


async def test_a_loop_is_steered_as_a_run_is(temporal_settings: Settings) -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def hold(name: str, number: int) -> None:
        if name == "open_repository":
            reached.set()
            await go.wait()

    async with play(temporal_settings, Script(before=hold)) as run:
        key = run.loop.key
        await asyncio.wait_for(reached.wait(), 20)
        await run.loops.signal(key, "pause", Spoken(by="ada"))
        await run.loops.signal(key, "escalate_model", ModelChosen(model="large"))
        go.set()
        async with asyncio.timeout(20):
            while (await run.loops.loop_progress(key))["state"] != "paused":
                await asyncio.sleep(0.05)
        assert run.stage.count("agent") == 0
        await run.loops.signal(key, "inject_instruction", Instruction(text="Use tabs.", by="ada"))
        await run.loops.signal(key, "resume", Spoken(by="ada"))
        result = await run.result()
    assert (result.chosen_model, result.ended) == ("large", "submitted")
    assert result.unheard == ()


async def test_a_second_start_joins_the_first_and_a_cancelled_loop_says_so(temporal_settings: Settings) -> None:
    async def hold(name: str, number: int) -> None:
        while name == "agent":
            activity.heartbeat()
            await asyncio.sleep(0.05)

    async with play(temporal_settings, Script(before=hold)) as run:
        assert (await run.loops.start_loop(run.loop)).joined
        async with asyncio.timeout(20):
            while not run.stage.count("agent"):
                await asyncio.sleep(0.02)
        await run.loops.cancel(run.loop.key)
        with pytest.raises(FinalError, match="was cancelled"):
            await run.result()
    assert run.stage.published == []


async def test_status_shows_where_a_loop_stands_and_then_what_it_came_to(
    temporal_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = asyncio.Event()

    async def hold(name: str, number: int) -> None:
        if name == "agent":
            await go.wait()

    def status(key: str, *more: str) -> Done:
        with running(tmp_path / f"status{len(more)}", "status", key, *more) as asked:
            return asked.ended()

    monkeypatch.setenv("SDLC_DATA_DIR", str(temporal_settings.data_dir))
    monkeypatch.setenv("SDLC_TEMPORAL__ADDRESS", temporal_settings.temporal.address)
    async with play(temporal_settings, Script(before=hold)) as run:
        async with asyncio.timeout(20):
            while not run.stage.count("agent"):
                await asyncio.sleep(0.02)
        key = run.loop.key
        at_work = await asyncio.to_thread(status, key)
        go.set()
        result = await run.result()
        over = await asyncio.to_thread(status, key, "--json")
    assert (at_work.code, at_work.out) == (0, f"{key}: implementing, iteration 1, 0 turns\n")
    assert (over.code, over.json["branch"]) == (0, result.branch)


# --- what is asked for ----------------------------------------------------------------------------


def test_the_same_loop_has_the_same_key_and_any_other_another(settings: Settings) -> None:
    asked = [
        ("implement", "/src/a", "Do it.", ""),
        ("unit_tests", "/src/a", "Do it.", ""),
        ("implement", "/src/b", "Do it.", ""),
        ("implement", "/src/a", "Do that.", ""),
        ("implement", "/src/a", "Do it.", "develop"),
    ]
    keys = [loop_of(settings, step, origin, text, base=base).key for step, origin, text, base in asked]
    assert len(set(keys)) == len(asked)
    assert loop_of(settings, "implement", "/src/a", " Do it.\n").key == keys[0]


@pytest.mark.parametrize(("step", "words"), [("deploy", "implement, unit_tests"), ("implement", "--instruction")])
def test_what_can_not_be_started_is_refused_with_the_mend(settings: Settings, step: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        loop_of(settings, step, "/src/a", "")


def test_getting_a_step_green_needs_no_instruction(settings: Settings) -> None:
    for step in LoopStep:
        if step is not LoopStep.IMPLEMENT:
            ticket = loop_of(settings, step, "/src/a", "").request.brief.ticket
            assert ticket.title.startswith("Mend: ")
            assert ticket.acceptance_criteria


# --- for real -----------------------------------------------------------------------------------


async def test_an_engine_solves_it_and_the_branch_can_be_checked_out(
    temporal_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = small_repository(tmp_path / "money")
    before = checkout.head
    async with ScriptedModel(small_script()) as model:
        llm = ModelSettings(base_url=model.base_url, name=MODEL, timeout_seconds=20)
        settings = temporal_settings.model_copy(update={"llm": llm, "forge": ForgeSettings()})
        services, client = build_services(settings), await connect(settings)
        loops = Loops(client, task_queue=settings.temporal.task_queue)
        loop = loop_of(settings, "implement", str(checkout.path), "Round the sum once, at the end.")
        given = activities(services)
        if not any(one.__name__ == "publish_branch" for one in given):
            given += MergingSteps(services).activities()
        worker = Worker(
            client,
            task_queue=settings.temporal.task_queue,
            workflows=[AloneWorkflow],
            activities=given,
            plugins=[langgraph_plugin(services)],
            workflow_runner=workflow_runner(),
        )
        async with worker:
            await loops.start_loop(loop)
            result = await asyncio.wait_for(work_loops.follow(loops, loop.key), 120)
        await services.models.close()
    assert work_loops.show_result(result, as_json=False) == 0
    shown = capsys.readouterr()
    assert f"Branch {result.branch} at {result.change.head_sha[:12]} in {checkout.path}" in shown.out
    assert f"{loop.key}: implementing, iteration 1" in shown.err
    assert git(checkout.path, "rev-parse", result.branch) == result.change.head_sha
    assert git(checkout.path, "show", "--stat", "--format=", result.branch).count("money.py") == 2
    assert (checkout.head, git(checkout.path, "status", "--porcelain")) == (before, "")


@pytest.fixture
def command(temporal_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedModel]:
    """What `sdlc` needs to find server, folders and a model; the model."""
    model = ScriptedModel(small_script())
    model.start()
    for name, value in {
        "SDLC_DATA_DIR": temporal_settings.data_dir,
        "SDLC_CACHE_DIR": temporal_settings.cache_dir,
        "SDLC_TEMPORAL__ADDRESS": temporal_settings.temporal.address,
        "SDLC_TEMPORAL__TASK_QUEUE": temporal_settings.temporal.task_queue,
        "OPENAI_BASE_URL": model.base_url,
        "SDLC_MODEL": MODEL,
    }.items():
        monkeypatch.setenv(name, str(value))
    yield model
    model.stop()


def test_the_command_follows_a_loop_to_its_branch(command: ScriptedModel, tmp_path: Path) -> None:
    checkout = small_repository(tmp_path / "money")
    asked = ("start", "workloop", "implement", "--repo", checkout.path, "--instruction", "Round once.", "--wait")
    with running(tmp_path / "command", *asked, "--json") as started:
        done = started.ended(120)
    assert done.code == 0, done.err
    assert (done.json["ended"], done.json["tests"]["outcome"]) == ("submitted", "passed")
    assert git(checkout.path, "rev-parse", done.json["branch"]) == done.json["change"]["head_sha"]
    assert "done, iteration 1, 3 turns" in done.last


def test_without_waiting_it_says_the_key_and_a_second_start_joins(command: ScriptedModel, tmp_path: Path) -> None:
    checkout = small_repository(tmp_path / "money")
    asked = ("start", "workloop", "unit_tests", "--repo", checkout.path)
    first = sdlc(*asked, "--json")
    again = sdlc(*asked)
    assert (first.code, first.json["joined"]) == (0, False)
    assert first.json["workflow_id"] == f"sdlc-{first.json['key']}"
    assert again.out.startswith(f"{first.json['key']}: joined the loop that is there.")
    assert sdlc("cancel", first.json["key"]).code == 0  # a loop's key is good for a run's commands


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("workloop", "deploy"), "There is no work loop 'deploy'; choose one of implement, unit_tests"),
        (("workloop", "implement"), "Say what is to be implemented, with --instruction."),
        (("workloop", "unit_tests", "--repo", "/nowhere/at/all"), "/nowhere/at/all"),
        (("BUG-1", "implement"), "go with `start workloop STEP`"),
    ],
)
def test_wrong_use_is_said_in_a_sentence(command: ScriptedModel, arguments: tuple[str, ...], words: str) -> None:
    done = sdlc("start", *arguments)
    assert done.code == 2
    assert words in done.err
    assert not command.requests
