"""The coding agent's graph on a real Temporal server, with real git, a real sandbox and a scripted model over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, Worker

from sdlc.activities import AGENT_GRAPH, EngineRequest, EngineResult
from sdlc.config import GuardSettings, ModelSettings, RunSettings, Settings
from sdlc.demo.conversation import ChatRequest, Reply, Script, ToolCall, edit, say, shell, submit, text_of
from sdlc.demo.scripted_model import Fault, ScriptedModel
from sdlc.domain import ChangeSet, Repository, RunIdentity
from sdlc.engines import conversation
from sdlc.engines.agent import build_agent_graph
from sdlc.engines.batch import Batch
from sdlc.engines.tools import Toolbox
from sdlc.errors import SandboxUnavailable
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.integrations.llm import Models
from sdlc.integrations.sandbox import open_sandbox
from sdlc.integrations.services import Services
from sdlc.integrations.workspace import Workspaces
from sdlc.runtime.activity_failures import ActivityInterceptor
from sdlc.runtime.client import connect
from sdlc.runtime.conversion import data_converter
from sdlc.runtime.graphs import Graphs
from sdlc.runtime.redaction import Redactor
from sdlc.runtime.worker import workflow_runner
from tests.agent_workflow import AgentWorkflow
from tests.repositories import git, new_bare, new_checkout

BRIEF = "# Ticket CALC-1: double is wrong\n\nRound: 0\n"
FIX = edit("calc.py", "return x + x + 1", "return 2 * x")
TEST = edit(
    "test_calc.py",
    "",
    "import unittest\nfrom calc import double\n\n\nclass T(unittest.TestCase):\n"
    "    def test_double(self):\n        self.assertEqual(double(4), 8)\n",
)
DONE = submit("Fix double for every number.\n\nIt added one.", "Look", "Mend")


TOO_LONG = "This model's maximum context length is 8192 tokens"


@dataclass
class Bench:
    """All that one run of the agent needs."""

    services: Services
    client: Client
    queue: str
    model: ScriptedModel
    repository: Repository
    bare: Path
    artifacts: ArtifactStore
    words: dict[str, Any] = field(default_factory=dict)
    handle: Any = None
    state: dict[str, Any] = field(default_factory=dict)

    async def request(self, **more: Any) -> EngineRequest:
        change = ChangeSet(
            repository=self.repository,
            base_sha=self.repository.base_sha,
            head_sha=self.repository.base_sha,
            branch="sdlc/CALC-1",
        )
        run = RunIdentity(workflow_id="sdlc-CALC-1", run_id=uuid.uuid4().hex, ticket_key="CALC-1")
        brief = await self.artifacts.put(BRIEF, name="brief.md")
        return EngineRequest.model_validate({"run": run, "change": change, "brief": brief, "max_turns": 12, **more})

    async def run(self, *turns: Any, **more: Any) -> tuple[EngineResult, list[dict[str, Any]]]:
        self.model.script = Script().round(0, *turns)
        return await self.follow(**more)

    async def follow(self, **more: Any) -> tuple[EngineResult, list[dict[str, Any]]]:
        """Run with the script that the model has."""
        request = await self.request(**more)
        async with asyncio.timeout(100), self.worker():
            self.handle = await self.start(request)
            self.state = await self.handle.result()
        return EngineResult.model_validate(self.state["result"]), self.state["messages"]

    def configured(
        self, *, llm: Mapping[str, Any] = {}, guard: GuardSettings | None = None, idle_turns: int = 20
    ) -> Bench:
        """The same with other settings."""
        settings = self.services.settings
        engine = settings.engine.model_copy(update={"idle_turns": idle_turns})
        models = settings.llm.model_copy(update=llm)
        settings = settings.model_copy(update={"engine": engine, "llm": models, "guard": guard or settings.guard})
        return replace(self, services=replace(self.services, settings=settings, models=Models(models)))

    def worker(self) -> Worker:
        plugin = Graphs({AGENT_GRAPH: build_agent_graph(self.services)})
        return Worker(
            self.client,
            task_queue=self.queue,
            workflows=[AgentWorkflow],
            plugins=[plugin],
            interceptors=[ActivityInterceptor(Redactor.of(self.services.settings))],
            workflow_runner=workflow_runner(),
            max_heartbeat_throttle_interval=timedelta(seconds=0.5),
            default_heartbeat_throttle_interval=timedelta(seconds=0.5),
        )

    async def start(self, request: EngineRequest) -> WorkflowHandle[Any, dict[str, Any]]:
        return await self.client.start_workflow(
            AgentWorkflow.run,
            args=[request.model_dump(mode="json"), self.words],
            id=f"agent-{uuid.uuid4().hex}",
            task_queue=self.queue,
        )

    def show(self, sha: str, path: str) -> str:
        return git(self.bare, "show", f"{sha}:{path}")


class NoEnvironments:
    """The repository needs nothing: what the host has is enough."""

    async def ensure(self, workspace: object, scratch: str = "") -> SimpleNamespace:
        return SimpleNamespace(mounts=(), env={}, state="none", note="", log=None)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calc")
    files: dict[str, str | bytes | None] = {
        "calc.py": "def double(x):\n    return x + x + 1\n",
        ".gitignore": "__pycache__/\n*.log\n",
    }
    return new_bare(new_checkout(folder / "work", files), folder / "calc.git")


@pytest.fixture
async def bench(temporal_settings: Settings, bare: Path) -> AsyncIterator[Bench]:
    sandbox = open_sandbox(temporal_settings.sandbox)
    try:
        await sandbox.check()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    async with ScriptedModel(Script()) as model:
        llm = ModelSettings(base_url=model.base_url, name="scripted", timeout_seconds=20)
        run = RunSettings(first_retry_seconds=0.1, longest_retry_seconds=0.2)
        settings = temporal_settings.model_copy(update={"llm": llm, "run": run})
        artifacts = ArtifactStore(settings.artifacts_dir)
        services = Services(
            settings=settings,
            tracker=cast(Any, None),
            forge=cast(Any, None),
            notifier=cast(Any, None),
            workspaces=Workspaces(settings.cache_dir),
            sandbox=sandbox,
            environments=cast(Any, NoEnvironments()),
            artifacts=artifacts,
            models=Models(llm),
        )
        base = git(bare, "rev-parse", "main")
        repository = Repository(url=str(bare), name="acme/calc", base_branch="main", base_sha=base)
        client = await connect(settings)
        yield Bench(services, client, settings.temporal.task_queue, model, repository, bare, artifacts)


def tool_answers(messages: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in messages if message["role"] == "tool"]


async def test_the_agent_solves_a_ticket_and_leaves_one_commit_on_the_base(bench: Bench) -> None:
    run_tests = shell("python3 -m unittest -q")
    result, messages = await bench.run(
        say("", shell("cat calc.py")), say("", TEST, run_tests), say("", FIX, run_tests), say("", DONE)
    )
    assert result.ended == "submitted"
    assert result.turns == 4
    assert result.usage.model_calls == 4
    assert result.plan == ("Look", "Mend")
    assert result.summary.startswith("Fix double")
    change = result.change
    assert (change.files_changed, change.insertions, change.deletions) == (2, 8, 1)
    assert git(bench.bare, "rev-parse", f"{change.head_sha}^") == bench.repository.base_sha
    assert git(bench.bare, "log", "-1", "--format=%s", change.head_sha) == "fix(CALC-1): fix double for every number"
    assert "return 2 * x" in bench.show(change.head_sha, "calc.py")
    said = tool_answers(messages)
    assert said[0].startswith("exit code 0\ndef double(x):")
    assert said[2].startswith("exit code 1\n")
    assert "AssertionError: 9 != 8" in said[2]
    assert said[4].startswith("exit code 0\n")
    assert bench.state["turns_asked"] == [0, 1, 2, 3]
    assert (result.reason, result.model) == ("", "scripted")


async def test_each_turn_that_changed_something_is_published_before_it_returns(bench: Bench) -> None:
    await bench.run(say("", TEST), say("", FIX), say("", DONE))
    refs = git(bench.bare, "for-each-ref", "--format=%(refname)", "refs/sdlc").splitlines()
    assert len(refs) >= 3


async def test_the_base_branch_and_other_branches_are_not_touched(bench: Bench) -> None:
    await bench.run(say("", FIX), say("", DONE))
    assert git(bench.bare, "rev-parse", "main") == bench.repository.base_sha
    assert git(bench.bare, "for-each-ref", "--format=%(refname)", "refs/heads") == "refs/heads/main"


async def test_an_unknown_tool_and_bad_arguments_are_told_and_the_work_goes_on(bench: Bench) -> None:
    result, messages = await bench.run(
        say(
            "", ToolCall("browse", {"url": "x"}), ToolCall("shell", '{"command": "ls'), ToolCall("edit", {"path": "a"})
        ),
        say("", FIX),
        say("", DONE),
    )
    said = tool_answers(messages)
    assert len(said) == 5
    assert any(text.startswith("There is no tool `browse`") for text in said[:3])
    assert any("not a JSON object" in text for text in said[:3])
    assert any(text.startswith("`edit` was called without old_text, new_text") for text in said[:3])
    assert result.ended == "submitted"


async def test_the_same_action_with_the_same_result_three_times_ends_as_stuck_and_keeps_the_work(bench: Bench) -> None:
    look = say("", shell("cat calc.py"))
    result, messages = await bench.run(say("", FIX), look, look, look, say("", DONE))
    assert result.ended == "stuck"
    assert result.turns == 4
    assert "return 2 * x" in bench.show(result.change.head_sha, "calc.py")
    assert "Do something else" in tool_answers(messages)[2]


async def test_prose_without_a_tool_call_is_reminded_and_the_third_in_a_row_ends_it(bench: Bench) -> None:
    result, messages = await bench.run(
        say("Thinking."), say("", FIX), say("Done!"), Reply(""), say("Really."), say("", DONE)
    )
    assert result.ended == "stuck"
    assert result.turns == 5
    assert "return 2 * x" in bench.show(result.change.head_sha, "calc.py")
    assert "no tool call" in messages[3]["content"]


async def test_a_submit_without_a_change_is_told_once_and_then_ends_as_no_change(bench: Bench) -> None:
    result, messages = await bench.run(say("", shell("true")), say("", DONE), say("", DONE))
    assert result.ended == "no_change"
    assert result.change.head_sha == bench.repository.base_sha
    assert result.change.is_empty
    assert "nothing has changed" in tool_answers(messages)[1].lower()


async def test_ignored_files_are_no_change(bench: Bench) -> None:
    result, _ = await bench.run(say("", shell("echo x > a.log"), DONE), say("", DONE))
    assert result.ended == "no_change"


async def test_turns_are_bounded_and_what_is_done_is_kept(bench: Bench) -> None:
    result, _ = await bench.run(say("", FIX), say("", shell("ls")), say("", shell("pwd")), max_turns=3)
    assert (result.ended, result.turns) == ("turns", 3)
    assert "return 2 * x" in bench.show(result.change.head_sha, "calc.py")


async def test_the_workflow_s_word_ends_the_work_between_two_turns(bench: Bench) -> None:
    bench.words = {"1": {"stop": "budget"}}
    result, _ = await bench.run(say("", FIX), say("", DONE))
    assert (result.ended, result.turns, result.reason) == ("budget", 1, "")
    assert result.change.files_changed == 1


async def test_an_instruction_reaches_the_model_with_the_next_turn_and_another_model_is_asked(bench: Bench) -> None:
    bench.words = {"1": {"instructions": [{"text": "Use a shift.", "by": "ana"}], "model": "bigger"}}
    await bench.run(say("", FIX), say("", DONE))
    second = bench.model.conversations[1]
    assert second.model == "bigger"
    assert second.messages[-1]["role"] == "user"
    assert "ana" in second.messages[-1]["content"]
    assert "> Use a shift." in second.messages[-1]["content"]


async def test_a_model_that_fails_for_a_while_costs_no_turn(bench: Bench) -> None:
    bench.model.fail(Fault("status", status=503, times=2))
    result, _ = await bench.run(say("", FIX), say("", DONE))
    assert (result.ended, result.turns, result.usage.model_calls) == ("submitted", 2, 2)


async def test_an_answer_cut_by_length_is_not_acted_upon(bench: Bench) -> None:
    bench.model.fail(Fault("cut", where=lambda request: request.turn == 0))
    result, messages = await bench.run(say("I will rewrite all of it.", FIX), say("", FIX), say("", DONE))
    assert "was cut" in messages[3]["content"]
    assert result.ended == "submitted"


async def test_a_conversation_too_long_for_the_model_is_sent_again_with_less_of_it(bench: Bench) -> None:
    bench.model.fail(Fault("status", status=400, message=TOO_LONG, where=lambda request: request.turn == 1))
    result, _ = await bench.run(say("", shell("seq 5000")), say("", FIX), say("", DONE))
    assert result.ended == "submitted"
    assert [entry.status for entry in bench.model.requests] == [200, 400, 200, 200]
    refused, sent = (length_of(request) for request in bench.model.conversations[1:3])
    assert sent < 0.6 * refused


async def test_a_brief_that_is_too_long_for_the_model_is_told_and_not_sent_again(bench: Bench) -> None:
    bench.model.fail(Fault("status", status=400, message=TOO_LONG, times=9))
    with pytest.raises(WorkflowFailureError) as failure:
        await bench.run(say("", FIX))
    assert type_of(failure.value) == "ContextTooLong"
    assert len(bench.model.requests) == 1


async def test_a_cancelled_run_stops_its_command_at_once(bench: Bench) -> None:
    bench.model.script = Script().round(0, say("", shell("echo started > /work/started.log; sleep 98765")))
    request = await bench.request()
    async with asyncio.timeout(100), bench.worker():
        handle = await bench.start(request)
        while not list(bench.services.settings.cache_dir.rglob("started.log")):
            await asyncio.sleep(0.05)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert not [line for line in processes() if "98765" in line]


async def test_a_refused_model_call_is_final_and_says_why(bench: Bench) -> None:
    bench.model.fail(Fault("status", status=401, times=5))
    with pytest.raises(WorkflowFailureError) as failure:
        await bench.run(say("", FIX))
    assert "OPENAI_API_KEY" in str(root_of(failure.value))


async def test_a_protected_path_is_told_at_submit_and_is_people_s_matter_if_it_stays(bench: Bench) -> None:
    protected = say("", FIX, edit(".github/workflows/ci.yml", "", "on: push\n"))
    result, messages = await bench.run(protected, say("", DONE), say("", DONE))
    assert result.protected == (".github/workflows/ci.yml",)
    assert tool_answers(messages)[2].startswith("Not submitted.")
    assert result.change.files_changed == 2


async def test_a_protected_path_stops_the_change_where_the_settings_refuse_it(bench: Bench) -> None:
    protected = say("", FIX, edit(".github/workflows/ci.yml", "", "on: push\n"))
    refusing = bench.configured(guard=GuardSettings(consent="refuse"))
    with pytest.raises(WorkflowFailureError) as failure:
        await refusing.run(protected, say("", DONE), say("", DONE))
    assert type_of(failure.value) == "GuardRailViolation"
    assert ".github/workflows/ci.yml" in str(root_of(failure.value))


async def test_a_protected_path_that_is_put_back_passes(bench: Bench) -> None:
    protected = say("", FIX, edit(".github/workflows/ci.yml", "", "on: push\n"))
    result, messages = await bench.run(protected, say("", DONE), say("", shell("rm -r .github"), DONE))
    assert result.ended == "submitted"
    assert ".github/workflows/ci.yml" in tool_answers(messages)[2]
    assert result.change.files_changed == 1


TOKEN = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF3gH6"


async def test_a_secret_never_leaves_the_machine_and_the_model_is_told_where_it_was(bench: Bench) -> None:
    leak = say("", FIX, edit("settings.py", "", f'TOKEN = "{TOKEN}"\n'))
    result, messages = await bench.run(leak, say("", DONE))
    said = tool_answers(messages)[1]
    assert "settings.py:1 (GitHub token)" in said
    assert "put back" in said
    assert result.change.files_changed == 1
    objects = git(bench.bare, "cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)")
    blobs = [line.split()[0] for line in objects.splitlines() if line.endswith("blob")]
    assert not [blob for blob in blobs if TOKEN in git(bench.bare, "cat-file", "blob", blob)]


async def test_a_secret_in_a_file_that_git_calls_binary_is_not_kept_either(bench: Bench) -> None:
    leak = say("", FIX, edit("settings.js", "", f'TOKEN = "{TOKEN}"\n\0'))
    result, messages = await bench.run(leak, say("", DONE))
    assert "settings.js:1 (GitHub token)" in tool_answers(messages)[1]
    assert result.change.files_changed == 1


async def test_what_comes_after_submit_in_the_same_message_is_not_done(bench: Bench) -> None:
    result, messages = await bench.run(say("", FIX, DONE, shell("rm calc.py")))
    assert result.ended == "submitted"
    assert tool_answers(messages)[2].startswith("Not done")
    assert result.change.files_changed == 1


async def test_a_command_has_no_network_and_no_way_out(bench: Bench) -> None:
    probe = "cat /etc/shadow; ls /root; curl -sm 2 http://1.1.1.1; env | grep -ci openai"
    _, messages = await bench.run(say("", shell(probe)), say("", FIX), say("", DONE))
    assert "root:" not in tool_answers(messages)[0]


def length_of(request: ChatRequest) -> int:
    return sum(len(text_of(message)) for message in request.messages)


def type_of(error: BaseException) -> str | None:
    root = root_of(error)
    return root.type if isinstance(root, ApplicationError) else None


def processes() -> list[str]:
    """Command lines of everything that runs on this machine."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return lines


