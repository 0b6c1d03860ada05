"""The API over HTTP, on real runs: what it answers, what it refuses, and that nothing breaks it."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.failures import FailureGroup

from sdlc.config import Settings
from sdlc.domain import RunState
from sdlc.runtime.client import connect
from sdlc.web.api import ROOT, create_api, description, mount, who
from sdlc.web.api_problems import MEANINGS
from sdlc.web.events import Streams
from sdlc.web.gateway import Gateway
from sdlc.web.server import listening
from tests.repositories import new_checkout
from tests.stage import Script
from tests.web_stage import World, by_header, web_world

OPERATOR = {"Authorization": "Bearer grace"}
VIEWER = {"Authorization": "Bearer vera"}
APPROVER = {"Authorization": "Bearer amy"}


def app_of(gateway: Gateway) -> tuple[FastAPI, Streams]:
    """The API where it is mounted, with people by header."""
    streams = Streams(gateway)
    api = create_api(gateway, streams)
    api.dependency_overrides[who] = by_header
    app = FastAPI(openapi_url=None)
    mount(app, api)
    return app, streams


@asynccontextmanager
async def served(world: World) -> AsyncIterator[httpx.AsyncClient]:
    app, streams = app_of(world.gateway)
    async with listening(app, "127.0.0.1", 0) as root:
        async with httpx.AsyncClient(base_url=root + ROOT, headers=OPERATOR, timeout=60) as http:
            yield http
        streams.close()


@pytest.fixture
async def world(temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with web_world(temporal_settings, monkeypatch) as ready:
        yield ready


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with served(world) as client:
        yield client


def problem(answer: httpx.Response, status: int) -> str:
    """The sentence of a refusal, which has to be problem details."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    assert said["title"]
    return str(said.get("detail", ""))


# --- looking --------------------------------------------------------------------------------------


async def test_everything_about_a_run_is_there(world: World, http: httpx.AsyncClient) -> None:
    key = await world.waiting()
    run = (await http.get(f"/runs/{key}")).json()
    assert (run["key"], run["progress"]["state"], run["line"]["for_me"]) == (key, "awaiting_approval", True)
    assert [test["kind"] for test in (await http.get(f"/runs/{key}/tests")).json()] == [
        "unit",
        "integration",
        "static",
        "acceptance",
    ]
    assert len((await http.get(f"/runs/{key}/findings")).json()) == 4
    assert (await http.get(f"/runs/{key}/audit")).json() == {"entries": [], "trouble": ""}
    assert (await http.get(f"/runs/{key}/diff")).json()["head_sha"] == run["line"]["head_sha"]
    assert (await http.get(f"/runs/{key}/conversation")).json()["engagements"][0]["name"] == "implement-1"
    assert (await http.get(f"/runs/{key}/costs")).json()["total"]["model_calls"] == 1
    documents = (await http.get(f"/runs/{key}/logs")).json()["items"]
    assert [one["by"] for one in documents] == ["write_brief"]
    assert key in [line["key"] for line in (await http.get("/inbox?everything=true&limit=200")).json()["items"]]
    listed = (await http.get("/runs", params={"repository": world.repository, "state": "awaiting_approval"})).json()
    assert [line["key"] for line in listed["items"]] == [key]
    stats = (await http.get("/stats", params={"repository": world.repository, "days": 1})).json()
    assert stats["states"] == {"awaiting_approval": 1}


async def test_a_document_of_another_run_is_not_given(world: World, http: httpx.AsyncClient) -> None:
    store = world.settings.artifacts_dir
    key = await world.waiting()
    planted = await world.gateway._artifacts.put("of another run", name="x")
    assert store.joinpath(planted.sha256[:2], planted.sha256).is_file()
    assert "no such document" in problem(await http.get(f"/runs/{key}/logs/{planted.sha256}"), 404)
    assert problem(await http.get(f"/runs/{key}/logs/..%2F..%2Fetc%2Fpasswd"), 404)
    assert problem(await http.get(f"/runs/{key}/logs/{'G' * 64}"), 422)


