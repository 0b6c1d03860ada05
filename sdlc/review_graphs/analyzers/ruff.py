"""ruff, for what is a bug rather than a matter of taste; taste is the repository's own and counts as `info`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdlc.domain import Severity
from sdlc.integrations.toml_file import read_toml
from sdlc.review_graphs.analyzers.base import (
    AnalyserFailed,
    Analysis,
    Call,
    Raw,
    Subject,
    is_python,
    json_report,
    relative,
)

CONFIGURATION = (".ruff.toml", "ruff.toml", "pyproject.toml")
"""In the order in which ruff itself prefers them."""


def _codes(*lines: str) -> tuple[str, ...]:
    return tuple(" ".join(lines).split())


OLDEST_PYTHON, NEWEST_PYTHON = 7, 14
"""Minor versions that ruff knows."""

BLOCKERS = ("invalid-syntax", "F7", "F821", "F822")
"""It can't run."""

MAJORS = _codes(
    # Arguments, scopes and comparisons that do something else than they say.
    "B002 B003 B005 B006 B012 B015 B016 B020 B021 B023 B025 B029 B030 B031 B032 B033 B035 B039",
    # Format strings that fail or print the wrong thing, assertions that never do.
    "F402 F502 F503 F504 F505 F506 F507 F508 F509 F521 F522 F523 F524 F525",
    "F601 F602 F621 F622 F631 F632 F633 F634 F811 F823 F901",
    # Errors at run time, and code that blocks or leaks in async functions.
    "PLE ASYNC100 ASYNC210 ASYNC220 ASYNC221 ASYNC222 ASYNC230 ASYNC251",
    "PLW0127 PLW0128 PLW0129 PLW0131 PLW0133 PLW0177 PLW0211 PLW0245 PLW0711 PLW1501 PLW1507 PLW1508 PLW1509",
    "RUF006 RUF008 RUF009 RUF016 RUF018 RUF024 RUF026 RUF030 RUF032 RUF033 RUF034 RUF040 RUF049",
    "PIE794 PIE796 YTT T100 INT LOG007 LOG015 PGH004",
)

MINORS = _codes(
    "F B ASYNC E711 E712 E713 E714 E721 E722 PLW0120 PLW0406 PLW0604 PLW0642 RUF013 RUF020 RUF048",
    "SIM101 SIM115 SIM220 SIM221 SIM222 SIM223 C416 C419 LOG001",
)
"""Worth a word. What stands in MAJORS as well is major."""

LEFT_OUT = (
    "B008",  # the idiom of FastAPI and typer
    "B011",  # `assert False` is a style
    "B017",  # a test that expects Exception is a style, too
    "B024",
    "B027",
    "B028",
    "B905",
    "F403",
    "F405",
)

_NOT_LINTING = frozenset(
    _codes(
        "extend exclude extend-exclude include extend-include force-exclude respect-gitignore cache-dir output-format",
        "fix fix-only unsafe-fixes show-fixes required-version format analyze lint builtins-path",
    )
)
_AT_THE_TOP = frozenset(_codes("line-length target-version src preview builtins namespace-packages indent-width"))
_SELECTORS = frozenset(_codes("select extend-select ignore extend-ignore fixable unfixable extend-fixable exclude"))


class Ruff:
    """The repository's own selection is run too, with its own options, so that nobody hears it first from CI."""

    name = "ruff"
    configuration = CONFIGURATION
    fine = frozenset({0, 1})

    def installed(self) -> bool:
        return Path(sys.prefix, "bin", "ruff").is_file()

    def start(self, environment: str) -> tuple[str, ...]:
        return (f"{environment}/bin/ruff",)

    def looks_at(self, path: str) -> bool:
        return is_python(path)

    def call(self, subject: Subject, program: Sequence[str]) -> Call:
        documents, problem = _documents(subject.configuration)
        own = _own_options(documents)
        target = {"target-version": _target(documents)}
        fallback = _command(program, subject, target)
        if not own:
            return Call(command=fallback, note=problem)
        note = "the repository's own ruff configuration could not be used; our selection was run alone"
        command = _command(program, subject, {**target, **own})
        return Call(command=command, note=problem, fallback=fallback, fallback_note=note)

    def read(self, report: bytes, root: str) -> Analysis:
        findings: list[Raw] = []
        unreadable: dict[str, str] = {}
        for item in json_report(report, list, self.name):
            try:
                file, code = relative(item["filename"], root), item["code"] or item.get("name") or "unknown"
                if code == "E902":
                    unreadable[file] = str(item["message"])
                    continue
                finding = Raw(
                    rule=f"ruff:{code}",
                    file=file,
                    line=int(item["location"]["row"]),
                    end_line=int(item["end_location"]["row"]),
                    severity=severity(code),
                    message=str(item["message"]),
                )
            except (KeyError, TypeError, ValueError, AttributeError):
                raise AnalyserFailed("ruff wrote a finding of another shape than its report has") from None
            if code == "invalid-syntax" and any(f.file == file and f.rule == finding.rule for f in findings):
                continue  # the parser stumbles on after its first error
            findings.append(finding)
        return Analysis(findings=tuple(findings), unreadable=unreadable)


