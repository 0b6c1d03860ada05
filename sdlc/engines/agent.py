"""The built-in coding agent: a LangGraph loop whose every model call and every batch of tool calls is an activity.

    open → steer → model → act → steer → … → finish
                   ↑↓
                 compact

`steer` runs inside the workflow and hears its word (pause, instructions, budget, another model);
`model` asks once, or finds the conversation too long and has `compact` sum up its older part; `act` carries out the
calls of one message on a workspace at the last commit and ends in the next one. A crash costs at most the one node
that was under way.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from langgraph.graph import END, START, StateGraph
from temporalio import workflow
from temporalio.common import RetryPolicy

from sdlc.activities import EngineRequest, EngineResult
from sdlc.domain import Usage
from sdlc.engines import compaction, conversation
from sdlc.engines.agent_state import ActState, AgentState, CompactState, FinishState, OpenState
from sdlc.engines.batch import Batch
from sdlc.engines.batons import finished
from sdlc.engines.compaction import Compacted
from sdlc.engines.conversation import Message
from sdlc.engines.tool_definitions import TOOLS
from sdlc.errors import (
    NON_RETRYABLE,
    ContentRefused,
    ContextTooLong,
    ModelAnswerInvalid,
    ModelKeyRefused,
    ModelRefused,
)
from sdlc.integrations.llm import spent

if TYPE_CHECKING:
    from sdlc.integrations.llm import Answer
    from sdlc.integrations.services import Services

ATTEMPTS = 25
"""Of each node: with the pauses in between nearly two hours of trouble, as long as the step may take at all.
A node that gives up takes the conversation with it, so it should be the last to."""
TURNS_LEFT_TOLD = 3
_SHORTENED_AGAIN = 4
"""How often a conversation that is too long for the model is sent with half of it."""


def build_agent_graph(services: Services) -> StateGraph[Any, Any, Any, Any]:
    """The graph as the plugin takes it: `{"request": EngineRequest JSON}` in, `{"result": EngineResult JSON}` out."""
    nodes = AgentNodes(services)
    engine, llm = services.settings.engine, services.settings.llm
    act_seconds = max(3_600.0, 2 * engine.command_seconds)
    retry = _retry_policy(services)

    def options(seconds: float, summary: Callable[[Any, Any], str]) -> dict[str, Any]:
        return {
            "execute_in": "activity",
            "start_to_close_timeout": timedelta(seconds=seconds),
            "heartbeat_timeout": timedelta(seconds=services.settings.run.heartbeat_seconds),
            "retry_policy": retry,
            "summary_fn": summary,
            # A command that still runs must not meet the next step's workspace.
            "cancellation_type": workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        }

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(AgentState)
    graph.add_node("open", nodes.open, input_schema=OpenState, metadata=options(60, _open_summary))
    graph.add_node("steer", steer, metadata={"execute_in": "workflow"})
    asking = llm.timeout_seconds * 3 + 30
    graph.add_node("compact", nodes.compact, input_schema=CompactState, metadata=options(asking, _compact_summary))
    graph.add_node("model", nodes.model, metadata=options(asking, _model_summary))
    graph.add_node("act", nodes.act, input_schema=ActState, metadata=options(act_seconds, _act_summary))
    graph.add_node("finish", nodes.finish, input_schema=FinishState, metadata=options(600, _finish_summary))
    graph.add_edge(START, "open")
    graph.add_edge("open", "steer")
    graph.add_conditional_edges("steer", _after_steer, ["model", "finish"])
    graph.add_conditional_edges("model", _after_model, ["act", "steer", "compact", "finish"])
    graph.add_edge("compact", "model")
    graph.add_conditional_edges("act", _after_act, ["steer", "finish"])
    graph.add_edge("finish", END)
    return graph


def _retry_policy(services: Services) -> RetryPolicy:
    run = services.settings.run
    return RetryPolicy(
        initial_interval=timedelta(seconds=run.first_retry_seconds),
        maximum_interval=timedelta(seconds=max(run.first_retry_seconds, run.longest_retry_seconds)),
        maximum_attempts=ATTEMPTS,
        non_retryable_error_types=list(NON_RETRYABLE),
    )


async def steer(state: AgentState) -> dict[str, Any]:
    """Between two turns, in the workflow: waits while paused, hears instructions, ends at a bound."""
    request = EngineRequest.model_validate(state["request"])
    turn = state["turn"]
    # An implementation that began before these were counted goes on without them.
    idle, idle_turns = turn - state.get("changed", turn), state.get("idle_turns", request.max_turns)
    if turn >= request.max_turns:
        return {"ended": "turns", "reason": f"All {turn} turns of this implementation were taken."}
    if idle >= idle_turns:
        return {"ended": "idle", "reason": f"No file was changed in {idle} turns, one after the other."}
    heard: list[Message] = []
    update: dict[str, Any] = {}
    before_turn = getattr(workflow.instance(), "before_turn", None)
    if before_turn is not None:
        word = await before_turn(turn, Usage.model_validate(state["usage"]), tuple(state["plan"]))
        if word.stop:
            return {"ended": word.stop}
        heard += [conversation.instruction_message(instruction) for instruction in word.instructions]
        update["model"] = word.model or state["model"]
    if idle == -(-2 * idle_turns // 3):
        heard.append(conversation.idle_message(idle, idle_turns - idle))
    left = request.max_turns - turn
    if turn and left == TURNS_LEFT_TOLD:
        heard.append(conversation.turns_left_message(left))
    return {**update, "messages": heard}


async def _after_steer(state: AgentState) -> str:
    return "finish" if state.get("ended") else "model"


async def _after_model(state: AgentState) -> str:
    if state.get("ended"):
        return "finish"
    if state.get("crowded"):
        return "compact"
    return "act" if state.get("pending") else "steer"


async def _after_act(state: AgentState) -> str:
    return "finish" if state.get("ended") else "steer"


class AgentNodes:
    """The nodes that touch the world."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def open(self, state: OpenState) -> dict[str, Any]:
        """The first messages, from the brief."""
        request = EngineRequest.model_validate(state["request"])
        brief = await self._services.artifacts.text(request.brief)
        llm, engine = self._services.settings.llm, self._services.settings.engine
        return {
            "messages": conversation.opening(brief),
            "pending": None,
            "head_sha": request.change.head_sha,
            "turn": 0,
            "usage": Usage().model_dump(mode="json"),
            "model": request.model,
            "answered_by": "",
            "limit": compaction.window_chars(llm.context_tokens, llm.max_output_tokens, len(json.dumps(TOOLS))),
            "compacted": Compacted().model_dump(mode="json"),
            "crowded": False,
            "compact_after": 0,
            "idle_turns": engine.idle_turns,
            "changed": 0,
            "declined": False,
            "reminders": 0,
            "marks": [],
            "refused": [],
            "ended": "",
            "reason": "",
            "summary": "",
            "plan": [],
        }

    async def compact(self, state: CompactState) -> dict[str, Any]:
        """Have the older part of the conversation summed up. Where that is of no use, nothing of it is changed."""
        messages, compacted = state["messages"], Compacted.model_validate(state["compacted"])
        upto = compaction.next_upto(messages, compacted, state["limit"])
        update: dict[str, Any] = {"crowded": False, "compact_after": len(messages) + compaction.PAUSE}
        asked = compaction.request(messages, compacted, upto, state["limit"])
        try:
            answer = await self._services.models.chat(role="coder", messages=asked, model=state["model"])
        except ModelKeyRefused:
            raise
        except ModelRefused as refused:
            return {**update, "usage": _added(state, spent(refused))}
        except ModelAnswerInvalid:
            return {**update, "usage": _added(state, Usage(model_calls=1, usd=None))}
        update["usage"] = _added(state, answer.usage)
        if answer.finish_reason == "length":
            return update
        said = str(answer.message.get("content") or "")
        new = compaction.taken(messages, compacted, upto, said, state["plan"], state["limit"])
        return {**update, "compacted": new.model_dump(mode="json")} if new else update

    async def model(self, state: AgentState) -> dict[str, Any]:
        """One model call. An answer without a tool call, or one that was cut, is followed by a reminder.

        Raises ContentRefused for a second refusal in a row.
        """
        turn = state["turn"] + 1
        try:
            answer, limit = await self._ask(state)
        except ModelAnswerInvalid as invalid:
            reminder = conversation.unusable_message(str(invalid))
            return _unusable(state, Usage(model_calls=1, usd=None), {}, reminder)
        except ContentRefused as refused:
            if state["declined"]:
                raise
            said = conversation.declined_message()
            return {**_unusable(state, spent(refused), {}, said), "declined": True}
        if answer is None:
            return {"crowded": True, "limit": limit, "pending": None}
        message = conversation.answer_as_sent(answer.message, turn)
        heard = {"limit": limit, "answered_by": answer.model, "declined": False}
        if answer.finish_reason == "length":
            return {**_unusable(state, answer.usage, message, conversation.cut_message()), **heard}
        if not message.get("tool_calls"):
            reminder = conversation.reminder(state["reminders"] + 1)
            return {**_unusable(state, answer.usage, message, reminder), **heard}
        return {
            "messages": [message],
            "pending": message,
            "turn": turn,
            "usage": _added(state, answer.usage),
            "reminders": 0,
            **heard,
        }

    async def _ask(self, state: AgentState) -> tuple[Answer | None, int]:
        """The answer, and how many characters the model is taken to take from now on.

        None: a summary is wanted first, because the conversation is too long by our count or the model's. Where none
        can help, less is sent. Raises ContextTooLong when nothing is left to shorten.
        """
        messages, compacted, limit = state["messages"], Compacted.model_validate(state["compacted"]), state["limit"]
        may_compact = len(messages) >= state["compact_after"]
        if may_compact and compaction.is_crowded(messages, compacted, limit):
            return None, limit
        for _ in range(_SHORTENED_AGAIN):
            sent = compaction.for_model(messages, compacted, limit)
            try:
                return await self._chat(state, sent), limit
            except ContextTooLong:
                length = sum(map(conversation.size, sent))
                limit = length // 2
                if may_compact and compaction.next_upto(messages, compacted, limit):
                    return None, limit
                if sum(map(conversation.size, compaction.for_model(messages, compacted, limit))) >= length:
                    raise
        return await self._chat(state, compaction.for_model(messages, compacted, limit)), limit

    async def _chat(self, state: AgentState, messages: list[Message]) -> Answer:
        return await self._services.models.chat(role="coder", messages=messages, tools=TOOLS, model=state["model"])

    async def act(self, state: ActState) -> dict[str, Any]:
        """Carry out the calls of one message, keep what came of it as the next commit, and answer each call.

        Safe to run twice: it starts from the commit that the state names, whatever a first try left behind.
        """
        request = EngineRequest.model_validate(state["request"])
        calls = conversation.calls_of(state["pending"] or {})
        batch = Batch(self._services, request, turn=state["turn"], head_sha=state["head_sha"], refused=state["refused"])
        await batch.carry_out(calls)
        return batch.update(calls, state["marks"])

    async def finish(self, state: FinishState) -> dict[str, Any]:
        """One clean commit of everything that was done, on top of where the round began.

        Raises GuardRailViolation when the change holds what nobody can consent to, or what the settings refuse; the
        turns' commits are kept.
        """
        request = EngineRequest.model_validate(state["request"])
        services, ended, reason = self._services, state["ended"], state["reason"]
        done = await finished(
            services.workspaces, request, state["head_sha"], state["summary"], ended, guard=services.settings.guard
        )
        if done.change.head_sha == request.change.head_sha and ended == "submitted":
            ended, reason = "no_change", "What it submitted is the same as before it began."
        result = EngineResult(
            change=done.change,
            protected=done.protected,
            allowed=done.allowed,
            sandboxed=services.sandbox.name != "none",
            summary=state["summary"],
            plan=tuple(state["plan"]),
            ended=ended,
            reason=reason,
            usage=Usage.model_validate(state["usage"]),
            turns=state["turn"],
            model=state["answered_by"],
        )
        return {"result": result.model_dump(mode="json"), "ended": ended}


