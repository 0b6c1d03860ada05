"""Runs as people have them: `sdlc run` and `sdlc dev` as processes, left in the middle, steered from outside."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sdlc.demo.scripted_model import MODEL, Fault, ScriptedModel
from tests.commands import PATIENCE, Process, at_terminal, processes_naming, running, sdlc
from tests.repositories import Checkout, git
from tests.small_run import KEY, TICKET, small_repository, small_script


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory, temporal_binary: Path) -> Path:
    """One for all tests here, with the machine's Temporal in it: `sdlc` looks for it on PATH and there."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "bin").mkdir()
    (folder / "bin" / "temporal").symlink_to(temporal_binary)
    return folder


@dataclass
class Place:
    """A working folder with a ticket and a repository, and a model over HTTP."""

    folder: Path
    model: ScriptedModel
    checkout: Checkout

    @property
    def ticket(self) -> Path:
        return self.folder / "bug.md"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def pull_requests(self) -> list[Path]:
        return sorted(self.data.glob("forge/*/pulls/*/pull.md"))

    @property
    def tracker_ticket(self) -> str:
        return (self.data / "tickets" / f"{KEY}.md").read_text()

    def sdlc(self, name: str, *arguments: str | Path) -> contextlib.AbstractContextManager[Process]:
        return running(self.folder / name, *arguments)

    def until_asked(self, count: int) -> None:
        """Until the model has answered so often."""
        until(lambda: len([one for one in self.model.requests if one.answered]) >= count, "the model is asked")


def until(wanted: Callable[[], Any], what: str, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)


@pytest.fixture
def place(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    model = ScriptedModel(small_script())
    model.start()
    made = Place(tmp_path, model, small_repository(tmp_path / "money"))
    made.ticket.write_text(TICKET)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "SDLC_DATA_DIR": made.data,
        "SDLC_CACHE_DIR": cache,
        "SDLC_RUN__FIRST_RETRY_SECONDS": "0.3",
        "OPENAI_BASE_URL": model.base_url,
        "SDLC_MODEL": MODEL,
    }.items():
        monkeypatch.setenv(name, str(value))
    yield made
    model.stop()


def nothing_is_left_of(place: Place) -> None:
    """No server, no worker, no test of the repository."""
    until(lambda: not processes_naming(str(place.folder)), f"all ended: {processes_naming(str(place.folder))}", 10)


def test_a_run_from_a_ticket_file_to_a_pull_request(place: Place) -> None:
    place.model.fail(Fault(status=500, times=4, where=lambda request: request.is_agent))
    place.checkout.write({"notes.txt": "mine"})
    with place.sdlc(
        "run", "run", "--ticket", place.ticket, "--repo", place.checkout.path, "--auto-approve", "--json"
    ) as run:
        done = run.ended()
    print(done.err)
    assert done.code == 0
    assert done.out.count("\n") == 1
    assert done.json["state"] == "closed"
    assert done.json["ticket"] == KEY
    # What a person reads: plain lines, what is left out, what is tried again, where everything is.
    assert "\x1b" not in done.err
    assert "has changes that are not committed" in done.err
    again = [line for line in done.err.splitlines() if line.startswith("Trying again: ")]
    assert again, done.err
    assert "500" in again[0]
    assert f"Pull request       {place.pull_requests[0].as_uri()} (open)" in done.err
    # The person's checkout is as it was, but for the run's branch.
    assert git(place.checkout.path, "status", "--porcelain") == "?? notes.txt"
    assert (
        git(place.checkout.path, "rev-parse", done.json["pull_request"]["branch"])
        == done.json["pull_request"]["head_sha"]
    )
    nothing_is_left_of(place)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_left_in_the_middle_goes_on(place: Place, number: signal.Signals) -> None:
    place.model.script = small_script(turns=5)
    place.model.latency = 0.3
    with place.sdlc("run", "run", "--ticket", place.ticket, "--repo", place.checkout.path) as run:
        place.until_asked(2)
        run.signal(number)
        left = run.ended(40)
    assert left.code == 130
    assert left.out == ""
    assert "Traceback" not in left.err
    assert f"The run is kept; `sdlc resume-run {KEY}` or the next `sdlc dev` goes on with it." in left.err
    nothing_is_left_of(place)
    assert place.pull_requests == []

    with place.sdlc("resumed", "resume-run", KEY, "--auto-approve", "--json") as resumed:
        done = resumed.ended()
    assert done.code == 0, done
    assert done.json["state"] == "closed"
    assert place.model.answered_again() == {}
    assert len(place.pull_requests) == 1
    assert "status: Done" in place.tracker_ticket
    nothing_is_left_of(place)


