"""The `docker` and `podman` sandboxes: one container for each command, with the image's system and nothing of ours.

The engine's own means bound it: no network but loopback, a read-only system, no capability, cgroups. What it can't
tell or doesn't bound, such as growth of the workspace, is watched as for bubblewrap, where the engine is on this
machine. A container is made before it is started, so that there is none that we don't know when we are cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from sdlc.config import SandboxSettings
from sdlc.errors import ConfigurationError, SandboxUnavailable, ServiceUnavailable
from sdlc.integrations import process
from sdlc.integrations.process import Completed
from sdlc.integrations.sandbox import bubblewrap, construction, egress, seccomp, trouble
from sdlc.integrations.sandbox.allowed import AllowedHosts, mirrors
from sdlc.integrations.sandbox.construction import Plan
from sdlc.integrations.sandbox.egress import MountedEgress
from sdlc.integrations.sandbox.network import certificate_mounts, network_environment, through
from sdlc.integrations.sandbox.output import HeadAndTail
from sdlc.integrations.sandbox.ownership import SANDBOX_UID
from sdlc.integrations.sandbox.port import WORK, CommandResult, Limit, Mount, Service
from sdlc.integrations.sandbox.proxy import Proxy
from sdlc.integrations.sandbox.usage import INTERVAL, Watch

_ENGINE_SECONDS = 60.0
"""For what an engine does in one, when the machine is busy."""
_MOST_PROCESSES = 16_384
"""Of all podman's containers of one user; each has its own limit in its cgroup."""
_REMOVALS = 10
"""Attempts, a second apart."""
_LABEL = "sdlc.worker"
_PROXIES = "HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY"
"""Docker gives them to every container when its configuration says so, credentials included."""
_START = 'cd -- "$1" || exit 125; shift; echo %s; exec "$@" 2>&1'
"""First in the container, by its shell. What the engine itself says comes on the other stream or before the mark."""
_BECOME = ("/bin/sh", "-c", 'exec "$@"', "sh")

T = TypeVar("T")


@dataclass(frozen=True)
class _Image:
    path: str
    """The PATH of its environment."""
    volumes: tuple[str, ...]
    """Folders that the engine would keep on the disk of this machine, without a bound."""


