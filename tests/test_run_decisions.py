"""What a run decides: the order of the steps, the loops, and what people may do to it."""

from __future__ import annotations

import asyncio

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import CancelledError
from temporalio.testing import WorkflowEnvironment

from sdlc import activities as do
from sdlc.config import Settings
from sdlc.domain import (
    ApprovalDecision,
    AttentionAnswer,
    AttentionKind,
    Budget,
    CiState,
    DecisionKind,
    Instruction,
    PanelState,
    RunState,
    TestKind,
    TestOutcome,
    Ticket,
)
from sdlc.progress import RunProgress, Step, StepState
from sdlc.run_payloads import Answered, Decided, ModelChosen, Spoken
from sdlc.runtime.client import connect
from sdlc.workflow import SdlcWorkflow
from tests.stage import Play, Script, a_finding, final, play, sha


@pytest.fixture
async def client(temporal_settings: Settings) -> Client:
    return await connect(temporal_settings)


async def approve(run: Play, by: str = "grace") -> None:
    await run.until_state(RunState.AWAITING_APPROVAL)
    await run.handle.execute_update(
        SdlcWorkflow.decide, ApprovalDecision(kind=DecisionKind.APPROVE, by=by, source="cli")
    )


def step(progress: RunProgress, wanted: Step) -> StepState:
    return progress.steps[wanted.number - 1].state


# --- the way through ------------------------------------------------------------------------------


async def test_a_run_goes_through_all_seventeen_steps_once(client: Client) -> None:
    async with play(client) as run:
        await approve(run)
        outcome = await run.result()
    assert outcome.state is RunState.CLOSED
    assert [entry.number for entry in outcome.steps] == list(range(1, 18))
    assert {entry.attempts for entry in outcome.steps} == {1}
    assert step_states(outcome.steps) <= {StepState.DONE, StepState.SKIPPED}
    once = ("select_task", "agent", "create_pull_request", "request_approval", "close_story")
    assert {name: run.stage.count(name) for name in once} == dict.fromkeys(once, 1)


def step_states(steps: object) -> set[StepState]:
    return {entry.state for entry in steps}  # type: ignore[attr-defined]


async def test_usage_of_the_engine_is_counted(client: Client) -> None:
    async with play(client) as run:
        progress = await run.until_state(RunState.AWAITING_APPROVAL)
    assert progress.usage.model_calls == 1
    assert progress.usage.input_tokens == 10


# --- fix rounds -----------------------------------------------------------------------------------


async def test_a_grave_finding_goes_back_to_the_engine_and_the_panels_look_again(client: Client) -> None:
    script = Script(findings=lambda _, head: (a_finding(),) if head == sha(1) else ())
    async with play(client, script) as run:
        await approve(run)
        outcome = await run.result()
    assert outcome.fix_rounds == 1
    assert outcome.findings == ()
    assert [brief.round for brief in run.stage.briefs] == [0, 1]
    assert run.stage.briefs[1].fingerprints == ("f1",)
    assert run.stage.count("panel:security") == 2


async def test_red_tests_go_back_to_the_engine_inside_the_work_loop_first(client: Client) -> None:
    script = Script(
        tests=lambda kind, n: TestOutcome.FAILED if kind is TestKind.UNIT and n == 1 else TestOutcome.PASSED
    )
    async with play(client, script) as run:
        await approve(run)
        outcome = await run.result()
    assert outcome.fix_rounds == 0
    assert [len(brief.tests) for brief in run.stage.briefs] == [0, 1]


async def test_red_static_checks_start_a_fix_round(client: Client) -> None:
    script = Script(
        tests=lambda kind, n: TestOutcome.FAILED if kind is TestKind.STATIC and n == 1 else TestOutcome.PASSED
    )
    async with play(client, script) as run:
        await approve(run)
        outcome = await run.result()
    assert outcome.fix_rounds == 1
    assert run.stage.briefs[1].tests[0].kind is TestKind.STATIC


