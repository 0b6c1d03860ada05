"""The embedded Temporal server: one per data folder, found again by any command through `<data>/temporal/server.json`.

The server is a session of its own, so Ctrl-C at the terminal reaches the command and not the server,
and the worker can still report what it had in hand. Who stops it is decided by `sdlc.runtime.server_lease`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from sdlc.domain import Record
from sdlc.errors import ConfigurationError, ServiceUnavailable
from sdlc.runtime.server_ports import HOST, answers, choose_ports, remember_ports

if TYPE_CHECKING:
    from sdlc.config import Settings

SEARCH_ATTRIBUTES = ("SdlcTicket", "SdlcRepository", "SdlcStep", "SdlcState", "SdlcWaitsFor", "SdlcStarter")
"""All of type Keyword."""

START_SECONDS = 40.0
STOP_SECONDS = 10.0
_LARGEST_LOG = 10 * 1024**2
"""Bytes; the server's log is put aside above it at the next start."""

_DYNAMIC_CONFIG = {
    # The default of 20 a second makes every hop of a single run wait for a 50 ms tick: 1.75 s instead of 0.24 s
    # for 17 activities in a row.
    "history.transferProcessorMaxPollRPS": "1000",
    # With the default of four partitions about every eighth start of a workflow waits 2 s, because the one poller for
    # new workflows listens at another partition. One partition: none in 80, and the same throughput.
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
}


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}
"""Servers that this process started and has not seen end."""


class ServerRecord(Record):
    """A running server as another process finds it."""

    pid: int
    born: str = ""
    """The kernel's own mark of when the process began, so that its number in other hands is not taken for it."""
    address: str
    """host:port of the gRPC frontend."""
    ui_url: str = ""
    """Empty: it runs without a web UI."""
    namespace: str = "default"
    started: datetime
    detached: bool = False
    """It was started to stay: nobody stops it on leaving."""


def running_server(settings: Settings) -> ServerRecord | None:
    """The embedded server of this data folder, if its process lives and its port answers; a stale record is removed."""
    record = _read_record(settings)
    if record is None:
        return None
    if not _lives(record):
        _record_file(settings).unlink(missing_ok=True)
        return None
    return record if answers(record.address) else None


class DevServer:
    """Starts and stops the embedded server of a data folder.

    Used under the lock of `sdlc.runtime.server_lease`; on its own it is for tests.
    """

    def __init__(
        self,
        settings: Settings,
        binary: Path,
        *,
        ui: bool = True,
        detached: bool = False,
        dies_with_starter: bool = False,
    ) -> None:
        """`dies_with_starter` is for tests: the thread that calls `start` must live as long as the server should."""
        self._starter_guard = _death_signal() if dies_with_starter else []
        self._settings = settings
        self._binary = binary
        self._ui = ui
        self._detached = detached

    async def start(self) -> ServerRecord:
        """Start it with its database and wait until it serves, at most 40 s; on the ports it had before, if free.

        Raises ConfigurationError for a configured port that is taken, ServiceUnavailable if it does not come up.
        """
        settings = self._settings
        folder = _folder(settings)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await _clear_away_half_started(settings)
        for attempt in (1, 2, 3):
            # After the first try the old ports are not asked for again: somebody may sit on one we can't see.
            remembered = _ports_file(settings) if attempt == 1 else None
            port, ui_port = choose_ports(settings, remembered, ui=self._ui)
            process = self._spawn(port, ui_port)
            record = self._write_record(process.pid, port, ui_port)
            try:
                if await _came_up(process, record):
                    remember_ports(_ports_file(settings), port, ui_port)
                    return record
            except BaseException:
                await stop_server(settings)
                raise
            _record_file(settings).unlink(missing_ok=True)
        raise ServiceUnavailable(
            f"The Temporal server ended while it started: {_last_words(_log_file(settings))}; "
            f"its log is {_log_file(settings)}."
        )

    def _spawn(self, port: int, ui_port: int) -> subprocess.Popen[bytes]:
        log = _log_file(self._settings)
        if log.exists() and log.stat().st_size > _LARGEST_LOG:
            log.replace(log.with_name(log.name + ".1"))
        handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # Not by asyncio: its transport kills the child when the loop closes, and this one may outlive us.
            process = subprocess.Popen(
                self._command(port, ui_port),
                cwd=_folder(self._settings),
                # No key or token of ours is any business of the server's.
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(_folder(self._settings))},
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigurationError(f"The Temporal server {self._binary} can't be run: {error.strerror}.") from error
        finally:
            os.close(handle)
        _CHILDREN[process.pid] = process
        return process

    def _command(self, port: int, ui_port: int) -> list[str]:
        command = [*self._starter_guard, str(self._binary), "--disable-config-env", "--disable-config-file"]
        command += ["server", "start-dev"]
        command += ["--ip", HOST, "--port", str(port), "--log-level", "warn", "--log-format", "json"]
        command += ["--ui-port", str(ui_port)] if self._ui else ["--headless"]
        command += ["--namespace", namespace_of(self._settings)]
        command += ["--db-filename", str(database_file(self._settings)), "--sqlite-pragma", "journal_mode=WAL"]
        for key, value in _DYNAMIC_CONFIG.items():
            command += ["--dynamic-config-value", f"{key}={value}"]
        for name in SEARCH_ATTRIBUTES:
            command += ["--search-attribute", f"{name}=Keyword"]
        return command

    def _write_record(self, pid: int, port: int, ui_port: int) -> ServerRecord:
        record = ServerRecord(
            pid=pid,
            born=_birth(pid),
            address=f"{HOST}:{port}",
            ui_url=f"http://{HOST}:{ui_port}" if self._ui else "",
            namespace=namespace_of(self._settings),
            started=datetime.now(UTC),
            detached=self._detached,
        )
        file = _record_file(self._settings)
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        temporary.write_text(record.model_dump_json())
        os.replace(temporary, file)
        return record

    async def stop(self) -> None:
        """See `stop_server`."""
        await stop_server(self._settings)


