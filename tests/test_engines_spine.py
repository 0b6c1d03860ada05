"""Each engine, the real program, does the demo's ticket from claim to closing, and again with its worker killed.

`make test-engines` runs these. A program that isn't in this machine's cache (SDLC_CACHE_DIR) is fetched into it.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from sdlc.activities import AGENT
from sdlc.config import EngineSettings, SandboxSettings, Settings
from sdlc.domain import DecisionKind, RunState
from sdlc.engines.programs.registry import ENGINES
from sdlc.integrations.engine_installs import Installations
from sdlc.integrations.sandbox import open_sandbox
from sdlc.progress import RunProgress, StepState
from sdlc.runtime.client import connect
from tests.conftest import MACHINE_CACHE
from tests.engine_dialects import Dialect, demo_rounds
from tests.spine import Spine, set_up, working
from tests.test_survival import HEARTBEAT, WorkerProcess

pytestmark = [pytest.mark.engines, pytest.mark.timeout(900)]

NAMES = [AGENT, *ENGINES]
PATIENCE = 300.0
TAKEN_OVER = "An earlier try was cut off"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, so that the repository's environment is made once; engines are the machine's own."""
    cache = tmp_path_factory.mktemp("cache")
    (MACHINE_CACHE / "engines").mkdir(parents=True, exist_ok=True)
    (cache / "engines").symlink_to(MACHINE_CACHE / "engines")
    return cache


async def equipped(name: str, settings: Settings, *, seconds: float = 30) -> Settings:
    """Settings with that engine, which is there."""
    if name != AGENT:
        await Installations(MACHINE_CACHE, open_sandbox(SandboxSettings())).install(ENGINES[name].package, say=print)
    engine = EngineSettings(name=name, checkpoint_seconds=seconds)
    run = settings.run.model_copy(update={"heartbeat_seconds": HEARTBEAT})
    return settings.model_copy(update={"engine": engine, "run": run})


def script_of(name: str) -> Dialect | None:
    return None if name == AGENT else Dialect(name, demo_rounds())


async def closed(spine: Spine, name: str) -> RunProgress:
    """Approve, and look from outside: seventeen steps, one pull request that names its engine, the ticket done."""
    await spine.until_state(RunState.AWAITING_APPROVAL, PATIENCE)
    await spine.decide(DecisionKind.APPROVE)
    progress = await spine.until_state(RunState.CLOSED)
    assert len(progress.steps) == 17
    assert {step.state for step in progress.steps} <= {StepState.DONE, StepState.SKIPPED}
    assert progress.fix_rounds >= 1, "the panels have found the planted fault, and the engine has mended it"
    assert len(spine.pull_requests) == 1
    assert "status: Done" in spine.ticket
    exact = f"{name} {ENGINES[name].package.version}" if name != AGENT else AGENT
    assert progress.engine == exact
    if name != AGENT:
        assert exact in spine.pull_requests[0].read_text()
    return progress


@pytest.mark.parametrize("name", NAMES)
async def test_it_takes_the_ticket_through_all_seventeen_steps(
    name: str, temporal_settings: Settings, cache: Path
) -> None:
    settings = await equipped(name, temporal_settings)
    began = time.monotonic()
    async with set_up(settings, cache, connect, script_of(name)) as spine, working(spine):
        await spine.start()
        progress = await closed(spine, name)
        calls = sum(1 for entry in spine.model.requests if entry.answered and "/" not in entry.label)
    print(f"{progress.engine}: {time.monotonic() - began:.1f} s, {calls} model calls of the engine, ", end="")
    print(f"{progress.fix_rounds} fix round(s)")


@pytest.mark.parametrize("name", NAMES)
async def test_a_worker_killed_in_the_middle_of_it_loses_nothing_that_was_kept(
    name: str, temporal_settings: Settings, cache: Path, tmp_path: Path
) -> None:
    """The worker dies after the engine's first edits, while it asks again; Aider makes its only ones at its end."""
    settings = await equipped(name, temporal_settings, seconds=1)
    async with set_up(settings, cache, connect, script_of(name)) as spine:
        spine.model.latency = 0.3 if name == AGENT else 9.0
        worker = WorkerProcess(spine.settings, tmp_path)
        worker.start()
        try:
            await until_answered(spine, {AGENT: 5, "opencode": 2}.get(name, 1))
            # A checkpoint is made each second and told with a heartbeat, of which the server hears every two.
            await asyncio.sleep(spine.model.latency * 2 / 3)
            worker.kill()
            spine.model.latency = 0.0
            worker.start()
            await closed(spine, name)
            if name == AGENT:
                assert spine.model.answered_again() == {}
            else:
                assert "Its worker was lost once" in spine.pull_requests[0].read_text()
                told = [request for request in spine.model.conversations if TAKEN_OVER in request.brief]
                assert bool(told) == (name != "aider"), "the successor knows that there is work to go on from"
        except BaseException:
            print(worker.log())
            raise
        finally:
            worker.stop()


async def until_answered(spine: Spine, count: int) -> None:
    await spine.start()
    async with asyncio.timeout(120):
        while sum(entry.answered for entry in list(spine.model.requests)) < count:
            await asyncio.sleep(0.02)
