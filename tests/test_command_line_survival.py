"""A program's activity on a real Temporal server: killed, cancelled, failed, shut down; what it did is there."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio.client import Client, WorkflowHandle

from sdlc.activities import EngineRequest, EngineResult
from sdlc.config import EngineSettings, ModelSettings, Settings
from sdlc.domain import ChangeSet, Repository, RunIdentity
from sdlc.engines.command_launch import Engine
from sdlc.errors import SandboxUnavailable
from sdlc.integrations.services import Services
from sdlc.runtime.client import connect
from sdlc.runtime.services import build_services
from tests.engine_programs import Bash, Endpoint, RunsEngine, endpoint, engine_worker
from tests.processes import alive, sleeper, until
from tests.repositories import git, new_bare, new_checkout

PROJECT = Path(__file__).parents[1]
FIX = "sed -i 's/x + x + 1/2 * x/' calc.py"
FIXED = "return 2 * x"


@dataclass
class Bench:
    settings: Settings
    services: Services
    client: Client
    model: Endpoint
    bare: Path
    folder: Path

    async def start(self, **more: Any) -> WorkflowHandle[RunsEngine, EngineResult]:
        self.run_id = uuid.uuid4().hex
        base = git(self.bare, "rev-parse", "main")
        repository = Repository(url=str(self.bare), name="a/b", base_branch="main", base_sha=base)
        request = EngineRequest(
            run=RunIdentity(workflow_id="sdlc-CALC-1", run_id=self.run_id, ticket_key="CALC-1"),
            change=ChangeSet(repository=repository, base_sha=base, head_sha=base, branch="sdlc/CALC-1"),
            brief=await self.services.artifacts.put("# CALC-1\n", name="brief.md"),
            engine="scripted",
            seconds=80,
        ).model_copy(update=more)
        queue = self.settings.temporal.task_queue
        return await self.client.start_workflow(RunsEngine.run, request, id=f"e-{self.run_id}", task_queue=queue)

    def published(self) -> list[str]:
        return git(self.bare, "for-each-ref", "--format=%(objectname)", f"refs/sdlc/{self.run_id}").splitlines()

    async def log(self, result: EngineResult) -> str:
        assert result.log is not None
        return await self.services.artifacts.text(result.log)

    def process(self, script: str) -> subprocess.Popen[bytes]:
        """A worker of its own."""
        values = self.settings.model_dump(mode="json", exclude_none=True)
        (self.folder / "sdlc.yaml").write_text(yaml.safe_dump(values))
        (self.folder / "script").write_text(script)
        arguments = ("-m", "tests.engine_programs", str(self.folder / "sdlc.yaml"), str(self.folder / "script"))
        with (self.folder / "worker.log").open("ab") as log:
            return subprocess.Popen([sys.executable, *arguments], cwd=PROJECT, stdout=log, stderr=log)


@pytest.fixture
def model() -> Iterator[Endpoint]:
    with endpoint() as facts:
        yield facts


@pytest.fixture
async def bench(temporal_settings: Settings, model: Endpoint, tmp_path: Path) -> Bench:
    engine = EngineSettings(checkpoint_seconds=1)
    llm = ModelSettings(base_url=model.url, name="m1")
    settings = temporal_settings.model_copy(update={"llm": llm, "engine": engine})
    services = build_services(settings)
    try:
        await services.sandbox.check()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    files: dict[str, str | bytes | None] = {
        "calc.py": "def double(x):\n    return x + x + 1\n",
        "one.txt": "1\n",
        "two.txt": "2\n",
    }
    bare = new_bare(new_checkout(tmp_path / "work", files), tmp_path / "calc.git")
    return Bench(settings, services, await connect(settings), model, bare, tmp_path)


def program(script: str) -> Callable[..., Engine]:
    return lambda *_: Engine(Bash(script))


TWICE = (
    "grep -q 'An earlier try was cut off' $BRIEF && "
    "{ git status --short; git diff; git checkout -q one.txt; rm -r new; echo more > more.txt; ask; exit 0; }\n"
    f"{FIX}; echo x > one.txt; rm two.txt; mkdir new; echo 1 > new/a; echo 2 > new/b; ask; sleep "
)
"""The second time it goes on: it looks, puts one file back, removes what was new, and adds something."""


def check_the_second(bench: Bench, result: EngineResult, said: str) -> None:
    assert result.ended == "submitted"
    assert " M calc.py\n M one.txt\n D two.txt\n?? new/\n" in said
    assert f"+    {FIXED}" in said
    head = result.change.head_sha
    assert git(bench.bare, "rev-parse", f"{head}^") == result.change.base_sha
    assert git(bench.bare, "ls-tree", "-r", "--name-only", head).splitlines() == ["calc.py", "more.txt", "one.txt"]
    assert git(bench.bare, "show", f"{head}:one.txt") == "1"
    assert FIXED in git(bench.bare, "show", f"{head}:calc.py")
    assert (result.turns, result.usage.model_calls, result.usage.input_tokens) == (2, 2, 180)


async def test_after_kill_9_another_worker_goes_on_from_the_last_checkpoint(bench: Bench) -> None:
    marker = sleeper()
    first = bench.process(TWICE + marker)
    try:
        async with asyncio.timeout(90):
            handle = await bench.start()
            await until(bench.published, 40)
            await asyncio.sleep(1.5)  # what a heartbeat carries is held back for 0.5 s
            first.send_signal(signal.SIGKILL)
            first.wait(10)
            await until(lambda: not alive(marker))
            second = bench.process(TWICE + marker)
            try:
                result = await handle.result()
            finally:
                second.kill()
                second.wait(10)
    except BaseException:
        print((bench.folder / "worker.log").read_text()[-5_000:])
        raise
    finally:
        first.kill()
    check_the_second(bench, result, await bench.log(result))
    assert result.taken_over == 1


async def test_a_worker_that_shuts_down_hands_over(bench: Bench) -> None:
    """However long ago its last checkpoint was."""
    marker = sleeper()
    bench.settings.engine.checkpoint_seconds = 1_000
    async with asyncio.timeout(90):
        handle = await bench.start()
        async with engine_worker(bench.client, bench.services, program(TWICE + marker)):
            await until(lambda: bench.model.calls, 40)
            assert not bench.published()
        assert not alive(marker)
        assert len(bench.published()) == 1
        async with engine_worker(bench.client, bench.services, program(TWICE + marker)):
            result = await handle.result()
    check_the_second(bench, result, await bench.log(result))
    assert result.taken_over == 1


async def test_a_cancellation_gives_the_work_so_far(bench: Bench) -> None:
    marker = sleeper()
    async with asyncio.timeout(90), engine_worker(bench.client, bench.services, program(f"{FIX}; ask; sleep {marker}")):
        handle = await bench.start()
        await until(lambda: bench.model.calls, 40)
        await handle.signal(RunsEngine.stop)
        result = await handle.result()
    assert (result.ended, result.reason) == ("interrupted", "`scripted` was stopped to hear what was said to it.")
    assert FIXED in git(bench.bare, "show", f"{result.change.head_sha}:calc.py")
    assert result.change.files_changed == 1
    assert not alive(marker)


async def test_what_a_failed_attempt_spent_is_counted_by_the_next(bench: Bench) -> None:
    bench.model.status = 503
    script = "grep -q . $BRIEF; ask || exit 1; " + FIX
    async with asyncio.timeout(90), engine_worker(bench.client, bench.services, program(script)):
        handle = await bench.start()
        await until(lambda: len(bench.model.calls) >= 1, 40)
        bench.model.status = 200
        result = await handle.result()
    assert (result.ended, result.turns) == ("submitted", len(bench.model.calls))
    assert result.turns >= 2
    assert result.taken_over == len(bench.model.calls) - 1
