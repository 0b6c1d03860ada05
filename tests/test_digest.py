"""The daily digest: what it says, and its schedule and workflow on a real server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import SecretStr
from temporalio import activity, workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleDescription,
    ScheduleOverlapPolicy,
    ScheduleSpec,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Worker

from sdlc.cli.serving import arrange_digest
from sdlc.config import Settings
from sdlc.config.intake import PersonSettings
from sdlc.config.notify import ChannelSettings, DigestSettings, NotifySettings
from sdlc.digest import (
    DIGEST_SCHEDULE,
    SEND_DIGEST,
    Digest,
    DigestSent,
    DigestWindow,
    DigestWorkflow,
    Seen,
    digest_of,
    digest_schedule,
    for_how_long,
)
from sdlc.domain import RunState
from sdlc.errors import ServiceUnavailable
from sdlc.integrations.notify import LocalNotifier
from sdlc.integrations.notify.channels import ChannelNotifier
from sdlc.integrations.notify.slack import payload
from sdlc.run_card import MEMO, RunCard
from sdlc.runtime.activity_failures import ActivityInterceptor
from sdlc.runtime.client import connect
from sdlc.runtime.digest import (
    DigestSteps,
    digest_for,
    ensure_digest_schedule,
    message_for,
    remove_digest_schedule,
)
from sdlc.runtime.embedded import running
from sdlc.runtime.redaction import Redactor
from sdlc.runtime.runs import WORKFLOW, RunRow, Runs
from sdlc.runtime.worker import workflow_runner
from tests.test_notify import Receiver

NOW = datetime(2026, 7, 26, 8, 0, tzinfo=UTC)
WINDOW = DigestWindow(since=NOW - timedelta(days=1), until=NOW)


def texts(message: dict[str, Any]) -> list[str]:
    """What stands in a message to Slack, one below the other."""
    return [block["text"]["text"] for block in message["blocks"] if "text" in block]


def hours(number: float) -> datetime:
    return NOW - timedelta(hours=number)


def a_card(key: str, **more: Any) -> RunCard:
    return RunCard(**{"key": key, "title": f"Title of {key}", "repository": "acme/parcel", "starter": "ada", **more})


def ended(key: str, ago: float, **more: Any) -> Seen:
    return Seen(card=a_card(key, **{"state": RunState.CLOSED, **more}), closed=hours(ago), status="completed")


def waiting(key: str, ago: float, **more: Any) -> Seen:
    card = a_card(key, waiting_since=hours(ago), **{"state": RunState.AWAITING_APPROVAL, **more})
    return Seen(card=card, status="running")


def a_channel(**more: Any) -> ChannelSettings:
    return ChannelSettings(**{"name": "team", "url": SecretStr("json://x"), **more})


# --- what it says -------------------------------------------------------------------------


def test_what_ended_in_the_window_is_in_it_and_what_waits_longest_comes_first() -> None:
    digest = digest_of(
        [
            ended("A-1", 1),
            ended("A-2", 24),  # the window before has it
            ended("A-3", 0),
            ended("A-4", 30),
            waiting("A-5", 2),
            waiting("A-6", 100),
            Seen(card=a_card("A-7"), status="running"),
            Seen(card=a_card("A-8", state=RunState.AWAITING_APPROVAL), closed=hours(3), status="terminated"),
        ],
        WINDOW,
    )
    assert [(one.card.key, one.how) for one in digest.finished] == [
        ("A-3", "closed"),
        ("A-1", "closed"),
        ("A-8", "terminated"),
    ]
    assert [one.card.key for one in digest.waiting] == ["A-6", "A-5"]


@pytest.mark.parametrize(
    ("card", "people"),
    [
        ({"approvers": ("ada", "bob"), "approved_by": ("ada",)}, ("bob",)),
        ({"approvers": ()}, ()),
        ({"state": RunState.NEEDS_ATTENTION, "approvers": ("bob",)}, ("ada",)),
        ({"state": RunState.AWAITING_MERGE, "starter": ""}, ()),
    ],
)
def test_it_says_for_whom_a_run_waits(card: dict[str, Any], people: tuple[str, ...]) -> None:
    assert digest_of([waiting("A-1", 1, **card)], WINDOW).waiting[0].people == people


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        ((1.0, 0.25), "1.25 USD"),
        ((1.0, None), "1.00 USD and 1 run of unknown cost"),
        ((None, None), "2 runs of unknown cost"),
        ((), ""),
    ],
)
def test_a_cost_that_is_unknown_is_never_nothing(costs: tuple[float | None, ...], said: str) -> None:
    assert digest_of([ended(f"A-{n}", 1, usd=usd) for n, usd in enumerate(costs)], WINDOW).cost == said


@pytest.mark.parametrize(
    ("ago", "said"),
    [(0.5, "less than an hour"), (1, "1 hour"), (47, "47 hours"), (48, "2 days"), (-5, "less than an hour")],
)
def test_how_long_in_words(ago: float, said: str) -> None:
    assert for_how_long(hours(ago), NOW) == said


def test_each_channel_hears_of_its_own() -> None:
    ada = PersonSettings(name="Ada Lovelace", github="ada")
    digest = digest_of(
        [
            ended("A-1", 1, starter="Ada Lovelace"),
            ended("A-2", 1, starter="bob", repository="other/thing"),
            waiting("A-3", 5, approvers=("ada",), starter="eve"),
            waiting("A-4", 5, approvers=("bob",), starter="eve"),
            waiting("A-5", 5, starter="eve"),  # for anybody
        ],
        WINDOW,
    )

    def keys(**channel: Any) -> list[str]:
        found = digest_for(digest, a_channel(**channel), [ada])
        return [*(one.card.key for one in found.finished), *(one.card.key for one in found.waiting)]

    assert keys() == ["A-1", "A-2", "A-3", "A-4", "A-5"]
    assert keys(repositories=("other/*",)) == ["A-2"]
    assert keys(people=("ada",)) == ["A-1", "A-3", "A-5"]
    assert keys(events=("finished",)) == []
    assert message_for(digest_for(digest, a_channel(events=("finished",)), [ada]), NOW) is None


def test_the_message_says_it_all_and_shows_titles_as_they_were_written() -> None:
    digest = digest_of(
        [
            ended("A-1", 1, usd=0.5, pull_request_url="https://f.example/1"),
            waiting("A-2", 72, approvers=("bob",), title="<!channel> @here <b>", pull_request_url="file:///p"),
            *[waiting(f"B-{number}", number) for number in range(30)],
        ],
        WINDOW,
    )
    message = message_for(digest, NOW)
    assert message is not None
    assert message.title == "2026-07-26: 1 finished, 31 waiting for people"
    blocks = payload(message)["blocks"]
    assert "A-2 &lt;!channel&gt; @\u200bhere &lt;b&gt; – awaiting approval for 3 days: bob" in texts({"blocks": blocks})
    assert any(block.get("accessory", {}).get("url") == "https://f.example/1" for block in blocks)
    assert [block["elements"][0]["text"] for block in blocks if block["type"] == "context"] == ["… and 23 more"]
    assert ("Cost of what was finished", "0.50 USD") in message.fields
    assert message_for(Digest(), NOW) is None


# --- on a real server ---------------------------------------------------------------------


@pytest.fixture
async def client(temporal_settings: Settings) -> AsyncIterator[Client]:
    client = await connect(temporal_settings)
    try:
        yield client
    finally:
        await asyncio.wait_for(remove_digest_schedule(client, task_queue=temporal_settings.temporal.task_queue), 20)


@pytest.fixture
def queue(temporal_settings: Settings) -> str:
    return temporal_settings.temporal.task_queue


async def described(client: Client, queue: str) -> ScheduleDescription:
    return await client.get_schedule_handle(digest_schedule(queue)).describe(rpc_timeout=timedelta(seconds=10))


async def triggered(client: Client, queue: str, number: int) -> WorkflowHandle[Any, Any]:
    """The workflow of the schedule's digest, which is its `number`th."""
    await client.get_schedule_handle(digest_schedule(queue)).trigger()
    while len((await described(client, queue)).info.recent_actions) < number:
        await asyncio.sleep(0.05)
    action = (await described(client, queue)).info.recent_actions[-1].action
    return client.get_workflow_handle(cast(Any, action).workflow_id)


