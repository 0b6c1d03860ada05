"""What is sent of a conversation that is too long: when it is summed up, what stays, and what a summary must be."""

from __future__ import annotations

import json
from typing import Any

from sdlc.domain import Instruction
from sdlc.engines import compaction
from sdlc.engines.compaction import Compacted, current, for_model, is_crowded, next_upto, request, taken, window_chars
from sdlc.engines.conversation import instruction_message, opening, size

NOTHING = Compacted()
WORD = instruction_message(Instruction(text="Use Decimal,\nnever float.", by="ana"))


def turn(number: int, chars: int = 1_000, calls: int = 1) -> list[dict[str, Any]]:
    made = [
        {
            "id": f"c{number}_{index}",
            "type": "function",
            "function": {"name": "shell", "arguments": json.dumps({"command": f"cat f{number}"})},
        }
        for index in range(calls)
    ]
    answers = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"exit code 0\n{number} " + "x" * chars}
        for call in made
    ]
    return [{"role": "assistant", "content": f"Look {number}.", "tool_calls": made}, *answers]


def conversation_of(turns: int, chars: int = 1_000, calls: int = 1) -> list[dict[str, Any]]:
    return opening("# The ticket") + [message for number in range(turns) for message in turn(number, chars, calls)]


def length(messages: list[dict[str, Any]]) -> int:
    return sum(map(size, messages))


def unanswered(messages: list[dict[str, Any]]) -> tuple[set[str], set[str]]:
    """Calls without an answer, and answers without a call."""
    calls = {call["id"] for message in messages for call in message.get("tool_calls", [])}
    answers = {message["tool_call_id"] for message in messages if message["role"] == "tool"}
    return calls - answers, answers - calls


def test_the_window_leaves_room_for_the_answer_and_for_a_wrong_estimate() -> None:
    assert window_chars(128_000, 8_192) == int((128_000 - 8_192) * 3.5 * 0.75)
    assert window_chars(128_000, 8_192, 10_000) == window_chars(128_000, 8_192) - 10_000
    assert window_chars(8_000, 8_192) == int(4_000 * 3.5 * 0.75)
    assert window_chars(4_000, 8_192, 9_000) == 4_000


def test_what_fits_or_is_helped_by_shortening_a_little_is_not_summed_up() -> None:
    messages = conversation_of(40)
    assert not is_crowded(messages, NOTHING, length(messages))
    assert not is_crowded(messages, NOTHING, length(messages) * 9 // 10)
    assert for_model(messages, NOTHING, length(messages) * 9 // 10) != messages


def test_where_more_than_half_would_be_shortened_it_is_summed_up() -> None:
    messages = conversation_of(40)
    assert is_crowded(messages, NOTHING, length(messages) // 2)


def test_a_short_conversation_is_never_summed_up_however_long_its_messages() -> None:
    messages = conversation_of(3, 20_000)
    assert next_upto(messages, NOTHING, 10_000) == 0
    assert not is_crowded(messages, NOTHING, 10_000)
    assert next_upto(opening("x"), NOTHING, 10) == 0


def test_the_last_messages_stay_and_no_call_is_parted_from_its_answers() -> None:
    for calls in (1, 3):
        for extra in ([], [WORD]):
            messages = conversation_of(30, calls=calls) + extra
            for limit in (4_000, 10_000, 20_000, 60_000):
                upto = next_upto(messages, NOTHING, limit)
                assert messages[upto]["role"] != "tool"
                kept = messages[upto:]
                assert unanswered(kept) == (set(), set())
                assert any(message["role"] == "assistant" for message in kept)


def test_after_a_summary_come_system_brief_summary_and_the_last_messages() -> None:
    messages = conversation_of(30)
    upto = next_upto(messages, NOTHING, 20_000)
    new = taken(messages, NOTHING, upto, "The ticket asks for cents. Done: f1.", ["✓ Look", "Mend"], 20_000)
    assert new is not None
    sent = for_model(messages, new, 20_000)
    assert sent[:2] == messages[:2]
    assert sent[2]["role"] == "user"
    assert "Done: f1." in sent[2]["content"]
    assert sent[2]["content"].endswith("The plan as it was kept:\n- ✓ Look\n- Mend")
    assert sent[3:] == messages[upto:]
    assert length(sent) < 20_000


def test_what_people_said_survives_word_for_word_and_also_a_second_summary() -> None:
    messages = [*conversation_of(10), WORD, *conversation_of(20)[2:]]
    first = taken(messages, NOTHING, next_upto(messages, NOTHING, 15_000), "First.", [], 15_000)
    assert first is not None
    assert WORD["content"] in current(messages, first)[2]["content"]
    messages += conversation_of(30)[2:]
    upto = next_upto(messages, first, 15_000)
    asked = request(messages, first, upto, 15_000)
    assert "First." in asked[1]["content"]
    second = taken(messages, first, upto, "Second.", [], 15_000)
    assert second is not None
    assert second.words == first.words == (WORD["content"],)
    assert "First." not in current(messages, second)[2]["content"]
    assert length(for_model(messages, second, 15_000)) <= 15_000


def test_the_request_for_a_summary_has_no_tools_in_it_and_fits_whatever_it_holds() -> None:
    messages = [*conversation_of(300, 9_000), WORD, *turn(300)]
    upto = next_upto(messages, NOTHING, 30_000)
    asked = request(messages, NOTHING, upto, 30_000)
    assert [message["role"] for message in asked] == ["system", "user"]
    assert all(set(message) == {"role", "content"} for message in asked)
    assert length(asked) < 30_000
    assert "# The ticket" in asked[1]["content"]
    assert "characters left out" in asked[1]["content"]


def test_a_summary_that_is_empty_or_too_long_to_help_is_not_taken() -> None:
    messages = conversation_of(30)
    upto = next_upto(messages, NOTHING, 20_000)
    assert taken(messages, NOTHING, upto, " \n", [], 20_000) is None
    assert taken(messages, NOTHING, upto, "x" * 10_001, [], 20_000) is None
    assert taken(messages, NOTHING, upto, "x" * length(messages), [], 10**6) is None
    assert taken(messages, NOTHING, upto, "Short.", [], 20_000) is not None


def test_without_a_summary_recent_output_is_cut_where_it_is_too_long_by_itself() -> None:
    messages = conversation_of(4, 12_000)
    sent = for_model(messages, NOTHING, 20_000)
    assert length(sent) <= 20_000
    assert [message["role"] for message in sent] == [message["role"] for message in messages]
    assert "characters left out" in sent[-1]["content"]
    assert compaction.for_model(messages, NOTHING, 10**6) == messages