async def test_red_checks_of_the_forge_start_a_fix_round(client: Client) -> None:
    script = Script(ci=lambda n: CiState.RED if n == 1 else CiState.GREEN)
    async with play(client, script) as run:
        await approve(run)
        outcome = await run.result()
    assert outcome.fix_rounds == 1
    assert run.stage.count("create_pull_request") == 2


async def test_a_finding_that_is_never_mended_ends_with_a_person_after_the_last_round(client: Client) -> None:
    script = Script(findings=lambda panel, _: (a_finding(),) if panel.value == "quality" else ())
    async with play(client, script, max_fix_rounds=2) as run:
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert progress.fix_rounds == 2
        assert "No fix rounds are left" in progress.waits_for
        await run.until(lambda _: [told.event for told in run.stage.told] == ["needs_attention"])
        await run.handle.signal(SdlcWorkflow.waive, Answered(by="grace", reason="a constant, never changed"))
        await approve(run)
        outcome = await run.result()
    assert outcome.state is RunState.CLOSED
    assert run.stage.closed[0].evidence.waivers[0].reason == "a constant, never changed"


# --- people ---------------------------------------------------------------------------------------


async def test_request_changes_goes_round_again_with_the_comment_and_the_old_head_counts_no_more(
    client: Client,
) -> None:
    async with play(client) as run:
        before = await run.until_state(RunState.AWAITING_APPROVAL)
        await run.handle.signal(SdlcWorkflow.request_changes, Decided(by="grace", comment="say it in the README"))
        await run.until(lambda now: now.revisions == 1 and now.state is RunState.AWAITING_APPROVAL)
        assert run.stage.briefs[1].decisions[0].comment == "say it in the README"
        assert before.change is not None
        refused = await run.handle.execute_update(
            SdlcWorkflow.decide,
            ApprovalDecision(kind=DecisionKind.APPROVE, by="grace", head_sha=before.change.head_sha),
        )
        assert not refused.accepted
        assert "the head is" in refused.message
        await approve(run)
        outcome = await run.result()
    assert outcome.state is RunState.CLOSED
    assert outcome.revisions == 1


async def test_a_signal_that_is_not_allowed_is_recorded_and_changes_nothing(client: Client) -> None:
    async with play(client) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        await run.handle.signal(SdlcWorkflow.approve, Decided(by="sdlc-bot"))
        await run.handle.signal(SdlcWorkflow.approve, Decided(by="grace", head_sha="f" * 40))
        await run.handle.signal("no_such_signal", {"by": "grace"})
        await run.handle.signal(SdlcWorkflow.retry, Answered(by="grace"))
        trail = await run.handle.query(SdlcWorkflow.audit)
        assert [(entry.event, entry.accepted) for entry in trail] == [
            ("approve", False),
            ("approve", False),
            ("no_such_signal", False),
            ("retry", False),
        ]
        assert (await run.progress()).state is RunState.AWAITING_APPROVAL


async def test_a_decision_that_arrives_twice_counts_once_and_a_second_one_is_told(client: Client) -> None:
    async with play(client) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        decision = ApprovalDecision(kind=DecisionKind.APPROVE, by="grace", decision_id="d1")
        first, again = await asyncio.gather(
            run.handle.execute_update(SdlcWorkflow.decide, decision),
            run.handle.execute_update(SdlcWorkflow.decide, decision),
        )
        assert first.accepted
        assert again.accepted
        outcome = await run.result()
    assert outcome.state is RunState.CLOSED
    assert len(run.stage.decided) == 1


async def test_reject_closes_the_pull_request_and_gives_the_claim_back(client: Client) -> None:
    async with play(client) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        await run.handle.signal(SdlcWorkflow.reject, Decided(by="grace", comment="we will do it otherwise"))
        outcome = await run.result()
    assert outcome.state is RunState.REJECTED
    assert run.stage.released[0].pull_request is not None
    assert "otherwise" in run.stage.released[0].reason


