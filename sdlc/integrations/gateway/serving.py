"""An HTTP server in the running event loop: quiet, for one listening socket, and gone at once when cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import traceback
from collections.abc import Generator, MutableMapping
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_LOG = logging.getLogger(__name__)
CONNECTIONS = 64
"""At once. A program has a few; code that it runs may open more, and each takes a descriptor of the worker."""
HEAD_SECONDS = 30.0
"""For the head of a request, the first of a connection or the next."""
_END_SECONDS = 5.0


class BrokenOff(Exception):
    """The answer can't be brought to its end: the connection is to break, so that nobody takes it for whole."""


async def serve_http(handler: ASGIApp, listener: socket.socket) -> None:
    """Serve `handler` until cancelled; then every connection breaks, which `gone` tells those who are at work."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await handler(scope, receive, send)
        except Exception as error:
            if not isinstance(error, BrokenOff):
                # Without the error's own words: they may hold a key or what was said.
                _LOG.error("%s in\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
            server.abort(scope)
            await gone(receive)

    server = _Server(_config(app))
    try:
        await server.serve(sockets=[listener])
    finally:
        await server.end()


async def gone(receive: Receive) -> None:
    """Until whoever asked has gone away; not to be used before the whole body has been read."""
    message: MutableMapping[str, Any] = {}
    while message.get("type") != "http.disconnect":
        message = await receive()


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.ERROR,  # what comes out of the sandbox is nothing to warn the worker's log of
        access_log=False,
        proxy_headers=False,
        limit_concurrency=2 * CONNECTIONS,  # a request may outlive its connection for a while
        backlog=CONNECTIONS,  # so many are accepted before the first of them can be aborted
    )


class _Connection(H11Protocol):
    """Gone at once where there are too many, and soon where it asks nothing."""

    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        else:
            self._watched()

    def data_received(self, data: bytes) -> None:
        waited = self._waits()
        super().data_received(data)
        if waited and not self._waits():
            self._watched()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # any byte would end that watch
        self._watched()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._watch is not None:
            self._watch.cancel()

    def _waits(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watched(self) -> None:
        """Have an end set to the wait for a request; a part of its head does not put that off."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self.loop.call_later(HEAD_SECONDS, self.transport.abort) if self._waits() else None


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are the worker's."""
        yield

    def abort(self, scope: Scope | None = None) -> None:
        """Break the connection that a request came by, or all."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, H11Protocol) and (scope is None or connection.scope is scope):
                connection.transport.abort()

    async def end(self) -> None:
        for server in getattr(self, "servers", ()):
            server.close()
        self.abort()
        if tasks := list(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=_END_SECONDS)