class Container:
    """Runs commands in containers, by the engine that `settings.kind` names and in its image."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.name: str = settings.kind
        self._settings = settings
        self._image: _Image | None = None
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
            if self._image is not None:
                return
            if shutil.which(self.name) is None:
                raise SandboxUnavailable(
                    f"There is no sandbox: `{self.name}` was not found. Install it, or set `sandbox.kind: bubblewrap`."
                )
            if not self._settings.image:
                raise SandboxUnavailable(
                    f"`sandbox.kind: {self.name}` needs an image: name one with bash, git and Python 3 in it in "
                    "`sandbox.image` (SDLC_SANDBOX__IMAGE)."
                )
            said = await self._engine("image", "inspect", "--format", "{{json .Config}}", self._settings.image)
            if said.exit_code != 0:
                raise explain(self.name, self._settings.image, said.stderr.decode(errors="replace"))
            image = _read_image(said.stdout)
            await self._remove_strays()
            with tempfile.TemporaryDirectory(prefix="sdlc-check-", ignore_cleanup_errors=True) as folder:
                plan = Plan(("true",), Path(folder), (), {}, WORK)
                tried = await self._run(plan, image, timeout=_ENGINE_SECONDS)
            if tried.exit_code != 0:
                raise explain(self.name, self._settings.image, tried.output)
            self._image = image

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
        """See `Sandbox.run`. With `network` or `service` the image needs Python 3."""
        if network and service is not None:
            raise ConfigurationError("A command has either the network or one service, not both.")
        proxy: Proxy | None = None
        if network:
            allowed = AllowedHosts([*mirrors(os.environ), *self._settings.allowed_hosts])
            env = through(egress.ADDRESS, {**network_environment(), **env}, allowed)
            mounts = (*certificate_mounts(env, own_system=True), *mounts)
            proxy = Proxy(allowed, os.environ)
            service = Service(proxy.serve, egress.PORT)
        plan = Plan(tuple(command), workspace, tuple(mounts), dict(env), cwd)
        construction.validate(plan)
        if any("\n" in name + value for name, value in env.items()):
            raise ConfigurationError(f"A variable for a command has more than one line, which {self.name} can't give.")
        await self.check()
        assert self._image is not None  # noqa: S101 - check() has seen to it
        result = await self._run(plan, self._image, timeout=timeout, stdin=stdin, service=service, on_output=on_output)
        return replace(result, connections=proxy.connections, refused_hosts=proxy.refused_hosts) if proxy else result

    async def _run(
        self,
        plan: Plan,
        image: _Image,
        *,
        timeout: float,
        stdin: bytes | None = None,
        service: Service | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        watch = await asyncio.to_thread(bubblewrap.prepare, plan, self._settings)
        made_for_mounts = construction.missing_mountpoints(plan)
        name = f"sdlc-{uuid.uuid4().hex}"
        attached = _Attached(name, self._settings.output_bytes, on_output)
        try:
            with tempfile.TemporaryDirectory(prefix="sdlc-container-", ignore_cleanup_errors=True) as folder:
                async with _served(service, Path(folder)) as way_out:
                    arguments = self._arguments(name, plan, image, Path(folder), way_out)
                    await asyncio.to_thread(_make_mountpoints, plan, made_for_mounts)
                    try:
                        made = await _to_the_end(self._engine(*arguments))
                        if made.exit_code != 0:
                            raise explain(self.name, self._settings.image, made.stderr.decode(errors="replace"))
                        await attached.run(self.name, stdin, timeout, lambda: self._watch(name, watch))
                        out_of_memory = attached.exit_code == 137 and await self._was_out_of_memory(name)
                    finally:
                        await _to_the_end(self._remove(name))
        finally:
            bubblewrap.remove_empty(made_for_mounts, plan.workspace)
        limit = attached.limit
        if limit is None and not attached.began.is_set():
            said = attached.said.text()
            if "cd:" in said:
                raise trouble.explain("Can't chdir", plan.cwd)
            raise explain(self.name, self._settings.image, said)
        if way_out is not None and not way_out.received and attached.exit_code == 127:
            raise SandboxUnavailable(
                f"The image {self._settings.image} has no `python3`, which a command with a way out needs; take one "
                "that has it for `sandbox.image`."
            )
        output = attached.output.text()
        if limit is None:
            too_large = bubblewrap.file_was_too_large(attached.exit_code, output)
            limit = await asyncio.to_thread(watch.last_look, file_too_large=too_large)
        return CommandResult(
            exit_code=attached.exit_code if attached.limit is None else 137,
            output=output,
            output_bytes=attached.output.total,
            timed_out=limit == "time",
            limit="memory" if limit is None and out_of_memory else limit,
            seconds=attached.seconds,
            sandboxed=True,
        )

    def _arguments(
        self, name: str, plan: Plan, image: _Image, folder: Path, way_out: MountedEgress | None
    ) -> list[str]:
        """Of `create`. The environment is in a file, where no process list shows it."""
        env = construction.environment(plan.env)
        env["PATH"] = ":".join(dict.fromkeys([*env["PATH"].split(":"), *image.path.split(":")]))
        file = folder / "environment"
        file.touch(mode=0o600)
        file.write_text("".join(f"{name}={value}\n" for name, value in env.items()), errors="surrogateescape")
        profile = folder / "seccomp.json"
        profile.write_text(seccomp.profile())
        settings = self._settings
        half, limits = settings.memory_bytes // 2, construction.limits(settings)
        parts = ["create", "--name", name, "--label", f"{_LABEL}={_worker()}", "--init", "--interactive"]
        parts += ["--pull", "never", "--log-driver", "none", "--hostname", "sandbox", "--network", "none"]
        parts += ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        # The engine's own may allow namespaces of users, and the sockets of a virtual machine.
        parts += ["--security-opt", f"seccomp={profile}"]
        parts += ["--security-opt", "label=disable"]  # or folders of the host would have to be labelled anew
        parts += ["--user", _user(), "--env-file", str(file), "--pids-limit", str(limits["nproc"])]
        parts += ["--memory", str(limits["data"]), "--memory-swap", str(limits["data"])]
        for limit in ("data", "cpu", "fsize", "nofile", "core"):
            parts += ["--ulimit", f"{limit}={limits[limit]}:{limits[limit]}"]
        for path in ("/tmp", construction.HOME, *image.volumes):  # noqa: S108 - the sandbox's own
            parts += ["--tmpfs", f"{path}:rw,exec,nosuid,nodev,mode=1777,size={half}"]
        parts += ["--shm-size", str(min(half, 256 * 1024**2))]
        if self.name == "podman":
            # Its own may be more than we may give. As root, those of all containers are counted together.
            most = _MOST_PROCESSES if os.geteuid() == 0 else limits["nproc"]
            parts += [
                "--read-only-tmpfs=false",
                "--http-proxy=false",
                "--ulimit",
                f"nproc={most}:{most}",
            ]
            parts += ["--userns", "keep-id"] if os.geteuid() != 0 else []
        binds = [*plan.binds, *([Mount(folder / "way-out", MountedEgress.FOLDER)] if way_out else [])]
        for mount in binds:
            named = [f"source={mount.source.absolute()}", f"target={mount.target}"]
            quoted = ['"' + part.replace('"', '""') + '"' for part in named]
            parts += ["--mount", ",".join(["type=bind", *quoted, *([] if mount.writable else ["readonly"])])]
        unset = " ".join(sorted({*_PROXIES.split(), *_PROXIES.lower().split()} - set(env)))
        script = f"unset {unset}; " + _START % name
        first = (*way_out.prefix, *_BECOME) if way_out else ()
        return [
            *(*parts, "--entrypoint", "/bin/sh", settings.image, "-c", script),
            *("sh", plan.cwd, *first, *plan.command),
        ]

    async def _watch(self, name: str, watch: Watch) -> Limit:
        told = await self._engine("inspect", "--format", "{{.State.Pid}}", name)
        pid = int(told.stdout) if told.stdout.strip().isdigit() else 0
        if not _is_here(pid, name):
            pid = 0
        while True:
            limit = await asyncio.to_thread(watch.look, pid)
            if limit is not None:
                return limit
            await asyncio.sleep(INTERVAL)

    async def _was_out_of_memory(self, name: str) -> bool:
        return (await self._engine("inspect", "--format", "{{.State.OOMKilled}}", name)).stdout.strip() == b"true"

    async def _remove(self, name: str) -> None:
        at_once = ["--time", "0"] if self.name == "podman" else []
        for _attempt in range(_REMOVALS):
            done = await self._engine("rm", "--force", "--volumes", *at_once, name)
            if done.exit_code == 0 or b"no such container" in done.stderr.lower():
                return
            await asyncio.sleep(1)  # a crowd of processes takes its time to die
        raise ServiceUnavailable(f"The container {name} can't be removed: {done.stderr.decode(errors='replace')[:300]}")

    async def _remove_strays(self) -> None:
        """Containers of workers of this machine that are dead: nobody counts their time any more."""
        listed = await self._engine(
            "ps", "--all", "--filter", f"label={_LABEL}", "--format", f'{{{{.ID}}}} {{{{.Label "{_LABEL}"}}}}'
        )
        for line in listed.stdout.decode(errors="replace").splitlines():
            container, _, worker = line.partition(" ")
            host, _, rest = worker.partition("/")
            pid, _, _started = rest.partition("/")
            if host == socket.gethostname() and pid.isdigit() and _worker(int(pid)) != worker:
                await self._remove(container)

    async def _engine(self, *arguments: str) -> Completed:
        return await process.run([self.name, *arguments], timeout=_ENGINE_SECONDS)


class _Attached:
    """One container from its start to its end, and what it prints."""

    def __init__(self, name: str, output_bytes: int, on_output: Callable[[bytes], None] | None) -> None:
        self._name = name
        self._on_output = on_output
        self._before = b""
        self._flooded = asyncio.Event()
        self.began = asyncio.Event()
        self.output = HeadAndTail(output_bytes)
        self.said = HeadAndTail(10_000)
        self.limit: Limit | None = None
        self.exit_code = 137
        self.seconds = 0.0

    async def run(
        self, engine: str, stdin: bytes | None, timeout: float, watch: Callable[[], Coroutine[Any, Any, Limit]]
    ) -> None:
        """Start it, and wait until it has ended or is to be ended."""
        loop, started = asyncio.get_running_loop(), time.monotonic()
        with process.Drain(loop, self._feed) as output, process.Drain(loop, self.said.feed) as said:
            running = await process.spawn(
                [engine, "start", "--attach", "--interactive", "--sig-proxy=false", self._name],
                stdin=stdin,
                stdout=output.writer,
                stderr=said.writer,
            )
            output.close_writer()
            said.close_writer()
            ended, over = asyncio.create_task(running.wait()), asyncio.create_task(self._over(watch))
            try:
                await asyncio.wait({ended, over}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    self.exit_code = process.shell_exit_code(running.returncode)
                else:
                    self.limit = over.result() if over.done() else "time"
            finally:
                self.seconds = round(time.monotonic() - started, 3)
                ended.cancel()
                over.cancel()
                process.kill_group(running.pid)
            await running.wait()

    async def _over(self, watch: Callable[[], Coroutine[Any, Any, Limit]]) -> Limit:
        await self.began.wait()
        watching, flooded = asyncio.create_task(watch()), asyncio.create_task(self._flooded.wait())
        try:
            await asyncio.wait({watching, flooded}, return_when=asyncio.FIRST_COMPLETED)
            return watching.result() if watching.done() else "output"
        finally:
            watching.cancel()
            flooded.cancel()

    def _feed(self, chunk: bytes) -> None:
        if not self.began.is_set():
            said, mark, chunk = (self._before + chunk).partition(f"{self._name}\n".encode())
            if not mark:
                self._before = said[-10_000:]
                return
            self.began.set()
        if not chunk:
            return
        self.output.feed(chunk)
        if self._on_output is not None:
            self._on_output(chunk)
        if self.output.total > bubblewrap.LONGEST_OUTPUT:
            self._flooded.set()


def explain(engine: str, image: str, said: str) -> SandboxUnavailable:
    """The error for a container that didn't come to run its command, from what the engine said."""
    said = said.strip().splitlines()[-1][:300] if said.strip() else "it said nothing"
    low = said.lower()
    if (
        "cannot connect" in low
        or "daemon running" in low
        or "connection refused" in low
        or "podman.sock" in low
        or "docker.sock" in low
    ):
        mend = f"Start {engine}, and let the worker's user reach it."
    elif any(words in low for words in ("no such image", "image not known", "unable to find image", "no such object")):
        mend = f"Pull or build the image first: `{engine} pull {image}`."
    elif "init binary" in low or "container-init" in low or "docker-init" in low:
        mend = "Install the engine's init program, for example with `apt-get install catatonit` or `tini`."
    elif "/bin/sh" in low or "executable file" in low:
        mend = "The image needs a shell at /bin/sh; take one that has bash, git and Python 3 for `sandbox.image`."
    else:
        mend = f"See whether `{engine} run --rm {image} true` works, and mend what it says."
    return SandboxUnavailable(f"There is no sandbox: {engine} could not run the image {image} ({said}). {mend}")


