"""The built-in coding agent: a LangGraph loop whose every model call and every batch of tool calls is an activity.

    open → steer → model → act → steer → … → finish

`steer` runs inside the workflow and hears its word (pause, instructions, budget, another model);
`model` asks once; `act` carries out the calls of one message on a workspace at the last commit and
ends in the next one. A crash costs at most the one node that was under way.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from temporalio import workflow
from temporalio.common import RetryPolicy

from sdlc.activities import EngineRequest, EngineResult
from sdlc.domain import Usage
from sdlc.engines import conversation
from sdlc.engines.batch import Batch
from sdlc.engines.batons import finished_change
from sdlc.engines.conversation import Message
from sdlc.engines.tools import TOOLS
from sdlc.errors import NON_RETRYABLE, ContextTooLong, ModelAnswerInvalid

if TYPE_CHECKING:
    from sdlc.integrations.llm import Answer
    from sdlc.integrations.services import Services

ATTEMPTS = 25
"""Of each node: with the pauses in between nearly two hours of trouble, as long as the step may take at all.
A node that gives up takes the conversation with it, so it should be the last to."""
TURNS_LEFT_TOLD = 3
_CONTEXTS = (conversation.CONTEXT_CHARS, 100_000, 40_000)
"""Characters tried one after the other where the model takes less."""


class AgentState(TypedDict, total=False):
    """JSON only: it crosses an activity boundary at every node."""

    request: dict[str, Any]
    messages: Annotated[list[Message], operator.add]
    pending: Message | None
    """The model's last message while its tool calls wait to be carried out."""
    head_sha: str
    turn: int
    """Model calls made."""
    usage: dict[str, Any]
    model: str
    reminders: int
    """Messages without a tool call, one after the other."""
    marks: list[str]
    """Digests of the last turns, by which going in circles is noticed."""
    refused: list[str]
    """Why a submit was refused already; a second one for the same reason is taken."""
    ended: str
    summary: str
    plan: list[str]
    result: dict[str, Any]


class OpenState(TypedDict, total=False):
    request: dict[str, Any]


class ActState(TypedDict, total=False):
    """What `act` needs: the conversation stays behind, which keeps the history small."""

    request: dict[str, Any]
    pending: Message | None
    head_sha: str
    turn: int
    marks: list[str]
    refused: list[str]


class FinishState(TypedDict, total=False):
    request: dict[str, Any]
    head_sha: str
    turn: int
    usage: dict[str, Any]
    ended: str
    summary: str
    plan: list[str]


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
    graph.add_node("model", nodes.model, metadata=options(llm.timeout_seconds * 3 + 30, _model_summary))
    graph.add_node("act", nodes.act, input_schema=ActState, metadata=options(act_seconds, _act_summary))
    graph.add_node("finish", nodes.finish, input_schema=FinishState, metadata=options(600, _finish_summary))
    graph.add_edge(START, "open")
    graph.add_edge("open", "steer")
    graph.add_conditional_edges("steer", _after_steer, ["model", "finish"])
    graph.add_conditional_edges("model", _after_model, ["act", "steer", "finish"])
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
    if turn >= request.max_turns:
        return {"ended": "turns"}
    heard: list[Message] = []
    update: dict[str, Any] = {}
    before_turn = getattr(workflow.instance(), "before_turn", None)
    if before_turn is not None:
        word = await before_turn(turn, Usage.model_validate(state["usage"]))
        if word.stop:
            return {"ended": word.stop}
        heard += [conversation.instruction_message(instruction) for instruction in word.instructions]
        update["model"] = word.model or state["model"]
    left = request.max_turns - turn
    if turn and left == TURNS_LEFT_TOLD:
        heard.append(conversation.turns_left_message(left))
    return {**update, "messages": heard}


async def _after_steer(state: AgentState) -> str:
    return "finish" if state.get("ended") else "model"


async def _after_model(state: AgentState) -> str:
    if state.get("ended"):
        return "finish"
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
        return {
            "messages": conversation.opening(brief),
            "pending": None,
            "head_sha": request.change.head_sha,
            "turn": 0,
            "usage": Usage().model_dump(mode="json"),
            "model": request.model,
            "reminders": 0,
            "marks": [],
            "refused": [],
            "ended": "",
            "summary": "",
            "plan": [],
        }

    async def model(self, state: AgentState) -> dict[str, Any]:
        """One model call. An answer without a tool call, or one that was cut, is followed by a reminder."""
        turn = state["turn"] + 1
        try:
            answer = await self._ask(state)
        except ModelAnswerInvalid as invalid:
            reminder = conversation.unusable_message(str(invalid))
            return _unusable(state, Usage(model_calls=1, usd=None), {}, reminder)
        message = conversation.answer_as_sent(answer.message, turn)
        if answer.finish_reason == "length":
            return _unusable(state, answer.usage, message, conversation.cut_message())
        if not message.get("tool_calls"):
            reminder = conversation.reminder(state["reminders"] + 1)
            return _unusable(state, answer.usage, message, reminder)
        return {
            "messages": [message],
            "pending": message,
            "turn": turn,
            "usage": _added(state, answer.usage),
            "reminders": 0,
        }

    async def _ask(self, state: AgentState) -> Answer:
        """Ask with the whole conversation; where the model takes less, with its oldest output cut."""
        *larger, smallest = _CONTEXTS
        for limit in larger:
            try:
                return await self._chat(state, limit)
            except ContextTooLong:
                continue
        return await self._chat(state, smallest)

    async def _chat(self, state: AgentState, limit: int) -> Answer:
        messages = conversation.for_model(state["messages"], limit)
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

        Raises GuardRailViolation when the change holds what it may not; the turns' commits are kept.
        """
        request = EngineRequest.model_validate(state["request"])
        change = await finished_change(
            self._services.workspaces, request, state["head_sha"], state["summary"], state["ended"]
        )
        ended = state["ended"]
        if change.head_sha == request.change.head_sha and ended == "submitted":
            ended = "no_change"
        result = EngineResult(
            change=change,
            summary=state["summary"],
            plan=tuple(state["plan"]),
            ended=ended,
            usage=Usage.model_validate(state["usage"]),
            turns=state["turn"],
        )
        return {"result": result.model_dump(mode="json"), "ended": ended}


def _added(state: AgentState, usage: Usage) -> dict[str, Any]:
    return (Usage.model_validate(state["usage"]) + usage).model_dump(mode="json")


def _unusable(state: AgentState, usage: Usage, message: Message, reminder: Message) -> dict[str, Any]:
    """The state after an answer with nothing in it to carry out: the model is told, the third in a row ends it."""
    said = {"role": "assistant", "content": message.get("content") or "[nothing]"}
    reminders = state["reminders"] + 1
    return {
        "messages": [said, reminder],
        "pending": None,
        "turn": state["turn"] + 1,
        "usage": _added(state, usage),
        "reminders": reminders,
        "ended": "stuck" if reminders >= conversation.MAX_REMINDERS else "",
    }


def _open_summary(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return "brief"


def _model_summary(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return f"turn {args[0]['turn'] + 1}: model"


def _act_summary(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    names = [call["function"]["name"] for call in (args[0]["pending"] or {}).get("tool_calls", [])]
    return f"turn {args[0]['turn']}: {', '.join(names)}"[:190]


def _finish_summary(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return f"finish: {args[0]['ended']}"
