"""What durability costs the built-in coding agent: the same scripted conversation through Temporal and in a bare loop.

    python -m benchmarks.bench_agent [--turns 40] [--latency 1.0]

The bare loop calls the same nodes one after the other: same tools, same sandbox, same commits, and no server, no
history and no workflow around them. Exit code 1 above 1.10 times its wall time. One after the other, so a machine
whose load changes meanwhile says nothing: it stands beside each figure.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.worker import Worker

from sdlc.activities import AGENT_GRAPH, EngineRequest, EngineResult
from sdlc.config import ModelSettings, Settings, TemporalSettings, default_cache_dir
from sdlc.demo.conversation import Reply, Script, ToolCall, edit, say, shell, submit
from sdlc.demo.scripted_model import MODEL, ScriptedModel
from sdlc.domain import ChangeSet, RunIdentity
from sdlc.engines.agent import AgentNodes, build_agent_graph
from sdlc.engines.conversation import opening
from sdlc.engines.tool_definitions import TOOLS
from sdlc.integrations.services import Services
from sdlc.runtime.activity_failures import ActivityInterceptor
from sdlc.runtime.client import connect
from sdlc.runtime.dev_server import DevServer
from sdlc.runtime.embedded import running
from sdlc.runtime.graphs import Graphs
from sdlc.runtime.redaction import Redactor
from sdlc.runtime.server_binary import ensure_server_binary
from sdlc.runtime.services import build_services
from sdlc.runtime.worker import HEARTBEAT_AT_LEAST_EVERY, workflow_runner
from tests.agent_workflow import AgentWorkflow
from tests.repositories import Checkout, new_bare, new_checkout

MOST = 1.10
"""Of the bare loop's wall time: what the project promises."""
MODULES = 40
BRIEF = "# Ticket BENCH-1\n\nRound: 0\n"
PATIENCE = 600.0


def script(turns: int) -> Script:
    """A plan, then looking, changing and running in turn, and a submit."""
    plan = ToolCall("plan", {"steps": [{"step": "Double every value", "state": "todo"}]})
    return Script().round(
        0, say("", plan), *(_turn(number) for number in range(1, turns - 1)), say("", submit("Done."))
    )


def _turn(number: int) -> Reply:
    module = f"shop/part_{number % MODULES}.py"
    if number % 4 == 1:
        return say("", ToolCall("view", {"path": module}), ToolCall("search", {"pattern": f"value_{number}_"}))
    if number % 4 == 2:
        return say(
            "", edit(module, f"value_{number % MODULES}_7 = 7\n", f"value_{number % MODULES}_7 = {14 + number}\n")
        )
    if number % 4 == 3:
        return say("", shell(f"python3 -c 'import shop.part_{number % MODULES}' && git diff --stat && cat {module}"))
    return say("", ToolCall("view", {"path": module, "start": 1, "end": 60 + number}))


def repository(folder: Path) -> Checkout:
    rows = {number: [f"value_{number}_{row} = {row}\n" for row in range(150)] for number in range(MODULES)}
    files: dict[str, str | bytes | None] = {f"shop/part_{number}.py": "".join(rows[number]) for number in rows}
    return new_checkout(folder / "work", {"shop/__init__.py": "", ".gitignore": "__pycache__/\n", **files})


@dataclass
class Trial:
    """A folder with a repository, a cache and services of its own, so that one way leaves nothing to the other."""

    services: Services
    request: EngineRequest

    @classmethod
    async def at(cls, folder: Path, base_url: str, turns: int, **more: Any) -> Trial:
        checkout = repository(folder)
        bare = new_bare(checkout, folder / "shop.git")
        llm = ModelSettings(base_url=base_url, name=MODEL, timeout_seconds=60)
        settings = Settings(data_dir=folder / "data", cache_dir=folder / "cache", llm=llm, **more)
        services = build_services(settings)
        repo = checkout.as_repository(str(bare))
        change = ChangeSet(repository=repo, base_sha=repo.base_sha, head_sha=repo.base_sha, branch="sdlc/BENCH-1")
        run = RunIdentity(workflow_id="sdlc-BENCH-1", run_id=uuid.uuid4().hex, ticket_key="BENCH-1")
        brief = await services.artifacts.put(BRIEF, name="brief.md")
        return cls(services, EngineRequest(run=run, change=change, brief=brief, max_turns=turns))


