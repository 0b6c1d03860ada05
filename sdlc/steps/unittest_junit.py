"""Run unittest as `python -m unittest` would, and write JUnit XML. Runs in the sandbox, with the repository's Python.

    python unittest_junit.py REPORT [arguments of unittest…]

`SDLC_ONLY` in the environment may name a JSON file, {"ids": […]} or {"files": […]}: the tests that are
found are then narrowed to these, so that ids mean the same however they are discovered.
Nothing but the standard library, and no syntax newer than Python 3.8.
"""

from __future__ import annotations

import json
import os
import sys
import unittest
from typing import Any
from xml.sax.saxutils import quoteattr

UNITTEST = "unittest:"
"""Tells the reader that a name is a whole id (`sdlc.steps.junit`)."""
NOTHING_FOUND = 5
"""Exit code when there was no test, as pytest has it."""


class Recorder(unittest.TextTestResult):
    """Keeps for each test its worst result."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.records: dict[str, list[Any]] = {}

    def _note(self, test: Any, status: str, kind: str = "") -> None:
        known = self.records.get(test.id())
        order = ("passed", "skipped", "failure", "error")
        if known is None or order.index(status) > order.index(known[1]):
            self.records[test.id()] = [test, status, kind]

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self._note(test, "passed")

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._note(test, "failure", err[0].__name__)

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._note(test, "error", err[0].__name__)

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self._note(test, "skipped")

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._note(test, "skipped")

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self._note(test, "failure", "UnexpectedSuccess")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failure" if issubclass(err[0], test.failureException) else "error", err[0].__name__)


def main(argv: list[str]) -> int:
    report, arguments = argv[1], argv[2:]
    sys.path[0] = os.getcwd()
    program = unittest.main(module=None, argv=["python -m unittest", *arguments], exit=False, testRunner=_Keep())
    suite = _narrowed(program.test)  # type: ignore[attr-defined]  # set by its parsing of the arguments
    if suite.countTestCases() == 0:
        return NOTHING_FOUND
    result = unittest.TextTestRunner(
        verbosity=2, resultclass=Recorder, failfast=False, buffer=bool(program.buffer)
    ).run(suite)
    _write(report, result)
    return 0 if result.wasSuccessful() else 1


class _Keep:
    """In place of a runner: leaves the tests that were found unrun."""

    def run(self, test: Any) -> unittest.TestResult:
        return unittest.TestResult()


def _narrowed(found: Any) -> unittest.TestSuite:
    only = os.environ.get("SDLC_ONLY")
    suite = unittest.TestSuite()
    wanted: dict[str, list[str]] = {}
    if only:
        with open(only, encoding="utf-8") as file:
            wanted = json.load(file)
    for test in _flat(found):
        if not only or test.id() in _set(wanted, "ids") or _file(test) in _set(wanted, "files"):
            suite.addTest(test)
    return suite


def _set(wanted: dict[str, list[str]], key: str) -> set[str]:
    return set(wanted.get(key, []))


def _flat(suite: Any) -> list[Any]:
    if not isinstance(suite, unittest.TestSuite):
        return [suite]
    return [test for part in suite for test in _flat(part)]


def _file(test: Any) -> str:
    """Where the test stands, from the working folder; for a module that can't be imported where it would be."""
    if type(test).__name__ == "_FailedTest":
        path = test.id().split("_FailedTest.", 1)[-1].replace(".", "/") + ".py"
        return path if os.path.isfile(path) else ""
    module: Any | None = sys.modules.get(type(test).__module__)
    path = getattr(module, "__file__", None) or ""
    return os.path.relpath(path) if path else ""


def _write(report: str, result: Any) -> None:
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<testsuites><testsuite>"]
    for identity, (test, status, kind) in result.records.items():
        failed_import = type(test).__name__ == "_FailedTest"
        name = identity.split("_FailedTest.", 1)[-1] if failed_import else identity
        place = quoteattr(_file(test))
        line = f"<testcase classname={quoteattr(UNITTEST)} name={quoteattr(_clean(name))} file={place}"
        if status == "passed":
            lines.append(line + "/>")
        else:
            lines.append(f"{line}><{status} message={quoteattr(kind)}/></testcase>")
    lines.append("</testsuite></testsuites>")
    with open(report, "w", encoding="utf-8", errors="replace") as file:
        file.write("\n".join(lines))


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
