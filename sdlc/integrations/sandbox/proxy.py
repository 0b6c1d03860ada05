"""The only way out of a sandbox with network: an HTTP proxy in the worker that leads outside and nowhere else.

It resolves names itself and connects to the very address it has looked at, so that no second answer of a name
server can lead elsewhere. Refused is what isn't public (`addresses.is_outside`), unless the operator names it.
CONNECT carries https, and git over https; what is encrypted stays so from end to end.

Where the worker has a proxy of its own (`upstream`), that one is asked, by name, since it decides by names and
may know some that can't be resolved here. What a name leads to there is that proxy's to guard; a name that leads
to a refused address here is refused before. A proxy on this very machine would give ours away, and is asked for
addresses that were looked at and for what the operator names, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from sdlc.integrations.sandbox.addresses import is_outside, is_own
from sdlc.integrations.sandbox.allowed import AllowedHosts
from sdlc.integrations.sandbox.requests import HEAD_BYTES, Answered, Request, Target, read_request
from sdlc.integrations.sandbox.upstream import Upstream, UpstreamUnusable, upstream

MOST_CONNECTIONS = 96
"""At once, two descriptors each; more wait in the kernel's queue."""
HEAD_SECONDS = 30.0
CONNECT_SECONDS = 30.0
"""For resolving and connecting, upstream's answer included."""
IDLE_SECONDS = 300.0
"""Without a byte in either direction."""

