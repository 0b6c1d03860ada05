"""The command line that makes a bubblewrap sandbox.

As an unprivileged user it is one bubblewrap with a user namespace of its own. As root it is that very one,
run as another user (root is exempt from the limit on processes), and around it a first bubblewrap that only
brings workspace and mounts to where that user can reach them, whatever folders they lie below.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sdlc.config import SandboxSettings
from sdlc.errors import ConfigurationError
from sdlc.integrations.sandbox.ownership import SANDBOX_UID
from sdlc.integrations.sandbox.port import ENVIRONMENT, WORK, Mount

HOME = "/home/sandbox"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSIDE_ID = 1000
"""User and group inside."""

_SPARE_PROCESSES = 8
"""Above the limit that is watched, so that reaching it can be seen before the kernel refuses."""
_SPARE_MEMORY = 1.25
"""Of one process, above what all may have together: reserving is no harm, and much is reserved in vain."""
_SPARE_CPU = 5
"""Seconds, for the same reason."""
_OPEN_FILES = 8_192
_SHARED_MEMORY = 256 * 1024**2

# fmt: off
_ETC = (
    "alternatives", "ca-certificates", "crypto-policies", "debian_version", "fonts", "java-*-openjdk", "java",
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "lsb-release", "magic", "mime.types", "os-release",
    "pki", "protocols", "services", "shells", "ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone",
)
# fmt: on

FILES = {
    "/etc/passwd": (
        f"root:x:0:0:root:/root:/bin/sh\nsandbox:x:{INSIDE_ID}:{INSIDE_ID}:sandbox:{HOME}:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n"
    ),
    "/etc/group": f"root:x:0:\nsandbox:x:{INSIDE_ID}:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nprotocols: files\nservices: files\n",
}
"""Made anew for each sandbox: the host's would tell who works there and with whom."""


@dataclass(frozen=True)
class Plan:
    """One command in one sandbox."""

    command: Sequence[str]
    workspace: Path
    mounts: Sequence[Mount]
    env: Mapping[str, str]
    cwd: str

    @property
    def binds(self) -> list[Mount]:
        """The workspace and the mounts, outer targets first, so that none covers another."""
        found = [Mount(self.workspace.absolute(), WORK, writable=True), *self.mounts]
        return sorted(found, key=lambda mount: len(PurePosixPath(mount.target).parts))


def validate(plan: Plan) -> None:
    """Raises ConfigurationError for what can't be mounted."""
    for mount in plan.binds:
        target = PurePosixPath(mount.target)
        if not target.is_absolute() or ".." in target.parts or len(target.parts) < 2:
            raise ConfigurationError(f"`{mount.target}` can't be a folder of the sandbox; name an absolute path.")
        if not mount.source.exists():
            raise ConfigurationError(f"{mount.source} should be seen at {mount.target} in the sandbox but isn't there.")
    for name, value in plan.env.items():
        if "\0" in name + value or "=" in name or not name:
            raise ConfigurationError(f"The environment variable {name!r} can't be set: its name or value is not valid.")
    if any("\0" in part for part in plan.command) or not plan.command:
        raise ConfigurationError("A command is empty or has a NUL character in it, and can't be run.")


def command_line(
    plan: Plan,
    settings: SandboxSettings,
    *,
    arguments_fd: int,
    status_fd: int,
    as_root: bool,
    programs: Mapping[str, str],
    first: Sequence[str] = (),
) -> list[str]:
    """What to start. `programs` are full paths; `first` is what runs inside and becomes the command.

    `arguments_fd` is where the inner bubblewrap reads `arguments`. To `status_fd` each bubblewrap writes a line
    with its first process, and another one with the exit code if its command could be started.
    """
    inner = [programs["bwrap"], "--args", str(arguments_fd), "--"]
    inner += [*first, programs["prlimit"], *_prlimit(settings), "--", *plan.command]
    if not as_root:
        return inner
    # Its process namespace is what dies with us: bubblewrap itself has no right to signal another user's processes.
    outer = [programs["bwrap"], "--unshare-pid", "--die-with-parent", "--json-status-fd", str(status_fd)]
    outer += ["--dev-bind", "/", "/", "--tmpfs", _STAGE]
    for number, mount in enumerate(plan.binds):
        outer += ["--bind" if mount.writable else "--ro-bind", str(mount.source.absolute()), _staged(number)]
    switch = f"--reuid={SANDBOX_UID} --regid={SANDBOX_UID} --clear-groups --inh-caps=-all --bounding-set=-all"
    return [*outer, "--", programs["setpriv"], *switch.split(), "--", *inner]


