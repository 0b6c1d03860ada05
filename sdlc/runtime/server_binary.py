"""Where the Temporal CLI, which holds the development server, is found, fetched or built.

In this order: on PATH, in our cache, fetched as the SDK does it, built with Go into our cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from sdlc.errors import ConfigurationError

Say = Callable[[str], None]
"""Takes one line for the person who waits."""

CLI_VERSION = "v1.5.1"
"""The last version that `go install` can build: later ones carry a `replace` directive."""

CLI_PACKAGE = f"github.com/temporalio/cli/cmd/temporal@{CLI_VERSION}"
FETCH_SECONDS = 90.0
BUILD_SECONDS = 3_600.0
_LINE_EVERY = 10.0
_WHERE_GO_ALSO_IS = "/usr/local/go/bin:/opt/homebrew/bin"
_WHAT_TO_DO = (
    "Put the Temporal CLI on PATH (https://docs.temporal.io/cli), or install Go 1.23 or newer so that it can be "
    "built, or set TEMPORAL_ADDRESS to a server that runs."
)


def find_server_binary(cache_dir: Path) -> Path | None:
    """The Temporal CLI on PATH or in the cache, without fetching or building one."""
    found = shutil.which("temporal")
    if found:
        return Path(found)
    cached = _cached(cache_dir)
    return cached if os.access(cached, os.X_OK) and cached.is_file() else None


async def ensure_server_binary(cache_dir: Path, *, say: Say) -> Path:
    """The Temporal CLI, fetched or built into `cache_dir` where there is none; `say` hears what takes long.

    Safe for any number of processes at once: one works, the others wait for it.
    Raises ConfigurationError saying what to install when no way leads to one.
    """
    found = find_server_binary(cache_dir)
    if found:
        return found
    async with _only_one(cache_dir, say):
        # Another process may have put it there while this one waited.
        found = find_server_binary(cache_dir) or await _fetched(cache_dir, say)
        return found or await _built(cache_dir, say)


def _cached(cache_dir: Path) -> Path:
    return cache_dir / "bin" / "temporal"


@contextlib.asynccontextmanager
async def _only_one(cache_dir: Path, say: Say) -> AsyncIterator[None]:
    target = _cached(cache_dir).parent
    target.mkdir(parents=True, exist_ok=True)
    # The kernel gives the lock back when its holder dies, so a killed builder blocks nobody.
    lock = FileLock(target / ".temporal.lock")
    started, told = time.monotonic(), -_LINE_EVERY
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            waited = time.monotonic() - started
            if waited > BUILD_SECONDS + FETCH_SECONDS:
                raise ConfigurationError(
                    f"Another process has been making {_cached(cache_dir)} for {waited:.0f} s; end it and start again."
                ) from None
            if waited - told >= _LINE_EVERY:
                told = waited
                say(f"Waiting for another process that makes the Temporal server ready ({waited:.0f} s) …")
            await asyncio.sleep(0.5)
    try:
        yield
    finally:
        lock.release()


def _adopt_from(folder: Path, cache_dir: Path) -> Path | None:
    files = [file for file in folder.rglob("*") if file.is_file() and os.access(file, os.X_OK)]
    return _adopt(files[0], cache_dir) if files else None


def _adopt(binary: Path, cache_dir: Path) -> Path:
    """Move a finished binary to its place in one step, so that nobody finds half of it."""
    target = _cached(cache_dir)
    binary.chmod(0o755)
    os.replace(binary, target)
    return target


# --- fetched ------------------------------------------------------------------------------


async def _fetched(cache_dir: Path, say: Say) -> Path | None:
    """The SDK's own download. It starts what it fetched, which shows that it runs; None where it can't."""
    from temporalio.testing import WorkflowEnvironment

    say("No Temporal server on this machine; trying the SDK's download …")
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix="fetch-") as folder:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                environment = await WorkflowEnvironment.start_local(download_dest_dir=folder)
                await environment.shutdown()
        except (RuntimeError, TimeoutError):
            say("The download can't be reached from here.")
            return None
        return _adopt_from(Path(folder), cache_dir)


# --- built --------------------------------------------------------------------------------


async def _built(cache_dir: Path, say: Say) -> Path:
    go = shutil.which("go") or shutil.which("go", path=_WHERE_GO_ALSO_IS)
    if go is None:
        raise ConfigurationError(f"There is no Temporal server on this machine, and no Go to build one. {_WHAT_TO_DO}")
    say(f"Building the Temporal server {CLI_VERSION} with Go. This is done once and takes about 3 minutes.")
    # Everything the build needs lies below one folder and goes with it: 1.5 GB that nobody wants to keep.
    folder = Path(tempfile.mkdtemp(dir=cache_dir, prefix="build-"))
    try:
        await _go_install(go, folder, say)
        binary = folder / "bin" / "temporal"
        if not binary.is_file():
            raise ConfigurationError(f"Go built no Temporal server, without saying why. {_WHAT_TO_DO}")
        return _adopt(binary, cache_dir)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _go_environment(folder: Path) -> Mapping[str, str]:
    return {
        **os.environ,
        "GOBIN": str(folder / "bin"),
        "GOPATH": str(folder / "path"),
        "GOMODCACHE": str(folder / "modules"),
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "-modcacherw",  # Go's module cache is read-only otherwise, and could not be removed
        "CGO_ENABLED": "0",  # no C compiler needed; the server's SQLite is pure Go
    }


async def _go_install(go: str, folder: Path, say: Say) -> None:
    (folder / "tmp").mkdir()
    process = await asyncio.create_subprocess_exec(
        *(go, "install", "-v", "-ldflags", "-s -w", CLI_PACKAGE),
        cwd=folder,
        env={**_go_environment(folder), "GOTMPDIR": str(folder / "tmp")},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None  # noqa: S101 - given PIPE
    watch = _BuildWatch(say)
    ticker = asyncio.create_task(watch.tick())
    try:
        async with asyncio.timeout(BUILD_SECONDS):
            async for line in process.stderr:
                watch.see(line.decode("utf-8", "replace").strip())
            code = await process.wait()
    except TimeoutError:
        raise ConfigurationError(
            f"Building the Temporal server took longer than {BUILD_SECONDS / 60:.0f} minutes. {_WHAT_TO_DO}"
        ) from None
    finally:
        ticker.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code != 0:
        raise ConfigurationError(f"Go could not build the Temporal server: {watch.complaint}. {_WHAT_TO_DO}")
    say(f"Built the Temporal server in {watch.elapsed:.0f} s.")


class _BuildWatch:
    """Counts what Go reports, and tells the elapsed time now and then."""

    _PACKAGE = re.compile(r"[\w.~-]+(?:/[\w.~-]+)*")

    def __init__(self, say: Say) -> None:
        self._say = say
        self._started = time.monotonic()
        self._downloads = 0
        self._packages = 0
        self._complaints: list[str] = []

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    @property
    def complaint(self) -> str:
        """The end of what Go said that was no progress, in one line."""
        text = " / ".join(self._complaints[-3:]) or "it gave no reason"
        return text[:400].rstrip(".")

    def see(self, line: str) -> None:
        if line.startswith("go: downloading"):
            self._downloads += 1
        elif self._PACKAGE.fullmatch(line):
            self._packages += 1
        elif line:
            self._complaints.append(line)

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(_LINE_EVERY)
            self._say(
                f"Building the Temporal server: {self.elapsed:.0f} s, {self._downloads} modules fetched, "
                f"{self._packages} packages compiled …"
            )
