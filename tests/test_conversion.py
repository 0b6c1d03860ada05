from __future__ import annotations

import asyncio
import stat
import uuid
from pathlib import Path

import pytest
from temporalio.worker import Worker

from sdlc.config import Settings, StorageSettings
from sdlc.domain import Finding, Panel, Severity, Ticket
from sdlc.errors import PayloadMissing
from sdlc.runtime.client import connect
from sdlc.runtime.conversion import data_converter
from tests.runtime_workflows import CALLS, CallsOne, echo


def stored(settings: Settings) -> list[Path]:
    return [file for file in settings.artifacts_dir.rglob("*") if file.is_file()]


async def test_a_model_comes_back_as_it_was(settings: Settings) -> None:
    finding = Finding(panel=Panel.QUALITY, rule="ruff:B006", severity=Severity.MAJOR, file="a.py", message="m")
    converter = data_converter(settings)
    assert await converter.decode(await converter.encode([finding]), [Finding]) == [finding]
    assert stored(settings) == []


async def test_a_payload_above_the_threshold_goes_to_the_folder_and_comes_back(settings: Settings) -> None:
    converter = data_converter(settings)
    small, large = Ticket(key="A-1", title="s"), Ticket(key="A-2", title="l", description="x" * 20_000)
    payloads = await converter.encode([small, large])
    assert [b"xxxx" in payload.data for payload in payloads] == [False, False]
    assert payloads[1].ByteSize() < 500
    (file,) = stored(settings)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert await converter.decode(payloads, [Ticket, Ticket]) == [small, large]


async def test_the_same_payload_is_kept_once(settings: Settings) -> None:
    converter = data_converter(settings)
    first, second = await converter.encode(["y" * 20_000, "y" * 20_000])
    assert first == second
    assert len(stored(settings)) == 1


async def test_the_threshold_is_configurable(settings: Settings) -> None:
    generous = settings.model_copy(update={"storage": StorageSettings(payload_threshold_bytes=100_000)})
    await data_converter(generous).encode(["y" * 20_000])
    assert stored(generous) == []


async def test_a_folder_that_lacks_the_payload_is_named_with_its_setting(settings: Settings, tmp_path: Path) -> None:
    payloads = await data_converter(settings).encode(["z" * 20_000])
    elsewhere = settings.model_copy(update={"storage": StorageSettings(folder=tmp_path / "elsewhere")})
    with pytest.raises(PayloadMissing, match=r"elsewhere.*storage\.folder"):
        await data_converter(elsewhere).decode(payloads)


async def test_a_damaged_payload_is_not_taken_for_the_real_one(settings: Settings) -> None:
    converter = data_converter(settings)
    payloads = await converter.encode(["z" * 20_000])
    stored(settings)[0].write_bytes(b"damaged")
    with pytest.raises(PayloadMissing, match="damaged"):
        await converter.decode(payloads)


async def test_what_is_large_is_in_the_folder_and_not_in_the_history(temporal_settings: Settings) -> None:
    client = await connect(temporal_settings)
    text = f"{uuid.uuid4().hex} " + "the quick brown fox " * 2_000
    queue = temporal_settings.temporal.task_queue
    async with (
        asyncio.timeout(90),
        Worker(client, task_queue=queue, workflows=[CallsOne], activities=[echo]),
    ):
        handle = await client.start_workflow(CallsOne.run, args=["echo", text], id=queue, task_queue=queue)
        assert await handle.result() == text
    history = (await handle.fetch_history()).to_json()
    assert "quick brown" not in history
    assert len(history) < 30_000
    assert CALLS[text[:40]] == 1
    # Once as the workflow's and once as the activity's input and result: equal content, equal name.
    assert len(stored(temporal_settings)) == 1
