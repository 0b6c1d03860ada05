"""The scores as a person and as a program reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.review.case import Defect
from benchmarks.review.score import (
    LEAST_PRECISION,
    LEAST_RECALL,
    MOST_PER_CLEAN_CHANGE,
    CaseScore,
    Judged,
    Numbers,
    Outcome,
    numbers,
)

_HEADINGS = (
    "panel",
    "planted",
    "found",
    "recall",
    "findings",
    "right",
    "precision",
    "on clean changes",
    "per clean change",
)


def table(title: str, rows: Sequence[Numbers], *, bounds: bool) -> Table:
    """A row per panel and one for all; with the bounds, those that are not met stand out."""
    result = Table(title=title, title_justify="left", box=SIMPLE)
    for heading in _HEADINGS:
        result.add_column(heading, justify="left" if heading == "panel" else "right")
    for row in rows:
        result.add_row(
            row.name,
            str(row.planted),
            str(row.found),
            _marked(f"{row.recall:.2f}", not bounds or row.recall >= LEAST_RECALL),
            str(row.findings),
            str(row.right),
            _marked(f"{row.precision:.2f}", not bounds or row.precision >= LEAST_PRECISION),
            f"{row.on_clean} of {row.clean_changes}",
            _marked(f"{row.per_clean_change:.2f}", not bounds or row.per_clean_change <= MOST_PER_CLEAN_CHANGE),
        )
    if bounds:
        result.add_section()
        result.add_row(
            "to reach", "", "", f"≥ {LEAST_RECALL}", "", "", f"≥ {LEAST_PRECISION}", "", f"≤ {MOST_PER_CLEAN_CHANGE}"
        )
    return result


def _marked(text: str, is_good: bool) -> str:
    return text if is_good else f"[bold red]{text} ✗[/]"


def details(console: Console, scores: Sequence[CaseScore], *, verbose: bool) -> None:
    """What was found beyond what is due, what could not be looked at, and if asked for each miss and each finding."""
    more = sum(defect.findable == "model" for score in scores for defect in score.found)
    all_of_them = sum(defect.findable == "model" for score in scores for defect in score.case.text.defects)
    console.print(f"Of {all_of_them} defects that need a model, {more} were found as well.")
    for score in scores:
        for problem in score.problems:
            console.print(f"[bold red]{score.case.title}[/]: {escape(problem)}", soft_wrap=True)
    if not verbose:
        return
    _list(console, "Missed", [_missed(score, defect) for score in scores for defect in due(score)])
    _list(console, "Noise", [_said(score, item) for score in scores for item in score.noise])
    _list(
        console,
        "Right",
        [_said(score, item) for score in scores for item in score.judged if item.outcome is Outcome.RIGHT],
    )


def due(score: CaseScore) -> list[Defect]:
    """What was missed and could have been found without a model."""
    return [defect for defect in score.missed if defect.findable == "analyser"]


def _list(console: Console, heading: str, lines: Sequence[str]) -> None:
    console.print(f"\n[bold]{heading}: {len(lines)}[/]")
    for line in lines:
        console.print(escape(line), soft_wrap=True, highlight=False)


def _missed(score: CaseScore, defect: Defect) -> str:
    return f"  {score.case.title}  {defect.panel.value}  {defect.file}: {defect.wrong}"


def _said(score: CaseScore, item: Judged) -> str:
    finding = item.finding
    place = f"{finding.file}:{finding.line}"
    head = f"{item.outcome.value}  {finding.panel.value}/{finding.severity.value}  {finding.rule}"
    return f"  {score.case.title}  {head}  {place}: {finding.message}"


def as_json(scores: Sequence[CaseScore]) -> dict[str, Any]:
    return {
        "numbers": [
            {
                **vars(row),
                "recall": round(row.recall, 4),
                "precision": round(row.precision, 4),
                "per_clean_change": round(row.per_clean_change, 4),
            }
            for row in numbers(scores)
        ],
        "cases": [case_json(score) for score in scores],
    }


def case_json(score: CaseScore) -> dict[str, Any]:
    return {
        "case": score.case.title,
        "seconds": score.seconds,
        "problems": list(score.problems),
        "missed": [defect.model_dump(mode="json") for defect in score.missed],
        "findings": [
            {"outcome": item.outcome.value, **item.finding.model_dump(mode="json", exclude={"evidence", "suggestion"})}
            for item in score.judged
        ],
    }
