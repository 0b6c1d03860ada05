"""The format of a case: a small repository before and after a change, and what is wrong with the change.

One YAML file each, `cases/<panel>/<name>.yaml` for planted defects and `cases/clean/<name>.yaml` for changes that look
suspicious and are right. `load` reads and checks them; nothing here knows what the panels find.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sdlc.domain import Panel, Severity

CASES = Path(__file__).parent / "cases"
CLEAN = "clean"
TOLERANCE = 3
"""Lines that a finding may be away from the place of its label."""
LEAST_CASES: Mapping[str, int] = {**{panel.value: 15 for panel in Panel}, CLEAN: 36}

STANDS_FOR: Mapping[str, str] = {
    # Assembled here, so that no scanner of a host takes a case for a secret that somebody has lost.
    "AWS_KEY_ID": "AKIA" + "Q3EGRIXVP7ZTL5MD",
    "AWS_SECRET": "pT7vQx2LkW9sZr4N" + "eYb1HgUo5JmCd8Ai3FqXtR6w",
    "GITHUB_TOKEN": "ghp_" + "R7wXk2mQv9LsTz4YbN6cHj1PdUe3Ao5GiFr8",
    "NPM_TOKEN": "npm_" + "Zk3VbQ9sWx2LrT7nYc5HgJp1MdUe8A0oFi4q",
    "PRIVATE_KEY_BEGIN": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "PRIVATE_KEY_END": "-----END OPENSSH " + "PRIVATE KEY-----",
    "NPM_HOST": "packages.example",
    # Characters that nobody would see in a review of the case itself.
    "RLO": "\u202e",
    "LRI": "\u2066",
    "PDI": "\u2069",
    "RLM": "\u200f",
    "ZWJ": "\u200d",
}
_PLACEHOLDER = re.compile(r"\{\{([A-Z_]+)\}\}")
_REPEATED = re.compile(r"^[ +-]?\{\{REPEAT (\d+)\}\}\n(.*?)^[ +-]?\{\{END\}\}\n", re.MULTILINE | re.DOTALL)


class CaseInvalid(ValueError):
    """A case can't be used; the message names it and the mend."""


@dataclass(frozen=True)
class Entry:
    """A file of a tree, or a symbolic link to `content`."""

    content: str
    mode: Literal["644", "755", "link"] = "644"


Tree = Mapping[str, Entry]


@dataclass(frozen=True)
class Span:
    """Lines of a file of the head, as a closed range."""

    file: str
    first: int
    last: int

    def holds(self, file: str, line: int) -> bool:
        return self.file == file and self.first <= line <= self.last


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Place(_Part):
    """Where a finding may stand. Exactly one of `at`, `line` and `anywhere` is given."""

    file: str
    at: str = ""
    """A piece of the one line of the head that it begins at; it must occur once."""
    to: str = ""
    """A piece of the one line that it ends at; by default it is the same."""
    line: int = 0
    """Instead of `at`, where there is no text to name, as in a symbolic link."""
    anywhere: bool = False
    """Instead of `at`: about the file as a whole."""
    tolerance: int = TOLERANCE

    @model_validator(mode="after")
    def _one_way(self) -> Place:
        if sum((bool(self.at), bool(self.line), self.anywhere)) != 1:
            raise ValueError("give one of `at`, `line` and `anywhere`")
        return self


class Defect(Place):
    """One thing that is wrong with the change."""

    places: tuple[Place, ...] = ()
    """Other places where it can as well be told."""
    panel: Panel
    also: tuple[Panel, ...] = ()
    """Other panels that may rightly tell it."""
    severity: Severity
    """At least; a milder finding does not count as found."""
    findable: Literal["analyser", "model"]
    """`analyser`: by a program of the kinds that the panels have, without knowing what the code is for."""
    wrong: Annotated[str, Field(min_length=20)]
    rules: tuple[str, ...] = ()
    """Patterns (regular expressions) of the rules that count; empty: the place alone counts."""

    def counts(self, rule: str) -> bool:
        """May a finding of this rule be about the defect?"""
        return not self.rules or any(re.search(pattern, rule) for pattern in self.rules)