def severity(code: str) -> Severity:
    """How bad a rule's findings are: the longest prefix in our lists decides; the repository's own rules are `info`."""
    lists = {Severity.BLOCKER: BLOCKERS, Severity.MAJOR: MAJORS, Severity.MINOR: MINORS}
    best, worst_first = -1, Severity.INFO
    for level, prefixes in lists.items():
        longest = max((len(prefix) for prefix in prefixes if code.startswith(prefix)), default=-1)
        if longest > best:
            best, worst_first = longest, level
    return worst_first


def _command(program: Sequence[str], subject: Subject, own: Mapping[str, Any]) -> tuple[str, ...]:
    lint = dict(own.get("lint", {}))
    select = [*MAJORS, *MINORS, "E9", "F7", *lint.pop("select", ())]
    ignore = [*LEFT_OUT, *lint.pop("ignore", ())]
    options = [f"{key} = {_toml(value)}" for key, value in own.items() if key != "lint"]
    options += [f"lint.{key} = {_toml(value)}" for key, value in lint.items()]
    return (
        *program,
        # A `noqa` that comes with the change would let the change excuse itself; those of the base are set apart
        # with everything else that the base has.
        *("check", "--isolated", "--no-cache", "--quiet", "--no-fix", "--ignore-noqa"),
        *("--output-format", "json", "--output-file", subject.report),
        *("--select", ",".join(dict.fromkeys(select)), "--ignore", ",".join(dict.fromkeys(ignore))),
        *(argument for option in options for argument in ("--config", option)),
        "--",
        *(f"./{file}" for file in subject.files),
    )


def _documents(configuration: Mapping[str, bytes]) -> tuple[dict[str, dict[str, Any]], str]:
    """The configuration files as tables, and what can't be read of them, for the report."""
    documents: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for name in (name for name in CONFIGURATION if name in configuration):
        try:
            documents[name] = read_toml(configuration[name]) or {}
        except ValueError as error:
            problems.append(f"{name} of the base was left out: {error}")
    return documents, "; ".join(problems)


def _own_options(documents: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What the repository tells ruff about linting, as `{"lint": {...}, "line-length": …}`; empty if nothing."""
    for name, document in documents.items():
        tool = document.get("tool")
        table = (tool.get("ruff") if isinstance(tool, dict) else None) if name == "pyproject.toml" else document
        if isinstance(table, dict):
            return _linting(table)
    return {}


def _target(documents: Mapping[str, dict[str, Any]]) -> str:
    """The oldest Python that the project supports, as ruff names it; the newest one if it doesn't say.

    Isolated, ruff would take an old one, and call the syntax of a newer one an error.
    """
    project = documents.get("pyproject.toml", {}).get("project")
    declared = str(project.get("requires-python", "")) if isinstance(project, dict) else ""
    found = re.search(r"(?:>=?|~=|===?)\s*3\.(\d+)", declared)
    return f"py3{min(max(int(found[1]), OLDEST_PYTHON), NEWEST_PYTHON)}" if found else f"py3{NEWEST_PYTHON}"


def _linting(table: Mapping[str, Any]) -> dict[str, Any]:
    options = {key: value for key, value in table.items() if key not in _NOT_LINTING}
    lint = table.get("lint", {})
    # Before 0.2 these stood at the top; many repositories still have them there.
    old = {key: options.pop(key) for key in list(options) if key not in _AT_THE_TOP}
    merged = {**old, **lint}
    chosen = [rule for key in ("select", "extend-select") for rule in _rules(merged.get(key))]
    left_out = [rule for key in ("ignore", "extend-ignore") for rule in _rules(merged.get(key))]
    result = {key: value for key, value in merged.items() if key not in _SELECTORS}
    return {**options, "lint": {**result, "select": chosen, "ignore": left_out}}


def _rules(value: Any) -> Iterator[str]:
    """Rule selectors, leaving `ALL` out, which is meant with years of ignores beside it, and `S`: bandit's rules."""
    for rule in value if isinstance(value, list) else ():
        if isinstance(rule, str) and rule.isalnum() and rule != "ALL" and not re.fullmatch(r"S\d*", rule):
            yield rule


def _toml(value: Any) -> str:
    """A TOML value on one line. JSON's strings and numbers are TOML's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value if isinstance(value, bool | int | float) else str(value))
