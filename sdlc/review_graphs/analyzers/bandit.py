"""bandit: security mistakes that can be seen in one file of Python, as far as a maintainer wants to hear of them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sdlc.domain import Finding, Severity
from sdlc.review_graphs.analyzers.base import (
    AnalyserFailed,
    Analysis,
    Call,
    Raw,
    Subject,
    is_test,
    json_report,
    relative,
)

LEFT_OUT = (
    # An import is no mistake; the calls that may be one have rules of their own.
    *(f"B{number}" for number in range(401, 416)),
    "B603",  # a subprocess without a shell, which is the right way
    "B606",  # the same of `os.exec…` and `os.spawn…`
    "B607",  # a program found on PATH
    # True of most programs, and a hole in few of them.
    "B101",  # assertions; those that ask for rights are told by `insecure-code`
    "B104",  # `0.0.0.0`, without which nothing in a container is reached
    "B108",  # a path below /tmp
    "B110",  # `except: pass` and
    "B112",  # `except: continue`: quality
    "B310",  # every `urlopen`
    "B311",  # every use of `random`
    *(f"B{number}" for number in range(313, 320)),  # XML of the standard library, safe with every expat of today
    "B324",  # every MD5 and SHA-1, also of what has nothing to hide
    "B504",  # every method that is called `wrap_socket`
    "B601",  # every command of paramiko
    "B604",  # any parameter that is called `shell`
    "B614",  # `torch.load`, which loads weights alone by default
    "B615",  # every model of Hugging Face without a revision
    # Told with more knowledge by checks of ours, so that nothing is said twice.
    "B105",  # `secrets` tells names of secrets from secrets, …
    "B106",
    "B107",
    "B202",  # … `insecure-code` tar from zip, …
    "B608",  # … values from names of tables, …
    "B701",  # … and HTML from other templates;
    "B613",  # `hidden-text` looks at all files
    # Told by `ruff-security`.
    "B113",
    "B308",
    "B703",
    "B704",
)
LEFT_OUT_IN_TESTS = frozenset({"B102", "B103", "B301", "B302", "B306", "B307", "B501", "B506"})
"""Tests run what they made themselves, and speak to servers of their own."""

_SEVERITY = {"HIGH": Severity.BLOCKER, "MEDIUM": Severity.MAJOR, "LOW": Severity.MINOR}
_CONFIDENCE = {"HIGH": 0.9, "MEDIUM": 0.7, "LOW": 0.4}

_FROM_OUTSIDE = re.compile(r"\brequest\b|\breq\.|\.recv\(|\bget_data\(|\.body\b|\bsocket\b|\bpayload\b", re.IGNORECASE)
_MASK = re.compile(r"mask (0o?[0-7]+)")
_WRITABLE_BY_ALL = 0o002
_SAFE_LOADER = re.compile(r"\bC?(?:Safe|Full|Base)Loader\b")


@dataclass(frozen=True)
class Said:
    """What bandit says of one place."""

    severity: Severity
    message: str
    code: str
    """The lines of the statement."""


def _pickled(said: Said) -> Severity | None:
    """Runs code for whoever wrote it. A file is mostly the program's own; bytes come from somewhere."""
    if _FROM_OUTSIDE.search(said.code):
        return Severity.BLOCKER
    return Severity.MINOR if re.search(r"\b(?:loads|decode)\(", said.code) else None


def _shell(said: Said) -> Severity | None:
    """A fixed line (LOW) is no hole, and neither is one whose parts are quoted."""
    is_quoted = re.search(r"\bshlex\.(?:quote|join)\(|(?<![\w.])quote\(", said.code)
    return None if said.severity is Severity.MINOR or is_quoted else said.severity


def _mode(said: Said) -> Severity | None:
    """That everybody may read or run a file is the rule; that everybody may write to it is a hole."""
    mask = _MASK.search(said.message)
    is_open = mask is None or int(mask[1].replace("o", ""), 8) & _WRITABLE_BY_ALL
    return Severity.MAJOR if is_open else None


def _yaml(said: Said) -> Severity | None:
    return None if _SAFE_LOADER.search(said.code) else said.severity


def _evaluated(said: Said) -> Severity | None:
    return None if re.search(r"\b(?:eval|exec)\(\s*[\"'][^\"']*[\"']\s*[,)]", said.code) else said.severity


def _django_extra(said: Said) -> Severity | None:
    """bandit takes every method of that name for Django's."""
    return said.severity if re.search(r"\b(?:where|select|tables|order_by)\s*=", said.code) else None


def _at(severity: Severity) -> Callable[[Said], Severity | None]:
    return lambda said: severity


JUDGED: Mapping[str, Callable[[Said], Severity | None]] = {
    "B102": _evaluated,
    "B103": _mode,
    "B201": _at(Severity.MAJOR),
    "B301": _pickled,
    "B302": _pickled,
    "B304": _at(Severity.MAJOR),
    "B306": _at(Severity.MINOR),
    "B307": _evaluated,
    "B312": _at(Severity.MINOR),
    "B321": _at(Severity.MINOR),
    "B502": _at(Severity.MAJOR),
    "B503": _at(Severity.MAJOR),
    "B505": _at(Severity.MAJOR),
    "B506": _yaml,
    "B507": _at(Severity.MAJOR),
    "B508": _at(Severity.MINOR),
    "B509": _at(Severity.MINOR),
    "B602": _shell,
    "B605": _shell,
    "B610": _django_extra,
    "B702": _at(Severity.MINOR),
}
"""How bad a rule's findings are where bandit's own word is too strong or too broad; None leaves one out."""


