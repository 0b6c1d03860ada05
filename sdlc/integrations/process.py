"""Trusted commands (git, uv and the like), run outside the sandbox and never left behind.

Nothing of a repository is executed here: that is the sandbox's part. What both share, starting a
process in a session of its own, draining its output and killing its whole group, stands here.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shlex
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sdlc.errors import ConfigurationError, ServiceUnavailable

MAX_OUTPUT = 10 * 1024**2
"""Bytes kept of each of the two streams."""

_READ_SIZE = 256 * 1024
_LAST_READS = 16
"""More than a pipe holds, and yet an end, should somebody who got away go on writing."""
_TERMINATE_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""
_STRAY_GRACE = 0.5
"""Seconds for which a command that has ended may leave its output to processes it started."""

_INSTALL = {
    "git": "install it, for example with `apt-get install git`",
    "uv": "run `make setup`, which installs it, or `pip install uv`",
    "go": "install Go from your system's packages, or put it on PATH",
    "npm": "install Node.js, which brings it",
    "node": "install Node.js",
    "bwrap": "install it, for example with `apt-get install bubblewrap`",
    "setpriv": "install it, for example with `apt-get install util-linux`",
    "prlimit": "install it, for example with `apt-get install util-linux`",
}
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True)
class Completed:
    exit_code: int
    """As a shell tells it: 128 + n when signal n ended it."""
    stdout: bytes
    stderr: bytes
    dropped_bytes: int = 0
    """Read and thrown away beyond `max_output`, of both streams together."""


async def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout: float,
    max_output: int = MAX_OUTPUT,
) -> Completed:
    """Run a trusted command to its end; a failing one is no error here, its exit code tells.

    `timeout` in seconds, `max_output` in bytes for each stream. `env` replaces the environment.
    Raises ConfigurationError when the program is missing, ServiceUnavailable when the time is over.
    On a time-out and on cancellation the whole process group is ended first, by SIGTERM and then SIGKILL.
    """
    loop = asyncio.get_running_loop()
    out, err = _Head(max_output), _Head(max_output)
    with contextlib.ExitStack() as stack:
        out_drain = stack.enter_context(Drain(loop, out.feed))
        err_drain = stack.enter_context(Drain(loop, err.feed))
        process = await spawn(command, cwd=cwd, env=env, stdin=stdin, stdout=out_drain.writer, stderr=err_drain.writer)
        out_drain.close_writer()
        err_drain.close_writer()
        try:
            async with asyncio.timeout(timeout):
                await process.wait()
                # A background child may hold the pipes open for ever; the command itself is done.
                await asyncio.wait([out_drain.ended, err_drain.ended], timeout=_STRAY_GRACE)
        except TimeoutError as error:
            await terminate(process)
            raise ServiceUnavailable(
                f"`{describe(command)}` did not end within {timeout:g} s and was stopped; it is tried again."
            ) from error
        except asyncio.CancelledError:
            await terminate(process)
            raise
        finally:
            kill_group(process.pid)
    return Completed(
        exit_code=shell_exit_code(process.returncode),
        stdout=bytes(out.kept),
        stderr=bytes(err.kept),
        dropped_bytes=out.dropped + err.dropped,
    )


async def spawn(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    stdout: int,
    stderr: int,
    pass_fds: Sequence[int] = (),
) -> asyncio.subprocess.Process:
    """Start `command` in a session of its own. `stdout` and `stderr` are file descriptors.

    Raises ConfigurationError when the program or `cwd` is missing.
    """
    with input_file(stdin) as stdin_fd:
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                cwd=cwd,
                env=env,
                stdin=stdin_fd,
                stdout=stdout,
                stderr=stderr,
                pass_fds=tuple(pass_fds),
                start_new_session=True,
            )
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise _cannot_start(command, cwd) from error


def describe(command: Sequence[str], *, limit: int = 200) -> str:
    """The command as a person would type it, without credentials in addresses, cut to `limit` characters."""
    line = _CREDENTIALS.sub("***@", shlex.join(command))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def shell_exit_code(returncode: int | None) -> int:
    """128 + n for signal n, as a shell has it; a process that isn't over has 137."""
    if returncode is None:
        return 128 + signal.SIGKILL
    return returncode if returncode >= 0 else 128 - returncode


def kill_group(pid: int, signal_number: int = signal.SIGKILL) -> None:
    """Signal the process group that `pid` leads; nothing where it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal_number)


async def terminate(process: asyncio.subprocess.Process, *, grace: float = _TERMINATE_GRACE) -> None:
    """End the whole group of `process` and wait for it: SIGTERM, and after `grace` seconds SIGKILL.

    A second cancellation while waiting goes straight to SIGKILL.
    """
    try:
        kill_group(process.pid, signal.SIGTERM)
        async with asyncio.timeout(grace):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        kill_group(process.pid)
    await process.wait()


class Drain:
    """The reading end of a pipe, emptied into `feed` as fast as the process writes.

    asyncio's own pipes are not used because waiting for a process then also waits for everybody
    who has inherited its output.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, feed: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._feed = feed
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self.ended: asyncio.Future[None] = loop.create_future()

    def __enter__(self) -> Drain:
        self._loop.add_reader(self._reader, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self.close_writer()
        self._loop.remove_reader(self._reader)
        self.catch_up()
        os.close(self._reader)
        if not self.ended.done():
            self.ended.cancel()

    def close_writer(self) -> None:
        """Close our copy of the writing end, once the process has its own."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def catch_up(self) -> None:
        """Read now what has been written already."""
        for _attempt in range(_LAST_READS):
            if not self._read_once():
                break

    def _read(self) -> None:
        self._read_once()

    def _read_once(self) -> bool:
        if self.ended.done():
            return False
        try:
            chunk = os.read(self._reader, _READ_SIZE)
        except BlockingIOError:
            return False
        if not chunk:
            self._loop.remove_reader(self._reader)
            self.ended.set_result(None)
            return False
        self._feed(chunk)
        return True


class _Head:
    """The first `limit` bytes; the rest is counted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.kept = bytearray()
        self.dropped = 0

    def feed(self, chunk: bytes) -> None:
        room = max(0, self._limit - len(self.kept))
        self.kept += chunk[:room]
        self.dropped += max(0, len(chunk) - room)


@contextlib.contextmanager
def input_file(data: bytes | None) -> Iterator[int]:
    """A file descriptor to read `data` from, /dev/null for None.

    A file rather than a pipe: nobody has to feed it, and a process that doesn't read it can't block us.
    It is sealed where the system can, so that the process can't write into it.
    """
    if data is None:
        with open(os.devnull, "rb") as nothing:
            yield nothing.fileno()
        return
    with _anonymous_file() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        if hasattr(fcntl, "F_ADD_SEALS"):
            seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
            with contextlib.suppress(OSError):
                fcntl.fcntl(file.fileno(), fcntl.F_ADD_SEALS, seals)
        yield file.fileno()


def _anonymous_file() -> IO[bytes]:
    try:
        return os.fdopen(os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "w+b")
    except (AttributeError, OSError):
        return tempfile.TemporaryFile()


def _cannot_start(command: Sequence[str], cwd: Path | None) -> ConfigurationError:
    if cwd is not None and not cwd.is_dir():
        return ConfigurationError(f"`{describe(command)}` can't be run in {cwd}: there is no such folder.")
    program = command[0]
    mend = _INSTALL.get(Path(program).name, "install it, or put it on PATH")
    return ConfigurationError(f"The program `{program}` was not found or can't be executed; {mend}.")
