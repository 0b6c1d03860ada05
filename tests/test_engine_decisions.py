"""What a run decides about its engine: programs that are interrupted, consent, the ladder, the budget."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from sdlc.config import Settings
from sdlc.domain import (
    AttentionAnswer,
    AttentionKind,
    Budget,
    Instruction,
    RunState,
    TestKind,
    TestOutcome,
    Usage,
)
from sdlc.progress import Step
from sdlc.run_payloads import Answered, Decided, ModelChosen, Spoken
from sdlc.runtime.client import connect
from sdlc.workflow import SdlcWorkflow
from tests.stage import Play, Script, final, play, sha


@pytest.fixture
async def client(temporal_settings: Settings) -> Client:
    return await connect(temporal_settings)


async def approved(run: Play) -> None:
    await run.until_state(RunState.AWAITING_APPROVAL)
    await run.handle.signal(SdlcWorkflow.approve, Decided(by="grace"))
    assert (await run.result()).state is RunState.CLOSED


async def answer(run: Play, kind: AttentionKind, **fields: Any) -> None:
    await run.handle.execute_update(SdlcWorkflow.attend, AttentionAnswer(kind=kind, by="grace", **fields))


async def until_called(run: Play, name: str, count: int = 1) -> None:
    async with asyncio.timeout(20):
        while run.stage.count(name) < count:
            await asyncio.sleep(0.02)


def hanging(*numbers: int) -> Any:
    """A program that works for ever in those of its calls."""
    return lambda number: asyncio.sleep(3_600) if number in numbers else None


# --- programs -----------------------------------------------------------------------------------


async def test_a_program_is_one_activity_and_its_exact_version_is_known(client: Client) -> None:
    async with play(client, engine="aider") as run:
        progress = await run.until_state(RunState.AWAITING_APPROVAL)
        assert progress.engine == "tool 1.2.3"
        assert run.stage.count("run_engine") == 1
        assert run.stage.count("agent") == 0
        assert run.stage.asked[0].engine == "aider"
        assert run.stage.briefs[0].engine == "aider"
        assert progress.steps[Step.IMPLEMENT.number - 1].usage.model_calls == 1
        await approved(run)


async def test_an_instruction_stops_a_program_which_begins_again_from_its_work(client: Client) -> None:
    async with play(client, Script(program=hanging(1)), engine="aider") as run:
        await until_called(run, "run_engine")
        await run.handle.signal(SdlcWorkflow.inject_instruction, Instruction(text="use decimals", by="ada"))
        await run.until_state(RunState.AWAITING_APPROVAL)
        assert run.stage.asked[1].change.head_sha == sha(1)
        assert [said.text for said in run.stage.briefs[1].instructions] == ["use decimals"]
        assert (await run.progress()).usage.model_calls == 2
        await approved(run)


async def test_a_paused_program_is_stopped_and_goes_on_after_the_pause(client: Client) -> None:
    async with play(client, Script(program=hanging(1)), engine="aider") as run:
        await until_called(run, "run_engine")
        await run.handle.signal(SdlcWorkflow.pause, Spoken(by="ada"))
        await run.until(lambda progress: progress.state is RunState.PAUSED)
        async with asyncio.timeout(20):
            while len(run.stage.asked) < 1:  # it has answered: it stands still
                await asyncio.sleep(0.02)
        assert run.stage.count("run_engine") == 1
        await run.handle.signal(SdlcWorkflow.resume, Spoken(by="ada"))
        await run.until_state(RunState.AWAITING_APPROVAL)
        assert run.stage.asked[1].change.head_sha == sha(1)
        await approved(run)


async def test_an_aborted_run_ends_its_program(client: Client) -> None:
    async with play(client, Script(program=hanging(1)), engine="aider") as run:
        await until_called(run, "run_engine")
        await run.handle.signal(SdlcWorkflow.abort, Answered(by="ada", reason="enough"))
        assert (await run.result()).state is RunState.ABORTED
        assert len(run.stage.asked) == 1
        assert len(run.stage.released) == 1


async def test_a_program_that_failed_with_its_work_kept_needs_a_person(client: Client) -> None:
    script = Script(
        engine=lambda number, _: {"ended": "failed", "reason": "It deleted most files."} if number == 1 else {}
    )
    async with play(client, script, engine="aider") as run:
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "It deleted most files." in progress.waits_for
        await answer(run, AttentionKind.RETRY, instruction="keep the files")
        await approved(run)


async def test_a_word_to_a_program_that_waits_to_be_tried_again_ends_neither_the_loop_nor_the_word(
    client: Client,
) -> None:
    busy = ApplicationError("The model is busy.", type="ServiceUnavailable", next_retry_delay=timedelta(minutes=5))
    script = Script(raises=lambda name, number: busy if (name, number) == ("run_engine", 1) else None)
    async with play(client, script, engine="aider") as run:
        await until_called(run, "run_engine")
        await run.handle.signal(SdlcWorkflow.inject_instruction, Instruction(text="use decimals", by="ada"))
        await run.until_state(RunState.AWAITING_APPROVAL)
        assert [said.text for said in run.stage.briefs[-1].instructions] == ["use decimals"]
        await approved(run)


@pytest.mark.parametrize("engine", ["agent", "aider"])
async def test_a_word_counts_in_every_later_iteration_of_its_loop(client: Client, engine: str) -> None:
    def tests(kind: TestKind, number: int) -> TestOutcome:
        return TestOutcome.FAILED if kind is TestKind.UNIT and number == 1 else TestOutcome.PASSED

    words: list[asyncio.Event] = []

    async def until_said() -> None:
        await words[0].wait()

    script = Script(
        tests=tests, before=lambda name, number: until_said() if (name, number) == ("tests:unit", 1) else None
    )
    words.append(asyncio.Event())
    async with play(client, script, engine=engine, max_iterations=3) as run:
        await until_called(run, "tests:unit")
        await run.handle.signal(SdlcWorkflow.inject_instruction, Instruction(text="use decimals", by="ada"))
        words[0].set()
        await run.until_state(RunState.AWAITING_APPROVAL)
        # The agent hears it between two turns, a program at once; a brief that is written later has it anyway.
        if engine == "aider":
            assert [said.text for said in run.stage.briefs[-1].instructions] == ["use decimals"]
        assert len(run.stage.asked) == 2
        await approved(run)


async def test_a_word_that_a_failed_engine_had_heard_is_said_again_to_the_next(client: Client) -> None:
    script = Script(
        program=hanging(1), raises=lambda name, number: final() if (name, number) == ("run_engine", 2) else None
    )
    async with play(client, script, engine="aider") as run:
        await until_called(run, "run_engine")
        await run.handle.signal(SdlcWorkflow.inject_instruction, Instruction(text="use decimals", by="ada"))
        await run.until_state(RunState.NEEDS_ATTENTION)
        await answer(run, AttentionKind.RETRY)
        await run.until_state(RunState.AWAITING_APPROVAL)
        assert [said.text for said in run.stage.briefs[-1].instructions] == ["use decimals"]
        await approved(run)


async def test_what_an_aborted_engine_had_cost_is_counted(client: Client) -> None:
    def tests(kind: TestKind, number: int) -> TestOutcome:
        return TestOutcome.FAILED if kind is TestKind.UNIT else TestOutcome.PASSED

    async with play(client, Script(program=hanging(2), tests=tests), engine="aider") as run:
        await until_called(run, "run_engine", 2)
        await run.handle.signal(SdlcWorkflow.abort, Answered(by="ada", reason="enough"))
        outcome = await run.result()
        assert outcome.state is RunState.ABORTED
        assert outcome.usage.model_calls >= 1
        assert outcome.steps[Step.IMPLEMENT.number - 1].usage == outcome.usage


# --- consent ------------------------------------------------------------------------------------

CI_FILE = ".github/workflows/ci.yml"


def touching_ci(number: int, request: Any) -> dict[str, Any]:
    return {} if CI_FILE in request.consented or number > 1 else {"protected": (CI_FILE,)}


async def test_a_protected_path_needs_consent_before_anything_is_reviewed_or_shown(client: Client) -> None:
    async with play(client, Script(engine=touching_ci)) as run:
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert CI_FILE in progress.waits_for
        assert run.stage.count("panel:security") == 0
        await answer(run, AttentionKind.WAIVE, reason="the job needs it")
        await approved(run)
        assert run.stage.count("agent") == 1
        waivers = run.stage.closed[0].evidence.waivers
        assert [(waiver.by, waiver.fingerprints) for waiver in waivers] == [("grace", (f"protected:{CI_FILE}",))]


async def test_an_iteration_that_adds_nothing_leaves_the_question_of_consent_open(client: Client) -> None:
    def engine(number: int, request: Any) -> dict[str, Any]:
        return {"protected": (CI_FILE,)} if number == 1 else {"protected": (CI_FILE,), "ended": "no_change"}

    def tests(kind: TestKind, number: int) -> TestOutcome:
        return TestOutcome.FAILED if kind is TestKind.UNIT and number == 1 else TestOutcome.PASSED

    async with play(client, Script(engine=engine, tests=tests)) as run:
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert CI_FILE in progress.waits_for
        await answer(run, AttentionKind.WAIVE, reason="the job needs it")
        await approved(run)
        assert run.stage.closed[0].evidence.protected == (CI_FILE,)


async def test_an_engine_that_fails_leaves_the_question_of_consent_open(client: Client) -> None:
    def engine(number: int, request: Any) -> dict[str, Any]:
        return {"protected": (CI_FILE,)} if number == 1 else {"ended": "failed", "reason": "It fell over."}

    def tests(kind: TestKind, number: int) -> TestOutcome:
        return TestOutcome.FAILED if kind is TestKind.UNIT and number == 1 else TestOutcome.PASSED

    script = Script(
        engine=lambda number, request: (
            engine(number, request)
            if number < 3
            else {"change": request.change, "protected": (CI_FILE,), "ended": "no_change"}
        ),
        tests=tests,
    )
    async with play(client, script) as run:
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "It fell over." in progress.waits_for
        await answer(run, AttentionKind.RETRY)
        progress = await run.until(lambda now: now.state is RunState.NEEDS_ATTENTION and "fell" not in now.waits_for)
        assert run.stage.count("panel:security") == 0


async def test_without_consent_the_engine_puts_protected_paths_back(client: Client) -> None:
    async with play(client, Script(engine=touching_ci)) as run:
        await run.until_state(RunState.NEEDS_ATTENTION)
        await answer(run, AttentionKind.RETRY)
        await approved(run)
        assert run.stage.count("agent") == 2
        assert CI_FILE in run.stage.briefs[1].instructions[-1].text


async def test_consent_lasts_as_long_as_the_run(client: Client) -> None:
    tests = {1: TestOutcome.FAILED}
    script = Script(
        engine=lambda number, request: {} if CI_FILE in request.consented else {"protected": (CI_FILE,)},
        tests=lambda kind, number: (
            tests.get(number, TestOutcome.PASSED) if kind is TestKind.STATIC else TestOutcome.PASSED
        ),
    )
    async with play(client, script) as run:
        await run.until_state(RunState.NEEDS_ATTENTION)
        await answer(run, AttentionKind.WAIVE, reason="the job needs it")
        await approved(run)
        assert run.stage.count("agent") == 2
        assert run.stage.asked[1].consented == (CI_FILE,)


# --- the ladder ---------------------------------------------------------------------------------


async def test_red_rounds_lead_up_the_ladder_by_themselves(client: Client) -> None:
    script = Script(
        tests=lambda kind, number: TestOutcome.FAILED if kind is TestKind.STATIC and number <= 2 else TestOutcome.PASSED
    )
    async with play(client, script, ladder=("large", "largest"), escalate_after=2) as run:
        progress = await run.until_state(RunState.AWAITING_APPROVAL)
        assert [request.model for request in run.stage.asked] == ["", "", "large"]
        assert progress.model == "large"
        audit = await run.handle.query(SdlcWorkflow.audit)
        assert [entry.detail for entry in audit if entry.event == "escalate_model"] == ["large (after 2 red rounds)"]
        await approved(run)


async def test_escalating_without_a_name_takes_the_next_model_and_says_when_there_is_none(client: Client) -> None:
    async with play(client, Script(program=hanging(1, 2)), engine="aider", ladder=("large",)) as run:
        await until_called(run, "run_engine")
        await run.handle.signal(SdlcWorkflow.escalate_model, ModelChosen(by="ada"))
        await until_called(run, "run_engine", 2)
        await run.handle.signal(SdlcWorkflow.escalate_model, ModelChosen(by="ada"))
        await run.handle.signal(SdlcWorkflow.inject_instruction, Instruction(text="go on", by="ada"))
        await run.until_state(RunState.AWAITING_APPROVAL)
        assert run.stage.asked[-1].model == "large"
        refused = [entry for entry in await run.handle.query(SdlcWorkflow.audit) if not entry.accepted]
        assert [entry.detail for entry in refused] == [
            "There is no model above the present one; name one, or set llm.ladder."
        ]
        await approved(run)


# --- the budget ---------------------------------------------------------------------------------


async def test_people_are_told_once_that_most_of_the_budget_is_spent(client: Client) -> None:
    script = Script(engine=lambda _, __: {"usage": Usage(model_calls=1, usd=8.5)})
    async with play(client, script, budget=Budget(usd=10.0)) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        told = [message.title for message in run.stage.told if message.event == "budget"]
        assert told == ["KEY-1: The budget is nearing its end: 8.50 of 10.00 USD (85 %)."]
        await approved(run)


async def test_a_budget_that_is_spent_before_the_panels_waits_for_a_person_with_the_work_kept(client: Client) -> None:
    script = Script(engine=lambda _, __: {"usage": Usage(model_calls=1, usd=12.0)})
    async with play(client, script, budget=Budget(usd=10.0)) as run:
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "10.00 USD is spent" in progress.waits_for
        assert progress.change is not None
        assert progress.change.head_sha == sha(1)
        assert run.stage.count("panel:security") == 0
        await answer(run, AttentionKind.RETRY)
        await approved(run)
        assert run.stage.count("agent") == 1


async def test_time_that_is_over_grants_no_more_money(client: Client) -> None:
    script = Script(engine=lambda number, _: {"ended": "budget", "reason": "Its time is over."} if number == 1 else {})
    async with play(client, script, engine="aider", budget=Budget(usd=10.0)) as run:
        await run.until_state(RunState.NEEDS_ATTENTION)
        await answer(run, AttentionKind.RETRY)
        await run.until_state(RunState.AWAITING_APPROVAL)
        assert [asked.usd_left for asked in run.stage.asked] == [10.0, 10.0]
        await approved(run)


async def test_what_is_left_of_the_budget_goes_with_a_program(client: Client) -> None:
    async with play(client, engine="aider", budget=Budget(usd=5.0, tokens=1_000, turns=7), max_turns=60) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        asked = run.stage.asked[0]
        assert (asked.usd_left, asked.tokens_left, asked.max_turns) == (5.0, 1_000, 7)
        await approved(run)