_RUNS_CODE = "Whoever can write what is read here has code of their own run."
_EVALUATED = "What the text says is run as code: whoever can write into it runs what they like."
_NO_CERTIFICATE = "Whoever is on the way can pass for the server, and read and change what is sent."
_SHELL = "The line goes to a shell, so a `;` or `$(…)` in a value that is pasted in runs another command."
MESSAGES: Mapping[str, str] = {
    "B102": f"{_EVALUATED} Do without `exec`.",
    "B103": "Every user of the machine may write to the file and put something else in its place. Use 0o755 or less.",
    "B201": "Werkzeug's debugger runs any code for whoever reaches the page of an error. Take the debug mode from the"
    " environment, and leave it off otherwise.",
    "B301": f"{_RUNS_CODE} Use JSON, or sign what is stored and check that first.",
    "B302": f"{_RUNS_CODE} Use JSON.",
    "B306": "Between the name and the file another program can put its own there. Use `mkstemp`.",
    "B307": f"{_EVALUATED} Use `ast.literal_eval`, or look the function up in a table.",
    "B323": f"{_NO_CERTIFICATE} Use `ssl.create_default_context()`.",
    "B501": f"{_NO_CERTIFICATE} Leave `verify` on; give an authority of your own as its value.",
    "B506": f"{_RUNS_CODE} Use `yaml.safe_load`.",
    "B507": f"{_NO_CERTIFICATE} Load known hosts, and leave `RejectPolicy`.",
    "B602": f"{_SHELL} Give a list of arguments, without `shell=True`.",
    "B605": f"{_SHELL} Use `subprocess.run` with a list of arguments.",
}
"""What goes wrong and what to do, where bandit's own text says neither."""


class Bandit:
    name = "bandit"
    configuration: tuple[str, ...] = ()
    fine = frozenset({0})

    def installed(self) -> bool:
        return importlib.util.find_spec("bandit") is not None

    def start(self, environment: str) -> tuple[str, ...]:
        # Isolated: a file of the repository that is called like a module of ours is not imported.
        return (f"{environment}/bin/python", "-I", "-m", "bandit")

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py")

    def call(self, subject: Subject, program: Sequence[str]) -> Call:
        return Call(
            command=(
                *program,
                # A `# nosec` that comes with the change would let the change excuse itself; those of the base are
                # set apart with everything else that the base has.
                *("--quiet", "--exit-zero", "--ignore-nosec", "--format", "json", "--output", subject.report),
                *("--skip", ",".join(LEFT_OUT)),
                *(f"./{file}" for file in subject.files),
            )
        )

    def read(self, report: bytes, root: str) -> Analysis:
        document = json_report(report, dict, self.name)
        try:
            findings = [_finding(item, root) for item in document["results"]]
            errors = {relative(item["filename"], root): str(item["reason"]) for item in document["errors"]}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise AnalyserFailed("bandit wrote a finding of another shape than its report has") from None
        return Analysis(findings=tuple(raw for raw in findings if raw is not None), unreadable=errors)

    def why_excused(self, finding: Finding, lines: Sequence[str]) -> str:
        """A loader of YAML that the file itself makes of a safe one is safe, whatever it is called."""
        if finding.rule != "bandit:B506":
            return ""
        loader = re.search(r"Loader\s*=\s*(\w+)", "\n".join(lines[finding.line - 1 : finding.end_line]))
        derived = loader and re.compile(rf"^\s*class\s+{loader[1]}\s*\([^)]*\bC?(?:Safe|Base)Loader\b")
        return "its loader is made of a safe one" if derived and any(derived.match(line) for line in lines) else ""


def _is_test_of_python(path: str) -> bool:
    """Narrower than elsewhere, for what is left out here may be a hole: a folder `spec` or `testing` is not enough."""
    *folders, name = path.lower().split("/")
    return is_test(path) and (
        bool({"test", "tests"}.intersection(folders))
        or name.startswith(("test_", "conftest"))
        or name.endswith("_test.py")
    )


def _finding(item: dict[str, object], root: str) -> Raw | None:
    test, file = str(item["test_id"]), relative(str(item["filename"]), root)
    lines = item.get("line_range")
    numbers = [int(number) for number in lines] if isinstance(lines, list) else []
    line = int(str(item["line_number"]))
    end_line = max([line, *numbers])
    said = Said(
        severity=_SEVERITY.get(str(item["issue_severity"]), Severity.MINOR),
        message=str(item["issue_text"]),
        code=_lines(str(item.get("code", "")), min([line, *numbers]), end_line),
    )
    severity = JUDGED[test](said) if test in JUDGED else said.severity
    if severity is None or (_is_test_of_python(file) and test in LEFT_OUT_IN_TESTS):
        return None
    return Raw(
        rule=f"bandit:{test}",
        file=file,
        line=line,
        end_line=end_line,
        severity=severity,
        message=MESSAGES.get(test, said.message),
        confidence=_CONFIDENCE.get(str(item["issue_confidence"]), 0.4),
    )


def _lines(code: str, first: int, last: int) -> str:
    """Of bandit's excerpt, in which each line begins with its number, those of the finding itself."""
    rows = (re.match(r"(\d+) ?(.*)", row) for row in code.split("\n"))
    return "\n".join(row[2] for row in rows if row and first <= int(row[1]) <= last)
