"""pip-audit: known vulnerabilities of the Python packages that a change pins, as OSV knows them.

It is the one analyser that needs the network, and none of the repository: it is given a list of names and versions.
What it does not answer is never taken for clean, so each call also asks about a package that is known to be bad.
"""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from sdlc.domain import Severity
from sdlc.review_graphs.analyzers.base import AnalyserFailed, Analysis, Call, Raw, Subject, json_report
from sdlc.review_graphs.checks.security.lock_files import read_lock

OSV = "https://api.osv.dev/v1/query"
KNOWN_BAD = (("jinja2", "2.4.1"), ("django", "1.8"), ("pyyaml", "3.12"))
"""Packages with vulnerabilities that are never taken back. One of them must be found, or the data wasn't reached."""
SECONDS_FOR_AN_ANSWER = 5

_LIST = re.compile(r"(^|/)(requirements|constraints)[\w.-]*\.(txt|in)$|(^|/)requirements/[\w.-]+\.(txt|in)$")
_LOCKS = frozenset({"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"})
_PINNED = re.compile(
    r"^\s*(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*={2,3}\s*(?P<version>[\w.!+]+)\s*(?P<rest>[;#\\].*|--hash.*)?$"
)
_EXACT = re.compile(r"^={0,3}\s*(?P<version>\d[\w.!+]*)$")
_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?")
MOST_NAMED = 3
"""Vulnerabilities named in a message."""


@dataclass(frozen=True)
class Pin:
    """One package at one version, and where a file says so."""

    name: str
    version: str
    file: str
    line: int
    suggestion: str = ""
    """The line with `{version}` in place of the version, where it can be replaced by itself."""

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Vulnerability:
    id: str
    alias: str = ""
    """The CVE, if it has one."""
    fixed: tuple[str, ...] = ()


class PipAudit:
    name = "pip-audit"
    configuration: tuple[str, ...] = ()
    fine = frozenset({0, 1})

    def installed(self) -> bool:
        return importlib.util.find_spec("pip_audit") is not None

    def start(self, environment: str) -> tuple[str, ...]:
        return (f"{environment}/bin/python", "-I", "-m", "pip_audit")

    def looks_at(self, path: str) -> bool:
        name = PurePosixPath(path).name
        return bool(_LIST.search(path)) or name in _LOCKS or name == "pyproject.toml"

    def call(self, subject: Subject, program: Sequence[str]) -> Call:
        """`subject.files` are lists of requirements, without hashes and each name once."""
        lists = (argument for file in subject.files for argument in ("--requirement", file))
        folder = subject.report.rpartition("/")[0]
        return Call(
            command=(
                *program,
                # Nothing is resolved or installed: the versions are given, and an installation would run code.
                *("--no-deps", "--disable-pip", "--vulnerability-service", "osv", "--osv-url", OSV),
                *("--timeout", str(SECONDS_FOR_AN_ANSWER), "--progress-spinner", "off", "--desc", "off"),
                *("--cache-dir", f"{folder}/cache", "--format", "json", "--output", subject.report),
                *lists,
            )
        )

    def read(self, report: bytes, root: str) -> Analysis:
        """What is known of each requirement; `file` of a finding is the requirement, such as `jinja2==2.4.1`."""
        known = read_audit(report)
        return Analysis(tuple(raw_of(Pin(*key, "==".join(key), 1), found) for key, found in known.items() if found))


def pins(path: str, text: str | None) -> list[Pin]:
    """The packages that a file pins to one version; nothing for a file that can't be read."""
    if not text:
        return []
    name = PurePosixPath(path).name
    try:
        if name == "pyproject.toml":
            found = list(_of_pyproject(path, text))
        elif name == "Pipfile.lock":
            found = list(_of_pipfile(path, text))
        elif name in _LOCKS:
            found = list(_of_lock(path, text))
        else:
            found = list(_of_list(path, text))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return []
    return [pin for pin in found if _NAME.fullmatch(pin.name) and _is_version(pin.version)]


