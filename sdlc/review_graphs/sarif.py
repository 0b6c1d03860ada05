"""Findings as SARIF 2.1.0 (OASIS standard of 27 March 2020), for code hosts and editors.

Findings that people waived and those that the baseline accepts are in it as suppressed results. What was refuted,
resolved or left out is not: a reader of SARIF would take it for found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from sdlc import __version__, markdown
from sdlc.domain import Panel, PanelReport, PanelState, Severity, SourceReport, SourceState
from sdlc.integrations.git.paths import path_bytes
from sdlc.review_graphs.reviewed import Entry, Reviewed, Standing, reviewed
from sdlc.untrusted import visible_text

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
_LEVEL = {
    Severity.BLOCKER: "error",
    Severity.MAJOR: "error",
    Severity.MINOR: "warning",
    Severity.INFO: "note",
}
_PROBLEM = {"error": "error", "warning": "warning", "note": "recommendation"}
_SECURITY_SEVERITY = {
    Severity.BLOCKER: "9.5",
    Severity.MAJOR: "8.0",
    Severity.MINOR: "5.0",
    Severity.INFO: "2.0",
}
"""Code hosts rank by it: above 9 critical, from 7 high, from 4 medium."""
_PRECISION = ((0.9, "very-high"), (0.8, "high"), (0.5, "medium"), (0.0, "low"))
_SUPPRESSED = {
    Standing.WAIVED: "A person waived it.",
    Standing.BASELINE: "The committed baseline accepts it.",
}
_BASELINE_STATE = {"new": "new", "open": "unchanged"}
_MAY_STAND = "If it may stand, say why: with `sdlc waive` in a run, or in `.sdlc/baseline.json`."

_PLACEHOLDER = re.compile(r"\{(\d+)\}")
_LINK = "]("


def export(reviews: Iterable[PanelReport | Reviewed], *, waived: Iterable[str] = ()) -> dict[str, Any]:
    """One SARIF document with a run for each panel; findings whose fingerprint is in `waived` are suppressed.

    A report without its document gives results without snippets and fixes (`read_reviews` has them).
    """
    return _document(_run([review], review.panel) for review in _whole(reviews, waived))


def merged(reviews: Iterable[PanelReport | Reviewed], *, waived: Iterable[str] = ()) -> dict[str, Any]:
    """The same in one run, for code hosts that take no more; the properties of a result name its panel."""
    return _document([_run(_whole(reviews, waived), None)])


def _whole(reviews: Iterable[PanelReport | Reviewed], waived: Iterable[str]) -> list[Reviewed]:
    without = dict.fromkeys(waived, "")
    return [reviewed(review, waived=without) if isinstance(review, PanelReport) else review for review in reviews]


def _document(runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": list(runs)}


def _run(reviews: Sequence[Reviewed], panel: Panel | None) -> dict[str, Any]:
    told = [entry for review in reviews for kind in (Standing.OPEN, *_SUPPRESSED) for entry in review.standing(kind)]
    by_rule: dict[str, list[Entry]] = {}
    for entry in told:
        by_rule.setdefault(_id(entry.rule), []).append(entry)
    rules = {rule: index for index, rule in enumerate(by_rule)}
    head = next((review.report.head_sha for review in reviews), "")
    # Either every result of a run says what is known of it, or none does.
    suppresses = any(entry.standing in _SUPPRESSED for entry in told)
    compares = all(_baseline_state(entry) for entry in told)
    return {
        "tool": {
            "driver": {
                "name": f"sdlc {panel.value} panel" if panel else "sdlc",
                "version": __version__,
                "rules": [_rule(rule, entries) for rule, entries in by_rule.items()],
            }
        },
        # What stands before the last slash is the category by which code hosts tell analyses apart.
        "automationDetails": {"id": f"sdlc/{panel.value}/{head}" if panel else f"sdlc/{head}"},
        "invocations": [_invocation(reviews)],
        "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The root of the repository."}}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(entry, rules, suppresses=suppresses, compares=compares) for entry in told],
        "properties": {"state": _state(reviews).value, "headSha": head},
    }


def _state(reviews: Sequence[Reviewed]) -> PanelState:
    states = {review.report.state for review in reviews}
    return next((s for s in (PanelState.INCOMPLETE, PanelState.FINDINGS) if s in states), PanelState.CLEAN)


def _invocation(reviews: Sequence[Reviewed]) -> dict[str, Any]:
    """What ran and what did not: a result file without findings must not look clean when nobody has looked."""
    silent = [(review, source) for review in reviews for source in review.silent]
    return {
        "executionSuccessful": all(review.is_complete for review in reviews)
        and not any(source.required for _, source in silent),
        "toolExecutionNotifications": [
            {
                "level": "error" if source.required else "note",
                "message": {"text": _text(_said(source))},
                "properties": {"panel": review.panel.value},
            }
            for review, source in silent
        ],
    }


def _said(source: SourceReport) -> str:
    state = "failed" if source.state is SourceState.FAILED else "not run"
    return f"{source.name}: {state}" + (f": {source.note}" if source.note else "")


def _rule(rule: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """A rule by what is found of it here: its weight is that of the worst of its findings."""
    worst = min((entry.severity or Severity.INFO for entry in entries), key=lambda severity: severity.rank)
    surest = max(entry.confidence for entry in entries)
    level = _LEVEL[worst]
    panels = list(dict.fromkeys(entry.panel for entry in entries))
    short, long = _described(rule, panels)
    properties: dict[str, Any] = {
        "tags": [panel.value for panel in panels],
        "precision": next(word for least, word in _PRECISION if surest >= least),
        "problem.severity": _PROBLEM[level],
    }
    if Panel.SECURITY in panels:
        properties["security-severity"] = _SECURITY_SEVERITY[worst]
    return {
        "id": rule,
        "name": _name(rule),
        "shortDescription": {"text": short},
        "fullDescription": {"text": long},
        "help": {
            "text": f"{long} {_MAY_STAND}",
            "markdown": f"{markdown.inline(long, 1_000)}\n\n{_MAY_STAND}",
        },
        "defaultConfiguration": {"level": level},
        "properties": properties,
    }


def _described(rule: str, panels: Sequence[Panel]) -> tuple[str, str]:
    source, _, rest = rule.partition(":")
    by = f"the {' and '.join(panel.value for panel in panels)} panel"
    how = f"`{source}` found it for {by}, and the base of the change does not have it."
    words = rest.replace("-", " ")
    if source == "lens":
        lens, _, detail = rest.partition("/")
        how = f"A model said it when {by} asked about {lens}; hold it against the code before you act on it."
        words = (detail or lens).replace("-", " ")
    # A code such as `B608` says nothing by itself.
    short = f"{words[:1].upper()}{words[1:]} ({rule})" if words.islower() else rule.replace(":", " ", 1)
    return short, f"{short}. {how}"


def _result(entry: Entry, rules: Mapping[str, int], *, suppresses: bool, compares: bool) -> dict[str, Any]:
    severity = entry.severity or Severity.INFO
    region: dict[str, Any] = {"startLine": max(entry.line, 1), "endLine": max(entry.line, entry.end_line, 1)}
    if _is_code_of(entry):
        region["snippet"] = {"text": entry.evidence}
    result: dict[str, Any] = {
        "ruleId": _id(entry.rule),
        "ruleIndex": rules[_id(entry.rule)],
        "level": _LEVEL[severity],
        "message": {"text": _text(entry.message) or _id(entry.rule)},
        "locations": [{"physicalLocation": {"artifactLocation": _location(entry), "region": region}}],
        "partialFingerprints": {"sdlc/v1": entry.fingerprint},
        # SARIF's rank runs from 0 to 100.
        "rank": round(entry.confidence * 100, 1),
        "properties": {"severity": severity.value, "panel": entry.panel.value},
    }
    if entry.evidence and "snippet" not in region:
        result["properties"]["evidence"] = entry.evidence
    if entry.suggestion:
        result["fixes"] = [_fix(entry)]
    if suppresses:
        result["suppressions"] = _suppressions(entry)
    if compares:
        result["baselineState"] = _baseline_state(entry)
    return result


def _is_code_of(entry: Entry) -> bool:
    """Is the evidence the text of the finding's lines? A model's may be a case, and long code is cut."""
    lines = max(entry.end_line - entry.line, 0) + 1
    return bool(entry.evidence) and not entry.rule.startswith("lens:") and len(entry.evidence.splitlines()) == lines


def _suppressions(entry: Entry) -> list[dict[str, Any]]:
    if entry.standing not in _SUPPRESSED:
        return []
    why = visible_text(entry.why)[0] or _SUPPRESSED[entry.standing]
    return [{"kind": "external", "status": "accepted", "justification": why}]


def _baseline_state(entry: Entry) -> str:
    """Empty where nothing is known of an earlier round; what the baseline accepts was there before."""
    return "unchanged" if entry.standing is Standing.BASELINE else _BASELINE_STATE.get(entry.status, "")


def _fix(entry: Entry) -> dict[str, Any]:
    first = max(entry.line, 1)
    deleted = {"startLine": first, "endLine": max(first, entry.end_line)}
    replacement = {"deletedRegion": deleted, "insertedContent": {"text": entry.suggestion}}
    return {
        "description": {"text": "Suggested replacement"},
        "artifactChanges": [{"artifactLocation": _location(entry), "replacements": [replacement]}],
    }


def _location(entry: Entry) -> dict[str, str]:
    return {"uri": quote(path_bytes(entry.file)), "uriBaseId": "%SRCROOT%"}


def _text(text: str) -> str:
    """Words for a `message`, in which nothing is taken for a link or a placeholder of SARIF's."""
    shown = visible_text(text)[0].replace(_LINK, "] (")
    return _PLACEHOLDER.sub(r"{{\1}}", shown)


def _id(rule: str) -> str:
    return " ".join(visible_text(rule)[0].split())[:255] or "unnamed"


def _name(rule: str) -> str:
    """`lens:correctness/off-by-one` → `OffByOne`; codes such as `ruff:B006` stay what they are."""
    last = rule.replace("/", ":").rpartition(":")[2]
    return "".join(part[:1].upper() + part[1:] for part in last.split("-")) or rule
