"""An HTTP server for what the internet may reach: bounded in connections and in the time that each may idle."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator, Generator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sdlc.errors import ConfigurationError

CONNECTIONS = 256
"""At once; more are closed as they come."""
HEAD_SECONDS = 15.0
"""For the head of a request, the first of a connection or the next, and for what is sent after its answer."""
END_SECONDS = 5.0
"""For requests in hand when the server stops."""
_FAULTS = {
    errno.EADDRINUSE: "is taken",
    errno.EACCES: "needs rights that this user does not have",
    errno.EADDRNOTAVAIL: "is at no address of this machine",
}


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, host: str, port: int) -> AsyncIterator[str]:
    """Serve while the block runs, and give its root, such as `http://127.0.0.1:8080`; port 0 picks a free one.

    Requests in hand are finished at its end. Raises ConfigurationError if it can't listen there.
    """
    listener = _listener(host, port)
    server = _Server(_config(app))
    task = asyncio.create_task(server.serve(sockets=[listener]), name="sdlc web server")
    task.add_done_callback(lambda _: server.ready.set())
    try:
        await server.ready.wait()
        if task.done():
            task.result()
        yield _root(listener)
    finally:
        server.should_exit = True
        await asyncio.wait({task}, timeout=2 * END_SECONDS)
        task.cancel()
        for connection in list(server.server_state.connections):
            if isinstance(connection, H11Protocol):
                connection.transport.abort()
        listener.close()


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=CONNECTIONS)
    except OSError as error:
        why = (
            "is no host name that is known here"
            if isinstance(error, socket.gaierror)
            else _FAULTS.get(error.errno or 0)
        )
        raise ConfigurationError(
            f"Can't listen on {host}:{port}: it {why or f'fails ({error.strerror})'}; choose others by --host and "
            "--port, or web.host and web.port (0 picks a free port)."
        ) from error


def _root(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.ERROR,  # anybody may send what is no HTTP
        access_log=False,  # its lines hold query strings
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=round(END_SECONDS),
        backlog=CONNECTIONS,
    )


class _Connection(H11Protocol):
    """Gone at once where there are too many, and soon where it asks nothing: uvicorn's own watch begins after the
    first answer only, and any byte ends it."""

    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        else:
            self._start_watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._end_watch()

    def on_response_complete(self) -> None:
        self._start_watch()  # first: what follows may begin the next request, which a client sent along
        super().on_response_complete()
        if self.cycle is not None and not self.cycle.response_complete:
            self._end_watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end_watch()

    def _start_watch(self) -> None:
        self._end_watch()
        self._watch = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are the command's."""
        yield
