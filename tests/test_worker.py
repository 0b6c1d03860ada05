from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import os
import signal
import time
import uuid
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr, ValidationError
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Replayer, Worker

from sdlc.config import ModelSettings, Settings
from sdlc.domain import Finding, Panel, Severity
from sdlc.errors import FinalError, ServiceUnavailable, TicketInvalid, WorkspaceBroken
from sdlc.integrations.llm import Models
from sdlc.integrations.services import Services
from sdlc.runtime import embedded as embedding
from sdlc.runtime.activity_failures import LONGEST_DELAY, ActivityInterceptor, as_failure
from sdlc.runtime.client import connect
from sdlc.runtime.dev_server import running_server
from sdlc.runtime.embedded import Embedded, embedded, running
from sdlc.runtime.graphs import Graphs
from sdlc.runtime.redaction import Redactor
from sdlc.runtime.telemetry import configure_logging
from sdlc.runtime.worker import HEARTBEAT_AT_LEAST_EVERY, build_worker, workflow_runner
from tests.runtime_workflows import ACTIVITIES, CALLS, PLANTED, WORKFLOWS, CallsOne, RunsGraph, SeesClasses, toy_graph


def toy_worker(client: Client, queue: str, **options: Any) -> Worker:
    """A worker as `build_worker` makes it, with small workflows and one small graph."""
    return Worker(
        client,
        task_queue=queue,
        workflows=WORKFLOWS,
        activities=ACTIVITIES,
        plugins=[Graphs({"toy": toy_graph("seen")})],
        interceptors=[ActivityInterceptor(Redactor([PLANTED]))],
        workflow_runner=workflow_runner(),
        max_heartbeat_throttle_interval=HEARTBEAT_AT_LEAST_EVERY,
        build_id="toy",
        **options,
    )


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[tuple[Client, str]]:
    client = await connect(settings)
    queue = settings.temporal.task_queue
    async with asyncio.timeout(90), running(toy_worker(client, queue)):
        yield client, queue


async def start(client: Client, queue: str, name: str) -> tuple[WorkflowHandle[Any, str], str]:
    argument = uuid.uuid4().hex
    handle = await client.start_workflow(CallsOne.run, args=[name, argument], id=argument, task_queue=queue)
    return handle, argument


async def failure_of(handle: WorkflowHandle[Any, str]) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ActivityError)
    assert isinstance(caught.value.cause.cause, ApplicationError)
    return caught.value.cause.cause


# --- errors -------------------------------------------------------------------------------


async def test_what_a_service_says_about_coming_back_becomes_the_delay(temporal_settings: Settings) -> None:
    async with at_work(temporal_settings) as (client, queue):
        started = time.monotonic()
        handle, argument = await start(client, queue, "busy_service")
        assert await handle.result() == "done"
        # 1.25 s is what the service said; the retry policy would have waited 20.
        assert 1.2 < time.monotonic() - started < 19
        assert CALLS[argument] == 2


async def test_a_final_error_is_not_tried_again_and_keeps_its_sentence_without_secrets(
    temporal_settings: Settings,
) -> None:
    async with at_work(temporal_settings) as (client, queue):
        handle, argument = await start(client, queue, "refuses")
        failure = await failure_of(handle)
        history = (await handle.fetch_history()).to_json()
    assert CALLS[argument] == 1
    assert failure.type == "ModelRefused"
    assert failure.non_retryable
    assert failure.message == "The key [secret] was refused; check OPENAI_API_KEY."
    assert failure.cause is None
    assert PLANTED not in history


async def test_an_unexpected_error_keeps_its_type_and_place_without_secrets(
    temporal_settings: Settings,
) -> None:
    async with at_work(temporal_settings) as (client, queue):
        handle, _ = await start(client, queue, "breaks")
        raw = ""
        while "breaks" not in raw:  # the second try is 20 s away; the first is enough
            pending = (await handle.describe()).raw_description.pending_activities
            raw = str(pending[0]) if pending and pending[0].HasField("last_failure") else ""
            await asyncio.sleep(0.05)
        await handle.terminate()
    assert "RuntimeError" in raw
    assert "runtime_workflows.py" in raw
    assert PLANTED not in raw
    assert PLANTED[::-1] not in raw
    assert not pending[0].last_failure.application_failure_info.non_retryable


