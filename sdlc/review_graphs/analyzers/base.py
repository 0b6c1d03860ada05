"""What an analyser is: a command, the files that it looks at, and a reader for what it writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from sdlc.domain import Finding, Severity
from sdlc.review_graphs.checks.base import is_python, is_test

__all__ = [
    "Analyser",
    "AnalyserFailed",
    "Analysis",
    "Call",
    "Excusing",
    "Raw",
    "Subject",
    "is_python",
    "is_test",
    "json_report",
    "relative",
]


class AnalyserFailed(Exception):
    """The analyser crashed or wrote something else than its report. What it did not say is never taken for clean."""


@dataclass(frozen=True)
class Raw:
    """A finding as an analyser gives it, before anybody knows whether the change brought it."""

    rule: str
    """With its source: `ruff:B006`."""
    file: str
    line: int
    end_line: int
    severity: Severity
    message: str
    confidence: float = 1.0
    suggestion: str = ""
    """At most four lines that should stand there instead; else empty."""
    confidential: bool = False
    """Its lines hold a secret, so they are not quoted as evidence."""


@dataclass(frozen=True)
class Analysis:
    findings: tuple[Raw, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """File → why the analyser could say nothing about it."""


@dataclass(frozen=True)
class Call:
    """One run of an analyser's program.

    Its output goes to a file, `report`, in a folder of its own: in what a program prints, warnings and report mix.
    """

    command: tuple[str, ...]
    note: str = ""
    """What the report shall say in any case."""
    fallback: tuple[str, ...] = ()
    """Run instead when the first ends without a report, with `fallback_note` said."""
    fallback_note: str = ""


@dataclass(frozen=True)
class Subject:
    """What an analyser is run on."""

    files: tuple[str, ...]
    """Relative to the workspace, all of them there."""
    report: str
    """Path inside the sandbox where the report is to be written."""
    configuration: Mapping[str, bytes]
    """The files that `Analyser.configuration` names, as the base has them."""


@runtime_checkable
class Excusing(Protocol):
    """An analyser that takes a finding back when it sees more of the file."""

    def why_excused(self, finding: Finding, lines: Sequence[str]) -> str:
        """Why a finding of the head is none, from the lines of its file; empty if it is one."""
        ...


class Analyser(Protocol):
    @property
    def name(self) -> str: ...

    def installed(self) -> bool:
        """Is it there, in our own environment?"""
        ...

    def start(self, environment: str) -> tuple[str, ...]:
        """What starts it, where `environment` is the path of our own environment inside the sandbox."""
        ...

    @property
    def configuration(self) -> tuple[str, ...]:
        """Files of the repository that it wants to know, always from the base."""
        ...

    @property
    def fine(self) -> frozenset[int]:
        """Exit codes with which it has done its work."""
        ...

    def looks_at(self, path: str) -> bool: ...

    def call(self, subject: Subject, program: Sequence[str]) -> Call:
        """The command for these files; `program` is what `start` gave. May take a second: not for the event loop."""
        ...

    def read(self, report: bytes, root: str) -> Analysis:
        """The report's findings, with paths relative to `root`. Raises AnalyserFailed for junk."""
        ...


def json_report(report: bytes, kind: type[Any], name: str) -> Any:
    """The report as JSON of the kind that is due (`list` or `dict`); AnalyserFailed otherwise."""
    try:
        value = json.loads(report)
    except (ValueError, RecursionError):
        raise AnalyserFailed(f"{name} wrote {len(report)} bytes that are not JSON") from None
    if not isinstance(value, kind):
        raise AnalyserFailed(f"{name} wrote JSON of another shape than its report has")
    return value


def relative(path: str, root: str) -> str:
    """A path of a report, which may be absolute or begin with `./`, relative to the workspace."""
    path = path.removeprefix(root.rstrip("/") + "/")
    while path.startswith("./"):
        path = path[2:]
    return path
