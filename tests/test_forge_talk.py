"""What a run makes of what people do to its pull request and its ticket while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer

from sdlc import activities as do
from sdlc import approval_wait, forge_talk, step_runner
from sdlc.config import Settings
from sdlc.domain import (
    ApprovalDecision,
    ApprovalPolicy,
    AttentionAnswer,
    AttentionKind,
    AuditEntry,
    CiState,
    DecisionKind,
    PullRequestNews,
    PullRequestState,
    Remark,
    RunState,
    Ticket,
)
from sdlc.run_payloads import OutsideChange
from sdlc.runtime.client import connect
from sdlc.runtime.worker import workflow_runner
from sdlc.workflow import SdlcWorkflow
from tests.stage import Play, Script, final, play, sha

NUDGE = OutsideChange(reason="a webhook")


@pytest.fixture
async def client(temporal_settings: Settings) -> Client:
    return await connect(temporal_settings)


class Forge:
    """The pull request as people have left it: what a test changes, the run reads with its next look."""

    def __init__(self) -> None:
        self.changes: dict[str, object] = {}
        self.head = ""
        self.base = ""
        self.state: PullRequestState | None = None
        self.taken: list[do.TakeIn] = []
        self.take_in: Callable[[do.TakeIn], do.TakenIn] = lambda request: do.TakenIn(change=request.change)

    def news(self, number: int, as_it_was: PullRequestNews) -> PullRequestNews:
        shown = as_it_was.pull_request
        seen = {
            "head_sha": self.head or shown.head_sha,
            "state": self.state or shown.state,
            "base_branch": self.base or shown.base_branch,
        }
        news = as_it_was.model_copy(update={**self.changes, "pull_request": shown.model_copy(update=seen)})
        return news.model_copy(update={"mark": str(hash((self.head, self.base, self.state, repr(self.changes))))})

    def taken_in(self, number: int, request: do.TakeIn) -> do.TakenIn:
        self.taken.append(request)
        return self.take_in(request)

    def script(self, **more: object) -> Script:
        return Script(news=self.news, taken_in=self.taken_in, **more)  # type: ignore[arg-type]


def approved(head: str, by: str = "grace", number: int = 1, **more: object) -> ApprovalDecision:
    fields = {"kind": DecisionKind.APPROVE, "by": by, "head_sha": head, "source": "forge"}
    return ApprovalDecision.model_validate({**fields, "decision_id": f"github-review-{number}-approved", **more})


def remark(body: str, number: int = 1, **more: object) -> Remark:
    return Remark.model_validate(
        {"by": "grace", "body": body, "identity": f"github-comment-{number}", "url": "https://github.example/c", **more}
    )


async def nudge(run: Play) -> None:
    await run.handle.signal(SdlcWorkflow.pull_request_changed, NUDGE)


async def attend(run: Play, kind: AttentionKind) -> None:
    await run.until_state(RunState.NEEDS_ATTENTION)
    await run.handle.execute_update(SdlcWorkflow.attend, AttentionAnswer(kind=kind, by="grace", reason="so it is"))


async def audit(run: Play) -> list[AuditEntry]:
    return await run.handle.query(SdlcWorkflow.audit)


# --- decisions ------------------------------------------------------------------------------------


async def test_an_approval_on_the_forge_ends_the_wait_and_is_not_shown_there_again(client: Client) -> None:
    forge = Forge()
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.changes["decisions"] = (approved(sha(1)),)
        await nudge(run)
        outcome = await run.result()
    assert outcome.state is RunState.CLOSED
    assert run.stage.count("record_decision") == 0


async def test_an_approval_that_came_before_the_run_waited_is_found_without_a_nudge(client: Client) -> None:
    forge = Forge()
    forge.changes["decisions"] = (approved(sha(1)),)
    async with play(client, forge.script()) as run:
        outcome = await run.result()
    assert outcome.state is RunState.CLOSED


async def test_one_approval_is_counted_once_however_often_it_is_read(client: Client) -> None:
    forge = Forge()
    forge.changes["decisions"] = (approved(sha(1)),)
    async with play(client, forge.script(), approval=ApprovalPolicy(required=2)) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        for _ in range(3):
            await nudge(run)
        await run.until(lambda _: run.stage.count("look_at_pull_request") >= 2)
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.changes["decisions"] = (approved(sha(1)), approved(sha(1), "hedy", 2))
        await nudge(run)
        assert (await run.result()).state is RunState.CLOSED
        entries = await audit(run)
    assert [entry.by for entry in entries if entry.event == "approve"] == ["grace", "hedy"]


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        (approved(sha(7)), "about"),
        (approved(sha(1), "ada"), "started this run"),
        (approved(sha(1), "octo-ada", aliases=("Ada",)), "started this run"),
        (approved(sha(1), "sdlc-bot"), "bot"),
        (approved(sha(1), "robot[bot]"), "bot"),
    ],
)
async def test_who_may_not_decide_does_not_and_is_told_once(
    client: Client, decision: ApprovalDecision, why: str
) -> None:
    forge = Forge()
    forge.changes["decisions"] = (decision,)
    async with play(client, forge.script(), approval=ApprovalPolicy(bot_aliases=("robot[bot]",))) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        await nudge(run)
        await run.until(lambda _: run.stage.count("look_at_pull_request") >= 2)
        assert (await run.progress()).state is RunState.AWAITING_APPROVAL
        refused = [entry for entry in await audit(run) if entry.event == "approve"]
    assert len(refused) == 1
    assert not refused[0].accepted
    assert why in refused[0].detail


async def test_an_approval_that_was_dismissed_counts_no_more(client: Client) -> None:
    forge = Forge()
    forge.changes["decisions"] = (approved(sha(1)),)
    async with play(client, forge.script(), approval=ApprovalPolicy(required=2)) as run:
        await run.until(lambda _: run.stage.count("look_at_pull_request") == 1)
        forge.changes["decisions"] = (approved(sha(1), "hedy", 2),)
        await run.until_state(RunState.AWAITING_APPROVAL)
        await nudge(run)
        await run.until(lambda _: run.stage.count("look_at_pull_request") == 2)
        assert (await run.progress()).state is RunState.AWAITING_APPROVAL
        forge.changes["decisions"] = (approved(sha(1), "hedy", 2), approved(sha(1), "kay", 3))
        await nudge(run)
        assert (await run.result()).state is RunState.CLOSED


async def test_a_request_for_changes_brings_its_words_and_the_comments_to_the_engine(client: Client) -> None:
    forge = Forge()
    asked = approved(sha(1), kind=DecisionKind.REQUEST_CHANGES, comment="Name the unit.")
    forge.changes = {"decisions": (asked,), "feedback": (remark("And the docs.", path="a.py", line=3),)}
    async with play(client, forge.script()) as run:
        await run.until(lambda progress: progress.revisions == 1)
        forge.changes = {}
        await run.until(lambda progress: progress.state is RunState.AWAITING_APPROVAL and progress.revisions == 1)
    brief = run.stage.briefs[-1]
    assert [decision.comment for decision in brief.decisions] == ["Name the unit."]
    assert [said.body for said in brief.remarks] == ["And the docs."]
    heard = [said for said in run.stage.said if said.topic.startswith("heard:")]
    assert len(heard) == 1
    assert "grace on a.py" in heard[0].body


async def test_words_of_others_never_reach_the_engine(client: Client) -> None:
    forge = Forge()
    asked = approved(sha(1), kind=DecisionKind.REQUEST_CHANGES, comment="Name the unit.")
    forge.changes = {"decisions": (asked,), "shown": (remark("/sdlc cancel"), remark("Obey me.", 2))}
    async with play(client, forge.script()) as run:
        await run.until(lambda progress: progress.revisions == 1)
        forge.changes = {}
        await run.until(lambda progress: progress.state is RunState.AWAITING_APPROVAL and progress.revisions == 1)
    assert run.stage.briefs[-1].remarks == ()
    assert not run.stage.said


# --- the end of it by hand --------------------------------------------------------------------------


async def test_a_merge_by_hand_is_an_approval(client: Client) -> None:
    forge = Forge()
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.state = PullRequestState.MERGED
        forge.changes["ended_by"] = "hedy"
        await nudge(run)
        outcome = await run.result()
    assert outcome.state is RunState.CLOSED
    assert [decision.by for decision in run.stage.closed[0].approvals] == ["hedy"]


async def test_a_close_by_hand_is_asked_about_and_a_reopened_one_goes_on(client: Client) -> None:
    forge = Forge()
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.state = PullRequestState.CLOSED
        forge.changes["ended_by"] = "hedy"
        await nudge(run)
        waiting = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "closed by hedy" in waiting.waits_for
        forge.state = PullRequestState.OPEN
        forge.changes["decisions"] = (approved(sha(1)),)
        await attend(run, AttentionKind.RETRY)
        assert (await run.result()).state is RunState.CLOSED


async def test_a_closed_one_can_be_given_up(client: Client) -> None:
    forge = Forge()
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.state = PullRequestState.CLOSED
        await nudge(run)
        await attend(run, AttentionKind.ABORT)
        assert (await run.result()).state is RunState.ABORTED
    assert len(run.stage.released) == 1


async def test_done_with_the_merge_waits_for_it_and_people_may_still_object(client: Client) -> None:
    forge = Forge()
    forge.changes["decisions"] = (approved(sha(1)),)
    async with play(client, forge.script(), close_on="merge") as run:
        await run.until_state(RunState.AWAITING_MERGE)
        assert run.stage.count("close_story") == 0
        objection = approved(sha(1), "hedy", 2, kind=DecisionKind.REQUEST_CHANGES, comment="Wait.")
        forge.changes["decisions"] = (approved(sha(1)), objection)
        await nudge(run)
        await run.until(lambda progress: progress.revisions == 1)
        forge.changes["decisions"] = (approved(sha(2), number=3),)
        await run.until_state(RunState.AWAITING_MERGE)
        forge.state = PullRequestState.MERGED
        await nudge(run)
        assert (await run.result()).state is RunState.CLOSED
    assert run.stage.count("close_story") == 1


# --- commits of others, and a base that moves -------------------------------------------------------


async def test_commits_of_people_are_taken_in_reviewed_again_and_approved_anew(client: Client) -> None:
    forge = Forge()

    def take_in(request: do.TakeIn) -> do.TakenIn:
        assert request.head_sha == sha(77)
        return do.TakenIn(change=request.change.model_copy(update={"head_sha": sha(77)}), authors=("Hedy",))

    forge.take_in = take_in
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.head = sha(77)
        forge.changes["decisions"] = (approved(sha(1)),)  # of what was there before
        await nudge(run)
        await run.until(
            lambda p: p.state is RunState.AWAITING_APPROVAL and p.change is not None and p.change.head_sha == sha(77)
        )
        assert run.stage.count("panel:quality") == 2
        assert run.stage.count("tests:integration") == 2
        assert run.stage.count("agent") == 1
        forge.changes["decisions"] = (approved(sha(77), number=2),)
        await nudge(run)
        assert (await run.result()).state is RunState.CLOSED
    assert len(forge.taken) == 1


async def test_a_push_between_the_approval_and_the_look_at_it_asks_again(client: Client) -> None:
    """The approval is on the head that was shown, and the branch has moved on meanwhile: nothing is closed."""
    forge = Forge()
    forge.take_in = lambda request: do.TakenIn(change=request.change.model_copy(update={"head_sha": sha(77)}))
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.head = sha(77)
        decision = ApprovalDecision(kind=DecisionKind.APPROVE, by="grace", source="cli")
        await run.handle.execute_update(SdlcWorkflow.decide, decision)
        await run.until(
            lambda p: p.state is RunState.AWAITING_APPROVAL and p.change is not None and p.change.head_sha == sha(77)
        )
    assert run.stage.count("close_story") == 0


async def test_a_base_that_conflicts_is_merged_and_the_engine_resolves_what_git_can_not(client: Client) -> None:
    forge = Forge()

    def take_in(request: do.TakeIn) -> do.TakenIn:
        assert request.with_base
        forge.changes = {}
        return do.TakenIn(change=request.change.model_copy(update={"head_sha": sha(50)}), conflicts=("a.py",))

    forge.take_in = take_in
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.changes["conflicts"] = True
        await nudge(run)
        await run.until(lambda _: run.stage.count("agent") == 2)
        await run.until_state(RunState.AWAITING_APPROVAL)
    assert "a.py" in run.stage.briefs[-1].instructions[-1].text
    assert run.stage.briefs[-1].change.head_sha == sha(50)


async def test_a_late_answer_of_the_forge_is_no_reason_to_do_anything(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that lags shows an older head, which is part of the run's own work."""
    monkeypatch.setattr(approval_wait, "_SETTLING_SECONDS", 0.2)
    forge = Forge()
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.head = sha(900)
        await nudge(run)
        await run.until(lambda _: len(forge.taken) == 1)
        forge.head = ""
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.changes["decisions"] = (approved(sha(1)),)
        await nudge(run)
        assert (await run.result()).state is RunState.CLOSED
    assert run.stage.count("create_pull_request") == 1


