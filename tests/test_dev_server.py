from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.worker import Worker

from sdlc.config import Settings, TemporalSettings
from sdlc.domain import Ticket
from sdlc.errors import ConfigurationError, ServiceUnavailable
from sdlc.runtime import server_binary
from sdlc.runtime.client import connect
from sdlc.runtime.dev_server import DevServer, ServerRecord, running_server, stop_server
from sdlc.runtime.server_binary import ensure_server_binary, find_server_binary
from sdlc.runtime.server_lease import lease_server
from tests.runtime_workflows import Waits

QUIET: list[str] = []


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


async def gone(pid: int, seconds: float = 12) -> bool:
    until = time.monotonic() + seconds
    while lives(pid) and time.monotonic() < until:
        await asyncio.sleep(0.05)
    return not lives(pid)


@pytest.fixture
async def own(settings: Settings, temporal_binary: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Settings]:
    """Settings whose embedded server a test may start and kill; whatever is left of it goes."""
    monkeypatch.setenv("PATH", f"{temporal_binary.parent}:{os.environ['PATH']}")
    yield settings
    left = running_server(settings)
    if left is not None:
        os.kill(left.pid, signal.SIGKILL)  # what it would put in order at leisure goes with the folder
        assert await gone(left.pid)


@pytest.fixture
def server(own: Settings, temporal_binary: Path) -> DevServer:
    return DevServer(own, temporal_binary, ui=False, dies_with_starter=True)


# --- the server ---------------------------------------------------------------------------


async def test_a_started_server_is_found_by_its_record_and_a_stopped_one_is_not(
    own: Settings, server: DevServer
) -> None:
    record = await server.start()
    assert running_server(own) == record
    await server.stop()
    assert running_server(own) is None
    assert await gone(record.pid)


async def test_after_a_restart_the_run_is_still_there_and_the_address_is_the_same(
    own: Settings, server: DevServer
) -> None:
    first = await server.start()
    before = await connect(own)
    await before.start_workflow(Waits.run, Ticket(key="PAR-1", title="t"), id="sdlc-PAR-1", task_queue="q")
    await server.stop()
    second = await server.start()
    assert (second.address, second.pid != first.pid) == (first.address, True)

    client = await connect(own)
    async with asyncio.timeout(30), Worker(client, task_queue="q", workflows=[Waits]):
        handle = client.get_workflow_handle_for(Waits.run, "sdlc-PAR-1")
        await handle.signal(Waits.go, "went on")
        assert await handle.result() == "PAR-1 went on"


async def test_a_killed_server_leaves_a_stale_record_that_is_removed(own: Settings, server: DevServer) -> None:
    record = await server.start()
    os.kill(record.pid, signal.SIGKILL)
    assert await gone(record.pid)
    assert running_server(own) is None
    assert not (own.data_dir / "temporal" / "server.json").exists()
    assert (await server.start()).address == record.address


async def test_a_record_whose_number_belongs_to_another_process_is_not_believed(own: Settings) -> None:
    folder = own.data_dir / "temporal"
    folder.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        record = ServerRecord(pid=os.getpid(), address=address, started="2026-01-01T00:00:00Z")
        (folder / "server.json").write_text(record.model_dump_json())
        assert running_server(own) is None
    await stop_server(own)  # which must not end this very process


async def test_a_server_that_lives_without_answering_is_replaced(own: Settings, server: DevServer) -> None:
    record = await server.start()
    file = own.data_dir / "temporal" / "server.json"
    file.write_text(record.model_copy(update={"address": "127.0.0.1:1"}).model_dump_json())
    assert running_server(own) is None
    again = await server.start()
    assert await gone(record.pid)
    assert running_server(own) == again