AS_OURS = ActivityInterceptor(Redactor())
"""Errors have their names, as on a worker of ours."""


def a_worker(
    client: Client, queue: str, *activities: Any, workflows: tuple[type, ...] = (DigestWorkflow,), **more: Any
) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        **more,
        workflows=list(workflows),
        activities=list(activities),
        workflow_runner=workflow_runner(),
        graceful_shutdown_timeout=timedelta(seconds=2),
    )


async def test_each_digest_begins_where_the_last_one_ended(client: Client, queue: str) -> None:
    windows: list[DigestWindow] = []

    @activity.defn(name=SEND_DIGEST.name)
    async def send(window: DigestWindow) -> DigestSent:
        windows.append(window)
        if len(windows) == 2:
            raise ApplicationError("gone", type="PermissionDenied", non_retryable=True)
        return DigestSent(until=window.until, channels=("team",))

    async with asyncio.timeout(60), running(a_worker(client, queue, send)):
        await ensure_digest_schedule(client, task_queue=queue, at="03:00", zone="Europe/Zurich")
        for number in range(1, 4):
            await (await triggered(client, queue, number)).result()
    first, second, third = windows
    assert first.until - first.since == timedelta(days=1)
    # The second could not reach all channels, which no other try would mend: it is over, too.
    assert (second.since, third.since) == (first.until, second.until)


