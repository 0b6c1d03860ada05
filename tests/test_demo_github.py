"""`make demo-github`: from a label in the fake Jira to an approved pull request on the fake GitHub."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sdlc.domain import RunState
from tests.conftest import MACHINE_CACHE
from tests.fakes.demo import what_is_wrong
from tests.fakes.world import KEY, trial_world
from tests.processes import alive


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    """The demo as a process, with all its data in `folder`; outputs go to files there."""
    environment = {
        **os.environ,
        "SDLC_DATA_DIR": str(folder),
        "SDLC_CACHE_DIR": str(MACHINE_CACHE),
        # What somebody has set for services that are real must lead nowhere.
        "SDLC_JIRA__URL": "http://127.0.0.1:9",
        "GITHUB_TOKEN": "ghp_of_somebody",
        "TEMPORAL_ADDRESS": "127.0.0.1:9",
    }
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.demo", *words], stdout=out, stderr=err, env=environment, text=True
        )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_label_in_jira_ends_as_an_approved_pull_request_and_a_ticket_that_is_done(
    tmp_path: Path, temporal_binary: Path
) -> None:
    process = started(tmp_path, "--auto-approve", "--json")
    try:
        code = process.wait(240)
    finally:
        process.kill()
        process.wait()
    said = (tmp_path / "err").read_text()
    assert code == 0, said
    lines = (tmp_path / "out").read_text().splitlines()
    assert len(lines) == 1
    run = json.loads(lines[0])
    assert set(run) == {
        *("ticket", "state", "steps", "pull_request", "fix_rounds", "revisions", "findings", "tests", "usage"),
        *("workflow_id", "history", "warnings"),
    }
    assert (run["ticket"], run["state"], run["warnings"]) == (KEY, "closed", [])
    assert {step["state"] for step in run["steps"]} == {"done", "skipped"}
    assert run["pull_request"]["url"].endswith("/acme/parcel/pull/1")
    assert run["fix_rounds"] >= 1
    assert run["tests"]["proof"]["passes_on_head"] >= 1
    for words in ("Jira's webhook has started the run", "13 Wait for CI: done: 1 check passed", "approve by maria"):
        assert words in said
    assert f"Shown: {KEY} is Done in Jira" in said
    assert "some answered with" not in said
    assert "Trying again" not in said
    assert not alive(str(tmp_path)), "server, worker and receiver are stopped"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ctrl_c_stops_everything(tmp_path: Path, temporal_binary: Path) -> None:
    process = started(tmp_path)
    try:
        end = time.monotonic() + 60
        while "has started the run" not in (tmp_path / "err").read_text():
            assert process.poll() is None, (tmp_path / "err").read_text()
            assert time.monotonic() < end, (tmp_path / "err").read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(50) == 130
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert not alive(str(tmp_path))


async def test_the_demo_believes_the_services_and_not_the_run(tmp_path: Path) -> None:
    async with trial_world(tmp_path) as world:
        repository = world.repository
        assert what_is_wrong(world, RunState.CLOSED) == [
            f"{KEY} is To Do in Jira.",
            "There are 0 pull requests on GitHub.",
        ]
        world.jira.move_as("bot", KEY, "Done")
        repository.commit("sdlc/x", {"x.py": "x = 1\n"}, by="sdlc-bot")
        repository.open_pull("sdlc/x", by="sdlc-bot")
        nobody = ["Nobody but the starter has approved the head of pull request #1."]
        repository.review(1, by="alice", event="APPROVE")
        assert what_is_wrong(world, RunState.CLOSED) == nobody
        repository.review(1, by="maria", event="APPROVE")
        assert what_is_wrong(world, RunState.CLOSED) == []
        assert what_is_wrong(world, RunState.NEEDS_ATTENTION) == ["The run is needs attention."]
        repository.commit("sdlc/x", {"x.py": "x = 2\n"}, by="bob")
        assert what_is_wrong(world, RunState.CLOSED) == nobody
