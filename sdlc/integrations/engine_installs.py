"""Command-line engines on this worker: fetched with uv or npm into a folder of ours, a version each.

Nothing that a package brings is run while it is fetched. npm's install scripts are off, and what they would do
isn't needed, since the package with the program for this very platform is what is asked for; uv takes wheels only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from sdlc.errors import ConfigurationError, EngineUnusable, ServiceUnavailable
from sdlc.integrations import process
from sdlc.integrations.git.locks import locked
from sdlc.integrations.sandbox import Mount, Sandbox, plain_text, toolchain_mounts
from sdlc.integrations.sandbox.toolchains import OWN

INSTALL_SECONDS = 900.0
PROBE_SECONDS = 120.0

_MARKER = "installed.json"
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,63}")
_PASSED_ON = re.compile(
    r"PATH|TMPDIR|LANG|LC_\w+|https?_proxy|no_proxy|all_proxy|NODE_EXTRA_CA_CERTS|SSL_CERT_(?:FILE|DIR)"
    r"|(?:REQUESTS|CURL)_CA_BUNDLE|(?:UV_(?!PUBLISH_)|PIP_|npm_config_)\w+",
    re.IGNORECASE,
)
"""Variables of the worker's that uv and npm get; what else is in its environment is nothing to them."""
_OWN_FILES = {"npm_config_userconfig": ".npmrc", "UV_CONFIG_FILE": ".config/uv/uv.toml", "NETRC": ".netrc"}
"""Files in the worker's HOME that say where the package index is, by the variables that name them."""
_LINES = 4
_CHARS = 600


@dataclass(frozen=True)
class Package:
    """Where an engine comes from. `{version}` and `{platform}` in its texts are filled in, such as `linux-x64`."""

    name: str
    """The engine's, as in `EngineSettings.name`."""
    installer: Literal["uv", "npm"]
    package: str
    version: str
    """The one that was tried."""
    executable: str
    """Below the folder of the installation; a pattern that one file fits."""
    python: str = ""
    """Of uv: which Pythons it runs on."""
    also: tuple[str, ...] = ()
    """Of uv: what is installed with it, such as versions of what it needs that it was tried with."""
    release: str = "{version}"
    """Of npm: what the registry calls the version."""
    platforms: Mapping[str, str] = field(default_factory=dict)
    """Of npm: what the package calls a platform, where that differs from ours."""
    probe: tuple[str, ...] = ("--version",)
    """Arguments with which it says its version and ends."""

    def filled(self, text: str, version: str) -> str:
        name = platform_name()
        return text.replace("{version}", version).replace("{platform}", self.platforms.get(name, name))

    def specification(self, version: str) -> str:
        """What uv or npm is asked for."""
        if self.installer == "uv":
            return f"{self.package}=={version}"
        return f"{self.filled(self.package, version)}@{self.filled(self.release, version)}"


@dataclass(frozen=True)
class Installation:
    """An engine that can be run."""

    name: str
    version: str
    folder: Path
    executable: Path
    mounts: tuple[Mount, ...]
    """What the sandbox must see, at the same paths as here."""
    env: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    """What the program itself says of its version; empty if it wasn't asked."""
    bytes: int = 0
    """On disk."""


@dataclass(frozen=True)
class _Marker:
    """Written last: a folder with it is whole."""

    executable: str
    says: str
    bytes: int
    python: str
    """Prefix of the Python that it runs on, empty for none."""


