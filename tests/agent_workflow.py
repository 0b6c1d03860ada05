"""A workflow around the coding agent's graph for tests, with the part of the work loop that the graph speaks to."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from langchain_core.runnables import RunnableConfig
    from temporalio.langgraph import graph

    from sdlc.activities import AGENT_GRAPH
    from sdlc.domain import Instruction, Usage
    from sdlc.work_loop import SteerWord, recursion_limit


@workflow.defn
class AgentWorkflow:
    """Runs the graph once. `words` are said before the turns of those numbers."""

    def __init__(self) -> None:
        self.paused = False
        self.turns_asked: list[int] = []
        self.plans: list[tuple[str, ...]] = []
        self.words: dict[str, dict[str, Any]] = {}

    @workflow.run
    async def run(self, request: dict[str, Any], words: dict[str, dict[str, Any]]) -> dict[str, Any]:
        self.words = words
        config: RunnableConfig = {"recursion_limit": recursion_limit(request["max_turns"])}
        state = await graph(AGENT_GRAPH).compile().ainvoke({"request": request}, config)
        kept = {name: state[name] for name in ("result", "messages", "compacted", "limit")}
        return {**kept, "turns_asked": self.turns_asked, "plans": self.plans}

    async def before_turn(self, turn: int, usage: Usage, plan: tuple[str, ...] = ()) -> SteerWord:
        await workflow.wait_condition(lambda: not self.paused)
        self.turns_asked.append(turn)
        self.plans.append(plan)
        word = self.words.get(str(turn), {})
        said = tuple(Instruction.model_validate(item) for item in word.get("instructions", []))
        return SteerWord(instructions=said, stop=word.get("stop", ""), model=word.get("model", ""))

    @workflow.signal
    def pause(self, paused: bool) -> None:
        self.paused = paused