_EACH_ADDRESS = 10.0
_CHUNK = 64 * 1024
_MOST_REFUSED = 50
"""Names kept for the log."""
_CLOSE_SECONDS = 5.0

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Numeric addresses of a name, none if there are none."""
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Serves the clients of one sandbox."""

    def __init__(self, allowed: AllowedHosts, environ: Mapping[str, str], resolve: Resolve | None = None) -> None:
        """`allowed` may be reached wherever they are; `environ` is where the worker's own proxy is named."""
        self._allowed = allowed
        self._environ = environ
        self._resolve = resolve or self._ask_system
        # Of its own: slow name servers must not hold up the worker's other threads.
        self._resolvers = ThreadPoolExecutor(8, thread_name_prefix="sandbox-resolver")
        self._refused: dict[str, None] = {}
        self.connections = 0
        """All that were accepted."""

    @property
    def refused_hosts(self) -> tuple[str, ...]:
        """What was asked for and isn't outside; names and addresses alone, the first ones."""
        return tuple(self._refused)

    async def serve(self, listener: socket.socket) -> None:
        """Serve until cancelled; all connections end with it. `listener` doesn't block, and stays open."""
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(MOST_CONNECTIONS)
        tasks: set[asyncio.Task[None]] = set()

        def over(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            room.release()

        try:
            while True:
                await room.acquire()
                try:
                    connection, _address = await loop.sock_accept(listener)
                except OSError:  # no descriptor left, perhaps
                    room.release()
                    await asyncio.sleep(0.1)
                    continue
                self.connections += 1
                task = loop.create_task(self._attend(connection))
                tasks.add(task)
                task.add_done_callback(over)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _attend(self, connection: socket.socket) -> None:
        near = await asyncio.open_connection(sock=connection, limit=HEAD_BYTES)
        async with _closing(near[1]):
            with contextlib.suppress(OSError, TimeoutError):
                try:
                    await self._exchange(near)
                except Answered as answered:
                    near[1].write(answered.response())

    async def _exchange(self, near: Streams) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                request = await read_request(near[0])
        except TimeoutError:
            raise Answered(408, "No request came in time") from None
        if request is None:
            return
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                far, length = await self._open(request)
        except TimeoutError:
            raise Answered(504, f"{request.target.host} did not answer in time") from None
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise Answered(502, f"{request.target.host} can't be reached") from None
        try:
            if request.tunnel:
                near[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _relay(near, far, length)
        finally:
            far[1].transport.abort()

    async def _open(self, request: Request) -> tuple[Streams, int | None]:
        """The connection on which the request has been sent, and how many bytes may follow (None: any number)."""
        target = request.target
        named = self._allowed.allows(target.host, target.port)
        addresses = await self._resolve(target.host, target.port)
        if not named and not all(is_outside(address) for address in addresses):
            raise self._refuse(target, "is private or this machine's own")
        try:
            above = upstream(self._environ, target.host, target.port, tunnel=request.tunnel)
        except UpstreamUnusable as error:
            raise Answered(502, f"{target.host} can't be reached: {error}") from None
        if above is not None:
            return await self._open_above(above, request, addresses, named=named)
        if not addresses:
            raise Answered(502, f"{target.host} can't be resolved")
        far = await _connect(addresses, target.port)
        if not request.tunnel:
            far[1].write(request.head(absolute=False))
        return far, None

    async def _open_above(
        self, above: Upstream, request: Request, addresses: list[str], *, named: bool
    ) -> tuple[Streams, int | None]:
        target = request.target
        far = await _connect(await self._resolve(above.host, above.port), above.port, above.host if above.tls else "")
        try:
            if is_own(far[1].get_extra_info("peername")[0]) and not named:
                if not addresses:
                    raise self._refuse(target, "can't be resolved, so not be looked at")
                target = Target(addresses[0], target.port)
            elif not request.tunnel:
                if request.body_bytes is None:
                    raise Answered(411, "The worker's proxy takes no request of unknown length")
                far[1].write(request.head(absolute=True, authorization=above.authorization))
                # Anything more would be another request to that proxy, which nobody has looked at.
                return far, request.body_bytes
            await _ask_for_tunnel(far, target, above)
            if not request.tunnel:
                far[1].write(request.head(absolute=False))
            return far, None
        except BaseException:
            far[1].transport.abort()
            raise

    def _refuse(self, target: Target, why: str) -> Answered:
        if len(self._refused) < _MOST_REFUSED:
            self._refused[target.host] = None
        return Answered(403, f"The sandbox leads outside only: {target.host} {why}")

    async def _ask_system(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()

        def ask() -> list[str]:
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (socket.gaierror, UnicodeError):
                return []
            return list(dict.fromkeys(str(address[0]) for *_, address in found))

        return await loop.run_in_executor(self._resolvers, ask)


async def _connect(addresses: list[str], port: int, tls_name: str = "") -> Streams:
    """A connection to the first address that answers. Raises OSError."""
    loop = asyncio.get_running_loop()
    failed: OSError = OSError("no address")
    for address in addresses:
        family = socket.AF_INET if ip_address(address.partition("%")[0]).version == 4 else socket.AF_INET6
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            async with asyncio.timeout(_EACH_ADDRESS):
                await loop.sock_connect(connection, (address, port))
            context = ssl.create_default_context() if tls_name else None
            return await asyncio.open_connection(sock=connection, ssl=context, server_hostname=tls_name or None)
        except OSError as error:  # a time-out is one
            connection.close()
            failed = error
        except BaseException:
            connection.close()
            raise
    raise failed


async def _ask_for_tunnel(far: Streams, target: Target, above: Upstream) -> None:
    head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    if above.authorization:
        head += f"Proxy-Authorization: {above.authorization}\r\n"
    far[1].write(f"{head}\r\n".encode())
    answer = (await far[0].readuntil(b"\r\n\r\n")).split(b"\r\n")[0].split()
    if len(answer) < 2 or not answer[1].startswith(b"2"):
        status = answer[1][:3].decode("ascii", errors="replace") if len(answer) > 1 else "nothing"
        raise Answered(502, f"The worker's proxy answered {status} for {target.host}")


async def _relay(near: Streams, far: Streams, length: int | None) -> None:
    """Pass bytes both ways until the far end has no more; at most `length` of them go there."""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(IDLE_SECONDS) as idle:
            sending = asyncio.create_task(_pump(near[0], far[1], idle, length))
            try:
                await _pump(far[0], near[1], idle, None)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, idle: asyncio.Timeout, length: int | None
) -> None:
    loop = asyncio.get_running_loop()
    left = length
    while left is None or left > 0:
        chunk = await source.read(_CHUNK if left is None else min(left, _CHUNK))
        if not chunk:
            break
        left = None if left is None else left - len(chunk)
        idle.reschedule(loop.time() + IDLE_SECONDS)
        sink.write(chunk)
        await sink.drain()
    if length is None:
        with contextlib.suppress(OSError):
            if sink.can_write_eof():
                sink.write_eof()
            else:  # TLS has no half
                sink.close()


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Closes it when what was written has been read, or soon; at once when cancelled."""
    try:
        yield
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await writer.wait_closed()
    finally:
        writer.transport.abort()
