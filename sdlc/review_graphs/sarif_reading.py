"""A SARIF document of somebody's tool as findings (OASIS standard 2.1.0, and what its drafts named otherwise).

Nothing in it is trusted: it was written by a program of the repository, from files of the change. What is no SARIF
is an AnalyserFailed; what a single result lacks costs that result, and is counted.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdlc.domain import Severity
from sdlc.review_graphs.analyzers.base import AnalyserFailed, Analysis, Raw
from sdlc.review_graphs.findings import LONGEST_MESSAGE
from sdlc.review_graphs.sarif_fixes import Source, suggestion_of
from sdlc.review_graphs.sarif_places import OUTSIDE, Files, entry, items, lines_of, mapping, text
from sdlc.untrusted import visible_text

LONGEST_RULE = 120
"""Characters of a rule's id; of a longer one the end stands, which is the part that differs."""
SUPPRESSED = "The source suppresses this: see whether it may."
"""Said of a result that a comment in the code, or a list of exceptions, takes back.

The tool read both from the change, so they are no reason to keep silent. But whoever wrote them had thought about it:
a person is shown the finding, and the engine is not sent back to take out what it was right to put in.
"""
SUPPRESSED_CONFIDENCE = 0.4
"""Below what sends the engine back."""

_LEVELS = {"error": Severity.MAJOR, "warning": Severity.MINOR, "note": Severity.INFO, "none": Severity.INFO}
_NO_FINDING = frozenset({"pass", "notApplicable"})
_PRECISION = {"very-high": 1.0, "high": 0.9, "medium": 0.7, "low": 0.4}
_SECURITY = ((9.0, Severity.BLOCKER), (7.0, Severity.MAJOR), (4.0, Severity.MINOR), (0.1, Severity.INFO))
"""The bounds by which GitHub calls a `security-severity` critical, high, medium and low."""
_MOST_TEXT = 4_000
"""Characters of a message that are looked at."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._/@+-]+")
_PLACEHOLDER = re.compile(r"\{(\d{1,3})\}|\{\{|\}\}")
_LINK = re.compile(r"\[([^\[\]]{1,400})\]\(\d{1,9}\)")
_SECRET = re.compile(r"secret|credential|passw|token|(?:api|private|access).?key|gitleaks|trufflehog", re.IGNORECASE)


@dataclass(frozen=True)
class SarifAnalysis(Analysis):
    results: int = 0
    """All that the document holds, whatever became of them, and the files that could not be read."""
    outside: int = 0
    """Results about files that are not in the tree."""
    placeless: int = 0
    """Results that name no file, or no line in it."""
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    """How many results there are about other files than those that were asked for, by file."""


def read_sarif(
    report: bytes,
    name: str,
    roots: Sequence[str],
    *,
    about: Collection[str] | None = None,
    source: Source = lambda path: (),
) -> SarifAnalysis:
    """What all runs say about the files `about` (None: any), with paths relative to the tree, which is at `roots`.

    `name` stands before their rules and in errors; `source` is what suggestions are made with.
    Raises AnalyserFailed for what is no SARIF 2, and where the tool says itself that it failed.
    """
    document = _document(report, name)
    runs = [_Run(run, name, Files(run, roots), about, source) for run in _runs(document, name)]
    unreadable: dict[str, str] = {}
    elsewhere: Counter[str] = Counter()
    findings: dict[Raw, None] = {}  # runs overlap, and two columns of a line are one place
    for run in runs:
        unreadable |= run.unreadable()
        findings |= dict.fromkeys(run.findings())
        elsewhere += run.elsewhere
    return SarifAnalysis(
        findings=tuple(findings),
        unreadable={path: why for path, why in unreadable.items() if about is None or path in about},
        results=sum(run.results for run in runs) + len(unreadable),
        outside=sum(run.outside for run in runs),
        placeless=sum(run.placeless for run in runs),
        elsewhere=elsewhere,
    )


def _document(report: bytes, name: str) -> Mapping[str, Any]:
    try:
        # UTF-8 with or without its mark, UTF-16 as PowerShell writes it; a quoted line may be in another encoding.
        document = json.loads(report.decode(json.detect_encoding(report), "replace"))
    except (ValueError, RecursionError):
        raise AnalyserFailed(f"{name} wrote {len(report)} bytes that are not JSON, so no SARIF") from None
    if not isinstance(document, dict):
        raise AnalyserFailed(f"{name} wrote JSON that is no SARIF")
    return document


def _runs(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    runs = items(document.get("runs"))
    version = document.get("version", "2" if "sarif" in text(document.get("$schema")).lower() else None)
    if version is None or not runs or not all(mapping(mapping(run).get("tool")) for run in runs):
        raise AnalyserFailed(f"{name} wrote JSON that is no SARIF: it needs a version, and runs of a tool")
    if not re.match(r"2(?:\.|$)", str(version)):
        raise AnalyserFailed(f"{name} wrote SARIF of version {str(version)[:20]!r}; 2.1.0 can be read")
    elsewhere = any(mapping(mapping(run).get("externalPropertyFileReferences")).get("results") for run in runs)
    if elsewhere or document.get("inlineExternalProperties"):
        raise AnalyserFailed(f"{name} has put its results into files of their own; have it write them into the report")
    return [mapping(run) for run in runs]


class _Run:
    def __init__(
        self, run: Mapping[str, Any], name: str, files: Files, about: Collection[str] | None, source: Source
    ) -> None:
        self._run = run
        self._name = name
        self._files = files
        self._about = about
        self._source = source
        tool = mapping(run.get("tool"))
        self._driver = mapping(tool.get("driver")) or tool
        self._extensions = items(tool.get("extensions"))
        self._rules = dict(self._all_rules())
        self._about_secrets = bool(_SECRET.search(text(self._driver.get("name"))))
        self.results = 0
        self.outside = 0
        self.placeless = 0
        self.elsewhere: Counter[str] = Counter()

    # --- what the tool says about itself ----------------------------------------------------

    def unreadable(self) -> dict[str, str]:
        """File → why the tool could say nothing about it. Raises AnalyserFailed if that is not about files alone."""
        found: dict[str, str] = {}
        for invocation in map(mapping, items(self._run.get("invocations"))):
            said = [mapping(note) for key in _NOTIFICATIONS for note in items(invocation.get(key))]
            errors = [note for note in said if note.get("level") == "error"]
            located: dict[str, str] = {}
            for note in errors:
                located |= {path: self._told(note) for path in self._paths(note) if path}
            whole = [note for note in errors if not any(self._paths(note))]
            if whole or (invocation.get("executionSuccessful") is False and not located):
                words = next(filter(None, map(self._told, whole or said)), "") or "it does not say why"
                raise AnalyserFailed(f"{self._name} says that it failed: {words}")
            found |= located
        return found

    def _paths(self, note: Mapping[str, Any]) -> list[str]:
        places = [mapping(place).get("physicalLocation") for place in items(note.get("locations"))]
        return [self._path(mapping(place)) or "" for place in places]

    def _told(self, note: Mapping[str, Any]) -> str:
        message = mapping(note.get("message"))
        words = text(message.get("text")) or text(message.get("markdown"))
        return _plain(words or text(mapping(note.get("exception")).get("message")), 200)

    # --- its results ------------------------------------------------------------------------

    def findings(self) -> Iterator[Raw]:
        # Without a list, nothing was found: several tools leave an empty one out, or write null.
        results = self._run.get("results") or []
        if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
            raise AnalyserFailed(f"{self._name} wrote a result of another shape than SARIF has")
        self.results = len(results)
        for result in results:
            found = self._finding(result)
            if found is not None:
                yield found

    def _finding(self, result: Mapping[str, Any]) -> Raw | None:
        level = text(result.get("level"))
        if {text(result.get("kind")), level} & _NO_FINDING or result.get("baselineState") == "absent":
            return None
        place = self._place(result)
        if place is None:
            return None
        path, (first, last) = place
        if self._about is not None and path not in self._about:
            self.elsewhere[path] += 1
            return None
        rule_id, rule = self._rule(result)
        suppressed = _is_suppressed(result)
        confidence = _confidence(result, rule)
        confidential = self._about_secrets or _tells_of_secrets(rule_id, rule)
        return Raw(
            rule=f"{self._name}:{_slug(rule_id)}",
            file=path,
            line=first,
            end_line=last,
            severity=_severity(result, rule),
            message=self._message(result, rule_id, rule, SUPPRESSED if suppressed else ""),
            confidence=min(confidence, SUPPRESSED_CONFIDENCE) if suppressed else confidence,
            suggestion="" if confidential else suggestion_of(result, path, (first, last), self._files, self._source),
            confidential=confidential,
        )

    def _place(self, result: Mapping[str, Any]) -> tuple[str, tuple[int, int]] | None:
        """The first of its places that can be shown."""
        outside = False
        for location in items(result.get("locations")):
            physical = mapping(mapping(location).get("physicalLocation"))
            path, lines = self._path(physical), lines_of(physical.get("region"))
            if path and lines:
                return path, lines
            outside = outside or path == OUTSIDE
        self.outside += outside
        self.placeless += not outside
        return None

    def _path(self, physical: Mapping[str, Any]) -> str | None:
        return self._files.path(physical.get("artifactLocation") or physical.get("fileLocation"))

    # --- its rules --------------------------------------------------------------------------

    def _all_rules(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        drafted = mapping(self._run.get("resources")).get("rules")
        if isinstance(drafted, dict):
            yield from ((key, mapping(rule)) for key, rule in drafted.items())
        for component in reversed([self._driver, *map(mapping, self._extensions)]):
            for rule in map(mapping, items(component.get("rules"))):
                if text(rule.get("id")):
                    yield text(rule.get("id")), rule

    def _rule(self, result: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """The id that the result gives, and the rule that it means.

        By its id where there is one: tools that sort their rules after they were numbered give wrong indexes.
        """
        reference = mapping(result.get("rule"))
        rule_id = text(result.get("ruleId")) or text(reference.get("id"))
        if not rule_id:
            extension = mapping(reference.get("toolComponent")).get("index")
            component = self._driver if extension is None else entry(self._extensions, extension)
            indexes = (result.get("ruleIndex"), reference.get("index"))
            rule = next(filter(None, (entry(component.get("rules"), index) for index in indexes)), {})
            return text(mapping(rule).get("id")) or "unnamed", mapping(rule)
        known = rule_id
        while known and known not in self._rules:  # `CA1000/2` is a case of `CA1000`
            known = known.rpartition("/")[0]
        return rule_id, self._rules.get(known, {})

    def _message(self, result: Mapping[str, Any], rule_id: str, rule: Mapping[str, Any], addition: str) -> str:
        message = mapping(result.get("message"))
        key = text(message.get("id")) or text(message.get("messageId"))
        words = text(message.get("text")) or self._keyed(rule, key) or text(message.get("markdown"))
        words = words or next(filter(None, map(_words, map(rule.get, _DESCRIPTIONS))), "") or rule_id
        arguments = [text(argument)[:LONGEST_MESSAGE] for argument in items(message.get("arguments"))]
        if arguments:
            words = _PLACEHOLDER.sub(lambda match: _filled(match, arguments), words[:_MOST_TEXT])
        words = _LINK.sub(r"\1", words[:_MOST_TEXT])
        told = _plain(words, LONGEST_MESSAGE - len(addition) - 1) or _slug(rule_id)
        return f"{told} {addition}".strip()

    def _keyed(self, rule: Mapping[str, Any], key: str) -> str:
        strings = (rule.get("messageStrings"), self._driver.get("globalMessageStrings"))
        return next(filter(None, (_words(mapping(table).get(key)) for table in strings)), "") if key else ""


_NOTIFICATIONS = ("toolExecutionNotifications", "toolConfigurationNotifications", "toolNotifications")
_DESCRIPTIONS = ("shortDescription", "fullDescription", "name")


def _words(value: Any) -> str:
    """A text in either of its forms."""
    return text(value) or text(mapping(value).get("text")) or text(mapping(value).get("markdown"))


def _filled(match: re.Match[str], arguments: Sequence[str]) -> str:
    if match[1] is None:
        return match[0][0]
    return arguments[int(match[1])] if int(match[1]) < len(arguments) else match[0]


def _plain(words: str, limit: int) -> str:
    """What a person would see of a text, on one line and within the limit."""
    seen = visible_text(words[:_MOST_TEXT].encode(errors="replace").decode())[0]
    short = textwrap.shorten(seen, limit, placeholder=" …")
    return seen.strip()[:limit] if short == "…" else short


def _slug(rule_id: str) -> str:
    return _UNSAFE.sub("-", rule_id)[-LONGEST_RULE:].strip("-/") or "unnamed"


def _severity(result: Mapping[str, Any], rule: Mapping[str, Any]) -> Severity:
    scores = (mapping(holder.get("properties")).get("security-severity") for holder in (result, rule))
    for score in filter(None, map(_number, scores)):
        for bound, severity in _SECURITY:
            if bound <= score <= 10.0:
                return severity
    level = text(result.get("level"))
    if not level and text(result.get("kind")) not in ("", "fail"):
        level = "none"
    level = level or text(mapping(rule.get("defaultConfiguration")).get("level"))
    return _LEVELS.get(level, Severity.INFO if level == "open" else Severity.MINOR)


def _confidence(result: Mapping[str, Any], rule: Mapping[str, Any]) -> float:
    """By the result's rank, or the precision of its rule, which some write as a tag."""
    rank = _number(result.get("rank"))
    if rank is not None and 0.0 <= rank <= 100.0:
        return rank / 100.0
    said: list[float] = []
    for properties in (mapping(holder.get("properties")) for holder in (result, rule)):
        words = [text(properties.get("precision")).lower()]
        words += [tag[: -len(" confidence")] for tag in _tags(properties) if tag.endswith(" confidence")]
        said += [_PRECISION[word] for word in words if word in _PRECISION]
    return min(said, default=1.0)


def _tags(properties: Mapping[str, Any]) -> list[str]:
    return [tag.lower() for tag in map(text, items(properties.get("tags")))]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_suppressed(result: Mapping[str, Any]) -> bool:
    given = [mapping(item) for item in items(result.get("suppressions"))]
    refused = any(item.get("status") in ("rejected", "underReview") for item in given)
    return bool(given or items(result.get("suppressionStates"))) and not refused


def _tells_of_secrets(rule_id: str, rule: Mapping[str, Any]) -> bool:
    """Would its lines hold a secret? Then they are not quoted."""
    return any(map(_SECRET.search, (rule_id, text(rule.get("name")), *_tags(mapping(rule.get("properties"))))))
