"""A way to the Temporal server that a test can close, for when it is away."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sdlc.config import Settings, TemporalSettings


@dataclass
class Door:
    """A port that leads to the server only while it is open."""

    port: int
    to: str
    _server: asyncio.Server | None = None

    async def open(self) -> None:
        host, _, port = self.to.rpartition(":")

        async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            other_reader, other_writer = await asyncio.open_connection(host, int(port))
            self._writers += [writer, other_writer]
            await asyncio.gather(_pipe(reader, other_writer), _pipe(other_reader, writer))

        self._writers: list[asyncio.StreamWriter] = []
        self._server = await asyncio.start_server(through, "127.0.0.1", self.port)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            self._server = None


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def a_door(address: str) -> AsyncIterator[Door]:
    """To the server at this address; closed at first, and at last."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Door(port, address)
    yield made
    made.close()


def behind(door: Door, settings: Settings) -> Settings:
    return settings.model_copy(
        update={"temporal": TemporalSettings(address=f"127.0.0.1:{door.port}", task_queue=settings.temporal.task_queue)}
    )