def root_of(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


# --- plan, reading and writing ------------------------------------------------------------


def plan(*steps: tuple[str, str]) -> ToolCall:
    return ToolCall("plan", {"steps": [{"step": step, "state": state} for step, state in steps]})


async def test_the_plan_is_told_to_the_workflow_and_is_the_result_s_where_submit_gives_none(bench: Bench) -> None:
    result, messages = await bench.run(
        say("", plan(("Look", "todo"), ("Mend\nit", "todo"))),
        say("", FIX, plan(("Look", "done"), ("Mend it", "todo"))),
        say("", submit("Fix double.")),
    )
    assert bench.state["plans"] == [[], ["Look", "Mend it"], ["✓ Look", "Mend it"]]
    assert result.plan == ("✓ Look", "Mend it")
    assert tool_answers(messages)[0] == "Kept: 0 of 2 steps done."


async def test_a_plan_that_is_no_list_is_told_and_one_of_plain_texts_is_understood(bench: Bench) -> None:
    bad, plain = ToolCall("plan", {"steps": "Look"}), ToolCall("plan", {"steps": ["Look", 3, {"x": 1}]})
    result, messages = await bench.run(say("", bad), say("", plain), say("", FIX, submit("Fix double.")))
    assert tool_answers(messages)[:2] == ["`steps` of `plan` must be a list.", "Kept: 0 of 2 steps done."]
    assert result.plan == ("Look", "3")


async def test_files_are_viewed_searched_and_written_and_each_call_has_its_answer(bench: Bench) -> None:
    whole = ToolCall("write", {"path": "calc.py", "content": "def double(x):\n    return 2 * x\n"})
    result, messages = await bench.run(
        say(
            "",
            ToolCall("view", {"path": "calc.py", "start": 2}),
            ToolCall("search", {"pattern": r"def \w+"}),
            ToolCall("view", {"path": "none.py"}),
            ToolCall("view", {"path": "."}),
        ),
        say("", whole, ToolCall("search", {"pattern": "2 *", "plain": True})),
        say("", DONE),
    )
    said = tool_answers(messages)
    assert said[0] == "calc.py, lines 2 to 2 of 2\n     2\t    return x + x + 1"
    assert said[1] == "1 line found\ncalc.py:1:def double(x):"
    assert said[2].startswith("There is no file `none.py`")
    assert "calc.py  " in said[3]
    assert said[4] == "Replaced calc.py (2 lines)."
    assert said[5] == "1 line found\ncalc.py:2:    return 2 * x"
    assert bench.show(result.change.head_sha, "calc.py").endswith("return 2 * x")


async def test_reading_calls_beside_each_other_run_at_the_same_time_and_others_wait_for_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, order = asyncio.Barrier(3), []

    async def answer(self: Toolbox, call: conversation.ToolCall) -> str:
        if call.name == "view":
            await asyncio.wait_for(at_once.wait(), 10)
        order.append(call.name)
        return call.id

    monkeypatch.setattr(Toolbox, "answer", answer)
    request = await bench.request()
    batch = Batch(bench.services, request, turn=1, head_sha=request.change.head_sha, refused=[])
    names = ["view", "view", "view", "shell", "edit", "view", "view", "view"]
    arguments = {"path": "a", "command": "true", "old_text": "", "new_text": ""}
    calls = [conversation.ToolCall(id=str(n), name=name, arguments=arguments) for n, name in enumerate(names)]
    await batch.carry_out(calls)
    assert order == names
    assert [message["content"] for message in batch.update(calls, [])["messages"]] == [str(n) for n in range(8)]


async def test_half_a_surrogate_pair_anywhere_in_a_message_is_told_and_the_work_goes_on(bench: Bench) -> None:
    half = "a\ud800"
    calls = [shell(half), ToolCall("search", {"pattern": half}), ToolCall("view", {"path": half}), plan((half, "done"))]
    result, messages = await bench.run(say(half, *calls), say("", FIX, submit(half)), say("", FIX, DONE))
    said = tool_answers(messages)
    assert all("surrogate" in said[index] for index in (0, 1, 2, 3, 5))
    assert result.ended == "submitted"


# --- how it ends --------------------------------------------------------------------------


async def test_many_turns_without_a_change_are_warned_of_once_and_end_it_with_the_work_kept(bench: Bench) -> None:
    idle = [say("", shell(f"echo {number}")) for number in range(3)]
    result, messages = await bench.configured(idle_turns=3).run(say("", FIX), *idle, say("", DONE))
    assert (result.ended, result.turns) == ("idle", 4)
    assert result.reason == "No file was changed in 3 turns, one after the other."
    assert "return 2 * x" in bench.show(result.change.head_sha, "calc.py")
    warned = [text_of(message) for message in messages if "No file has changed" in text_of(message)]
    assert len(warned) == 1
    assert warned[0].startswith("No file has changed for 2 turns")


async def test_a_change_in_time_begins_the_count_anew(bench: Bench) -> None:
    looks = [say("", shell(f"echo {number}")) for number in range(4)]
    result, _ = await bench.configured(idle_turns=3).run(*looks[:2], say("", FIX), *looks[2:], say("", DONE))
    assert result.ended == "submitted"


@pytest.mark.parametrize(
    ("turns", "ended", "reason"),
    [
        (
            [say("", shell("echo 1")), say("", shell("echo 2"))],
            "turns",
            "All 2 turns of this implementation were taken.",
        ),
        ([say("", DONE), say("", DONE)], "no_change", "It said twice that it was done, and had changed nothing."),
        ([say("", shell("true"))] * 3, "stuck", "It did the same again and again, with the same result."),
        ([say("Hm.")] * 3, "stuck", "3 answers in a row had no tool call that could be used."),
    ],
)
async def test_an_end_that_is_no_submit_has_a_reason(bench: Bench, turns: list[Reply], ended: str, reason: str) -> None:
    result, _ = await bench.run(*turns, max_turns=2 if ended == "turns" else 5)
    assert (result.ended, result.reason) == (ended, reason)


async def test_an_answer_that_a_filter_declined_is_asked_for_in_another_way_once(bench: Bench) -> None:
    bench.model.fail(Fault("refusal", where=lambda request: request.turn == 1))
    result, messages = await bench.run(say("", FIX), say(""), say("", DONE))
    assert result.ended == "submitted"
    assert (result.turns, result.usage.model_calls) == (3, 3)
    assert any("content filter declined" in text_of(message) for message in messages)


async def test_a_second_refusal_in_a_row_is_final(bench: Bench) -> None:
    bench.model.fail(Fault("refusal", times=2, where=lambda request: request.turn > 0))
    with pytest.raises(WorkflowFailureError) as failure:
        await bench.run(say("", FIX), say(""), say(""), say("", DONE))
    assert type_of(failure.value) == "ContentRefused"
    assert len(bench.model.requests) == 3


# --- long conversations -------------------------------------------------------------------


class Long(Script):
    """Turns in their order, whatever is left of the conversation; without tools it is asked for a summary."""

    def __init__(self, *turns: Reply, summary: str = "Asked: mend double. Left: submit.") -> None:
        super().__init__()
        self.turns = list(turns)
        self.summary = summary
        self.asked: list[ChatRequest] = []

    def answer(self, request: ChatRequest) -> Reply:
        if not request.tools:
            self.asked.append(request)
            return Reply(self.summary)
        return self.turns.pop(0) if self.turns else say("", DONE)


def outputs(count: int) -> list[Reply]:
    """Turns that each change a file and answer with 3 kB."""
    command = "echo {0} > note.txt; for i in $(seq 100); do echo 'turn {0} row' $i ...................; done"
    return [say(f"Turn {number}.", shell(command.format(number))) for number in range(count)]


SMALL = {"context_tokens": 8_000, "max_output_tokens": 1_000}


async def test_a_long_conversation_is_summed_up_and_what_people_said_stays(bench: Bench) -> None:
    bench.words = {"1": {"instructions": [{"text": "Use a shift.", "by": "ana"}]}}
    script = bench.model.script = Long(say("", FIX), *outputs(16))
    result, messages = await bench.configured(llm=SMALL).follow(max_turns=20)
    assert result.ended == "submitted"
    assert script.asked
    assert result.usage.model_calls == result.turns + len(script.asked)
    assert "Ticket CALC-1" in text_of(script.asked[0].messages[1])
    last = bench.model.conversations[-1]
    assert [message["role"] for message in last.messages[:3]] == ["system", "user", "user"]
    assert "Ticket CALC-1" in text_of(last.messages[1])
    assert "Asked: mend double." in text_of(last.messages[2])
    assert "> Use a shift." in text_of(last.messages[2])
    calls = {call["id"] for message in last.messages for call in message.get("tool_calls") or ()}
    assert calls == {message["tool_call_id"] for message in last.messages if message["role"] == "tool"}
    assert all(length_of(request) < 16_000 for request in bench.model.conversations)
    assert len(messages) > len(last.messages)  # the state keeps them all


@pytest.mark.parametrize(
    "fault",
    [
        Fault("cut", times=99, where=lambda request: not request.tools),
        Fault("empty", times=99, where=lambda request: not request.tools),
        Fault("refusal", times=99, where=lambda request: not request.tools),
        Fault("status", status=400, message=TOO_LONG, times=99, where=lambda request: not request.tools),
    ],
    ids=lambda fault: fault.kind,
)
async def test_without_a_summary_old_output_is_shortened_and_the_work_goes_on(bench: Bench, fault: Fault) -> None:
    bench.model.fail(fault)
    bench.model.script = Long(say("", FIX), *outputs(14))
    small = bench.configured(llm=SMALL)
    result, _ = await small.follow(max_turns=20)
    assert result.ended == "submitted"
    assert small.state["compacted"]["summary"] == ""
    assert 1 <= sum(1 for request in bench.model.conversations if not request.tools) <= 4
    assert all(length_of(request) < 20_000 for request in bench.model.conversations)


async def test_a_model_that_takes_less_than_it_was_said_to_leads_to_a_summary(bench: Bench) -> None:
    bench.model.fail(
        Fault("status", status=400, message=TOO_LONG, times=99, where=lambda request: length_of(request) > 24_000)
    )
    bench.model.script = Long(say("", FIX), *outputs(14))
    result, _ = await bench.follow(max_turns=20)
    assert result.ended == "submitted"
    assert bench.state["compacted"]["summary"]
    assert [entry.status for entry in bench.model.requests].count(400) == 1


async def test_sixty_turns_replay_and_stay_below_five_megabytes(bench: Bench) -> None:
    rows = "".join(f"row {number:03} {'.' * 60}\n" for number in range(200))
    looks = [say("", ToolCall("view", {"path": "big.txt", "start": at, "end": at + 45})) for at in range(1, 57)]
    first = [say("", plan(("Look", "todo"))), say("", FIX, ToolCall("write", {"path": "big.txt", "content": rows}))]
    bench = bench.configured(idle_turns=100)
    bench.model.script = Long(*first, *looks, say("", shell("python3 -c 'import calc'")))
    result, messages = await bench.follow(max_turns=60)
    assert (result.ended, result.turns) == ("submitted", 60)
    assert sum(len(text) for text in tool_answers(messages)) > 56 * 3_000
    history = await bench.handle.fetch_history()
    size = sum(event.ByteSize() for event in history.events)
    assert size < 5 * 1024**2, f"{size:,} bytes in {len(history.events)} events"
    plugin = Graphs({AGENT_GRAPH: build_agent_graph(bench.services)})
    replayer = Replayer(
        workflows=[AgentWorkflow],
        plugins=[plugin],
        workflow_runner=workflow_runner(),
        data_converter=data_converter(bench.services.settings),
    )
    async with asyncio.timeout(60):
        replayed = await replayer.replay_workflow(history)
    assert replayed.replay_failure is None