@pytest.mark.parametrize(
    ("error", "final", "delay"),
    [
        (TicketInvalid("bad"), True, None),
        (FinalError("no"), True, None),
        (WorkspaceBroken("torn"), False, None),
        (ServiceUnavailable("later"), False, None),
        (ServiceUnavailable("later", retry_after=12.5), False, 12.5),
        (ServiceUnavailable("later", retry_after=0), False, None),
        (ServiceUnavailable("later", retry_after=-3), False, None),
        (ServiceUnavailable("much later", retry_after=9e9), False, LONGEST_DELAY),
        (OSError(28, "No space left on device"), False, None),
    ],
)
def test_the_class_of_an_error_decides_about_retrying(error: Exception, final: bool, delay: float | None) -> None:
    failure = as_failure(error, Redactor())
    assert (failure.type, failure.non_retryable) == (type(error).__name__, final)
    assert failure.next_retry_delay == (timedelta(seconds=delay) if delay else None)


def test_a_validation_error_is_told_without_the_input() -> None:
    with pytest.raises(ValidationError) as caught:
        Finding.model_validate({"message": ["def secret_source(): ..."], "file": "a.py"})
    failure = as_failure(caught.value, Redactor())
    assert "Finding is not valid" in failure.message
    assert "secret_source" not in failure.message


# --- workflows, graphs, cancelling ----------------------------------------------------------


async def test_a_graph_runs_with_the_plugin_on_the_worker_alone_and_replays(temporal_settings: Settings) -> None:
    async with at_work(temporal_settings) as (client, queue):
        handle = await client.start_workflow(RunsGraph.run, "bugs", id=queue, task_queue=queue)
        assert await handle.result() == "RunsGraph seen:bugs:toy.look"
        history = await handle.fetch_history()
    replayer = Replayer(
        workflows=WORKFLOWS,
        plugins=[Graphs({"toy": toy_graph("not called")})],
        workflow_runner=workflow_runner(),
        data_converter=client.data_converter,
    )
    await replayer.replay_workflow(history)


async def test_a_final_error_in_a_node_is_not_tried_again(temporal_settings: Settings) -> None:
    async with at_work(temporal_settings) as (client, queue):
        handle = await client.start_workflow(RunsGraph.run, "refused", id=queue, task_queue=queue)
        failure = await failure_of(handle)
    assert (failure.type, failure.message, failure.non_retryable) == ("ModelRefused", "No.", True)


async def test_classes_are_the_same_inside_and_outside_of_the_sandbox(temporal_settings: Settings) -> None:
    finding = Finding(panel=Panel.SECURITY, rule="x:y", severity=Severity.MAJOR, file="a.py", message="m")
    async with at_work(temporal_settings) as (client, queue):
        assert await client.execute_workflow(SeesClasses.run, finding, id=queue, task_queue=queue) == [True] * 4


async def test_a_cancelled_run_stops_its_activity_within_seconds(temporal_settings: Settings) -> None:
    async with at_work(temporal_settings) as (client, queue):
        handle, argument = await start(client, queue, "until_cancelled")
        while not CALLS[argument]:
            await asyncio.sleep(0.02)
        started = time.monotonic()
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        # Not the 48 s that the SDK would hold heartbeats back with a time-out of 60.
        assert time.monotonic() - started < 20
        assert CALLS[f"{argument} cancelled"] == 1


# --- the process ----------------------------------------------------------------------------


