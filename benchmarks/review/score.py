"""What is right and what is noise among the findings on a case, and the numbers that follow. See README.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.review.case import Case, Defect
from sdlc.domain import Finding, Panel, PanelReport, PanelState

LEAST_PRECISION = 0.95
LEAST_RECALL = 0.8
MOST_PER_CLEAN_CHANGE = 0.1
OVERALL = "overall"


class Outcome(StrEnum):
    """What a published finding is. All but the first are noise."""

    RIGHT = "right"
    REPEATED = "repeated"
    """Another finding has told the same defect already."""
    TOO_MILD = "too mild"
    """About a defect, but below the weight that it has."""
    OTHER_PANEL = "other panel"
    """About a defect, in a panel whose business it is not."""
    FALSE = "false alarm"


@dataclass(frozen=True)
class Judged:
    finding: Finding
    outcome: Outcome
    defect: Defect | None = None


@dataclass(frozen=True)
class CaseScore:
    """A case, and what came of it."""

    case: Case
    judged: tuple[Judged, ...]
    missed: tuple[Defect, ...]
    problems: tuple[str, ...] = ()
    """Panels that did not look although they should have, or did not say that they could not."""
    seconds: float = 0.0

    @property
    def found(self) -> tuple[Defect, ...]:
        return tuple(defect for defect in self.case.text.defects if defect not in self.missed)

    @property
    def noise(self) -> tuple[Judged, ...]:
        return tuple(item for item in self.judged if item.outcome is not Outcome.RIGHT)


@dataclass(frozen=True)
class Numbers:
    """The numbers of a panel, or of all."""

    name: str
    planted: int
    found: int
    findings: int
    right: int
    clean_changes: int
    on_clean: int
    """Findings on clean changes."""

    @property
    def recall(self) -> float:
        return self.found / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        return self.right / self.findings if self.findings else 1.0

    @property
    def per_clean_change(self) -> float:
        return self.on_clean / self.clean_changes if self.clean_changes else 0.0

    @property
    def is_good(self) -> bool:
        return (
            self.recall >= LEAST_RECALL
            and self.precision >= LEAST_PRECISION
            and self.per_clean_change <= MOST_PER_CLEAN_CHANGE
        )


def published(reports: Iterable[PanelReport]) -> list[Finding]:
    """The findings that a reader sees, of whatever severity."""
    return [finding for report in reports for finding in report.findings]


def score(case: Case, reports: Sequence[PanelReport], seconds: float = 0.0) -> CaseScore:
    """Hold what was found against what is labelled: each defect counts once, for the finding that fits it best."""
    findings = published(reports)
    taken: dict[int, tuple[Outcome, Defect]] = {}
    found: list[Defect] = []
    for mild in (False, True):
        for index, defect in _pairs(case, findings, mild=mild):
            if index not in taken and defect not in found:
                taken[index] = (Outcome.TOO_MILD if mild else Outcome.RIGHT, defect)
                if not mild:
                    found.append(defect)
    judged = tuple(
        Judged(finding, *taken[index]) if index in taken else _noise(case, finding)
        for index, finding in enumerate(findings)
    )
    missed = tuple(defect for defect in case.text.defects if defect not in found)
    return CaseScore(case, judged, missed, tuple(_problems(case, reports)), seconds)


def failed(case: Case, error: Exception) -> CaseScore:
    """The score of a case that the panels could not be run on: nothing was found, and that is a problem."""
    return CaseScore(case, (), case.text.defects, (f"the review failed: {error or type(error).__name__}",))


def numbers(scores: Sequence[CaseScore], *, with_model: bool = False) -> list[Numbers]:
    """Per panel and for all. Without a model, only what can be found without one counts as planted."""
    return [*(_numbers(scores, (panel,), panel.value, with_model) for panel in Panel), _overall(scores, with_model)]


def _overall(scores: Sequence[CaseScore], with_model: bool) -> Numbers:
    return _numbers(scores, tuple(Panel), OVERALL, with_model)


def _numbers(scores: Sequence[CaseScore], panels: Sequence[Panel], name: str, with_model: bool) -> Numbers:
    def counts(defect: Defect) -> bool:
        return defect.panel in panels and (with_model or defect.findable == "analyser")

    judged = [(item, score.case.is_clean) for score in scores for item in score.judged if item.finding.panel in panels]
    return Numbers(
        name=name,
        planted=sum(counts(defect) for score in scores for defect in score.case.text.defects),
        found=sum(counts(defect) for score in scores for defect in score.found),
        findings=len(judged),
        right=sum(item.outcome is Outcome.RIGHT for item, _ in judged),
        clean_changes=sum(score.case.is_clean for score in scores),
        on_clean=sum(is_clean for _, is_clean in judged),
    )


def _pairs(case: Case, findings: Sequence[Finding], *, mild: bool) -> list[tuple[int, Defect]]:
    """Findings, by index, with the defects that they tell; those that fit best come first."""
    pairs = [
        (defect.panel != finding.panel, _distance(case, defect, finding), index, number)
        for index, finding in enumerate(findings)
        for number, defect in enumerate(case.text.defects)
        if _fits(case, defect, finding)
        and finding.panel in (defect.panel, *defect.also)
        and (finding.severity.rank > defect.severity.rank) is mild
    ]
    return [(index, case.text.defects[number]) for *_, index, number in sorted(pairs)]


def _fits(case: Case, defect: Defect, finding: Finding) -> bool:
    return defect.counts(finding.rule) and any(span.holds(finding.file, finding.line) for span in case.spans(defect))


def _distance(case: Case, defect: Defect, finding: Finding) -> int:
    spans = [span for span in case.spans(defect) if span.holds(finding.file, finding.line)]
    return min(abs(finding.line - (span.first + defect.tolerance)) for span in spans)


def _noise(case: Case, finding: Finding) -> Judged:
    about = [defect for defect in case.text.defects if _fits(case, defect, finding)]
    mine = [defect for defect in about if finding.panel in (defect.panel, *defect.also)]
    if mine:
        return Judged(finding, Outcome.REPEATED, mine[0])
    if about:
        return Judged(finding, Outcome.OTHER_PANEL, about[0])
    return Judged(finding, Outcome.FALSE)


def _problems(case: Case, reports: Sequence[PanelReport]) -> Iterable[str]:
    for report in reports:
        said, due = report.state is PanelState.INCOMPLETE, report.panel in case.text.incomplete
        if said and not due:
            notes = [f"{source.name}: {source.note}" for source in report.sources if source.required and source.note]
            yield f"{report.panel.value} could not look at everything ({'; '.join(notes)})"
        elif due and not said:
            yield f"{report.panel.value} can't have looked at everything, and does not say so"
