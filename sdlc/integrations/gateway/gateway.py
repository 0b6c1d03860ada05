"""The model gateway: all that a coding program in a sandbox without network reaches.

It speaks one wire, knows one model, and holds the real key, which never gets into the sandbox. It counts what is
used, and ends the run's calls where its limits are.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from sdlc.config import Price
from sdlc.domain import Usage
from sdlc.integrations.answers import redacted, shown_url
from sdlc.integrations.gateway.answers import Without, refusal
from sdlc.integrations.gateway.hearing import Heard
from sdlc.integrations.gateway.limits import GatewayLimits, Trouble
from sdlc.integrations.gateway.outgoing import Outgoing, Unfit, outgoing_body, outgoing_headers
from sdlc.integrations.gateway.serving import BrokenOff, gone, serve_http
from sdlc.integrations.gateway.wires import CALL, Wire, base_of, error_body, models_body, place
from sdlc.integrations.llm_errors import retry_delay
from sdlc.integrations.llm_prices import cost

LONGEST_BODY = 16 * 1024**2
"""Bytes of a request. Images are in it."""
_LARGE_BODY = 256 * 1024
_BODY_SECONDS = 60.0
"""For a body to come; a large one has them again after its first part."""
_PARSERS = ThreadPoolExecutor(2, thread_name_prefix="gateway")
"""Of all runs of this worker, for large requests: each is ten times its size in memory while it is looked at."""
_AT_ONCE = 4
"""Calls that are open, where tokens or USD are limited, and large requests of one run that are in memory."""
_BYTES_OF_A_TOKEN = 3
"""At least so many, for estimates."""
_TOKEN_COUNTS = 1_000
_TOKEN_COUNTS_PER_CALL = 10
_LONGEST_ANSWER = 64 * 1024**2
_LONGEST_ERROR = 256 * 1024
_CONNECT_SECONDS = 30.0
_OF_RETRIES = ("retry-after", "retry-after-ms", "x-should-retry")
"""Headers of a refusal that clients act upon."""
_NOT_ASKED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.LocalProtocolError,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""Nothing of the request has come to the endpoint."""


