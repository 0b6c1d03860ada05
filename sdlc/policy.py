"""The decisions of a run, all of them pure: what the gate says, who may approve, how long a step may take.

What holds a run up has a name, an *obstacle*: a finding's fingerprint, or `unit_tests@<sha>`,
`panel:security@<sha>` and the like. A waiver is a set of such names, so one that was given for
a step counts for one head only, and one that was given for a finding lasts as long as the finding.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta

from temporalio.common import RetryPolicy

from sdlc.domain import (
    ApprovalDecision,
    ApprovalPolicy,
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
)
from sdlc.errors import NON_RETRYABLE
from sdlc.people import same
from sdlc.progress import Step
from sdlc.repeats import MINIMUM_CONFIDENCE
from sdlc.untrusted import visible_text

# --- time-outs and retries ----------------------------------------------------------------

_DEFAULT_LIMITS: dict[Step, StepLimits] = {
    Step.SELECT_TASK: StepLimits(timeout_seconds=600, attempts=10),
    Step.IMPLEMENT: StepLimits(timeout_seconds=7_200, attempts=3),
    Step.UNIT_TESTS: StepLimits(timeout_seconds=1_800, attempts=3),
    Step.INTEGRATION_TESTS: StepLimits(timeout_seconds=1_800, attempts=3),
    Step.STATIC_CHECKS: StepLimits(timeout_seconds=1_800, attempts=3),
    Step.ACCEPTANCE: StepLimits(timeout_seconds=3_600, attempts=3),
    Step.WAIT_FOR_CI: StepLimits(timeout_seconds=21_600, attempts=10),
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


def path_obstacle(path: str) -> str:
    """A protected path that the change touches. Consent to it lasts as long as the run."""
    return f"{_PROTECTED}{path}"


def consented_paths(waived: Iterable[str]) -> tuple[str, ...]:
    """The protected paths that people let a run change."""
    return tuple(sorted(name.removeprefix(_PROTECTED) for name in waived if name.startswith(_PROTECTED)))


def consent_verdict(paths: Sequence[str]) -> GateVerdict:
    """The question to people about protected paths: at most ten, all of them shown, the gravest first.

    Who consents has seen what they consent to; the caller asks again about the rest.
    """
    asked = sorted(paths, key=lambda path: (_gravity(path), path))[:_PATHS_AT_ONCE]
    more = f" and {len(paths) - len(asked):,} more, asked after these" if len(paths) > len(asked) else ""
    reason = (
        f"The change touches protected paths: {named_paths(asked)}{more}. "
        "Waive with a reason to let it, or retry to have them put back."
    )
    obstacles = tuple(path_obstacle(path) for path in asked)
    return GateVerdict(decision=GateDecision.ASK, reasons=(reason,), fingerprints=obstacles)


def named_paths(paths: Iterable[str]) -> str:
    """Paths in a sentence: each as code that it can't end, at most 200 characters of it, nothing hidden in it.

    They come from the engine. What was taken out is said, for the name without it is another one.
    """
    return ", ".join(map(_named_path, paths))


def _named_path(path: str) -> str:
    longest = max((len(run) for run in re.findall("`+", path)), default=0)
    ticks = "`" * (longest + 1)
    # Looked at as code, where a comment is seen as it stands.
    code, removed = visible_text(f"{ticks} {path} {ticks}")
    shown = " ".join(code[len(ticks) + 1 : -len(ticks) - 1].splitlines())
    if len(shown) > _PATH_SHOWN:  # both ends say what it is
        shown = f"{shown[: _PATH_SHOWN // 2]}…{shown[1 - _PATH_SHOWN // 2 :]}"
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    note = f" (not shown of it: {', '.join(removed)})" if removed else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}{note}"


def _gravity(path: str) -> int:
    """0 for git's own files, then CI, then who owns what and our configuration, then all others."""
    folded = path.casefold().lstrip('"')
    names = folded.split("/")
    if any(name.startswith(_GITS_OWN) for name in names):
        return 0
    if folded.startswith(_CI):
        return 1
    return 2 if names[-1] == "codeowners" or names[0].startswith((".sdlc", "sdlc.")) else 3


_PROTECTED = "protected:"
_PATHS_AT_ONCE = 10
_PATH_SHOWN = 200
_GITS_OWN = (".gitattributes", ".gitmodules", ".gitconfig", ".githooks")
_CI = (
    *(".github/workflows", ".github/actions", ".gitlab-ci", ".forgejo", ".gitea", ".circleci", "circle.yml", ".ci/"),
    *(".buildkite", ".woodpecker", ".drone", ".cirrus", ".travis", ".semaphore", ".teamcity", ".tekton"),
    *(".azure-pipelines", "azure-pipelines", "bitbucket-pipelines", "appveyor", ".appveyor", "jenkinsfile"),
    *("buildspec", "cloudbuild"),
)

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
    starter: Sequence[str],
    state: RunState,
    change: ChangeSet | None,
    earlier: Sequence[ApprovalDecision],
    pushers: Sequence[str] = (),
) -> str | None:
    """Why a decision does not count, in one sentence; None if it does.

    `starter`: all names of who started the run; `pushers`: who has added to the change by hand.
    """
    names = _names(decision)
    if state.is_over:
        return f"The run is over ({state.value}); there is nothing left to decide."
    if state is RunState.AWAITING_MERGE and decision.kind is DecisionKind.APPROVE:
        return "It is approved already; the run waits for the merge of its pull request."
    if state not in (RunState.AWAITING_APPROVAL, RunState.AWAITING_MERGE) or change is None:
        return "The run does not wait for an approval now; look at `sdlc status` and decide when it does."
    head = change.head_sha
    if decision.head_sha and (len(decision.head_sha) < _SHORTEST_SHA or not head.startswith(decision.head_sha)):
        return f"The decision is about {decision.head_sha[:10]}, but the head is {head[:10]} now; look at it again."
    called = (*names, *decision.also_called)
    if same(called, (policy.bot, *policy.bot_aliases)):
        return f"{decision.by} is the bot that did the work; a person has to decide."
    if decision.kind is DecisionKind.APPROVE and same(called, starter) and not policy.allow_starter:
        return f"{decision.by} started this run; somebody else has to approve it."
    if policy.sources and decision.source not in policy.sources:
        return f"Decisions by {decision.source} don't count here; decide by {' or '.join(policy.sources)}."
    if decision.kind is DecisionKind.APPROVE and same(called, pushers) and not policy.allow_starter:
        return f"{decision.by} has pushed to this change; somebody else has to approve it."
    if policy.approvers and not same(names, policy.approvers):
        return f"{decision.by} may not decide here; {', '.join(policy.approvers)} may."
    if decision.kind is DecisionKind.REQUEST_CHANGES and not decision.comment.strip():
        return "Say what should change: a request for changes needs a comment."
    if decision.kind is DecisionKind.APPROVE and any(same(_names(one), names) for one in earlier):
        return f"{decision.by} has decided about this head already."
    return None


