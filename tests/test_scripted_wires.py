"""The scripted model in the other two wire formats."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from sdlc.demo.conversation import ChatRequest
from tests.scripted import MODEL, Fault, Reply, Script, ScriptedModel, ToolCall, say, shell, submit

PATCH = '*** Begin Patch\n*** Add File: "a"\n+1\n*** End Patch\n'
TURNS = (
    say("A look.\nAnd one more.\n", shell("ls"), shell("ls -a")),
    Reply(tool_calls=(ToolCall("apply_patch", PATCH), ToolCall("local_shell", {"command": ["ls"]}))),
    say("Done."),
)
FUNCTION = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}}
CUSTOM = {"type": "custom", "name": "apply_patch", "format": {"type": "grammar"}}
SPACE = {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "fetch", "parameters": {}}]}
TOOLS = [FUNCTION, CUSTOM, {"type": "local_shell"}, SPACE, {"type": "web_search"}]
BRIEF = "<context>\nAGENTS.md: be brief\n</context>"
INPUT: list[dict[str, Any]] = [
    {"role": "developer", "content": "Permissions."},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": BRIEF}]},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "# Ticket\n\nRound: 0\n"}]},
]
BLOCKS = [{"type": "text", "text": "<system-reminder>\nx\n</system-reminder>"}, {"type": "text", "text": "Round: 0\n"}]
MESSAGES_TOOLS = [{"name": "shell", "input_schema": {}}, {"type": "web_search_1", "name": "web_search"}]


def script() -> Script:
    return Script().round(0, *TURNS).later(say("", submit("Mended.")))


def client(server: ScriptedModel, key: str = "x") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.base_url, api_key=key, max_retries=0, timeout=10)


async def responses(server: ScriptedModel, given: Any, **more: Any) -> Any:
    async with client(server) as asking:
        options = {"model": MODEL, "tools": TOOLS, "instructions": "Solve it.", **more}
        answer = await asking.responses.create(input=given, **options)
        return [event async for event in answer] if options.get("stream") else answer


async def message(server: ScriptedModel, messages: Any, path: str = "", key: str = "x", **more: Any) -> httpx.Response:
    body = {"model": MODEL, "max_tokens": 9, "system": [{"type": "text", "text": "Solve it."}], "tools": MESSAGES_TOOLS}
    async with httpx.AsyncClient(timeout=10, headers={"x-api-key": key}) as asking:
        return await asking.post(f"{server.base_url}/messages{path}", json=body | {"messages": messages} | more)


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    events = []
    for block in response.text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


# --- responses -------------------------------------------------------------------------------


async def test_a_whole_solution_is_said_in_responses() -> None:
    async with ScriptedModel(script()) as server:
        first = await responses(server, INPUT)
        assert first.output_text == "A look.\nAnd one more.\n"
        calls = [item for item in first.output if item.type == "function_call"]
        assert [(call.name, json.loads(call.arguments)["command"]) for call in calls] == [
            ("shell", "ls"),
            ("shell", "ls -a"),
        ]
        heard: list[Any] = [{"type": "reasoning", "id": "r", "summary": []}]
        # As Codex may: each call with its output.
        heard += [first.output[0].model_dump(exclude_none=True)]
        for call in calls:
            heard += [call.model_dump(exclude_none=True)]
            heard += [{"type": "function_call_output", "call_id": call.call_id, "output": f"of {call.name}"}]
        second = await responses(server, [*INPUT, *heard])
        patch, local = second.output
        assert (patch.type, patch.name, patch.input) == ("custom_tool_call", "apply_patch", PATCH)
        assert (local.type, local.action.command) == ("local_shell_call", ["ls"])
        heard += [item.model_dump(exclude_none=True) for item in second.output]
        outputs = ("custom_tool_call_output", patch.call_id), ("local_shell_call_output", local.call_id)
        heard += [{"type": kind, "call_id": identity, "output": "done"} for kind, identity in outputs]
        third = await responses(server, [*INPUT, *heard])
        assert (third.output_text, third.status) == ("Done.", "completed")
        last = server.conversations[-1]
    assert last.tools == ("shell", "apply_patch", "local_shell", "fetch", "web_search")
    assert (last.round, last.turn, last.last_outputs) == (0, 2, "done\ndone")
    assert last.brief == "# Ticket\n\nRound: 0\n"
    assert last.calls[2:] == [{"input": PATCH}, {"type": "exec", "env": {}, "command": ["ls"]}]
    assert [entry.label for entry in server.requests] == [f"agent round 0 turn {turn}" for turn in range(3)]
    assert server.answered_again() == {}
    assert all(entry.input_tokens and entry.output_tokens for entry in server.requests)
    assert last.messages[0] == {"role": "system", "content": "Solve it."}


@pytest.mark.parametrize("turn", range(3))
async def test_a_stream_of_responses_says_the_same_as_a_whole_answer(turn: int) -> None:
    async with ScriptedModel(script()) as server:
        given = [*INPUT]
        for _ in range(turn):
            given += [{"role": "assistant", "content": "x"}, {"role": "user", "content": "go on"}]
        whole = await responses(server, given)
        events = await responses(server, given, stream=True)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type == "response.completed"
    assert events[-1].response == whole
    assert events[-1].response.usage.input_tokens > 50
    added = [event.item for event in events if event.type == "response.output_item.added"]
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.id for item in added] == [item.id for item in done]
    assert done == whole.output
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    for kind, name, field in (
        ("function_call", "function_call_arguments", "arguments"),
        ("custom_tool_call", "custom_tool_call_input", "input"),
    ):
        for index, item in enumerate(whole.output):
            if item.type == kind:
                ours = [event for event in events if getattr(event, "output_index", None) == index]
                text = "".join(event.delta for event in ours if event.type == f"response.{name}.delta")
                said = [getattr(event, field) for event in ours if event.type == f"response.{name}.done"]
                assert [text] == said == [getattr(item, field)]


async def test_the_schema_of_an_answer_is_found_in_responses() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    lens = "You are the quality panel of a code review. Lens: correctness."
    format_ = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    async with ScriptedModel(Script().lens("quality", {"b": 1})) as server:
        answer = await responses(server, "a diff", instructions=lens, tools=[], text=format_)
    assert json.loads(answer.output_text) == {"a": ""}


# --- messages --------------------------------------------------------------------------------


async def test_a_whole_solution_is_said_in_messages() -> None:
    messages: list[Any] = [{"role": "user", "content": BLOCKS}]
    async with ScriptedModel(script()) as server:
        first = (await message(server, messages)).json()
        text, one, two = first["content"]
        assert (first["role"], first["stop_reason"], text["text"]) == (
            "assistant",
            "tool_use",
            "A look.\nAnd one more.\n",
        )
        assert [call["input"] for call in (one, two)] == [{"command": "ls"}, {"command": "ls -a"}]
        results = [
            {"type": "tool_result", "tool_use_id": one["id"], "content": "README"},
            {"type": "tool_result", "tool_use_id": two["id"], "content": [{"type": "text", "text": ".git"}]},
            {"type": "text", "text": "<system-reminder/>"},
        ]
        # As Claude Code may: a message for each block.
        messages += [{"role": "assistant", "content": [block]} for block in first["content"]]
        messages += [{"role": "user", "content": results}]
        second = (await message(server, messages, "?beta=true")).json()
        assert second["content"][0]["input"] == {"input": PATCH}
        messages += [{"role": "assistant", "content": second["content"]}, {"role": "user", "content": "go on"}]
        third = (await message(server, messages)).json()
        assert (third["content"], third["stop_reason"]) == ([{"type": "text", "text": "Done."}], "end_turn")
        of_second = server.conversations[1]
    assert (of_second.turn, of_second.round, of_second.last_outputs) == (1, 0, "README\n.git")
    assert of_second.tools == ("shell", "web_search")
    assert of_second.messages[0] == {"role": "system", "content": "Solve it."}
    assert len([entry for entry in server.requests if entry.answered]) == 3


async def test_a_stream_of_messages_says_the_same_as_a_whole_answer() -> None:
    asked = [{"role": "user", "content": BLOCKS}]
    async with ScriptedModel(script()) as server:
        whole = (await message(server, asked)).json()
        stream = await message(server, asked, stream=True)
    events = events_of(stream)
    assert stream.headers["content-type"] == "text/event-stream"
    kinds = [event["type"] for event in events]
    assert kinds[:3] == ["message_start", "ping", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert events[0]["message"]["content"] == []
    blocks: list[dict[str, Any]] = []
    for event in events:
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"] | {"said": ""})
            assert event["index"] == len(blocks) - 1
        if event["type"] == "content_block_delta":
            blocks[event["index"]]["said"] += event["delta"].get("text", "") + event["delta"].get("partial_json", "")
    assert blocks[0]["said"] == whole["content"][0]["text"]
    assert [json.loads(block["said"]) for block in blocks[1:]] == [call["input"] for call in whole["content"][1:]]
    assert [block["id"] for block in blocks[1:]] == [call["id"] for call in whole["content"][1:]]
    assert events[-2]["delta"]["stop_reason"] == whole["stop_reason"]
    assert events[-2]["usage"]["output_tokens"] == whole["usage"]["output_tokens"] > 10
    assert events[0]["message"]["usage"]["input_tokens"] == whole["usage"]["input_tokens"] > 30


async def test_tokens_are_counted_without_a_call() -> None:
    asked = [{"role": "user", "content": BLOCKS}]
    async with ScriptedModel(script()) as server:
        server.fail(Fault())
        counted = (await message(server, asked, "/count_tokens")).json()
        assert server.requests == []
        await message(server, asked)
        whole = (await message(server, asked)).json()
    assert counted == {"input_tokens": whole["usage"]["input_tokens"]}


# --- both ------------------------------------------------------------------------------------


async def test_arguments_that_are_not_json_are_sent_as_they_are() -> None:
    broken = Script().round(0, Reply(tool_calls=(ToolCall("shell", '{"command": '),)))
    async with ScriptedModel(broken) as server:
        answer = await responses(server, INPUT)
        events = events_of(await message(server, [{"role": "user", "content": BLOCKS}], stream=True))
    assert answer.output[0].arguments == '{"command": '
    assert "".join(event.get("delta", {}).get("partial_json", "") for event in events) == '{"command": '


async def test_faults_hit_every_wire() -> None:
    asked = [{"role": "user", "content": BLOCKS}]
    async with ScriptedModel(script()) as server:
        server.fail(Fault(status=429, retry_after="7", message="slow down", times=2))
        with pytest.raises(openai.RateLimitError, match="slow down"):
            await responses(server, INPUT)
        refused = await message(server, asked, stream=True)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
        assert refused.json() == {"type": "error", "error": {"type": "scripted_fault", "message": "slow down"}}
        server.fail(Fault("reset", times=2))
        with pytest.raises(openai.APIConnectionError):
            await responses(server, INPUT)
        with pytest.raises(httpx.TransportError):
            await message(server, asked)
        server.fail(Fault("cut", times=2))
        cut = await responses(server, INPUT)
        assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert (await message(server, asked)).json()["stop_reason"] == "max_tokens"
        server.fail(Fault("refusal", times=3))
        said = (await responses(server, INPUT)).output[0].content[0]
        assert (said.type, said.refusal) == ("refusal", "I can't help with that.")
        events = await responses(server, INPUT, stream=True)
        assert "response.refusal.done" in {event.type for event in events}
        assert (await message(server, asked)).json()["stop_reason"] == "refusal"
        server.fail(Fault("empty", times=2))
        assert (await responses(server, INPUT)).output_text == ""
        assert (await message(server, asked)).json()["content"] == []
    assert all(entry.fault and not entry.answered for entry in server.requests)


async def test_what_is_not_scripted_is_refused_in_the_words_of_the_wire() -> None:
    async with ScriptedModel(Script(), api_key="right") as server:
        async with client(server, "right") as asking:
            with pytest.raises(openai.UnprocessableEntityError, match="Nothing is scripted for"):
                await asking.responses.create(model=MODEL, input=INPUT, tools=TOOLS)  # type: ignore
        answer = await message(server, [{"role": "user", "content": "x"}], key="right")
        assert (answer.status_code, answer.json()["error"]["type"]) == (422, "nothing_scripted")
        wrong = await message(server, [{"role": "user", "content": "x"}], key="wrong")
        assert (wrong.status_code, wrong.json()["type"]) == (401, "error")
        for garbage in ([3], "x", [{"role": "user", "content": 3}]):
            assert (await message(server, garbage, key="right")).status_code == 400


def test_the_round_is_found_behind_what_a_program_puts_first() -> None:
    def asked(*users: str) -> ChatRequest:
        return ChatRequest({"messages": [{"role": "user", "content": user} for user in users]})

    wrapped = "Please do this:\n<task>\n# Ticket\n\nRound: 2\n\nMore.\n</task>"
    assert (asked("context", wrapped, "Round: 7").round, asked("context", wrapped).brief) == (2, wrapped)
    assert (asked("context", "more").round, asked("context", "more").brief) == (None, "context")
    assert asked().brief == ""