def arguments(
    plan: Plan,
    settings: SandboxSettings,
    *,
    status_fd: int,
    file_fds: Mapping[str, int],
    as_root: bool,
    filter_fd: int | None = None,
) -> bytes:
    """The inner bubblewrap's arguments, NUL-separated: in a file, where no process list shows the environment."""
    parts = ["--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent", "--new-session"]
    parts += ["--cap-drop", "ALL", "--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID), "--hostname", "sandbox"]
    parts += ["--json-status-fd", str(status_fd)]
    if filter_fd is not None:
        parts += ["--seccomp", str(filter_fd)]
    parts += _system()
    parts += _temporary(settings)
    for path, descriptor in file_fds.items():
        parts += ["--perms", "0444", "--file", str(descriptor), path]
    for number, mount in enumerate(plan.binds):
        source = _staged(number) if as_root else str(mount.source.absolute())
        parts += ["--bind" if mount.writable else "--ro-bind", source, mount.target]
    # Last: what bubblewrap made for itself would be memory without a bound.
    parts += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", plan.cwd, "--clearenv"]
    for name, value in environment(plan.env).items():
        parts += ["--setenv", name, value]
    return b"".join(part.encode(errors="surrogateescape") + b"\0" for part in parts)


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a sandboxed command: the allow-list, and what the caller gives."""
    return {"PATH": PATH, "HOME": HOME, "TMPDIR": "/tmp", **ENVIRONMENT, **given}  # noqa: S108 - the sandbox's own


def missing_mountpoints(plan: Plan) -> list[Path]:
    """What bubblewrap has to make in the workspace to mount upon, the deepest first."""
    missing: set[Path] = set()
    for mount in plan.mounts:
        target = PurePosixPath(mount.target)
        if target.is_relative_to(WORK):
            path = plan.workspace / target.relative_to(WORK)
            while path != plan.workspace and not os.path.lexists(path):
                missing.add(path)
                path = path.parent
    return sorted(missing, key=lambda path: len(path.parts), reverse=True)


_STAGE = "/tmp"  # noqa: S108 - a tmpfs over it, in a mount namespace of its own


def _staged(number: int) -> str:
    return f"{_STAGE}/{number}"


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    for pattern in _ETC:
        for path in sorted(Path("/etc").glob(pattern)):
            yield from ("--ro-bind-try", str(path), str(path))
    yield from ("--proc", "/proc", "--dev", "/dev")


def _temporary(settings: SandboxSettings) -> Iterator[str]:
    half = str(max(1024**2, settings.memory_bytes // 2))
    shared = str(min(_SHARED_MEMORY, settings.memory_bytes))
    yield from ("--perms", "1777", "--size", shared, "--tmpfs", "/dev/shm")  # noqa: S108 - the sandbox's own
    yield from ("--perms", "1777", "--size", half, "--tmpfs", "/tmp")  # noqa: S108 - the sandbox's own
    yield from ("--perms", "0700", "--size", half, "--tmpfs", HOME)
    yield from ("--dir", "/run", "--dir", "/var", "--symlink", "../tmp", "/var/tmp")  # noqa: S108


def _prlimit(settings: SandboxSettings) -> list[str]:
    return [f"--{name}={value}" for name, value in limits(settings).items()]


def limits(settings: SandboxSettings) -> dict[str, int]:
    """By the names that `prlimit` has for them, as far as we may give so much ourselves."""
    # Address space is left alone: garbage-collected languages reserve many times what they use.
    wanted = {
        "nproc": (resource.RLIMIT_NPROC, settings.processes + _SPARE_PROCESSES),
        "data": (resource.RLIMIT_DATA, int(settings.memory_bytes * _SPARE_MEMORY)),
        "cpu": (resource.RLIMIT_CPU, settings.cpu_seconds + _SPARE_CPU),
        "fsize": (resource.RLIMIT_FSIZE, settings.file_bytes),
        "nofile": (resource.RLIMIT_NOFILE, _OPEN_FILES),
        "core": (resource.RLIMIT_CORE, 0),
    }
    hard = {name: resource.getrlimit(number)[1] for name, (number, _value) in wanted.items()}
    return {
        name: value if hard[name] == resource.RLIM_INFINITY else min(value, hard[name])
        for name, (_number, value) in wanted.items()
    }
