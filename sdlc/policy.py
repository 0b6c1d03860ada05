"""The decisions of a run, all of them pure: what the gate says, who may approve, how long a step may take.

What holds a run up has a name, an *obstacle*: a finding's fingerprint, or `unit_tests@<sha>`,
`panel:security@<sha>` and the like. A waiver is a set of such names, so one that was given for
a step counts for one head only, and one that was given for a finding lasts as long as the finding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta

from temporalio.common import RetryPolicy

from sdlc.domain import (
    ApprovalDecision,
    ApprovalPolicy,
    Budget,
    ChangeSet,
    DecisionKind,
    Finding,
    GateDecision,
    GateVerdict,
    PanelReport,
    PanelState,
    RunPolicy,
    RunState,
    SourceState,
    StepLimits,
    TestKind,
    TestOutcome,
    TestReport,
    Ticket,
    TicketStatus,
    Usage,
)
from sdlc.errors import NON_RETRYABLE
from sdlc.progress import Step
from sdlc.repeats import MINIMUM_CONFIDENCE

# --- time-outs and retries ----------------------------------------------------------------

_DEFAULT_LIMITS: dict[Step, StepLimits] = {
    Step.SELECT_TASK: StepLimits(timeout_seconds=600, attempts=10),
    Step.IMPLEMENT: StepLimits(timeout_seconds=7_200, attempts=3),
    Step.UNIT_TESTS: StepLimits(timeout_seconds=1_800, attempts=3),
    Step.INTEGRATION_TESTS: StepLimits(timeout_seconds=1_800, attempts=3),
    Step.STATIC_CHECKS: StepLimits(timeout_seconds=1_800, attempts=3),
    Step.ACCEPTANCE: StepLimits(timeout_seconds=3_600, attempts=3),
    Step.WAIT_FOR_CI: StepLimits(timeout_seconds=7_200, attempts=10),
}
_OTHER_LIMITS = StepLimits(timeout_seconds=600, attempts=10)
"""Ten attempts, half a minute to five minutes apart, see a service through about half an hour of trouble."""


def limits_for(step: Step, policy: RunPolicy) -> StepLimits:
    """Time-out and attempts of a step: the configuration's, else the default."""
    return policy.limits.get(step.key) or _DEFAULT_LIMITS.get(step, _OTHER_LIMITS)


def retry_policy(limits: StepLimits, policy: RunPolicy) -> RetryPolicy:
    """Retries where the world is at fault, none where the input is (`sdlc.errors`)."""
    return RetryPolicy(
        initial_interval=timedelta(seconds=policy.first_retry_seconds),
        maximum_interval=timedelta(seconds=max(policy.first_retry_seconds, policy.longest_retry_seconds)),
        maximum_attempts=limits.attempts,
        non_retryable_error_types=list(NON_RETRYABLE),
    )


# --- obstacles ----------------------------------------------------------------------------


def panel_obstacle(report: PanelReport) -> str:
    return f"panel:{report.panel.value}@{report.head_sha}"


def tests_obstacle(report: TestReport) -> str:
    return f"{report.kind.value}@{report.head_sha}"


# --- step 7 -------------------------------------------------------------------------------


def open_findings(reports: Iterable[PanelReport], waived: Collection[str]) -> tuple[Finding, ...]:
    """What the panels found and nobody waived, the worst first; what two panels found stands once."""
    found = (finding for report in reports for finding in report.findings if finding.fingerprint not in waived)
    worst_first = sorted(found, key=lambda finding: (finding.severity.rank, finding.file, finding.line))
    return tuple({finding.fingerprint: finding for finding in reversed(worst_first)}.values())[::-1]


def quality_gate(
    reports: Sequence[PanelReport], *, waived: Collection[str], rounds_left: int, policy: RunPolicy
) -> GateVerdict:
    """Pass, fix or ask, from the four panel reports.

    Findings of a severity that the policy wants mended go back to the engine while rounds are
    left, and to a person after that. A panel with a required source that failed is never a pass.
    """
    to_mend = [
        finding
        for finding in open_findings(reports, waived)
        if finding.severity in policy.fix_severities and finding.confidence >= MINIMUM_CONFIDENCE
    ]
    fingerprints = tuple(finding.fingerprint for finding in to_mend)
    if to_mend and rounds_left > 0:
        return GateVerdict(
            decision=GateDecision.FIX, reasons=tuple(_told(f) for f in to_mend), fingerprints=fingerprints
        )
    incomplete = [r for r in reports if r.state is PanelState.INCOMPLETE and panel_obstacle(r) not in waived]
    reasons = [_told(finding) for finding in to_mend] + [_why_incomplete(report) for report in incomplete]
    if not reasons:
        return GateVerdict(decision=GateDecision.PASS)
    if to_mend:
        reasons.insert(0, "No fix rounds are left.")
    return GateVerdict(
        decision=GateDecision.ASK,
        reasons=tuple(reasons),
        fingerprints=fingerprints + tuple(panel_obstacle(report) for report in incomplete),
    )


def _told(finding: Finding) -> str:
    return f"{finding.severity.value}: {finding.file}:{finding.line} {finding.rule}: {finding.message}"


def _why_incomplete(report: PanelReport) -> str:
    failed = [f"{s.name} ({s.note})" for s in report.sources if s.required and s.state is not SourceState.OK]
    return f"The {report.panel.value} panel is incomplete: {', '.join(failed) or 'it could not be run'}."


# --- steps 8 to 11 ------------------------------------------------------------------------

