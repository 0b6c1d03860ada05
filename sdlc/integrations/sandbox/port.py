"""What a sandbox takes and gives, whichever it is."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

WORK = "/work"
"""Where the workspace is inside a sandbox that can move it."""

Limit = Literal["time", "cpu", "memory", "processes", "disk", "file", "output"]
"""What a command had too much of; `file` is one file larger than allowed."""

ENVIRONMENT = {"LANG": "C.UTF-8", "TERM": "dumb"}
"""Of the allow-list, what is the same everywhere. PATH, HOME and TMPDIR are the sandbox's own."""


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host, seen at `target` inside. The host decides, never a repository."""

    source: Path
    target: str
    """Absolute. Below `/work` it covers what the workspace has there."""
    writable: bool = False
    """What is written counts as growth of the workspace."""


@dataclass(frozen=True)
class CommandResult:
    exit_code: int
    """As a shell tells it: 127 for a program that isn't there, 128 + n for signal n."""
    output: str
    """stdout and stderr as they came, fit to print; a cut middle is marked with its size."""
    output_bytes: int
    """All that was printed, also what was cut."""
    timed_out: bool
    limit: Limit | None
    """What the command was killed for, or failed of; None: it ended by itself."""
    seconds: float
    sandboxed: bool
    connections: int = 0
    """That a command with network made to its way out."""
    refused_hosts: tuple[str, ...] = ()
    """What it asked for there and wasn't led to: the first names and addresses, for the log and a person."""


@dataclass(frozen=True)
class Service:
    """A server of the worker's that a command reaches on its own loopback, and nothing else: such as its model."""

    serve: Callable[[socket.socket], Awaitable[None]]
    """Serves a listening socket that doesn't block until it is cancelled; all its connections end with it."""
    port: int
    """From `Sandbox.service_port`: the command reaches `http://127.0.0.1:<port>`."""


class Sandbox(Protocol):
    name: str
    """As in `SandboxSettings.kind`."""

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
        """Run `command` with `workspace` to write to, for at most `timeout` seconds.

        `on_output` is given what it prints as it comes, in the event loop. `service` is all that it reaches of the
        network, and can't be had together with `network`.

        Whatever it started is dead when this returns, and when it is cancelled. With `network` the command
        reaches the public network by HTTP(S) through a proxy that its environment names, and nothing else:
        not this machine, no private address, no metadata of a cloud, no name server, and nothing by ssh. The
        environment also has the worker's mirrors and certificates, as far as there is no credential in them;
        the hosts of those mirrors may be private. `none` can neither deny nor bound the network.
        Raises SandboxUnavailable, and ConfigurationError for a workspace or mount that isn't there.
        """
        ...

    async def check(self) -> None:
        """Raise SandboxUnavailable, with the mend, when nothing can be run here."""
        ...

    def service_port(self) -> int:
        """A port for a `Service` of the next command."""
        ...

    def inside(self, workspace: Path) -> str:
        """The path of the workspace as a command sees it."""
        ...

    def target(self, mount: Mount) -> str:
        """The path of a mount as a command sees it."""
        ...
