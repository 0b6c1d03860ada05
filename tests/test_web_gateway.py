"""The gateway: what the web knows of runs, and what people do to them, on real runs."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from sdlc import activities as do
from sdlc.audit_chain import why_broken
from sdlc.config import ModelSettings, PersonSettings, Settings
from sdlc.demo.conversation import Script as Conversation
from sdlc.demo.conversation import edit, say, shell, submit
from sdlc.demo.scripted_model import ScriptedModel
from sdlc.domain import (
    ArtifactRef,
    AttentionKind,
    AuditEntry,
    ChangeSet,
    DecisionKind,
    RunState,
    Severity,
    TestKind,
    TestOutcome,
    TestReport,
    Ticket,
)
from sdlc.engines.agent import build_agent_graph
from sdlc.errors import RunNotFound, SandboxUnavailable, ServiceUnavailable, UsageError
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.integrations.git.clones import Clones
from sdlc.integrations.git.runner import Git
from sdlc.integrations.llm import Models
from sdlc.integrations.sandbox import open_sandbox
from sdlc.integrations.services import Services
from sdlc.integrations.workspace import Workspaces
from sdlc.run_card import Risk, RunCard
from sdlc.runtime.client import connect
from sdlc.runtime.connection import REST_SECONDS, Connection
from sdlc.runtime.deliveries import Deliveries
from sdlc.runtime.dev_server import ServerRecord
from sdlc.runtime.redaction import Redactor
from sdlc.runtime.runs import RunRow
from sdlc.web import views
from sdlc.web.gateway import Conflict, Gateway
from sdlc.web.gateway import gateway as gateway_module
from sdlc.web.gateway.asking import Fresh
from sdlc.web.gateway.lists import Cursor, inbox_of, safe_url
from sdlc.web.gateway.patch import MOST_FILES, MOST_ROWS, read_diff
from sdlc.web.gateway.shown import Shown
from sdlc.web.gateway.stats import part, stats_of
from sdlc.web.sign_in.sealing import Sealer
from tests.doors import Door, a_door, behind
from tests.repositories import Checkout, git, new_bare, new_checkout
from tests.stage import Script, Stage, a_finding
from tests.test_agent import NoEnvironments
from tests.web_stage import GRACE, World, web_world

PLANTED = "ghp_" + "x1Y2" * 6


@pytest.fixture
async def world(temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with web_world(temporal_settings, monkeypatch) as ready:
        yield ready


@pytest.fixture
async def door(dev_server: ServerRecord) -> AsyncIterator[Door]:
    async with a_door(dev_server.address) as made:
        yield made


async def approval(world: World, key: str) -> views.Decide:
    return views.Decide(kind=DecisionKind.APPROVE, head_sha=await world.head(key))


# --- lists --------------------------------------------------------------------------------------


async def test_the_inbox_has_what_waits_for_me_first_and_with_it_what_waits_for_others(world: World) -> None:
    for_others = await world.waiting(approvers=("linus",))
    mine = await world.waiting(approvers=("Grace",))
    anybody = await world.waiting()

    everything = await world.gateway.inbox(("grace",), everything=True, limit=200)
    ours = [line for line in everything.items if line.repository == world.repository]
    assert [(line.key, line.for_me) for line in ours] == [(mine, True), (anybody, True), (for_others, False)]
    only_mine = await world.gateway.inbox(("grace",), limit=200)
    assert for_others not in [line.key for line in only_mine.items]
    assert {mine, anybody} <= {line.key for line in only_mine.items}
    assert everything.total == everything.waiting >= 3
    assert only_mine.total == only_mine.mine == everything.mine >= 2
    line = ours[0]
    assert (line.title, line.state, line.starter, line.approvers) == (
        "Rounding",
        "awaiting_approval",
        "ada",
        ("Grace",),
    )
    assert line.risk == Risk(files=1, proof=1)
    assert line.waiting_since is not None
    assert line.pull_request_url == ""  # `file:` is nothing that a browser may follow
    count = await world.gateway.inbox_count(("grace",))
    assert (count.mine >= 2, count.waiting >= 3) == (True, True)


def a_row(number: int, **more: object) -> RunRow:
    now = datetime(2025, 6, 30, tzinfo=UTC)
    card = RunCard(
        key=f"K-{number}",
        state=RunState.AWAITING_APPROVAL,
        waits_for="an approval",
        waiting_since=now - timedelta(hours=number),
        started=now - timedelta(hours=2 * number),
        **more,  # type: ignore[arg-type]
    )
    return RunRow(f"K-{number}", "running", "awaiting_approval", "await_approval", "person", "r", now, None, card=card)


def test_the_longest_wait_comes_first_and_pages_follow_each_other() -> None:
    rows = [a_row(number) for number in (3, 5, 1, 4, 2)]
    first, second = (inbox_of(rows, ("me",), everything=False, offset=at, limit=3) for at in (0, 3))
    assert [line.key for line in (*first.items, *second.items)] == ["K-5", "K-4", "K-3", "K-2", "K-1"]
    assert first.total == second.total == 5


async def test_all_runs_come_by_pages_each_once(world: World) -> None:
    keys = {await world.waiting() for _ in range(5)}
    wanted = views.RunFilter(repository=world.repository)
    found: list[str] = []
    cursor, pages = "", 0
    while pages < 10:
        page = await world.gateway.runs(wanted, cursor, limit=2)
        found += [line.key for line in page.items]
        cursor, pages = page.next, pages + 1
        assert len(page.items) <= 2
        if not cursor:
            break
    assert sorted(found) == sorted(keys)


async def test_runs_are_found_by_state_person_and_text(world: World) -> None:
    first = await world.waiting(f"Alpha-{uuid.uuid4().hex[:6]}", starter="Ada", approvers=("grace", "linus"))
    second = await world.waiting(starter="bob")
    await world.gateway.decide(second, GRACE, await approval(world, second))
    await world.over(second, RunState.CLOSED)

    async def found(**wanted: str) -> list[str]:
        page = await world.gateway.runs(views.RunFilter(repository=world.repository, **wanted), limit=1)
        return [line.key for line in page.items]

    assert await found(state="closed") == [second]
    assert await found(state="awaiting_approval") == [first]
    assert await found(state="rejected") == []
    assert await found(person="LINUS") == [first]
    assert await found(person="bob") == [second]
    assert await found(person="nobody") == []
    assert await found(text="alpha-") == [first]
    assert sorted([*await found(text="ROUND", person="bob"), *await found(text="ROUND", person="ada")]) == sorted(
        [first, second]
    )
    assert await found(text="' OR 1 = 1") == []
    page = await world.gateway.runs(views.RunFilter(repository="it's ' OR '' = '"), limit=1)
    assert page.items == ()


async def test_a_run_that_was_terminated_shows_no_state_of_its_last_moment(world: World) -> None:
    key = await world.waiting()
    await world.client.get_workflow_handle(f"sdlc-{key}").terminate()
    await world.indexed(key, "ExecutionStatus = 'Terminated'")
    (line,) = (await world.gateway.runs(views.RunFilter(repository=world.repository))).items
    assert line.state == "terminated"
    assert (line.key, line.waits_for, line.waiting_since, line.for_me) == (key, "", None, False)
    running = await world.gateway.runs(views.RunFilter(repository=world.repository, state=RunState.AWAITING_APPROVAL))
    assert running.items == ()


@pytest.mark.parametrize("cursor", ["x", "ü", "W10", "bnVsbA", "=" * 50, "eyJhIjoxfQ"])
async def test_a_cursor_that_is_none_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(UsageError, match="cursor"):
        await world.gateway.runs(views.RunFilter(), cursor)


def test_a_cursor_comes_back_as_it_was_and_nobody_else_makes_one() -> None:
    ours, other = Sealer(b"x" * 32, "a place"), Sealer(b"y" * 32, "a place")
    cursor = Cursor(b"\x00token\xff", 200, 17)
    assert Cursor.of(cursor.text(ours), ours) == cursor
    with pytest.raises(UsageError, match="cursor"):
        Cursor.of(cursor.text(other), ours)


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://github.com/a/b/pull/1", True),
        ("http://127.0.0.1:8080/x", True),
        ("javascript:alert(1)", False),
        ("JAVASCRIPT://x/%0aalert(1)", False),
        ("data:text/html,x", False),
        ("file:///etc/passwd", False),
        ("https://user:word@host/", False),
        ("https://[broken", False),
        ("https://host/\u202ex", False),
        ("//host/x", False),
        ("", False),
    ],
)
def test_only_addresses_that_a_browser_may_follow_become_links(url: str, good: bool) -> None:
    assert safe_url(url) == (url if good else "")


# --- statistics ---------------------------------------------------------------------------------


def closed_row(day: int, *, usd: float | None = 1.0, hours: float = 1.0, **more: object) -> RunRow:
    begun = datetime(2025, 6, day, 8, tzinfo=UTC)
    fields: dict[str, object] = {
        "state": RunState.CLOSED,
        "started": begun,
        "pull_request_at": begun + timedelta(hours=hours),
        "waited_seconds": 60.0,
        "ended": begun + timedelta(hours=hours + 1),
        "usd": usd,
        **more,
    }
    card = RunCard(key="K", **fields)  # type: ignore[arg-type]
    state = card.state.value
    return RunRow("K", "completed", state, "", "", "r", begun, card.ended, card=card)


def test_statistics_are_medians_and_ninetieths_by_day_and_over_all() -> None:
    rows = [
        closed_row(10, usd=1.0, hours=1, fix_rounds=1),
        closed_row(10, usd=3.0, hours=3, revisions=2),
        closed_row(11, usd=None, hours=2, asked=1),
        closed_row(11, state=RunState.REJECTED, pull_request_at=None, usd=100.0),
        RunRow(
            "old",
            "completed",
            "closed",
            "",
            "",
            "r",
            datetime(2025, 6, 9, tzinfo=UTC),
            datetime(2025, 6, 9, tzinfo=UTC),
        ),
    ]
    found = stats_of(rows, datetime(2025, 6, 9, tzinfo=UTC), 3)
    assert [(point.day.day, point.closed, point.other) for point in found.throughput] == [
        (9, 1, 0),
        (10, 2, 0),
        (11, 1, 1),
        (12, 0, 0),
    ]
    measures = {measure.name: measure for measure in found.measures}
    assert measures["time_to_pull_request"].whole == views.Summary(count=3, median=7200.0, p90=10080.0)
    assert measures["cost"].whole == views.Summary(count=2, median=2.0, p90=2.8)
    assert [point.day.day for point in measures["cost"].series] == [10]
    assert measures["rounds"].whole == views.Summary(count=3, median=1.0, p90=1.8)
    assert measures["approval_wait"].whole.median == 60.0
    assert (found.runs, found.without_card, found.cut) == (5, 1, False)
    assert found.needed_people == 0.25
    assert found.states == {"closed": 4, "rejected": 1}


def test_statistics_of_nothing_say_nothing() -> None:
    found = stats_of([], datetime(2025, 6, 9, tzinfo=UTC), 1)
    assert found.needed_people is None
    assert all(measure.whole == views.Summary() for measure in found.measures)
    assert part([], 0.5) is None
    assert part([4.0], 0.9) == 4.0


async def test_statistics_come_from_the_cards_of_runs_that_are_over(world: World) -> None:
    key = await world.waiting()
    await world.gateway.decide(key, GRACE, await approval(world, key))
    await world.over(key, RunState.CLOSED)
    found = await world.gateway.stats(1, views.RunFilter(repository=world.repository))
    assert (found.runs, found.states) == (1, {"closed": 1})
    assert sum(point.closed for point in found.throughput) == 1
    assert {measure.name: measure.whole.count for measure in found.measures} == {
        "time_to_pull_request": 1,
        "approval_wait": 1,
        "cost": 1,
        "rounds": 1,
    }


# --- a run ----------------------------------------------------------------------------------------


async def test_a_run_is_shown_as_it_stands(temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(findings=lambda panel, _: (a_finding(severity=Severity.MINOR),) if panel == "quality" else ())
    temporal = temporal_settings.temporal.model_copy(update={"ui_url": "http://127.0.0.1:8233/"})
    settings = temporal_settings.model_copy(update={"temporal": temporal})
    async with web_world(settings, monkeypatch, script) as world:
        key = await world.waiting(approvers=("grace",))
        seen = await world.gateway.run(key, ("grace",))
    assert seen.notes == ()
    assert (seen.key, seen.line.for_me, seen.line.title) == (key, True, "Rounding")
    assert seen.progress.step == "await_approval"
    assert len(seen.costs.steps) == 17
    assert seen.costs.total.model_calls == 1
    assert seen.ticket is not None
    assert seen.ticket.title == "Rounding"
    assert [review.panel for review in seen.reviews] == ["architecture", "security", "quality", "techstack"]
    assert [finding.rule for finding in seen.reviews[2].open] == ["ruff:B006"]
    assert {test.kind for test in seen.tests} == set(TestKind)
    assert seen.actions[:4] == ("approve", "request_changes", "reject", "reassign")
    assert seen.links.temporal.startswith(f"http://127.0.0.1:8233/namespaces/default/workflows/sdlc-{key}/")
    assert seen.links.pull_request == ""
    assert seen.audit.trouble == ""


async def test_words_of_others_are_shown_without_secrets_and_with_what_is_hidden(
    temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    title = f"<script>alert(1)</script>\x1b[31m \u202eevil {PLANTED}"
    script = Script(ticket=lambda _: Ticket(key="KEY-1", title=title, url="javascript:alert(1)"))
    async with web_world(temporal_settings, monkeypatch, script) as world:
        key = await world.waiting()
        seen = await world.gateway.run(key)
        listed = await world.gateway.inbox(("grace",), everything=True, limit=200)
    shown = r"<script>alert(1)</script>\u001b[31m \u202eevil [secret]"
    assert seen.ticket is not None
    assert seen.ticket.title == seen.line.title == seen.progress.ticket_title == shown
    assert shown in [line.title for line in listed.items]
    assert seen.links.ticket == ""
    assert PLANTED not in seen.model_dump_json() + listed.model_dump_json()


async def test_nobody_is_told_of_a_run_that_there_is_not(world: World) -> None:
    gateway = world.gateway
    for asked in (gateway.run, gateway.progress, gateway.diff, gateway.conversation, gateway.logs, gateway.costs):
        with pytest.raises(RunNotFound):
            await asked(f"NO-{uuid.uuid4().hex[:6]}")
        with pytest.raises(UsageError):
            await asked("two words")


async def test_without_a_server_it_is_said_and_once_there_is_one_it_goes_on(temporal_settings: Settings) -> None:
    tries = 0

    async def connect_late() -> object:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise UsageError("No Temporal server is running.")
        return await connect(temporal_settings)

    gateway = Gateway(connect_late, temporal_settings)  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(ServiceUnavailable, match="No Temporal server"):
            await gateway.inbox(("grace",))
    assert tries == 1  # who asks right after a failure is told of it
    await asyncio.sleep(REST_SECONDS)
    assert (await gateway.inbox(("grace",))).offset == 0
    assert tries == 2


async def test_all_who_ask_at_a_silent_server_share_one_attempt_and_wait_a_bounded_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_module, "CONNECT_WITHIN", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        nowhere = settings.model_copy(update={"temporal": settings.temporal.model_copy(update={"address": address})})
        tries = 0

        async def connect_once() -> Any:
            nonlocal tries
            tries += 1
            return await connect(nowhere)

        connection = Connection(connect_once)
        gateway = Gateway(connection, nowhere)
        began = time.monotonic()
        answers = await asyncio.gather(*(gateway.inbox(("grace",)) for _ in range(12)), return_exceptions=True)
        assert time.monotonic() - began < 4
        assert {type(answer) for answer in answers} == {ServiceUnavailable}
        with pytest.raises(ServiceUnavailable, match="within 1 s"):
            await gateway.inbox(("grace",))
        assert tries == 1
        await connection.close()


async def test_where_only_the_worker_is_silent_the_connection_stays_and_where_the_server_is_it_is_made_anew(
    temporal_settings: Settings, door: Door
) -> None:
    await door.open()
    through = behind(door, temporal_settings)
    connection = Connection(lambda: connect(through))
    client = await connection.client(20)
    late = RPCError("late", RPCStatusCode.DEADLINE_EXCEEDED, b"")
    connection.unanswered(client, late)
    await asyncio.sleep(1)
    assert await connection.client(20) is client
    door.close()
    connection.unanswered(client, late)
    with pytest.raises(ServiceUnavailable, match="No Temporal server answers"):
        await asyncio.wait_for(another(connection, client), 20)
    await asyncio.sleep(REST_SECONDS)
    await door.open()
    assert await connection.client(20) is not client
    await connection.close()


async def another(connection: Connection, than: Client) -> Client:
    while (client := await connection.client()) is than:
        await asyncio.sleep(0.05)
    return client


async def test_a_server_that_comes_back_elsewhere_is_found_by_pages_and_health_alike(
    temporal_settings: Settings, door: Door
) -> None:
    await door.open()
    now = behind(door, temporal_settings)
    deliveries = Deliveries(lambda: connect(now), temporal_settings.temporal.task_queue, answer_seconds=5)
    gateway = Gateway(deliveries.connection, now)
    await gateway.inbox(("grace",))
    await deliveries.check()
    now = temporal_settings
    door.close()
    await asyncio.sleep(2.1)  # what was asked a moment ago is not asked again
    with pytest.raises(ServiceUnavailable):
        await asyncio.wait_for(gateway.inbox(("grace",)), 30)
    found = await asyncio.wait_for(gateway.inbox(("grace",)), 5)
    assert found.offset == 0
    await deliveries.check()
    await deliveries.close()


# --- deciding -------------------------------------------------------------------------------------


async def test_a_decision_counts_in_the_name_of_who_is_signed_in(
    temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = (PersonSettings(name="Grace Hopper", email="grace@example.org", github="grace", web="grace"),)
    settings = temporal_settings.model_copy(update={"people": people})
    async with web_world(settings, monkeypatch) as world:
        key = await world.waiting(approvers=("grace@example.org",))
        await world.gateway.decide(key, GRACE, await approval(world, key))
        await world.until_state(key, RunState.CLOSED)
        entry = next(one for one in (await world.gateway.audit(key)).entries if one.event == "approve")
        head = await world.head(key)
    assert (entry.by, entry.source, entry.accepted, entry.head_sha) == ("Grace Hopper", "web", True, head)


async def test_an_exported_trail_is_whole_whatever_people_have_written(world: World) -> None:
    key = await world.waiting()
    said = "ok \x1b[31m zero\u200bwidth"
    approve = await approval(world, key)
    await world.gateway.decide(key, GRACE, approve.model_copy(update={"comment": said}))
    trail = await world.gateway.trail(key)
    assert said in [entry.detail for entry in trail]
    assert why_broken([AuditEntry.model_validate_json(entry.model_dump_json()) for entry in trail]) is None
    assert "\x1b" not in "".join(entry.detail for entry in (await world.gateway.audit(key)).entries)


async def test_a_decision_that_the_run_refuses_is_a_conflict_with_its_reason(world: World) -> None:
    key = await world.waiting(approvers=("linus",))
    with pytest.raises(Conflict, match="grace may not decide here"):
        await world.gateway.decide(key, GRACE, await approval(world, key))
    with pytest.raises(Conflict, match="look at it again"):
        await world.gateway.decide(key, GRACE, views.Decide(kind=DecisionKind.APPROVE, head_sha="f" * 40))
    trail = (await world.gateway.audit(key)).entries
    assert [(one.by, one.source, one.accepted) for one in trail] == [("grace", "web", False)] * 2


async def test_two_people_deciding_at_the_same_time_one_is_told(world: World) -> None:
    key = await world.waiting()
    reject = views.Decide(kind=DecisionKind.REJECT, head_sha=await world.head(key))
    outcomes = await asyncio.gather(
        world.gateway.decide(key, GRACE, await approval(world, key)),
        world.gateway.decide(key, GRACE, reject),
        return_exceptions=True,
    )
    assert sum(isinstance(one, views.Receipt) for one in outcomes) == 1
    assert sum(isinstance(one, Conflict) for one in outcomes) == 1


async def test_what_is_sent_twice_by_one_form_counts_once(world: World) -> None:
    key = await world.waiting()
    asked = views.Decide(
        kind=DecisionKind.REQUEST_CHANGES, head_sha=await world.head(key), comment="Round up.", once="form-1"
    )
    first = await world.gateway.decide(key, GRACE, asked)
    second = await world.gateway.decide(key, GRACE, asked)
    assert first.message != second.message == "That decision had been received already."
    await world.until(key, lambda progress: progress.revisions == 1 and progress.state is RunState.AWAITING_APPROVAL)
    assert [one.event for one in (await world.gateway.audit(key)).entries].count("request_changes") == 1


async def test_a_run_that_is_over_takes_nothing_and_says_so(world: World) -> None:
    key = await world.waiting()
    await world.gateway.decide(
        key, GRACE, views.Decide(kind=DecisionKind.REJECT, head_sha=await world.head(key), comment="No.")
    )
    await world.until_state(key, RunState.REJECTED)
    await world.client.get_workflow_handle(f"sdlc-{key}").result()
    abort = views.Attend(kind=AttentionKind.ABORT)
    pause, cancel = views.Pause(action="pause"), views.Cancel(action="cancel")
    for said in (
        world.gateway.decide(key, GRACE, await approval(world, key)),
        world.gateway.attend(key, GRACE, abort),
        world.gateway.steer(key, GRACE, pause),
        world.gateway.steer(key, GRACE, cancel),
    ):
        with pytest.raises(Conflict, match="is over"):
            await said
    assert (await world.gateway.run(key)).actions == ()


async def test_a_run_that_needs_attention_is_answered(
    temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    red = Script(tests=lambda kind, _: TestOutcome.MISSING if kind is TestKind.UNIT else TestOutcome.PASSED)
    async with web_world(temporal_settings, monkeypatch, red) as world:
        key = await world.start()
        await world.until_state(key, RunState.NEEDS_ATTENTION)
        assert (await world.gateway.run(key)).actions[:2] == ("retry", "waive")
        with pytest.raises(Conflict, match="reason"):
            await world.gateway.attend(key, GRACE, views.Attend(kind=AttentionKind.WAIVE))
        await world.gateway.attend(key, GRACE, views.Attend(kind=AttentionKind.WAIVE, reason="None are needed."))
        await world.until_state(key, RunState.AWAITING_APPROVAL)
        with pytest.raises(Conflict, match="does not need attention"):
            await world.gateway.attend(key, GRACE, views.Attend(kind=AttentionKind.RETRY))
        trail = (await world.gateway.audit(key)).entries
    assert ("waive", "grace", "None are needed.") in [(one.event, one.by, one.detail) for one in trail]


async def test_a_run_is_steered_by_the_one_who_is_signed_in(world: World) -> None:
    key = await world.waiting(approvers=("grace",))
    asked: list[views.Steer] = [
        views.Pause(action="pause", reason="Lunch.", once="p1"),
        views.Pause(action="pause", reason="Lunch.", once="p1"),
        views.Resume(action="resume"),
        views.Instruct(action="instruct", text="Mind the cents."),
        views.Escalate(action="escalate", model="big"),
        views.Reassign(action="reassign", to=("linus",), reason="He knows."),
    ]
    for one in asked:
        assert (await world.gateway.steer(key, GRACE, one)).message
    trail = (await world.gateway.audit(key)).entries
    assert [(one.event, one.by) for one in trail] == [
        (event, "grace") for event in ("pause", "resume", "inject_instruction", "escalate_model", "reassign")
    ]
    await world.shown(("linus",), key)
    await world.shown(("grace",), key, there=False)
    with pytest.raises(Conflict, match="grace may not"):
        await world.gateway.decide(key, GRACE, await approval(world, key))
    await world.gateway.steer(key, GRACE, views.Cancel(action="cancel", reason="Not any more."))
    await world.until_state(key, RunState.CANCELLED)
    history = await world.client.get_workflow_handle(f"sdlc-{key}").fetch_history()
    causes = [event.workflow_execution_cancel_requested_event_attributes.cause for event in history.events]
    assert "grace (web): Not any more." in causes


# --- the change -----------------------------------------------------------------------------------


def change_of(checkout: Checkout, base: str, head: str) -> ChangeSet:
    return ChangeSet(
        repository=checkout.as_repository(), base_sha=base, head_sha=head, branch="sdlc/x", files_changed=1
    )


async def diff_of(
    tmp_path: Path, checkout: Checkout, base: str, head: str, findings: tuple[views.FindingView, ...] = ()
) -> views.Diff:
    clones = Clones(Git(tmp_path / "git"), tmp_path / "clones")
    return await read_diff(clones.of(str(checkout.path)), change_of(checkout, base, head), findings, Redactor())


def a_note(file: str, line: int, message: str = "Look.") -> views.FindingView:
    return views.FindingView(panel="quality", file=file, line=line, message=message)


def rows_of(file: views.DiffFile) -> list[tuple[str, int | None, int | None, str]]:
    return [(row.kind[0], row.old, row.new, row.text) for hunk in file.hunks for row in hunk.rows]


async def test_a_change_has_rows_with_numbers_and_findings_at_their_rows(tmp_path: Path) -> None:
    checkout = new_checkout(tmp_path / "r", {"a.py": "one\ntwo\nthree\n", "old name.txt": "x\n" * 30})
    base = checkout.head
    head = checkout.commit({"a.py": "one\n2\nthree\nfour", "old name.txt": None, "new name.txt": "x\n" * 30 + "y\n"})
    notes = (a_note("a.py", 2, "here"), a_note("a.py", 99, "elsewhere"), a_note("gone.py", 1, "far"))
    found = await diff_of(tmp_path, checkout, base, head, notes)
    first, second = found.files
    assert rows_of(first) == [
        ("c", 1, 1, "one"),
        ("d", 2, None, "two"),
        ("a", None, 2, "2"),
        ("c", 3, 3, "three"),
        ("a", None, 4, "four"),
    ]
    assert first.hunks[0].rows[-1].no_newline
    assert [finding.message for row in first.hunks[0].rows for finding in row.findings] == ["here"]
    assert [finding.message for finding in first.findings] == ["elsewhere"]
    assert [finding.message for finding in found.findings] == ["far"]
    assert (second.status, second.old_path, second.path) == ("renamed", "old name.txt", "new name.txt")
    assert rows_of(second)[-1] == ("a", None, 31, "y")
    assert (found.files_changed, found.insertions, found.deletions, found.left_out) == (2, 3, 1, "")


async def test_lines_that_look_like_a_patch_are_lines(tmp_path: Path) -> None:
    before = "--- a/x\n+++ b/x\n@@ -1 +1 @@\ndiff --git a/x b/x\n"
    checkout = new_checkout(tmp_path / "r", {"p.patch": before})
    head = checkout.commit({"p.patch": before.replace("x", "y")})
    found = await diff_of(tmp_path, checkout, git_base(checkout), head)
    assert [file.path for file in found.files] == ["p.patch"]
    added = [text for kind, _, _, text in rows_of(found.files[0]) if kind == "a"]
    assert added == ["--- a/y", "+++ b/y", "diff --git a/y b/y"]


def git_base(checkout: Checkout) -> str:
    return git(checkout.path, "rev-parse", "HEAD~1")


async def test_what_is_no_text_is_told_and_odd_names_are_kept(tmp_path: Path) -> None:
    checkout = new_checkout(
        tmp_path / "r", {"b.bin": b"\0\1\2", "mode.sh": "x\n", 'tö "q".txt': "a\n", "type": "text\n"}
    )
    base = checkout.head
    (checkout.path / "mode.sh").chmod(0o755)
    (checkout.path / "type").unlink()
    (checkout.path / "type").symlink_to("b.bin")
    head = checkout.commit(
        {"b.bin": b"\0\1\3", 'tö "q".txt': "b\n", "with\ttab": "c\n", "empty": "", "latin": b"caf\xe9\n"}
    )
    found = {file.path: file for file in (await diff_of(tmp_path, checkout, base, head)).files}
    assert found["b.bin"].binary
    assert not found["b.bin"].hunks
    assert found["mode.sh"].notes == ("Its mode changes from 100644 to 100755.",)
    assert rows_of(found['tö "q".txt']) == [("d", 1, None, "a"), ("a", None, 1, "b")]
    assert rows_of(found['"with\\ttab"']) == [("a", None, 1, "c")]
    assert found["empty"].notes == ("It is empty.",)
    assert rows_of(found["latin"]) == [("a", None, 1, "caf\ufffd")]
    assert [row[3] for row in rows_of(found["type"])] == ["text", "b.bin"]
    assert any("symbolic link" in note for note in found["type"].notes)


async def test_secrets_and_hidden_characters_of_a_change_are_not_shown_as_they_are(tmp_path: Path) -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\n-----END RSA PRIVATE KEY-----\n"
    checkout = new_checkout(tmp_path / "r", {"a": "x\n"})
    head = checkout.commit({"a": f"t = '{PLANTED}'\n{key}if x:\u202e # \x1b[2J\nwin\r\n"})
    found = await diff_of(tmp_path, checkout, git_base(checkout), head)
    assert [text for kind, _, _, text in rows_of(found.files[0]) if kind == "a"] == [
        "t = '[secret]'",
        "[secret]",
        "[secret]",
        "[secret]",
        "if x:\\u202e # ",
        "win␍",
    ]


async def test_a_large_change_is_bounded_and_says_what_is_left_out(tmp_path: Path) -> None:
    files: dict[str, str | bytes | None] = {f"f{number:04}.txt": "line\n" * 30 for number in range(MOST_FILES + 40)}
    files["z.txt"] = "look\n"
    files["long.txt"] = "x" * 1_500_000 + "\n"
    files["huge.txt"] = "y\n" * 1_500_000
    checkout = new_checkout(tmp_path / "r", {"a": "x\n"})
    head = checkout.commit(files)
    found = await diff_of(tmp_path, checkout, git_base(checkout), head, (a_note("z.txt", 1),))
    assert len(found.files) == MOST_FILES
    rows = [row for file in found.files for hunk in file.hunks for row in hunk.rows]
    assert len(rows) == MOST_ROWS
    assert found.files[-1].path == "z.txt"
    assert found.files[-1].hunks[0].rows[0].findings
    assert "43 files of 243" in found.left_out
    assert "lines of the patch" in found.left_out
    assert len(found.model_dump_json()) < 3_000_000

    only_long = new_checkout(tmp_path / "long", {"a": "x\n"})
    head = only_long.commit({name: files[name] for name in ("long.txt", "huge.txt")})
    huge, long = (await diff_of(tmp_path, only_long, git_base(only_long), head)).files
    assert huge.notes == ("It is too large to be shown here: 3,000,000 bytes.",)
    assert not huge.hunks
    assert (len(long.hunks[0].rows[0].text), long.hunks[0].rows[0].cut) == (2_000, 1_498_000)


async def test_a_change_that_can_not_be_read_here_is_said(world: World) -> None:
    key = await world.waiting()
    found = await world.gateway.diff(key)
    assert found.head_sha == await world.head(key)
    assert found.trouble.startswith("The change can't be read here: ")


# --- what is kept fresh ---------------------------------------------------------------------------


async def test_an_answer_is_asked_for_once_and_a_failed_one_again() -> None:
    calls = 0

    async def ask() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01)
        if calls == 1:
            raise ServiceUnavailable("Not now.")
        return calls

    fresh: Fresh[int] = Fresh(0.2)
    results = await asyncio.gather(*(fresh.get("q", ask) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(one, ServiceUnavailable) for one in results)
    assert calls == 1
    leaving = asyncio.create_task(fresh.get("q", ask))
    await asyncio.sleep(0)
    staying = asyncio.create_task(fresh.get("q", ask))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 2
    assert await fresh.get("q", ask) == 2
    await asyncio.sleep(0.25)
    assert await fresh.get("q", ask) == 3


def test_output_is_cut_in_the_middle_and_half_a_secret_is_never_left() -> None:
    text = "a" * 5_000 + PLANTED + "b" * 5_000
    for size in range(100, 3_000, 7):
        shown, cut = Shown(Redactor()).part(text, size)
        assert cut == len(text) - size
        assert "ghp_x1Y2" not in shown
    assert Shown(Redactor()).part("short", 100) == ("short", 0)


# --- an agent that really works ---------------------------------------------------------------------


class WithAgent(Stage):
    """The stage with the product's own agent, a scripted model behind it, a brief, and a log of the unit tests."""

    services: Services
    log: ArtifactRef

    def graphs(self) -> dict[str, Any]:
        return {**super().graphs(), do.AGENT_GRAPH: build_agent_graph(self.services)}

    def activities(self) -> list[Any]:
        @activity.defn(name=do.WRITE_BRIEF.name)
        async def write_brief(request: do.BriefRequest) -> ArtifactRef:
            return await self.services.artifacts.put(f"# Mend it\n\nRound: 0\n{PLANTED}\n", name="brief.md")

        @activity.defn(name=do.RUN_TESTS.name)
        async def run_tests(request: do.RunTests) -> TestReport:
            head = request.change.head_sha
            return TestReport(kind=request.kind, head_sha=head, outcome=TestOutcome.PASSED, log=self.log)

        def named(one: Any) -> str:
            return str(getattr(one, "__temporal_activity_definition").name)

        own = {named(one): one for one in (write_brief, run_tests)}
        return [own.get(named(one), one) for one in super().activities()]