@contextlib.asynccontextmanager
async def _served(service: Service | None, folder: Path) -> AsyncIterator[MountedEgress | None]:
    if service is None:
        yield None
        return
    door = folder / "way-out"
    door.mkdir()
    door.chmod(0o755)
    async with MountedEgress(service.serve, door, service.port) as way_out:
        yield way_out


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Half a container is none that could be removed: a cancellation waits."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()


def _read_image(said: bytes) -> _Image:
    config = json.loads(said) or {}
    env = dict(entry.partition("=")[::2] for entry in config.get("Env") or ())
    return _Image(env.get("PATH") or construction.PATH, tuple(config.get("Volumes") or ()))


def _make_mountpoints(plan: Plan, missing: Sequence[Path]) -> None:
    """What the engine makes for itself in a workspace may be another user's, and stay."""
    files = {
        plan.workspace / Path(mount.target).relative_to(WORK)
        for mount in plan.mounts
        if Path(mount.target).is_relative_to(WORK) and not mount.source.is_dir()
    }
    for path in reversed(missing):
        path.touch() if path in files else path.mkdir()


def _is_here(pid: int, name: str) -> bool:
    """False where an engine counts the processes of another machine."""
    with contextlib.suppress(OSError):
        return name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _user() -> str:
    return f"{SANDBOX_UID}:{SANDBOX_UID}" if os.geteuid() == 0 else f"{os.getuid()}:{os.getgid()}"


def _worker(pid: int | None = None) -> str:
    """Host, number and start of a process, which together are never given again; without a start where it is dead."""
    pid = os.getpid() if pid is None else pid
    started = ""
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        started = stat[stat.rindex(")") + 2 :].split()[19]
    return f"{socket.gethostname()}/{pid}/{started}"