class Gateway:
    """One run's way to its model, by HTTP. What it has counted is there while it serves and afterwards."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        model: str,
        wire: Wire,
        key: str,
        limits: GatewayLimits | None = None,
        price: Price | None = None,
        timeout_seconds: float = 180,
    ) -> None:
        """`base_url` and `api_key` are the endpoint's: OpenAI's way up to `/v1`, Anthropic's with or without it.
        `key` is what the program has to show. The endpoint may be silent for `timeout_seconds`."""
        self.usage = Usage()
        """Of all calls so far; `usd` is None as soon as one is of unknown cost."""
        self.calls = 0
        """That the endpoint answered or refused, or that may have cost something."""
        self.stopped = ""
        """`turns` or `budget` once a call was refused for a limit; from then on all are."""
        self.reason = ""
        """Why, in a sentence."""
        self.stop_event = asyncio.Event()
        """Set when `stopped` is."""
        self.trouble: Trouble | None = None
        """How the last call failed; None after one that didn't."""
        self._base = base_of(wire, base_url)
        self._api_key = api_key
        self._model = model
        self._wire = wire
        self._key = key.encode()
        self._limits = limits or GatewayLimits()
        self._price = price
        self._timeout = httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, _CONNECT_SECONDS))
        self.spent_usd = 0.0
        """What is known to be spent, estimates included, also where the whole cost is unknown."""
        self._token_counts = 0
        self._open: list[_Call] = []
        self._settled = asyncio.Event()
        self._large = asyncio.Semaphore(_AT_ONCE)

    async def serve(self, listener: socket.socket) -> None:
        """Serve a listening socket until cancelled; all connections end with it, also those to the endpoint."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
        async with httpx.AsyncClient(timeout=self._timeout, limits=limits, follow_redirects=False) as client:
            await serve_http(partial(self._attend, client), listener)

    # --- what is asked ---------------------------------------------------------------------

    async def _attend(self, client: httpx.AsyncClient, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        async with contextlib.AsyncExitStack() as held:
            try:
                below = self._place(request)
                if not below:
                    return await _json(200, models_body(self._wire, self._model))(scope, receive, send)
                self._keep_within_limits(metered=below == CALL[self._wire])
                headers = outgoing_headers(self._wire, request.headers, self._api_key)
                outgoing = await self._body(request, held)
            except ClientDisconnect:
                return None
            except _Refused as no:
                return await self._error(no.status, no.message, no.code)(scope, receive, send)

            async def relayed() -> None:
                asked = client.build_request("POST", f"{self._base}{below}", headers=headers, content=outgoing.body)
                try:
                    async with self._counted(outgoing, metered=below == CALL[self._wire]) as call:
                        last = await self._call(client, asked, call, send)
                except _Refused as no:
                    last = self._error(no.status, no.message, no.code)
                # Last of all: who has the whole answer finds it counted, and may leave.
                await (last(scope, receive, send) if isinstance(last, Response) else send(last))

            work, left = asyncio.create_task(relayed()), asyncio.create_task(gone(receive))
            try:
                await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (work, left):
                    task.cancel()
                await asyncio.wait({work, left})
            return None if work.cancelled() else work.result()

    def _place(self, request: Request) -> str:
        """Where the request goes, below the endpoint's base; empty: the list of models. Raises _Refused."""
        shown = (request.headers.get("x-api-key", ""), _bearer(request.headers.get("authorization", "")))
        if not any(hmac.compare_digest(given.encode(), self._key) for given in shown):
            raise _Refused(401, "This is not the key of this run.", "invalid_api_key")
        path = str(request.scope["path"]).rstrip("/")
        if request.method == "GET" and path.removeprefix("/v1") == "/models":
            return ""
        below = place(self._wire, path) if request.method == "POST" else None
        if below is None:
            raise _Refused(404, f"Here is only POST /v1{CALL[self._wire]} and GET /v1/models.", "not_found")
        return below

    async def _body(self, request: Request, held: contextlib.AsyncExitStack) -> Outgoing:
        """What goes on; a large one has its place among those in memory until `held` is closed. Raises _Refused."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise _Refused(415, "Send the body as it is, not compressed.", "unsupported_encoding")
        loop, parsers = asyncio.get_running_loop(), None
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_SECONDS) as deadline:
                async for piece in request.stream():
                    body += piece
                    if len(body) > LONGEST_BODY:
                        raise _Refused(413, f"The request is longer than {LONGEST_BODY} bytes.", "request_too_large")
                    if len(body) > _LARGE_BODY and parsers is None:
                        parsers = _PARSERS
                        deadline.reschedule(None)
                        await held.enter_async_context(self._large)
                        deadline.reschedule(loop.time() + _BODY_SECONDS)
        except TimeoutError:
            raise _Refused(408, "The request did not come to its end in time.", "timeout") from None
        try:
            # In a thread: the worker's event loop is not to stand still for a large one.
            return await loop.run_in_executor(parsers, outgoing_body, self._wire, bytes(body), self._model)
        except Unfit as error:
            raise _Refused(error.status, str(error), "invalid_request") from None

    def _keep_within_limits(self, *, metered: bool) -> None:
        """Raises _Refused where no further call may be made, or tokens have been counted too often."""
        limits = self._limits
        calls = self.calls + len(self._open)
        reached = limits.reached(calls=calls, usage=self.usage, usd=self.spent_usd) if metered else None
        if reached and not self.stopped:
            self.stopped, self.reason = reached
            self.stop_event.set()
        if self.stopped:
            # 403: clients ask again after a 429 and a 5xx.
            raise _Refused(403, f"{self.reason} No further call is made.", "run_limit")
        if not metered:
            self._token_counts += 1
            if self._token_counts > (_TOKEN_COUNTS if limits.calls is None else limits.calls * _TOKEN_COUNTS_PER_CALL):
                raise _Refused(403, "Tokens were counted too often.", "run_limit")

    def _error(self, status: int, message: str, code: str = "") -> Response:
        return _json(status, error_body(self._wire, status, message, code))

    # --- what the endpoint answers ---------------------------------------------------------

    async def _call(
        self, client: httpx.AsyncClient, asked: httpx.Request, call: _Call, send: Send
    ) -> Response | Message:
        """Ask the endpoint. Returns what is still to be sent; raises BrokenOff when that can't be said any more."""
        try:
            response = await client.send(asked, stream=True)
        except httpx.HTTPError as error:
            call.asked = not isinstance(error, _NOT_ASKED)
            return self._no_answer(call, error)
        try:
            if not response.is_success:
                return await self._refusal(response, call)
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                return await self._stream(response, call, send)
            return await self._whole(response, call)
        finally:
            await response.aclose()

    async def _stream(self, response: httpx.Response, call: _Call, send: Send) -> Message:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        without = Without(self._api_key)
        try:
            async for piece in response.aiter_bytes():
                call.heard.stream(piece)
                if shown := without.passed(piece):
                    await send({"type": "http.response.body", "body": shown, "more_body": True})
        except httpx.HTTPError as error:
            self._no_answer(call, error)
            raise BrokenOff from None
        if not call.heard.complete and call.heard.failure is None:
            self._no_answer(call)
        return {"type": "http.response.body", "body": without.passed(b"", last=True), "more_body": False}

    async def _whole(self, response: httpx.Response, call: _Call) -> Response:
        try:
            body = await _read(response, _LONGEST_ANSWER)
        except httpx.HTTPError as error:
            return self._no_answer(call, error)
        call.heard.whole(body)
        if not call.heard.complete:
            call.trouble = Trouble(0, f"{self._endpoint} did not answer in JSON; check the base URL.")
            return self._error(502, call.trouble.message)
        return Response(Without(self._api_key).passed(body, last=True), media_type="application/json")

    async def _refusal(self, response: httpx.Response, call: _Call) -> Response:
        call.refused = True
        try:
            body = await _read(response, _LONGEST_ERROR)
        except httpx.HTTPError:
            body = b""
        status = response.status_code
        said, message = refusal(self._wire, status, body, self._api_key)
        wait = retry_delay(response.headers)
        call.trouble = Trouble(status, f"{self._endpoint} answered {status}: {message}", wait)
        headers = {name: value for name in _OF_RETRIES if (value := response.headers.get(name, "")).isascii() and value}
        # A redirect is not followed, and nothing that a program could follow.
        return _json(status if 400 <= status < 600 else 502, said, headers)

    def _no_answer(self, call: _Call, error: Exception | None = None) -> Response:
        if isinstance(error, httpx.TimeoutException):
            happened, status = "did not answer in time", 504
        elif call.asked:
            happened, status = "broke off", 502
        else:  # its own words may hold the key
            happened, status = f"can't be reached ({type(error).__name__})", 502
        call.trouble = Trouble(0, f"{self._endpoint} {happened}.")
        return self._error(status, call.trouble.message)

    @property
    def _endpoint(self) -> str:
        return f"The model endpoint {redacted(shown_url(self._base), self._api_key)}"

    # --- the account -----------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _counted(self, outgoing: Outgoing, *, metered: bool) -> AsyncIterator[_Call]:
        """One call of the model; it counts however it ends. Raises _Refused where the limits are."""
        call = _Call(Heard(self._wire), len(outgoing.body) // _BYTES_OF_A_TOKEN, outgoing.most_output)
        if not metered:
            yield call
            return
        self._keep_within_limits(metered=True)
        while self._all_is_taken():
            self._settled.clear()
            await self._settled.wait()
            self._keep_within_limits(metered=True)
        self._open.append(call)
        try:
            yield call
        finally:
            self._open.remove(call)
            self._settle(call)
            self._settled.set()

    def _all_is_taken(self) -> bool:
        """Whether the open calls may use up what is left. Where none is open, one can be made."""
        limits = self._limits
        if not self._open or (limits.tokens is None and limits.usd is None):
            return False
        of_input, of_output = sum(call.length for call in self._open), sum(call.most_output for call in self._open)
        usage = self.usage + Usage(input_tokens=of_input, output_tokens=of_output)
        usd = self.spent_usd + (cost(self._price, input_tokens=of_input, output_tokens=of_output) or 0.0)
        return len(self._open) >= _AT_ONCE or bool(limits.reached(calls=-1, usage=usage, usd=usd))

    def _settle(self, call: _Call) -> None:
        heard, failure = call.heard, call.heard.failure
        if failure is not None:
            said = redacted(failure[1], self._api_key)
            self.trouble = Trouble(failure[0], f"{self._endpoint} broke off with an error: {said}")
        elif call.trouble is not None or heard.complete:  # otherwise the program went away
            self.trouble = call.trouble
        if not call.asked:
            return
        self.calls += 1
        tokens_in, tokens_out = heard.counts or (0, 0)
        known = heard.complete and heard.counts is not None
        if not known and not call.refused and (failure is None or heard.characters):
            tokens_in = tokens_in or call.length
            tokens_out = max(tokens_out, heard.characters // _BYTES_OF_A_TOKEN)
        usd = cost(self._price, input_tokens=tokens_in, output_tokens=tokens_out, cached_tokens=heard.cached)
        self.spent_usd += usd or 0.0
        usd = 0.0 if call.refused else usd if known else None
        self.usage += Usage(model_calls=1, input_tokens=tokens_in, output_tokens=tokens_out, usd=usd)


@dataclass(eq=False)
class _Call:
    """A call of the model, while it goes on."""

    heard: Heard
    length: int
    """Tokens that its request has at most, about."""
    most_output: int
    """Tokens that its answer may have."""
    asked: bool = True
    """It may have come to the endpoint."""
    refused: bool = False
    """The endpoint answered with an error, which costs nothing."""
    trouble: Trouble | None = None


class _Refused(Exception):
    def __init__(self, status: int, message: str, code: str) -> None:
        self.status, self.message, self.code = status, message, code


def _json(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    # Not JSONResponse: that fails on half a surrogate pair, which an endpoint may well send.
    return Response(json.dumps(body), status, headers, media_type="application/json")


def _bearer(header: str) -> str:
    scheme, _, credentials = header.partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


async def _read(response: httpx.Response, longest: int) -> bytes:
    """The body, cut after `longest` bytes."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > longest:
            break
    return bytes(body[:longest])