async def test_the_schedule_keeps_to_the_time_of_the_zone_and_what_a_person_paused_stays_so(
    client: Client, queue: str
) -> None:
    await ensure_digest_schedule(client, task_queue=queue, at="08:30", zone="Europe/Zurich")
    description = await described(client, queue)
    assert description.schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
    # UTC+1 in winter, UTC+2 in summer.
    assert {(moment.hour, moment.minute) for moment in description.info.next_action_times} <= {(7, 30), (6, 30)}
    assert len(description.info.next_action_times) > 3
    await client.get_schedule_handle(digest_schedule(queue)).pause(note="holidays")
    await ensure_digest_schedule(client, task_queue=queue, at="17:05", zone="UTC")
    schedule = (await described(client, queue)).schedule
    assert (schedule.state.paused, schedule.state.note) == (True, "holidays")
    assert isinstance(schedule.action, ScheduleActionStartWorkflow)
    assert schedule.action.task_queue == queue
    assert (await described(client, queue)).info.next_action_times[0].strftime("%H:%M") == "17:05"


async def test_whoever_has_the_digest_off_leaves_that_of_another_queue_alone(
    client: Client, queue: str, temporal_settings: Settings
) -> None:
    other = f"{queue}-other"
    old = client.get_schedule_handle(DIGEST_SCHEDULE)  # of before there was one for each queue
    await ensure_digest_schedule(client, task_queue=other, at="17:05", zone="UTC")
    action = ScheduleActionStartWorkflow("Nothing", id=f"old-{queue}", task_queue=queue)
    await client.create_schedule(DIGEST_SCHEDULE, Schedule(action=action, spec=ScheduleSpec()))
    try:
        wanted = NotifySettings(digest=DigestSettings(enabled=True))
        await arrange_digest(temporal_settings.model_copy(update={"notify": wanted}), client)
        assert cast(Any, (await described(client, queue)).schedule.action).task_queue == queue
        await arrange_digest(temporal_settings, client)
        with pytest.raises(RPCError, match="not found"):
            await described(client, queue)
        assert cast(Any, (await described(client, other)).schedule.action).task_queue == other
        assert (await old.describe()).id == DIGEST_SCHEDULE
    finally:
        await old.delete(rpc_timeout=timedelta(seconds=10))
        await remove_digest_schedule(client, task_queue=other)