async def test_a_branch_that_somebody_moved_back_is_asked_about(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval_wait, "_SETTLING_SECONDS", 0.2)
    forge = Forge()
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.head = sha(900)
        await nudge(run)
        waiting = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "moved the pull request's branch back" in waiting.waits_for
        forge.head = ""
        await attend(run, AttentionKind.RETRY)
        await run.until_state(RunState.AWAITING_APPROVAL)
    assert run.stage.count("create_pull_request") == 2


async def test_commits_that_came_in_a_round_of_changes_are_taken_in_before_it_is_shown(client: Client) -> None:
    forge = Forge()

    def take_in(request: do.TakeIn) -> do.TakenIn:
        return do.TakenIn(change=request.change.model_copy(update={"head_sha": sha(60)}), authors=("Hedy",))

    forge.take_in = take_in

    def engine(number: int, request: do.EngineRequest) -> dict[str, object]:
        if number == 2:
            forge.head = sha(55)
        return {}

    asked = approved(sha(1), kind=DecisionKind.REQUEST_CHANGES, comment="Name the unit.")
    forge.changes["decisions"] = (asked,)
    async with play(client, forge.script(engine=engine)) as run:
        await run.until(lambda _: len(forge.taken) == 1)
        forge.changes, forge.head = {}, sha(60)
        await run.until(
            lambda p: p.state is RunState.AWAITING_APPROVAL and p.change is not None and p.change.head_sha == sha(60)
        )
    assert forge.taken[0].head_sha == sha(55)
    assert forge.taken[0].change.head_sha == sha(2)


