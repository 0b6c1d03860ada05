"""What tests share: settings that touch nothing of the machine's, and real Temporal servers.

- `settings`: embedded defaults below `tmp_path`, logged in to nothing.
- `dev_server`: one real development server per test process, with the settings that the product gives it.
- `temporal_settings`: `settings` with that server's address and a task queue of the test's own.
- `time_skipping_env`: the server that lets days pass; a fresh one for each test, because time is global to it.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from sdlc.config import Settings, TemporalSettings, default_cache_dir

if TYPE_CHECKING:
    from temporalio.testing import WorkflowEnvironment

    from sdlc.runtime.dev_server import ServerRecord

MACHINE_CACHE = default_cache_dir()

# What the person at this machine has set must not decide how a test ends.
for _name in list(os.environ):
    if _name != "SDLC_SCREENSHOTS" and _name.startswith(("TEMPORAL_", "SDLC_", "OPENAI_", "LANGCHAIN_", "LANGSMITH_")):
        del os.environ[_name]
os.environ["TEMPORAL_CONFIG_FILE"] = os.devnull

T = TypeVar("T")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The defaults, with every folder below the test's own."""
    return Settings(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache")


@pytest.fixture(scope="session")
def temporal_binary() -> Path:
    """The Temporal CLI; what needs it is skipped on a machine without (`make setup` puts one there)."""
    from sdlc.runtime.server_binary import find_server_binary

    found = find_server_binary(MACHINE_CACHE)
    if found is None:
        pytest.skip("no Temporal server on this machine; `make setup` builds one")
    return found


@pytest.fixture(scope="session")
def dev_server(temporal_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerRecord]:
    """A real development server with a database, for all tests of this process."""
    from sdlc.runtime.dev_server import DevServer

    folder = tmp_path_factory.mktemp("temporal")
    settings = Settings(data_dir=folder / "data", cache_dir=folder / "cache")
    server = DevServer(settings, temporal_binary, ui=False, dies_with_starter=True)
    yield run_now(server.start())
    run_now(server.stop())


@pytest.fixture
def temporal_settings(settings: Settings, dev_server: ServerRecord) -> Settings:
    """Settings whose Temporal is `dev_server`; the queue and the payload folder are the test's own."""
    temporal = TemporalSettings(address=dev_server.address, task_queue=f"test-{uuid.uuid4().hex[:12]}")
    return settings.model_copy(update={"temporal": temporal})


@pytest.fixture
async def time_skipping_env(settings: Settings) -> AsyncIterator[WorkflowEnvironment]:
    """Temporal's Java test server with the data conversion of `settings`; skipped where it is not installed."""
    from temporalio.testing import WorkflowEnvironment

    from sdlc.runtime.conversion import data_converter
    from sdlc.runtime.quiet_runtime import quiet_runtime

    wrapper = MACHINE_CACHE / "test-server" / "temporal-test-server"
    if not os.access(wrapper, os.X_OK):
        pytest.skip("no time-skipping server on this machine; scripts/install-time-skipping-server fetches one")
    async with asyncio.timeout(60):
        environment = await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=str(wrapper), data_converter=data_converter(settings), runtime=quiet_runtime()
        )
    try:
        yield environment
    finally:
        await environment.shutdown()


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine from a session fixture, in a loop of its own that no test sees."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(work, 90))
    finally:
        loop.close()
