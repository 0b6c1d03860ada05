"""The plumbing around a model: recorded answers over real HTTP, and what became of each of them.

What the model "says" stands in the cases. It was written with them and says nothing about how good a model is; it
shows that slicing, the second look, merging and the dropping of what is made up do what they should.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from benchmarks.review.case import Becomes, Case, Recorded, filled
from benchmarks.review.outcome import case_json, table
from benchmarks.review.repository import reviewed, services_for
from benchmarks.review.score import CaseScore, failed, numbers, score
from sdlc.config import ModelSettings
from sdlc.demo.conversation import ChatRequest, Script, added_lines
from sdlc.demo.scripted_model import MODEL, ScriptedModel
from sdlc.domain import Finding, PanelReport
from sdlc.errors import SdlcError
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.repeats import is_model
from sdlc.review_graphs.panel import PANELS

MODEL_SECONDS = 60
_PART = re.compile(r"This is part (\d+) of (\d+) of the change")
_BY_KIND: Mapping[str, Becomes] = {"refuted": "refuted", "outside": "hallucinated", "over": "over-bound"}


@dataclass(frozen=True)
class Ended:
    """A recorded finding and what became of it."""

    recorded: Recorded
    became: str
    """As in `Recorded.becomes`, or what else happened."""

    @property
    def is_right(self) -> bool:
        return self.became == self.recorded.becomes


@dataclass(frozen=True)
class Played:
    """A case with its recorded answers."""

    score: CaseScore
    ended: tuple[Ended, ...]
    slices: int
    """Into how many parts the change was cut."""

    def as_json(self) -> dict[str, Any]:
        ended = [{"became": item.became, **item.recorded.model_dump(mode="json")} for item in self.ended]
        return {**case_json(self.score), "slices": self.slices, "recorded": ended}


class Conversation:
    """What the model says to each lens and each second look at a case, and where it has said it."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.said: dict[int, set[int]] = {}
        """By the number of the recorded finding: the slices, counted from 1, in which it was said."""
        self.slices = 1

    def script(self) -> Script:
        """Every lens has an answer; one that has nothing recorded finds nothing."""
        return Script(f"recorded for {self._case.title}").lens("*", self._lens).verify("*", self._verify)

    def line(self, recorded: Recorded) -> int:
        return self._case.line_of(recorded.file, recorded.at) if recorded.at else recorded.line

    def _lens(self, request: ChatRequest) -> Mapping[str, Any]:
        match = _PART.search(request.user_text)
        part = int(match[1]) if match else 1
        self.slices = max(self.slices, int(match[2]) if match else 1)
        shown = {(added.file, added.line) for added in added_lines(request.user_text)}
        findings = []
        for number, recorded in enumerate(self._case.text.model):
            line = self.line(recorded)
            made_up = recorded.becomes == "hallucinated" and part == 1
            if request.lens == (recorded.panel.value, lens_of(recorded)) and (
                made_up or (recorded.file, line) in shown
            ):
                self.said.setdefault(number, set()).add(part)
                findings.append(_answer(recorded, line))
        return {"findings": findings}

    def _verify(self, request: ChatRequest) -> Mapping[str, Any]:
        for recorded in self._case.text.model:
            mine = request.verifies == (recorded.panel.value, lens_of(recorded))
            if mine and filled(recorded.message) in request.user_text:
                refuted = recorded.becomes == "refuted"
                why = "The code before it makes sure that this can't happen." if refuted else "It happens as it says."
                return {"refuted": refuted, "why": why, "confidence": 0.9}
        raise LookupError(f"{self._case.title} has no recorded finding for this second look")


def lens_of(recorded: Recorded) -> str:
    return recorded.lens or PANELS[recorded.panel].lenses[0].name


def _answer(recorded: Recorded, line: int) -> dict[str, Any]:
    return {
        "file": recorded.file,
        "line": line,
        "end_line": line,
        "severity": recorded.severity.value,
        "confidence": recorded.confidence,
        "rule": recorded.rule,
        "message": filled(recorded.message),
        "evidence": recorded.evidence,
        "suggestion": "",
    }