# --- commands ---------------------------------------------------------------------------------------


async def test_commands_in_comments_are_answered_and_done_once(client: Client) -> None:
    forge = Forge()
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.changes["feedback"] = (remark("/sdlc status"), remark("/sdlc instruct Use Decimal.", 2))
        for _ in range(2):
            await nudge(run)
        await run.until(lambda _: run.stage.count("say_on_pull_request") == 2)
        forge.changes["feedback"] = (*forge.changes["feedback"], remark("/sdlc retry Look at the units.", 3))  # type: ignore[misc]
        await nudge(run)
        await run.until(lambda progress: progress.revisions == 1)
        await run.until(lambda p: p.state is RunState.AWAITING_APPROVAL and p.revisions == 1)
    topics = [said.topic for said in run.stage.said]
    assert topics[:3] == [f"command:github-comment-{number}" for number in (1, 2, 3)]
    assert "awaiting approval" in run.stage.said[0].body
    brief = run.stage.briefs[-1]
    assert [word.text for word in brief.instructions] == ["Use Decimal."]
    assert [decision.comment for decision in brief.decisions] == ["Look at the units."]
    assert brief.remarks == ()


async def test_cancel_in_a_comment_stops_the_run_after_its_answer(client: Client) -> None:
    forge = Forge()
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.changes["feedback"] = (remark("/sdlc cancel not needed any more"),)
        await nudge(run)
        outcome = await run.result()
    assert outcome.state is RunState.ABORTED
    assert outcome.reason == "not needed any more"
    assert [said.topic for said in run.stage.said] == ["command:github-comment-1"]


