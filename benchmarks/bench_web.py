"""How long the first page of the inbox and of all runs take with 1,000 runs, over HTTP, in milliseconds.

    python -m benchmarks.bench_web [--runs 1000] [--rounds 20]

A real development server in a temporary folder holds the runs: a workflow of our runs' name that says what a run
says for lists (its card in the memo, its search attributes) and then waits, half of them for people. The process
that serves is the one that asks, on a loopback connection, so its own work is in the numbers; pauses between the
rounds let the answers that it keeps grow old. Fails above 500 ms at the 95th percentile, with a fourth on top for a
busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
from fastapi import FastAPI
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from sdlc.config import Settings, default_cache_dir
from sdlc.config.web import WebSettings
from sdlc.domain import RunState
from sdlc.run_card import MEMO, Risk, RunCard
from sdlc.runtime.client import connect, ensure_search_attributes, task_queue
from sdlc.runtime.dev_server import DevServer
from sdlc.runtime.runs import workflow_id
from sdlc.runtime.server_binary import ensure_server_binary
from sdlc.web.api import ROOT, create_api, mount, who
from sdlc.web.events import Streams
from sdlc.web.gateway import Gateway
from sdlc.web.gateway.stats import part
from sdlc.web.server import listening
from sdlc.web.sign_in.identity import Identity, Role

BOUND_MS = 500.0
LEEWAY = 1.25
PAUSE_SECONDS = 2.1
"""Longer than the gateway keeps an answer."""
_AT_ONCE = 50


@workflow.defn(name="SdlcWorkflow")
class Standing:
    """A run that only stands there."""

    @workflow.run
    async def run(self, number: int) -> None:
        waits = number % 2 == 0
        state = RunState.AWAITING_APPROVAL if waits else RunState.RUNNING
        since = workflow.now() - timedelta(minutes=number)
        card = RunCard(
            key=f"BENCH-{number}",
            title=f"Parcels of tier {number} cost too much, and heavy ones crash the quote",
            repository=f"acme/service-{number % 20}",
            state=state,
            step="await_approval" if waits else "implement",
            waits_for="1 approval of https://github.com/acme/parcel/pull/1" if waits else "",
            waiting_since=since if waits else None,
            starter=f"person-{number % 30}",
            approvers=("grace", "linus", "margaret") if number % 3 else (),
            risk=Risk(files=number % 12, insertions=number, deletions=number // 2, findings={"minor": 2}, proof=3),
            pull_request_url=f"https://github.com/acme/parcel/pull/{number}",
            head_sha=f"{number:040x}",
            usd=0.25,
            tokens=123_456,
            started=since,
        )
        texts = {
            "SdlcTicket": card.key,
            "SdlcRepository": card.repository,
            "SdlcStep": card.step,
            "SdlcState": state.value,
            "SdlcWaitsFor": "person" if waits else "nobody",
            "SdlcStarter": card.starter,
        }
        workflow.upsert_memo({MEMO: card.model_dump(mode="json", exclude_defaults=True)})
        workflow.upsert_search_attributes(
            [SearchAttributeKey.for_keyword(name).value_set(text) for name, text in texts.items()]
        )
        await workflow.wait_condition(lambda: False)


async def grace() -> Identity:
    return Identity("grace", "token", role=Role.OPERATOR)


async def begin(client: Client, settings: Settings, count: int) -> None:
    """Start the runs, and wait until Temporal's index has them all."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        async with room:
            key = workflow_id(f"BENCH-{number}")
            await client.start_workflow("SdlcWorkflow", number, id=key, task_queue=task_queue(settings))

    await asyncio.gather(*(one(number) for number in range(count)))
    async with asyncio.timeout(300):
        while True:
            known = await client.count_workflows("SdlcStarter STARTS_WITH 'person-' AND ExecutionStatus = 'Running'")
            if known.count == count:
                return
            await asyncio.sleep(0.2)


@asynccontextmanager
async def set_up(folder: Path, count: int) -> AsyncIterator[str]:
    """Root of the API in front of a server with so many runs."""
    settings = Settings(data_dir=folder / "data", cache_dir=folder / "cache")
    settings = settings.model_copy(update={"web": WebSettings()})
    binary = await ensure_server_binary(default_cache_dir(), say=print)
    server = DevServer(settings, binary, ui=False, dies_with_starter=True)
    await server.start()
    try:
        client = await connect(settings)
        await ensure_search_attributes(client)
        worker = Worker(
            client,
            task_queue=task_queue(settings),
            workflows=[Standing],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_cached_workflows=count + 1,
        )
        began = time.perf_counter()
        async with worker:
            await begin(client, settings, count)
        print(f"{count} runs stand after {time.perf_counter() - began:.0f} s.", flush=True)
        gateway = Gateway(lambda: connect(settings), settings)
        streams = Streams(gateway)
        api = create_api(gateway, streams)
        api.dependency_overrides[who] = grace
        app = FastAPI(openapi_url=None)
        mount(app, api)
        async with listening(app, settings.web.host, 0) as root:
            yield root + ROOT
        streams.close()
    finally:
        await server.stop()


async def timed(http: httpx.AsyncClient, path: str, rounds: int) -> list[float]:
    """Milliseconds of each request, the slowest last."""
    taken = []
    for _ in range(rounds):
        await asyncio.sleep(PAUSE_SECONDS)
        began = time.perf_counter()
        answer = await http.get(path)
        taken.append((time.perf_counter() - began) * 1000)
        if answer.status_code != 200 or len(answer.json()["items"]) != 50:
            sys.exit(f"{path}: {answer.status_code} {answer.text[:300]}")
    return sorted(taken)


def told(name: str, taken: Sequence[float], *, bound: float = BOUND_MS * LEEWAY) -> bool:
    """Print it; False above the bound."""
    middle, late = part(taken, 0.5) or 0.0, part(taken, 0.95) or 0.0
    good = late <= bound
    mark = "" if good else f"   above {bound:.0f} ms"
    print(f"{name:<34} p50 {middle:6.0f} ms   p95 {late:6.0f} ms{mark}", flush=True)
    return good


async def bench(count: int, rounds: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="bench-web-") as folder:
        async with set_up(Path(folder), count) as root, httpx.AsyncClient(base_url=root, timeout=60) as http:
            await http.get("/inbox")  # connects
            pages = {
                "inbox, first page": "/inbox?limit=50",
                "inbox, everybody's": "/inbox?limit=50&everything=true",
                "runs, first page": "/runs?limit=50",
            }
            good = all([told(name, await timed(http, path, rounds)) for name, path in pages.items()])
            # A search looks at many runs, and may take longer.
            searched = await timed(http, "/runs?limit=50&person=grace", rounds)
            told("runs, searched by person", searched, bound=float("inf"))
            return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    if not asyncio.run(bench(given.runs, given.rounds)):
        sys.exit(1)


if __name__ == "__main__":
    main()
