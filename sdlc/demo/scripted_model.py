"""A model whose words are canned, served over real HTTP.

It speaks OpenAI's chat completions and responses, and Anthropic's messages. Used by the demo
(`python -m sdlc.demo.scripted_model --port P --log FILE`) and by tests, in-process:

    async with ScriptedModel(script) as server:
        settings = ModelSettings(base_url=server.base_url, name=MODEL)

It keeps no state that an answer depends on: what is said follows from the conversation in the request
alone, so that killing and restarting either side changes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from sdlc.demo.conversation import ChatRequest, Reply, Script
from sdlc.demo.other_wires import COUNT_TOKENS, SPOKEN, Spoken
from sdlc.demo.script import demo_script
from sdlc.demo.wire import completion_of, error_of, tokens_asked

MODEL = "scripted-demo"

NOTHING_SCRIPTED = 422
"""Status of a request that the script does not foresee. Not a 5xx: asking again would not help, so nobody should."""

FaultKind = Literal["status", "hang", "reset", "prose", "cut", "empty", "refusal"]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with the next requests, on demand."""

    kind: FaultKind = "status"
    status: int = 500
    """For `status`."""
    retry_after: str = ""
    """The header's value, seconds or an HTTP date; empty: no such header."""
    message: str = "scripted fault"
    times: int = 1
    where: Callable[[ChatRequest], bool] = field(default=lambda request: True)
    """Which requests it hits; the others are answered as usual."""


@dataclass(frozen=True)
class LoggedRequest:
    """One request and what became of it."""

    id: str
    label: str
    digest: str
    """Names what was asked: a digest that was answered twice is a call that was made again."""
    status: int
    answered: bool
    """The whole answer was written, with status 200 and as scripted."""
    input_tokens: int = 0
    output_tokens: int = 0
    fault: str = ""
    at: float = 0.0
    """Seconds since the epoch, when the answer was written."""


