"""Reports of panels and their documents, made by hand, as the merge node and the workflow leave them."""

from __future__ import annotations

import json
from typing import Any

from sdlc.domain import Finding, Panel, PanelReport, PanelState, Repeat, Severity, SourceReport, SourceState
from sdlc.review_graphs.reviewed import Reviewed, reviewed

BASE = "b" * 40
HEAD = "c" * 40

HOSTILE = (
    "\x1b[2J\x1b]8;;http://evil.example\x07click\x1b]8;;\x07 \x9b31m @everyone see acme/parcel#1 "
    "<!-- hidden --> --> </details><script>alert(1)</script> ![x](http://evil.example/x.png) "
    "[ok](javascript:alert) ``` \u202egnp.exe\u2066 \u200b {0} | **bold** http://evil.example\n\n# Approved\r\n- [x] d"
)
"""What a model, a tool or a file may say: escape sequences, HTML, Markdown, mentions, links, hidden characters."""


def a_finding(**changes: Any) -> Finding:
    given: dict[str, Any] = {
        "panel": Panel.QUALITY,
        "rule": "lens:correctness/off-by-one",
        "severity": Severity.MAJOR,
        "confidence": 0.9,
        "file": "src/parcel/totals.py",
        "line": 3,
        "end_line": 4,
        "message": "The last item is left out: an invoice of one item is 0.",
        "fingerprint": "a1b2c3d4e5f60718",
    }
    return Finding(**{**given, **changes})


def a_report(*findings: Finding, **changes: Any) -> PanelReport:
    """As in a history: without source text."""
    report = PanelReport(
        panel=Panel.QUALITY,
        head_sha=HEAD,
        base_sha=BASE,
        state=PanelState.FINDINGS if findings else PanelState.CLEAN,
        findings=tuple(finding.without_source() for finding in findings),
    )
    return report.model_copy(update=changes)


def dropped(kind: str, reason: str, source: str = "correctness", **finding: Any) -> dict[str, Any]:
    """A finding that was left out, whole or as a model said it."""
    said = {"file": "src/parcel/totals.py", "line": 9, "severity": "minor", "message": "Something.", **finding}
    return {"source": source, "finding": said, "reason": reason, "kind": kind}


def a_document(
    *findings: Finding, left_out: tuple[dict[str, Any], ...] = (), resolved: tuple[Finding, ...] = (), **marks: Any
) -> str:
    """The document behind a report; `marks` (status, waived, carried) are those of all its findings."""
    stated = [
        {**finding.model_dump(mode="json"), "status": "new", "waived": False, "carried": False, **marks}
        for finding in findings
    ]
    gone = [finding.model_dump(mode="json") for finding in resolved]
    return json.dumps({"findings": stated, "resolved": gone, "dropped": list(left_out)})


def a_review(*findings: Finding, **changes: Any) -> Reviewed:
    return reviewed(a_report(*findings, **changes), a_document(*findings))


def a_whole_review() -> list[Reviewed]:
    """Four panels with something of everything."""
    sql = a_finding(
        panel=Panel.SECURITY,
        rule="bandit:B608",
        severity=Severity.BLOCKER,
        confidence=0.95,
        file="src/parcel/billing/invoice_store.py",
        line=41,
        end_line=41,
        message=(
            "SQL is put together from `name`, which comes from the request: whoever sets it reads every row. "
            "Use a parameter."
        ),
        evidence='cursor.execute(f"select * from invoices where name = {name}")',
        suggestion='cursor.execute("select * from invoices where name = ?", (name,))',
        fingerprint="5ec0000000000001",
    )
    mode = a_finding(
        panel=Panel.SECURITY,
        rule="file-modes:now-executable",
        severity=Severity.INFO,
        confidence=0.6,
        file="scripts/data.csv",
        line=1,
        end_line=1,
        message="The file can be executed now, and is no program; take the bit away.",
        fingerprint="5ec0000000000002",
    )
    loop = a_finding(evidence="for item in items[:-1]:", suggestion="for item in items:")
    repeated = a_finding(
        rule="lens:errors/injection", severity=Severity.MINOR, file=sql.file, line=41, fingerprint="9a11000000000003"
    )
    swallowed = a_finding(
        rule="ruff:S110", severity=Severity.MINOR, line=30, end_line=31, fingerprint="9a11000000000004"
    ).model_copy(update={"message": "An error is swallowed; log it."})
    fixed = a_finding(message="A list is shared between calls.", rule="ruff:B006", fingerprint="9a11000000000005")
    nothing = "nothing in the change for it to look at"
    idle = tuple(
        SourceReport(name=name, state=SourceState.NOT_RUN, required=False, note=nothing)
        for name in ("licences", "pins", "versions", "workflows", "containers", "migrations", "contracts", "layers")
    )
    audit = SourceReport(
        name="pip-audit", state=SourceState.FAILED, note="no answer from the advisory service; run it again"
    )
    lens = SourceReport(name="needless", kind="lens", state=SourceState.NOT_RUN, required=False, note="no model is set")
    modest = SourceReport(name="correctness", kind="lens", note="1 finding could not be challenged", found=1, refuted=1)
    quality = a_report(loop, swallowed, sources=(SourceReport(name="ruff"), modest), resolved=(fixed,)).model_copy(
        update={"repeats": (Repeat(finding=repeated, of=sql.fingerprint, panel=Panel.SECURITY),)}
    )
    left_out = (
        dropped(
            "refuted",
            "refuted: `total` is set to 0 two lines above, so it is never unbound",
            rule="lens:correctness/unbound",
            line=12,
            message="`total` may be unbound when the list is empty.",
            severity="major",
            fingerprint="9a11000000000006",
            panel="quality",
        ),
        dropped("outside", "the line does not exist", line=0, rule="typo", message="The name is misspelt."),
        dropped("base", "the base has it already", "ruff", rule="ruff:B006", message="A list is shared."),
        dropped(
            "baseline",
            "generated code, see PAR-7",
            "ruff",
            **swallowed.model_copy(update={"fingerprint": "9a11000000000007", "line": 77, "end_line": 77}).model_dump(
                mode="json"
            ),
        ),
        dropped("over", "more than 6 findings of models in one panel", rule="lens:naming", severity="info"),
        dropped("repeated", "an analyser says it already", rule="lens:correctness/s110"),
        {"source": "ruff", "finding": {}, "reason": "it says nothing"},
    )
    return [
        reviewed(a_report(panel=Panel.ARCHITECTURE, sources=idle[5:])),
        reviewed(
            a_report(sql, mode, panel=Panel.SECURITY, sources=(SourceReport(name="bandit"), *idle[3:5])),
            a_document(sql, mode),
        ),
        reviewed(
            quality,
            a_document(loop, swallowed, repeated, left_out=left_out, resolved=(fixed,), status="open"),
            waived={swallowed.fingerprint: "the error is logged by the caller"},
        ),
        reviewed(
            a_report(panel=Panel.TECHSTACK, state=PanelState.INCOMPLETE, sources=(audit, lens, *idle[:3])),
            a_document(),
        ),
    ]