Becomes = Literal["kept", "refuted", "hallucinated", "repeats-analyser", "repeats-lens", "over-bound"]


class Recorded(_Part):
    """A finding that the recorded model says, and what should become of it."""

    panel: Panel
    lens: str = ""
    """Which of the panel's lenses says it; empty: the first."""
    file: str
    at: str = ""
    line: int = 0
    rule: str
    severity: Severity = Severity.MAJOR
    confidence: float = 0.9
    message: str
    evidence: str = ""
    becomes: Becomes
    slice: int = 0
    """Counted from 1: the slice of the change in which the line has to be for the model to say it; 0: it is said
    whenever the file is shown."""


class Text(_Part):
    """The file of a case."""

    ticket: str
    description: str = ""
    why: str = ""
    """Of a clean change: what looks suspicious, and why it is right."""
    both: dict[str, str] = {}
    """Files that the change leaves alone."""
    change: dict[str, str] = {}
    """Files that it changes, whole, each line with a mark: `+`, `-` or a space."""
    new: dict[str, str] = {}
    gone: dict[str, str] = {}
    renamed: dict[str, str] = {}
    """Old path → new path, under which the file stands in `change`."""
    links: dict[str, str] = {}
    """New symbolic links: path → target."""
    modes: dict[str, Literal["755"]] = {}
    """Files that the change makes executable."""
    crlf: tuple[str, ...] = ()
    """Files whose lines end with CR LF, before and after."""
    incomplete: tuple[Panel, ...] = ()
    """Panels that can't look at all of it, and have to say so."""
    defects: tuple[Defect, ...] = ()
    model: tuple[Recorded, ...] = ()


@dataclass(frozen=True)
class Case:
    group: str
    """The folder: a panel's name or `clean`."""
    name: str
    text: Text

    @property
    def title(self) -> str:
        return f"{self.group}/{self.name}"

    @property
    def is_clean(self) -> bool:
        return self.group == CLEAN

    @cached_property
    def before(self) -> Tree:
        return self._tree("-", {new: old for old, new in self.text.renamed.items()}, self.text.gone)

    @cached_property
    def after(self) -> Tree:
        tree = {**self._tree("+", {}, self.text.new)}
        tree.update({path: Entry(target, "link") for path, target in self.text.links.items()})
        tree.update({path: Entry(tree[path].content, mode) for path, mode in self.text.modes.items()})
        return tree

    def spans(self, defect: Defect) -> tuple[Span, ...]:
        """Where a finding counts as this defect, the tolerance included."""
        return tuple(self._span(place) for place in (defect, *defect.places))

    def line_of(self, file: str, piece: str) -> int:
        """The number of the line of the head that a piece of text is in. Raises CaseInvalid unless it is one line."""
        entry = self.after.get(file)
        if entry is None:
            raise CaseInvalid(f"{self.title}: {file} is not there after the change")
        wanted = filled(piece)
        found = [number for number, line in enumerate(entry.content.split("\n"), 1) if wanted in line]
        if len(found) != 1:
            raise CaseInvalid(f"{self.title}: `{piece}` is in {len(found)} lines of {file}; it has to be in one")
        return found[0]

    def _tree(self, mark: str, renamed: Mapping[str, str], more: Mapping[str, str]) -> Tree:
        texts = {path: filled(text) for path, text in {**self.text.both, **more}.items()}
        for path, text in self.text.change.items():
            side = _side(filled(text), mark, f"{self.title}: {path}")
            if side is not None:
                texts[renamed.get(path, path)] = side
        crlf = {*self.text.crlf, *(renamed.get(path, path) for path in self.text.crlf)}
        return {path: Entry(text.replace("\n", "\r\n") if path in crlf else text) for path, text in texts.items()}

    def _span(self, place: Place) -> Span:
        if place.anywhere or place.line:
            entry = self.after.get(place.file)
            if entry is None:
                raise CaseInvalid(f"{self.title}: {place.file} is not there after the change")
            lines = max(entry.content.count("\n"), 1)
            if place.line > lines:
                raise CaseInvalid(f"{self.title}: {place.file} has no line {place.line}")
            first, last = (1, lines) if place.anywhere else (place.line, place.line)
        else:
            first = self.line_of(place.file, place.at)
            last = self.line_of(place.file, place.to) if place.to else first
        if last < first:
            raise CaseInvalid(f"{self.title}: `{place.to}` stands before `{place.at}`")
        return Span(place.file, first - place.tolerance, last + place.tolerance)


