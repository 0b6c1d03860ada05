"""JUnit XML as test runners write it, read without trust: whoever can write a test can write this file.

The reader is expat itself rather than a tree: no document type (so no entities), bounded size, depth
and number of cases, and nothing but what is counted stays in memory.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from enum import StrEnum
from xml.parsers import expat

from pydantic import BaseModel, ConfigDict

LARGEST_REPORT = 32 * 1024**2
"""Bytes of a report that is read; a larger one counts as none."""
MOST_CASES = 200_000
_DEEPEST = 32
_TEXT_KEPT = 4_000
_ID_LENGTH = 300

UNITTEST = "unittest:"
"""The class name by which `unittest_junit` says that the name is the whole id."""


class JunitInvalid(ValueError):
    """The file is no JUnit XML that we read; the message says why."""


class CaseStatus(StrEnum):
    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"
    ERROR = "error"

    @property
    def is_red(self) -> bool:
        return self in (CaseStatus.FAILED, CaseStatus.ERROR)


class Case(BaseModel):
    """One test and how it ended."""

    model_config = ConfigDict(frozen=True)

    id: str
    """The runner's own id: `tests/test_a.py::TestA::test_x`, or `tests.test_a.TestA.test_x` for unittest."""
    file: str = ""
    """The path of its file, where that could be told."""
    status: CaseStatus
    message: str = ""
    """The kind of error, never its text: that quotes the source."""


_WORST = list(CaseStatus)


def read_junit(data: bytes, is_file: Callable[[str], bool] = lambda path: False) -> tuple[Case, ...]:
    """The cases of a report in their order, each id once with its worst result.

    `is_file` tells whether a path exists in the repository: pytest writes dotted names, from which
    the id is made again. Raises JunitInvalid.
    """
    if len(data) > LARGEST_REPORT:
        raise JunitInvalid(f"the report has more than {LARGEST_REPORT} bytes")
    reader = _Reader()
    known_file = functools.cache(is_file)
    try:
        reader.parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise JunitInvalid(f"the report is not JUnit XML ({error})") from None
    cases: dict[str, Case] = {}
    for raw in reader.cases:
        case = raw.case(known_file)
        known = cases.get(case.id)
        if known is None or _WORST.index(case.status) > _WORST.index(known.status):
            cases[case.id] = case
    return tuple(cases.values())


class _RawCase:
    def __init__(self, attributes: dict[str, str]) -> None:
        self.classname = attributes.get("classname", "")[:_ID_LENGTH]
        self.name = attributes.get("name", "")[:_ID_LENGTH]
        self.file = attributes.get("file", "")[:_ID_LENGTH]
        self.status = CaseStatus.PASSED
        self.message = ""

    def case(self, is_file: Callable[[str], bool]) -> Case:
        identity, file = _identity(self.classname, self.name, self.file, is_file)
        return Case(id=_one_line(identity), file=file, status=self.status, message=self.message)


class _Reader:
    def __init__(self) -> None:
        self.cases: list[_RawCase] = []
        self._depth = 0
        self._case: _RawCase | None = None
        self._problem: dict[str, str] | None = None
        self._text = ""
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype

    def _refuse_doctype(self, *_: object) -> None:
        raise JunitInvalid("the report declares a document type, which none of ours does")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST or len(self.cases) > MOST_CASES:
            raise JunitInvalid("the report is deeper or longer than any test run")
        if tag == "testcase":
            self._case = _RawCase(attributes)
            self.cases.append(self._case)
        elif self._case is not None and tag in ("failure", "error", "skipped"):
            self._problem, self._text = attributes, ""
            status = {"failure": CaseStatus.FAILED, "error": CaseStatus.ERROR, "skipped": CaseStatus.SKIPPED}[tag]
            if _WORST.index(status) > _WORST.index(self._case.status):
                self._case.status = status

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if tag == "testcase":
            self._case = None
        elif self._case is not None and self._problem is not None and tag in ("failure", "error"):
            self._case.message = self._case.message or error_kind(self._problem, self._text)
            self._problem = None
        elif tag == "skipped":
            self._problem = None

    def _characters(self, text: str) -> None:
        if self._problem is not None:
            self._text = (self._text + text)[-_TEXT_KEPT:]


_KIND = re.compile(r"(?:E\s+)?((?:[A-Za-z_]\w{0,80}\.){0,6}[A-Z]\w{0,80})\s*(?::\s*(.*))?\Z")
_PHASE = re.compile(r"failed on (setup|teardown) with \"(.*)", re.DOTALL)
_IMPORT_MESSAGE = re.compile(r"(?:No module named|cannot import name) '[\w.]{1,120}'")


def error_kind(attributes: dict[str, str], text: str) -> str:
    """What went wrong in a word or two: the class of the error, and for a failed import what was missing."""
    message = attributes.get("message", "")[:_TEXT_KEPT]
    phase = _PHASE.match(message)
    lines = [(phase[2] if phase else message).split("\n")[0].strip().rstrip('"')]
    # A failed collection has its reason only in the text, where pytest marks it with an E.
    lines += [line.strip() for line in reversed(text.splitlines()) if line.startswith("E ")]
    for line in lines:
        kind = _KIND.match(line)
        if kind and kind[1] not in ("E",):
            imported = _IMPORT_MESSAGE.search(line)
            word = kind[1].rsplit(".", 1)[-1] + (f": {imported[0]}" if imported else "")
            return (f"{word} in {phase[1]}" if phase else word)[:200]
    if re.match(r"assert\b", lines[0]):
        return "AssertionError"
    if message == "collection failure":
        return "can't be collected"
    kind = _KIND.match(attributes.get("type", ""))
    return kind[1].rsplit(".", 1)[-1] if kind else ""


def _identity(classname: str, name: str, file: str, is_file: Callable[[str], bool]) -> tuple[str, str]:
    """The runner's id and the file, from what the report has of both."""
    if classname == UNITTEST:
        return name, file if is_file(file) else ""
    dotted = [part for part in classname.split(".") if part]
    path, rest = _module_file(dotted, is_file)
    if path:
        return "::".join([path, *rest, name]), path
    path, rest = _module_file(name.split("."), is_file)
    if not dotted and path and not rest:
        return path, path  # the file itself could not be collected
    return (f"{classname}::{name}" if classname else name), file if is_file(file) else ""


def _module_file(parts: list[str], is_file: Callable[[str], bool]) -> tuple[str, list[str]]:
    """The longest prefix of a dotted name that is a file, and what is left of the name.

    pytest takes `.py` away, and leaves other endings: plugins collect tests from YAML and the like.
    """
    for end in range(len(parts), 0, -1):
        for path in ("/".join(parts[:end]) + ".py", ".".join(["/".join(parts[: end - 1]), parts[end - 1]])):
            if is_file(path):
                return path, parts[end:]
    return "", []


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "�" for char in text)
