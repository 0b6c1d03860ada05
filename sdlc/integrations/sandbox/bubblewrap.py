"""The bubblewrap sandbox: one command, its limits, and the certainty that nothing of it lives on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sdlc.config import SandboxSettings
from sdlc.errors import ConfigurationError, SandboxUnavailable
from sdlc.integrations import process
from sdlc.integrations.sandbox import construction, egress, seccomp
from sdlc.integrations.sandbox.allowed import AllowedHosts, mirrors
from sdlc.integrations.sandbox.construction import Plan
from sdlc.integrations.sandbox.egress import Egress
from sdlc.integrations.sandbox.network import certificate_mounts, network_environment, through
from sdlc.integrations.sandbox.output import HeadAndTail
from sdlc.integrations.sandbox.ownership import hand_over, measure
from sdlc.integrations.sandbox.port import WORK, CommandResult, Limit, Mount, Service
from sdlc.integrations.sandbox.proxy import Proxy
from sdlc.integrations.sandbox.trouble import explain, find_programs
from sdlc.integrations.sandbox.usage import INTERVAL, Watch

LONGEST_OUTPUT = 1024**3
"""Bytes after which a command that prints on and on is killed."""

_OUR_ENVIRONMENT = {"PATH": construction.PATH, "LANG": "C.UTF-8"}
"""For bubblewrap itself, which is partly root: nothing that a repository may have asked for."""
_PATIENCE = 2.0
"""Seconds to wait for what the kernel does in milliseconds."""
_FILE_TOO_LARGE = "File too large"
"""What the C library says at RLIMIT_FSIZE, in the language that the sandbox has."""


class Bubblewrap:
    """Runs commands in bubblewrap, as root or as an unprivileged user."""

    name = "bubblewrap"

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._as_root = os.geteuid() == 0
        self._programs: Mapping[str, str] | None = None
        self._checking = asyncio.Lock()

    def inside(self, workspace: Path) -> str:
        return WORK

    def target(self, mount: Mount) -> str:
        return mount.target

    def service_port(self) -> int:
        return egress.PORT

    async def check(self) -> None:
        """Try it once; a success is remembered. Raises SandboxUnavailable with the mend."""
        async with self._checking:
            if self._programs is not None:
                return
            programs = await find_programs(as_root=self._as_root)
            with tempfile.TemporaryDirectory(prefix="sdlc-check-", ignore_cleanup_errors=True) as folder:
                plan = Plan(("/bin/true",), Path(folder), (), {}, WORK)
                result = await self._run(plan, programs, timeout=20, stdin=None)
            if result.exit_code != 0:
                raise explain(result.output, WORK)
            self._programs = programs

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
        """See `Sandbox.run`."""
        if network and service is not None:
            raise ConfigurationError("A command has either the network or one service, not both.")
        allowed: AllowedHosts | None = None
        if service is not None:
            mounts = (*egress.python_mounts(), *mounts)
        if network:
            allowed = AllowedHosts([*mirrors(os.environ), *self._settings.allowed_hosts])
            env = through(egress.ADDRESS, {**network_environment(), **env}, allowed)
            mounts = (*certificate_mounts(env), *egress.python_mounts(), *mounts)
        plan = Plan(tuple(command), workspace, tuple(mounts), dict(env), cwd)
        construction.validate(plan)
        await self.check()
        assert self._programs is not None  # noqa: S101 - check() has seen to it
        run = partial(self._run, plan, self._programs, timeout=timeout, stdin=stdin, on_output=on_output)
        if service is not None:
            async with Egress(service.serve, service.port) as way_out:
                return await run(way_out=way_out)
        if allowed is None:
            return await run()
        proxy = Proxy(allowed, os.environ)
        async with Egress(proxy.serve) as way_out:
            result = await run(way_out=way_out)
        return replace(result, connections=proxy.connections, refused_hosts=proxy.refused_hosts)

    async def _run(
        self,
        plan: Plan,
        programs: Mapping[str, str],
        *,
        timeout: float,
        stdin: bytes | None,
        way_out: Egress | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        watch = await asyncio.to_thread(prepare, plan, self._settings)
        made_for_mounts = construction.missing_mountpoints(plan)
        try:
            with _Running(plan, self._settings, on_output) as running:
                await running.start(programs, as_root=self._as_root, stdin=stdin, way_out=way_out)
                try:
                    limit = await running.until_the_end(watch, timeout)
                finally:
                    await running.kill()
            return await self._result(plan, running, watch, limit)
        finally:
            remove_empty(made_for_mounts, plan.workspace)

    async def _result(self, plan: Plan, running: _Running, watch: Watch, limit: Limit | None) -> CommandResult:
        output = running.output.text()
        if limit is None and not running.command_ended:
            raise explain(output, plan.cwd)
        exit_code = process.shell_exit_code(running.returncode)
        if limit is None:
            too_large = file_was_too_large(exit_code, output)
            limit = await asyncio.to_thread(watch.last_look, file_too_large=too_large)
        return CommandResult(
            exit_code=exit_code,
            output=output,
            output_bytes=running.output.total,
            timed_out=limit == "time",
            limit=limit,
            seconds=running.seconds,
            sandboxed=True,
        )


class _Running:
    """One bubblewrap from its start to the death of the last process in it."""

    def __init__(self, plan: Plan, settings: SandboxSettings, on_output: Callable[[bytes], None] | None = None) -> None:
        self._plan = plan
        self._on_output = on_output
        self._settings = settings
        self._stack = contextlib.ExitStack()
        self._loop = asyncio.get_running_loop()
        self._flooded: asyncio.Future[None] = self._loop.create_future()
        self._status = b""
        self._layers = 1
        self._process: asyncio.subprocess.Process | None = None
        self._init: int | None = None
        self._init_fd = -1
        self._started = time.monotonic()
        self._initialised = asyncio.Event()
        self.output = HeadAndTail(settings.output_bytes)
        self.seconds = 0.0

    def __enter__(self) -> _Running:
        self._output_drain = self._stack.enter_context(process.Drain(self._loop, self._feed))
        self._status_drain = self._stack.enter_context(process.Drain(self._loop, self._feed_status))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if self._init_fd >= 0:
            os.close(self._init_fd)

    @property
    def returncode(self) -> int | None:
        return None if self._process is None else self._process.returncode

    @property
    def command_ended(self) -> bool:
        """False when bubblewrap failed before the command could start."""
        return self._status.count(b'"exit-code"') == self._layers

    async def start(
        self, programs: Mapping[str, str], *, as_root: bool, stdin: bytes | None, way_out: Egress | None
    ) -> None:
        status_fd = self._status_drain.writer
        self._layers = 2 if as_root else 1
        with contextlib.ExitStack() as files:
            file_fds = {
                path: files.enter_context(process.input_file(text.encode()))
                for path, text in construction.FILES.items()
            }
            refused_calls = seccomp.program()
            filter_fd = files.enter_context(process.input_file(refused_calls)) if refused_calls else None
            inner = construction.arguments(
                self._plan,
                self._settings,
                status_fd=status_fd,
                file_fds=file_fds,
                as_root=as_root,
                filter_fd=filter_fd,
            )
            arguments_fd = files.enter_context(process.input_file(inner))
            outer_status_fd = os.dup(status_fd)  # each bubblewrap closes its own before it starts its command
            files.callback(os.close, outer_status_fd)
            self._process = await process.spawn(
                construction.command_line(
                    self._plan,
                    self._settings,
                    arguments_fd=arguments_fd,
                    status_fd=outer_status_fd,
                    as_root=as_root,
                    programs=programs,
                    first=way_out.prefix if way_out else (),
                ),
                env=_OUR_ENVIRONMENT,
                stdin=stdin,
                stdout=self._output_drain.writer,
                stderr=self._output_drain.writer,
                pass_fds=(
                    *(arguments_fd, status_fd, *file_fds.values()),
                    *(() if filter_fd is None else (filter_fd,)),
                    *((outer_status_fd,) if as_root else ()),
                    *((way_out.descriptor,) if way_out else ()),
                ),
            )
        if way_out is not None:
            way_out.close_theirs()
        self._output_drain.close_writer()
        self._status_drain.close_writer()

    async def until_the_end(self, watch: Watch, timeout: float) -> Limit | None:
        """Wait for the command, for at most `timeout` seconds; the limit it ran into, if any."""
        assert self._process is not None  # noqa: S101 - started
        ended = asyncio.create_task(self._process.wait())
        watching = asyncio.create_task(self._watch(watch))
        try:
            await asyncio.wait(
                _any_of(ended, watching, self._flooded), timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if ended.done():
                return None
            if watching.done():
                return watching.result()
            return "output" if self._flooded.done() else "time"
        finally:
            self.seconds = round(time.monotonic() - self._started, 3)
            ended.cancel()
            watching.cancel()

    async def kill(self) -> None:
        """Kill everything that is in the sandbox, and wait until it is dead. For one that has ended: its strays."""
        if self._process is None:
            return
        try:
            self._status_drain.catch_up()
            if self._init is None and self._process.returncode is None:
                # It has just begun. Its first process says its number before all else, or there is none.
                told = asyncio.create_task(self._initialised.wait())
                await asyncio.wait(
                    _any_of(told, self._status_drain.ended), timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED
                )
                told.cancel()
        finally:
            self._kill_now()
        await self._process.wait()
        if self._init_fd >= 0:
            await asyncio.to_thread(_wait_for_end, self._init_fd)

    def _kill_now(self) -> None:
        if self._init_fd >= 0:
            # With its first process the kernel kills all of a namespace, whatever session they moved to.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init_fd, signal.SIGKILL)
        if self._process is not None:
            process.kill_group(self._process.pid)

    async def _watch(self, watch: Watch) -> Limit:
        await self._initialised.wait()
        assert self._init is not None  # noqa: S101 - that is what was waited for
        while True:
            await asyncio.sleep(INTERVAL)
            limit = await asyncio.to_thread(watch.look, self._init)
            if limit is not None:
                return limit

    def _feed(self, chunk: bytes) -> None:
        self.output.feed(chunk)
        if self._on_output is not None:
            self._on_output(chunk)
        if self.output.total > LONGEST_OUTPUT and not self._flooded.done():
            self._flooded.set_result(None)

    def _feed_status(self, chunk: bytes) -> None:
        self._status += chunk
        if self._init is None and b"\n" in self._status:
            pid = int(json.loads(self._status.split(b"\n")[0])["child-pid"])
            with contextlib.suppress(OSError):
                self._init_fd = os.pidfd_open(pid)
            self._init = pid
            self._initialised.set()
            _prefer_for_out_of_memory(pid)


def _any_of(*awaited: asyncio.Future[Any]) -> set[asyncio.Future[Any]]:
    return set(awaited)


def _wait_for_end(pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(_PATIENCE * 1000)


def _prefer_for_out_of_memory(pid: int) -> None:
    # If the host itself runs out of memory, the sandbox should go rather than the worker.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("900")


def prepare(plan: Plan, settings: SandboxSettings) -> Watch:
    """Let the sandbox's user write where it may, and begin to watch there. Raises SandboxUnavailable. Blocks."""
    trees = [mount.source for mount in plan.binds if mount.writable]
    try:
        before = sum((hand_over(tree) if os.geteuid() == 0 else measure(tree)).bytes for tree in trees)
    except OSError as error:
        raise SandboxUnavailable(
            f"{error.filename or plan.workspace} can't be given to the sandbox's user: the file system refuses. "
            "Put the cache (SDLC_CACHE_DIR) on a local disk, or run the worker as an unprivileged user."
        ) from error
    return Watch(settings, trees, before)


def file_was_too_large(exit_code: int, output: str) -> bool:
    """True for a command that seems to have failed of the largest size of a file."""
    return exit_code == 128 + signal.SIGXFSZ or (exit_code != 0 and _FILE_TOO_LARGE in output)


def remove_empty(paths: Sequence[Path], workspace: Path) -> None:
    """Take away what was made to mount upon (`construction.missing_mountpoints`)."""
    for path in paths:
        with contextlib.suppress(OSError):
            if not path.parent.resolve().is_relative_to(workspace.resolve()):
                continue  # a symlink was put in the way
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            elif path.stat(follow_symlinks=False).st_size == 0:
                path.unlink()
