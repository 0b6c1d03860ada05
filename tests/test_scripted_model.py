"""The scripted model over real HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from sdlc.config import ModelSettings
from sdlc.demo.conversation import ChatRequest, added_lines
from sdlc.domain import Severity
from sdlc.errors import ModelAnswerInvalid, ModelRefused, ServiceUnavailable
from sdlc.integrations.llm import Models
from tests.scripted import (
    CLEAN,
    MODEL,
    Fault,
    Reply,
    Script,
    ScriptedModel,
    ToolCall,
    edits_between,
    say,
    shell,
    solve,
    submit,
)

TOOLS = [{"type": "function", "function": {"name": "shell", "parameters": {"type": "object", "properties": {}}}}]
TURNS = (say("A look.", shell("ls")), say("And again.", shell("ls -a")), say("", submit("Done.")))


class Point(BaseModel):
    file: str
    line: int
    severity: Severity
    hint: str | None = None


class Points(BaseModel):
    findings: list[Point]
    remark: str


def brief(round_: int = 0) -> list[dict[str, Any]]:
    return [{"role": "system", "content": "Solve it."}, {"role": "user", "content": f"# Ticket\n\nRound: {round_}\n"}]


def lens(panel: str = "quality", name: str = "correctness", text: str = "a diff") -> list[dict[str, Any]]:
    system = f"You are the {panel} panel of a code review. Lens: {name}. Be brief."
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


def script() -> Script:
    return Script().round(0, *TURNS).later(say("", submit("Mended."))).lens("*", CLEAN)


def models(server: ScriptedModel, **more: Any) -> Models:
    return Models(ModelSettings(base_url=server.base_url, name=MODEL, timeout_seconds=5, **more))


async def test_the_turn_follows_from_the_conversation_alone() -> None:
    async with ScriptedModel(script()) as server:
        first = await models(server).chat(role="coder", messages=brief(), tools=TOOLS)
        messages = [*brief(), first.message, {"role": "tool", "tool_call_id": "x", "content": "README"}]
        second = await models(server).chat(role="coder", messages=messages, tools=TOOLS)
        again = await models(server).chat(role="coder", messages=messages, tools=TOOLS)
    assert json.loads(first.message["tool_calls"][0]["function"]["arguments"]) == {"command": "ls"}
    assert json.loads(second.message["tool_calls"][0]["function"]["arguments"]) == {"command": "ls -a"}
    assert second == again
    assert first.finish_reason == "tool_calls"


async def test_a_restarted_server_goes_on_at_the_same_address() -> None:
    server = ScriptedModel(script())
    server.start()
    address = server.base_url
    async with httpx.AsyncClient() as client:
        await client.get(f"{address}/models", timeout=5)
        await asyncio.to_thread(server.stop)
        with pytest.raises(ServiceUnavailable):
            await models(server).chat(role="coder", messages=brief(), tools=TOOLS)
        server.start()
        assert (await client.get(f"{address}/models", timeout=5)).json()["data"][0]["id"] == MODEL
    assert server.base_url == address
    await asyncio.to_thread(server.stop)


async def test_later_rounds_have_turns_of_their_own() -> None:
    async with ScriptedModel(script()) as server:
        answer = await models(server).chat(role="coder", messages=brief(3), tools=TOOLS)
    assert "Mended." in answer.message["tool_calls"][0]["function"]["arguments"]


async def test_what_is_not_scripted_is_refused_for_good_and_says_why() -> None:
    async with ScriptedModel(Script().round(0, *TURNS)) as server:
        for messages, tools in ((brief(1), TOOLS), (lens(), None), (brief(), None)):
            with pytest.raises(ModelRefused, match="Nothing is scripted for"):
                await models(server).chat(role="coder", messages=messages, tools=tools)
    assert [entry.answered for entry in server.requests] == [False] * 3


async def test_a_lens_answers_what_the_schema_asks_for_and_no_more() -> None:
    found = {"file": "a.py", "line": 3, "severity": "minor", "message": "not in this schema"}
    async with ScriptedModel(Script().lens("Quality", {"findings": [found]}).lens("*", CLEAN)) as server:
        points, usage = await models(server).structured(role="reviewer", messages=lens(), schema=Points)
        others, _ = await models(server).structured(role="reviewer", messages=lens("security"), schema=Points)
    assert points == Points(findings=[Point(file="a.py", line=3, severity=Severity.MINOR)], remark="")
    assert others.findings == []
    assert usage.input_tokens > 50
    assert usage.output_tokens > 5


async def test_a_number_that_the_script_does_not_say_is_not_made_up() -> None:
    async with ScriptedModel(Script().lens("*", {"findings": [{"file": "a.py"}]})) as server:
        with pytest.raises(ModelRefused, match="requires `line`"):
            await models(server).structured(role="reviewer", messages=lens(), schema=Points)


async def test_a_stream_says_the_same_as_a_whole_answer() -> None:
    async with ScriptedModel(script()) as server, openai.AsyncOpenAI(base_url=server.base_url, api_key="x") as client:
        whole = await client.chat.completions.create(model=MODEL, messages=brief(), tools=TOOLS)  # type: ignore
        stream = await client.chat.completions.create(  # type: ignore
            model=MODEL, messages=brief(), tools=TOOLS, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    calls = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or ()]
    said = whole.choices[0].message
    assert text == said.content
    assert [call.function.arguments for call in calls] == [call.function.arguments for call in said.tool_calls]
    assert chunks[-1].usage == whole.usage


async def test_a_fault_hits_the_next_requests_that_it_fits() -> None:
    fault = Fault(status=429, retry_after="7", times=2, where=lambda request: request.lens is not None)
    async with ScriptedModel(script()) as server:
        server.fail(fault)
        await models(server).chat(role="coder", messages=brief(), tools=TOOLS)
        for _ in range(2):
            with pytest.raises(ServiceUnavailable) as caught:
                await models(server).structured(role="reviewer", messages=lens(), schema=Points)
            assert caught.value.retry_after == 7
        server.fail(Fault(status=500))
        with pytest.raises(ServiceUnavailable):
            await models(server).chat(role="coder", messages=brief(), tools=TOOLS)
    assert [entry.fault for entry in server.requests] == ["", "status", "status", "status"]


async def test_prose_is_repaired_once_and_refusals_are_final() -> None:
    good = Script().lens("*", {"findings": []})
    async with ScriptedModel(good) as server:
        server.fail(Fault("prose"))
        points, usage = await models(server).structured(role="reviewer", messages=lens(), schema=Points)
        assert (points.findings, usage.model_calls) == ([], 2)
        server.fail(Fault("prose", times=2))
        with pytest.raises(ModelAnswerInvalid):
            await models(server).structured(role="reviewer", messages=lens(), schema=Points)
        server.fail(Fault("refusal"))
        with pytest.raises(ModelRefused):
            await models(server).structured(role="reviewer", messages=lens(), schema=Points)


@pytest.mark.parametrize("kind", ["hang", "reset"])
async def test_a_hanging_or_broken_connection_is_the_worlds_fault(kind: Any) -> None:
    async with ScriptedModel(script()) as server:
        impatient = Models(ModelSettings(base_url=server.base_url, name=MODEL, timeout_seconds=0.3))
        server.fail(Fault(kind))
        with pytest.raises(ServiceUnavailable):
            await impatient.chat(role="coder", messages=brief(), tools=TOOLS)


async def test_a_wrong_key_is_refused() -> None:
    async with ScriptedModel(script(), api_key="right") as server:
        with pytest.raises(ModelRefused, match="OPENAI_API_KEY"):
            await models(server, api_key="wrong").chat(role="coder", messages=brief(), tools=TOOLS)
        await models(server, api_key="right").chat(role="coder", messages=brief(), tools=TOOLS)


async def test_arguments_that_are_not_json_are_sent_as_they_are() -> None:
    async with ScriptedModel(Script().round(0, Reply(tool_calls=(ToolCall("shell", '{"command": '),)))) as server:
        answer = await models(server).chat(role="coder", messages=brief(), tools=TOOLS)
    assert answer.message["tool_calls"][0]["function"]["arguments"] == '{"command": '


async def test_the_log_shows_which_calls_were_made_again(tmp_path: Path) -> None:
    async with ScriptedModel(script(), log=tmp_path / "calls.jsonl") as server:
        await models(server).chat(role="coder", messages=brief(), tools=TOOLS)
        assert server.answered_again() == {}
        await models(server).structured(role="reviewer", messages=lens(), schema=Points)
        await models(server).chat(role="coder", messages=brief(), tools=TOOLS)
        assert server.answered_again() == {"agent round 0 turn 0": 2}
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == ["agent round 0 turn 0", "quality/correctness", "agent round 0 turn 0"]
    assert all(line["answered"] and line["input_tokens"] for line in lines)


async def test_it_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sdlc.demo.scripted_model", "--port", "0", "--log", str(tmp_path / "log.jsonl")),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        address = next(word for word in line.split() if word.startswith("http"))
        async with httpx.AsyncClient(timeout=5) as client:
            body = {"model": MODEL, "messages": brief(), "tools": TOOLS}
            answer = (await client.post(f"{address}/chat/completions", json=body)).json()
            assert (await client.get(f"{address}/nothing")).status_code == 404
            assert (await client.post(f"{address}/chat/completions", content=b"{")).status_code == 400
        assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "shell"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_added_lines_have_the_numbers_of_the_new_file() -> None:
    diff = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,4 @@\n one\n-two\n+2\n+3\n four\n"
    text = f"Review this.\n```diff\n{diff}```\n+ not a line of it"
    assert [(line.file, line.line, line.code) for line in added_lines(text)] == [("a.py", 2, "2"), ("a.py", 3, "3")]


@given(st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n"]), min_size=1), st.lists(st.sampled_from(["a\n", "d\n"])))
def test_edits_lead_from_any_text_to_any_other(before: list[str], after: list[str]) -> None:
    text, wanted = "".join(before), "".join(after)
    for call in edits_between("file", text, wanted):
        assert isinstance(call.arguments, dict)
        assert text.count(call.arguments["old_text"]) == 1
        text = text.replace(call.arguments["old_text"], call.arguments["new_text"])
    assert text == wanted


def test_a_known_change_is_made_once_however_often_the_engine_is_called() -> None:
    script = solve({"a.py": ("x = 1\n", "x = 2\n")}, check="pytest")

    def said(round_: int, turn: int, so_far: str = "") -> list[str]:
        first = brief(round_)
        first[1]["content"] += so_far
        body = {"messages": [*first, *[{"role": "assistant", "content": ""}] * turn], "tools": TOOLS}
        return [call.name for call in script.answer(ChatRequest(body)).tool_calls]

    assert [said(0, turn) for turn in range(4)] == [["shell"], ["edit"], ["shell"], ["submit"]]
    begun = "\n## What the branch holds so far\n"
    # The second iteration of a round, and one that goes on after its submit was not taken.
    assert [said(0, turn, begun) for turn in range(2)] == [["submit"]] * 2
    assert [said(1, turn, begun) for turn in range(2)] == [["submit"]] * 2
