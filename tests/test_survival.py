"""Processes are killed in the middle of a run, and it goes on: nothing that was returned is done again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from sdlc.config import Settings
from sdlc.demo.conversation import ChatRequest
from sdlc.domain import DecisionKind, RunState
from sdlc.progress import RunProgress, Step, StepState
from sdlc.runtime.client import connect
from sdlc.runtime.dev_server import DevServer, stop_server
from tests.spine import Spine, set_up

HEARTBEAT = 4.0
"""Seconds after which a killed worker's activities are given to another."""


class WorkerProcess:
    """`sdlc worker` as a process of its own."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._log = folder / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        values = self._settings.model_dump(mode="json", exclude_none=True)
        values["llm"].pop("api_key", None)
        configuration = self._folder / "sdlc.yaml"
        configuration.write_text(yaml.safe_dump(values))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sdlc.cli.main", "--config", str(configuration), "worker"],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-6_000:] if self._log.exists() else ""


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@asynccontextmanager
async def survivors(settings: Settings, cache: Path, folder: Path) -> AsyncIterator[tuple[Spine, WorkerProcess]]:
    run = settings.run.model_copy(update={"heartbeat_seconds": HEARTBEAT})
    async with set_up(settings.model_copy(update={"run": run}), cache, connect) as spine:
        worker = WorkerProcess(spine.settings, folder)
        worker.start()
        try:
            yield spine, worker
        except BaseException:
            print(worker.log())
            raise
        finally:
            worker.stop()


async def closed_once(spine: Spine) -> RunProgress:
    """Approve, and look from outside: one claim, one pull request, one closing, no answered call made again."""
    await spine.until_state(RunState.AWAITING_APPROVAL, 120)
    await spine.decide(DecisionKind.APPROVE)
    progress = await spine.until_state(RunState.CLOSED)
    assert spine.model.answered_again() == {}
    assert len(spine.pull_requests) == 1
    assert spine.ticket_comments.count("Taken up by the run") == 1
    assert spine.ticket_comments.count("Done: ") == 1
    assert "status: Done" in spine.ticket
    return progress


async def until_asked(spine: Spine, wanted: Callable[[ChatRequest], bool], count: int = 1) -> None:
    """Until the model has been asked so, `count` times."""
    async with asyncio.timeout(90):
        while sum(wanted(request) for request in list(spine.model.conversations)) < count:
            await asyncio.sleep(0.02)


async def test_a_worker_killed_in_the_middle_of_the_implementation_loses_no_returned_call(
    temporal_settings: Settings, shared_cache: Path, tmp_path: Path
) -> None:
    async with survivors(temporal_settings, shared_cache, tmp_path) as (spine, worker):
        spine.model.latency = 0.1
        await spine.start()
        await until_asked(spine, lambda request: bool(request.tools), 5)
        worker.kill()
        answered = len([one for one in spine.model.requests if one.answered])
        worker.start()
        await closed_once(spine)
        assert answered >= 3


async def test_a_worker_killed_during_the_panels_loses_no_returned_call(
    temporal_settings: Settings, shared_cache: Path, tmp_path: Path
) -> None:
    async with survivors(temporal_settings, shared_cache, tmp_path) as (spine, worker):
        spine.model.latency = 0.4
        await spine.start()
        await until_asked(spine, lambda request: not request.tools, 2)
        worker.kill()
        worker.start()
        progress = await closed_once(spine)
        assert progress.steps[Step.REVIEW_SECURITY.number - 1].attempts == progress.fix_rounds + 1


async def test_a_server_killed_during_the_unit_tests_takes_the_run_up_again(
    settings: Settings, temporal_binary: Path, shared_cache: Path, tmp_path: Path
) -> None:
    await DevServer(settings, temporal_binary, ui=False).start()
    try:
        async with survivors(settings, shared_cache, tmp_path) as (spine, _):
            await spine.start()
            await spine.until(lambda now: now.steps[Step.UNIT_TESTS.number - 1].state is StepState.RUNNING)
            await kill_server(settings)
            await asyncio.sleep(1)
            await DevServer(settings, temporal_binary, ui=False).start()
            await until_it_answers(spine)
            await closed_once(spine)
    finally:
        await stop_server(settings)


async def kill_server(settings: Settings) -> None:
    from sdlc.runtime.dev_server import running_server

    record = running_server(settings)
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while running_server(settings) is not None:
            await asyncio.sleep(0.05)


async def until_it_answers(spine: Spine) -> None:
    from sdlc.errors import ServiceUnavailable

    async with asyncio.timeout(60):
        while True:
            try:
                await spine.runs.progress(spine.key)
            except ServiceUnavailable:
                await asyncio.sleep(0.2)
            else:
                return
