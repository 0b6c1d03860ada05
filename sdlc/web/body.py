"""Bodies of requests, within bounds of size, time and memory: nobody has shown yet that they may send anything."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from sdlc.web.refusals import Refused

READ_SECONDS = 30.0
"""For a whole body; GitHub gives up after 10 s."""
STALL_SECONDS = 3.0
"""Without any of it."""
_AT_ONCE = 4
"""Largest bodies that may be in memory at the same time, in sum."""
_BUSY_SECONDS = 5.0


class Bodies:
    """`limit` is the size of the largest body, in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        """Bytes in memory now."""

    def check_length(self, request: Request) -> None:
        """Raises Refused for a length that is stated, and too large."""
        stated = request.headers.get("content-length", "")
        if stated.isdigit() and int(stated[:20]) > self.limit:
            raise self._too_large()

    async def read(self, request: Request) -> Held:
        """The body, which is to be used as a context: leaving it gives the memory free.

        Raises Refused for one that is too large or too slow, or while too many others come in.
        """
        held = Held(self)
        try:
            async with asyncio.timeout(READ_SECONDS) as whole, asyncio.timeout(STALL_SECONDS) as stall:
                async for chunk in request.stream():
                    stall.reschedule(asyncio.get_running_loop().time() + STALL_SECONDS)
                    if len(held.content) + len(chunk) > self.limit:
                        raise self._too_large()
                    if self.held + len(chunk) > _AT_ONCE * self.limit:
                        raise Refused(503, "Too much is coming in at once; try again soon.", retry_after=_BUSY_SECONDS)
                    held.add(chunk)
        except TimeoutError:
            held.free()
            within = READ_SECONDS if whole.expired() else STALL_SECONDS
            raise Refused(408, f"The body has not come within {within:g} s.") from None
        except ClientDisconnect:
            held.free()
            raise Refused(400, "The body has broken off.") from None
        except BaseException:
            held.free()
            raise
        return held

    def _too_large(self) -> Refused:
        return Refused(413, f"The body is larger than {self.limit} bytes (web.max_body_bytes).")


class Held:
    """A body in memory."""

    def __init__(self, bodies: Bodies) -> None:
        self.content = bytearray()
        self._bodies = bodies

    def add(self, chunk: bytes) -> None:
        self.content += chunk
        self._bodies.held += len(chunk)

    def free(self) -> None:
        self._bodies.held -= len(self.content)
        self.content = bytearray()

    def __enter__(self) -> bytearray:
        return self.content

    def __exit__(self, *_: object) -> None:
        self.free()
