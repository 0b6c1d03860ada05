"""From what the sources found to one report: doubles out, the worst first, and what became of the earlier findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdlc.domain import Finding, PanelReport, PanelState, Severity, SourceReport, SourceState, Usage
from sdlc.naming import counted
from sdlc.repeats import is_model, repeats, stands_for
from sdlc.review_graphs.challenge import DOUBTFUL, MOST_CHALLENGED, Challenged, worst
from sdlc.review_graphs.findings import Dropped
from sdlc.review_graphs.scope import Scope

MOST_ALIKE = 3
"""Minor findings of one rule in one file."""


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


def merge(
    scope: Scope, found: Sequence[Found], challenged: Sequence[Challenged] = (), *, most_model_findings: int
) -> tuple[PanelReport, dict[str, Any]]:
    """The report, still without its artifact, and the document that the artifact holds."""
    stood = _that_stood(found, challenged)
    merged = _without_doubles(stood)
    _let_stand(merged, scope.baseline.accepted)
    _cap_alike(merged)
    _cap_model_findings(merged, most_model_findings)
    carried = _carried(scope, stood, merged.kept)
    findings = _without_secrets(sorted([*merged.kept, *carried], key=_rank))
    sources = tuple(_counted(item, merged, carried) for item in stood)
    now = {finding.fingerprint for finding in findings}
    gone = [finding for finding in scope.previous if finding.fingerprint not in now]
    before = [f for f in (scope.earlier.resolved if scope.earlier else ()) if f.fingerprint not in now]
    report = PanelReport(
        panel=scope.panel,
        head_sha=scope.change.head_sha,
        base_sha=scope.change.base_sha,
        state=state_of(sources, findings, scope.waived),
        findings=tuple(finding.without_source() for finding in findings),
        resolved=tuple({finding.fingerprint: finding for finding in (*before, *gone)}.values()),
        sources=sources,
        usage=Usage.total(source.usage for source in sources),
    )
    return report, _document(scope, report, findings, carried, stood, merged)


def state_of(sources: Sequence[SourceReport], findings: Sequence[Finding], waived: Sequence[str]) -> PanelState:
    """`incomplete` if something required said nothing; what was waived does not count as a finding."""
    if any(source.required and source.state is not SourceState.OK for source in sources):
        return PanelState.INCOMPLETE
    is_open = any(finding.fingerprint not in waived for finding in findings)
    return PanelState.FINDINGS if is_open else PanelState.CLEAN


def _without_secrets(findings: Sequence[Finding]) -> list[Finding]:
    """What stands on a line with a secret is told without the line: reports travel further than the repository."""
    secrets = [finding for finding in findings if finding.rule.startswith("secrets:")]

    def is_told(finding: Finding) -> bool:
        return any(
            finding.file == secret.file and finding.line <= secret.end_line and secret.line <= finding.end_line
            for secret in secrets
        )

    return [finding.without_source() if is_told(finding) else finding for finding in findings]


def _that_stood(found: Sequence[Found], challenged: Sequence[Challenged]) -> list[Found]:
    """What the sources found, without what a second look refuted; what it doubts counts as doubtful."""
    words = {item.challenge.fingerprint: item for item in challenged}
    return [_stood(item, words) if item.source.kind == "lens" else item for item in found]


def _stood(item: Found, words: Mapping[str, Challenged]) -> Found:
    listened_to = {finding.fingerprint for finding in worst(item.findings)[:MOST_CHALLENGED]}
    kept: list[Finding] = []
    dropped: list[Dropped] = []
    refuted = unchallenged = 0
    for finding in item.findings:
        challenged = words.get(finding.fingerprint)
        if finding.fingerprint not in listened_to:
            reason = f"more than {MOST_CHALLENGED} findings of one lens"
            dropped.append(Dropped(finding.model_dump(mode="json"), reason, "over"))
        elif challenged is not None and challenged.refuted:
            refuted += 1
            dropped.append(Dropped(finding.model_dump(mode="json"), f"refuted: {challenged.why}", "refuted"))
        elif challenged is not None and challenged.doubted:
            kept.append(finding.model_copy(update={"confidence": min(finding.confidence, DOUBTFUL)}))
        else:
            unchallenged += challenged is not None and challenged.answer is None
            kept.append(finding)
    mine = [words[finding.fingerprint].challenge for finding in item.findings if finding.fingerprint in words]
    note = f"{counted(unchallenged, 'finding')} could not be challenged" if unchallenged else ""
    source = item.source.model_copy(
        update={
            "found": len(kept),
            "dropped": item.source.dropped + len(dropped),
            "refuted": refuted,
            "usage": Usage.total([item.source.usage, *(challenge.usage for challenge in mine)]),
            "seconds": round(item.source.seconds + max((challenge.seconds for challenge in mine), default=0.0), 3),
            "note": "; ".join(filter(None, [item.source.note, note])),
        }
    )
    return Found(source, tuple(kept), (*item.dropped, *dropped))


def _without_doubles(found: Sequence[Found]) -> Merged:
    merged = Merged()
    fingerprints: set[str] = set()
    analysed: list[Finding] = []
    said: list[Finding] = []
    conflicts = {f.file for item in found for f in item.findings if f.rule == "leftovers:merge-conflict"}
    # Analysers come first: where both say the same, what can be proved stays.
    for item in sorted(found, key=lambda item: item.source.kind != "analyser"):
        is_lens = item.source.kind == "lens"
        for finding in sorted(item.findings, key=_rank):
            if finding.fingerprint in fingerprints or _is_its_consequence(finding, conflicts):
                reason = "said twice"
            elif is_lens and any(repeats(finding, other) and stands_for(other, finding) for other in analysed):
                reason = "an analyser says it already"
            elif is_lens and any(_is_covered(finding, other) for other in said):
                reason = "another lens says it already"
            else:
                reason = ""
            if reason:
                merged.dropped.append((item.source.name, Dropped(finding.model_dump(mode="json"), reason, "repeated")))
                continue
            fingerprints.add(finding.fingerprint)
            merged.kept.append(finding)
            merged.owner[finding.fingerprint] = item.source.name
            (said if is_lens else analysed).append(finding)
    return merged


def _is_its_consequence(finding: Finding, conflicts: Collection[str]) -> bool:
    """A file with the marks of a merge in it can't be parsed either."""
    return finding.rule == "ruff:invalid-syntax" and finding.file in conflicts