def test_an_approval_that_does_not_count_ends_the_command_and_not_the_run(place: Place) -> None:
    (place.folder / "sdlc.yaml").write_text("run: {approval: {allow_starter: false}}\n")
    with place.sdlc("run", "run", "--ticket", place.ticket, "--repo", place.checkout.path, "--auto-approve") as run:
        done = run.ended()
    assert done.code == 1
    assert done.last.startswith("sdlc: --auto-approve was refused: ")
    assert "started this run; somebody else has to approve it." in done.last
    assert "status: In Review" in place.tracker_ticket
    nothing_is_left_of(place)
    _the_person_at_the_terminal_is_asked(place)


def _the_person_at_the_terminal_is_asked(place: Place) -> None:
    with at_terminal(place.folder, "resume-run", KEY) as person:
        person.until_said("Your decision (approve, changes, reject, leave)")
        assert "Await approval" in person.done.err
        assert "1 test failing on the base and passing on the head" in person.done.err
        person.type("perhaps")
        person.until_said("Please type one of")
        person.type("approve")
        person.until_said("somebody else has to approve it")
        person.until_said("Your decision")
        person.type("c")
        person.until_said("What should change: ")
        person.type("Say it in the README.")
        person.until_said("Your decision")
        assert "1 asked for by people" in person.done.err
        person.type("leave")
        assert person.ended(40).code == 130
        assert f"resume-run {KEY}" in person.done.err
    assert len(place.pull_requests) == 1
    nothing_is_left_of(place)


def test_a_server_that_stays_and_a_run_that_people_steer(place: Place) -> None:
    with place.sdlc("dev", "dev") as dev:
        dev.until_said("The worker is ready")
        _start(place)
        _steer(place)
        _look(place)
        _decide(place)
        _it_is_over(place)
        _start_and_cancel(place)
        dev.signal(signal.SIGINT)
        stopped = dev.ended(40)
    assert stopped.code == 0
    assert "Traceback" not in stopped.err
    nothing_is_left_of(place)


def state() -> dict[str, Any]:
    shown = sdlc("status", KEY, "--json")
    assert shown.code == 0, shown
    found: dict[str, Any] = shown.json
    return found


def _start(place: Place) -> None:
    place.model.latency = 0.5
    started = sdlc("start", place.ticket, "--repo", place.checkout.path, "--json")
    assert started.code == 0, started
    assert started.json == {"ticket": KEY, "workflow_id": f"sdlc-{KEY}", "joined": False}
    again = sdlc("start", KEY, "--repo", place.checkout.path)
    assert (again.code, again.out) == (0, f"{KEY}: joined the run that is there (sdlc-{KEY}).\n")
    unknown = sdlc("start", "BUG-8", "--repo", place.checkout.path)
    assert unknown.code == 2
    assert "BUG-8" in unknown.last
    for command in (["status"], ["approve"], ["pause"], ["findings"], ["audit"], ["cancel"], ["retry"], ["resume"]):
        refused = sdlc(*command, "BUG-9")
        assert (refused.code, refused.out) == (2, ""), refused
        assert refused.last == (
            f"sdlc: There is no run for BUG-9; `sdlc list` shows those there are. Did you mean {KEY}?"
        )
    assert sdlc("status", "BUG/9").code == 2