def filled(text: str) -> str:
    """The text with what its placeholders and repetitions stand for."""

    def repeated(match: re.Match[str]) -> str:
        return "".join(match[2].replace("{{N}}", str(number)) for number in range(1, int(match[1]) + 1))

    def value(match: re.Match[str]) -> str:
        if match[1] not in STANDS_FOR:
            raise CaseInvalid(f"nobody knows what {match[0]} stands for")
        return STANDS_FOR[match[1]]

    return _PLACEHOLDER.sub(value, _REPEATED.sub(repeated, text))


def _side(text: str, mark: str, where: str) -> str | None:
    """What a marked text is before (`-`) or after (`+`); None if nothing is there."""
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if line[0] in f" {mark}\n":
            lines.append(line if line == "\n" else line[1:])
        elif line[0] not in "+-":
            raise CaseInvalid(f"{where}, line {number}: begins with none of `+`, `-` and a space")
    return "".join(lines) or None


# --- reading ------------------------------------------------------------------------------


def load(folder: Path = CASES, *, least: Mapping[str, int] = LEAST_CASES) -> tuple[Case, ...]:
    """All cases, checked. Raises CaseInvalid with all that is wrong."""
    cases: list[Case] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*/*.yaml")):
        try:
            case = read(path)
            problems += _problems(case)
        except CaseInvalid as error:
            problems.append(str(error))
        else:
            cases.append(case)
    problems += _of_all(cases, least)
    if problems:
        raise CaseInvalid("\n".join(problems))
    return tuple(cases)


def read(path: Path) -> Case:
    """Raises CaseInvalid."""
    title = f"{path.parent.name}/{path.stem}"
    try:
        return Case(path.parent.name, path.stem, Text.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))))
    except (yaml.YAMLError, ValidationError) as error:
        raise CaseInvalid(f"{title}: {error}") from error


def _of_all(cases: Sequence[Case], least: Mapping[str, int]) -> Iterator[str]:
    for group, number in least.items():
        there = sum(case.group == group for case in cases)
        if there < number:
            yield f"{group}: {there} cases, and {number} are due"
    for name in {case.name for case in cases if sum(other.name == case.name for other in cases) > 1}:
        yield f"{name}: there is more than one case of this name"


def _problems(case: Case) -> Iterator[str]:
    if case.group not in (CLEAN, *Panel):
        yield f"{case.title}: there is no panel {case.group}"
    if case.before == case.after:
        yield f"{case.title}: nothing changes"
    if case.is_clean and (case.text.defects or not case.text.why):
        yield f"{case.title}: a clean case has no defects, and says why it is right"
    if not case.is_clean and not any(defect.panel == case.group for defect in case.text.defects):
        yield f"{case.title}: it has no defect of its panel"
    changed = {path for path, entry in case.after.items() if case.before.get(path) != entry}
    for defect in case.text.defects:
        for span in case.spans(defect):
            if span.file not in changed:
                yield f"{case.title}: {span.file} is not part of the change"
    for recorded in case.text.model:
        if recorded.at:
            case.line_of(recorded.file, recorded.at)
        elif recorded.becomes != "hallucinated" and not recorded.line:
            yield f"{case.title}: `{recorded.message}` stands nowhere"
