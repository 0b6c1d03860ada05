"""ruff, twice: for what is a bug rather than a matter of taste, and for what opens a hole.

Taste is the repository's own and counts as `info`. Of the rules on security (`S`) only those are chosen in which ruff
sees more than bandit, which leaves its twins of them out: so nothing is said twice.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdlc.domain import Finding, Severity
from sdlc.integrations.toml_file import read_toml
from sdlc.review_graphs.analyzers.base import (
    AnalyserFailed,
    Analysis,
    Call,
    Raw,
    Subject,
    is_python,
    is_test,
    json_report,
    relative,
)

CONFIGURATION = (".ruff.toml", "ruff.toml", "pyproject.toml")
"""In the order in which ruff itself prefers them."""


def _codes(*lines: str) -> tuple[str, ...]:
    return tuple(" ".join(lines).split())


_NOQA = re.compile(r"#\s*noqa(?::\s*([A-Z0-9, ]+))?", re.IGNORECASE)
_TOO_NEW = re.compile(r"\(syntax was added in Python 3\.\d+\)")

OLDEST_PYTHON, NEWEST_PYTHON = 7, 14
"""Minor versions that ruff knows."""


@dataclass(frozen=True)
class Rules:
    """Which rules are run, by prefix, and how bad their findings are. The longest prefix decides."""

    blockers: tuple[str, ...] = ()
    majors: tuple[str, ...] = ()
    minors: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    own: bool = False
    """The repository's own selection is run too, as `info`."""
    left_out_in_tests: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    confidence: Mapping[str, float] = field(default_factory=dict)
    """By rule, where it is not 1."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """What goes wrong and what to do, where ruff says neither."""


BUGS = Rules(
    # It can't run.
    blockers=("invalid-syntax", "F7", "F821", "F822"),
    majors=_codes(
        # Arguments, scopes and comparisons that do something else than they say.
        "B002 B003 B005 B006 B012 B015 B016 B020 B021 B023 B025 B029 B030 B031 B032 B033 B035 B039",
        # Format strings that fail or print the wrong thing, assertions that never do.
        "F402 F502 F503 F504 F505 F506 F507 F508 F509 F521 F522 F523 F524 F525",
        "F601 F602 F621 F622 F631 F632 F633 F634 F811 F823 F901",
        # Errors at run time, and code that blocks or leaks in async functions.
        "PLE ASYNC100 ASYNC210 ASYNC220 ASYNC221 ASYNC222 ASYNC230 ASYNC251",
        "PLW0127 PLW0128 PLW0129 PLW0131 PLW0133 PLW0177 PLW0211 PLW0245 PLW0711 PLW1501 PLW1507 PLW1508 PLW1509",
        "RUF006 RUF008 RUF009 RUF016 RUF018 RUF024 RUF026 RUF030 RUF032 RUF033 RUF034 RUF040 RUF049",
        "PIE794 PIE796 YTT T100 INT LOG007 LOG015",
    ),
    # Worth a word.
    minors=_codes(
        "F B ASYNC E711 E712 E713 E714 E721 E722 PLW0120 PLW0406 PLW0604 PLW0642 RUF013 RUF020 RUF048",
        "SIM101 SIM115 SIM220 SIM221 SIM222 SIM223 C416 C419 LOG001",
    ),
    left_out=(
        "B008",  # the idiom of FastAPI and typer
        "B011",  # `assert False` is a style
        "B017",  # a test that expects Exception is a style, too
        "B024",
        "B027",
        "B028",
        "B905",
        "F403",
        "F405",
        "RUF100",  # a `noqa` without a use: none has one where they are not heeded
        "PLE2502",  # characters that reorder, and
        "PLE2515",  # those without width: the check `hidden-text` tells of them in all files
    ),
    own=True,
)

HOLES = Rules(
    minors=("S113", "S308", "S704"),
    left_out_in_tests=("S113", "S308", "S704"),
    options=(
        "lint.flake8-bandit.allowed-markup-calls = "
        '["bleach.clean", "nh3.clean", "html.escape", "markupsafe.escape", "flask.escape"]',
    ),
    confidence={"S308": 0.6, "S704": 0.6},
    messages={
        "S113": "Without a time-out the request waits for as long as the server likes. Say `timeout=` with the seconds"
        " that it may take.",
        "S308": "The text is written into pages as it is, so a value with a script in it is run. Use `format_html` with"
        " the values as its arguments.",
        "S704": "The text is written into pages as it is, so a value with a script in it is run. Use"
        " `Markup(…).format(…)`, which escapes the values, or a template.",
    },
)
"""`requests.request` and `httpx` have S113 too, and literals are none of S308 and S704: in both bandit differs."""

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

    configuration = CONFIGURATION
    fine = frozenset({0, 1})

    def __init__(self, name: str = "ruff", rules: Rules = BUGS) -> None:
        self.name = name
        self._rules = rules

    def installed(self) -> bool:
        return Path(sys.prefix, "bin", "ruff").is_file()

    def start(self, environment: str) -> tuple[str, ...]:
        return (f"{environment}/bin/ruff",)

    def looks_at(self, path: str) -> bool:
        return is_python(path)

    def call(self, subject: Subject, program: Sequence[str]) -> Call:
        documents, problem = _documents(subject.configuration)
        own = _own_options(documents) if self._rules.own else {}
        target = {"target-version": _target(documents)}
        fallback = _command(program, subject, self._rules, target)
        if not own:
            return Call(command=fallback, note=problem)
        note = "the repository's own ruff configuration could not be used; our selection was run alone"
        command = _command(program, subject, self._rules, {**target, **own})
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
                if not self._tells(code, file, str(item["message"])):
                    continue
                finding = Raw(
                    rule=f"{self.name}:{code}",
                    file=file,
                    line=int(item["location"]["row"]),
                    end_line=int(item["end_location"]["row"]),
                    severity=severity(code, self._rules),
                    message=self._rules.messages.get(code) or str(item["message"]),
                    confidence=self._rules.confidence.get(code, 1.0),
                )
            except (KeyError, TypeError, ValueError, AttributeError):
                raise AnalyserFailed("ruff wrote a finding of another shape than its report has") from None
            if code == "invalid-syntax" and any(f.file == file and f.rule == finding.rule for f in findings):
                continue  # the parser stumbles on after its first error
            findings.append(finding)
        return Analysis(findings=tuple(findings), unreadable=unreadable)

    def why_excused(self, finding: Finding, lines: Sequence[str]) -> str:
        """A `noqa` excuses what is minor, where its author knows best. What is worse, it doesn't."""
        code = finding.rule.partition(":")[2]
        excuse = next(filter(None, (_NOQA.search(line) for line in lines[finding.line - 1 : finding.end_line])), None)
        if excuse is None or finding.severity.rank <= Severity.MAJOR.rank:
            return ""
        named = re.findall(r"[A-Z]+[0-9]+", excuse[1] or "")
        return f"the line says `noqa` of {code}" if not named or code in named else ""

    def _tells(self, code: str, file: str, message: str) -> bool:
        """Is it ours to tell? Of a file that it can't parse, ruff says so whatever it was asked for."""
        if code == "invalid-syntax" and _TOO_NEW.search(message):
            return False  # the check `versions` tells it, with the version that the repository supports
        if code in self._rules.left_out_in_tests and is_test(file):
            return False
        return self._rules.own or code in (*self._rules.majors, *self._rules.minors)