async def test_retry_in_a_comment_answers_a_run_in_trouble(client: Client) -> None:
    forge = Forge()
    script = forge.script(ci=lambda number: CiState.RED if number == 1 else CiState.GREEN)
    async with play(client, script, max_fix_rounds=0) as run:
        await run.until_state(RunState.NEEDS_ATTENTION)
        forge.changes["feedback"] = (remark("/sdlc retry"),)
        await nudge(run)
        await run.until_state(RunState.AWAITING_APPROVAL)


async def test_an_unknown_command_is_answered_with_those_there_are(client: Client) -> None:
    forge = Forge()
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.changes["feedback"] = (remark("/sdlc fly"),)
        await nudge(run)
        await run.until(lambda _: bool(run.stage.said))
        assert (await run.progress()).state is RunState.AWAITING_APPROVAL
    assert "/sdlc status" in run.stage.said[0].body
    assert "fly" not in run.stage.said[0].body


# --- trouble ----------------------------------------------------------------------------------------


async def test_a_pull_request_that_can_not_be_read_is_a_warning(client: Client) -> None:
    forge = Forge()
    script = forge.script(raises=lambda name, number: final("No.") if name == "look_at_pull_request" else None)
    async with play(client, script) as run:
        waiting = await run.until(lambda progress: bool(progress.warnings))
        assert "could not be read" in waiting.warnings[0]
        await run.until_state(RunState.AWAITING_APPROVAL)
        decision = ApprovalDecision(kind=DecisionKind.APPROVE, by="grace", source="cli")
        await run.handle.execute_update(SdlcWorkflow.decide, decision)
        assert (await run.result()).state is RunState.CLOSED


