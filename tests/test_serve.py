"""`sdlc serve` as people run it: what it says, how it ends, and that it waits for Temporal."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sdlc.deliveries import POLL_SCHEDULE
from sdlc.runtime.client import connect
from sdlc.runtime.dev_server import ServerRecord
from tests.commands import PATIENCE, Process, running
from tests.conftest import run_now

SECRET = "-".join(("planted", "hook", "secret"))
CONFIG = f"""
tracker: {{kind: jira}}
forge: {{kind: github}}
jira: {{url: "http://127.0.0.1:1", webhook_secret: {SECRET}}}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SDLC_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SDLC_CACHE_DIR", str(tmp_path / "cache"))
    (folder / "sdlc.yaml").write_text(CONFIG)
    return folder


def root_of(serving: Process) -> str:
    serving.until_said("Listening on http://")
    found = re.search(r"Listening on (http://\S+)\. ", serving.done.err)
    assert found
    return found[1]


def post(root: str, key: str = "ACME-1", *, secret: str = SECRET, identifier: str = "") -> httpx.Response:
    body = json.dumps({"webhookEvent": "jira:issue_updated", "issue": {"key": key}}).encode()
    signed = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    named = {"X-Hub-Signature": signed, "X-Atlassian-Webhook-Identifier": identifier or str(uuid.uuid4())}
    return httpx.post(f"{root}/webhooks/jira", content=body, headers=named, timeout=PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_what_is_off_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path / "p", "serve", "--port", "0") as serving:
        root = root_of(serving)
        assert httpx.get(f"{root}/healthz", timeout=PATIENCE).json() == {"status": "alive"}
        serving.until_said("Temporal is not there yet")
        assert httpx.get(f"{root}/readyz", timeout=PATIENCE).status_code == 503
        answer = post(root)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert post(root, secret="another").status_code == 401
        serving.signal(number)
        done = serving.ended()
    assert done.code == 0, done
    assert done.out == ""
    assert "/webhooks/jira is on." in done.err
    assert "/webhooks/github is off: there is no secret; set github.webhook_secret (SDLC_GITHUB__WEBHOOK_" in done.err
    assert "--poll" in done.err
    assert "Traceback" not in done.err
    assert SECRET not in done.err
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{root}/healthz")


@contextlib.contextmanager
def led_on(port: int, host: str, to: int) -> Iterator[None]:
    """Who connects to `port` is led to the other one, for the length of the block."""

    def through(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                pair = (listener.accept()[0], socket.create_connection((host, to)))
                opened.extend(pair)
                for ends in (pair, pair[::-1]):
                    threading.Thread(target=through, args=ends, daemon=True).start()

    opened: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", port)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for end in opened:
                end.close()


def test_it_finds_temporal_when_that_comes_up_later(tmp_path: Path, dev_server: ServerRecord) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    host, _, there = dev_server.address.rpartition(":")
    with running(tmp_path / "p", "serve", "--port", "0", TEMPORAL_ADDRESS=f"127.0.0.1:{port}") as serving:
        root, identifier = root_of(serving), str(uuid.uuid4())
        assert post(root, identifier=identifier).status_code == 503
        with led_on(port, host, int(there)):
            end = time.monotonic() + PATIENCE
            while (answer := post(root, identifier=identifier)).status_code == 503:
                assert time.monotonic() < end
                time.sleep(0.2)
            assert answer.status_code == 202
            assert post(root, identifier=identifier).json() == {"status": "repeated"}
            assert httpx.get(f"{root}/readyz", timeout=PATIENCE).status_code == 200
            serving.signal(signal.SIGINT)
            assert serving.ended().code == 0


def test_the_schedule_of_polling_is_made_once_temporal_is_there(
    tmp_path: Path, dev_server: ServerRecord, here: Path
) -> None:
    pytest.importorskip("sdlc.runtime.polling")
    (here / "sdlc.yaml").write_text(CONFIG + "intake: {poll_seconds: 7}\n")
    for _ in range(2):  # the second finds it there
        with running(tmp_path / "p", "serve", "--port", "0", "--poll", TEMPORAL_ADDRESS=dev_server.address) as serving:
            serving.until_said("polling every 7 s")
            serving.signal(signal.SIGINT)
            assert serving.ended().code == 0
    assert run_now(_interval_of_polling(dev_server.address)) == 7


async def _interval_of_polling(address: str) -> float:
    from sdlc.config import Settings, TemporalSettings

    client = await connect(Settings(temporal=TemporalSettings(address=address)))
    handle = client.get_schedule_handle(POLL_SCHEDULE)
    try:
        (interval,) = (await handle.describe()).schedule.spec.intervals
        return interval.every.total_seconds()
    finally:
        await handle.delete()


def test_polling_waits_for_temporal_and_can_be_left_meanwhile(tmp_path: Path) -> None:
    with running(tmp_path / "p", "serve", "--port", "0", "--poll", TEMPORAL_ADDRESS="127.0.0.1:1") as serving:
        serving.until_said("Temporal is not there yet")
        assert "127.0.0.1:1" in serving.done.err
        assert "--poll looks" not in serving.done.err
        serving.signal(signal.SIGINT)
        assert serving.ended().code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "256.1.1.1"], ["Can't listen on 256.1.1.1:0", "no host name", "--host"]),
        (["--host", "192.0.2.1"], ["Can't listen on 192.0.2.1:0", "no address of this machine", "web.host"]),
        (["--port", "70000"], ["65535", "`sdlc serve --help`"]),
    ],
)
def test_where_it_cannot_listen_it_says_so_in_one_line(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    with running(tmp_path / "p", "serve", "--port", "0", *arguments) as serving:
        done = serving.ended()
    assert done.code == 2, done
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.last


def test_a_port_that_is_taken_is_told_with_the_mend(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(tmp_path / "p", "serve", "--port", str(port)) as serving:
            done = serving.ended()
    assert done.code == 2, done
    assert f"Can't listen on 127.0.0.1:{port}: it is taken; choose others by --host and --port" in done.last


def test_the_configuration_says_where_too_and_the_command_line_wins(tmp_path: Path, here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (here / "sdlc.yaml").write_text(CONFIG + f"web: {{port: {port}}}\n")
        with running(tmp_path / "p", "serve") as serving:
            assert f"127.0.0.1:{port}: it is taken" in serving.ended().last
        with running(tmp_path / "p", "serve", "--port", "0") as serving:
            assert not root_of(serving).endswith(f":{port}")
            serving.signal(signal.SIGINT)
            assert serving.ended().code == 0