async def test_a_document_that_is_gone_is_a_sentence(world: World, http: httpx.AsyncClient) -> None:
    key = await world.waiting()
    said = problem(await http.get(f"/runs/{key}/logs/{'0' * 64}"), 404)  # the stage's brief has never been written
    assert "can't be read" in said


# --- deciding -------------------------------------------------------------------------------------


async def test_changes_are_asked_for_and_then_it_is_approved(world: World, http: httpx.AsyncClient) -> None:
    key = await world.waiting()
    head = await world.head(key)
    asked = {"kind": "request_changes", "head_sha": head, "comment": "Round half up.", "once": "a"}
    assert "counted" in (await http.post(f"/runs/{key}/decisions", json=asked)).json()["message"]
    await world.until(key, lambda progress: progress.revisions == 1 and progress.state is RunState.AWAITING_APPROVAL)
    approve = {"kind": "approve", "head_sha": head}
    assert "look at it again" in problem(await http.post(f"/runs/{key}/decisions", json=approve), 409)
    approve["head_sha"] = await world.head(key)
    assert (await http.post(f"/runs/{key}/decisions", json=approve)).status_code == 200
    await world.until_state(key, RunState.CLOSED)
    assert "over" in problem(await http.post(f"/runs/{key}/decisions", json=approve), 409)
    entries = (await http.get(f"/runs/{key}/audit")).json()["entries"]
    assert [(one["event"], one["by"], one["source"], one["accepted"]) for one in entries[:3]] == [
        ("request_changes", "grace", "web", True),
        ("approve", "grace", "web", False),
        ("approve", "grace", "web", True),
    ]


async def test_nobody_decides_in_the_name_of_somebody_else(world: World, http: httpx.AsyncClient) -> None:
    key = await world.waiting()
    head = await world.head(key)
    for more in ({"by": "linus"}, {"aliases": ["linus"]}, {"source": "cli"}, {"decision_id": "x"}):
        said = problem(
            await http.post(f"/runs/{key}/decisions", json={"kind": "approve", "head_sha": head, **more}), 422
        )
        assert next(iter(more)) in said
    assert "by" in problem(await http.post(f"/runs/{key}/steering", json={"action": "pause", "by": "linus"}), 422)
    assert (await http.get(f"/runs/{key}/audit")).json()["entries"] == []


async def test_each_role_may_what_it_may(world: World, http: httpx.AsyncClient) -> None:
    key = await world.waiting()
    approve = {"kind": "approve", "head_sha": await world.head(key)}
    posts: tuple[tuple[str, dict[str, Any]], ...] = (
        ("decisions", approve),
        ("attention", {"kind": "waive"}),
        ("attention", {"kind": "abort"}),
        ("steering", {"action": "pause"}),
    )
    for path, body in posts:
        assert "vera is viewer" in problem(await http.post(f"/runs/{key}/{path}", json=body, headers=VIEWER), 403)
        nobody = await http.post(f"/runs/{key}/{path}", json=body, headers={"Authorization": ""})
        assert problem(nobody, 401)
        assert nobody.headers["WWW-Authenticate"] == "Bearer"
    for path, body in posts[2:]:
        assert "operator" in problem(await http.post(f"/runs/{key}/{path}", json=body, headers=APPROVER), 403)
    assert "reason" in problem(await http.post(f"/runs/{key}/attention", json={"kind": "waive"}, headers=APPROVER), 409)
    for path in ("", "/diff", "/findings", "/tests", "/audit", "/conversation", "/logs", "/costs"):
        assert (await http.get(f"/runs/{key}{path}", headers=VIEWER)).status_code == 200
        assert problem(await http.get(f"/runs/{key}{path}", headers={"Authorization": "Bearer x"}), 401)
    assert (await http.post(f"/runs/{key}/decisions", json=approve, headers=APPROVER)).status_code == 200


