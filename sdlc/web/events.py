"""Server-sent events: how a run stands as soon as that changes, and how many wait in the inbox.

A stream begins with how things stand, with an id made of that, so that who comes back after a restart hears of
it only if something has changed. Each run is asked once for all who listen.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from sdlc.errors import SdlcError
from sdlc.web.gateway import Gateway
from sdlc.web.refusals import Refused

log = structlog.get_logger(__name__)

MEDIA_TYPE = "text/event-stream"
MOST_STREAMS = 100
MOST_EACH = 12
"""Of one person: as many tabs."""
HEARTBEAT_SECONDS = 15.0
EVERY_SECONDS = 1.0
"""Between two looks at a run."""
_INBOX_SECONDS = 2.0
_LONGEST_SECONDS = 900.0
"""After that the browser comes back, and has to be signed in still."""
_RETRY_MS = 2_000
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class Event:
    name: str
    data: str
    """JSON, one line."""
    is_last: bool = False

    @property
    def id(self) -> str:
        return hashlib.sha256(f"{self.name}\n{self.data}".encode()).hexdigest()[:16]

    def encoded(self) -> str:
        return f"id: {self.id}\nevent: {self.name}\ndata: {self.data}\n\n"


class Streams:
    """All streams of this process."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        every: float = EVERY_SECONDS,
        heartbeat: float = HEARTBEAT_SECONDS,
        most: int = MOST_STREAMS,
        most_each: int = MOST_EACH,
        longest: float = _LONGEST_SECONDS,
    ) -> None:
        """`every`, `heartbeat` and `longest` in seconds."""
        self._gateway = gateway
        self._every, self._heartbeat, self._longest = every, heartbeat, longest
        self._most, self._most_each = most, most_each
        self._watches: dict[object, _Watch] = {}
        self._open: Counter[str] = Counter()
        self._closed = False

    @property
    def open(self) -> int:
        return self._open.total()

    async def run(self, key: str, who: str, last_id: str = "") -> Response:
        """Events `progress` (`RunProgress`), `trouble` (`{"message"}`) while it can't be asked, and at last `over`.

        Raises RunNotFound, UsageError, ServiceUnavailable before it begins, and Refused (503) where too many are
        open. 204, which tells a browser not to come back, for a run that is over and whose end was seen.
        """

        async def ask() -> Event:
            progress = await self._gateway.progress(key)
            return Event("progress", progress.model_dump_json(), is_last=progress.state.is_over)

        return await self._stream(("run", key), ask, who, last_id, self._every)

    async def inbox(self, names: Sequence[str], who: str, last_id: str = "") -> Response:
        """Events `inbox` (`InboxCount`) and `trouble`. Raises as `run`."""

        async def ask() -> Event:
            return Event("inbox", (await self._gateway.inbox_count(names)).model_dump_json())

        return await self._stream(("inbox", tuple(names)), ask, who, last_id, max(self._every, _INBOX_SECONDS))

    def close(self) -> None:
        """End all streams: the server stops. Browsers come back to the next one."""
        self._closed = True
        for watch in self._watches.values():
            watch.end()

    async def _stream(
        self, topic: object, ask: Callable[[], Awaitable[Event]], who: str, last_id: str, every: float
    ) -> Response:
        if self._closed or self.open >= self._most or self._open[who] >= self._most_each:
            raise Refused(503, "Too many pages are kept up to date at once; close some.", retry_after=10)
        self._open[who] += 1
        watch = self._watches.setdefault(topic, _Watch(ask, every))
        watch.listeners += 1

        def left() -> None:
            self._open[who] -= 1
            watch.listeners -= 1
            if not watch.listeners:
                watch.end()
                if self._watches.get(topic) is watch:
                    del self._watches[topic]

        try:
            first = await watch.first()
            if first.is_last and first.id == last_id:
                left()
                return Response(status_code=204)
        except BaseException:
            left()
            raise
        return _Streaming(self._events(watch, last_id), left)

    async def _events(self, watch: _Watch, last_id: str) -> AsyncGenerator[str]:
        yield f"retry: {_RETRY_MS}\n\n"
        loop = asyncio.get_running_loop()
        end = loop.time() + self._longest
        while loop.time() < end:
            event, changed = watch.latest, watch.changed
            if event is not None and event.id != last_id:
                last_id = event.id
                yield event.encoded()
            if event is not None and event.is_last:
                yield "event: over\ndata: {}\n\n"
                return
            if watch.ended:
                return
            try:
                await asyncio.wait_for(changed.wait(), min(self._heartbeat, max(0.01, end - loop.time())))
            except TimeoutError:
                yield ": still here\n\n"


class _Watch:
    """Asks again and again, as long as somebody listens."""

    def __init__(self, ask: Callable[[], Awaitable[Event]], every: float) -> None:
        self._ask = ask
        self._every = every
        self._task: asyncio.Task[None] | None = None
        self._begun = asyncio.Lock()
        self.latest: Event | None = None
        self.changed = asyncio.Event()
        """Of the state that `latest` shows; another one follows it."""
        self.ended = False
        self.listeners = 0

    async def first(self) -> Event:
        """How things stand; raises what asking raises."""
        async with self._begun:
            if self.latest is None:
                self.latest = await self._ask()
                if not self.latest.is_last:
                    self._task = asyncio.create_task(self._go_on())
            return self.latest

    def end(self) -> None:
        self.ended = True
        if self._task is not None:
            self._task.cancel()
        self.changed.set()

    async def _go_on(self) -> None:
        try:
            while not (self.latest and self.latest.is_last):
                await asyncio.sleep(self._every)
                try:
                    event = await self._ask()
                except SdlcError as error:
                    event = Event("trouble", json.dumps({"message": str(error)}))
                if event != self.latest:
                    changed, self.changed, self.latest = self.changed, asyncio.Event(), event
                    changed.set()
        except Exception as error:
            log.error("a stream failed", error=type(error).__name__)
            self.end()


class _Streaming(StreamingResponse):
    """Calls `left` once, whether the stream ends, the client goes away, or it never begins."""

    def __init__(self, events: AsyncGenerator[str], left: Callable[[], None]) -> None:
        super().__init__(events, media_type=MEDIA_TYPE, headers=_HEADERS)
        self._events = events
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()
            await self._events.aclose()
