"""`sdlc retry --from-step`: a run goes back by Temporal's own reset, says what that costs, and refuses if it can't."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import pytest

from sdlc.domain import RunState, TestKind, TestOutcome
from sdlc.progress import Step
from tests.commands import sdlc
from tests.stage import Script, final
from tests.test_cli_runs import House, good, house, refused

__all__ = ["house"]  # a fixture


def until(wanted: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("attributes", [True, False], ids=["with search attributes", "without"])
def test_a_run_goes_back_to_a_step_and_does_it_and_what_follows_anew(house: House, attributes: bool) -> None:
    key = house.waiting(attributes=attributes)
    stage = house.stages[key]
    good(sdlc("pause", key, "--by", "grace"))
    good(sdlc("resume", key, "--by", "grace"))
    before = list(stage.calls)
    done = good(sdlc("retry", key, "--from-step", "integration-tests", "--by", "linus", "--yes"))
    assert "Kept: what was done until step 9 began" in done.err
    assert "Lost: what step 9 has come to, and steps 10, 11, 12" in done.err
    assert "Lost: what people have said since, which is not repeated: pause (1), resume (1)." in done.err
    assert f"{key}: goes on from step 9 (Integration tests)." in done.out
    until(lambda: stage.count("request_approval") == 2)
    progress = house.until(key, RunState.AWAITING_APPROVAL)
    again = stage.calls[len(before) :]
    assert again[0] == "tests:integration"
    assert not {"agent", "tests:unit", "panel:quality"} & set(again)  # what was done before is not done anew
    assert progress.steps[Step.UNIT_TESTS.number - 1].attempts == 1
    # The earlier execution keeps its trail, the new one begins with a word about it.
    earlier = done.out.rpartition("--run ")[2].strip().rstrip("`.")
    assert [entry["event"] for entry in good(sdlc("audit", key, "--run", earlier, "--json")).json] == [
        "pause",
        "resume",
    ]
    trail = good(sdlc("audit", key)).out
    assert "went_back" in trail
    assert "resume" not in trail
    good(sdlc("approve", key))
    house.until(key, RunState.CLOSED)
    refused(sdlc("retry", key, "--from-step", "8", "--yes"), "is done", f"`sdlc start {key}`")


def test_an_aborted_run_comes_back_and_the_abort_does_not_meet_it_again(house: House) -> None:
    red = Script(tests=lambda kind, _: TestOutcome.MISSING if kind is TestKind.UNIT else TestOutcome.PASSED)
    key = house.begin(red)
    house.until(key, RunState.NEEDS_ATTENTION)
    good(sdlc("abort", key, "-m", "enough"))
    house.until(key, RunState.ABORTED)
    house.stages[key].script.tests = lambda *_: TestOutcome.PASSED
    done = good(sdlc("retry", key, "--from-step", "8", "-m", "it is mended", "--yes", "--json"))
    assert done.json["step"] == "unit_tests"
    assert "the ticket was given back" in " ".join(done.json["lost"])
    house.until(key, RunState.AWAITING_APPROVAL)
    assert "it is mended" in good(sdlc("audit", key)).out


def test_a_run_whose_engine_is_at_work_is_sent_back_to_its_beginning(house: House) -> None:
    def before(name: str, number: int) -> object:
        import asyncio

        return asyncio.sleep(30) if name == "agent" and number == 1 else None

    key = house.begin(Script(before=before))
    stage = house.stages[key]
    until(lambda: stage.count("agent") == 1)
    good(sdlc("retry", key, "--from-step", "2", "--yes"))
    progress = house.until(key, RunState.AWAITING_APPROVAL, seconds=60)
    assert progress.fix_rounds == 0
    assert stage.count("select_task") == 1


def test_where_it_cannot_go_it_is_said_why(house: House) -> None:
    key = house.begin(Script(raises=lambda name, _: final() if name == "open_repository" else None))
    house.until(key, RunState.NEEDS_ATTENTION)
    refused(sdlc("retry", key, "--from-step", "12"), "Step 12", "there are those of 1")
    refused(sdlc("retry", key, "--from-step", "18"), "There is no step '18'", "1 to 17")
    refused(sdlc("retry", f"NO-{uuid.uuid4().hex}", "--from-step", "1"), "There is no run")