async def test_a_run_is_steered(world: World, http: httpx.AsyncClient) -> None:
    key = await world.waiting()
    for body in (
        {"action": "pause", "reason": "<b>Lunch</b>"},
        {"action": "resume"},
        {"action": "instruct", "text": "Mind the cents."},
        {"action": "escalate", "model": "big"},
        {"action": "reassign", "to": ["grace", "linus"]},
    ):
        assert (await http.post(f"/runs/{key}/steering", json=body)).json()["message"]
    events = [one["event"] for one in (await http.get(f"/runs/{key}/audit")).json()["entries"]]
    assert events == ["pause", "resume", "inject_instruction", "escalate_model", "reassign"]
    assert (await http.post(f"/runs/{key}/attention", json={"kind": "abort", "reason": "No."})).status_code == 200
    await world.until_state(key, RunState.ABORTED)
    assert problem(await http.post(f"/runs/{key}/steering", json={"action": "cancel"}), 409)


# --- bad input ------------------------------------------------------------------------------------


async def test_what_is_too_large_is_refused(world: World, http: httpx.AsyncClient) -> None:
    key = await world.waiting()
    head = await world.head(key)
    for path, body in (
        ("decisions", {"kind": "request_changes", "head_sha": head, "comment": "x" * 1_000_000}),
        ("attention", {"kind": "abort", "reason": "x" * 1_000_000}),
        ("attention", {"kind": "waive", "reason": "x", "fingerprints": ["f"] * 10_000}),
        ("steering", {"action": "instruct", "text": "x" * 1_000_000}),
        ("steering", {"action": "reassign", "to": ["x" * 1_000]}),
    ):
        answer = await http.post(f"/runs/{key}/{path}", json=body)
        assert problem(answer, 422)
        assert len(answer.content) < 2_000
    assert problem(await http.get("/runs", params={"text": "x" * 10_000}), 422)
    assert problem(await http.get(f"/runs/{'k' * 300}"), 422)
    assert (await http.get(f"/runs/{key}/audit")).json()["entries"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'{"kind": "approve", "head_sha": ' + b"1" * 5_000 + b"}", 400),
        (b'{"kind": "\\ud800"}', 422),
        (b'{"\\ud800\\u001b[2J": 1, "kind": "approve"}', 422),
        (b"\xff\xfe", 400),
        (b'{"kind": "approve", "head_sha": "abc"}', 422),
        (b"null", 422),
    ],
)
async def test_nonsense_is_refused_with_problem_details(http: httpx.AsyncClient, body: bytes, status: int) -> None:
    answer = await http.post("/runs/KEY-1/decisions", content=body, headers={"Content-Type": "application/json"})
    problem(answer, status)
    assert b"\x1b" not in answer.content


async def test_what_there_is_not_is_told(http: httpx.AsyncClient) -> None:
    no_run = f"NO-{uuid.uuid4().hex[:6]}"
    for path in ("", "/diff", "/findings", "/tests", "/audit", "/conversation", "/logs", "/costs", "/events"):
        assert f"no run for {no_run}" in problem(await http.get(f"/runs/{no_run}{path}"), 404)
    decision = {"kind": "approve", "head_sha": "0" * 40}
    assert problem(await http.post(f"/runs/{no_run}/decisions", json=decision), 404)
    assert problem(await http.post(f"/runs/{no_run}/steering", json={"action": "cancel"}), 404)
    assert problem(await http.get("/nothing"), 404)
    assert problem(await http.get("/no%0Athing"), 404)
    assert problem(await http.get("/runs/a%0Ab/diff"), 422)
    assert problem(await http.get("/runs", params={"repository": "a\0b"}), 400)  # SQLite ends a text there
    assert problem(await http.get("/runs?cursor=x"), 400)
    wrong = await http.delete("/inbox")
    assert problem(wrong, 405)
    assert wrong.headers["Allow"] == "GET"


