"""Small workflows, activities and a graph for the tests of the runtime; imported by the workflow sandbox as well."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any, TypedDict

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from langgraph.graph import END, START, StateGraph
    from temporalio.langgraph import graph

    from sdlc.domain import Finding, Panel, Severity, Ticket
    from sdlc.errors import ModelRefused, ServiceUnavailable, TicketTaken

PLANTED = "-".join(("planted", "key", "123456"))
"""Put together, so that it does not stand in a line of source that a traceback quotes."""

CALLS: Counter[str] = Counter()
"""How often an activity was entered, by the name that the test gave it."""


@activity.defn
async def echo(text: str) -> str:
    CALLS[text[:40]] += 1
    return text


@activity.defn
async def busy_service(name: str) -> str:
    """Says once when to come back, and works then."""
    CALLS[name] += 1
    if activity.info().attempt == 1:
        raise ServiceUnavailable("The model is busy.", retry_after=1.25)
    return "done"


@activity.defn
async def refuses(name: str) -> str:
    CALLS[name] += 1
    try:
        raise KeyError("the cause " + PLANTED)
    except KeyError as error:
        raise ModelRefused(f"The key {PLANTED} was refused; check OPENAI_API_KEY.") from error


@activity.defn
async def breaks(name: str) -> str:
    CALLS[name] += 1
    password = PLANTED[::-1]
    raise RuntimeError(f"connection to https://bob:{password}@host failed, token {PLANTED}")


@activity.defn
async def until_cancelled(name: str) -> str:
    CALLS[name] += 1
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        CALLS[f"{name} cancelled"] += 1
        raise


@workflow.defn
class Waits:
    """Waits for `go`, and keeps what it was started with."""

    def __init__(self) -> None:
        self._go = ""

    @workflow.run
    async def run(self, ticket: Ticket) -> str:
        await workflow.wait_condition(lambda: bool(self._go))
        return f"{ticket.key} {self._go}"

    @workflow.signal
    def go(self, word: str) -> None:
        self._go = word

    @workflow.query
    def ticket(self) -> str:
        return "here"


@workflow.defn
class CallsOne:
    """Calls the named activity with patient retries."""

    @workflow.run
    async def run(self, name: str, argument: str) -> str:
        result: str = await workflow.execute_activity(
            name,
            argument,
            result_type=str,
            start_to_close_timeout=timedelta(seconds=30),
            heartbeat_timeout=timedelta(seconds=60),
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=20), maximum_attempts=2),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return result


@workflow.defn
class SeesClasses:
    """Catches and compares classes that must be the same on both sides of the sandbox."""

    @workflow.run
    async def run(self, finding: Finding) -> list[bool]:
        try:
            raise TicketTaken("x")
        except TicketTaken:
            caught = True
        return [
            caught,
            isinstance(finding, Finding),
            finding.severity is Severity.MAJOR,
            finding.panel is Panel.SECURITY,
        ]


class ToyState(TypedDict, total=False):
    topic: str
    notes: list[str]
    verdict: str


class ToyNodes:
    """Nodes as the panels have them: bound methods of a class that holds services."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    async def look(self, state: ToyState) -> dict[str, Any]:
        if state["topic"] == "refused":
            raise ModelRefused("No.")
        return {"notes": [f"{self._prefix}:{state['topic']}:{activity.info().activity_type}"]}

    async def judge(self, state: ToyState) -> dict[str, Any]:
        return {"verdict": f"{workflow.info().workflow_type} {state['notes'][0]}"}


def toy_graph(prefix: str) -> StateGraph[Any, Any, Any, Any]:
    nodes = ToyNodes(prefix)
    building: StateGraph[Any, Any, Any, Any] = StateGraph(ToyState)
    building.add_node(
        "look",
        nodes.look,
        metadata={"execute_in": "activity", "start_to_close_timeout": timedelta(seconds=10), "summary": "looks"},
    )
    building.add_node("judge", nodes.judge, metadata={"execute_in": "workflow"})
    building.add_edge(START, "look")
    building.add_edge("look", "judge")
    building.add_edge("judge", END)
    return building


@workflow.defn
class RunsGraph:
    @workflow.run
    async def run(self, topic: str) -> str:
        state = await graph("toy").compile().ainvoke({"topic": topic})
        return str(state["verdict"])


ACTIVITIES = [echo, busy_service, refuses, breaks, until_cancelled]
WORKFLOWS = [Waits, CallsOne, SeesClasses, RunsGraph]
