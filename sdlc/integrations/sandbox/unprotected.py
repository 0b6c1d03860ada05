"""No sandbox at all, for machines that have none and people who said so in the configuration."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from sdlc.config import SandboxSettings
from sdlc.errors import ConfigurationError
from sdlc.integrations import process
from sdlc.integrations.sandbox.bubblewrap import LONGEST_OUTPUT
from sdlc.integrations.sandbox.network import network_environment
from sdlc.integrations.sandbox.output import HeadAndTail
from sdlc.integrations.sandbox.port import ENVIRONMENT, WORK, CommandResult, Limit, Mount, Service

_NOT_FOUND = 127


class Unprotected:
    """Runs commands in the workspace itself: an environment from an allow-list, a time limit, a cap on output.

    Mounts stay where they are. A process that leaves its group lives on.
    """

    name = "none"

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings

    def inside(self, workspace: Path) -> str:
        return str(workspace)

    def target(self, mount: Mount) -> str:
        return str(mount.source)

    def service_port(self) -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
            return port

    async def check(self) -> None:
        """Always works, for what it is."""

    async def run(
        self,
        command: Sequence[str],
        *,
        workspace: Path,
        timeout: float,
        env: Mapping[str, str] = {},
        mounts: Sequence[Mount] = (),
        network: bool = False,
        cwd: str = WORK,
        stdin: bytes | None = None,
        service: Service | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """See `Sandbox.run`. `network` can't be denied, and no limit but `time` and `output` holds."""
        if not _is_folder(workspace):
            raise ConfigurationError(f"The workspace {workspace} isn't there.")
        with tempfile.TemporaryDirectory(prefix="sdlc-home-", ignore_cleanup_errors=True) as home:
            path = os.environ.get("PATH", os.defpath)
            environment = {"PATH": path, "HOME": home, "TMPDIR": home, **ENVIRONMENT}
            environment |= {**(network_environment() if network else {}), **env}
            async with _served(service):
                return await self._run(command, _folder(workspace, cwd), environment, timeout, stdin, on_output)

    async def _run(
        self,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        timeout: float,
        stdin: bytes | None,
        on_output: Callable[[bytes], None] | None,
    ) -> CommandResult:
        loop = asyncio.get_running_loop()
        output = HeadAndTail(self._settings.output_bytes)
        flooded: asyncio.Future[None] = loop.create_future()

        def feed(chunk: bytes) -> None:
            output.feed(chunk)
            if on_output is not None:
                on_output(chunk)
            if output.total > LONGEST_OUTPUT and not flooded.done():
                flooded.set_result(None)

        started = time.monotonic()
        limit: Limit | None = None
        with process.Drain(loop, feed) as drain:
            try:
                running = await process.spawn(
                    command, cwd=cwd, env=env, stdin=stdin, stdout=drain.writer, stderr=drain.writer
                )
            except ConfigurationError as error:
                if not _is_folder(cwd):
                    raise
                return CommandResult(_NOT_FOUND, f"{error}\n", 0, False, None, 0.0, sandboxed=False)
            drain.close_writer()
            ended = asyncio.create_task(running.wait())
            try:
                either: set[asyncio.Future[Any]] = {ended, flooded}
                await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    limit = "output" if flooded.done() else "time"
            finally:
                ended.cancel()
                process.kill_group(running.pid)
            await running.wait()
        return CommandResult(
            exit_code=process.shell_exit_code(running.returncode),
            output=output.text(),
            output_bytes=output.total,
            timed_out=limit == "time",
            limit=limit,
            seconds=round(time.monotonic() - started, 3),
            sandboxed=False,
        )


@contextlib.asynccontextmanager
async def _served(service: Service | None) -> AsyncIterator[None]:
    """The service on the machine's own loopback: what is not a sandbox has no other. Raises ConfigurationError."""
    if service is None:
        yield
        return
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", service.port))
        except OSError as error:
            raise ConfigurationError(f"Port {service.port} of this machine is taken ({error.strerror}).") from error
        listener.listen(128)
        listener.setblocking(False)
        serving = asyncio.create_task(_until_cancelled(service, listener))
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def _until_cancelled(service: Service, listener: socket.socket) -> None:
    await service.serve(listener)


def _is_folder(path: Path) -> bool:
    return path.is_dir()


def _folder(workspace: Path, cwd: str) -> Path:
    """`cwd` on the host: callers may name it as it would be in a sandbox."""
    asked = PurePosixPath(cwd)
    if asked.is_relative_to(workspace):
        return Path(asked)
    if asked.is_relative_to(WORK):
        return workspace / asked.relative_to(WORK)
    return Path(asked)