async def test_pause_halts_before_the_next_step_and_resume_goes_on(client: Client) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(name: str, number: int) -> None:
        if name == "tests:integration":
            reached.set()
            await go_on.wait()

    async with play(client, Script(before=hold)) as run:
        await asyncio.wait_for(reached.wait(), 20)
        await run.handle.signal(SdlcWorkflow.pause, Spoken(by="grace"))
        go_on.set()
        await run.until_state(RunState.PAUSED)
        assert run.stage.count("tests:static") == 0
        await run.handle.signal(SdlcWorkflow.resume, Spoken(by="grace"))
        await approve(run)
        assert (await run.result()).state is RunState.CLOSED


async def test_an_instruction_reaches_the_engine_in_the_next_brief(client: Client) -> None:
    async with play(client) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        await run.handle.signal(SdlcWorkflow.inject_instruction, Instruction(text="keep it short", by="grace"))
        await run.handle.signal(SdlcWorkflow.request_changes, Decided(by="grace", comment="again"))
        await run.until(lambda now: now.revisions == 1 and now.state is RunState.AWAITING_APPROVAL)
    assert run.stage.briefs[1].instructions[0].text == "keep it short"


# --- trouble --------------------------------------------------------------------------------------


async def test_a_step_that_fails_for_good_waits_for_a_person_and_is_tried_again(client: Client) -> None:
    script = Script(raises=lambda name, n: final() if name == "create_pull_request" and n == 1 else None)
    async with play(client, script) as run:
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert step(progress, Step.CREATE_PULL_REQUEST) is StepState.WAITING
        assert "It can't be done; do something else." in progress.waits_for
        await run.handle.execute_update(
            SdlcWorkflow.attend, AttentionAnswer(kind=AttentionKind.RETRY, by="grace", instruction="try harder")
        )
        await approve(run)
        assert (await run.result()).state is RunState.CLOSED
    assert run.stage.count("create_pull_request") == 2
    assert run.stage.count("agent") == 1


async def test_what_the_world_got_wrong_is_tried_again_without_a_person(client: Client) -> None:
    script = Script(
        raises=lambda name, n: ConnectionError("reset") if name == "create_pull_request" and n < 3 else None
    )
    async with play(client, script) as run:
        await approve(run)
        assert (await run.result()).state is RunState.CLOSED
    assert run.stage.count("create_pull_request") == 3
    assert not [told for told in run.stage.told if told.event == "needs_attention"]


async def test_an_engine_without_a_change_needs_a_person(client: Client) -> None:
    script = Script(engine=lambda n, asked: {"ended": "no_change", "change": asked.change} if n == 1 else {})
    async with play(client, script) as run:
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "without a change" in progress.waits_for
        await run.handle.signal(SdlcWorkflow.retry, Answered(by="grace", instruction="look in rates.py"))
        await approve(run)
        await run.result()
    assert run.stage.briefs[1].instructions[0].text == "look in rates.py"


async def test_an_incomplete_panel_is_asked_about_and_looks_again_on_retry(client: Client) -> None:
    script = Script(
        panel_state=lambda panel, n: PanelState.INCOMPLETE if panel.value == "security" and n == 1 else None
    )
    async with play(client, script) as run:
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "security panel is incomplete" in progress.waits_for
        await run.handle.signal(SdlcWorkflow.retry, Answered(by="grace"))
        await approve(run)
        outcome = await run.result()
    assert run.stage.count("panel:security") == 2
    assert run.stage.count("agent") == 1
    assert outcome.fix_rounds == 0


async def test_a_panel_that_breaks_is_incomplete_and_the_others_are_kept(client: Client) -> None:
    script = Script(raises=lambda name, n: final("ruff is gone") if name == "panel:quality" and n == 1 else None)
    async with play(client, script) as run:
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "ruff is gone" in progress.waits_for
        assert step(progress, Step.REVIEW_QUALITY) is StepState.FAILED
        assert step(progress, Step.REVIEW_SECURITY) is StepState.DONE


