"""Streams of events over HTTP: a run that moves is seen moving, and nobody who leaves leaves anything behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from sdlc.config import Settings
from sdlc.domain import DecisionKind, RunState
from sdlc.errors import RunNotFound, ServiceUnavailable
from sdlc.progress import RunProgress
from sdlc.web import views
from sdlc.web.api import ROOT, create_api, mount, who
from sdlc.web.events import Streams
from sdlc.web.gateway import Gateway
from sdlc.web.server import listening
from tests.processes import until
from tests.stage import Script
from tests.web_stage import GRACE, by_header, web_world

OPERATOR = {"Authorization": "Bearer grace"}


@dataclass
class Seen:
    name: str
    data: Any
    id: str


async def events_of(answer: httpx.Response, comments: list[str] | None = None) -> AsyncIterator[Seen]:
    """Events as a browser takes them."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line.startswith(":"):
            if comments is not None:
                comments.append(line[1:].strip())
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "data" in fields:
                yield Seen(fields.get("event", ""), json.loads(fields["data"]), fields.get("id", ""))
            fields = {name: value for name, value in fields.items() if name == "retry"}


class Told:
    """A gateway of which a test says what it answers."""

    def __init__(self) -> None:
        self.state = RunState.RUNNING
        self.title = "first"
        self.error: Exception | None = None
        self.asked = 0

    async def progress(self, key: str) -> RunProgress:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return RunProgress(workflow_id="w", ticket_key=key, ticket_title=self.title, state=self.state)

    def person(self, identity: Any) -> Any:
        return identity.person(())

    async def inbox_count(self, names: Any) -> views.InboxCount:
        return views.InboxCount(mine=1, waiting=2)


@asynccontextmanager
async def served(gateway: Any, **bounds: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Streams]]:
    streams = Streams(gateway, **{"every": 0.02, **bounds})
    api = create_api(gateway, streams)
    api.dependency_overrides[who] = by_header
    app = FastAPI(openapi_url=None)
    mount(app, api)
    async with (
        asyncio.timeout(60),
        listening(app, "127.0.0.1", 0) as root,
        httpx.AsyncClient(base_url=root + ROOT, headers=OPERATOR, timeout=20) as http,
    ):
        try:
            yield http, streams
        finally:
            streams.close()