@pytest.fixture
def toy_embedded(monkeypatch: pytest.MonkeyPatch, temporal_binary: Path) -> None:
    """`embedded` with the toy worker in place of the whole system, and the real server."""

    async def toy(client: Client, services: Services) -> Worker:
        return toy_worker(client, services.settings.temporal.task_queue, graceful_shutdown_timeout=timedelta(seconds=1))

    class OnlySettings:
        def __init__(self, settings: Settings) -> None:
            self.settings = settings
            self.models = Models(settings.llm)

    monkeypatch.setenv("PATH", f"{temporal_binary.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(embedding, "_worker", toy)
    monkeypatch.setattr(embedding, "_services", OnlySettings)


async def graph_runs(place: Embedded, name: str) -> bool:
    queue = "vishkar-sdlc"
    result = await place.client.execute_workflow(RunsGraph.run, name, id=f"toy-{name}", task_queue=queue)
    return result == f"RunsGraph seen:{name}:toy.look"


@pytest.mark.usefixtures("toy_embedded")
async def test_embedded_starts_server_and_worker_survives_a_killed_server_and_leaves_nothing(
    settings: Settings,
) -> None:
    lines: list[str] = []
    async with asyncio.timeout(90):
        async with embedded(settings, say=lines.append) as place:
            assert place.server is not None
            assert place.ui_url.startswith("http://127.0.0.1:")
            assert await graph_runs(place, "before")
            async with embedded(settings, say=lines.append, worker=False) as second:
                assert (second.server, second.services) == (place.server, None)
            os.kill(place.server.pid, signal.SIGKILL)
            assert await graph_runs(place, "after")
            revived = running_server(settings)
            assert revived is not None
            assert (revived.address, revived.pid != place.server.pid) == (place.server.address, True)
        assert running_server(settings) is None
        with pytest.raises(ProcessLookupError):
            os.kill(revived.pid, 0)
    assert lines == ["The Temporal server had died and was started again; the run goes on."]


@pytest.mark.usefixtures("toy_embedded")
async def test_embedded_joins_a_configured_server_and_leaves_it_alone(temporal_settings: Settings) -> None:
    queue = temporal_settings.temporal.task_queue
    async with asyncio.timeout(90), embedded(temporal_settings, say=print) as place:
        assert (place.server, place.ui_url) == (None, "")
        assert await place.client.execute_workflow(RunsGraph.run, "a", id=queue, task_queue=queue)
    await connect(temporal_settings)


@pytest.mark.filterwarnings("error")
async def test_a_worker_that_ends_with_an_open_workflow_prints_nothing(temporal_settings: Settings) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()  # what other tests of this process have left behind says nothing about this one
    async with at_work(temporal_settings) as (client, queue):
        handle, argument = await start(client, queue, "until_cancelled")
        while not CALLS[argument]:
            await asyncio.sleep(0.02)
    gc.collect()
    await handle.terminate()


@pytest.mark.usefixtures("toy_embedded")
async def test_ctrl_c_gives_back_what_the_worker_has_in_hand_within_its_grace(temporal_settings: Settings) -> None:
    queue = temporal_settings.temporal.task_queue
    begun: list[str] = []

    async def foreground() -> None:
        async with embedded(temporal_settings, say=print) as place:
            _, argument = await start(place.client, queue, "until_cancelled")
            while not CALLS[argument]:
                await asyncio.sleep(0.02)
            begun.append(argument)
            await asyncio.sleep(60)

    task = asyncio.create_task(foreground())
    async with asyncio.timeout(90):
        while not begun:
            await asyncio.sleep(0.02)
        task.cancel()  # what asyncio.run does at the first Ctrl-C
        with pytest.raises(asyncio.CancelledError):
            await task
    assert CALLS[f"{begun[0]} cancelled"] == 1


async def test_a_worker_that_dies_ends_the_block_with_its_reason(temporal_settings: Settings) -> None:
    client = await connect(temporal_settings)
    worker = toy_worker(client, temporal_settings.temporal.task_queue)

    async def dies() -> None:
        await asyncio.sleep(0.1)
        raise RuntimeError("Activity worker failed") from ValueError("poll refused")

    worker.run = dies  # type: ignore[method-assign]
    async with asyncio.timeout(20):
        with pytest.raises(ServiceUnavailable, match="The worker stopped: poll refused"):
            async with running(worker):
                await asyncio.sleep(10)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_whole_system_builds_a_worker(temporal_settings: Settings) -> None:
    from sdlc.runtime.services import build_services

    client = await connect(temporal_settings)
    async with asyncio.timeout(90), running(build_worker(client, build_services(temporal_settings), identity="w1")):
        await asyncio.sleep(0.2)


# --- logs -----------------------------------------------------------------------------------


@pytest.fixture
def quiet_again() -> Any:
    yield
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if type(handler).__module__ == "sdlc.runtime.telemetry"]:
        root.removeHandler(handler)
        handler.close()
    structlog.reset_defaults()
    logging.captureWarnings(False)