async def test_a_spent_budget_needs_a_person_and_a_retry_grants_as_much_again(client: Client) -> None:
    script = Script(
        engine=lambda n, asked: {"ended": "budget", "change": asked.change} if n == 1 else {},
    )
    async with play(client, script, budget=Budget(turns=1)) as run:
        await run.until_state(RunState.NEEDS_ATTENTION)
        await run.handle.signal(SdlcWorkflow.retry, Answered(by="grace"))
        await approve(run)
        assert (await run.result()).state is RunState.CLOSED


async def test_a_ticket_that_was_edited_meanwhile_is_asked_about_before_the_pull_request(client: Client) -> None:
    script = Script(ticket=lambda n: Ticket(key="KEY-1", title="Rounding", revision="r1" if n == 1 else "r2"))
    async with play(client, script) as run:
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "was edited" in progress.waits_for
        assert run.stage.count("create_pull_request") == 0
        await run.handle.signal(SdlcWorkflow.retry, Answered(by="grace"))
        await approve(run)
        assert (await run.result()).state is RunState.CLOSED


async def test_a_repository_without_tests_is_a_question_to_a_person(client: Client) -> None:
    script = Script(
        tests=lambda kind, _: TestOutcome.MISSING if kind is TestKind.UNIT else TestOutcome.PASSED,
    )
    async with play(client, script) as run:
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert step(progress, Step.UNIT_TESTS) is StepState.WAITING
        await run.handle.signal(SdlcWorkflow.waive, Answered(by="grace", reason="a spike"))
        await approve(run)
        outcome = await run.result()
    assert outcome.steps[Step.UNIT_TESTS.number - 1].state is StepState.SKIPPED


async def test_a_step_that_must_not_be_skipped_can_not_be_waived(client: Client) -> None:
    script = Script(raises=lambda name, n: final() if name == "create_pull_request" and n == 1 else None)
    async with play(client, script) as run:
        await run.until_state(RunState.NEEDS_ATTENTION)
        await run.handle.signal(SdlcWorkflow.waive, Answered(by="grace", reason="never mind"))
        trail = await run.handle.query(SdlcWorkflow.audit)
        assert trail[-1].accepted is False
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await run.handle.execute_update(
                SdlcWorkflow.attend, AttentionAnswer(kind=AttentionKind.WAIVE, by="grace", reason="never mind")
            )
        assert "can't be waived" in str(refused.value.cause)
        assert (await run.progress()).state is RunState.NEEDS_ATTENTION


async def test_a_waiver_of_something_else_does_not_let_red_tests_stand(client: Client) -> None:
    script = Script(tests=lambda kind, _: TestOutcome.MISSING if kind is TestKind.UNIT else TestOutcome.PASSED)
    async with play(client, script) as run:
        await run.until_state(RunState.NEEDS_ATTENTION)
        await run.handle.signal(SdlcWorkflow.waive, Answered(by="grace", reason="unrelated", fingerprints=("another",)))
        progress = await run.until(lambda now: "unit" in now.waits_for and len(run.stage.told) == 2)
        assert progress.state is RunState.NEEDS_ATTENTION
        assert step(progress, Step.INTEGRATION_TESTS) is StepState.PENDING


async def test_a_waiver_given_ahead_of_time_stands_in_the_evidence(client: Client) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(name: str, number: int) -> None:
        if name == "agent":
            reached.set()
            await go_on.wait()

    script = Script(before=hold, findings=lambda panel, _: (a_finding(),) if panel.value == "quality" else ())
    async with play(client, script) as run:
        await asyncio.wait_for(reached.wait(), 20)
        await run.handle.signal(SdlcWorkflow.waive, Answered(by="grace", reason="known", fingerprints=("f1",)))
        go_on.set()
        await approve(run)
        outcome = await run.result()
    assert outcome.fix_rounds == 0
    assert [waiver.reason for waiver in run.stage.closed[0].evidence.waivers] == ["known"]


