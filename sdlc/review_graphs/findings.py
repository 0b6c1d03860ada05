"""Findings on their way from a source to the report: fingerprints, and what the change did not bring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sdlc.domain import Finding, Panel
from sdlc.review_graphs.analyzers.base import Raw
from sdlc.review_graphs.scope import ScopedFile

LONGEST_MESSAGE = 300
LONGEST_EVIDENCE = 800
WHOLE_CODE_LINES = 5
"""Up to here all lines of a finding are its code; of more only the first is, or any edit of a function renamed it."""
SHORTEST_SOURCE = 12
"""Characters. A shorter line (`return x`) may stand in a message without being a quotation."""

DroppedFor = Literal["refuted", "outside", "repeated", "over", "base", "baseline", "other"]
"""Why a finding is not published: a second look refuted it, it is not about lines of the change, something else says
it already, there are too many, the base has it, the committed baseline accepts it."""

Code = Callable[[str, int, int], str]
"""(path, first line, last line) → the text of these lines; empty where there are none."""


@dataclass(frozen=True)
class Dropped:
    """A finding that is not published, and why. It stays in the report's artifact."""

    finding: dict[str, Any]
    reason: str
    kind: DroppedFor = "other"

    def as_json(self) -> dict[str, Any]:
        return {"finding": self.finding, "reason": self.reason, "kind": self.kind}


@dataclass(frozen=True)
class Numbered:
    """A finding with the code it is about, and which of its kind it is: equal mistakes on equal lines are two."""

    finding: Finding
    code: str
    number: int = 0

    def again(self, number: int) -> Numbered:
        return replace(self, number=number)

    def fingerprinted(self, rule: str = "") -> Finding:
        """The finding with its identity: by `rule`, or its own where none is given."""
        suffix = f"\n#{self.number}" if self.number else ""
        fingerprint = Finding.fingerprint_of(rule or self.finding.rule, self.finding.file, f"{self.code}{suffix}")
        return self.finding.model_copy(update={"fingerprint": fingerprint})


def introduced(
    head: Sequence[Raw],
    base: Sequence[Raw],
    *,
    files: Sequence[ScopedFile],
    panel: Panel,
    head_code: Code,
    base_code: Code,
) -> tuple[list[Finding], list[Dropped]]:
    """What the change brings: findings of the head that the base does not have, by rule, file and code.

    Where the base has one of several equal ones, those on unchanged lines are taken to be the old ones.
    """
    by_path = {file.path: file for file in files}
    moved = {file.on_base: file.path for file in files if file.on_base}

    def is_changed(item: Numbered) -> bool:
        file = by_path.get(item.finding.file)
        return file is not None and file.is_changed(item.finding.line, item.finding.end_line)

    old = _numbered((_finding(raw, panel, moved.get(raw.file, raw.file), base_code) for raw in base), lambda _: False)
    known = {item.fingerprinted().fingerprint for item in old}
    kept: list[Finding] = []
    dropped: list[Dropped] = []
    for item in _numbered((_finding(raw, panel, raw.file, head_code) for raw in head), is_changed):
        finding = item.fingerprinted()
        if finding.file not in by_path:
            dropped.append(Dropped(finding.model_dump(mode="json"), "the file is not part of the change", "outside"))
        elif finding.fingerprint in known:
            dropped.append(Dropped(finding.model_dump(mode="json"), "the base has it already", "base"))
        else:
            kept.append(finding)
    return kept, dropped


def without_source(message: str, lines: Iterable[str]) -> str:
    """The message without whole lines of the file in it: messages stand in histories, source does not."""
    for line in {text.strip() for text in lines}:
        if len(line) >= SHORTEST_SOURCE and line in message:
            message = message.replace(line, "…")
    return message


def _finding(raw: Raw, panel: Panel, path: str, code: Code) -> Numbered:
    last = max(raw.line, raw.end_line)
    text = code(raw.file, raw.line, last if last - raw.line < WHOLE_CODE_LINES else raw.line)
    message = " ".join(without_source(raw.message, text.splitlines()).split())
    finding = Finding(
        panel=panel,
        rule=raw.rule,
        severity=raw.severity,
        confidence=raw.confidence,
        file=path,
        line=max(raw.line, 1),
        end_line=max(last, 1),
        message=message[:LONGEST_MESSAGE],
        evidence="" if raw.confidential else text[:LONGEST_EVIDENCE],
        suggestion=raw.suggestion,
    )
    return Numbered(finding, text)


def _numbered(items: Iterable[Numbered], is_changed: Callable[[Numbered], bool]) -> list[Numbered]:
    ordered = sorted(items, key=lambda item: (is_changed(item), item.finding.line))
    seen: dict[tuple[str, str, str], int] = {}
    result: list[Numbered] = []
    for item in ordered:
        key = (item.finding.rule, item.finding.file, "\n".join(line.strip() for line in item.code.splitlines()))
        result.append(item.again(seen.get(key, 0)))
        seen[key] = seen.get(key, 0) + 1
    return result