_A_PERSON_DECIDES = frozenset({TestOutcome.SETUP_FAILED})
"""An environment that can't be made is seldom mended by changing code."""


def tests_gate(report: TestReport, *, waived: Collection[str], rounds_left: int) -> GateVerdict:
    """Pass, fix or ask, from one test report."""
    if report.is_green or tests_obstacle(report) in waived:
        return GateVerdict(decision=GateDecision.PASS)
    reason = _why_red(report)
    asks = report.outcome in _A_PERSON_DECIDES or (
        # A whole repository without tests is not the engine's to make up; a change without one is.
        report.outcome is TestOutcome.MISSING and report.kind is not TestKind.ACCEPTANCE
    )
    if asks or rounds_left <= 0:
        reasons = (reason,) if asks else ("No fix rounds are left.", reason)
        return GateVerdict(decision=GateDecision.ASK, reasons=reasons, fingerprints=(tests_obstacle(report),))
    return GateVerdict(decision=GateDecision.FIX, reasons=(reason,), fingerprints=(tests_obstacle(report),))


def _why_red(report: TestReport) -> str:
    names = [failure.test for failure in report.new_failures[:3]]
    more = len(report.new_failures) - len(names)
    listed = f": {', '.join(names)}{f' and {more} more' if more > 0 else ''}" if names else ""
    note = f" ({report.note})" if report.note else ""
    return f"{report.kind.value} tests {report.outcome.value.replace('_', ' ')}{listed}{note}"


# --- step 16 ------------------------------------------------------------------------------


def decision_refused(
    decision: ApprovalDecision,
    *,
    policy: ApprovalPolicy,
    starter: str,
    state: RunState,
    change: ChangeSet | None,
    earlier: Sequence[ApprovalDecision],
) -> str | None:
    """Why a decision does not count, in one sentence; None if it does."""
    if state.is_over:
        return f"The run is over ({state.value}); there is nothing left to decide."
    if state is not RunState.AWAITING_APPROVAL or change is None:
        return "The run does not wait for an approval now; look at `sdlc status` and decide when it does."
    head = change.head_sha
    if decision.head_sha and (len(decision.head_sha) < _SHORTEST_SHA or not head.startswith(decision.head_sha)):
        return f"The decision is about {decision.head_sha[:10]}, but the head is {head[:10]} now; look at it again."
    if _same(decision.by, policy.bot):
        return f"{decision.by} is the bot that did the work; a person has to decide."
    if decision.kind is DecisionKind.APPROVE and _same(decision.by, starter) and not policy.allow_starter:
        return f"{decision.by} started this run; somebody else has to approve it."
    if policy.approvers and not _among(decision.by, policy.approvers):
        return f"{decision.by} may not decide here; {', '.join(policy.approvers)} may."
    if decision.kind is DecisionKind.REQUEST_CHANGES and not decision.comment.strip():
        return "Say what should change: a request for changes needs a comment."
    if decision.kind is DecisionKind.APPROVE and any(_same(one.by, decision.by) for one in earlier):
        return f"{decision.by} has decided about this head already."
    return None


def people_say(decisions: Sequence[ApprovalDecision], policy: ApprovalPolicy) -> DecisionKind | None:
    """What the accepted decisions on the present head come to; None while more are needed. The first refusal wins."""
    for decision in decisions:
        if decision.kind is not DecisionKind.APPROVE:
            return decision.kind
    approved = {_normal(decision.by) for decision in decisions}
    return DecisionKind.APPROVE if len(approved) >= policy.required else None


def waiver_refused(by: str, reason: str, policy: ApprovalPolicy) -> str | None:
    """Why a waiver does not count, in one sentence; None if it does."""
    if not reason.strip():
        return "Say why it may stand: a waiver needs a reason."
    if _same(by, policy.bot):
        return f"{by} is the bot that did the work; a person has to decide."
    if policy.approvers and not _among(by, policy.approvers):
        return f"{by} may not decide here; {', '.join(policy.approvers)} may."
    return None


_SHORTEST_SHA = 7
"""As git shortens them; fewer characters would fit too many heads."""


def _normal(name: str) -> str:
    return name.strip().casefold()


def _same(one: str, other: str) -> bool:
    return _normal(one) == _normal(other)


def _among(name: str, names: Collection[str]) -> bool:
    return any(_same(name, one) for one in names)


# --- budget, ticket -----------------------------------------------------------------------


def budget_spent(usage: Usage, turns: int, budget: Budget, *, portions: int = 1) -> str | None:
    """Which bound is reached, in a sentence, or None. `portions` grows by one with each retry that a person grants."""
    if budget.usd is not None and usage.usd is not None and usage.usd >= budget.usd * portions:
        return f"The budget of {budget.usd * portions:.2f} USD is spent ({usage.usd:.2f} USD)."
    tokens = usage.input_tokens + usage.output_tokens
    if budget.tokens is not None and tokens >= budget.tokens * portions:
        return f"The budget of {budget.tokens * portions:,} tokens is spent ({tokens:,})."
    if budget.turns is not None and turns >= budget.turns * portions:
        return f"The budget of {budget.turns * portions} turns of the engine is spent."
    return None


def ticket_moved(before: Ticket, now: Ticket) -> str | None:
    """What people did to the ticket while the run worked, in a sentence, or None."""
    done = TicketStatus.DONE.casefold()
    if now.status.casefold() == done and before.status.casefold() != done:
        return f"{now.key} was moved to {now.status} while the run worked on it."
    if now.revision != before.revision:
        return f"{now.key} was edited while the run worked on it."
    return None