async def test_a_configured_port_that_is_taken_is_told_with_its_setting(own: Settings, temporal_binary: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = own.model_copy(update={"temporal": TemporalSettings(port=port)})
        with pytest.raises(ConfigurationError, match=rf"Port {port} is taken.*temporal\.port"):
            await DevServer(taken, temporal_binary).start()


async def test_a_server_that_ends_at_once_is_told_with_its_last_words(own: Settings, tmp_path: Path) -> None:
    broken = tmp_path / "temporal"
    broken.write_text("#!/bin/sh\necho 'database disk image is malformed' >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(ServiceUnavailable, match=r"database disk image is malformed.*server\.log"):
        await DevServer(own, broken).start()
    assert running_server(own) is None


async def test_the_server_sees_none_of_our_secrets(
    own: Settings, server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "planted-key-123456")
    record = await server.start()
    assert b"planted" not in Path(f"/proc/{record.pid}/environ").read_bytes()


# --- who stops it -------------------------------------------------------------------------


async def test_the_last_who_uses_the_server_stops_it(own: Settings) -> None:
    first = await lease_server(own, say=QUIET.append)
    second = await lease_server(own, say=QUIET.append)
    assert second.record == first.record
    await first.release()
    assert running_server(own) == first.record
    await second.release()
    await second.release()
    assert running_server(own) is None
    assert await gone(first.record.pid)


async def test_many_who_come_at_once_share_one_server(own: Settings) -> None:
    leases = await asyncio.gather(*(lease_server(own, say=QUIET.append) for _ in range(5)))
    assert len({lease.record.pid for lease in leases}) == 1
    await asyncio.gather(*(lease.release() for lease in leases))
    assert await gone(leases[0].record.pid)


async def test_a_detached_server_stays(own: Settings) -> None:
    lease = await lease_server(own, say=QUIET.append, detached=True)
    await lease.release()
    assert running_server(own) == lease.record


async def test_a_server_whose_starter_was_killed_is_adopted_and_then_stopped(own: Settings) -> None:
    code = (
        "import asyncio, os, signal, sys; from pathlib import Path\n"
        "from sdlc.config import Settings; from sdlc.runtime.server_lease import lease_server\n"
        "settings = Settings(data_dir=Path(sys.argv[1]), cache_dir=Path(sys.argv[2]))\n"
        "asyncio.run(lease_server(settings, say=print)); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, str(own.data_dir), str(own.cache_dir)]
    assert (await asyncio.to_thread(subprocess.run, command, timeout=60)).returncode == -signal.SIGKILL
    orphan = running_server(own)
    assert orphan is not None
    lease = await lease_server(own, say=QUIET.append)
    assert lease.record == orphan
    await lease.release()
    assert await gone(orphan.pid)


async def test_a_lease_brings_a_killed_server_back_at_its_address(own: Settings) -> None:
    lease = await lease_server(own, say=QUIET.append)
    before = lease.record
    assert await lease.revive() is False
    os.kill(before.pid, signal.SIGKILL)
    assert await gone(before.pid)
    assert await lease.revive() is True
    assert (lease.record.address, lease.record.ui_url) == (before.address, before.ui_url)
    await lease.release()


# --- where its binary comes from ------------------------------------------------------------

FAKE_GO = """#!/bin/sh
mkdir -p "$GOMODCACHE"
echo "go: downloading example.com/a v1" >&2
echo "example.com/a/b" >&2
sleep {seconds}
{end}
"""
BUILDS = 'mkdir -p "$GOBIN"; printf "#!/bin/sh\\n" > "$GOBIN/temporal"; echo x >> "{log}"; chmod 755 "$GOBIN/temporal"'


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with a shell's tools and a `go` of the test's own, no `temporal`, and no way to a download."""
    folder = tmp_path / "path"
    folder.mkdir()
    for tool in ("sh", "sleep", "mkdir", "chmod"):
        (folder / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(folder))

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(server_binary, "_fetched", nothing)
    return folder


def write_go(folder: Path, *, seconds: float, end: str) -> None:
    (folder / "go").write_text(FAKE_GO.format(seconds=seconds, end=end))
    (folder / "go").chmod(0o755)


async def test_two_builders_at_once_build_once_say_so_and_leave_nothing_behind(
    bare_path: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_binary, "_LINE_EVERY", 0.2)
    write_go(bare_path, seconds=1, end=BUILDS.format(log=tmp_path / "built"))
    lines: list[str] = []
    paths = await asyncio.gather(*(ensure_server_binary(settings.cache_dir, say=lines.append) for _ in range(2)))
    assert set(paths) == {settings.cache_dir / "bin" / "temporal"} == {find_server_binary(settings.cache_dir)}
    assert (tmp_path / "built").read_text() == "x\n"
    said = "\n".join(lines)
    assert "takes about 3 minutes" in said
    assert "1 modules fetched, 1 packages compiled" in said
    assert "Waiting for another process" in said
    assert [entry.name for entry in settings.cache_dir.iterdir()] == ["bin"]


async def test_a_build_that_fails_says_why_and_what_to_install(bare_path: Path, settings: Settings) -> None:
    write_go(bare_path, seconds=0, end="echo 'go: requires go >= 1.24.1' >&2; exit 1")
    with pytest.raises(ConfigurationError, match=r"requires go >= 1\.24\.1.*Put the Temporal CLI on PATH"):
        await ensure_server_binary(settings.cache_dir, say=QUIET.append)
    assert [entry.name for entry in settings.cache_dir.iterdir()] == ["bin"]


async def test_a_cancelled_build_kills_go_and_cleans_up(bare_path: Path, settings: Settings, tmp_path: Path) -> None:
    write_go(bare_path, seconds=30, end="true")
    task = asyncio.create_task(ensure_server_binary(settings.cache_dir, say=QUIET.append))
    async with asyncio.timeout(10):
        while not list(settings.cache_dir.glob("build-*/modules")):
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(settings.cache_dir.glob("build-*")) == []


@pytest.mark.usefixtures("bare_path")
async def test_without_go_the_person_learns_what_to_install(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_binary, "_WHERE_GO_ALSO_IS", "")
    with pytest.raises(ConfigurationError, match=r"no Go to build one.*TEMPORAL_ADDRESS"):
        await ensure_server_binary(settings.cache_dir, say=QUIET.append)


async def test_the_ports_file_can_be_damaged_without_harm(own: Settings, server: DevServer) -> None:
    folder = own.data_dir / "temporal"
    folder.mkdir(parents=True)
    (folder / "ports.json").write_text(json.dumps(["nonsense"]))
    assert running_server(own) is None
    assert (await server.start()).address.startswith("127.0.0.1:")