async def test_a_run_is_seen_moving_to_its_end(temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = asyncio.Event()

    def before(name: str, _: int) -> Any:
        return go_on.wait() if name == "agent" else None

    async with web_world(temporal_settings, monkeypatch, Script(before=before)) as world:
        key = await world.start()
        await world.until(key, lambda progress: progress.step == "implement")
        async with served(world.gateway) as (http, streams), http.stream("GET", f"/runs/{key}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            steps: list[str] = []
            names: list[str] = []
            async for event in events_of(answer):
                names.append(event.name)
                if event.name != "progress":
                    continue
                progress = RunProgress.model_validate(event.data)
                steps.append(progress.step)
                go_on.set()
                if progress.state is RunState.AWAITING_APPROVAL:
                    head = await world.head(key)
                    decision = views.Decide(kind=DecisionKind.REJECT, head_sha=head)
                    await world.gateway.decide(key, GRACE, decision)
                last = event
            assert steps[0] == "implement"
            assert "await_approval" in steps
            assert (names[-1], last.data["state"]) == ("over", "rejected")
            await until(lambda: streams.open == 0)
            # A browser that comes back to an end that it has seen is told to stay away.
            again = await http.get(f"/runs/{key}/events", headers={"Last-Event-ID": last.id})
            assert again.status_code == 204
            unseen = await http.get(f"/runs/{key}/events", headers={"Last-Event-ID": "another"})
            assert "event: over" in unseen.text


async def test_it_begins_with_how_to_come_back_and_says_only_what_is_new() -> None:
    told = Told()
    async with served(told) as (http, _), http.stream("GET", "/runs/K-1/events") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        events = events_of(answer_of(lines))
        first = await anext(events)
        assert first.data["ticket_title"] == "first"
        await asyncio.sleep(0.2)
        told.title = "second"
        second = await anext(events)
        assert second.data["ticket_title"] == "second"
        assert second.id != first.id
    back = {"Last-Event-ID": second.id}
    async with served(told) as (http, _), http.stream("GET", "/runs/K-1/events", headers=back) as answer:
        events = events_of(answer)
        later = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.2)
        assert not later.done()  # another process, and nothing has changed since
        told.title = "third"
        assert (await later).data["ticket_title"] == "third"


def answer_of(lines: AsyncIterator[str]) -> Any:
    class Rest:
        def aiter_lines(self) -> AsyncIterator[str]:
            return lines

    return Rest()


async def test_all_who_listen_share_one_look_and_who_leaves_leaves_nothing_behind() -> None:
    told = Told()
    async with served(told, every=0.1) as (http, streams):
        async with http.stream("GET", "/runs/K-1/events") as one, http.stream("GET", "/runs/K-1/events") as two:
            kept = [events_of(answer) for answer in (one, two)]  # one that is let go of ends its stream
            for events in kept:
                assert (await anext(events)).data["ticket_title"] == "first"
            assert streams.open == 2
            before = told.asked
            await asyncio.sleep(1.0)
            assert 3 <= told.asked - before <= 11
            assert (streams.open, len(kept)) == (2, 2)
        await until(lambda: streams.open == 0)
        await asyncio.sleep(0.2)
        settled = told.asked
        await asyncio.sleep(0.5)
        assert told.asked == settled


async def test_a_quiet_stream_gives_signs_of_life_and_ends_in_time() -> None:
    comments: list[str] = []
    async with served(Told(), heartbeat=0.1, longest=1.0) as (http, streams):
        async with http.stream("GET", "/runs/K-1/events") as answer:
            events = [event.name async for event in events_of(answer, comments)]
        assert events == ["progress"]
        assert len(comments) >= 3
        await until(lambda: streams.open == 0)


async def test_more_streams_than_there_may_be_are_refused_and_when_one_ends_there_is_room() -> None:
    async with served(Told(), most=3, most_each=2) as (http, streams):
        async with http.stream("GET", "/runs/K-1/events") as one, http.stream("GET", "/events") as two:
            kept = [events_of(answer) for answer in (one, two)]  # one that is let go of ends its stream
            for events in kept:
                await anext(events)
            refused = await http.get("/runs/K-2/events")
            assert refused.status_code == 503
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.headers["retry-after"]
            other = {"Authorization": "Bearer amy"}
            async with http.stream("GET", "/runs/K-2/events", headers=other) as three:
                assert three.status_code == 200
                third = {"Authorization": "Bearer vera"}
                assert (await http.get("/runs/K-2/events", headers=third)).status_code == 503
        await until(lambda: streams.open == 0)
        async with http.stream("GET", "/runs/K-2/events") as answer:
            assert answer.status_code == 200


async def test_trouble_in_the_middle_is_told_and_passes() -> None:
    told = Told()
    async with served(told) as (http, streams), http.stream("GET", "/runs/K-1/events") as answer:
        events = events_of(answer)
        assert (await anext(events)).name == "progress"
        told.error = ServiceUnavailable("Temporal does not answer.")
        trouble = await anext(events)
        assert (trouble.name, trouble.data) == ("trouble", {"message": "Temporal does not answer."})
        told.error = None
        assert (await anext(events)).name == "progress"
        told.error = RuntimeError("a fault of ours")
        assert [event async for event in events] == []
        await until(lambda: streams.open == 0)


async def test_what_can_not_begin_is_refused_with_problem_details_and_holds_no_place() -> None:
    told = Told()
    async with served(told) as (http, streams):
        for error, status in ((RunNotFound("No such run."), 404), (ServiceUnavailable("Not now."), 503)):
            told.error = error
            refused = await http.get("/runs/K-1/events")
            assert (refused.status_code, refused.json()["detail"]) == (status, str(error))
        assert (await http.get("/runs/K-1/events", headers={"Authorization": ""})).status_code == 401
        assert streams.open == 0


async def test_a_server_that_stops_ends_its_streams_at_once() -> None:
    loop = asyncio.get_running_loop()
    async with served(Told()) as (http, streams), http.stream("GET", "/runs/K-1/events") as answer:
        events = events_of(answer)
        await anext(events)
        began = loop.time()
        streams.close()
        assert [event async for event in events] == []
        assert loop.time() - began < 2
        assert (await http.get("/runs/K-1/events")).status_code == 503


async def test_the_inbox_says_how_many_wait_as_that_changes(
    temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        web_world(temporal_settings, monkeypatch) as world,
        served(world.gateway) as (http, _),
        http.stream("GET", "/events") as answer,
    ):
        events = events_of(answer)
        first = (await anext(events)).data
        key = await world.waiting(approvers=("grace",))
        second = (await anext(events)).data
        assert (second["mine"], second["waiting"]) == (first["mine"] + 1, first["waiting"] + 1)
        decision = views.Decide(kind=DecisionKind.REJECT, head_sha=await world.head(key))
        await world.gateway.decide(key, GRACE, decision)
        assert (await anext(events)).data == first


def test_the_gateway_has_what_the_told_one_has() -> None:
    assert all(hasattr(Gateway, name) for name in ("progress", "person", "inbox_count"))