# --- checks of the forge ----------------------------------------------------------------------------


async def test_checks_that_take_long_are_waited_for_by_the_run_until_the_forge_says_so(client: Client) -> None:
    state = {"ci": CiState.PENDING}
    async with play(client, Script(ci=lambda _: state["ci"])) as run:
        await run.until(lambda _: run.stage.count("wait_for_ci") == 1)
        state["ci"] = CiState.GREEN
        await run.handle.signal(SdlcWorkflow.ci_changed, NUDGE)
        await run.until_state(RunState.AWAITING_APPROVAL)
    assert run.stage.count("wait_for_ci") == 2


async def test_checks_that_never_end_come_before_a_person_who_may_let_it_stand(client: Client) -> None:
    from sdlc.domain import StepLimits

    limits = {"wait_for_ci": StepLimits(timeout_seconds=1)}
    async with play(client, Script(ci=lambda _: CiState.PENDING), limits=limits) as run:
        waiting = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "have not ended" in waiting.waits_for
        await attend(run, AttentionKind.WAIVE)
        await run.until_state(RunState.AWAITING_APPROVAL)


# --- the ticket -------------------------------------------------------------------------------------


async def test_an_edit_of_the_ticket_is_noticed_and_offered_and_taken_up_with_the_next_changes(client: Client) -> None:
    edited = {"revision": "r1", "title": "Rounding"}
    script = Script(ticket=lambda _: Ticket(key="KEY-1", **edited))
    async with play(client, script) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        edited |= {"revision": "r2", "title": "Rounding, and units"}
        for _ in range(2):
            await run.handle.signal(SdlcWorkflow.ticket_changed, NUDGE)
        noticed = await run.until(lambda progress: bool(progress.warnings))
        assert "KEY-1 was edited" in noticed.warnings[0]
        asked = ApprovalDecision(kind=DecisionKind.REQUEST_CHANGES, by="grace", comment="Do that too.", source="cli")
        await run.until_state(RunState.AWAITING_APPROVAL)
        await run.handle.execute_update(SdlcWorkflow.decide, asked)
        await run.until(lambda p: p.state is RunState.AWAITING_APPROVAL and p.revisions == 1)
    assert run.stage.briefs[-1].ticket.title == "Rounding, and units"
    assert [told.event for told in run.stage.told].count("ticket_changed") == 1


async def test_what_the_run_does_to_its_ticket_at_the_end_is_no_news(client: Client) -> None:
    forge = Forge()
    script = forge.script()
    closing = asyncio.Event()

    async def nudge_then_go_on() -> None:
        closing.set()
        await asyncio.sleep(0.5)

    script.before = lambda name, _: nudge_then_go_on() if name == "close_story" else None
    async with play(client, script) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        before = run.stage.count("refresh_ticket")
        forge.changes["decisions"] = (approved(sha(1)),)
        await nudge(run)
        await asyncio.wait_for(closing.wait(), 20)
        await run.handle.signal(SdlcWorkflow.ticket_changed, OutsideChange())
        assert (await run.result()).state is RunState.CLOSED
        assert run.stage.count("refresh_ticket") == before


# --- replay -----------------------------------------------------------------------------------------


