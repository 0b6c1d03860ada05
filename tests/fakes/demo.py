"""`make demo-github`: the bundled ticket's whole way, from a label in Jira to an approved pull request on GitHub.

Jira and GitHub are the fakes, their CI runs nothing, and the model's words are canned. Everything else is real: signed
webhooks, `sdlc serve`, Temporal and its worker, git over HTTP, panels, tests, and a review that approves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx

from sdlc.cli import summary
from sdlc.cli.context import CONTEXT, log_file, say
from sdlc.cli.demo_model import mark_as_demo, model_of_a_demo
from sdlc.cli.demonstration import fresh_folder, leave_other_servers_alone
from sdlc.cli.failures import exit_code_of, leave
from sdlc.cli.interrupts import wait_for
from sdlc.cli.output import print_json
from sdlc.cli.preflight import check_engine, say_what_is_unchecked
from sdlc.cli.view import evidence_view, show
from sdlc.cli.watching import until_it_goes_on, waits_for_people, watch
from sdlc.config import CONFIG_FILE, Settings, default_data_dir, load
from sdlc.domain import RunState
from sdlc.errors import FinalError, RunNotFound, ServiceUnavailable
from sdlc.progress import RunProgress
from sdlc.runtime.client import task_queue
from sdlc.runtime.embedded import Embedded, embedded
from sdlc.runtime.runs import Runs
from sdlc.runtime.telemetry import configure_logging
from tests.fakes.scripted_ci import ScriptedCi
from tests.fakes.web_pulls import pull_path
from tests.fakes.web_view import WebView
from tests.fakes.world import BOT, KEY, LABEL, World, sdlc_command, trial_world

STARTER, REVIEWER = "alice", "maria"
PATIENCE = 90.0
"""Seconds in which a label or a review has to reach the run."""
_KEPT = ("SDLC_MODEL", "SDLC_CACHE_DIR", "SDLC_DEBUG", "SDLC_LLM__")
"""Of what somebody has set for a Jira and a GitHub that are real, a demo takes the model and no more."""


class Stuck(FinalError):
    """A webhook did not do what it is there for."""


async def demonstrate(*, auto_approve: bool, as_json: bool, stay: bool) -> int:
    """One run from label to end, in a folder of its own; the exit code."""
    leave_other_servers_alone()
    home = CONTEXT.data_dir = fresh_folder(default_data_dir() / "demo-github")
    for name in [name for name in os.environ if name.startswith("SDLC_") and not name.startswith(_KEPT)]:
        del os.environ[name]
    say("Jira and GitHub are imitations on this machine, and their CI runs nothing. All else is real.")
    say(f"The demo lives in {home}")
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(trial_world(home))
        ci = stack.enter_context(ScriptedCi(world))
        view = stack.enter_context(WebView(world, ci))
        port, ui_port = _free_port(), _free_port()
        # The UI's address is known before it is up, so that ticket and pull request link to the run there.
        temporal = {"ui_port": ui_port, "ui_url": f"http://127.0.0.1:{ui_port}"}
        file = world.write_settings(home / CONFIG_FILE, web_port=port, data_dir=str(home), temporal=temporal)
        settings = load(file)
        configure_logging(settings, file=log_file(settings))
        mark_as_demo(settings)
        settings = await stack.enter_async_context(model_of_a_demo(settings))
        check_engine(settings)
        say_what_is_unchecked(settings, say)
        house = await stack.enter_async_context(embedded(settings, say=say))
        await stack.enter_async_context(_serve(file, port, home / "serve.log"))
        world.send_webhooks(f"http://127.0.0.1:{port}")
        say(f"Tickets and pull requests are shown at {view.url}")
        return await _Demo(settings, house, world, view).run(auto_approve=auto_approve, as_json=as_json, stay=stay)


class _Demo:
    """All is up; what people and the run do."""

    def __init__(self, settings: Settings, house: Embedded, world: World, view: WebView) -> None:
        self.settings, self.house, self.world, self.view = settings, house, world, view
        self.runs = Runs(house.client, task_queue=task_queue(settings))

    async def run(self, *, auto_approve: bool, as_json: bool, stay: bool) -> int:
        say(f"{STARTER.title()} puts the label {LABEL} on {KEY}: {self.view.url}/browse/{KEY}")
        self.world.make_ready(STARTER)
        await self._started()
        progress = await self._to_its_end(auto_approve)
        for line in summary.where_to_look(
            progress,
            ui_url=self.house.ui_url,
            namespace=self.house.client.namespace,
            ui_stays=False,
            command=sdlc_command(self.settings.data_dir / CONFIG_FILE),
        ):
            say(line)
        wrong = what_is_wrong(self.world, progress.state)
        for line in wrong or [f"Shown: {KEY} is Done in Jira, with one pull request on GitHub that a person approved."]:
            say(line)
        say(self._webhooks())
        if as_json:
            print_json(summary.as_json(progress, await self.runs.history_size(KEY)))
        if stay:
            sys.stdout.flush()
            say(f"The pages stay up until Ctrl-C: {self.view.url}")
            with contextlib.suppress(asyncio.CancelledError):  # here a signal is the usual end, and no failure
                await asyncio.Event().wait()
        return 1 if wrong else 0

    async def _started(self) -> None:
        """Until the webhook has started the run."""
        for _ in range(int(PATIENCE / 0.2)):
            try:
                await self.runs.look(KEY)
                return say("Jira's webhook has started the run.")
            except (RunNotFound, ServiceUnavailable):
                await asyncio.sleep(0.2)
        raise Stuck(f"The label has started no run. {self._webhooks()} Logs: {self.settings.data_dir}/*.log")

    async def _to_its_end(self, auto_approve: bool) -> RunProgress:
        while True:
            progress = await watch(self.runs, KEY, until=waits_for_people, live=False)
            if progress.state.is_over:
                return progress
            if progress.state is RunState.AWAITING_APPROVAL:
                self._show_evidence(progress)
                if auto_approve:
                    say(f"{REVIEWER.title()} approves by a review on the pull request.")
                    self._approve(progress)
                else:
                    say(f"Approve it, ask for changes, or close it: {self._page(progress)}")
            elif auto_approve:
                return progress
            else:
                say(f"Answer by a comment such as `/sdlc retry` or `/sdlc cancel`: {self.view.url}/browse/{KEY}")
            try:
                async with asyncio.timeout(PATIENCE if auto_approve else None):
                    await until_it_goes_on(self.runs, progress)
            except TimeoutError:
                raise Stuck(f"The review did not reach the run. {self._webhooks()}") from None

    def _show_evidence(self, progress: RunProgress) -> None:
        say("")
        show(evidence_view(progress), stderr=True)
        for line in summary.where_the_change_is(progress):
            say(line)

    def _approve(self, progress: RunProgress) -> None:
        number = progress.pull_request.number if progress.pull_request else 0
        words = "The evidence holds. Approved."
        self.world.repository.review(number, by=REVIEWER, event="APPROVE", body=words)

    def _page(self, progress: RunProgress) -> str:
        number = progress.pull_request.number if progress.pull_request else 0
        return self.view.url + pull_path(self.world.repository, number)

    def _webhooks(self) -> str:
        told = []
        for name, sent in (("Jira", self.world.jira.deliveries), ("GitHub", self.world.github.webhooks.deliveries)):
            statuses = [delivery.status for delivery in sent]
            bad = sorted({str(status or "nothing") for status in statuses if status not in (202, 200, 204)})
            told.append(f"{len(sent)} from {name}" + (f" (some answered with {', '.join(bad)})" if bad else ""))
        return f"Webhooks sent: {', '.join(told)}."


def what_is_wrong(world: World, state: RunState) -> list[str]:
    """What isn't as it should be at the end, in sentences: by what the two services say, not the run."""
    issue, repository = world.jira.issues[KEY], world.repository
    wrong = [] if state is RunState.CLOSED else [f"The run is {state.value.replace('_', ' ')}."]
    if world.jira.workflow.status(issue.status).category != "done":
        wrong.append(f"{KEY} is {issue.status} in Jira.")
    if len(repository.pulls) != 1:
        wrong.append(f"There are {len(repository.pulls)} pull requests on GitHub.")
    for pull in repository.pulls.values():
        said = [review for review in pull.reviews if review.commit_id == pull.head_sha]
        if not any(one.state == "APPROVED" and one.login not in (STARTER, BOT) for one in said):
            wrong.append(f"Nobody but the starter has approved the head of pull request #{pull.number}.")
    return wrong