class Installations:
    """The engines below `<cache_dir>/engines/<name>/<version>`. With `sandbox`, what is installed is tried there."""

    def __init__(self, cache_dir: Path, sandbox: Sandbox | None = None) -> None:
        self._root = (cache_dir.absolute() / "engines").resolve()
        self._sandbox = sandbox

    def find(self, package: Package, version: str = "") -> Installation:
        """The installation of `version`, by default the one that was tried; nothing is run for it.

        Raises EngineUnusable with the mend.
        """
        wanted = _checked(package, version)
        folder = self._folder(package, wanted)
        marker = _read(folder)
        command = f"sdlc engines install {package.name}" + f" --version {wanted}" * (wanted != package.version)
        if marker is None:
            others = self.versions(package)
            there = f"; {' and '.join(others)} {'is' if len(others) == 1 else 'are'}" if others else ""
            more = ", set engine.version" if others else ""
            raise EngineUnusable(
                f"`{package.name}` {wanted} is not installed on this worker{there}. "
                f"Run `{command}` there{more}, or set engine.name."
            )
        executable = folder / marker.executable
        for needed in (executable, Path(marker.python or "/")):
            if not needed.exists():
                raise EngineUnusable(
                    f"`{package.name}` {wanted} can't be started: {needed} is gone. Run `{command}` on this worker."
                )
        mounts = _mounts(folder, marker.python)
        return Installation(package.name, wanted, folder, executable, mounts, says=marker.says, bytes=marker.bytes)

    def versions(self, package: Package) -> list[str]:
        """The versions that are installed whole, in the order of their names."""
        return sorted(marker.parent.name for marker in (self._root / package.name).glob(f"[0-9]*/{_MARKER}"))

    async def install(
        self, package: Package, version: str = "", say: Callable[[str], None] = lambda line: None
    ) -> Installation:
        """Fetch it unless it is there; two at once wait for one another. `say` is told what takes long.

        Raises EngineUnusable where it can't be had or doesn't start, ServiceUnavailable where asking again may help.
        """
        wanted = _checked(package, version)
        folder = self._folder(package, wanted)
        async with locked(folder.parent / f"{wanted}.lock", timeout=INSTALL_SECONDS):
            with contextlib.suppress(EngineUnusable):
                return self.find(package, wanted)
            say(f"Fetching {package.specification(wanted)} with {package.installer}; this takes a minute or two.")
            draft = folder.with_name(f"{wanted}.draft")
            try:
                await _clear(folder, draft)
                draft.mkdir()
                await self._fetch(package, wanted, draft)
                python = _python_of(draft) if package.installer == "uv" else ""
                executable = _executable(package, wanted, draft)
                size = await asyncio.to_thread(_open_to_others, draft)
                # Renamed before it is tried, so that it is tried as it will be used.
                os.rename(draft, folder)
                says = await self._said(package, wanted, folder / executable, _mounts(folder, python))
                marker = _Marker(executable, says, size, python)
                (folder / _MARKER).write_text(json.dumps(asdict(marker)), encoding="utf-8")
                (folder / _MARKER).chmod(0o644)
                return self.find(package, wanted)
            except BaseException:
                await _clear(folder, draft)
                raise

    async def remove(self, package: Package, version: str = "") -> list[str]:
        """Remove one version, or all of them; which ones there were."""
        gone = [name for name in self.versions(package) if name == version or not version]
        for name in gone:
            folder = self._folder(package, name)
            async with locked(folder.parent / f"{name}.lock", timeout=INSTALL_SECONDS):
                (folder / _MARKER).unlink(missing_ok=True)
                await _clear(folder)
        return gone

    def _folder(self, package: Package, version: str) -> Path:
        return self._root / package.name / version

    async def _fetch(self, package: Package, version: str, draft: Path) -> None:
        specification = package.specification(version)
        if package.installer == "npm":
            npm = shutil.which("npm")
            if npm is None:
                raise EngineUnusable(
                    f"`{package.name}` is fetched with npm, which is missing; install Node.js, then again."
                )
            quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
            await _tool(package, (npm, "install", "--prefix", str(draft), *quiet, specification), draft)
        else:
            uv = _uv()
            venv = ("venv", "--quiet", "--relocatable", "--allow-existing", "--python", package.python, str(draft))
            await _tool(package, (uv, *venv), draft)
            # Copies, since links would share their rights with uv's cache; to build a package is to run it.
            python = str(draft / "bin/python")
            how = ("--quiet", "--link-mode", "copy", "--only-binary", ":all:", "--python", python)
            await _tool(package, (uv, "pip", "install", *how, specification, *package.also), draft)
            # Nobody can write byte code later. `-S`: uv would do it with a Python that runs the packages' `.pth` files.
            compiled = (python, "-I", "-S", "-m", "compileall", "-q", "-q", "-j", "0", str(draft / "lib"))
            await _tool(package, compiled, draft, accept=(0, 1))  # some packages bring files that don't compile
        found = _version_of(package, version, draft)
        if found != version:
            raise EngineUnusable(
                f"`{package.name}` {version} was asked for and {found or 'nothing'} came. Look at your package mirror."
            )

    async def _said(self, package: Package, version: str, executable: Path, mounts: Sequence[Mount]) -> str:
        """The line in which the program says its version; empty where there is no sandbox to ask it in."""
        if self._sandbox is None:
            return ""
        with tempfile.TemporaryDirectory(prefix="sdlc-engine-", ignore_cleanup_errors=True) as empty:
            result = await self._sandbox.run(
                (str(executable), *package.probe), workspace=Path(empty), timeout=PROBE_SECONDS, mounts=mounts
            )
        line = next((line.strip() for line in result.output.splitlines() if version in line), "")
        if result.exit_code != 0 or not line:
            raise EngineUnusable(
                f"`{package.name}` {version} was fetched but doesn't say its version in the sandbox "
                f"(exit code {result.exit_code}): {_lines(result.output) or 'no output'}"
            )
        return line


def platform_name() -> str:
    """Such as `linux-x64`, `linux-arm64-musl`, `darwin-arm64`: as npm packages are called after it."""
    machine = platform.machine().lower()
    processor = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(machine, machine)
    musl = "-musl" if sys.platform == "linux" and platform.libc_ver()[0] != "glibc" else ""
    return f"{sys.platform}-{processor}{musl}"


