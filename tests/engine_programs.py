"""Small programs that play a coding engine, an endpoint for their model, and a worker process to kill.

A program is a line of bash. It finds `$BRIEF`, `$URL`, `$KEY` and `$MODEL`, and a command `ask`, which calls the model
once and prints the status.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from sdlc.activities import RUN_ENGINE, EngineRequest, EngineResult
from sdlc.config import Settings
from sdlc.engines.command_launch import Engine
from sdlc.engines.programs.base import Launch, Launched
from sdlc.errors import NON_RETRYABLE
from sdlc.integrations.gateway.wires import Wire
from sdlc.integrations.services import Services
from sdlc.runtime.client import connect, task_queue
from sdlc.runtime.redaction import Redactor
from sdlc.runtime.services import build_services
from sdlc.steps.engine import EngineSteps

_ASK = """
import json, os, sys, urllib.request
body = json.dumps({"model": os.environ["MODEL"], "messages": [{"role": "user", "content": "go"}]}).encode()
headers = {"Authorization": "Bearer " + os.environ["KEY"], "Content-Type": "application/json"}
try:
    asked = urllib.request.Request(os.environ["URL"] + "/v1/chat/completions", body, headers)
    print(urllib.request.urlopen(asked).status)
except urllib.error.HTTPError as error:
    print(error.code)
    sys.exit(1)
"""


@dataclass(frozen=True)
class Bash:
    """A program that is one script."""

    script: str
    name: str = "scripted"
    wire: Wire = "chat"
    droppings: tuple[str, ...] = (".scripted*", "scripted.log")
    env: dict[str, str] = field(default_factory=dict)

    def launched(self, launch: Launch) -> Launched:
        ask = f'ask() {{ python3 "{launch.home}/.config/ask.py"; }}\n'
        env = {"BRIEF": launch.brief, "URL": launch.url, "KEY": launch.key, "MODEL": launch.model, **self.env}
        return Launched(("bash", "-c", ask + self.script), env, {".config/ask.py": _ASK})


@dataclass
class Endpoint:
    """A model that answers every call the same."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    """The key that was shown with each."""
    url: str = ""


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    facts = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            facts.calls.append(self.headers["authorization"])
            message = {"role": "assistant", "content": "Do it."}
            answer: dict[str, Any] = {
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 90, "completion_tokens": 10},
            }
            if facts.status != 200:
                answer = {"error": {"message": "as the test wants it"}}
            body = json.dumps(answer).encode()
            self.send_response(facts.status)
            for name, value in {**facts.headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    facts.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield facts
    finally:
        server.shutdown()
        server.server_close()


@workflow.defn
class RunsEngine:
    """Runs the activity once; `stop` cancels it, and what it then answers is the result."""

    def __init__(self) -> None:
        self._stopped = False

    @workflow.run
    async def run(self, request: EngineRequest) -> EngineResult:
        running = workflow.start_activity(
            RUN_ENGINE.name,
            request,
            result_type=EngineResult,
            start_to_close_timeout=timedelta(seconds=90),
            heartbeat_timeout=timedelta(seconds=4),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=0.2), non_retryable_error_types=list(NON_RETRYABLE)
            ),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        await workflow.wait_condition(lambda: self._stopped or running.done())
        if not running.done():
            running.cancel()
        return await running

    @workflow.signal
    def stop(self) -> None:
        self._stopped = True


def engine_worker(
    client: Client, services: Services, find: Callable[[Settings, str], Engine], grace: float = 0.0
) -> Worker:
    return Worker(
        client,
        task_queue=task_queue(services.settings),
        workflows=[RunsEngine],
        activities=EngineSteps(services, Redactor.of(services.settings), find=find).activities(),
        workflow_runner=UnsandboxedWorkflowRunner(),
        graceful_shutdown_timeout=timedelta(seconds=grace),
        max_heartbeat_throttle_interval=timedelta(seconds=0.5),
        default_heartbeat_throttle_interval=timedelta(seconds=0.5),
    )


async def main(configuration: Path, script: Path) -> None:
    """A worker as a process of its own, until it is killed."""
    settings = Settings.model_validate(yaml.safe_load(configuration.read_text()))
    services = build_services(settings)
    client = await connect(settings)
    async with engine_worker(client, services, lambda *_: Engine(Bash(script.read_text()))):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