@asynccontextmanager
async def _serve(file: Path, port: int, log: Path) -> AsyncIterator[None]:
    """`sdlc serve` as a process of its own. Raises Stuck if it doesn't come up within 30 s."""
    command = [sys.executable, "-m", "sdlc.cli.main", "--config", str(file), "serve"]
    with log.open("wb") as out:
        # A session of its own: Ctrl-C is for us, who stop it when the run has what it needs.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=file.parent, start_new_session=True
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            await _until_ready(client, process, log)
        yield
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 10)
        except subprocess.TimeoutExpired:
            process.kill()


async def _until_ready(client: httpx.AsyncClient, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(150):
        if process.poll() is not None:
            raise Stuck(f"`sdlc serve` has ended: {' '.join(log.read_text(errors='replace').split())[-500:]}")
        with contextlib.suppress(httpx.HTTPError):
            if (await client.get("/readyz")).is_success:
                return
        await asyncio.sleep(0.2)
    raise Stuck(f"`sdlc serve` is not ready; its log is {log}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says; ends the process with code 2 for what can't be read."""
    parser = argparse.ArgumentParser(
        "make demo-github", description="From a label in Jira to an approved pull request."
    )
    parser.add_argument("--auto-approve", action="store_true", help=f"{REVIEWER} of the fake GitHub approves at once")
    parser.add_argument("--json", action="store_true", help="the run as one JSON object on standard output")
    parser.add_argument("--stay", action="store_true", help="keep the pages up when the run is over, until Ctrl-C")
    return parser.parse_args(words)


if __name__ == "__main__":
    chosen = arguments()
    options = {"auto_approve": chosen.auto_approve, "as_json": chosen.json, "stay": chosen.stay}
    leave(exit_code_of(lambda: wait_for(demonstrate(**options))))