async def test_while_temporal_is_not_there_it_says_when_to_try_again(temporal_settings: Settings) -> None:
    nowhere = temporal_settings.temporal.model_copy(update={"address": "127.0.0.1:1"})
    settings = temporal_settings.model_copy(update={"temporal": nowhere})
    app, _ = app_of(Gateway(lambda: connect(settings), settings))
    async with listening(app, "127.0.0.1", 0) as root, httpx.AsyncClient(headers=OPERATOR) as client:
        answer = await client.get(f"{root}{ROOT}/inbox")
        assert "No Temporal server answers" in problem(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1
        assert problem(await client.get(f"{root}{ROOT}/events"), 503)


# --- the description --------------------------------------------------------------------------------


async def test_the_description_is_for_those_who_are_signed_in_and_documents_every_answer(
    http: httpx.AsyncClient,
) -> None:
    assert problem(await http.get("/openapi.json", headers={"Authorization": ""}), 401)
    said = (await http.get("/openapi.json", headers=VIEWER)).json()
    assert said["openapi"].startswith("3.1")
    operations = [operation for path in said["paths"].values() for operation in path.values()]
    assert len(operations) == 17
    for operation in operations:
        for status in MEANINGS:
            assert "application/problem+json" in operation["responses"][str(status)]["content"]
    Draft202012Validator.check_schema(said["components"]["schemas"]["RunView"])
    assert "by" not in said["components"]["schemas"]["Decide"]["properties"]


# --- wildly -----------------------------------------------------------------------------------------


FUZZ_SECONDS = 35
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


def _calls(schema: Any, method: str) -> list[Any]:
    found = [result.ok() for result in schema.get_all_operations()]
    return [one for one in found if one.method == method and not one.path.endswith("events")]


@pytest.mark.timeout(240)
async def test_nothing_that_is_sent_breaks_it_and_every_answer_is_documented(
    temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Schemathesis over every operation but the streams: no 5xx, no answer that is not in the description.

    Keys are those of real runs half of the time, and so are heads: otherwise all would end at 404.
    """
    checkout = new_checkout(tmp_path / "r", {"a.py": "one\n"})
    base = checkout.head
    head = checkout.commit({"a.py": "two\n"})
    script = Script(
        engine=lambda _, request: {"change": request.change.model_copy(update={"head_sha": head, "files_changed": 1})}
    )
    repository = checkout.as_repository().model_copy(update={"base_sha": base})
    async with web_world(temporal_settings, monkeypatch, script, repository=repository) as world:
        keys = [await world.waiting(approvers=approvers) for approvers in ((), ("grace",), ("linus",))]
        app, _ = app_of(world.gateway)
        async with listening(app, "127.0.0.1", 0) as root:
            schema = schemathesis.openapi.from_dict(description(_api(app)))
            schema.config.update(base_url=root + ROOT)
            answered = await asyncio.to_thread(_fuzz, schema, keys, head)
        assert {200, 404, 409, 422} <= answered
        assert max(answered) < 500


def _api(app: FastAPI) -> FastAPI:
    mounted: Any = next(route for route in app.routes if getattr(route, "path", "") == ROOT)
    found: FastAPI = mounted.app
    return found


def _fuzz(schema: Any, keys: list[str], head: str) -> set[int]:
    answered: set[int] = set()
    failures: list[str] = []
    operations = [*_calls(schema, "get"), *_calls(schema, "post")]
    assert len(operations) == 15
    for operation in operations:
        for mode in GenerationMode:
            wild = operation.as_strategy(generation_mode=mode)
            try:
                _ask(wild, keys, head, time.monotonic() + FUZZ_SECONDS / len(operations) / 2, answered)
            except (FailureGroup, AssertionError) as error:
                failures.append(f"{operation.label}: {error}")
    assert not failures, "\n\n".join(failures)
    return answered


def _ask(wild: Any, keys: list[str], head: str, ends: float, answered: set[int]) -> None:
    """Ask for this and that until the time is over; `answered` is added to."""
    chosen = random.Random(7)

    @hypothesis.settings(
        max_examples=30, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.seed(7)
    @hypothesis.given(case=wild)
    def ask(case: Any) -> None:
        if time.monotonic() > ends:
            return
        if "key" in (case.path_parameters or {}) and chosen.random() < 0.6:
            case.path_parameters["key"] = chosen.choice(keys)
        if isinstance(case.body, dict) and isinstance(case.body.get("head_sha"), str) and chosen.random() < 0.6:
            case.body["head_sha"] = head
        response = case.call(headers=OPERATOR, timeout=30)
        answered.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()
