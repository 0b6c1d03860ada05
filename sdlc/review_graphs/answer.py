"""What a lens may answer, and what is left of it after it has been held against the code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from sdlc.domain import Finding, Panel, Severity
from sdlc.review_graphs.findings import Dropped, Numbered, without_source
from sdlc.review_graphs.scope import ScopedFile
from sdlc.untrusted import escaped_text, visible_text

LONGEST_MESSAGE = 600
LONGEST_EVIDENCE = 2_000
LONGEST_SUGGESTION = 4
"""Lines. A suggestion is only useful when the reader can take it in at a glance and accept it with one click."""
MOST_FINDINGS = 50
"""Of one answer. A reviewer with more to say than that has understood something else than the change."""
LAST_LINE = 2**31 - 1
"""No file has more lines; a larger number is taken for this one."""
SHORTEST_EVIDENCE = 6
"""Characters of a line by which it can be found again; shorter ones (`else:`) stand anywhere."""

_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_URL = re.compile(r"\b(?:https?|ftp|data|file):\S+", re.IGNORECASE)
_FENCED = re.compile(r"```.*?(```|\Z)", re.DOTALL)


def _line(said: Any) -> Any:
    """A whole number as it is, any other as no line at all: one odd number must not cost the other findings."""
    if isinstance(said, float) and not said.is_integer():
        return 0
    if isinstance(said, int | float):
        return int(min(max(said, 0), LAST_LINE))
    return 0 if said is None else said


Line = Annotated[int, BeforeValidator(_line)]


class LensFinding(BaseModel):
    """Lenient where the code can be asked (lines, files), strict where it can't."""

    file: str
    line: Line
    end_line: Line = 0
    severity: Severity
    confidence: float = Field(ge=0.0, le=1.0)
    rule: str = ""
    message: str
    evidence: str = ""
    suggestion: str = ""


class LensAnswer(BaseModel):
    findings: list[LensFinding]


@dataclass(frozen=True)
class Judge:
    """Holds a lens's answer against the head of the change."""

    panel: Panel
    lens: str
    files: Mapping[str, ScopedFile]
    """The files that the lens was shown."""
    lines: Mapping[str, Sequence[str]]
    """The text of each of those that an answer may name, by line."""

    def findings(self, answer: LensAnswer) -> tuple[list[Finding], list[Dropped]]:
        """What can be published, with fingerprints, and what can't, with the reason."""
        kept: list[Numbered] = []
        dropped: list[Dropped] = []
        for number, said in enumerate(answer.findings):
            if number >= MOST_FINDINGS:
                dropped.append(Dropped(said.model_dump(mode="json"), f"more than {MOST_FINDINGS} findings", "over"))
            elif reason := self._why_not(said):
                dropped.append(Dropped(said.model_dump(mode="json"), reason, "outside"))
            else:
                kept.append(self._kept(said))
        return [item.fingerprinted(f"lens:{self.lens}") for item in _told_apart(kept)], dropped

    def _why_not(self, said: LensFinding) -> str:
        file, lines = self.files.get(_path(said.file)), self.lines.get(_path(said.file), ())
        if file is None:
            return "the file is not part of what was shown"
        if not said.message.strip():
            return "it says nothing"
        first, last = self._place(said)
        if not 1 <= first <= last <= max(len(lines), 1):
            return "the line does not exist"
        return "" if file.is_near(first, last) else "the line is outside the change"

    def _place(self, said: LensFinding) -> tuple[int, int]:
        """First and last line. Models miscount, and quote well: the quoted line wins where it is one of the change."""
        path = _path(said.file)
        lines, file = self.lines.get(path, ()), self.files.get(path)
        # Held to the file before anything counts up to it.
        first, last = said.line, max(said.line, min(said.end_line, len(lines)))
        quoted = {line.strip() for line in said.evidence.splitlines() if len(line.strip()) >= SHORTEST_EVIDENCE}
        if file is None or not quoted or quoted.intersection(line.strip() for line in lines[max(first, 1) - 1 : last]):
            return first, last
        matches = [n for n, line in enumerate(lines, 1) if line.strip() in quoted and file.is_near(n, n)]
        if not matches:
            return first, last
        nearest = min(matches, key=lambda number: abs(number - first))
        return nearest, nearest

    def _kept(self, said: LensFinding) -> Numbered:
        path = _path(said.file)
        first, last = self._place(said)
        lines = self.lines.get(path, ())
        finding = Finding(
            panel=self.panel,
            rule=f"lens:{self.lens}" + (f"/{slug}" if (slug := _slug(said.rule)) else ""),
            severity=said.severity,
            confidence=round(said.confidence, 2),
            file=path,
            line=first,
            end_line=last,
            message=_harmless(without_source(said.message, lines)),
            evidence=visible_text(said.evidence)[0][:LONGEST_EVIDENCE],
            suggestion=_short(said.suggestion),
        )
        return Numbered(finding, _at(lines, first))


def _told_apart(items: Sequence[Numbered]) -> Iterator[Numbered]:
    """Two findings of one lens on one line are two findings, unless they say the same."""
    seen: dict[tuple[str, str], int] = {}
    rules: set[tuple[str, str, str]] = set()
    for item in items:
        rule = (item.finding.file, item.code, item.finding.rule)
        if rule in rules:
            continue
        rules.add(rule)
        place = rule[:2]
        yield item.again(seen.get(place, 0))
        seen[place] = seen.get(place, 0) + 1


def _path(said: str) -> str:
    path = said.strip().replace("\\", "/")
    while path.startswith("./"):
        path = path[2:]
    return path


def _at(lines: Sequence[str], number: int) -> str:
    return lines[number - 1].strip() if 1 <= number <= len(lines) else ""


def _slug(rule: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", rule.lower().removeprefix("lens:")))[:40].strip("-")


def _harmless(message: str) -> str:
    """One paragraph that carries nothing out: no pictures, links, code blocks or hidden characters."""
    message = _FENCED.sub("", visible_text(message)[0])
    message = _URL.sub("[link removed]", _LINK.sub(r"\1", message))
    message = " ".join(message.split())
    return message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…"


def _short(suggestion: str) -> str:
    text = suggestion.strip("\n")
    fits = text.strip() and len(text.splitlines()) <= LONGEST_SUGGESTION and len(text) <= LONGEST_EVIDENCE
    return text if fits and escaped_text(text) == text else ""  # what can't be seen can't be accepted with a click