async def test_a_waiver_by_the_bot_or_without_a_reason_is_refused_at_once(client: Client) -> None:
    script = Script(tests=lambda kind, _: TestOutcome.MISSING if kind is TestKind.UNIT else TestOutcome.PASSED)
    async with play(client, script) as run:
        await run.until_state(RunState.NEEDS_ATTENTION)
        for answer in (
            AttentionAnswer(kind=AttentionKind.WAIVE, by=" SDLC-bot ", reason="fine"),
            AttentionAnswer(kind=AttentionKind.WAIVE, by="grace", reason=" "),
        ):
            with pytest.raises(WorkflowUpdateFailedError):
                await run.handle.execute_update(SdlcWorkflow.attend, answer)
        assert (await run.progress()).state is RunState.NEEDS_ATTENTION


async def test_a_waiver_in_a_fix_round_leaves_the_head_that_was_reviewed(client: Client) -> None:
    def engine(number: int, asked: object) -> dict[str, object]:
        return {"ended": "budget"} if number == 2 else {}

    script = Script(engine=engine, findings=lambda panel, head: (a_finding(),) if panel.value == "quality" else ())
    async with play(client, script) as run:
        await run.until_state(RunState.NEEDS_ATTENTION)
        await run.handle.signal(SdlcWorkflow.waive, Answered(by="grace", reason="it may stand"))
        progress = await run.until_state(RunState.AWAITING_APPROVAL)
    assert progress.change is not None
    assert progress.pull_request is not None
    assert progress.change.head_sha == progress.pull_request.head_sha == sha(1)


async def test_work_that_was_done_before_the_budget_ran_out_counts_after_a_retry(client: Client) -> None:
    def engine(number: int, asked: do.EngineRequest) -> dict[str, object]:
        return {1: {"ended": "budget"}, 2: {"ended": "no_change", "change": asked.change}}.get(number, {})

    async with play(client, Script(engine=engine)) as run:
        await run.until_state(RunState.NEEDS_ATTENTION)
        await run.handle.signal(SdlcWorkflow.retry, Answered(by="grace", instruction="finish it"))
        await approve(run)
        assert (await run.result()).state is RunState.CLOSED
    assert run.stage.briefs[1].instructions[0].text == "finish it"


async def test_an_instruction_that_came_too_late_for_the_engine_is_in_the_next_brief(client: Client) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(name: str, number: int) -> None:
        if name == "tests:unit" and number == 1:
            reached.set()
            await go_on.wait()

    async with play(client, Script(before=hold)) as run:
        await asyncio.wait_for(reached.wait(), 20)
        await run.handle.signal(SdlcWorkflow.inject_instruction, Instruction(text="shorter", by="grace"))
        await asyncio.sleep(0.3)
        go_on.set()
        await run.until_state(RunState.AWAITING_APPROVAL)
        await run.handle.signal(SdlcWorkflow.request_changes, Decided(by="grace", comment="again"))
        await run.until(lambda now: now.revisions == 1 and now.state is RunState.AWAITING_APPROVAL)
    assert [one.text for brief in run.stage.briefs for one in brief.instructions] == ["shorter"]


async def test_words_that_cross_the_end_of_the_engine_do_not_end_the_run(client: Client) -> None:
    async with play(client) as run:
        await run.until(lambda now: step(now, Step.IMPLEMENT) is StepState.RUNNING)
        while step(await run.progress(), Step.IMPLEMENT) is StepState.RUNNING:
            await asyncio.gather(
                *(run.handle.signal(SdlcWorkflow.escalate_model, ModelChosen(model=f"m{n}")) for n in range(6))
            )
        await approve(run)
        assert (await run.result()).state is RunState.CLOSED


async def test_red_checks_of_the_forge_can_be_looked_at_again(client: Client) -> None:
    script = Script(ci=lambda n: CiState.RED if n <= 2 else CiState.GREEN)
    async with play(client, script, max_fix_rounds=0) as run:
        await run.until_state(RunState.NEEDS_ATTENTION)
        await run.handle.signal(SdlcWorkflow.retry, Answered(by="grace"))
        await run.until(lambda now: now.fix_rounds == 1)
        await approve(run)
        await run.result()