@pytest.mark.usefixtures("quiet_again")
def test_logs_of_both_kinds_are_json_lines_in_the_file_without_secrets(settings: Settings, tmp_path: Path) -> None:
    with_key = settings.model_copy(update={"llm": ModelSettings(api_key=SecretStr(PLANTED))})
    file = tmp_path / "logs" / "worker.log"
    configure_logging(with_key, file=file)
    with structlog.contextvars.bound_contextvars(workflow_id="sdlc-PAR-1", attempt=2):
        structlog.get_logger("sdlc.steps").info("asked", headers={"Authorization": f"Bearer {PLANTED}"}, count=3)
        logging.getLogger("temporalio.core").warning("lost %s", "ghp_" + "a" * 36)
        try:
            raise ValueError(f"refused {PLANTED}")
        except ValueError:
            structlog.get_logger("sdlc.steps").exception("broke")
    text = file.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["event"] for line in lines] == ["asked", "lost [secret]", "broke"]
    assert all(line["workflow_id"] == "sdlc-PAR-1" and line["attempt"] == 2 for line in lines)
    assert (lines[0]["count"], lines[0]["level"], lines[1]["logger"]) == (3, "info", "temporalio.core")
    assert "ValueError: refused [secret]" in lines[2]["exception"]
    assert PLANTED not in text
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("quiet_again")
def test_configuring_logs_twice_writes_each_line_once(settings: Settings, tmp_path: Path) -> None:
    configure_logging(settings, file=tmp_path / "first.log")
    configure_logging(settings, file=tmp_path / "second.log")
    logging.getLogger("x").warning("once")
    assert (tmp_path / "first.log").read_text() == ""
    assert len((tmp_path / "second.log").read_text().splitlines()) == 1


@pytest.mark.usefixtures("quiet_again")
def test_without_a_file_logs_go_to_stderr(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    configure_logging(settings)
    structlog.get_logger().warning("hello", ticket="PAR-1")
    assert json.loads(stderr.getvalue())["ticket"] == "PAR-1"


@pytest.mark.parametrize(
    "text",
    [
        "key sk-proj-abcdefghijklmnop",
        "token ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "aws AKIAIOSFODNN7EXAMPLE",
        "Authorization: Bearer abc.def-ghi_jkl",
        "clone https://bob:s3cr3t-pa55@git.example/x.git",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_keys_are_known_by_their_shape(text: str) -> None:
    shown = Redactor()(text)
    assert "[secret]" in shown
    assert shown.split()[0] == text.split()[0] or text.startswith("-----")
    for part in ("abcdefghijklmnop", "IOSFODNN7", "def-ghi", "s3cr3t", "MIIE"):
        assert part not in shown


@pytest.mark.parametrize("before", ["", "Bearer: ", "--auth-", "token_", '"'])
def test_a_signed_token_is_known_wherever_it_stands(before: str) -> None:
    shown = Redactor()(f"x {before}eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVP end")
    assert "[secret]" in shown
    assert "eyJ" not in shown
    assert "dBjf" not in shown


@pytest.mark.parametrize(
    "prefix",
    [
        *("-----BEGIN ", "-----BEGIN RSA ", "-----BEGIN PRIVATE KEY-----", "-----END ", "PRIVATE KEY", "A "),
        *("sk-", "-sk-", "ghp_", "-ghp_", "github_pat_", "-github_pat_", "glpat-", "xoxb-", "AKIA", "-AKIA", "AIza"),
        *("-AIza", "ATATT", "-ATATT", "eyJ", "-eyJ", "_eyJ", "-eyJaaaaaaaaaa", "eyJaaaaaaaaaa.", "eyJaaaaaaaaaa.eyJ-"),
        *("Bearer ", "Basic ", "://", "://a:", "://:", "a:"),
    ],
)
def test_no_text_takes_longer_than_its_length_explains(prefix: str) -> None:
    assert min(seconds_for(prefix) for _ in range(3)) < 12 * max(0.005, seconds_for_plain_text())


def seconds_for(part: str) -> float:
    text = (part * (100_000 // len(part) + 1))[:100_000]
    began = time.process_time()
    Redactor()(text)
    return time.process_time() - began


@cache
def seconds_for_plain_text() -> float:
    return min(seconds_for("word and text ") for _ in range(3))


def test_secrets_are_taken_from_settings_and_environment_and_short_ones_are_left(settings: Settings) -> None:
    with_key = settings.model_copy(update={"llm": ModelSettings(api_key=SecretStr("x"))})
    redactor = Redactor.of(with_key, {"JIRA_API_TOKEN": "tracker/word", "PATH": "/usr/bin", "MY_TOKENIZER": "tiktoken"})
    assert redactor("x tracker/word tracker%2Fword /usr/bin tiktoken") == "x [secret] [secret] /usr/bin tiktoken"