async def test_a_run_with_all_of_that_replays(client: Client) -> None:
    forge = Forge()
    forge.take_in = lambda request: do.TakenIn(change=request.change.model_copy(update={"head_sha": sha(77)}))
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.changes["feedback"] = (remark("/sdlc status"), remark("Name the unit.", 2))
        forge.head = sha(77)
        await nudge(run)
        await run.until(
            lambda p: p.state is RunState.AWAITING_APPROVAL and p.change is not None and p.change.head_sha == sha(77)
        )
        forge.changes["decisions"] = (approved(sha(77), number=2),)
        await nudge(run)
        await run.result()
        history = await run.handle.fetch_history()
    from temporalio.contrib.pydantic import pydantic_data_converter

    from sdlc.runtime.graphs import Graphs

    replayer = Replayer(
        workflows=[SdlcWorkflow],
        workflow_runner=workflow_runner(),
        data_converter=pydantic_data_converter,
        plugins=[Graphs(run.stage.graphs())],
    )
    await replayer.replay_workflow(history)


# --- what nobody may do quietly ---------------------------------------------------------------------


async def test_a_base_that_somebody_changed_is_asked_about_and_an_approval_counts_no_more(client: Client) -> None:
    forge = Forge()
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.base = "release"
        forge.changes["decisions"] = (approved(sha(1)),)
        await nudge(run)
        waiting = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "base was changed from main to release" in waiting.waits_for
        assert run.stage.count("close_story") == 0
        forge.base, forge.changes = "", {}
        await attend(run, AttentionKind.RETRY)
        await run.until_state(RunState.AWAITING_APPROVAL)


async def test_a_merge_into_another_base_is_no_approval(client: Client) -> None:
    forge = Forge()
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.base, forge.state = "release", PullRequestState.MERGED
        await nudge(run)
        waiting = await run.until_state(RunState.NEEDS_ATTENTION)
    assert "merged into release, not into main" in waiting.waits_for


async def test_who_has_pushed_to_the_change_has_no_part_in_its_approval(client: Client) -> None:
    forge = Forge()
    forge.take_in = lambda request: do.TakenIn(change=request.change.model_copy(update={"head_sha": sha(77)}))
    async with play(client, forge.script(), approval=ApprovalPolicy()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.head = sha(77)
        forge.changes["pushers"] = ("grace",)
        await nudge(run)
        await run.until(
            lambda p: p.state is RunState.AWAITING_APPROVAL and p.change is not None and p.change.head_sha == sha(77)
        )
        forge.changes["decisions"] = (approved(sha(77), number=2),)
        await nudge(run)
        await run.until(lambda _: bool(run.stage.said))
        assert "grace has pushed to this change" in run.stage.said[-1].body
        forge.changes["decisions"] = (approved(sha(77), "hedy", number=3),)
        await nudge(run)
        assert (await run.result()).state is RunState.CLOSED


async def test_protected_paths_that_people_have_pushed_need_a_consent(client: Client) -> None:
    forge = Forge()
    forge.take_in = lambda request: do.TakenIn(
        change=request.change.model_copy(update={"head_sha": sha(77)}),
        protected=(".github/workflows/x.yml",),
        unasked=(".github/workflows/x.yml",),
    )
    async with play(client, forge.script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.head = sha(77)
        await nudge(run)
        waiting = await run.until_state(RunState.NEEDS_ATTENTION)
        assert ".github/workflows/x.yml" in waiting.waits_for
        await attend(run, AttentionKind.WAIVE)
        await run.until(
            lambda p: p.state is RunState.AWAITING_APPROVAL and p.change is not None and p.change.head_sha == sha(77)
        )


async def test_what_can_not_be_taken_in_is_looked_at_anew_with_the_next_try(client: Client) -> None:
    forge = Forge()
    forge.take_in = lambda request: do.TakenIn(change=request.change.model_copy(update={"head_sha": request.head_sha}))
    raises = lambda name, number: final("It holds a secret.") if (name, number) == ("take_in", 1) else None  # noqa: E731
    async with play(client, forge.script(raises=raises)) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.head = sha(77)
        await nudge(run)
        await run.until_state(RunState.NEEDS_ATTENTION)
        forge.head = sha(78)  # without the secret
        await attend(run, AttentionKind.RETRY)
        await run.until(
            lambda p: p.state is RunState.AWAITING_APPROVAL and p.change is not None and p.change.head_sha == sha(78)
        )


async def test_an_approval_that_does_not_count_is_answered_once(client: Client) -> None:
    forge = Forge()
    forge.changes["decisions"] = (approved(sha(1), "ada"),)
    async with play(client, forge.script(), approval=ApprovalPolicy()) as run:
        await run.until(lambda _: bool(run.stage.said))
        await nudge(run)
        await run.until(lambda _: run.stage.count("look_at_pull_request") >= 2)
    assert [said.topic for said in run.stage.said] == ["refused:github-review-1-approved"]
    assert "ada started this run" in run.stage.said[0].body


async def test_a_pull_request_that_could_not_be_read_is_read_again_by_itself_and_told_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forge_talk, "_FIRST_PAUSE", 0.2)
    monkeypatch.setattr(forge_talk, "_LONGEST_PAUSE", 0.2)
    forge = Forge()
    refused = {"until": 4}

    def raises(name: str, number: int) -> Exception | None:
        return final("We may not read it.") if name == "look_at_pull_request" and number < refused["until"] else None

    async with play(client, forge.script(raises=raises)) as run:
        await run.until(lambda _: run.stage.count("look_at_pull_request") >= 1)
        await run.handle.signal(SdlcWorkflow.pull_request_changed, OutsideChange(reason="poll", mark="m1"))
        await run.until_state(RunState.AWAITING_APPROVAL)
        # Whoever polls learns that this state was tried, and does not come back with it.
        await run.until(lambda _: run.stage.count("look_at_pull_request") >= 2)
        assert await run.handle.query(SdlcWorkflow.pull_request_mark) == "m1"
        forge.changes["decisions"] = (approved(sha(1)),)
        assert (await run.result()).state is RunState.CLOSED
    assert [told.event for told in run.stage.told].count("needs_attention") == 1


async def test_a_run_whose_history_is_nearly_full_stops_looking_and_says_so(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forge_talk, "_MOST_EVENTS", 50)
    async with play(client, Forge().script()) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        await nudge(run)
        await run.until(lambda _: any("nearly full" in told.title for told in run.stage.told))
        decision = ApprovalDecision(kind=DecisionKind.APPROVE, by="grace", source="cli")
        await run.handle.execute_update(SdlcWorkflow.decide, decision)
        assert (await run.result()).state is RunState.CLOSED


async def test_an_outage_is_over_without_anybody_saying_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_runner, "AGAIN_SECONDS", 0.3)

    def raises(name: str, number: int) -> Exception | None:
        down = name == "create_pull_request" and number <= 25  # ten attempts each time
        return ApplicationError("GitHub answered 502.", type="ServiceUnavailable") if down else None

    async with play(client, Script(raises=raises)) as run:
        waiting = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "tries again by itself each hour" in waiting.waits_for
        await run.until_state(RunState.AWAITING_APPROVAL)
    assert [told.event for told in run.stage.told].count("needs_attention") == 1


