"""The model gateway against a program that would harm the worker, evade its budget, or reach further than a model."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from sdlc.config import Price
from sdlc.domain import Usage
from sdlc.integrations.gateway import GatewayLimits, gateway, serving
from sdlc.integrations.gateway.outgoing import Unfit, outgoing_body
from tests import test_gateway as plain
from tests.test_gateway import ASKED, CHAT_USAGE, KEY, PATHS, WHOLE, Answer, Endpoint, Opened, Program

endpoint, opened = plain.endpoint, plain.opened
"""The fixtures."""

URL = "http://169.254.169.254/x?data=secret"
HANGS = Answer(body=b"", then="hang")


async def connection(program: Program) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(program.url.rpartition(":")[2]))


def head(length: int, key: str = KEY) -> bytes:
    fields = f"host: x\r\nx-api-key: {key}\r\ncontent-length: {length}"
    return f"POST {PATHS['chat']} HTTP/1.1\r\n{fields}\r\n\r\n".encode()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """What came before that."""
    heard = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(1_000):
            heard += piece
    return heard


# --- connections -----------------------------------------------------------------------------


async def test_more_connections_than_a_program_needs_are_closed_at_once(opened: Opened) -> None:
    async with opened() as program:
        everyone = [await connection(program) for _ in range(200)]
        closed = {asyncio.create_task(until_closed(reader)) for reader, _ in everyone}
        async with asyncio.timeout(10):
            while sum(task.done() for task in closed) < 200 - serving.CONNECTIONS:
                await asyncio.wait(closed, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
                closed |= {task for task in closed if not task.done()}
        assert sum(task.done() for task in closed) == 200 - serving.CONNECTIONS
        for _, writer in everyone:
            writer.close()
        await asyncio.wait(closed, timeout=5)
        assert (await program.post(PATHS["chat"])).status_code == 200


@pytest.mark.parametrize("whole", [b"", b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n", head(5, key="wrong") + b"ab"])
@pytest.mark.parametrize("part", [b"", b"x"])
async def test_a_connection_that_asks_nothing_is_closed(
    whole: bytes, part: bytes, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.5)
    async with opened() as program:
        reader, writer = await connection(program)
        writer.write(whole)
        closed = asyncio.create_task(until_closed(reader))
        async with asyncio.timeout(4):  # a server's usual five seconds are put off by every byte
            while not closed.done():
                writer.write(part)
                await asyncio.wait({closed}, timeout=0.1)
        assert closed.result().startswith(b"HTTP/1.1 401" if whole else b"")


async def test_a_call_may_take_longer_than_its_head(
    opened: Opened, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.3)
    endpoint.answers = [HANGS]
    async with opened() as program:
        assert (await program.http.get("/v1/models")).status_code == 200  # on the same connection
        call = asyncio.create_task(program.post(PATHS["chat"]))
        done, _ = await asyncio.wait({call}, timeout=1)
        assert not done
        call.cancel()


# --- bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [b"{},", b"[],", b"1,"])
async def test_a_body_of_very_many_parts_is_not_even_read(part: bytes, opened: Opened, endpoint: Endpoint) -> None:
    body = b'{"messages":[' + part * 310_000 + b"1]}"
    async with opened() as program:
        answer = await program.http.post(PATHS["chat"], content=body)
    assert (answer.status_code, "too many parts" in answer.text, endpoint.asked) == (413, True, [])


async def test_a_limit_is_looked_at_before_the_body_is_read(opened: Opened) -> None:
    async with opened(limits=GatewayLimits(calls=0)) as program:
        reader, writer = await connection(program)
        writer.write(head(1_000_000))
        assert b" 403 " in await asyncio.wait_for(reader.readline(), 5)
        writer.close()


async def test_a_body_that_does_not_come_is_given_up(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_BODY_SECONDS", 0.3)
    async with opened() as program:
        for begun in (b"{", b" " * 300_000):
            reader, writer = await connection(program)
            writer.write(head(1_000_000) + begun)
            assert b" 408 " in await asyncio.wait_for(reader.readline(), 5)
            writer.close()


async def test_few_large_requests_are_in_memory_at_once(
    opened: Opened, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "_AT_ONCE", 1)
    endpoint.answers = [HANGS]
    large = ASKED | {"user": "x" * 300_000}
    async with opened() as program:
        first = asyncio.create_task(program.post(PATHS["chat"], large))
        await asyncio.wait_for(endpoint.arrived.wait(), 5)
        second = asyncio.create_task(program.post(PATHS["chat"], large))
        done, _ = await asyncio.wait({second}, timeout=0.5)
        assert not done
        assert (await program.post(PATHS["chat"])).status_code == 200  # a small one
        first.cancel()
        assert (await asyncio.wait_for(second, 5)).status_code == 200


# --- budgets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [GatewayLimits(tokens=1_000), GatewayLimits(usd=0.01)])
async def test_who_leaves_before_the_count_is_charged_for_what_was_heard(
    limits: GatewayLimits, opened: Opened, endpoint: Endpoint
) -> None:
    endpoint.answers = [Answer(body=plain.events(plain.chunk("stop", text="x" * 3_000)), then="hang")]
    async with opened(limits=limits) as program:
        stream = await program.chat(stream=True)
        assert [choice.finish_reason for choice in (await anext(aiter(stream))).choices] == ["stop"]
        await stream.close()
        await asyncio.wait_for(endpoint.left.wait(), 5)
        assert (await program.post(PATHS["chat"])).status_code == 403
    usage = program.gateway.usage
    assert (usage.model_calls, usage.input_tokens, usage.usd) == (1, plain.length(endpoint), None)
    assert 1_000 <= usage.output_tokens < 1_010
    assert program.gateway.stopped == "budget"


async def test_what_events_are_wrapped_in_is_not_charged(opened: Opened, endpoint: Endpoint) -> None:
    said = [plain.chunk(text="word ") for _ in range(300)]
    endpoint.answers = [Answer(body=plain.events(*said, plain.chunk("stop")))]
    async with opened() as program:
        await program.post(PATHS["chat"], ASKED | {"stream": True})
    assert 500 <= program.gateway.usage.output_tokens <= 510


async def test_an_error_in_the_stead_of_an_answer_is_not_charged(opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(body=plain.events({"error": {"code": 503, "message": "busy"}}))]
    async with opened() as program:
        await program.post(PATHS["chat"], ASKED | {"stream": True})
    assert program.gateway.usage == Usage(model_calls=1, usd=None)


@pytest.mark.parametrize(
    ("limits", "most", "at_once"),
    [
        (GatewayLimits(tokens=1_000_000), 9, 4),
        (GatewayLimits(usd=1_000), 9, 4),
        (GatewayLimits(tokens=1_000), 2_000, 1),
        (GatewayLimits(usd=0.01), 2_000, 1),
    ],
)
async def test_open_calls_have_their_part_of_the_budget(
    limits: GatewayLimits, most: int, at_once: int, opened: Opened, endpoint: Endpoint
) -> None:
    endpoint.answers = [HANGS] * at_once
    asked = ASKED | {"max_tokens": most}
    async with opened(limits=limits) as program:
        calls = [asyncio.create_task(program.post(PATHS["chat"], asked)) for _ in range(at_once)]
        async with asyncio.timeout(5):
            while len(endpoint.asked) < at_once:
                await asyncio.sleep(0.01)
        last = asyncio.create_task(program.post(PATHS["chat"], asked))
        done, _ = await asyncio.wait({last}, timeout=0.5)
        assert not done
        calls[0].cancel()
        assert (await asyncio.wait_for(last, 5)).status_code == 200
        for call in calls:
            call.cancel()
    assert program.gateway.stopped == ""


async def test_who_waits_for_the_budget_may_leave(opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [HANGS]
    async with opened(limits=GatewayLimits(tokens=1_000)) as program:
        first = asyncio.create_task(program.post(PATHS["chat"], ASKED | {"max_tokens": 2_000}))
        await asyncio.wait_for(endpoint.arrived.wait(), 5)
        waiting = asyncio.create_task(program.post(PATHS["chat"], ASKED))
        await asyncio.wait({waiting}, timeout=0.3)
        waiting.cancel()
        first.cancel()
        assert (await program.post(PATHS["chat"])).status_code == 200
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ("chat", CHAT_USAGE | {"prompt_tokens_details": {"cached_tokens": 70}}),
        ("responses", {"input_tokens": 100, "output_tokens": 10, "input_tokens_details": {"cached_tokens": 70}}),
        ("messages", WHOLE["messages"]["usage"]),
    ],
)
async def test_cached_input_has_its_own_price(wire: str, usage: Any, opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(body=json.dumps(WHOLE[wire] | {"usage": usage}).encode())]
    async with opened(wire, price=Price(input=2.0, output=10.0, cached_input=1.0)) as program:
        await program.post(PATHS[wire])
    assert program.gateway.usage == Usage(model_calls=1, input_tokens=100, output_tokens=10, usd=0.00023)


async def test_every_way_to_say_how_long_to_wait_is_understood(opened: Opened, endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(429, b"{}", {"retry-after-ms": "1500"})]
    async with opened() as program:
        await program.post(PATHS["chat"])
    assert program.gateway.trouble is not None
    assert program.gateway.trouble.retry_after == 1.5


# --- what leaves the sandbox -----------------------------------------------------------------


def sent(wire: Any, **asked: Any) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(outgoing_body(wire, json.dumps(asked).encode(), "large").body)
    return result


@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "image_url", "image_url": URL},
        {"type": "tool_use", "image_url": {"url": URL}},
        {"type": "tool_use", "name": "x", "content": [{"type": "image", "source": {"type": "url", "url": URL}}]},
        {"video_url": [URL]},
        {"AUDIO_URL": "//evil.example/x"},
        {"fileUri": "gs://bucket/x"},
        {"type": "video", "video": [URL]},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f" {URL}"}},
        {"type": "file", "file": {"file_id": URL}},
        {"type": "input_image", "file_id": "file-of-the-account"},
        {"type": "text", "arguments": {"url": URL}},
    ],
)
def test_no_address_is_passed_on_wherever_it_stands(wire: Any, part: dict[str, Any]) -> None:
    name = "input" if wire == "responses" else "messages"
    with pytest.raises(Unfit, match="by URL"):
        sent(wire, **{name: [{"role": "user", "content": [part]}]})
    if wire != "messages":
        with pytest.raises(Unfit, match="by URL"):
            sent(wire, **{name: [{"role": "user", "type": "tool_use", "input": [part]}]})


def test_what_only_looks_like_an_address_is_passed_on() -> None:
    tool = {"type": "tool_use", "id": "1", "name": "open", "input": {"url": URL, "image": URL}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": None}}
    file = {"type": "file", "file": {"file_data": "JVBERi0=", "filename": "a: b.pdf", "file_id": None}}
    call = {"type": "function", "function": {"name": "open", "arguments": json.dumps({"url": URL})}}
    said = {"role": "assistant", "content": f"See {URL}", "tool_calls": [call]}
    messages = [said, {"role": "user", "content": [image, file, {"type": "text", "text": URL}]}]
    assert sent("chat", messages=messages)["messages"] == messages
    messages = [{"role": "assistant", "content": [tool]}]
    assert sent("messages", messages=messages)["messages"] == messages


def test_where_an_earlier_answer_had_its_words_from_is_left_out() -> None:
    cited = [{"type": "url_citation", "url": URL}]
    asked = [{"role": "assistant", "content": [{"type": "output_text", "text": "hi", "annotations": cited}]}]
    assert sent("responses", input=asked)["input"][0]["content"][0]["annotations"] == []


FURTHER = [
    *("models", "route", "provider", "transforms", "fallbacks", "api_base", "base_url", "api_key", "prompt"),
    *("conversation", "previous_response_id", "service_tier", "speed", "background", "container", "mcp_servers"),
    *("plugins", "web_search_options", "extra_body", "unheard_of"),
]


@pytest.mark.parametrize(
    ("wire", "known", "added"),
    [
        ("chat", ["messages", "max_tokens", "reasoning_effort", "response_format", "stream", "temperature"], {}),
        ("responses", ["input", "include", "prompt_cache_key", "reasoning", "text", "truncation"], {"store": False}),
        ("messages", ["messages", "context_management", "metadata", "output_config", "system", "thinking"], {}),
    ],
)
def test_only_known_fields_are_passed_on(wire: Any, known: list[str], added: dict[str, Any]) -> None:
    asked = {name: {"of": name} for name in (*FURTHER, *known)}
    expected = {name: asked[name] for name in known} | added | {"model": "large"}
    if wire == "chat":
        expected["stream_options"] = {"include_usage": True}
    assert sent(wire, **asked) == expected


def test_one_answer_is_asked_for_and_none_is_kept() -> None:
    asked = sent("chat", messages=[], n=128, store=True)
    assert (asked["n"], asked["store"]) == (1, False)
    assert sent("responses", input="x", store=True)["store"] is False