def _is_covered(finding: Finding, other: Finding) -> bool:
    """Has another lens said it? Two findings of one lens on one line are two."""
    return _source_of(finding) != _source_of(other) and repeats(finding, other) and stands_for(other, finding)


def _let_stand(merged: Merged, accepted: Mapping[str, str]) -> None:
    """Take out what the base's baseline accepts; after the doubles, so that no lens says it in an analyser's place."""
    for finding in [finding for finding in merged.kept if finding.fingerprint in accepted]:
        merged.kept.remove(finding)
        dropped = Dropped(finding.model_dump(mode="json"), accepted[finding.fingerprint], "baseline")
        merged.dropped.append((merged.owner[finding.fingerprint], dropped))


def _cap_alike(merged: Merged) -> None:
    """Of one rule in one file a few are enough to see what is meant; what has to be mended is told in full."""
    seen: Counter[tuple[str, str]] = Counter()
    for finding in sorted(merged.kept, key=lambda finding: finding.line):
        if is_model(finding) or finding.severity.rank <= Severity.MAJOR.rank:
            continue
        seen[finding.rule, finding.file] += 1
        if seen[finding.rule, finding.file] > MOST_ALIKE:
            merged.kept.remove(finding)
            reason = f"more than {MOST_ALIKE} of one rule in one file"
            dropped = Dropped(finding.model_dump(mode="json"), reason, "over")
            merged.dropped.append((merged.owner[finding.fingerprint], dropped))


def _cap_model_findings(merged: Merged, most: int) -> None:
    said = sorted((finding for finding in merged.kept if is_model(finding)), key=_rank)
    over = {finding.fingerprint for finding in said[max(most, 0) :]}
    for finding in [finding for finding in merged.kept if finding.fingerprint in over]:
        merged.kept.remove(finding)
        reason = f"more than {most} findings of models in one panel"
        dropped = Dropped(finding.model_dump(mode="json"), reason, "over")
        merged.dropped.append((merged.owner[finding.fingerprint], dropped))


def _carried(scope: Scope, found: Sequence[Found], kept: Sequence[Finding]) -> list[Finding]:
    """Earlier findings that are open because nobody has looked again.

    Their source failed this time, or it is a lens and the file is as it was when it was read.
    """
    present = {finding.fingerprint for finding in kept} | set(scope.baseline.accepted)
    silent = {item.source.base_name for item in found if item.source.required and item.source.state != SourceState.OK}
    carried = []
    for finding in scope.previous:
        source = _source_of(finding)
        as_it_was = is_model(finding) and scope.was_read_by(source) and finding.file not in scope.changed_again
        in_the_change = scope.file(finding.file) is not None
        if finding.fingerprint not in present and (source in silent or (as_it_was and in_the_change)):
            carried.append(finding)
    return carried


def _document(
    scope: Scope,
    report: PanelReport,
    findings: Sequence[Finding],
    carried: Sequence[Finding],
    found: Sequence[Found],
    merged: Merged,
) -> dict[str, Any]:
    before = {finding.fingerprint for finding in scope.previous}
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
        "resolved": [finding.model_dump(mode="json") for finding in report.resolved],
        "dropped": [{"source": source, **item.as_json()} for source, item in dropped],
        "sources": [source.model_dump(mode="json") for source in report.sources],
        "unread": {file.path: file.hidden or file.unread for file in scope.files if file.unread},
        "uncovered": list(scope.uncovered),
    }


def _counted(item: Found, merged: Merged, carried: Sequence[Finding]) -> SourceReport:
    source = item.source
    dropped = sum(1 for name, _ in merged.dropped if name == source.name)
    kept = sum(1 for finding in carried if _source_of(finding) == source.base_name)
    return source.model_copy(
        update={"found": max(source.found - dropped, 0), "dropped": source.dropped + dropped, "carried": kept}
    )


def _rank(finding: Finding) -> tuple[int, float, str, int, str]:
    return finding.severity.rank, -finding.confidence, finding.file, finding.line, finding.rule


def _source_of(finding: Finding) -> str:
    """The source of a finding, from its rule: `ruff:B006` → `ruff`, `lens:correctness/off-by-one` → `correctness`."""
    source, _, rest = finding.rule.partition(":")
    return rest.partition("/")[0] if source == "lens" else source
