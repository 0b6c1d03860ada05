"""When two findings say the same thing, and which of them stays.

A reader who is told one mistake twice trusts neither. Within a panel the merge node asks here, and the workflow
asks once all four reports are there, for the panels don't know of each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sdlc.domain import Finding, PanelReport, PanelState, Repeat

MINIMUM_CONFIDENCE = 0.5
"""A finding that its source itself half doubts is shown to people, never sends the engine back, and stands for no
other."""

_WORD = re.compile(r"[a-z]{5,}")
_ACRONYM = re.compile(r"\b[A-Z]{3,5}\b")
"""SQL, HTML, XSS: short, and say more than most words."""
_STEM = 6
"""Letters by which two words count as the same: argument and arguments, mutable and mutability."""


def _stems(*texts: str) -> frozenset[str]:
    words = [word[:_STEM] for text in texts for word in _WORD.findall(text.lower())]
    return frozenset([*words, *(word for text in texts for word in _ACRONYM.findall(text))])


_GRAMMAR = _stems(
    "about above after again against always another because become before behaviour being below between called caller",
    "cannot change changed check could differently does either error every expected fails finding first following",
    "function given instead itself later longer makes method missing module never nothing other passed rather return",
    "returns second should since still their there these thing third those through under until using value values",
    "where which while whole without would wrong",
)
"""Words that any two findings about one line may share."""


def is_model(finding: Finding) -> bool:
    """Did a model say it, and not a program?"""
    return finding.rule.startswith("lens:")


def repeats(said: Finding, other: Finding) -> bool:
    """Do two findings say the same? The same lines of the same file, and words in common that are more than grammar.

    One word is enough where a model speaks, which puts the same thing in its own way; two programs that mean the
    same use more of the same words.
    """
    if said.file != other.file or said.line > other.end_line or other.line > said.end_line:
        return False
    common = (_stems(said.rule, said.message) & _stems(other.rule, other.message)) - _GRAMMAR
    return len(common) >= (1 if is_model(said) or is_model(other) else 2)


def stands_for(other: Finding, said: Finding) -> bool:
    """Does `other` say it with at least the same weight? A remark must not take a blocker's place."""
    return other.severity.rank <= said.severity.rank and other.confidence >= min(MINIMUM_CONFIDENCE, said.confidence)


def without_repeats(reports: Sequence[PanelReport]) -> tuple[PanelReport, ...]:
    """The reports with each finding that another panel has as well in one of them only.

    What can be proved stays before what a model says, the worse before the milder. Safe to repeat: findings that
    were moved to `repeats` before are judged anew with the others.
    """
    whole = [_whole(report) for report in reports]
    ranked = sorted((finding for report in whole for finding in report.findings), key=_weight)
    kept: list[Finding] = []
    moved: dict[tuple[str, str], Repeat] = {}
    for finding in ranked:
        first = next((other for other in kept if _is_covered(finding, other)), None)
        if first is None:
            kept.append(finding)
        else:
            key = (finding.panel.value, finding.fingerprint)
            moved[key] = Repeat(finding=finding, of=first.fingerprint, panel=first.panel)
    return tuple(_without(report, moved) for report in whole)


def _is_covered(finding: Finding, other: Finding) -> bool:
    if finding.panel is other.panel:
        return False
    if finding.fingerprint == other.fingerprint:
        return True
    return repeats(finding, other) and stands_for(other, finding)


def _weight(finding: Finding) -> tuple[int, bool, float, str, int, str]:
    return (
        finding.severity.rank,
        is_model(finding),
        -finding.confidence,
        finding.file,
        finding.line,
        f"{finding.panel.value}{finding.rule}",
    )


def _whole(report: PanelReport) -> PanelReport:
    if not report.repeats:
        return report
    here = {finding.fingerprint for finding in report.findings}
    back = [repeat.finding for repeat in report.repeats if repeat.finding.fingerprint not in here]
    state = PanelState.FINDINGS if back and report.state is PanelState.CLEAN else report.state
    return report.model_copy(update={"findings": (*report.findings, *back), "repeats": (), "state": state})


def _without(report: PanelReport, moved: dict[tuple[str, str], Repeat]) -> PanelReport:
    keys = {finding.fingerprint: (report.panel.value, finding.fingerprint) for finding in report.findings}
    repeated = tuple(moved[key] for key in keys.values() if key in moved)
    if not repeated:
        return report
    findings = tuple(finding for finding in report.findings if keys[finding.fingerprint] not in moved)
    state = report.state
    if state is PanelState.FINDINGS and not findings:
        state = PanelState.CLEAN
    return report.model_copy(update={"findings": findings, "repeats": repeated, "state": state})
