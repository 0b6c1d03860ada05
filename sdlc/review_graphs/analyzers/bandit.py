"""bandit: security mistakes that can be seen in one file of Python."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from sdlc.domain import Severity
from sdlc.review_graphs.analyzers.base import (
    AnalyserFailed,
    Analysis,
    Call,
    Raw,
    Subject,
    is_test,
    json_report,
    relative,
)

LEFT_OUT = (
    # An import is no mistake; the calls that may be one have rules of their own.
    *(f"B{number}" for number in range(401, 416)),
    "B603",  # a subprocess without a shell, which is the right way
    "B607",  # a program found on PATH
)
LEFT_OUT_IN_TESTS = frozenset({"B101", "B105", "B106", "B107", "B108", "B113", "B311"})
"""Assertions, made-up passwords, temporary folders, requests without a time-out and plain random numbers."""

_SEVERITY = {"HIGH": Severity.BLOCKER, "MEDIUM": Severity.MAJOR, "LOW": Severity.MINOR}
_CONFIDENCE = {"HIGH": 0.9, "MEDIUM": 0.7, "LOW": 0.4}


class Bandit:
    name = "bandit"
    configuration: tuple[str, ...] = ()
    fine = frozenset({0})

    def installed(self) -> bool:
        return importlib.util.find_spec("bandit") is not None

    def start(self, environment: str) -> tuple[str, ...]:
        # Isolated: a file of the repository that is called like a module of ours is not imported.
        return (f"{environment}/bin/python", "-I", "-m", "bandit")

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py")

    def call(self, subject: Subject, program: Sequence[str]) -> Call:
        return Call(
            command=(
                *program,
                # A `# nosec` that comes with the change would let the change excuse itself; those of the base are
                # set apart with everything else that the base has.
                *("--quiet", "--exit-zero", "--ignore-nosec", "--format", "json", "--output", subject.report),
                *("--skip", ",".join(LEFT_OUT)),
                *(f"./{file}" for file in subject.files),
            )
        )

    def read(self, report: bytes, root: str) -> Analysis:
        document = json_report(report, dict, self.name)
        try:
            findings = [_finding(item, root) for item in document["results"]]
            errors = {relative(item["filename"], root): str(item["reason"]) for item in document["errors"]}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise AnalyserFailed("bandit wrote a finding of another shape than its report has") from None
        kept = (raw for raw in findings if not (is_test(raw.file) and raw.rule.split(":")[1] in LEFT_OUT_IN_TESTS))
        return Analysis(findings=tuple(kept), unreadable=errors)


def _finding(item: dict[str, object], root: str) -> Raw:
    lines = item["line_range"] if isinstance(item.get("line_range"), list) else []
    line = int(str(item["line_number"]))
    return Raw(
        rule=f"bandit:{item['test_id']}",
        file=relative(str(item["filename"]), root),
        line=line,
        end_line=max([line, *(int(number) for number in lines)]) if isinstance(lines, list) else line,
        severity=_SEVERITY.get(str(item["issue_severity"]), Severity.MINOR),
        message=str(item["issue_text"]),
        confidence=_CONFIDENCE.get(str(item["issue_confidence"]), 0.4),
    )