def people_say(decisions: Sequence[ApprovalDecision], policy: ApprovalPolicy) -> DecisionKind | None:
    """What the accepted decisions on the present head come to; None while more are needed. The first refusal wins."""
    for decision in decisions:
        if decision.kind is not DecisionKind.APPROVE:
            return decision.kind
    people: list[tuple[str, ...]] = []
    for decision in decisions:
        if not any(same(_names(decision), one) for one in people):
            people.append(_names(decision))
    return DecisionKind.APPROVE if len(people) >= policy.required else None


def reassign_refused(
    by: Sequence[str],
    to: Sequence[str],
    policy: ApprovalPolicy,
    *,
    state: RunState,
    starter: Sequence[str],
    pushers: Sequence[str] = (),
) -> str | None:
    """Why others can't be asked to decide, in one sentence; None if they can.

    `by`: all names of who hands on, the first for sentences. Nobody chooses who judges their own work.
    """
    if state.is_over:
        return f"The run is over ({state.value}); there is nothing left to decide."
    if state not in (RunState.AWAITING_APPROVAL, RunState.AWAITING_MERGE):
        return "The run does not wait for a decision now; hand it on when it does."
    if same(by, (policy.bot, *policy.bot_aliases)):
        return f"{by[0]} is the bot that did the work; a person has to say who decides."
    if same(by, starter) and not policy.allow_starter:
        return f"{by[0]} started this run; somebody else has to say who decides."
    if same(by, pushers) and not policy.allow_starter:
        return f"{by[0]} has pushed to this change; somebody else has to say who decides."
    if policy.approvers and not same(by, policy.approvers):
        return f"{by[0]} may not hand it on; {', '.join(policy.approvers)} may."
    if not all(name.isprintable() for name in to):
        return "A name has characters that can't be shown; write it as people do."
    if same(to, (policy.bot, *policy.bot_aliases)):
        return f"{policy.bot} is the bot that did the work; name a person."
    return None


def effective(
    policy: ApprovalPolicy,
    *,
    owners: Sequence[str] = (),
    assigned: Sequence[str] = (),
    escalated: bool = False,
    protected: bool = False,
) -> ApprovalPolicy:
    """The policy as it stands for this change at this moment.

    `owners` of the changed files, where they may decide; `assigned` take the place of who was asked before;
    `escalated`: nobody has decided for long; `protected`: the change touches protected paths.
    """
    approvers = tuple(assigned) or policy.approvers
    if approvers and owners and not assigned:
        approvers = (*approvers, *owners)
    elif policy.code_owners and owners and not approvers:
        approvers = tuple(owners)
    if escalated and approvers:
        approvers = (*approvers, *policy.escalate_to)
    required = max(policy.required, policy.protected_required if protected else 0)
    return policy.model_copy(update={"approvers": tuple(dict.fromkeys(approvers)), "required": required})


def waiver_refused(by: Sequence[str], reason: str, policy: ApprovalPolicy) -> str | None:
    """Why a waiver does not count, in one sentence; None if it does. `by`: all names, the first for sentences."""
    if not reason.strip():
        return "Say why it may stand: a waiver needs a reason."
    if same(by, (policy.bot, *policy.bot_aliases)):
        return f"{by[0]} is the bot that did the work; a person has to decide."
    if policy.approvers and not same(by, policy.approvers):
        return f"{by[0]} may not decide here; {', '.join(policy.approvers)} may."
    return None


_SHORTEST_SHA = 7
"""As git shortens them; fewer characters would fit too many heads."""


def _names(decision: ApprovalDecision) -> tuple[str, ...]:
    return (decision.by, *decision.aliases)


# --- ticket ---------------------------------------------------------------------------------


def ticket_moved(before: Ticket, now: Ticket) -> str | None:
    """What people did to the ticket while the run worked, in a sentence, or None."""
    if now.key != before.key:
        return f"{before.key} was moved and is {now.key} now."
    done = TicketStatus.DONE.casefold()
    if now.status.casefold() == done and before.status.casefold() != done:
        return f"{now.key} was moved to {now.status} while the run worked on it."
    if now.revision != before.revision:
        return f"{now.key} was edited while the run worked on it."
    return None