def _checked(package: Package, version: str) -> str:
    wanted = version or package.version
    if not _VERSION.fullmatch(wanted):
        raise ConfigurationError(
            f"`{wanted}` can't be a version of `{package.name}`; name a whole one, such as {package.version}."
        )
    return wanted


def _read(folder: Path) -> _Marker | None:
    try:
        return _Marker(**json.loads((folder / _MARKER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


async def _clear(*folders: Path) -> None:
    for folder in folders:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _mounts(folder: Path, python: str) -> tuple[Mount, ...]:
    own = Mount(folder, str(folder))
    outside = python and not Path(python).is_relative_to("/usr")
    return (own, Mount(Path(python), python)) if outside else (own,)


def _uv() -> str:
    """The real program, not a shim that needs its owner's HOME."""
    for mount in toolchain_mounts():
        if mount.target == f"{OWN}/bin/uv":
            return str(mount.source)
    raise EngineUnusable(
        "This engine is fetched with uv, which is missing; run `make setup` or `pip install uv`, then again."
    )


def _python_of(folder: Path) -> str:
    """The prefix of the Python that an environment was made from."""
    home = re.search(r"^home *= *(.+)$", (folder / "pyvenv.cfg").read_text(encoding="utf-8"), re.MULTILINE)
    prefix = Path(home[1]).parent if home else Path("/")
    if Path.home().is_relative_to(prefix):
        raise EngineUnusable(
            f"The Python below {prefix} can't be shown to the sandbox without your home folder; put another on PATH."
        )
    return str(prefix)


def _executable(package: Package, version: str, folder: Path) -> str:
    found = sorted(folder.glob(package.filled(package.executable, version)))
    if not found or not os.access(found[0], os.X_OK):
        raise EngineUnusable(
            f"`{package.name}` {version} has no program for {platform_name()}; choose another version or engine."
        )
    return str(found[0].relative_to(folder))


def _version_of(package: Package, version: str, folder: Path) -> str:
    """As the package's own metadata has it, without a platform at its end."""
    if package.installer == "npm":
        manifest = folder / "node_modules" / package.filled(package.package, version) / "package.json"
        found = str(json.loads(manifest.read_text(encoding="utf-8")).get("version")) if manifest.is_file() else ""
        return version if found == package.filled(package.release, version) else found
    name = package.package.replace("-", "_")
    found_in = folder.glob(f"lib/python3*/site-packages/{name}-*.dist-info")
    return next((path.name.removeprefix(f"{name}-").removesuffix(".dist-info") for path in found_in), "")


def _open_to_others(folder: Path) -> int:
    """Let everybody read it, whatever the umask was: in the sandbox it is another user. Returns its bytes."""
    total = 0
    for root, _folders, files in os.walk(folder):
        for path in (Path(root), *(Path(root, name) for name in files)):
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                continue
            total += status.st_blocks * 512
            more = 0o055 if stat.S_ISDIR(status.st_mode) or status.st_mode & stat.S_IXUSR else 0o044
            path.chmod(stat.S_IMODE(status.st_mode) & ~0o022 | more)
    return total


async def _tool(package: Package, command: Sequence[str], cwd: Path, *, accept: Sequence[int] = (0,)) -> None:
    with tempfile.TemporaryDirectory(prefix=".home-", dir=cwd.parent, ignore_cleanup_errors=True) as home:
        done = await process.run(command, cwd=cwd, env=_environment(home), timeout=INSTALL_SECONDS)
    if done.exit_code in accept:
        return
    text = plain_text(done.stderr or done.stdout)
    # npm says what is wrong first, and then what one might do; uv comes to the point at the end.
    said = _lines(text, first=package.installer == "npm")
    if _NOT_REACHED.search(text):
        raise ServiceUnavailable(f"`{package.name}` can't be fetched, the package index isn't reached: {said}")
    raise EngineUnusable(f"`{package.name}` can't be fetched, {package.installer} failed: {said}")


def _environment(home: str) -> dict[str, str]:
    owner = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or owner / ".local/share")
    # Pythons that uv brings stay where they were: an engine goes on needing its own.
    env = {"UV_PYTHON_INSTALL_DIR": str(data / "uv/python")}
    env |= {name: str(owner / file) for name, file in _OWN_FILES.items() if (owner / file).is_file()}
    env |= {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    return {**env, "HOME": home}


_NOT_REACHED = re.compile(
    r"ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|\bE5\d\d\b|dns error|timed out|error sending request"
    r"|[Cc]onnection (?:refused|reset)|tcp connect"
)


def _lines(text: str, *, first: bool = False) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and "complete log of this run" not in line]
    return " / ".join(lines[:_LINES] if first else lines[-_LINES:])[:_CHARS]
