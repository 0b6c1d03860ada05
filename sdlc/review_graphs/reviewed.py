"""A review as it is told to people: each panel's report with its document, every finding with what became of it.

The reports that pass through histories hold no source text and nothing that was left out; both stand in the
documents behind them. Terminal, Markdown, JSON and SARIF are all made from what is put together here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sdlc.domain import Finding, Panel, PanelReport, PanelState, Severity, SourceReport, SourceState
from sdlc.errors import WorkspaceBroken
from sdlc.integrations.artifacts import ArtifactStore

NOT_YET = "No panel has looked at the change yet."
SURE = 0.8
"""From here on nobody need be told how sure a source is."""
_REFUTED = "refuted: "
"""Stands before the verifier's words in a document."""


class Standing(StrEnum):
    """What became of a finding."""

    OPEN = "open"
    WAIVED = "waived"
    BASELINE = "baseline"
    RESOLVED = "resolved"
    ELSEWHERE = "elsewhere"
    REFUTED = "refuted"
    BASE = "base"
    OUTSIDE = "outside"
    REPEATED = "repeated"
    OVER = "over"
    OTHER = "other"

    @property
    def heading(self) -> str:
        return _WORDS[self][0]

    @property
    def meaning(self) -> str:
        """One sentence for those who have not seen the word before."""
        return _WORDS[self][1]


_WORDS = {
    Standing.OPEN: ("Open", "Somebody has to mend them, or say why they may stand."),
    Standing.WAIVED: ("Waived", "A person said that they may stand."),
    Standing.BASELINE: ("Accepted by the baseline", "`.sdlc/baseline.json` of the base says why they may stand."),
    Standing.RESOLVED: ("Resolved", "Found on an earlier head of this change, and not there any more."),
    Standing.ELSEWHERE: ("Said by another panel", "Found here as well, and shown once, where it weighs most."),
    Standing.REFUTED: ("Refuted", "A model said it, and a second look at the code showed that it does not hold."),
    Standing.BASE: ("There before", "The base has them already, so the change did not bring them."),
    Standing.OUTSIDE: (
        "Outside the change",
        "They point to lines that the change does not touch, or that do not exist.",
    ),
    Standing.REPEATED: ("Said twice", "Another finding of the panel says the same."),
    Standing.OVER: ("Over the bound", "Only the worst of what models say is shown as open."),
    Standing.OTHER: ("Left out", "They could not be used."),
}
_LEFT_OUT = {
    standing.value: standing
    for standing in (
        Standing.REFUTED,
        Standing.OUTSIDE,
        Standing.REPEATED,
        Standing.OVER,
        Standing.BASE,
        Standing.BASELINE,
    )
}
"""By the `kind` that a document gives."""
ASIDE = tuple(standing for standing in Standing if standing is not Standing.OPEN)
"""What is told on request only, in the order in which it is told."""


@dataclass(frozen=True)
class Entry:
    """One finding. What was left out comes from models and tools as it was said: any field may be empty or odd."""

    standing: Standing
    panel: Panel
    file: str
    line: int
    message: str
    end_line: int = 0
    rule: str = ""
    severity: Severity | None = None
    confidence: float = 1.0
    evidence: str = ""
    suggestion: str = ""
    fingerprint: str = ""
    why: str = ""
    """Why it is not open, where there is more to say than its standing says."""
    source: str = ""
    """Of what was left out: the analyser, check or lens that said it."""
    status: str = ""
    """Of what is open: `new`, or `open` if it was there in the round before. Empty where that is not known."""
    carried: bool = False
    """It is open since an earlier round, and nobody has looked again."""

    @property
    def place(self) -> str:
        """`file:line`, or `file:line-end`; empty where no file was named."""
        if not self.file:
            return ""
        lines = f"{self.line}-{self.end_line}" if self.end_line > self.line else f"{self.line}"
        return f"{self.file}:{lines}"

    @property
    def rank(self) -> tuple[int, float, str, int]:
        """The worst first."""
        weight = len(Severity) if self.severity is None else self.severity.rank
        return weight, -self.confidence, self.file, self.line


