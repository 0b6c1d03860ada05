"""A run as one view: what its queries say, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar

from sdlc.audit_chain import why_broken
from sdlc.domain import AuditEntry, Panel, RunState
from sdlc.errors import PayloadMissing, ServiceUnavailable
from sdlc.progress import RunProgress
from sdlc.review_graphs.reviewed import ASIDE, Entry, Reviewed, Standing, verdict_of
from sdlc.run_card import Risk, RunCard
from sdlc.runtime.runs import Trouble
from sdlc.web.gateway.lists import concerns, safe_url, waits_for
from sdlc.web.views import (
    Action,
    Audit,
    Costs,
    FindingView,
    ReviewView,
    RunLine,
    SilentSource,
    StepCost,
    TroubleView,
)

T = TypeVar("T")

_WAITS = (RunState.AWAITING_APPROVAL, RunState.AWAITING_MERGE, RunState.NEEDS_ATTENTION)
_TITLES = {
    Panel.ARCHITECTURE: "Architecture",
    Panel.SECURITY: "Security",
    Panel.QUALITY: "Quality",
    Panel.TECHSTACK: "Tech stack",
}


async def told(answer: Awaitable[T], what: str, notes: list[str]) -> T | None:
    """The answer; None, with a note, where the run's worker is older than the question or a payload is missing."""
    try:
        return await answer
    except (ServiceUnavailable, PayloadMissing) as error:
        notes.append(f"{what} can't be shown: {error}")
        return None


def review_view(review: Reviewed) -> ReviewView:
    report = review.report
    return ReviewView(
        panel=review.panel.value,
        title=_TITLES[review.panel],
        state=report.state,
        verdict=verdict_of(review),
        head_sha=report.head_sha,
        open=tuple(finding_view(entry) for entry in review.open),
        aside=tuple(finding_view(entry) for standing in ASIDE for entry in review.standing(standing)),
        silent=tuple(
            SilentSource(name=source.name, state=source.state.value, required=source.required, note=source.note)
            for source in review.silent
        ),
        usage=report.usage,
        seconds=report.seconds,
        trouble=review.trouble,
    )


def finding_view(entry: Entry) -> FindingView:
    return FindingView(
        panel=entry.panel.value,
        rule=entry.rule,
        severity=entry.severity.value if entry.severity else "",
        confidence=entry.confidence,
        file=entry.file,
        line=entry.line,
        end_line=max(entry.line, entry.end_line),
        message=entry.message,
        evidence=entry.evidence,
        suggestion=entry.suggestion,
        fingerprint=entry.fingerprint,
        standing=entry.standing.value,
        status=entry.status,
        carried=entry.carried,
        why=entry.why,
        source=entry.source,
    )


def at_lines(reviews: Sequence[Reviewed]) -> list[FindingView]:
    """What is shown in the diff: what is open, the worst first, and what people let stand."""
    entries = [entry for review in reviews for entry in (*review.open, *review.standing(Standing.WAIVED))]
    return [finding_view(entry) for entry in sorted(entries, key=lambda entry: entry.rank)]


def costs_of(progress: RunProgress) -> Costs:
    steps = tuple(
        StepCost(
            number=step.number,
            name=step.name,
            title=step.title,
            state=step.state.value,
            attempts=step.attempts,
            seconds=step.seconds,
            usage=step.usage,
        )
        for step in progress.steps
    )
    return Costs(steps=steps, total=progress.usage)


def audit_of(entries: Sequence[AuditEntry]) -> Audit:
    chained = any(entry.hash for entry in entries)  # trails of older runs are not
    return Audit(entries=tuple(entries), trouble=(why_broken(entries) or "") if chained else "")


def trouble_view(trouble: Trouble) -> TroubleView:
    return TroubleView(
        activity=trouble.activity, attempt=trouble.attempt, message=trouble.message, next_try=trouble.next_try
    )


def line_now(key: str, progress: RunProgress, card: RunCard | None, names: Sequence[str]) -> RunLine:
    """The run as lists have it, from what it says at this moment."""
    card = card or RunCard(key=key, risk=Risk(findings=progress.findings), usd=progress.usage.usd)
    waits = progress.state in _WAITS
    url = progress.pull_request.url if progress.pull_request else ""
    return RunLine(
        key=key,
        title=progress.ticket_title,
        repository=progress.repository,
        state=progress.state.value,
        step=progress.step,
        waits_for=waits_for(progress.waits_for, url),
        waiting_since=card.waiting_since if waits else None,
        starter=card.starter,
        approvers=card.approvers,
        required=card.required,
        approved_by=card.approved_by,
        for_me=waits and concerns(card.approvers, names),
        risk=card.risk,
        pull_request_url=safe_url(url),
        head_sha=progress.change.head_sha if progress.change else "",
        usd=progress.usage.usd,
        tokens=progress.usage.input_tokens + progress.usage.output_tokens,
        fix_rounds=progress.fix_rounds,
        revisions=progress.revisions,
        asked=card.asked,
        started=progress.started or card.started,
        ended=card.ended,
    )


def actions_of(state: RunState) -> tuple[Action, ...]:
    """What makes sense in this state."""
    if state.is_over:
        return ()
    first: dict[RunState, tuple[Action, ...]] = {
        RunState.AWAITING_APPROVAL: ("approve", "request_changes", "reject", "reassign"),
        RunState.AWAITING_MERGE: ("request_changes", "reject"),
        RunState.NEEDS_ATTENTION: ("retry", "waive"),
        RunState.PAUSED: ("resume",),
    }
    others: tuple[Action, ...] = ("instruct", "escalate", "abort", "cancel")
    return (*first.get(state, ("pause",)), *others)
