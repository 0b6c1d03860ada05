"""What people read about a run: the pull request's title and body, the review summary, comments on the ticket.

Pure: Markdown from `Evidence`. A reviewer must see in a minute what was done, why it can be
trusted, and what is open. Everything that comes from outside goes through `sdlc.markdown`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sdlc import markdown, policy
from sdlc.activities import Evidence
from sdlc.domain import (
    Finding,
    Panel,
    PanelState,
    Severity,
    TestKind,
    TestOutcome,
    TestReport,
    Usage,
    Waiver,
)
from sdlc.finding_comment import place
from sdlc.markdown import cell, code, code_cell, inline, link, quote
from sdlc.naming import counted
from sdlc.review_graphs.reviewed import by_severity
from sdlc.steps.brief_text import hidden_in
from sdlc.steps.criteria import shown_criteria, without_claims
from sdlc.steps.not_verified import NO_SANDBOX, is_sandboxed, not_verified, proof_tests, report_of
from sdlc.untrusted import visible_text

MAX_BODY = 60_000
"""Characters; GitHub takes 65,536."""
MAX_STATUS = 140
"""Characters of a status; GitHub takes no more."""

MOST_MISSING = 4
"""Reviewers that did not run are named in the table up to here; the section `Not verified` has them all."""
_MOST_FAILURES = 50
"""A report names no more than these, those on the base last."""

# Characters of each section; together with what stands between them they stay below MAX_BODY.
_ROOM = {
    "Open": 12_000,
    "What and why": 9_000,
    "Acceptance criteria": 7_000,
    "Protected paths": 3_000,
    "Why it can be trusted": 15_000,
    "Not verified": 6_000,
    "Waived by people": 4_000,
    "This run": 2_500,
}

# --- body ---------------------------------------------------------------------------------


def pull_request_body(evidence: Evidence) -> str:
    """The pull request's description, at most 60,000 characters; it ends with the run's hidden marker."""
    sections = {
        "What and why": _what_and_why(evidence),
        "Acceptance criteria": _criteria(evidence),
        "Open": _open(evidence),
        "Protected paths": _protected(evidence),
        "Why it can be trusted": _trust(evidence),
        "Not verified": [f"- {line}" for line in not_verified(evidence)],
        "Waived by people": _waivers(evidence),
        "This run": _this_run(evidence),
    }
    parts = [headline(evidence)]
    if not is_sandboxed(evidence):
        parts.append(f"> **{NO_SANDBOX}** It could do all that the worker may do.")
    parts += [f"## {title}\n\n{_within(lines, _ROOM[title])}" for title, lines in sections.items() if lines]
    return "\n\n".join([*parts, markdown.hidden(evidence.run.marker)]) + "\n"


def headline(evidence: Evidence) -> str:
    """The whole in one sentence."""
    open_now = open_findings(evidence)
    facts = [
        f"{counted(len(open_now), 'open finding')} ({by_severity(open_now)})" if open_now else "no open findings",
        *(
            f"{report.kind.value} tests: {_outcome(report)}"
            for report in evidence.tests
            if report.kind is TestKind.UNIT
        ),
        _proof_in_short(len(proof_tests(evidence))),
    ]
    if protected := _consents(evidence):
        facts.append(f"{counted(len(protected), 'protected path')} changed")
    unverified = len(not_verified(evidence))
    if unverified:
        facts.append(f"{unverified} not verified")
    return f"**In short:** {'; '.join(facts)}."


def _proof_in_short(shown: int) -> str:
    if not shown:
        return "no proof by a test"
    return (
        "1 test fails without the change and passes with it"
        if shown == 1
        else (f"{shown} tests fail without the change and pass with it")
    )


def _what_and_why(evidence: Evidence) -> list[str]:
    ticket, change = evidence.ticket, evidence.change
    lines = [f"{link(ticket.key, ticket.url)}: {inline(ticket.title, 300)}", ""]
    if ticket.description.strip():
        lines += [*quote(ticket.description, 3_000).splitlines(), ""]
    if hidden := hidden_in(ticket):
        lines += [
            f"The ticket holds text that readers don't see; it was kept from the models: {'; '.join(hidden)}.",
            "",
        ]
    if said := without_claims(evidence.summary):
        lines += ["What the engine says it did:", "", *quote(said, 2_000).splitlines(), ""]
    lines.append(
        f"{counted(change.files_changed, 'file')} changed, {change.insertions} lines in, {change.deletions} out: "
        f"{code(change.base_sha[:10])} to {code(change.head_sha[:10])} on {code(change.branch)}."
    )
    return lines


def _criteria(evidence: Evidence) -> list[str]:
    """Each with the tests that the engine names for it and that were seen to show it."""
    lines = []
    shown = shown_criteria(evidence.ticket.acceptance_criteria, evidence.summary, proof_tests(evidence))
    for one in shown:
        lines.append(f"- {inline(one.criterion, 500)}")
        if one.tests:
            lines.append(f"  - shown by {', '.join(_by_test(one.tests))}")
        elif one.claimed:
            lines.append("  - the engine names a test, which was not seen to fail without the change")
        elif any(other.claimed for other in shown):
            lines.append("  - no test is named for it")
    return lines


def _by_test(tests: Sequence[str], *, most: int = 20) -> list[str]:
    """The cases of one test stand together."""
    cases = Counter(test.partition("[")[0] for test in tests)
    named = [code(test, 300) + (f" ({count} cases)" if count > 1 else "") for test, count in cases.most_common()]
    return named[:most] + ([f"and {len(named) - most} more"] if len(named) > most else [])


# --- what is open -------------------------------------------------------------------------


def open_findings(evidence: Evidence) -> tuple[Finding, ...]:
    """What the panels found and nobody waived, the worst first."""
    return policy.open_findings(evidence.panel_reports, _waived(evidence))


def _open(evidence: Evidence) -> list[str]:
    found = open_findings(evidence)
    if not found:
        return ["Nothing: no panel has a finding that is open."]
    rows = markdown.table(
        ("severity", "where", "what", "found by"),
        (
            (
                f.severity.value,
                code_cell(place(f), 200),
                cell(f.message, 400),
                code_cell(f"{f.panel.value} {f.rule}", 120),
            )
            for f in found
        ),
    )
    return rows.splitlines()


def _waived(evidence: Evidence) -> frozenset[str]:
    return frozenset(fingerprint for waiver in evidence.waivers for fingerprint in waiver.fingerprints)


def _waivers(evidence: Evidence) -> list[str]:
    known = {finding.fingerprint: finding for report in evidence.panel_reports for finding in report.findings}
    lines = []
    for waiver in evidence.waivers:
        named = [name for name in waiver.fingerprints if not policy.consented_paths([name])]
        if waiver.fingerprints and not named:
            continue  # consent to protected paths has a section of its own
        lines.append(f"- {inline(waiver.by, 100)}: {inline(waiver.reason, 500)}")
        lines += [f"  - {_obstacle(fingerprint, known)}" for fingerprint in named[:20]]
        lines += [f"  - and {len(named) - 20} more"] if len(named) > 20 else []
    lines += [
        f"- {inline(answer.by, 100)} answered {code(answer.kind.value)}: "
        f"{inline(answer.reason or answer.instruction or 'without a word', 500)}"
        for answer in evidence.answers
    ]
    return lines


def _obstacle(fingerprint: str, known: dict[str, Finding]) -> str:
    if finding := known.get(fingerprint):
        return f"{finding.severity.value}: {code(place(finding), 200)} {inline(finding.message, 200)}"
    name, at, sha = fingerprint.partition("@")
    if at:
        return f"{code(name, 100)} on {code(sha[:10])}"
    return f"{code(fingerprint, 100)}, which is not found any more"


# --- protected paths ----------------------------------------------------------------------


def _consents(evidence: Evidence) -> dict[str, Waiver | None]:
    """The protected paths that the change touches, and the word of a person to it; None: the settings let it be."""
    given = {path: waiver for waiver in evidence.waivers for path in policy.consented_paths(waiver.fingerprints)}
    touched = evidence.protected or sorted(given)
    return {path: given.get(path) for path in touched}


def _protected(evidence: Evidence) -> list[str]:
    lines: list[str] = []
    by_word: dict[Waiver | None, list[str]] = {}
    for path, waiver in _consents(evidence).items():
        by_word.setdefault(waiver, []).append(code(path, 200))
    for waiver, paths in by_word.items():
        shown = ", ".join(paths[:20]) + (f" and {len(paths) - 20} more" if len(paths) > 20 else "")
        if waiver is None:
            lines.append(f"- {shown}: let through by the settings (`guard.consent`); nobody was asked")
        else:
            lines.append(f"- {shown}: consent by {inline(waiver.by, 100)}: {inline(waiver.reason, 500)}")
    return lines


# --- why it can be trusted ----------------------------------------------------------------


def _trust(evidence: Evidence) -> list[str]:
    lines: list[str] = []
    proof = proof_tests(evidence)
    if proof:
        lines += ["**Proof:** these tests fail on the base and pass on the head.", ""]
        lines += [f"- {test}" for test in _by_test(proof)]
        lines.append("")
    for report in evidence.tests:
        if report.proof and report.proof.coverage:
            coverage = report.proof.coverage
            lines += [
                f"**Changed lines:** {coverage.covered} of {coverage.total} are run by tests ({coverage.percent:g} %).",
                "",
            ]
    lines += ["**Tests and checks** on the head:", "", *_tests_table(evidence).splitlines(), ""]
    lines += ["**Review panels:**", "", *panels_table(evidence).splitlines()]
    return lines


def _tests_table(evidence: Evidence) -> str:
    return markdown.table(
        ("check", "outcome", "passed", "failed", "failed before too", "skipped", "commands"),
        (
            (
                report.kind.value,
                _outcome(report),
                str(report.passed),
                str(len(report.new_failures) or max(0, report.failed - _on_base(report))),
                _red_before(report),
                str(report.skipped),
                ", ".join(code_cell(command, 200) for command in report.commands[:5]) or "–",
            )
            for report in evidence.tests
        ),
    )


def _on_base(report: TestReport) -> int:
    return sum(failure.on_base for failure in report.failures)


def _red_before(report: TestReport) -> str:
    known = _on_base(report)
    return f"{known}+" if known and len(report.failures) >= _MOST_FAILURES else str(known)


def _outcome(report: TestReport) -> str:
    flaky = f", {len(report.flaky)} flaky" if report.flaky else ""
    if report.outcome is TestOutcome.PASSED:
        return f"passed{', what is red was red before too' if _on_base(report) else ''}{flaky}"
    if report.outcome is TestOutcome.NOT_DECLARED:
        return "none declared"
    return f"**{report.outcome.value.replace('_', ' ')}**{flaky}"


def panels_table(evidence: Evidence) -> str:
    """One row for each panel: how it ended, open findings by severity, what did not run."""
    waived = _waived(evidence)
    rows: list[tuple[str, ...]] = []
    for panel in Panel:
        report = report_of(evidence, panel)
        if report is None:
            rows.append((panel.value, "**not run**", *"–" * (len(Severity) + 3)))
            continue
        found = policy.open_findings([report], waived)
        counts = Counter(finding.severity for finding in found)
        let_through = str(len(report.findings) - len(found))
        state = "**incomplete**" if report.state is PanelState.INCOMPLETE else report.state.value
        missing = [code_cell(s.name, 60) for s in report.sources if s.state.is_missing]
        shown = ", ".join(missing) if len(missing) <= MOST_MISSING else counted(len(missing), "reviewer")
        numbers = (*(str(counts[severity]) for severity in Severity), str(len(report.resolved)), let_through)
        rows.append((panel.value, state, *numbers, shown or "–"))
    header = ("panel", "state", *(severity.value for severity in Severity), "mended", "waived", "did not run")
    return "\n\n".join(filter(None, [markdown.table(header, rows), _left_out(evidence)]))


def _left_out(evidence: Evidence) -> str:
    """What was found and is not shown, so that nobody takes silence for all there was."""
    sources = [source for report in evidence.panel_reports for source in report.sources]
    refuted = sum(source.refuted for source in sources if source.kind == "lens")
    dropped = sum(source.dropped for source in sources if source.kind == "lens") - refuted
    repeated = sum(len(report.repeats) for report in evidence.panel_reports)
    parts = [
        f"{refuted} refuted on a second look" if refuted else "",
        f"{dropped} outside the change, repeated or over the bound" if dropped else "",
        f"{repeated} that another panel has" if repeated else "",
    ]
    told = ", ".join(filter(None, parts))
    command = code(f"sdlc findings {evidence.ticket.key} --all")
    return f"Findings left out: {told}. {command} lists them." if told else ""


# --- this run -----------------------------------------------------------------------------


def _this_run(evidence: Evidence) -> list[str]:
    run = evidence.run
    started = f", started by {inline(evidence.starter, 100)}" if evidence.starter else ""
    return [
        f"- Run {link(run.workflow_id, run.link)}{started}",
        f"- {_engine(evidence)}",
        f"- Rounds in which findings or failures were mended: {evidence.fix_rounds}",
        f"- {cost(evidence.usage)}",
    ]


def _engine(evidence: Evidence) -> str:
    """`Engine: aider 0.86.2 with model-x; 40 turns`, and whether it outlived its worker."""
    named = code(evidence.engine, 100) if evidence.engine else "the built-in agent"
    models = ", ".join(code(model, 100) for model in evidence.models[:10])
    said = f"Engine: {named}{f' with {models}' if models else ''}"
    if evidence.turns:
        said += f"; {counted(evidence.turns, 'turn')}"
    if evidence.taken_over:
        times = "once" if evidence.taken_over == 1 else f"{evidence.taken_over} times"
        said += f". Its worker was lost {times}, and another went on from what had been kept"
    return said


def cost(usage: Usage) -> str:
    """`12 model calls, 3,400 tokens in, 560 out, 0.12 USD`; an unknown cost is said to be unknown."""
    usd = "cost unknown" if usage.usd is None else f"{usage.usd:.2f} USD"
    if usage.usd and usage.usd < 0.005:
        usd = "less than 0.01 USD"
    calls = counted(usage.model_calls, "model call")
    return f"{calls}, {usage.input_tokens:,} tokens in, {usage.output_tokens:,} out, {usd}"


# --- reviews ------------------------------------------------------------------------------


def review_summary(evidence: Evidence, *, note: str = "") -> str:
    """The one comment that the panels keep on a pull request. `note` is Markdown of ours."""
    found = by_severity(open_findings(evidence)) or "no open findings"
    parts = [f"**Reviews of {code(evidence.change.head_sha[:10])}:** {found}.", panels_table(evidence)]
    if waivers := _waivers(evidence):
        parts.append("Waived by people:\n\n" + _within(waivers, _ROOM["Waived by people"]))
    if unverified := not_verified(evidence):
        parts.append("Not verified:\n\n" + _within([f"- {line}" for line in unverified], _ROOM["Not verified"]))
    return "\n\n".join([*parts, *([note] if note else [])])


def review_statuses(evidence: Evidence) -> dict[str, tuple[str, str]]:
    """`sdlc/<panel>` → `success` or `failure` and a description of at most 140 characters.

    Failure when what the panel found would have to be mended, or when it is incomplete: a waiver
    lets a run go on, it doesn't make a review that did not take place a good one.
    """
    return {f"sdlc/{panel.value}": _status(evidence, panel) for panel in Panel}


def _status(evidence: Evidence, panel: Panel) -> tuple[str, str]:
    report = report_of(evidence, panel)
    if report is None:
        return "failure", "not run"
    waived = _waived(evidence)
    found = policy.open_findings([report], waived)
    let_through = len(report.findings) - len(found)
    said = by_severity(found) or "no findings"
    said += f", {let_through} waived" if let_through else ""
    if report.state is PanelState.INCOMPLETE:
        missing = ", ".join(s.name for s in report.sources if s.required and s.state.is_missing)
        said = f"incomplete ({visible_text(missing)[0] or 'it could not be run'}): {said}"
    bad = report.state is PanelState.INCOMPLETE or any(f.severity.rank <= Severity.MAJOR.rank for f in found)
    return "failure" if bad else "success", said[:MAX_STATUS]


def _within(lines: Sequence[str], room: int) -> str:
    """The lines that fit into `room` characters; what is left out is counted and said."""
    kept: list[str] = []
    used = 0
    for index, line in enumerate(lines):
        used += len(line) + 1
        if used > room - 60:
            return "\n".join([*kept, "", f"*… {len(lines) - index} more lines are left out here.*"])
        kept.append(line)
    return "\n".join(kept).strip("\n")
