from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sdlc.config import Settings, TemporalSettings
from sdlc.errors import ConfigurationError, ServiceUnavailable, UsageError
from sdlc.runtime.client import configured_address, connect, ensure_search_attributes, task_queue
from sdlc.runtime.dev_server import SEARCH_ATTRIBUTES, DevServer, ServerRecord


def at(settings: Settings, address: str) -> Settings:
    return settings.model_copy(update={"temporal": TemporalSettings(address=address)})


async def test_without_any_server_the_person_learns_how_to_start_one(settings: Settings) -> None:
    with pytest.raises(UsageError, match="No Temporal server is running; start one with `sdlc dev`, or set TEMPORAL"):
        await connect(settings)


async def test_the_configured_address_is_used(temporal_settings: Settings, dev_server: ServerRecord) -> None:
    client = await connect(temporal_settings)
    assert client.service_client.config.target_host == dev_server.address


async def test_the_environment_wins_over_the_configuration(
    settings: Settings, dev_server: ServerRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", dev_server.address)
    await connect(at(settings, "127.0.0.1:1"))


async def test_a_profile_gives_address_and_namespace(
    settings: Settings, dev_server: ServerRecord, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = tmp_path / "temporal.toml"
    profile.write_text(f'[profile.work]\naddress = "{dev_server.address}"\nnamespace = "default"\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(profile))
    monkeypatch.setenv("TEMPORAL_PROFILE", "work")
    assert configured_address(settings) == dev_server.address
    assert (await connect(settings)).namespace == "default"


async def test_a_profile_that_is_named_and_missing_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_PROFILE", "nowhere")
    with pytest.raises(ConfigurationError, match="TEMPORAL_PROFILE"):
        await connect(settings)


def test_the_older_variables_are_understood(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_HOST", "temporal.internal")
    assert configured_address(settings) == "temporal.internal:7233"
    monkeypatch.setenv("TEMPORAL_HOST", "temporal.internal:1234")
    assert configured_address(settings) == "temporal.internal:1234"
    monkeypatch.setenv("TEMPORAL_ADDRESS", "other:1")
    assert configured_address(settings) == "other:1"
    assert task_queue(settings) == "vishkar-sdlc"
    monkeypatch.setenv("TEMPORAL_TASK_QUEUE", "mine")
    assert task_queue(settings) == "mine"


async def test_a_dead_address_is_named_at_once(settings: Settings) -> None:
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1:1 .*TEMPORAL_ADDRESS"):
        await connect(at(settings, "127.0.0.1:1"))
    assert time.monotonic() - started < 5


async def test_an_address_that_swallows_connections_is_given_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdlc.runtime.client._HANDSHAKE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServiceUnavailable, match=f"{address} is no Temporal server that lets us in"):
            async with asyncio.timeout(10):
                await connect(at(settings, address))


async def test_something_that_is_no_address_is_told(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="host:port"):
        await connect(at(settings, "localhost"))


async def test_search_attributes_are_there_on_our_server(temporal_settings: Settings) -> None:
    assert await ensure_search_attributes(await connect(temporal_settings)) is True


async def test_search_attributes_are_added_to_a_server_without_them(
    settings: Settings, temporal_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdlc.runtime.dev_server.SEARCH_ATTRIBUTES", SEARCH_ATTRIBUTES[:1])
    server = DevServer(settings, temporal_binary, ui=False, dies_with_starter=True)
    await server.start()
    try:
        client = await connect(settings)
        assert await ensure_search_attributes(client) is True
        assert await ensure_search_attributes(client) is True
    finally:
        await server.stop()


async def test_a_server_that_refuses_search_attributes_is_used_without(time_skipping_env: object) -> None:
    client = time_skipping_env.client  # type: ignore[attr-defined]
    logging.getLogger("sdlc").info("the Java server knows no operator service")
    assert await ensure_search_attributes(client) in (True, False)


def test_reaching_a_server_imports_no_graphs_or_models() -> None:
    code = (
        "import sys, sdlc.runtime.client\n"
        "heavy = {'langgraph', 'langchain_core', 'langchain_openai', 'openai', 'temporalio.worker.workflow_sandbox'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