def read_audit(report: bytes) -> dict[tuple[str, str], tuple[Vulnerability, ...]]:
    """(name, version) → what is known of it. Raises AnalyserFailed for junk."""
    document = json_report(report, dict, PipAudit.name)
    try:
        return {
            (str(item["name"]), str(item["version"])): tuple(_vulnerability(entry) for entry in item["vulns"])
            for item in document["dependencies"]
            if "skip_reason" not in item
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise AnalyserFailed("pip-audit wrote a dependency of another shape than its report has") from None


def raw_of(pin: Pin, found: Sequence[Vulnerability]) -> Raw:
    named = ", ".join(f"{item.id} ({item.alias})" if item.alias else item.id for item in found[:MOST_NAMED])
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    mended = mended_by(pin.version, found)
    mend = f"Take {mended} or later." if mended else "No version without it is known: see whether it concerns you."
    return Raw(
        rule="pip-audit:known-vulnerability",
        file=pin.file,
        line=pin.line,
        end_line=pin.line,
        severity=Severity.MAJOR if mended else Severity.MINOR,
        message=f"`{pin.name}` {pin.version} has known vulnerabilities: {named}{more}. {mend}",
        confidence=0.9,
        suggestion=pin.suggestion.replace("{version}", mended) if mended else "",
    )


def mended_by(version: str, found: Iterable[Vulnerability]) -> str:
    """The lowest version in which all of them are mended; empty if one of them is in none."""
    needed: list[Version] = []
    for item in found:
        later = [fixed for fixed in map(Version, filter(_is_version, item.fixed)) if fixed > Version(version)]
        if not later:
            return ""
        needed.append(min(later))
    return str(max(needed)) if needed else ""


def _vulnerability(entry: dict[str, Any]) -> Vulnerability:
    aliases = [str(alias) for alias in entry.get("aliases") or ()]
    fixed = tuple(str(version) for version in entry.get("fix_versions") or ())
    return Vulnerability(str(entry["id"]), next((alias for alias in aliases if alias.startswith("CVE-")), ""), fixed)


def _of_list(path: str, text: str) -> Iterator[Pin]:
    for number, line in enumerate(text.split("\n"), 1):
        found = _PINNED.match(line.rstrip("\r"))
        if found:
            # A line with hashes can't be mended by its version alone.
            is_whole = not (found["rest"] or "").startswith(("\\", "--"))
            before, after = line[: found.start("version")], line.rstrip("\r")[found.end("version") :]
            suggestion = f"{before}{{version}}{after}" if is_whole else ""
            yield Pin(canonicalize_name(found["name"]), found["version"], path, number, suggestion)


def _of_pyproject(path: str, text: str) -> Iterator[Pin]:
    document = tomllib.loads(text)
    project, tool = document.get("project", {}), document.get("tool", {})
    lists = [project.get("dependencies", ()), *project.get("optional-dependencies", {}).values()]
    lists += [*document.get("dependency-groups", {}).values(), tool.get("uv", {}).get("dev-dependencies", ())]
    lines = text.split("\n")
    for declared in (item for items in lists for item in items if isinstance(item, str)):
        try:
            requirement = Requirement(declared)
        except InvalidRequirement:
            continue
        exact = [item.version for item in requirement.specifier if item.operator in ("==", "===")]
        if len(exact) == 1 and "*" not in exact[0]:
            yield Pin(canonicalize_name(requirement.name), exact[0], path, _line(lines, declared))
    poetry = tool.get("poetry", {})
    groups = [poetry.get("dependencies", {}), poetry.get("dev-dependencies", {})]
    groups += [group.get("dependencies", {}) for group in poetry.get("group", {}).values()]
    for name, value in (item for group in groups for item in group.items()):
        wanted = value.get("version") if isinstance(value, dict) else value
        exactly = _EXACT.match(wanted) if isinstance(wanted, str) else None
        if exactly and name != "python":
            line = next((n for n, row in enumerate(lines, 1) if re.match(rf"\s*\"?{re.escape(name)}\"?\s*=", row)), 1)
            yield Pin(canonicalize_name(name), exactly["version"], path, line)


def _of_pipfile(path: str, text: str) -> Iterator[Pin]:
    document, lines = json.loads(text), text.split("\n")
    for section in ("default", "develop"):
        for name, entry in (document.get(section) or {}).items():
            exactly = _EXACT.match(str(entry.get("version", "")))
            if exactly:
                yield Pin(canonicalize_name(name), exactly["version"], path, _line(lines, f'"{name}": {{'))


def _of_lock(path: str, text: str) -> Iterator[Pin]:
    places: dict[tuple[str, str], int] = {}
    name = ""
    for number, row in enumerate(text.split("\n"), 1):
        found = re.match(r"^(name|version) = \"([^\"]+)\"", row)
        if found and found[1] == "name":
            name = found[2]
        elif found:
            places.setdefault((name, found[2]), number)
    for package in read_lock(path, text):
        if package.is_registry:
            line = places.get((package.name, package.version), 1)
            yield Pin(canonicalize_name(package.name), package.version, path, line)


def _line(lines: Sequence[str], what: str) -> int:
    return next((number for number, line in enumerate(lines, 1) if what in line), 1)


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True