async def test_a_schedule_that_is_not_there_need_not_be_removed(client: Client, queue: str) -> None:
    await ensure_digest_schedule(client, task_queue=queue, at="08:00", zone="UTC")
    assert [await remove_digest_schedule(client, task_queue=queue) for _ in range(2)] == [True, False]


async def test_a_zone_that_the_server_does_not_know_is_told(client: Client, queue: str) -> None:
    with pytest.raises(ServiceUnavailable, match=f"does not take the schedule sdlc-digest-{queue}"):
        await ensure_digest_schedule(client, task_queue=queue, at="08:00", zone="Mars/Base")


async def test_a_channel_that_stays_dead_lets_nobody_hear_a_day_twice(
    client: Client, queue: str, temporal_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Day 1 with a dead channel, to the end of all tries; then day 2, on which it is alive again."""
    windows: list[DigestWindow] = []

    async def rows(self: Runs, **_: Any) -> list[RunRow]:
        return []

    def seen(found: Any, window: DigestWindow) -> Digest:
        windows.append(window)
        run = ended(f"D-{len(set(windows))}", 0)
        return digest_of([run.model_copy(update={"closed": window.until})], window)

    monkeypatch.setattr(Runs, "list", rows)
    monkeypatch.setattr("sdlc.runtime.digest.digest_of", seen)
    for name in ("_PAUSE", "_LONGEST_PAUSE"):
        monkeypatch.setattr(f"sdlc.digest.{name}", timedelta(milliseconds=20))
    dead, up = Receiver([503] * 12, headers=()), Receiver()
    async with (
        asyncio.timeout(90),
        await asyncio.start_server(dead.serve, "127.0.0.1", 0) as one,
        await asyncio.start_server(up.serve, "127.0.0.1", 0) as other,
    ):
        dead.port, up.port = (door.sockets[0].getsockname()[1] for door in (one, other))
        channels = tuple(
            ChannelSettings(name=name, slack_webhook=SecretStr(receiver.url))
            for name, receiver in (("dead", dead), ("up", up))
        )
        notifier = ChannelNotifier(NotifySettings(channels=channels), tmp_path)
        services = cast(Any, SimpleNamespace(settings=temporal_settings, notifier=notifier))
        await ensure_digest_schedule(client, task_queue=queue, at="03:00", zone="UTC")
        late = await triggered(client, queue, 1)
        await asyncio.sleep(1.2)  # there is no worker yet; the period is the schedule's all the same
        worker = a_worker(client, queue, *DigestSteps(services).activities(), interceptors=[AS_OURS])
        async with running(worker):
            first = DigestSent.model_validate(await late.result())
            second = DigestSent.model_validate(await (await triggered(client, queue, 2)).result())
    nominal = (await described(client, queue)).info.recent_actions[0].scheduled_at
    assert "dead answered 503" in first.refused
    assert first.until == nominal.replace(microsecond=0)
    assert {window.until for window in windows} == {first.until, second.until}
    assert windows[-1].since == first.until
    assert dead.tries == 13
    told = [[line for line in texts(message) if line.startswith("D-")] for message in up.taken]
    assert told == [["D-1 Title of D-1 – closed"], ["D-2 Title of D-2 – closed"]]
    assert len(dead.taken) == 1


async def test_a_digest_of_which_nobody_has_heard_is_in_the_next_one(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_PAUSE", "_LONGEST_PAUSE"):
        monkeypatch.setattr(f"sdlc.digest.{name}", timedelta(milliseconds=20))
    windows: list[DigestWindow] = []

    @activity.defn(name=SEND_DIGEST.name)
    async def send(window: DigestWindow) -> DigestSent:
        windows.append(window)
        if window in windows[1:2]:
            raise ApplicationError("away", type="ServiceUnavailable")
        return DigestSent(until=window.until)

    async with asyncio.timeout(60), running(a_worker(client, queue, send)):
        await ensure_digest_schedule(client, task_queue=queue, at="03:00", zone="UTC")
        await (await triggered(client, queue, 1)).result()
        await asyncio.sleep(1)  # periods have whole seconds
        with pytest.raises(WorkflowFailureError):
            await (await triggered(client, queue, 2)).result()
        await (await triggered(client, queue, 3)).result()
    assert len(windows) == 14
    assert windows[-1].since == windows[0].until
    assert windows[1].until > windows[0].until


@workflow.defn(name=WORKFLOW, sandboxed=False)
class FinishesAtOnce:
    """A run as lists see it."""

    @workflow.run
    async def run(self, card: RunCard) -> None:
        workflow.upsert_memo({MEMO: card.model_dump(mode="json", exclude_defaults=True)})
        if card.waiting_since is not None:
            await asyncio.sleep(3_600)


async def listed(client: Client, wanted: dict[str, str]) -> None:
    """Until lists show the runs as they are: what they say takes a moment to get there."""
    found: set[str] = set()
    while found != set(wanted):
        found = set()
        for key, run in wanted.items():
            async for execution in client.list_workflows(f"WorkflowId = '{run}'"):
                card = (await execution.memo()).get(MEMO) or {}
                if card.get("key") == key and (execution.close_time is not None) == (key == "Z-1"):
                    found.add(key)
        await asyncio.sleep(0.1)


async def test_without_channels_nothing_is_looked_up(temporal_settings: Settings, tmp_path: Path) -> None:
    services = cast(Any, SimpleNamespace(settings=temporal_settings, notifier=LocalNotifier(tmp_path)))
    assert await DigestSteps(services).send_digest(WINDOW) == DigestSent(until=NOW)


async def test_a_digest_of_real_runs_reaches_the_channel_once_and_nothing_is_sent_about_nothing(
    client: Client, queue: str, temporal_settings: Settings, tmp_path: Path
) -> None:
    mine, empty = Receiver([500]), Receiver()
    repository = f"acme/{uuid.uuid4().hex[:8]}"  # the server is shared by tests, and so are its runs
    async with asyncio.timeout(90), await asyncio.start_server(mine.serve, "127.0.0.1", 0) as door:
        mine.port = door.sockets[0].getsockname()[1]
        async with await asyncio.start_server(empty.serve, "127.0.0.1", 0) as other:
            empty.port = other.sockets[0].getsockname()[1]
            channels = tuple(
                ChannelSettings(name=name, slack_webhook=SecretStr(receiver.url), repositories=(where,))
                for name, receiver, where in (("mine", mine, repository), ("empty", empty, "nobody/nothing"))
            )
            notifier = ChannelNotifier(NotifySettings(channels=channels), tmp_path)
            services = cast(Any, SimpleNamespace(settings=temporal_settings, notifier=notifier))
            steps = DigestSteps(services)
            worker = a_worker(client, queue, *steps.activities(), workflows=(DigestWorkflow, FinishesAtOnce))
            async with running(worker):
                done = a_card("Z-1", state=RunState.CLOSED, repository=repository, usd=0.25)
                waits = a_card(
                    "Z-2", state=RunState.NEEDS_ATTENTION, repository=repository, waiting_since=datetime.now(UTC)
                )
                runs = [
                    await client.start_workflow(WORKFLOW, card, id=f"sdlc-{uuid.uuid4()}", task_queue=queue)
                    for card in (done, waits)
                ]
                await runs[0].result()
                await listed(client, {"Z-1": runs[0].id, "Z-2": runs[1].id})
                digest = f"digest-{uuid.uuid4()}"
                sent = await client.execute_workflow(DigestWorkflow.run, id=digest, task_queue=queue)
                assert sent.channels == ("mine",)
                await runs[1].terminate()
    assert (mine.tries, len(mine.taken), empty.tries) == (2, 1, 0)
    said = texts(mine.taken[0])
    assert said[0].endswith("1 finished, 1 waiting for people")
    assert "Z-1 Title of Z-1 – closed" in said
    assert "Z-2 Title of Z-2 – needs attention for less than an hour: ada" in said
    fields = next(block["fields"] for block in mine.taken[0]["blocks"] if "fields" in block)
    assert fields[0]["text"] == "Cost of what was finished\n0.25 USD"