async def played(case: Case, folder: Path) -> Played:
    """The panels on a case, with a model that says what is recorded for it."""
    conversation = Conversation(case)
    async with ScriptedModel(conversation.script()) as model:
        services = services_for(
            folder, ModelSettings(base_url=model.base_url, name=MODEL, timeout_seconds=MODEL_SECONDS)
        )
        try:
            reports, seconds = await reviewed(case, folder, services)
        except (SdlcError, TimeoutError) as error:
            result = failed(case, error)
            ended = tuple(Ended(recorded, result.problems[0]) for recorded in case.text.model)
            return Played(result, ended, conversation.slices)
    dropped = {report.panel.value: await _dropped(report, services.artifacts) for report in reports}
    ended = tuple(
        Ended(recorded, _became(recorded, conversation.said.get(number, set()), reports, dropped))
        for number, recorded in enumerate(case.text.model)
    )
    return Played(score(case, reports, seconds), ended, conversation.slices)


async def _dropped(report: PanelReport, artifacts: ArtifactStore) -> list[dict[str, Any]]:
    if report.report is None:
        return []
    document: dict[str, list[dict[str, Any]]] = json.loads(await artifacts.get(report.report))
    return document["dropped"]


def _became(
    recorded: Recorded, said: set[int], reports: Sequence[PanelReport], dropped: Mapping[str, Sequence[dict[str, Any]]]
) -> str:
    if not said:
        return "never said: no lens was shown its line"
    if recorded.slice and said != {recorded.slice}:
        return f"said in slice {', '.join(map(str, sorted(said)))}"
    became = list(dict.fromkeys(_traces(recorded, reports, dropped[recorded.panel.value])))
    return " and ".join(became) or "lost: neither published nor dropped"


def _traces(recorded: Recorded, reports: Sequence[PanelReport], dropped: Sequence[dict[str, Any]]) -> Iterator[str]:
    message = filled(recorded.message)
    rule = f"lens:{lens_of(recorded)}"
    published = {finding.fingerprint: finding for report in reports for finding in report.findings}

    def is_it(finding: Finding) -> bool:
        same = finding.panel is recorded.panel and finding.message == message
        return same and finding.rule.partition("/")[0] == rule

    if any(is_it(finding) for finding in published.values()):
        yield "kept"
    for report in reports:
        for repeat in report.repeats:
            if is_it(repeat.finding):
                first = published.get(repeat.of)
                yield "repeats-lens" if first is not None and is_model(first) else "repeats-analyser"
    for item in dropped:
        if item["finding"]["message"] == message and item["source"].partition(" ")[0] == lens_of(recorded):
            if item["kind"] == "repeated":
                yield "repeats-analyser" if "analyser" in item["reason"] else "repeats-lens"
            else:
                yield _BY_KIND.get(item["kind"], item["kind"])


# --- the report ---------------------------------------------------------------------------


def told(console: Console, all_played: Sequence[Played], *, verbose: bool) -> bool:
    """Print what became of the recorded findings. Did all of them end as they should?"""
    scores = [item.score for item in all_played]
    title = f"With recorded answers: {len(scores)} changes. The plumbing, not the quality of a model"
    console.print(table(title, numbers(scores, with_model=True), bounds=False))
    ended = [(item.score.case, each) for item in all_played for each in item.ended]
    due = Counter(each.recorded.becomes for _, each in ended)
    right = Counter(each.recorded.becomes for _, each in ended if each.is_right)
    console.print("Recorded findings that ended as they should:")
    for becomes, number in due.items():
        console.print(f"  {becomes}: {right[becomes]} of {number}")
    console.print(f"  changes read in more than one slice: {sum(item.slices > 1 for item in all_played)}")
    for case, each in ended:
        if not each.is_right or verbose:
            mark = "" if each.is_right else "[bold red]✗[/] "
            text = f"{case.title}: `{each.recorded.message}` is due to be {each.recorded.becomes}: {each.became}"
            console.print(f"  {mark}{escape(text)}", soft_wrap=True, highlight=False)
    return all(each.is_right for _, each in ended)