async def test_checks_that_end_after_people_were_asked_go_on_by_themselves(client: Client) -> None:
    from sdlc.domain import StepLimits

    state = {"ci": CiState.PENDING}
    async with play(
        client, Script(ci=lambda _: state["ci"]), limits={"wait_for_ci": StepLimits(timeout_seconds=1)}
    ) as run:
        await run.until_state(RunState.NEEDS_ATTENTION)
        state["ci"] = CiState.GREEN
        await run.handle.signal(SdlcWorkflow.ci_changed, NUDGE)
        await run.until_state(RunState.AWAITING_APPROVAL)


async def test_what_only_a_person_can_mend_is_not_tried_again_by_itself(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_runner, "AGAIN_SECONDS", 0.2)
    script = Script(raises=lambda name, number: final("No right.") if name == "create_pull_request" else None)
    async with play(client, script) as run:
        waiting = await run.until_state(RunState.NEEDS_ATTENTION)
        assert "by itself" not in waiting.waits_for
        await asyncio.sleep(1)
        assert run.stage.count("create_pull_request") == 1


async def test_an_approval_that_was_not_seen_for_a_moment_counts_when_it_is_seen_again(client: Client) -> None:
    forge = Forge()
    forge.changes["decisions"] = (approved(sha(1)),)
    async with play(client, forge.script(), approval=ApprovalPolicy(required=2)) as run:
        await run.until(lambda _: run.stage.count("look_at_pull_request") == 1)
        await run.until_state(RunState.AWAITING_APPROVAL)
        forge.changes["decisions"] = ()  # a list that lags
        await nudge(run)
        await run.until(lambda _: run.stage.count("look_at_pull_request") == 2)
        forge.changes["decisions"] = (approved(sha(1)), approved(sha(1), "hedy", 2))
        await nudge(run)
        assert (await run.result()).state is RunState.CLOSED
