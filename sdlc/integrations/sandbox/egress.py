"""The way out of a sandbox that has no network: a socket that listens inside, and is attended to outside.

The first program in the sandbox, ours, listens on its loopback, sends the socket out through an inherited
channel and becomes the command. A socket stays in the network namespace it was made in, whoever accepts from it,
so the worker's proxy serves it and no process of ours stays behind inside for a repository's code to meddle with.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from sdlc.integrations.sandbox.port import Mount

PORT = 3128
"""Inside, where nobody else listens when a command begins."""
ADDRESS = f"http://127.0.0.1:{PORT}"
_PATIENCE = 2.0
"""Seconds for what our own program sends right after it has connected."""

_LISTEN = """
import _signal, _socket, os, sys
listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[2])))
listener.listen(128)
if sys.argv[1].startswith("/"):
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    channel.connect(sys.argv[1])
else:
    channel = _socket.socket(fileno=int(sys.argv[1]))
number = listener.fileno().to_bytes(4, sys.byteorder)
channel.sendmsg([b"."], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, number)])
channel.close()
listener.close()
for ignored in (_signal.SIGPIPE, _signal.SIGXFSZ):
    _signal.signal(ignored, _signal.SIG_DFL)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Only modules that are built in or quick to load; the signals are those that Python ignores for itself."""


def python_mounts() -> tuple[Mount, ...]:
    """What the first program needs inside: the Python that we run with, where the system doesn't have it."""
    base = Path(sys.base_prefix)
    if base.resolve().is_relative_to("/usr"):
        return ()
    return (Mount(base, str(base)),)


class Egress:
    """A server for one sandbox, from before its start until after its end."""

    def __init__(self, serve: Callable[[socket.socket], Awaitable[None]], port: int = PORT) -> None:
        """`serve` attends to the listener until it is cancelled; `port` is where the sandbox finds it."""
        self._attend = serve
        self._port = port
        self._ours, self._theirs = self._channel()
        self._ours.setblocking(False)
        self._task: asyncio.Task[None] | None = None
        self.received = False
        """True as soon as the sandbox has sent its socket."""

    def _channel(self) -> tuple[socket.socket, socket.socket]:
        return socket.socketpair()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close_theirs()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._ours.close()

    @property
    def descriptor(self) -> int:
        """What the sandbox has to inherit."""
        return self._theirs.fileno()

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command, the program of which has a full path."""
        python = f"{sys.base_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
        return (python, "-I", "-S", "-c", _LISTEN, str(self.descriptor), str(self._port))

    def close_theirs(self) -> None:
        """Once the sandbox has its own."""
        self._theirs.close()

    async def _serve(self) -> None:
        listener = await self._received()
        if listener is None:
            return
        with listener:
            listener.setblocking(False)
            await self._attend(listener)

    async def _received(self) -> socket.socket | None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._ours, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._ours)
        return self._taken_from(self._ours)

    def _taken_from(self, channel: socket.socket) -> socket.socket | None:
        with contextlib.suppress(OSError):
            _data, descriptors, _flags, _address = socket.recv_fds(channel, 1, 1)
            if descriptors:
                self.received = True
                return _as_listener(descriptors[0])
        return None


class MountedEgress(Egress):
    """The same for a sandbox that inherits nothing: `folder`, which it sees at `FOLDER`, has a socket in it."""

    FOLDER = "/run/sdlc"

    def __init__(self, serve: Callable[[socket.socket], Awaitable[None]], folder: Path, port: int = PORT) -> None:
        self._path = folder / "way-out"
        super().__init__(serve, port)

    def _channel(self) -> tuple[socket.socket, socket.socket]:
        door = socket.socket(socket.AF_UNIX)
        door.bind(str(self._path))
        self._path.chmod(0o666)  # the folder is not for everybody
        door.listen(1)
        return door, socket.socket(socket.AF_UNIX)

    @property
    def prefix(self) -> tuple[str, ...]:
        """As of `Egress`, with the image's own Python."""
        return ("python3", "-I", "-S", "-c", _LISTEN, f"{self.FOLDER}/{self._path.name}", str(self._port))

    def _taken_from(self, channel: socket.socket) -> socket.socket | None:
        # Ours is the first program inside, so it is the first to come; the command finds nobody here.
        with contextlib.suppress(OSError):
            first, _address = channel.accept()
            self._path.unlink()
            with first:
                first.settimeout(_PATIENCE)
                return super()._taken_from(first)
        return None


def _as_listener(descriptor: int) -> socket.socket | None:
    """A library that a command's environment preloads may have sent us anything."""
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        return None
    kind = (found.family, found.type)
    if kind == (socket.AF_INET, socket.SOCK_STREAM) and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return found
    found.close()
    return None