def _steer(place: Place) -> None:
    assert sdlc("pause", KEY).out == f"{KEY}: pauses before the next step or turn.\n"
    assert sdlc("instruct", KEY, "Mind the cents.", "--by", "grace", "--json").json["accepted"] is True
    early = sdlc("approve", KEY)
    assert early.code == 2
    assert "does not wait for an approval now" in early.last
    assert sdlc("retry", KEY).code == 2
    assert sdlc("resume", KEY, "--json").json["accepted"] is True
    place.model.latency = 0.0
    until(lambda: state()["state"] == "awaiting_approval", "it waits for an approval")
    assert any("Mind the cents." in request.user_text for request in place.model.conversations)


def _look(place: Place) -> None:
    shown = sdlc("status", KEY)
    assert shown.code == 0
    assert "awaiting approval" in shown.out
    assert "16 ◆ Await approval" in shown.out
    assert "\x1b" not in shown.out
    assert state()["trying_again"] == []
    assert sdlc("list").out.splitlines()[1].split()[:3] == [KEY, "awaiting", "approval"]
    assert [row["ticket_key"] for row in sdlc("list", "--open", "--json").json] == [KEY]
    assert sdlc("findings", KEY).out.startswith("No open findings.\n")
    assert sdlc("findings", KEY, "--json").json == []
    assert "inject_instruction" in sdlc("audit", KEY).out
    said = [(entry["event"], entry["by"]) for entry in sdlc("audit", KEY, "--json").json]
    assert ("inject_instruction", "grace") in said
    assert [event for event, _ in said][-4:] == ["pause", "inject_instruction", "approve", "resume"]


def _decide(place: Place) -> None:
    stale = sdlc("approve", KEY, "--head", "0" * 40)
    assert stale.code == 2
    assert "look at it again" in stale.last
    with place.sdlc("followed", "status", KEY, "--follow") as following:
        asked = sdlc("request-changes", KEY, "-m", "Say it in the README.", "--by", "grace", "--json")
        assert asked.json["accepted"] is True
        until(lambda: (now := state())["revisions"] == 1 and now["state"] == "awaiting_approval", "it was revised")
        approved = sdlc("approve", KEY, "--by", "grace")
        assert (approved.code, approved.out) == (0, f"{KEY}: approve: counted.\n")
        followed = following.ended(20)
    assert (followed.code, followed.out) == (0, "")
    assert "17 Close story: done" in followed.err
    assert state()["state"] == "closed"
    assert len(place.pull_requests) == 1


def _it_is_over(place: Place) -> None:
    for command in (["approve", KEY], ["pause", KEY], ["instruct", KEY, "x"], ["cancel", KEY], ["abort", KEY]):
        refused = sdlc(*command)
        assert (refused.code, refused.out) == (2, ""), refused
        assert refused.last == f"sdlc: The run for {KEY} is over; `sdlc status {KEY}` shows how it ended."
    assert sdlc("list", "--open").out.startswith("No run is under way")
    followed = sdlc("status", KEY, "--follow", "--json")
    assert followed.code == 0
    assert json.loads(followed.out)["state"] == "closed"


def _start_and_cancel(place: Place) -> None:
    other = place.folder / "other.md"
    other.write_text(TICKET.replace(KEY, "BUG-8"))
    place.model.latency = 1.0
    assert sdlc("start", other, "--repo", place.checkout.path).code == 0
    until(lambda: sdlc("status", "BUG-8", "--json").json["step"] == "implement", "the engine works")
    assert sdlc("cancel", "BUG-8", "--json").json["accepted"] is True
    assert sdlc("status", "BUG-8", "--follow", "--json").json["state"] == "cancelled"
    assert "status: To Do" in (place.data / "tickets" / "BUG-8.md").read_text()
    assert [row["state"] for row in sdlc("list", "--json").json] == ["cancelled", "closed"]