async def test_conversation_change_and_documents_of_a_run_are_shown(
    temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkout = new_checkout(tmp_path / "work", {"calc.py": "def double(x):\n    return x + x + 1\n"})
    bare = new_bare(checkout, tmp_path / "calc.git")
    sandbox = open_sandbox(temporal_settings.sandbox)
    try:
        await sandbox.check()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    turns = (
        say("I look first.", shell(f"echo {PLANTED}; seq 100000")),
        say("", edit("calc.py", "return x + x + 1", "return 2 * x")),
        say("", submit("Double doubles.", "Look", "Mend")),
    )
    async with ScriptedModel(Conversation().round(0, *turns)) as model:
        llm = ModelSettings(base_url=model.base_url, name="scripted", timeout_seconds=20)
        storage = temporal_settings.storage.model_copy(update={"payload_threshold_bytes": 4_096})
        settings = temporal_settings.model_copy(update={"llm": llm, "storage": storage})
        stage = WithAgent()
        store = ArtifactStore(settings.artifacts_dir)
        stage.log = await store.put("3 passed \x1b[32mgreen\x1b[0m\n", name="unit.log")
        stage.services = Services(
            settings=settings,
            tracker=cast(Any, None),
            forge=cast(Any, None),
            notifier=cast(Any, None),
            workspaces=Workspaces(settings.cache_dir),
            sandbox=sandbox,
            environments=cast(Any, NoEnvironments()),
            artifacts=store,
            models=Models(llm),
        )
        async with web_world(settings, monkeypatch, repository=checkout.as_repository(str(bare)), stage=stage) as world:
            key = await world.waiting()
            talk = await world.gateway.conversation(key)
            change = await world.gateway.diff(key)
            documents = await world.gateway.logs(key)
            log = await world.gateway.log(key, stage.log.sha256)
            other = await store.put("of another run", name="unit.log")
            payloads = {file.name for file in store.folder.glob("??/*")} - {one.sha256 for one in documents.items}
            assert len(payloads) > 1  # large ones of the history lie in the same folder
            for name in payloads:
                with pytest.raises(RunNotFound, match="no such document"):
                    await world.gateway.log(key, name)
            assert other.sha256 in payloads

    assert talk.notes == ()
    assert [one.name for one in talk.engagements] == ["implement-1"]
    loop = talk.engagements[0]
    assert loop.ended
    assert [turn.role for turn in loop.turns] == ["system", "system", "model", "model", "model"]
    assert loop.turns[1].text.startswith("# Mend it")
    looked = loop.turns[2]
    assert (looked.text, looked.tools[0].name) == ("I look first.", "shell")
    assert "left out" in looked.tools[0].output
    assert looked.tools[0].cut > 0
    assert [tool.name for turn in loop.turns[3:] for tool in turn.tools] == ["edit", "submit"]
    assert PLANTED not in talk.model_dump_json()
    assert "[secret]" in loop.turns[1].text

    assert change.trouble == ""
    assert rows_of(change.files[0])[1:] == [("d", 2, None, "    return x + x + 1"), ("a", None, 2, "    return 2 * x")]

    assert [(one.name, one.by) for one in documents.items] == [("brief.md", "write_brief"), ("unit.log", "run_tests")]
    assert documents.notes == ()
    assert (log.text, log.cut, log.size) == ("3 passed green\n", 0, stage.log.size)