@dataclass(frozen=True)
class Reviewed:
    """One panel's review."""

    report: PanelReport
    entries: tuple[Entry, ...]
    trouble: str = ""
    """Why evidence and what was left out are not shown; empty if they are."""

    @property
    def panel(self) -> Panel:
        return self.report.panel

    @property
    def open(self) -> tuple[Entry, ...]:
        return self.standing(Standing.OPEN)

    @property
    def is_complete(self) -> bool:
        """Has everything that has to look looked?"""
        return self.report.state is not PanelState.INCOMPLETE

    def standing(self, standing: Standing) -> tuple[Entry, ...]:
        """The findings of which that became, the worst first."""
        return tuple(sorted((e for e in self.entries if e.standing is standing), key=lambda entry: entry.rank))

    @property
    def silent(self) -> tuple[SourceReport, ...]:
        """The sources that said nothing: they failed, or did not run."""
        return tuple(source for source in self.report.sources if source.state.is_missing)


async def read_reviews(
    artifacts: ArtifactStore, reports: Iterable[PanelReport], *, waived: Mapping[str, str] | None = None
) -> tuple[Reviewed, ...]:
    """The reports with their documents, `waived` as in `reviewed`. A document that can't be read is said, no error."""
    return tuple([await _read(artifacts, report, waived or {}) for report in reports])


async def _read(artifacts: ArtifactStore, report: PanelReport, waived: Mapping[str, str]) -> Reviewed:
    if report.report is None:
        return reviewed(report, waived=waived)
    try:
        return reviewed(report, await artifacts.text(report.report), waived=waived)
    except WorkspaceBroken as error:
        return reviewed(report, waived=waived, trouble=str(error))


def reviewed(
    report: PanelReport,
    document: str | None = None,
    *,
    waived: Mapping[str, str] | None = None,
    trouble: str = "",
) -> Reviewed:
    """A report with the text of its document, if there is one. `waived`: fingerprint → why it may stand."""
    whole: dict[str, dict[str, Any]] = {}
    left_out: list[Entry] = []
    gone: list[Finding] = []
    if document is not None:
        try:
            whole, left_out, gone = _read_document(report.panel, json.loads(document))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            trouble = "the panel's document is not what a panel writes"
    entries = [_stated(finding, whole.get(finding.fingerprint, {}), waived or {}) for finding in report.findings]
    entries += [_entry(finding, Standing.RESOLVED) for finding in report.resolved or gone]
    entries += [
        _entry(
            _with_source(repeat.finding, whole.get(repeat.finding.fingerprint, {})),
            Standing.ELSEWHERE,
            why=f"the {repeat.panel.value} panel says it ({repeat.of})",
        )
        for repeat in report.repeats
    ]
    return Reviewed(report, (*entries, *left_out), trouble)


def worst_first(reviews: Iterable[Reviewed]) -> list[Reviewed]:
    """The reviews with the worst finding first, then those that are not complete, then the quiet ones."""

    def weight(review: Reviewed) -> tuple[bool, tuple[int, float, str, int], bool]:
        worst = min((entry.rank for entry in review.open), default=(9, 0.0, "", 0))
        return not review.open, worst, review.is_complete

    return sorted(reviews, key=weight)


def by_severity(entries: Iterable[Entry | Finding]) -> str:
    """`1 major, 2 minor`; empty for none."""
    counts = Counter(entry.severity for entry in entries)
    return ", ".join(f"{counts[severity]} {severity.value}" for severity in Severity if counts[severity])


def verdict_of(review: Reviewed) -> str:
    """A panel in some words: what is open, and whether all that has to look has looked."""
    found = by_severity(review.open)
    waived = len(review.standing(Standing.WAIVED))
    said = found or "nothing found"
    said += f", {waived} waived" if waived else ""
    return said if review.is_complete else f"{said} so far; not complete"


