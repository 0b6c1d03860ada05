"""The schedule that polls, on a real server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio import activity
from temporalio.client import Client, ScheduleActionStartWorkflow, ScheduleDescription, ScheduleOverlapPolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from sdlc.config import Settings
from sdlc.deliveries import POLL_SCHEDULE, Handled
from sdlc.errors import PermissionDenied, ServiceUnavailable
from sdlc.intake import POLL, Poll, PollWorkflow
from sdlc.runtime import polling
from sdlc.runtime.client import connect
from sdlc.runtime.embedded import running
from sdlc.runtime.polling import ensure_poll_schedule, remove_poll_schedule
from sdlc.runtime.worker import workflow_runner


@pytest.fixture
async def client(temporal_settings: Settings) -> AsyncIterator[Client]:
    client = await connect(temporal_settings)
    try:
        yield client
    finally:
        await asyncio.wait_for(remove_poll_schedule(client), 20)


@pytest.fixture
def queue(temporal_settings: Settings) -> str:
    return temporal_settings.temporal.task_queue


async def described(client: Client) -> ScheduleDescription:
    return await client.get_schedule_handle(POLL_SCHEDULE).describe(rpc_timeout=timedelta(seconds=10))


async def settings_of(client: Client) -> tuple[timedelta, str]:
    found = (await described(client)).schedule
    assert isinstance(found.action, ScheduleActionStartWorkflow)
    return found.spec.intervals[0].every, found.action.task_queue or ""


async def test_polls_follow_each_other_and_never_run_beside_each_other(client: Client, queue: str) -> None:
    at_work = most = done = 0

    @activity.defn(name=POLL.name)
    async def poll(request: Poll) -> Handled:
        nonlocal at_work, most, done
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(1.6)  # longer than the interval
        at_work -= 1
        done += 1
        return Handled(did=("looked",))

    worker = Worker(
        client,
        task_queue=queue,
        workflows=[PollWorkflow],
        activities=[poll],
        workflow_runner=workflow_runner(),
        graceful_shutdown_timeout=timedelta(seconds=2),
    )
    async with asyncio.timeout(60), running(worker):
        await ensure_poll_schedule(client, task_queue=queue, every_seconds=1)
        while done < 3:
            await asyncio.sleep(0.05)
        description = await described(client)
        await remove_poll_schedule(client)
    assert most == 1
    assert description.info.num_actions >= 3
    assert description.schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert description.schedule.policy.catchup_window <= timedelta(seconds=60)


async def test_the_schedule_is_brought_up_to_date_and_what_a_person_paused_stays_so(client: Client, queue: str) -> None:
    await ensure_poll_schedule(client, task_queue=queue, every_seconds=60)
    assert await settings_of(client) == (timedelta(seconds=60), queue)
    await client.get_schedule_handle(POLL_SCHEDULE).pause(note="not now")
    other = f"{queue}-{uuid.uuid4().hex[:6]}"
    await ensure_poll_schedule(client, task_queue=other, every_seconds=90)
    assert await settings_of(client) == (timedelta(seconds=90), other)
    state = (await described(client)).schedule.state
    assert (state.paused, state.note) == (True, "not now")


async def test_many_servers_that_start_at_once_make_one_schedule(client: Client, queue: str) -> None:
    await asyncio.wait_for(
        asyncio.gather(*(ensure_poll_schedule(client, task_queue=queue, every_seconds=60) for _ in range(4))), 30
    )
    assert await settings_of(client) == (timedelta(seconds=60), queue)


async def test_a_poll_that_nobody_serves_ends_some_day_so_that_others_can_begin(client: Client, queue: str) -> None:
    await ensure_poll_schedule(client, task_queue=queue, every_seconds=60)
    action = (await described(client)).schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    assert action.execution_timeout is not None
    assert timedelta(hours=1) < action.execution_timeout < timedelta(days=1)


async def test_a_schedule_that_is_not_there_need_not_be_removed(client: Client, queue: str) -> None:
    await ensure_poll_schedule(client, task_queue=queue, every_seconds=60)
    assert [await remove_poll_schedule(client), await remove_poll_schedule(client)] == [True, False]


async def test_a_server_that_is_away_is_told(temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "_ANSWER_WITHIN", timedelta(seconds=0.5))
    host, _, port = temporal_settings.temporal.address.rpartition(":")
    open_ones: list[asyncio.StreamWriter] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        open_ones.extend((writer, back))
        await asyncio.gather(copied(reader, back), copied(there, writer), return_exceptions=True)

    async with asyncio.timeout(30), await asyncio.start_server(forward, "127.0.0.1", 0) as door:
        client = await connect(temporal_settings, address=f"127.0.0.1:{door.sockets[0].getsockname()[1]}")
        door.close()
        for writer in open_ones:
            writer.close()
        with pytest.raises(ServiceUnavailable, match="does not take the schedule sdlc-poll"):
            await ensure_poll_schedule(client, task_queue="q", every_seconds=60)
        with pytest.raises(ServiceUnavailable, match="does not take the schedule sdlc-poll"):
            await remove_poll_schedule(client)


async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


def test_a_missing_right_is_final_and_names_what_to_look_at() -> None:
    with pytest.raises(PermissionDenied, match="TEMPORAL_API_KEY"), polling._told():
        raise RPCError("no", RPCStatusCode.PERMISSION_DENIED, b"")
