"""The model gateway: what a program in a sandbox gets of its model, and what of it leaves the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import openai
import pytest

from sdlc.config import Price
from sdlc.domain import Usage
from sdlc.integrations.gateway import Gateway, GatewayLimits, Trouble
from sdlc.integrations.gateway.gateway import LONGEST_BODY
from tests.scripted import Script, ScriptedModel, say, shell

KEY = "key-of-this-run-alone"
REAL = "sk-the-real-key-of-the-account"
PRICE = Price(input=2.0, output=10.0)
ASKED = {"messages": [{"role": "user", "content": "hello"}], "model": "small", "max_tokens": 9}
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}


def events(*data: Any) -> bytes:
    return b"".join(
        b"event: x\r\ndata: " + (d if isinstance(d, bytes) else json.dumps(d).encode()) + b"\n\n" for d in data
    )


def chunk(finish: str | None = None, text: str = "hi", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice], **more}


def response(status: str = "completed", **more: Any) -> dict[str, Any]:
    text = {"type": "output_text", "text": "hi", "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [text]}
    usage = {
        "input_tokens": 100,
        "output_tokens": 10,
        "total_tokens": 110,
        "input_tokens_details": {"cached_tokens": 50, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "id": "r",
        "object": "response",
        "created_at": 0,
        "model": "m",
        "status": status,
        "output": [message],
        "usage": usage,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        **more,
    }


CHAT_USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
WHOLE: dict[str, dict[str, Any]] = {
    "chat": {
        "id": "c",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "usage": CHAT_USAGE,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    },
    "responses": response(),
    "messages": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "hi"}],
        "usage": {"input_tokens": 20, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 10}
        | {"output_tokens": 10, "service_tier": "standard"},
    },
}
STREAM = {
    "chat": events(chunk(), chunk("stop"), chunk(usage=CHAT_USAGE) | {"choices": []}, b"[DONE]"),
    "responses": events(
        {"type": "response.created", "sequence_number": 0, "response": response("in_progress", usage=None, output=[])},
        {"type": "response.output_text.delta", "sequence_number": 1, "delta": "hi", "item_id": "m", "output_index": 0}
        | {"content_index": 0, "logprobs": []},
        {"type": "response.completed", "sequence_number": 2, "response": response()},
    ),
    "messages": events(
        {"type": "message_start", "message": WHOLE["messages"] | {"usage": {"input_tokens": 100, "output_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 10}},
        {"type": "message_stop"},
    ),
}
COUNTED = Usage(model_calls=1, input_tokens=100, output_tokens=10, usd=0.0003)


@dataclass
class Answer:
    status: int = 200
    body: bytes | None = None
    """None: as the wire has it, streamed if that was asked for."""
    headers: Mapping[str, str] = field(default_factory=dict)
    then: Literal["end", "hang", "reset"] = "end"


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Endpoint:
    """A model's endpoint that remembers what it was asked, and answers as it was told or else as the wire has it."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: list[Answer] = []
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()
        """A connection on which it hung is closed by the other side."""
        self.go_on = asyncio.Event()
        self.port = 0

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            self.asked.append(Asked(head[0].split()[1], headers, body))
            self.arrived.set()
            answer = self.answers.pop(0) if self.answers else Answer()
            await self._answer(answer, writer)
            if answer.then == "hang":
                await reader.read()
                self.left.set()
            if answer.then == "reset":
                writer.transport.abort()
        writer.close()

    async def _answer(self, answer: Answer, writer: asyncio.StreamWriter) -> None:
        asked = self.asked[-1]
        wire = next((wire for wire, path in PATHS.items() if asked.path.endswith(path)), "")
        streams = bool(asked.body.get("stream")) and answer.status == 200
        whole = json.dumps(WHOLE.get(wire, {"input_tokens": 5})).encode()
        said = answer.body if answer.body is not None else STREAM[wire] if streams else whole
        kind = "text/event-stream" if streams else "application/json"
        if answer.then != "end" and not said:
            return
        lines = [f"HTTP/1.1 {answer.status} Whatever", f"Transfer-Encoding: chunked\r\nContent-Type: {kind}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for at in range(0, len(said), 40):  # in pieces that are no events
            writer.write(f"{len(said[at : at + 40]):x}\r\n".encode() + said[at : at + 40] + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        if answer.then == "end":
            writer.write(b"0\r\n\r\n")
            await writer.drain()


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    fake = Endpoint()
    server = await asyncio.start_server(fake.attend, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    yield fake
    server.close()


def length(endpoint: Endpoint) -> int:
    """Tokens that its first request is estimated at."""
    return len(json.dumps(endpoint.asked[0].body)) // 3


class Program:
    """What runs in the sandbox, as far as the gateway sees it."""

    def __init__(self, gateway: Gateway, port: int, task: asyncio.Task[None]) -> None:
        self.gateway, self.url, self.task = gateway, f"http://127.0.0.1:{port}", task
        self.http = httpx.AsyncClient(base_url=self.url, timeout=10, headers={"authorization": f"Bearer {KEY}"})
        self.openai = openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=10)

    async def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return await self.http.post(path, json=ASKED if body is None else body, **more)

    async def chat(self, **more: Any) -> Any:
        return await self.openai.chat.completions.create(model="small", messages=ASKED["messages"], **more)  # type: ignore


Opened = Callable[..., contextlib.AbstractAsyncContextManager[Program]]


@pytest.fixture
def opened(endpoint: Endpoint) -> Opened:
    @contextlib.asynccontextmanager
    async def open_(wire: Any = "chat", **more: Any) -> AsyncIterator[Program]:
        options = {"base_url": f"http://127.0.0.1:{endpoint.port}/v1", "api_key": REAL, "model": "large"}
        gateway = Gateway(**{**options, "price": PRICE, "timeout_seconds": 5, **more}, wire=wire, key=KEY)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            port = listener.getsockname()[1]
            program = Program(gateway, port, asyncio.create_task(gateway.serve(listener)))
            try:
                yield program
            finally:
                await program.http.aclose()
                await program.openai.close()
                program.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait_for(program.task, 5)

    return open_


# --- what gets through ----------------------------------------------------------------------


async def test_openais_client_chats_through_it_streamed_and_not(opened: Opened, endpoint: Endpoint) -> None:
    async with opened() as program:
        whole = await program.chat()
        assert program.gateway.usage == COUNTED
        stream = await program.chat(stream=True)
        said = "".join([part.choices[0].delta.content async for part in stream if part.choices])
        assert (whole.choices[0].message.content, said) == ("hi", "hihi")
        assert program.gateway.usage == COUNTED + COUNTED
    assert [asked.body["model"] for asked in endpoint.asked] == ["large", "large"]
    assert "stream_options" not in endpoint.asked[0].body
    assert endpoint.asked[1].body["stream_options"] == {"include_usage": True}
    assert (program.gateway.calls, program.gateway.stopped, program.gateway.trouble) == (2, "", None)


async def test_openais_client_asks_for_responses_through_it_streamed_and_not(opened: Opened) -> None:
    async with opened("responses") as program:
        whole = await program.openai.responses.create(model="small", input="hello")
        stream = await program.openai.responses.create(model="small", input="hello", stream=True)
        kinds = [event.type async for event in stream]
    assert whole.output_text == "hi"
    assert kinds == ["response.created", "response.output_text.delta", "response.completed"]
    assert program.gateway.usage == COUNTED + COUNTED


@pytest.mark.parametrize("base", ["", "/v1", "/v1/", "/anthropic"])
async def test_messages_go_through_whether_or_not_the_base_ends_in_v1(
    base: str, opened: Opened, endpoint: Endpoint
) -> None:
    async with opened("messages", base_url=f"http://127.0.0.1:{endpoint.port}{base}") as program:
        whole = await program.post("/v1/messages?beta=true")
        stream = await program.post("/messages", ASKED | {"stream": True})
        count = await program.post("/v1/messages/count_tokens")
    assert whole.json() == WHOLE["messages"]
    assert stream.content == STREAM["messages"]
    assert count.json() == {"input_tokens": 5}
    assert program.gateway.usage == COUNTED + COUNTED  # counting tokens is no call
    below = base.removesuffix("/").removesuffix("/v1")
    assert [asked.path for asked in endpoint.asked] == [
        f"{below}/v1/messages",
        f"{below}/v1/messages",
        f"{below}/v1/messages/count_tokens",
    ]
    assert endpoint.asked[0].headers["x-api-key"] == REAL
    assert endpoint.asked[0].headers["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
async def test_what_it_counts_is_what_the_model_counted(wire: str, streams: bool, opened: Opened) -> None:
    user = [{"role": "user", "content": "Round: 0"}]
    tools = [{"type": "function", "name": "shell", "input_schema": {}, "function": {"name": "shell"}}]
    body = {"model": "m", "stream": streams, "messages": user, "input": user, "tools": tools}
    script = Script().round(0, say("A look.\n", shell("ls")))
    async with ScriptedModel(script, api_key=REAL) as model, opened(wire, base_url=model.base_url) as program:
        if wire == "messages":
            tools[0]["type"] = "custom"
        assert (await program.post(PATHS[wire], body)).status_code == 200
        (logged,) = model.requests
    assert logged.answered
    counts = (program.gateway.usage.input_tokens, program.gateway.usage.output_tokens)
    assert counts == (logged.input_tokens, logged.output_tokens)
    assert program.gateway.usage.usd == pytest.approx(logged.input_tokens * 2e-6 + logged.output_tokens * 10e-6)
    assert program.gateway.trouble is None


async def test_a_stream_comes_as_it_is_said(opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(body=events(chunk(text="first")), then="hang")]
    async with opened() as program:
        stream = await program.chat(stream=True)
        first = await asyncio.wait_for(anext(aiter(stream)), 5)
        assert first.choices[0].delta.content == "first"
        await stream.close()
        await asyncio.wait_for(endpoint.left.wait(), 5)
    assert (program.gateway.calls, program.gateway.usage.usd) == (1, None)


async def test_the_program_may_leave_once_all_is_said(opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(body=STREAM["chat"], then="hang")]
    async with opened() as program:
        async with program.http.stream("POST", PATHS["chat"], json=ASKED | {"stream": True}) as response:
            async for line in response.aiter_lines():
                if line == "data: [DONE]":
                    break
        await asyncio.wait_for(endpoint.left.wait(), 5)
        async with asyncio.timeout(5):
            while not program.gateway.calls:
                await asyncio.sleep(0.01)
    assert program.gateway.usage == COUNTED
    assert program.gateway.trouble is None


async def test_only_the_headers_of_the_wire_leave_the_sandbox(opened: Opened, endpoint: Endpoint) -> None:
    given = {"x-api-key": KEY, "anthropic-beta": "tools-1", "anthropic-version": "2024-01-01", "cookie": "a=b"}
    given |= {"x-notes": "source code", "user-agent": "evil/1", "host": "elsewhere.example", "referer": "http://x"}
    async with opened("messages") as program, httpx.AsyncClient(base_url=program.url, timeout=10) as client:
        assert (await client.post("/v1/messages", json=ASKED, headers=given)).status_code == 200
    headers = endpoint.asked[0].headers
    assert headers["host"] == f"127.0.0.1:{endpoint.port}"
    assert (headers["anthropic-beta"], headers["anthropic-version"]) == ("tools-1", "2024-01-01")
    assert headers["x-api-key"] == REAL
    assert not {"cookie", "x-notes", "referer", "authorization"} & headers.keys()
    assert KEY not in json.dumps(headers)
    assert headers["user-agent"] == "sdlc"


async def test_tools_that_the_endpoint_would_run_are_left_out(opened: Opened, endpoint: Endpoint) -> None:
    own = [{"type": "function", "name": "shell"}, {"type": "custom", "name": "apply_patch"}, {"type": "local_shell"}]
    hosted = [{"type": "mcp", "server_url": "https://evil.example"}, {"type": "web_search"}, "junk"]
    async with opened("responses") as program:
        body = {"input": "x", "tools": [*own, *hosted], "background": True, "store": False}
        assert (await program.post("/v1/responses", body)).status_code == 200
        assert (await program.post("/v1/responses", {"input": "x", "tools": hosted})).status_code == 200
    assert endpoint.asked[0].body == {"input": "x", "tools": own, "model": "large", "store": False}
    assert "tools" not in endpoint.asked[1].body


async def test_content_that_the_endpoint_would_fetch_is_refused(opened: Opened, endpoint: Endpoint) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://evil.example/?q=secret"}}
    inline = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    called = {"type": "tool_use", "id": "1", "name": "open", "input": {"url": "https://docs.example"}}
    async with opened("messages") as program:
        refused = await program.post(PATHS["messages"], {"messages": [{"role": "user", "content": [image]}]})
        passed = await program.post(PATHS["messages"], {"messages": [{"role": "user", "content": [inline, called]}]})
    assert (refused.status_code, passed.status_code) == (400, 200)
    assert "by URL" in refused.json()["error"]["message"]
    assert len(endpoint.asked) == 1


# --- what does not ---------------------------------------------------------------------------


async def test_a_wrong_key_is_refused(opened: Opened, endpoint: Endpoint) -> None:
    async with opened() as program, httpx.AsyncClient(base_url=program.url, timeout=10) as client:
        for headers in (
            {},
            {"authorization": f"Bearer {KEY}x"},
            {"x-api-key": REAL},
            {"authorization": f"Basic {KEY}"},
        ):
            answer = await client.post(PATHS["chat"], json=ASKED, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert (await client.get("/v1/models")).status_code == 401
        odd = await client.post(PATHS["chat"], json=ASKED, headers=[(b"authorization", "Bearer Schlüssel".encode())])
        assert odd.status_code == 401
    assert endpoint.asked == []
    assert program.gateway.calls == 0


async def test_nothing_but_the_wires_paths_is_there(opened: Opened, endpoint: Endpoint) -> None:
    paths = ["/", "/v1/files", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens", "/v1/v1/chat/completions"]
    paths += ["/v1/chat/completions/../../files", "/v1/%2e%2e/admin", "//evil.example/v1/chat/completions"]
    async with opened() as program:
        for path in paths:
            answer = await program.http.send(program.http.build_request("POST", f"{program.url}{path}", json=ASKED))
            assert (answer.status_code, "POST /v1/chat/completions" in answer.text) == (404, True), path
        for method in ("GET", "PUT", "DELETE", "OPTIONS"):
            assert (await program.http.request(method, PATHS["chat"])).status_code == 404
        reader, writer = await asyncio.open_connection("127.0.0.1", int(program.url.rpartition(":")[2]))
        writer.write(f"POST http://evil.example/v1/files HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\n\r\n".encode())
        assert b" 404 " in await asyncio.wait_for(reader.readline(), 5)
        writer.close()
    assert endpoint.asked == []


@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
async def test_the_list_of_models_has_the_one(wire: str, opened: Opened, endpoint: Endpoint) -> None:
    async with opened(wire) as program:
        listed = [(await program.http.get(path)).json()["data"] for path in ("/v1/models", "/models")]
    assert [[entry["id"] for entry in entries] for entries in listed] == [["large"], ["large"]]
    assert endpoint.asked == []


async def test_a_huge_body_is_refused_and_the_next_one_is_served(opened: Opened, endpoint: Endpoint) -> None:
    async with opened() as program:
        huge = await program.http.post(PATHS["chat"], content=b" " * (LONGEST_BODY + 1))
        assert (huge.status_code, "longer than" in huge.json()["error"]["message"]) == (413, True)
        assert (await program.post(PATHS["chat"])).status_code == 200
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"a": NaN}', b'{"a":' * 100_000, b'{"messages":' + b"[" * 50_000],
)
async def test_garbage_is_refused_in_words(body: bytes, opened: Opened, endpoint: Endpoint) -> None:
    async with opened("messages") as program:
        answer = await program.http.post("/v1/messages", content=body)
        packed = await program.post("/v1/messages", headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["type"]) == (400, "error")
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert packed.status_code == 415
    assert endpoint.asked == []


# --- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "kind", "reason"),
    [
        (GatewayLimits(calls=2), "turns", "limit of 2 model calls"),
        (GatewayLimits(tokens=220), "budget", "220 tokens"),
        (GatewayLimits(usd=0.0006), "budget", "0.00 USD"),
    ],
)
async def test_the_limits_hold_between_calls(
    limits: GatewayLimits, kind: str, reason: str, opened: Opened, endpoint: Endpoint
) -> None:
    async with opened(limits=limits) as program:
        patient = program.openai.with_options(max_retries=3)
        for _ in range(2):
            await patient.chat.completions.create(model="x", messages=ASKED["messages"])  # type: ignore
        assert (program.gateway.stopped, program.gateway.stop_event.is_set()) == ("", False)
        for _ in range(2):
            with pytest.raises(openai.PermissionDeniedError, match=reason):
                await patient.chat.completions.create(model="x", messages=ASKED["messages"])  # type: ignore
        assert (await program.http.get("/v1/models")).status_code == 200
    assert program.gateway.stopped == kind
    assert reason in program.gateway.reason
    assert program.gateway.stop_event.is_set()
    assert len(endpoint.asked) == program.gateway.calls == 2
    assert program.gateway.trouble is None


async def test_counting_tokens_is_no_call_and_ends_with_them(opened: Opened) -> None:
    async with opened("messages", limits=GatewayLimits(calls=1)) as program:
        statuses = [
            (await program.post(f"/v1/messages{below}")).status_code
            for below in (*["/count_tokens"] * 11, "", "", "/count_tokens")
        ]
    assert statuses == [*[200] * 10, 403, 200, 403, 403]
    assert (program.gateway.stopped, program.gateway.calls) == ("turns", 1)


async def test_calls_at_once_are_counted_before_they_end(opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(body=b"", then="hang")]
    async with opened(limits=GatewayLimits(calls=1)) as program:
        first = asyncio.create_task(program.post(PATHS["chat"]))
        await asyncio.wait_for(endpoint.arrived.wait(), 5)
        assert (await program.post(PATHS["chat"])).status_code == 403
        first.cancel()
    assert len(endpoint.asked) == 1
    async with opened(limits=GatewayLimits(calls=3)) as program:
        answers = await asyncio.gather(*(program.post(PATHS["chat"]) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [403] * 7


async def test_an_unknown_price_makes_the_cost_unknown_and_leaves_the_tokens(opened: Opened) -> None:
    async with opened(price=None) as program:
        await program.chat()
    assert program.gateway.usage == Usage(model_calls=1, input_tokens=100, output_tokens=10, usd=None)


async def test_what_is_known_to_be_spent_counts_also_after_an_unknown_cost(opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(body=json.dumps(WHOLE["chat"] | {"usage": None}).encode())]
    async with opened(limits=GatewayLimits(usd=0.0003)) as program:
        for status in (200, 200, 403):
            assert (await program.post(PATHS["chat"])).status_code == status
    assert (program.gateway.calls, program.gateway.usage.usd) == (2, None)


# --- an endpoint in trouble -------------------------------------------------------------------


async def test_a_refusal_goes_on_with_its_waiting_time_and_without_the_key(opened: Opened, endpoint: Endpoint) -> None:
    error = {"error": {"message": f"Slow down, {REAL}!", "type": "rate", "code": "rate_limit_exceeded"}}
    answer = Answer(429, json.dumps(error).encode(), {"retry-after": "7", "x-account": REAL})
    endpoint.answers = [answer]
    async with opened() as program:
        with pytest.raises(openai.RateLimitError, match="Slow down") as caught:
            await program.chat()
        refused = caught.value
        assert refused.code == "rate_limit_exceeded"
        assert refused.response.headers["retry-after"] == "7"
        assert REAL not in refused.response.text + str(refused.response.headers)
        trouble = program.gateway.trouble
        assert trouble is not None
        assert (trouble.status, trouble.retry_after) == (429, 7.0)
        assert "answered 429: Slow down" in trouble.message
        assert REAL not in trouble.message
        assert (program.gateway.calls, program.gateway.usage) == (1, Usage(model_calls=1))
        await program.chat()
        assert program.gateway.trouble is None


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (f"<html>no {REAL} here</html>".encode(), "no [secret] here"),
        (f"no {REAL} here".encode() + b"\xff\x00\x1b[31m", "no [secret] here"),
        (json.dumps({"detail": f"no {REAL} here \ud800", "n": float("nan")}).encode(), "no [secret] here"),
        (b"", "no reason"),
    ],
)
async def test_any_kind_of_refusal_is_shown_without_the_key(
    body: bytes, shown: str, opened: Opened, endpoint: Endpoint
) -> None:
    endpoint.answers = [Answer(401, body)]
    async with opened() as program:
        answer = await program.post(PATHS["chat"])
    assert answer.status_code == 401
    assert shown in answer.text
    assert REAL not in answer.text
    assert ": NaN" not in answer.text  # which is no JSON
    assert program.gateway.trouble is not None
    assert program.gateway.trouble.status == 401


@pytest.mark.parametrize("streams", [True, False])
async def test_a_key_that_the_endpoint_says_again_stays_out_of_the_sandbox(
    streams: bool, opened: Opened, endpoint: Endpoint
) -> None:
    body = STREAM["chat"] if streams else json.dumps(WHOLE["chat"]).encode()
    endpoint.answers = [Answer(body=body.replace(b'"hi"', f'"a {REAL} b {REAL[:-1]}"'.encode()))]
    async with opened() as program:
        answer = await program.post(PATHS["chat"], ASKED | {"stream": streams})
    assert REAL not in answer.text
    assert f"a [secret] b {REAL[:-1]}" in answer.text
    assert program.gateway.usage == COUNTED


async def test_a_redirect_is_not_followed(opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(307, b"{}", {"location": f"http://127.0.0.1:{endpoint.port}/else"})]
    async with opened() as program:
        answer = await program.post(PATHS["chat"])
    assert (answer.status_code, "location" in answer.headers, len(endpoint.asked)) == (502, False, 1)
    assert program.gateway.trouble is not None
    assert program.gateway.trouble.status == 307


async def test_an_endpoint_that_is_not_there_costs_nothing(opened: Opened) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with opened(base_url=f"http://127.0.0.1:{port}/v1") as program:
        answer = await program.post(PATHS["chat"])
    assert answer.status_code == 502
    assert program.gateway.trouble == Trouble(
        0, f"The model endpoint http://127.0.0.1:{port}/v1 can't be reached (ConnectError)."
    )
    assert (program.gateway.calls, program.gateway.usage) == (0, Usage())


async def test_an_endpoint_that_hangs_is_given_up_and_may_have_cost_something(
    opened: Opened, endpoint: Endpoint
) -> None:
    endpoint.answers = [Answer(body=b"", then="hang")]
    async with opened(timeout_seconds=0.3) as program:
        answer = await program.post(PATHS["chat"])
        await asyncio.wait_for(endpoint.left.wait(), 5)
    assert (answer.status_code, "did not answer in time" in answer.text) == (504, True)
    assert (program.gateway.calls, program.gateway.usage.usd) == (1, None)
    assert program.gateway.trouble is not None
    assert program.gateway.trouble.status == 0


@pytest.mark.parametrize("body", [b"", b'{"id": "c", "cho'])
async def test_a_broken_connection_is_told_as_such(body: bytes, opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(body=body, then="reset")]
    async with opened() as program:
        answer = await program.post(PATHS["chat"])
    assert (answer.status_code, "broke off" in answer.text) == (502, True)
    assert program.gateway.trouble is not None
    assert program.gateway.usage == Usage(model_calls=1, input_tokens=length(endpoint), usd=None)


@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
async def test_a_stream_that_breaks_off_breaks_off_inside_too(
    wire: str, opened: Opened, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.answers = [Answer(body=STREAM[wire][:120], then="reset")]
    async with opened(wire) as program:
        with pytest.raises(httpx.RemoteProtocolError), caplog.at_level(logging.DEBUG):
            await program.post(PATHS[wire], ASKED | {"stream": True})
        assert (await program.post(PATHS[wire])).status_code == 200
    assert (program.gateway.calls, program.gateway.usage.usd) == (2, None)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_stream_that_ends_before_it_is_over_is_of_unknown_cost(opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(body=STREAM["messages"].partition(b'data: {"type": "message_delta"')[0])]
    async with opened("messages") as program:
        answer = await program.post("/v1/messages", ASKED | {"stream": True})
    assert answer.status_code == 200
    said = len("text_delta" + "hi") // 3  # more than it had counted by then
    assert program.gateway.usage == Usage(model_calls=1, input_tokens=100, output_tokens=said, usd=None)
    assert program.gateway.trouble is not None
    assert "broke off" in program.gateway.trouble.message


@pytest.mark.parametrize(
    ("wire", "event", "status"),
    [
        ("messages", {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, 529),
        ("chat", {"error": {"code": 503, "message": "busy"}}, 503),
        ("responses", {"type": "error", "code": "rate_limit_exceeded", "message": "busy"}, 429),
        (
            "responses",
            {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "busy"}}},
            500,
        ),
    ],
)
async def test_an_error_within_a_stream_is_trouble(
    wire: str, event: dict[str, Any], status: int, opened: Opened, endpoint: Endpoint
) -> None:
    endpoint.answers = [Answer(body=events(event))]
    async with opened(wire) as program:
        await program.post(PATHS[wire], ASKED | {"stream": True})
    trouble = program.gateway.trouble
    assert trouble is not None
    assert (trouble.status, trouble.message.rpartition(": ")[2]) == (status, "busy")
    assert program.gateway.usage.usd is None


async def test_a_page_instead_of_an_answer_is_told_as_such(opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(body=b"<html>It works!</html>")]
    async with opened() as program:
        answer = await program.post(PATHS["chat"])
    assert (answer.status_code, "check the base URL" in answer.text) == (502, True)


async def test_a_compressed_answer_is_unpacked(opened: Opened, endpoint: Endpoint) -> None:
    packed = gzip.compress(json.dumps(WHOLE["chat"]).encode())
    endpoint.answers = [Answer(body=packed, headers={"content-encoding": "gzip"})]
    async with opened() as program:
        assert (await program.post(PATHS["chat"])).json() == WHOLE["chat"]
    assert endpoint.asked[0].headers["accept-encoding"] == "identity"
    assert program.gateway.usage == COUNTED


# --- the end ---------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", events(chunk())])
async def test_cancelled_it_closes_at_once_both_ways(said: bytes, opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(body=said, then="hang")]
    async with opened(timeout_seconds=60) as program:
        hanging = asyncio.create_task(program.post(PATHS["chat"], ASKED | {"stream": True}))
        await asyncio.wait_for(endpoint.arrived.wait(), 5)
        begun = time.monotonic()
        program.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await program.task
        assert time.monotonic() - begun < 1
        with pytest.raises(httpx.TransportError):
            await asyncio.wait_for(hanging, 5)
        await asyncio.wait_for(endpoint.left.wait(), 5)
        with pytest.raises(httpx.ConnectError):
            await program.post(PATHS["chat"])
    assert (program.gateway.calls, program.gateway.usage.usd) == (1, None)


async def test_a_program_that_leaves_takes_its_call_with_it(opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(body=b"", then="hang")]
    async with opened() as program:
        with pytest.raises(httpx.ReadTimeout):
            await program.post(PATHS["chat"], timeout=0.3)
        await asyncio.wait_for(endpoint.left.wait(), 5)
        assert (await program.post(PATHS["chat"])).status_code == 200
    assert program.gateway.calls == 2
    tokens = 100 + length(endpoint)
    assert program.gateway.usage == Usage(model_calls=2, input_tokens=tokens, output_tokens=10, usd=None)


async def test_it_logs_neither_keys_nor_what_is_said(
    opened: Opened, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    endpoint.answers = [Answer(500, b"no"), Answer(body=b"", then="reset")]
    broken = "clé-" + REAL  # no header can hold it
    async with opened() as program, opened(api_key=broken) as hopeless:
        for _ in range(3):
            await program.post(PATHS["chat"])
        with pytest.raises(httpx.RemoteProtocolError):
            await hopeless.post(PATHS["chat"])
    for text in (KEY, REAL, "hello"):
        assert text not in caplog.text
    assert "UnicodeEncodeError" in caplog.text


async def test_many_at_once_are_served(opened: Opened, endpoint: Endpoint) -> None:
    async with opened() as program:
        answers = await asyncio.gather(*(program.post(PATHS["chat"], ASKED | {"stream": True}) for _ in range(30)))
    assert {answer.content for answer in answers} == {STREAM["chat"]}
    assert program.gateway.usage.input_tokens == 3_000