async def in_a_bare_loop(trial: Trial) -> EngineResult:
    nodes = AgentNodes(trial.services)
    state: dict[str, Any] = {"request": trial.request.model_dump(mode="json")}

    def keep(update: dict[str, Any]) -> None:
        messages = [*state.get("messages", []), *update.get("messages", [])]
        state.update({**update, "messages": messages})

    keep(await nodes.open(state))  # type: ignore[arg-type]
    while not state["ended"]:
        keep(await nodes.model(state))  # type: ignore[arg-type]
        if state["pending"]:
            keep(await nodes.act(state))  # type: ignore[arg-type]
    keep(await nodes.finish(state))  # type: ignore[arg-type]
    return EngineResult.model_validate(state["result"])


async def through_temporal(trial: Trial) -> EngineResult:
    settings = trial.services.settings
    client = await connect(settings)
    worker = Worker(
        client,
        task_queue=settings.temporal.task_queue,
        workflows=[AgentWorkflow],
        plugins=[Graphs({AGENT_GRAPH: build_agent_graph(trial.services)})],
        interceptors=[ActivityInterceptor(Redactor.of(settings))],
        workflow_runner=workflow_runner(),
        build_id="bench",
        max_heartbeat_throttle_interval=HEARTBEAT_AT_LEAST_EVERY,
        default_heartbeat_throttle_interval=HEARTBEAT_AT_LEAST_EVERY,
    )
    async with running(worker):
        state = await client.execute_workflow(
            AgentWorkflow.run,
            args=[trial.request.model_dump(mode="json"), {}],
            id=f"bench-agent-{uuid.uuid4().hex}",
            task_queue=settings.temporal.task_queue,
        )
    return EngineResult.model_validate(state["result"])


async def measured(name: str, work: Any, trial: Trial, turns: int) -> float:
    """Wall time in seconds; raises RuntimeError unless the whole conversation took place."""
    # The first call of a process imports the client, which is not to be one way's alone.
    await trial.services.models.chat(role="coder", messages=opening(BRIEF), tools=TOOLS)
    began = time.perf_counter()
    async with asyncio.timeout(PATIENCE):
        result = await work(trial)
    taken = time.perf_counter() - began
    if (result.ended, result.turns) != ("submitted", turns):
        raise RuntimeError(f"{name}: ended as {result.ended} after {result.turns} turns. {result.reason}")
    await trial.services.models.close()
    print(f"{name:<28} {taken:7.2f} s   load {os.getloadavg()[0]:.1f}", flush=True)
    return taken


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=40, help="model calls (default 40, at least 3)")
    parser.add_argument("--latency", type=float, default=1.0, help="seconds that the model takes for each (default 1)")
    options = parser.parse_args()
    turns = max(3, options.turns)
    print(f"{turns} turns, {options.latency:g} s for each answer of the model", flush=True)
    binary = await ensure_server_binary(default_cache_dir(), say=print)
    with tempfile.TemporaryDirectory(prefix="bench-agent-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        server_settings = Settings(data_dir=folder / "server", cache_dir=folder / "server-cache")
        async with ScriptedModel(script(turns), latency=options.latency) as model:
            bare = await Trial.at(folder / "bare", model.base_url, turns)
            alone = await measured("bare loop without Temporal", in_a_bare_loop, bare, turns)
            server = DevServer(server_settings, binary, ui=False, dies_with_starter=True)
            record = await server.start()
            try:
                where = TemporalSettings(address=record.address, task_queue="bench-agent")
                durable = await Trial.at(folder / "durable", model.base_url, turns, temporal=where)
                taken = await measured("through Temporal", through_temporal, durable, turns)
            finally:
                await server.stop()
    ratio = taken / alone
    print(f"{ratio:.3f} times, {(taken - alone) / turns * 1000:.0f} ms a turn (at most {MOST:.2f} times)")
    return 0 if ratio <= MOST else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