# --- the other ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["agent", "panel:quality", "tests:unit", "wait_for_ci"])
async def test_cancel_gives_the_claim_back_wherever_the_run_is(client: Client, where: str) -> None:
    reached = asyncio.Event()

    async def hold(name: str, number: int) -> None:
        if name == where:
            reached.set()
            await _until_cancelled()

    async with play(client, Script(before=hold)) as run:
        await asyncio.wait_for(reached.wait(), 20)
        await run.handle.cancel()
        with pytest.raises(WorkflowFailureError) as failed:
            await run.result()
        assert isinstance(failed.value.cause, CancelledError)
        assert (await run.progress()).state is RunState.CANCELLED
    assert len(run.stage.released) == 1
    assert run.stage.count("create_pull_request") == (1 if where == "wait_for_ci" else 0)


async def _until_cancelled() -> None:
    """As a long activity does: heartbeats, so that it hears of its cancellation."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("where", ["select_task", "write_brief", "create_pull_request", "request_approval"])
@pytest.mark.parametrize("how", ["cancel", "abort"])
async def test_a_stop_during_a_short_activity_that_ends_well_is_not_lost(client: Client, where: str, how: str) -> None:
    reached = asyncio.Event()

    async def hold(name: str, number: int) -> None:
        if name == where and number == 1:
            reached.set()
            await asyncio.shield(asyncio.sleep(0.3))

    async with play(client, Script(before=hold)) as run:
        await asyncio.wait_for(reached.wait(), 20)
        if how == "cancel":
            await run.handle.cancel()
            with pytest.raises(WorkflowFailureError):
                await run.result()
        else:
            await run.handle.signal(SdlcWorkflow.abort, Answered(by="grace"))
            assert (await run.result()).state is RunState.ABORTED
    assert len(run.stage.released) == 1


async def test_an_abort_that_comes_before_any_worker_is_heeded(client: Client) -> None:
    async with play(client, first_signal=("abort", Answered(by="grace"))) as run:
        assert (await run.result()).state is RunState.ABORTED
    assert run.stage.count("select_task") == 0


async def test_a_cancel_during_the_tidying_up_does_not_stop_it(client: Client) -> None:
    reached = asyncio.Event()

    async def hold(name: str, number: int) -> None:
        if name == "release_run":
            reached.set()
            for _ in range(6):
                activity.heartbeat()
                await asyncio.sleep(0.1)

    async with play(client, Script(before=hold)) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        await run.handle.signal(SdlcWorkflow.abort, Answered(by="grace"))
        await asyncio.wait_for(reached.wait(), 20)
        await run.handle.cancel()
        outcome = await run.result()
    assert outcome.state is RunState.ABORTED
    assert len(run.stage.released) == 1


async def test_abort_ends_the_run_with_an_outcome_and_gives_the_claim_back(client: Client) -> None:
    async with play(client) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        await run.handle.signal(SdlcWorkflow.abort, Answered(by="grace", reason="not needed any more"))
        outcome = await run.result()
    assert outcome.state is RunState.ABORTED
    assert run.stage.released[0].reason == "not needed any more"


async def test_after_seven_days_without_a_decision_people_are_asked_and_nothing_is_lost(
    time_skipping_env: WorkflowEnvironment,
) -> None:
    async with play(time_skipping_env.client) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        began = await time_skipping_env.get_current_time()
        await time_skipping_env.sleep(7 * 86_400 + 60)
        progress = await run.until_state(RunState.NEEDS_ATTENTION)
        assert (await time_skipping_env.get_current_time() - began).days >= 7
        assert "Nobody has decided for 7 days" in progress.waits_for
        # The state is there a moment before people are told of it.
        told = ["reminder", "reminder", "needs_attention"]
        await run.until(lambda _: [one.event for one in run.stage.told] == told)
        await run.handle.signal(SdlcWorkflow.retry, Answered(by="grace"))
        await approve(run)
        assert (await run.result()).state is RunState.CLOSED
