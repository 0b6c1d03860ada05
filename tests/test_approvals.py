"""Who may decide about a run, for how long they are waited for, and the trail of what they decided."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from sdlc.audit_chain import chained, why_broken
from sdlc.config import Settings
from sdlc.config.approvals import ApprovalSettings, expanded, policy_for
from sdlc.domain import (
    ApprovalDecision,
    ApprovalPolicy,
    AttentionAnswer,
    AttentionKind,
    AuditEntry,
    DecisionKind,
    MessageReceipt,
    RunState,
)
from sdlc.errors import ConfigurationError
from sdlc.policy import effective
from sdlc.progress import StepState
from sdlc.run_card import MEMO, RunCard
from sdlc.run_messages import MOST_REFUSALS
from sdlc.run_payloads import Reassigned
from sdlc.runtime.client import connect
from sdlc.workflow import SdlcWorkflow
from tests.stage import Play, Script, play


@pytest.fixture
async def client(temporal_settings: Settings) -> Client:
    return await connect(temporal_settings)


async def decide(run: Play, by: str, kind: DecisionKind = DecisionKind.APPROVE, **more: object) -> MessageReceipt:
    fields = {"kind": kind, "by": by, "source": "cli", **more}
    return await run.handle.execute_update(SdlcWorkflow.decide, ApprovalDecision.model_validate(fields))


async def audit(run: Play) -> list[AuditEntry]:
    return await run.handle.query(SdlcWorkflow.audit)


# --- policy -----------------------------------------------------------------------------------------


GENERAL = ApprovalPolicy(approvers=("@team", "kay"), escalate_to=("@heads",))


def test_a_repositorys_own_policy_goes_over_the_general_one() -> None:
    special = (
        ApprovalSettings(repositories=("acme/bill*",), required=2, approvers=("@money",)),
        ApprovalSettings(repositories=("*",), required=3),
    )
    assert policy_for("Acme/Billing", GENERAL, special).required == 2
    assert policy_for("acme/billing", GENERAL, special).approvers == ("@money",)
    assert policy_for("acme/web", GENERAL, special).required == 3
    assert policy_for("acme/web", GENERAL, special).escalate_to == ("@heads",)
    assert policy_for("acme/web", GENERAL, ()) == GENERAL


def test_groups_become_people_and_an_unknown_one_is_named() -> None:
    groups = {"team": ("ada", "kay"), "heads": ("grace",)}
    assert expanded(GENERAL, groups).approvers == ("ada", "kay")
    assert expanded(GENERAL, groups).escalate_to == ("grace",)
    with pytest.raises(ConfigurationError, match="names @team, and there is no such group"):
        expanded(GENERAL, {"heads": ()})


@pytest.mark.parametrize(
    ("policy", "situation", "approvers", "required"),
    [
        (ApprovalPolicy(), {}, (), 1),
        (ApprovalPolicy(), {"owners": ("kay",)}, (), 1),
        (ApprovalPolicy(code_owners=True), {"owners": ("kay",)}, ("kay",), 1),
        (ApprovalPolicy(code_owners=True, approvers=("ada",)), {"owners": ("kay", "ada")}, ("ada", "kay"), 1),
        (ApprovalPolicy(approvers=("ada",), escalate_to=("grace",)), {"escalated": True}, ("ada", "grace"), 1),
        (ApprovalPolicy(escalate_to=("grace",)), {"escalated": True}, (), 1),
        (ApprovalPolicy(approvers=("ada",)), {"assigned": ("kay",)}, ("kay",), 1),
        (ApprovalPolicy(protected_required=2), {"protected": True}, (), 2),
        (ApprovalPolicy(required=3, protected_required=2), {"protected": True}, (), 3),
    ],
)
def test_the_policy_as_it_stands_at_a_moment(
    policy: ApprovalPolicy, situation: dict[str, object], approvers: tuple[str, ...], required: int
) -> None:
    now = effective(policy, **situation)  # type: ignore[arg-type]
    assert (now.approvers, now.required) == (approvers, required)


# --- at work ----------------------------------------------------------------------------------------


async def test_a_refused_decision_is_told_at_once_and_stands_in_the_trail(client: Client) -> None:
    async with play(client, approval=ApprovalPolicy(approvers=("grace",))) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        refused = await decide(run, "eve")
        assert (refused.accepted, refused.message) == (False, "eve may not decide here; grace may.")
        assert (await decide(run, "grace")).accepted
        await run.result()
        entries = await audit(run)
    assert [(entry.by, entry.accepted) for entry in entries if entry.event == "approve"] == [
        ("eve", False),
        ("grace", True),
    ]
    assert why_broken(entries) is None


async def test_a_decision_counts_from_where_the_policy_says(client: Client) -> None:
    async with play(client, approval=ApprovalPolicy(sources=("web", "forge"))) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        assert "decide by web or forge" in (await decide(run, "grace")).message
        assert (await decide(run, "grace", source="web")).accepted
        assert (await run.result()).state is RunState.CLOSED


async def test_two_people_who_decide_at_once_the_first_wins_and_the_second_is_told(client: Client) -> None:
    async with play(client) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        first = await decide(run, "grace", DecisionKind.REJECT)
        second = await decide(run, "kay")
        assert first.accepted
        assert not second.accepted
        assert (await run.result()).state is RunState.REJECTED


async def test_others_can_be_asked_in_place_of_those_who_were(client: Client) -> None:
    async with play(client, approval=ApprovalPolicy(approvers=("grace",))) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        handed = await run.handle.execute_update(
            SdlcWorkflow.hand_on, Reassigned(by="eve", to=("eve",), reason="let me")
        )
        assert handed.message == "eve may not hand it on; grace may."
        handed = await run.handle.execute_update(SdlcWorkflow.hand_on, Reassigned(by="grace", to=("kay",)))
        assert handed.accepted
        assert "kay may" in (await decide(run, "grace")).message
        await run.until(lambda _: any("kay shall decide" in told.title for told in run.stage.told))
        assert (await decide(run, "kay")).accepted
        assert (await run.result()).state is RunState.CLOSED


async def test_nobody_chooses_who_judges_their_own_work(client: Client) -> None:
    script = Script(owners=("@kay",))
    async with play(client, script, approval=ApprovalPolicy(code_owners=True)) as run:
        for by in ("ada", "eve"):
            said = await run.handle.execute_update(SdlcWorkflow.hand_on, Reassigned(by=by, to=("amy",)))
            assert not said.accepted
        await run.until_state(RunState.AWAITING_APPROVAL)
        said = await run.handle.execute_update(SdlcWorkflow.hand_on, Reassigned(by="kay", to=("a\x1b]0;x\x07",)))
        assert "can't be shown" in said.message
        said = await run.handle.execute_update(
            SdlcWorkflow.hand_on, Reassigned(by="ada", aliases=("kay",), to=("amy",))
        )
        assert said.message == "ada started this run; somebody else has to say who decides."
        assert "may not decide" in (await decide(run, "amy")).message


async def test_those_who_may_decide_later_do_not_hand_it_to_themselves(client: Client) -> None:
    approval = ApprovalPolicy(approvers=("grace",), escalate_to=("kay",))
    async with play(client, approval=approval) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        said = await run.handle.execute_update(SdlcWorkflow.hand_on, Reassigned(by="kay", to=("kay",)))
        assert said.message == "kay may not hand it on; grace may."


async def test_a_signal_is_from_a_signal_and_gives_nobody_another_s_name(client: Client) -> None:
    async with play(client, approval=ApprovalPolicy(approvers=("grace",))) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        await run.handle.signal("approve", {"by": "mallory", "aliases": ["grace"], "source": "web"})
        await run.handle.signal("reassign", {"by": "mallory", "aliases": ["grace"], "to": ["mallory"]})
        entries = [entry for entry in await audit(run) if entry.by == "mallory"]
        assert [(entry.source, entry.accepted) for entry in entries] == [("signal", False)] * 2


async def test_refused_decisions_do_not_use_up_what_a_run_can_hear(client: Client) -> None:
    async with play(client) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        for _ in range(MOST_REFUSALS):
            assert not (await decide(run, "grace", head_sha="f" * 40)).accepted
        size = (await run.handle.describe()).raw_description.workflow_execution_info.history_length
        for _ in range(20):
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await decide(run, "grace", head_sha="f" * 40)
            assert "look at it again" in str(refused.value.cause)
        after = (await run.handle.describe()).raw_description.workflow_execution_info.history_length
        assert after - size < 20
        assert (await decide(run, "grace")).accepted
        assert (await run.result()).state is RunState.CLOSED


async def test_consent_to_a_protected_path_is_given_when_it_is_asked_for(client: Client) -> None:
    async with play(client) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        ahead = AttentionAnswer(
            kind=AttentionKind.WAIVE, by="grace", reason="fine", fingerprints=("protected:.github/workflows/ci.yml",)
        )
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await run.handle.execute_update(SdlcWorkflow.attend, ahead)
        assert "when the run asks for it" in str(refused.value.cause)
        named = ahead.model_copy(update={"fingerprints": ("abc123",), "source": "web"})
        await run.handle.execute_update(SdlcWorkflow.attend, named)
        (waived,) = [entry for entry in await audit(run) if entry.event == "waive"]
        assert (waived.source, waived.detail) == ("web", "fine (abc123)")


async def test_after_a_while_others_may_decide_too_and_are_told(client: Client) -> None:
    approval = ApprovalPolicy(
        approvers=("grace",), escalate_to=("kay",), escalate_seconds=0.5, reminder_seconds=(0.2,), deadline_seconds=60
    )
    async with play(client, approval=approval) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        assert not (await decide(run, "kay")).accepted
        await run.until(lambda _: any(told.event == "escalation" for told in run.stage.told))
        await run.until(lambda _: any(told.event == "reminder" for told in run.stage.told))
        assert (await decide(run, "kay")).accepted
        assert (await run.result()).state is RunState.CLOSED


async def test_a_channel_that_is_down_keeps_nobody_waiting(client: Client) -> None:
    script = Script(
        raises=lambda name, _: (
            ApplicationError("down", type="ServiceUnavailable") if name in ("announce", "tell_people") else None
        )
    )
    async with play(client, script, first_retry_seconds=30) as run:
        waiting = await run.until_state(RunState.AWAITING_APPROVAL)
        assert waiting.steps[14].state is StepState.DONE
        assert (await decide(run, "grace", DecisionKind.REJECT, comment="no")).accepted
        await run.until_state(RunState.REJECTED)


async def test_each_notice_has_an_occasion_of_its_own(client: Client) -> None:
    approval = ApprovalPolicy(reminder_seconds=(0.1, 0.2), deadline_seconds=60)
    async with play(client, approval=approval) as run:
        await run.until(lambda _: [told.event for told in run.stage.told].count("reminder") == 2)
        occasions = [told.occasion for told in run.stage.told]
    assert len(set(occasions)) == len(occasions)


@pytest.mark.parametrize(
    "bad",
    [
        {"deadline_seconds": float("inf")},
        {"deadline_seconds": -5},
        {"reminder_seconds": (float("nan"),)},
        {"escalate_seconds": 0},
        {"sources": ("webb",)},
    ],
    ids=str,
)
def test_a_policy_that_no_run_could_follow_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ApprovalPolicy.model_validate(bad)


async def test_owners_of_the_changed_files_may_decide_where_the_policy_says(client: Client) -> None:
    script = Script(owners=("@kay", "grace@acme.example"))
    async with play(client, script, approval=ApprovalPolicy(code_owners=True)) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        assert "may not decide" in (await decide(run, "eve")).message
        assert (await decide(run, "kay")).accepted
        assert (await run.result()).state is RunState.CLOSED


# --- what lists show --------------------------------------------------------------------------------


async def test_the_card_in_the_memo_follows_the_run(client: Client) -> None:
    async with play(client, approval=ApprovalPolicy(required=2)) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)

        async def card() -> RunCard:
            return RunCard.model_validate((await (await run.handle.describe()).memo())[MEMO])

        waiting = await card()
        assert (waiting.state, waiting.required, waiting.approved_by) == (RunState.AWAITING_APPROVAL, 2, ())
        assert waiting.waiting_since is not None
        assert waiting.risk.files == 1
        assert waiting.risk.proof == 1
        await decide(run, "grace")
        assert (await card()).approved_by == ("grace",)
        await decide(run, "kay")
        await run.result()
        closed = await card()
    assert (closed.state, closed.waiting_since) == (RunState.CLOSED, None)
    assert closed.ended is not None
    assert closed.pull_request_at is not None


# --- the trail --------------------------------------------------------------------------------------


def trail(*events: str) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for event in events:
        entry = AuditEntry(at=datetime(2026, 1, 1, tzinfo=UTC), event=event, by="ada", detail="ö ✓")
        entries.append(chained(entry, entries[-1] if entries else None))
    return entries


def test_a_whole_trail_is_whole_also_after_a_way_through_json() -> None:
    entries = trail("approve", "reject", "retry")
    assert why_broken([AuditEntry.model_validate_json(entry.model_dump_json()) for entry in entries]) is None
    assert why_broken([]) is None


@pytest.mark.parametrize("field", ["event", "by", "source", "head_sha", "detail"])
def test_a_changed_entry_is_found(field: str) -> None:
    entries = trail("approve", "reject", "retry")
    entries[1] = entries[1].model_copy(update={field: "forged"})
    assert why_broken(entries) == "Entry 2 was changed after it was written."


def test_an_entry_that_was_left_out_moved_or_added_is_found() -> None:
    one, two, three = trail("approve", "reject", "retry")
    for broken in ([one, three], [two, three], [one, three, two], [one, one, two, three]):
        assert "does not follow" in (why_broken(broken) or "")