class ScriptedModel:
    """The server, with the demo's script unless another is given. `port` 0 picks a free one; `latency`
    (seconds) passes before each answer.

    With `api_key` given, any other key is refused with 401. With `log` given, each request is
    added to that file as a line of JSON once it is answered.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        port: int = 0,
        log: Path | None = None,
        latency: float = 0.0,
        api_key: str = "",
    ) -> None:
        self.script = script or demo_script()
        self.latency = latency
        self.api_key = api_key
        self.requests: list[LoggedRequest] = []
        self.conversations: list[ChatRequest] = []
        """The requests themselves, in the order of arrival."""
        self._port = port
        self._log = log
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server: _Server | None = None

    # --- life -----------------------------------------------------------------------------

    async def __aenter__(self) -> ScriptedModel:
        self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.stop)

    def start(self) -> None:
        """Listen on loopback, in threads of its own. Raises OSError if the port is taken."""
        self._closing.clear()
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="scripted-model").start()

    def stop(self) -> None:
        """Close the port and every connection. `start` opens the same port again."""
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.close_connections()
            self._server = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    # --- faults and the log ---------------------------------------------------------------

    def fail(self, fault: Fault) -> None:
        """Let the next `fault.times` requests that it fits go wrong."""
        with self._lock:
            self._faults += [fault] * fault.times

    def answered_again(self) -> dict[str, int]:
        """Labels of calls that were answered in full more than once, with how often: empty when none was."""
        counts = Counter(entry.digest for entry in self.requests if entry.answered)
        labels = {entry.digest: entry.label for entry in self.requests}
        return {labels[digest]: count for digest, count in counts.items() if count > 1}

    # --- answering (in the server's threads) ----------------------------------------------

    def _take_fault(self, request: ChatRequest) -> Fault | None:
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.where(request):
                    return self._faults.pop(index)
        return None

    def _arrived(self, request: ChatRequest) -> None:
        with self._lock:
            self.conversations.append(request)

    def _record(self, entry: LoggedRequest) -> None:
        """Before the answer is written, so that whoever has the answer finds it in the log."""
        with self._lock:
            self.requests.append(entry)

    def _written(self, entry: LoggedRequest, *, broke_off: bool) -> None:
        final = replace(entry, answered=entry.answered and not broke_off)
        with self._lock:
            self.requests[self.requests.index(entry)] = final
            if self._log is not None:
                with self._log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(asdict(final)) + "\n")

    def wait(self, seconds: float) -> None:
        """Let time pass unless the server closes."""
        self._closing.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], model: ScriptedModel) -> None:
        self.model = model
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Idle keep-alive connections would keep their threads, and the port, for ever."""
        for connection in list(self._connections):
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to print a traceback about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    _spoken: Spoken
    """The wire of the request at hand."""

    def log_message(self, format: str, *args: Any) -> None:
        """The log is `ScriptedModel.requests`."""

    def do_GET(self) -> None:
        if self.path.rstrip("/") != "/v1/models":
            return self._json(404, error_of(f"there is no {self.path} here", "not_found"))
        entry = {"id": MODEL, "object": "model", "created": 0, "owned_by": "sdlc-demo"}
        return self._json(200, {"object": "list", "data": [entry]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        model, path = self.server.model, self.path.partition("?")[0]
        spoken = SPOKEN.get(path)
        if spoken is None:
            return self._json(404, error_of(f"there is no {self.path} here", "not_found"))
        self._spoken = spoken
        shown = (self.headers.get("Authorization"), f"Bearer {self.headers.get('x-api-key')}")
        if model.api_key and f"Bearer {model.api_key}" not in shown:
            return self._fail(401, error_of("Incorrect API key provided.", "invalid_api_key"))
        try:
            given = json.loads(body)
            request = ChatRequest(spoken.chat(given) if isinstance(given, dict) else {})
        except (AttributeError, TypeError, ValueError):
            return self._fail(400, error_of("the body is not JSON", "invalid_json"))
        if path == COUNT_TOKENS:
            return self._json(200, {"input_tokens": tokens_asked(request)})
        model._arrived(request)
        return self._answer(request, model._take_fault(request))

    def _answer(self, request: ChatRequest, fault: Fault | None) -> None:
        model = self.server.model
        model.wait(model.latency)
        status, payload, headers = self._outcome(request, fault)
        entry = _entry(request, status, payload or {}, fault)
        model._record(entry)
        broke_off = payload is None
        try:
            if payload is None:
                self._break_off(fault)
            elif status == 200 and request.streams:
                self._stream(self._spoken.stream(request, payload))
            elif status == 200:
                self._json(status, self._spoken.answer(request, payload))
            else:
                self._fail(status, payload, headers)
        except OSError:
            self.close_connection = broke_off = True
        finally:
            model._written(entry, broke_off=broke_off)

    def _outcome(self, request: ChatRequest, fault: Fault | None) -> tuple[int, dict[str, Any] | None, dict[str, str]]:
        """Status, body and headers; no body: the connection breaks off."""
        if fault is not None and fault.kind in ("hang", "reset"):
            return 0, None, {}
        if fault is not None and fault.kind == "status":
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return fault.status, error_of(fault.message, "scripted_fault"), headers
        try:
            reply = self.server.model.script.answer(request)
        except LookupError as error:
            reason = str(error.args[0]) if error.args else "it is not foreseen"
            text = f"Nothing is scripted for {request.label}: {reason}."
            return NOTHING_SCRIPTED, error_of(text, "nothing_scripted"), {}
        return 200, completion_of(request, *_spoilt(reply, fault)), {}

    def _break_off(self, fault: Fault | None) -> None:
        if fault is not None and fault.kind == "hang":
            self.server.model.wait(3_600)
        self.close_connection = True
        # Without lingering, closing sends a reset: what a crashed endpoint looks like.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def _fail(self, status: int, error: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._json(status, self._spoken.error(error), headers)

    def _json(self, status: int, payload: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, events: Iterator[str]) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(event.encode())


def _entry(request: ChatRequest, status: int, payload: dict[str, Any], fault: Fault | None) -> LoggedRequest:
    usage = payload.get("usage") or {}
    return LoggedRequest(
        id=uuid4().hex,
        label=request.label,
        digest=request.digest,
        status=status,
        answered=status == 200 and fault is None,
        input_tokens=usage.get("prompt_tokens", 0),
        output_tokens=usage.get("completion_tokens", 0),
        fault=fault.kind if fault else "",
        at=time.time(),
    )


def _spoilt(reply: Reply, fault: Fault | None) -> tuple[Reply, str]:
    """The reply as a fault leaves it, and the text of a refusal."""
    match fault.kind if fault else "":
        case "prose":
            return Reply("Sure! I had a look, and all in all the change seems fine to me."), ""
        case "empty":
            return Reply(""), ""
        case "cut":
            return Reply(reply.content[: len(reply.content) // 2], finish_reason="length"), ""
        case "refusal":
            return Reply(""), "I can't help with that."
        case _:
            return reply, ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the demo's script until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m sdlc.demo.scripted_model", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--log", type=Path, help="add a line of JSON per request to this file")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args(arguments)
    server = ScriptedModel(port=options.port, log=options.log, latency=options.latency)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    server.start()
    print(f"scripted model: {server.base_url} (model {MODEL}, process {os.getpid()})", flush=True)
    stopped.wait()
    server.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
