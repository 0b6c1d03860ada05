"""What nothing and nobody has looked at. Said in every pull request, because silence would pass for fine."""

from __future__ import annotations

from collections.abc import Iterable

from sdlc.activities import Evidence
from sdlc.domain import Panel, PanelReport, SourceState, TestKind, TestOutcome
from sdlc.markdown import code, inline
from sdlc.naming import counted
from sdlc.progress import Step, StepState

NO_SANDBOX = "Code of the repository was run without a sandbox (`sandbox.kind: none`)."


def is_sandboxed(evidence: Evidence) -> bool:
    """Whether everything that was run of the repository was run in a sandbox, as far as the reports tell."""
    return evidence.sandboxed and not any(report.commands and not report.sandboxed for report in evidence.tests)


def not_verified(evidence: Evidence) -> list[str]:
    """What nobody and nothing has looked at, each in a sentence; never to be taken for fine."""
    return [
        *_panels_not_verified(evidence),
        *_tests_not_verified(evidence),
        *([] if proof_tests(evidence) else ["No test was seen to fail without the change and to pass with it."]),
        *_ci_not_verified(evidence),
        *(
            ["The ticket's description was longer than could be read; its end was left out."]
            if evidence.ticket.truncated
            else []
        ),
        *(inline(warning, 500) for warning in evidence.warnings),
    ]


def _panels_not_verified(evidence: Evidence) -> Iterable[str]:
    head = evidence.change.head_sha
    unread: dict[str, None] = {}  # the panels look at the same change: said once
    alike: dict[tuple[str, str, str], list[tuple[Panel, str]]] = {}
    """(kind, how it ended, why) → who: without a model all lenses say the same."""
    for panel in Panel:
        report = report_of(evidence, panel)
        if report is None:
            yield f"The {panel.value} panel did not run."
            continue
        if report.head_sha != head:
            yield f"The {panel.value} panel looked at {code(report.head_sha[:10])}, which is not the head."
        for source in report.sources:
            if source.kind == "unread":
                unread.setdefault(source.note)
            elif source.state.is_missing:
                how = "failed" if source.state is SourceState.FAILED else "did not run"
                alike.setdefault((source.kind, how, source.note), []).append((panel, source.name))
    for (kind, how, note), names in alike.items():
        why = f": {inline(note, 300)}" if note else ""
        yield f"{_who(kind, names)} {how}{why}"
    for note in unread:
        yield f"No reviewer has read some files: {inline(note, 500)}"


_MOST_NAMED = 8


def _who(kind: str, names: list[tuple[Panel, str]]) -> str:
    if len(names) == 1:
        panel, name = names[0]
        return f"{panel.value}: {kind} {code(name, 60)}"
    more = len(names) - _MOST_NAMED
    listed = ", ".join(code(name, 60) for _, name in names[:_MOST_NAMED])
    return f"{counted(len(names), kind)} ({listed}{f' and {more} more' if more > 0 else ''})"


_MEANING = {
    TestOutcome.TIMED_OUT: "did not end in time",
    TestOutcome.SETUP_FAILED: "could not run, because the repository's environment could not be made",
    TestOutcome.MISSING: "are due, and there are none",
    TestOutcome.NOT_DECLARED: "are not declared by the repository",
}


def _tests_not_verified(evidence: Evidence) -> Iterable[str]:
    reports = {report.kind: report for report in evidence.tests}
    for kind in TestKind:
        name = "Static checks" if kind is TestKind.STATIC else f"{kind.value.capitalize()} tests"
        report = reports.get(kind)
        if report is None:
            yield f"{name} did not run."
            continue
        said = report.outcome is not TestOutcome.NOT_DECLARED  # there its note says the same again
        note = f" ({inline(report.note, 300)})" if report.note and said else ""
        if report.outcome is TestOutcome.SETUP_FAILED and report.failures:
            yield f"{name} say nothing about the change{note}."
        elif report.outcome in _MEANING:
            yield f"{name} {_MEANING[report.outcome]}{note}."
        elif note:
            yield f"{name}{note}."
        if report.head_sha != evidence.change.head_sha:
            yield f"{name} ran on {code(report.head_sha[:10])}, which is not the head."
    if not is_sandboxed(evidence):
        yield NO_SANDBOX


def _ci_not_verified(evidence: Evidence) -> Iterable[str]:
    step = next((step for step in evidence.steps if step.name == Step.WAIT_FOR_CI.key), None)
    if step is None or step.state is StepState.PENDING:
        yield "The forge's own checks have not been waited for yet."
    elif step.state is not StepState.DONE:
        said = f": {inline(step.result, 300)}" if step.result else ""
        yield f"The forge's own checks are not green{said}"


def proof_tests(evidence: Evidence) -> tuple[str, ...]:
    """The tests that fail on the base and pass on this head."""
    proofs = (report.proof for report in evidence.tests if report.proof and report.head_sha == evidence.change.head_sha)
    return tuple(dict.fromkeys(test for proof in proofs for test in proof.shown))


def report_of(evidence: Evidence, panel: Panel) -> PanelReport | None:
    """What a panel said last, if it ran."""
    return next((report for report in evidence.panel_reports if report.panel is panel), None)
