"""The pure decisions of a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sdlc import policy
from sdlc.config import GuardSettings, RunSettings
from sdlc.domain import (
    ApprovalDecision,
    ApprovalPolicy,
    Budget,
    ChangeSet,
    DecisionKind,
    Finding,
    GateDecision,
    Panel,
    PanelReport,
    PanelState,
    Repository,
    RunPolicy,
    RunState,
    Severity,
    SourceReport,
    SourceState,
    StepLimits,
    TestFailure,
    TestKind,
    TestOutcome,
    TestReport,
    Ticket,
    TicketStatus,
    Usage,
)
from sdlc.errors import NON_RETRYABLE
from sdlc.progress import Step

HEAD = "a" * 40
REPOSITORY = Repository(url="/forge/parcel.git", name="parcel", base_branch="main", base_sha="b" * 40)
CHANGE = ChangeSet(repository=REPOSITORY, base_sha="b" * 40, head_sha=HEAD, branch="sdlc/DEMO-1", files_changed=1)


def finding(severity: Severity = Severity.MAJOR, *, fingerprint: str = "f1", confidence: float = 1.0) -> Finding:
    return Finding(
        panel=Panel.QUALITY,
        rule="ruff:B006",
        severity=severity,
        confidence=confidence,
        file="parcel/rates.py",
        line=3,
        end_line=3,
        message="mutable default argument",
        fingerprint=fingerprint,
    )


def report(*findings: Finding, state: PanelState | None = None) -> PanelReport:
    return PanelReport(
        panel=Panel.QUALITY,
        head_sha=HEAD,
        state=state or (PanelState.FINDINGS if findings else PanelState.CLEAN),
        findings=findings,
    )


def gate(*reports: PanelReport, waived: frozenset[str] = frozenset(), rounds_left: int = 3) -> policy.GateVerdict:
    return policy.quality_gate(reports, waived=waived, rounds_left=rounds_left, policy=RunPolicy())


# --- quality gate ---------------------------------------------------------------------------


def test_clean_panels_pass() -> None:
    assert gate(report()).decision is GateDecision.PASS


def test_a_major_finding_goes_back_to_the_engine_while_rounds_are_left() -> None:
    verdict = gate(report(finding()))
    assert verdict.decision is GateDecision.FIX
    assert verdict.fingerprints == ("f1",)
    assert "parcel/rates.py:3" in verdict.reasons[0]


def test_a_major_finding_goes_to_a_person_when_no_rounds_are_left() -> None:
    verdict = gate(report(finding()), rounds_left=0)
    assert verdict.decision is GateDecision.ASK
    assert verdict.fingerprints == ("f1",)
    assert "No fix rounds" in verdict.reasons[0]


@pytest.mark.parametrize("severity", [Severity.MINOR, Severity.INFO])
def test_small_findings_are_left_for_people_to_read(severity: Severity) -> None:
    assert gate(report(finding(severity))).decision is GateDecision.PASS


def test_a_finding_that_its_source_doubts_does_not_send_the_engine_back() -> None:
    assert gate(report(finding(confidence=0.3))).decision is GateDecision.PASS


def test_a_waived_finding_holds_nothing_up() -> None:
    assert gate(report(finding()), waived=frozenset({"f1"}), rounds_left=0).decision is GateDecision.PASS


def test_an_incomplete_panel_is_never_a_pass() -> None:
    failed = SourceReport(name="bandit", state=SourceState.FAILED, note="it crashed")
    incomplete = report(state=PanelState.INCOMPLETE).model_copy(update={"sources": (failed,)})
    verdict = gate(incomplete)
    assert verdict.decision is GateDecision.ASK
    assert "bandit (it crashed)" in verdict.reasons[0]
    assert gate(incomplete, waived=frozenset(verdict.fingerprints)).decision is GateDecision.PASS


def test_what_can_be_mended_is_mended_before_a_person_is_asked_about_an_incomplete_panel() -> None:
    assert gate(report(finding()), report(state=PanelState.INCOMPLETE)).decision is GateDecision.FIX


@given(
    st.lists(st.tuples(st.sampled_from(Severity), st.floats(0, 1)), max_size=6),
    st.booleans(),
    st.integers(-1, 3),
)
def test_a_gate_that_passes_leaves_no_confident_grave_finding_and_no_incomplete_panel(
    wanted: list[tuple[Severity, float]], incomplete: bool, rounds_left: int
) -> None:
    found = [finding(s, fingerprint=f"f{i}", confidence=c) for i, (s, c) in enumerate(wanted)]
    verdict = gate(
        report(*found, state=PanelState.INCOMPLETE if incomplete else PanelState.FINDINGS), rounds_left=rounds_left
    )
    grave = [f for f in found if f.severity.rank <= Severity.MAJOR.rank and f.confidence >= 0.5]
    assert (verdict.decision is GateDecision.PASS) == (not grave and not incomplete)
    if verdict.decision is GateDecision.FIX:
        assert rounds_left > 0
    if verdict.decision is not GateDecision.PASS:
        assert gate(report(*found), waived=frozenset(verdict.fingerprints)).decision is GateDecision.PASS


# --- tests ------------------------------------------------------------------------------------


def report_of(outcome: TestOutcome, kind: TestKind = TestKind.UNIT) -> TestReport:
    return TestReport(
        kind=kind, head_sha=HEAD, outcome=outcome, failures=(TestFailure(test="tests/test_a.py::test_b"),)
    )


@pytest.mark.parametrize(
    ("outcome", "kind", "expected"),
    [
        (TestOutcome.PASSED, TestKind.UNIT, GateDecision.PASS),
        (TestOutcome.NOT_DECLARED, TestKind.INTEGRATION, GateDecision.PASS),
        (TestOutcome.FAILED, TestKind.UNIT, GateDecision.FIX),
        (TestOutcome.TIMED_OUT, TestKind.UNIT, GateDecision.FIX),
        (TestOutcome.SETUP_FAILED, TestKind.UNIT, GateDecision.ASK),
        (TestOutcome.MISSING, TestKind.UNIT, GateDecision.ASK),
        (TestOutcome.MISSING, TestKind.ACCEPTANCE, GateDecision.FIX),
    ],
)
def test_a_test_report_decides(outcome: TestOutcome, kind: TestKind, expected: GateDecision) -> None:
    assert policy.tests_gate(report_of(outcome, kind), waived=(), rounds_left=1).decision is expected


def test_red_tests_go_to_a_person_when_no_rounds_are_left() -> None:
    verdict = policy.tests_gate(report_of(TestOutcome.FAILED), waived=(), rounds_left=0)
    assert verdict.decision is GateDecision.ASK
    assert "tests/test_a.py::test_b" in verdict.reasons[-1]


def test_a_waiver_of_red_tests_counts_for_one_head_only() -> None:
    red = report_of(TestOutcome.FAILED)
    waived = policy.tests_gate(red, waived=(), rounds_left=0).fingerprints
    assert policy.tests_gate(red, waived=waived, rounds_left=0).decision is GateDecision.PASS
    later = red.model_copy(update={"head_sha": "c" * 40})
    assert policy.tests_gate(later, waived=waived, rounds_left=0).decision is GateDecision.ASK


# --- approval ---------------------------------------------------------------------------------


def decided(kind: DecisionKind = DecisionKind.APPROVE, by: str = "grace", **more: str) -> ApprovalDecision:
    return ApprovalDecision(kind=kind, by=by, **more)


def refused(decision: ApprovalDecision, **more: object) -> str | None:
    given_: dict[str, object] = {
        "policy": ApprovalPolicy(),
        "starter": ("ada",),
        "state": RunState.AWAITING_APPROVAL,
        "change": CHANGE,
        "earlier": (),
    }
    return policy.decision_refused(decision, **{**given_, **more})  # type: ignore[arg-type]


def test_an_approval_of_somebody_else_counts() -> None:
    assert refused(decided()) is None


def test_the_starter_can_not_approve_unless_one_person_works_alone() -> None:
    assert "started this run" in (refused(decided(by="ada")) or "")
    assert refused(decided(by="ada"), policy=ApprovalPolicy(allow_starter=True)) is None


def test_a_name_that_somebody_gives_themselves_is_good_for_a_refusal_and_never_for_a_right() -> None:
    disguised = decided(by="eve", also_called=("Ada",))
    assert "started" in (refused(disguised) or "")
    picky = ApprovalPolicy(approvers=("grace",))
    assert "may not decide" in (refused(decided(by="eve", also_called=("grace",)), policy=picky) or "")
    assert refused(decided(by="octo-grace", aliases=("Grace",)), policy=picky) is None


def test_two_names_of_one_person_are_one_approval() -> None:
    approvals = [decided(by="grace"), decided(by="octo-grace", aliases=("grace",))]
    two = ApprovalPolicy(required=2)
    assert policy.people_say(approvals, two) is None
    assert policy.people_say([*approvals, decided(by="kay")], two) is DecisionKind.APPROVE


def test_the_starter_may_still_ask_for_changes() -> None:
    assert refused(decided(DecisionKind.REQUEST_CHANGES, by="ada", comment="shorter")) is None


def test_the_bot_never_decides() -> None:
    assert "bot" in (refused(decided(by="sdlc-bot"), policy=ApprovalPolicy(allow_starter=True)) or "")


def test_a_decision_about_an_old_head_is_refused_with_both_heads_named() -> None:
    reason = refused(decided(head_sha="c" * 40)) or ""
    assert "cccccccccc" in reason
    assert "aaaaaaaaaa" in reason


def test_a_shortened_head_is_understood() -> None:
    assert refused(decided(head_sha=HEAD[:10])) is None


def test_only_named_approvers_decide_where_there_are_any() -> None:
    reason = refused(decided(by="mallory"), policy=ApprovalPolicy(approvers=("grace", "linus")))
    assert reason == "mallory may not decide here; grace, linus may."


def test_a_request_for_changes_needs_a_comment() -> None:
    assert "comment" in (refused(decided(DecisionKind.REQUEST_CHANGES, comment="  ")) or "")


@pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.AWAITING_APPROVAL])
def test_nothing_is_decided_while_nothing_waits(state: RunState) -> None:
    assert refused(decided(), state=state) is not None


def test_one_person_is_one_approval() -> None:
    two = ApprovalPolicy(required=2)
    assert "already" in (refused(decided(), policy=two, earlier=[decided()]) or "")
    assert policy.people_say([decided(), decided()], two) is None
    assert policy.people_say([decided(), decided(by="linus")], two) is DecisionKind.APPROVE


def test_one_refusal_is_enough() -> None:
    asked = decided(DecisionKind.REQUEST_CHANGES, by="linus", comment="no")
    assert policy.people_say([decided(), asked], ApprovalPolicy(required=2)) is DecisionKind.REQUEST_CHANGES


# --- ticket, limits ---------------------------------------------------------------------


def test_an_unknown_cost_stays_unknown_in_a_sum() -> None:
    assert (Usage(usd=1.0) + Usage(usd=None)).usd is None


def test_a_ticket_that_was_edited_or_closed_meanwhile_is_noticed() -> None:
    before = Ticket(key="DEMO-1", title="t", revision="1", status=TicketStatus.IN_PROGRESS)
    assert policy.ticket_moved(before, before) is None
    assert "edited" in (policy.ticket_moved(before, before.model_copy(update={"revision": "2"})) or "")
    assert "Done" in (policy.ticket_moved(before, before.model_copy(update={"status": "Done"})) or "")


def test_limits_come_from_the_configuration_first() -> None:
    own = RunPolicy(limits={"unit_tests": StepLimits(timeout_seconds=5)})
    assert policy.limits_for(Step.UNIT_TESTS, own).timeout_seconds == 5
    assert policy.limits_for(Step.UNIT_TESTS, RunPolicy()).timeout_seconds == 1_800
    assert policy.limits_for(Step.IMPLEMENT, RunPolicy()).timeout_seconds == 7_200


def test_errors_of_the_input_are_never_retried() -> None:
    names = policy.retry_policy(StepLimits(), RunPolicy()).non_retryable_error_types
    assert list(names or []) == list(NON_RETRYABLE)
    assert "TicketNotFound" in NON_RETRYABLE
    assert "ServiceUnavailable" not in NON_RETRYABLE


# --- consent to protected paths ---------------------------------------------------------


def test_people_consent_to_no_path_that_they_were_not_shown_and_are_asked_about_the_rest() -> None:
    missing = [f"deploy/{number:02}.yml" for number in range(23)]
    waived: set[str] = set()
    told = []
    while left := [path for path in missing if policy.path_obstacle(path) not in waived]:
        verdict = policy.consent_verdict(left)
        asked = policy.consented_paths(verdict.fingerprints)
        assert [path for path in missing if path in verdict.reasons[0]] == list(asked)
        waived.update(verdict.fingerprints)
        told.append((len(asked), "more, asked after these" in verdict.reasons[0]))
    assert told == [(10, True), (10, True), (3, False)]
    assert " and 13 more, asked after these. Waive" in policy.consent_verdict(missing).reasons[0]


def test_the_gravest_protected_paths_are_asked_about_first() -> None:
    grave = ["sub/.gitattributes", ".github/workflows/ci.yml", "Jenkinsfile", ".sdlc.yml", "docs/CODEOWNERS"]
    others = [f".claude/{number}.md" for number in range(9)]
    verdict = policy.consent_verdict([*others, *reversed(grave)])
    assert verdict.fingerprints == tuple(map(policy.path_obstacle, [*grave, *others[:5]]))


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("a b.tf", "`a b.tf`"),
        ("a`, `b.tf", "``a`, `b.tf``"),
        ("`a", "`` `a ``"),
        (".envrc\u202e\u200b", "`.envrc` (not shown of it: 1 bidirectional control, 1 zero-width character)"),
        (".claude/<!-- x -->a", "`.claude/<!-- x -->a`"),
        ("deploy/[me](http://x)@all.yml", "`deploy/[me](http://x)@all.yml`"),
    ],
)
def test_a_path_in_the_question_is_code_and_hides_nothing(path: str, shown: str) -> None:
    reason = policy.consent_verdict([path]).reasons[0]
    assert reason.startswith(f"The change touches protected paths: {shown}. Waive")


def test_of_a_long_path_both_ends_are_shown() -> None:
    shown = policy.named_paths(["deploy/" + "x/" * 2_000 + "prod.yml"])
    assert len(shown) == 202
    assert shown.startswith("`deploy/x/")
    assert shown.endswith("x/prod.yml`")
    assert "…" in shown


@pytest.mark.parametrize("bound", [{"usd": 0}, {"tokens": -1}, {"turns": 0}, {"minutes": -0.5}])
def test_a_bound_that_nothing_fits_into_is_refused_by_the_configuration(bound: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="must be above 0"):
        RunSettings(budget=Budget.model_validate(bound))


@pytest.mark.parametrize("pattern", ["", "!", " ", "../x", "a/../b", "/"])
def test_a_pattern_that_protects_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="fits no path"):
        GuardSettings(protected=(pattern,))