@dataclass(frozen=True)
class Silence:
    """Sources that said nothing for one and the same reason."""

    names: tuple[str, ...]
    panels: tuple[Panel, ...]
    state: SourceState
    required: bool
    note: str


def silences(reviews: Iterable[Reviewed]) -> list[Silence]:
    """What failed or did not run, put together by reason; what a person has to decide about comes first."""
    groups: dict[tuple[bool, SourceState, str], list[tuple[str, Panel]]] = {}
    for review in reviews:
        for source in review.silent:
            groups.setdefault((source.required, source.state, source.note), []).append((source.name, review.panel))
    found = [
        Silence(
            names=tuple(dict.fromkeys(name for name, _ in said)),
            panels=tuple(dict.fromkeys(panel for _, panel in said)),
            state=state,
            required=required,
            note=note,
        )
        for (required, state, note), said in groups.items()
    ]
    return sorted(found, key=lambda silence: (not silence.required, silence.state is not SourceState.FAILED))


def named(names: Sequence[str], most: int) -> str:
    """`ruff, bandit and 3 more`."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def remarks(review: Reviewed) -> Iterator[SourceReport]:
    """Sources that did look and have something to say about how."""
    return (source for source in review.report.sources if source.state is SourceState.OK and source.note)


def _read_document(panel: Panel, document: Any) -> tuple[dict[str, dict[str, Any]], list[Entry], list[Finding]]:
    """The findings by fingerprint, what was left out, and what is resolved."""
    whole = {str(item["fingerprint"]): dict(item) for item in document["findings"]}
    left_out = [_left_out(panel, item) for item in document["dropped"]]
    return whole, left_out, [Finding.model_validate(item) for item in document["resolved"]]


def _stated(finding: Finding, item: Mapping[str, Any], waived: Mapping[str, str]) -> Entry:
    may_stand = finding.fingerprint in waived or item.get("waived") is True
    entry = _entry(
        _with_source(finding, item),
        Standing.WAIVED if may_stand else Standing.OPEN,
        why=waived.get(finding.fingerprint, ""),
    )
    return replace(entry, status=str(item.get("status", "")), carried=item.get("carried") is True)


def _with_source(finding: Finding, item: Mapping[str, Any]) -> Finding:
    kept = {key: str(item[key]) for key in ("evidence", "suggestion") if item.get(key)}
    return finding.model_copy(update=kept)


def _entry(finding: Finding, standing: Standing, *, why: str = "") -> Entry:
    return Entry(
        standing=standing,
        panel=finding.panel,
        file=finding.file,
        line=finding.line,
        end_line=finding.end_line,
        rule=finding.rule,
        severity=finding.severity,
        confidence=finding.confidence,
        message=finding.message,
        evidence=finding.evidence,
        suggestion=finding.suggestion,
        fingerprint=finding.fingerprint,
        why=why,
    )


def _left_out(panel: Panel, item: Mapping[str, Any]) -> Entry:
    said = item["finding"]
    severity = said.get("severity")
    standing = _LEFT_OUT.get(item.get("kind", ""), Standing.OTHER)
    return Entry(
        standing=standing,
        panel=panel,
        file=str(said.get("file", "")),
        line=_number(said.get("line")),
        end_line=_number(said.get("end_line")),
        rule=str(said.get("rule", "")),
        severity=Severity(severity) if severity in list(Severity) else None,
        message=str(said.get("message", "")),
        evidence=str(said.get("evidence", "")),
        suggestion=str(said.get("suggestion", "")),
        fingerprint=str(said.get("fingerprint", "")),
        # "The base has it already" is what the standing says.
        why="" if standing is Standing.BASE else str(item["reason"]).removeprefix(_REFUTED),
        source=str(item["source"]),
    )


def _number(said: Any) -> int:
    return said if isinstance(said, int) and not isinstance(said, bool) else 0
