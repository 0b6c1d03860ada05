"""From what the sources found to one report: doubles out, the worst first, and what became of the earlier findings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sdlc.domain import Finding, PanelReport, PanelState, SourceReport, SourceState, Usage
from sdlc.policy import MINIMUM_CONFIDENCE
from sdlc.review_graphs.findings import Dropped
from sdlc.review_graphs.scope import Scope

_WORD = re.compile(r"[a-z]{5,}")
_STEM = 6
"""Letters by which two words count as the same: argument and arguments, mutable and mutability."""


@dataclass(frozen=True)
class Found:
    """What one source handed in."""

    source: SourceReport
    findings: tuple[Finding, ...] = ()
    dropped: tuple[Dropped, ...] = ()


@dataclass
class Merged:
    """A report in the making."""

    kept: list[Finding] = field(default_factory=list)
    dropped: list[tuple[str, Dropped]] = field(default_factory=list)
    """With the name of the source that it came from."""
    owner: dict[str, str] = field(default_factory=dict)
    """Fingerprint → the source that it came from."""


def merge(scope: Scope, found: Sequence[Found], *, most_model_findings: int) -> tuple[PanelReport, dict[str, Any]]:
    """The report, still without its artifact, and the document that the artifact holds."""
    merged = _without_doubles(found)
    _cap_model_findings(merged, most_model_findings)
    carried = _carried(scope, found, merged.kept)
    findings = sorted([*merged.kept, *carried], key=_rank)
    sources = tuple(_counted(item, merged) for item in found)
    report = PanelReport(
        panel=scope.panel,
        head_sha=scope.change.head_sha,
        state=state_of(sources, findings, scope.waived),
        findings=tuple(finding.without_source() for finding in findings),
        sources=sources,
        usage=Usage.total(source.usage for source in sources),
    )
    return report, _document(scope, report, findings, carried, found, merged)


def state_of(sources: Sequence[SourceReport], findings: Sequence[Finding], waived: Sequence[str]) -> PanelState:
    """`incomplete` if something required said nothing; what was waived does not count as a finding."""
    if any(source.required and source.state is not SourceState.OK for source in sources):
        return PanelState.INCOMPLETE
    is_open = any(finding.fingerprint not in waived for finding in findings)
    return PanelState.FINDINGS if is_open else PanelState.CLEAN


def _without_doubles(found: Sequence[Found]) -> Merged:
    merged = Merged()
    fingerprints: set[str] = set()
    analysed: list[Finding] = []
    # Analysers come first: where both say the same, what can be proved stays.
    for item in sorted(found, key=lambda item: item.source.kind != "analyser"):
        is_lens = item.source.kind == "lens"
        for finding in item.findings:
            if finding.fingerprint in fingerprints:
                reason = "said twice"
            elif is_lens and any(_repeats(finding, other) and _stands_for(other, finding) for other in analysed):
                reason = "an analyser says it already"
            else:
                reason = ""
            if reason:
                merged.dropped.append((item.source.name, Dropped(finding.model_dump(mode="json"), reason)))
                continue
            fingerprints.add(finding.fingerprint)
            merged.kept.append(finding)
            merged.owner[finding.fingerprint] = item.source.name
            if not is_lens:
                analysed.append(finding)
    return merged


def _repeats(said: Finding, other: Finding) -> bool:
    """The same lines of the same file, and a word in common that is more than grammar."""
    if said.file != other.file or said.line > other.end_line or other.line > said.end_line:
        return False
    return bool(_stems(f"{said.rule} {said.message}") & _stems(other.message))


def _stands_for(other: Finding, said: Finding) -> bool:
    """Does the analyser say it with at least the same weight? A remark must not take a blocker's place."""
    return other.severity.rank <= said.severity.rank and other.confidence >= MINIMUM_CONFIDENCE


def _stems(text: str) -> set[str]:
    return {word[:_STEM] for word in _WORD.findall(text.lower())} - {"should", "instea", "becaus", "which", "there"}


def _cap_model_findings(merged: Merged, most: int) -> None:
    said = sorted((finding for finding in merged.kept if _is_model(finding)), key=_rank)
    over = {finding.fingerprint for finding in said[max(most, 0) :]}
    for finding in [finding for finding in merged.kept if finding.fingerprint in over]:
        merged.kept.remove(finding)
        reason = f"more than {most} findings of models in one panel"
        merged.dropped.append((merged.owner[finding.fingerprint], Dropped(finding.model_dump(mode="json"), reason)))


def _carried(scope: Scope, found: Sequence[Found], kept: Sequence[Finding]) -> list[Finding]:
    """Earlier findings whose source failed this time: still open, for nobody has looked."""
    present = {finding.fingerprint for finding in kept}
    silent = {_base_name(item.source) for item in found if item.source.required and item.source.state != SourceState.OK}
    return [
        finding for finding in scope.previous if finding.fingerprint not in present and _source_of(finding) in silent
    ]


def _document(
    scope: Scope,
    report: PanelReport,
    findings: Sequence[Finding],
    carried: Sequence[Finding],
    found: Sequence[Found],
    merged: Merged,
) -> dict[str, Any]:
    before = {finding.fingerprint for finding in scope.previous}
    now = {finding.fingerprint for finding in findings}
    dropped = [
        *((item.source.name, dropped) for item in found for dropped in item.dropped),
        *merged.dropped,
    ]
    return {
        "panel": report.panel.value,
        "base_sha": scope.change.base_sha,
        "head_sha": report.head_sha,
        "state": report.state.value,
        "findings": [
            {
                **finding.model_dump(mode="json"),
                "status": "open" if finding.fingerprint in before else "new",
                "waived": finding.fingerprint in scope.waived,
                "carried": finding in carried,
            }
            for finding in findings
        ],
        "resolved": [f.model_dump(mode="json") for f in scope.previous if f.fingerprint not in now],
        "dropped": [{"source": source, **item.as_json()} for source, item in dropped],
        "sources": [source.model_dump(mode="json") for source in report.sources],
        "unread": {file.path: file.hidden or file.unread for file in scope.files if file.unread},
        "uncovered": list(scope.uncovered),
    }


def _counted(item: Found, merged: Merged) -> SourceReport:
    dropped = sum(1 for source, _ in merged.dropped if source == item.source.name)
    if not dropped:
        return item.source
    return item.source.model_copy(
        update={"found": max(item.source.found - dropped, 0), "dropped": item.source.dropped + dropped}
    )


def _rank(finding: Finding) -> tuple[int, float, str, int, str]:
    return finding.severity.rank, -finding.confidence, finding.file, finding.line, finding.rule


def _is_model(finding: Finding) -> bool:
    return finding.rule.startswith("lens:")


def _source_of(finding: Finding) -> str:
    """The source of a finding, from its rule: `ruff:B006` → `ruff`, `lens:correctness/off-by-one` → `correctness`."""
    source, _, rest = finding.rule.partition(":")
    return rest.partition("/")[0] if source == "lens" else source


def _base_name(source: SourceReport) -> str:
    """Without the slice: `correctness 2/3` → `correctness`."""
    return source.name.partition(" ")[0]