async def stop_server(settings: Settings) -> None:
    """Stop the embedded server of this data folder, by SIGTERM and after 10 s by SIGKILL; nothing if there is none."""
    record = _read_record(settings)
    if record is not None and _lives(record):
        await _end(record)
    _record_file(settings).unlink(missing_ok=True)


def namespace_of(settings: Settings) -> str:
    """`TEMPORAL_NAMESPACE`, else the configured one."""
    return os.environ.get("TEMPORAL_NAMESPACE") or settings.temporal.namespace


def database_file(settings: Settings) -> Path:
    """The server's SQLite database: every run of this data folder."""
    return _folder(settings) / "temporal.db"


def _folder(settings: Settings) -> Path:
    return settings.data_dir.absolute() / "temporal"


def _record_file(settings: Settings) -> Path:
    return _folder(settings) / "server.json"


def _ports_file(settings: Settings) -> Path:
    return _folder(settings) / "ports.json"


def _log_file(settings: Settings) -> Path:
    return _folder(settings) / "server.log"


def _read_record(settings: Settings) -> ServerRecord | None:
    try:
        return ServerRecord.model_validate_json(_record_file(settings).read_bytes())
    except (OSError, ValidationError):
        return None


# --- the process --------------------------------------------------------------------------


def _lives(record: ServerRecord) -> bool:
    """Its process is there, is no zombie, and is the one that was recorded."""
    child = _CHILDREN.get(record.pid)
    if child is not None and child.poll() is not None:  # asked, or it would stay a zombie
        del _CHILDREN[record.pid]
    try:
        os.kill(record.pid, 0)
    except OSError:
        return False
    return _birth(record.pid) == record.born


def _birth(pid: int) -> str:
    """The boot's clock ticks at which the process began; empty if it is over, or where there is no /proc."""
    try:
        # The name, which may hold anything, stands in brackets before the fields.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        # Of a killed process the first thread can be a zombie while others still hold its ports and its database.
        over = fields[0] == "Z" and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except OSError:
        return ""
    return "" if over else fields[19]


def _death_signal() -> list[str]:
    """A prefix by which the kernel ends the command when its starter dies; nothing where util-linux is missing."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


async def _came_up(process: subprocess.Popen[bytes], record: ServerRecord) -> bool:
    """True when it serves its namespace, False if it ended; ServiceUnavailable when it takes too long."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        if answers(record.address, 0.2) and await _serves(record):
            return True
        await asyncio.sleep(0.05)
    raise ServiceUnavailable(
        f"The Temporal server did not serve within {START_SECONDS:.0f} s; is this machine very busy? Try again."
    )


async def _serves(record: ServerRecord) -> bool:
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
    from temporalio.client import Client
    from temporalio.service import RPCError

    from sdlc.runtime.quiet_runtime import quiet_runtime

    try:
        async with asyncio.timeout(5):
            client = await Client.connect(record.address, namespace=record.namespace, runtime=quiet_runtime())
            request = DescribeNamespaceRequest(namespace=record.namespace)
            await client.workflow_service.describe_namespace(request)
    except (RPCError, RuntimeError, TimeoutError):
        return False
    return True


async def _clear_away_half_started(settings: Settings) -> None:
    """End a server that lives without answering: its starter was killed, and two can't share one database."""
    record = _read_record(settings)
    if record is not None and _lives(record):
        await _end(record)


async def _end(record: ServerRecord) -> None:
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not _lives(record):
                return
            await asyncio.sleep(0.02)


def _last_words(log: Path) -> str:
    try:
        lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1][:300] if lines else "it said nothing"