def _added(state: AgentState | CompactState, usage: Usage) -> dict[str, Any]:
    return (Usage.model_validate(state["usage"]) + usage).model_dump(mode="json")


def _unusable(state: AgentState, usage: Usage, message: Message, reminder: Message) -> dict[str, Any]:
    """The state after an answer with nothing in it to carry out: the model is told, the third in a row ends it."""
    said = {"role": "assistant", "content": message.get("content") or "[nothing]"}
    reminders = state["reminders"] + 1
    update: dict[str, Any] = {
        "messages": [said, reminder],
        "pending": None,
        "turn": state["turn"] + 1,
        "usage": _added(state, usage),
        "reminders": reminders,
    }
    if reminders < conversation.MAX_REMINDERS:
        return update
    return {**update, "ended": "stuck", "reason": f"{reminders} answers in a row had no tool call that could be used."}


def _open_summary(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return "brief"


def _model_summary(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return f"turn {args[0]['turn'] + 1}: model"


def _compact_summary(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return f"sum up {len(args[0]['messages'])} messages"


def _act_summary(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    names = [call["function"]["name"] for call in (args[0]["pending"] or {}).get("tool_calls", [])]
    return f"turn {args[0]['turn']}: {', '.join(names)}"[:190]


def _finish_summary(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return f"finish: {args[0]['ended']}"