def severity(code: str, rules: Rules = BUGS) -> Severity:
    """How bad a rule's findings are: the longest prefix in our lists decides; the repository's own rules are `info`."""
    lists = {Severity.BLOCKER: rules.blockers, Severity.MAJOR: rules.majors, Severity.MINOR: rules.minors}
    best, worst_first = -1, Severity.INFO
    for level, prefixes in lists.items():
        longest = max((len(prefix) for prefix in prefixes if code.startswith(prefix)), default=-1)
        if longest > best:
            best, worst_first = longest, level
    return worst_first


def _command(program: Sequence[str], subject: Subject, rules: Rules, own: Mapping[str, Any]) -> tuple[str, ...]:
    lint = dict(own.get("lint", {}))
    # What is no rule, such as a syntax error, is told whatever is selected.
    chosen = [rule for rule in (*rules.majors, *rules.minors, *rules.blockers) if rule.isalnum()]
    select = [*chosen, *(["E9"] if rules.own else []), *lint.pop("select", ())]
    ignore = [*rules.left_out, *lint.pop("ignore", ())]
    options = [*rules.options, *(f"{key} = {_toml(value)}" for key, value in own.items() if key != "lint")]
    options += [f"lint.{key} = {_toml(value)}" for key, value in lint.items()]
    return (
        *program,
        # A `noqa` that comes with the change would let the change excuse itself; those of the base are set apart
        # with everything else that the base has, and `why_excused` lets those of the change stand for what is minor.
        *("check", "--isolated", "--no-cache", "--quiet", "--no-fix", "--ignore-noqa"),
        *("--output-format", "json", "--output-file", subject.report),
        *("--select", ",".join(dict.fromkeys(select))),
        *(("--ignore", ",".join(dict.fromkeys(ignore))) if ignore else ()),
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
