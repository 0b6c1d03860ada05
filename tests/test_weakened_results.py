"""Getting green by taking from the tests: each way is found by a check that holds the run up, or makes them red."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from sdlc.domain import RunPolicy, TestKind, TestOutcome
from sdlc.repeats import MINIMUM_CONFIDENCE
from sdlc.review_graphs.checks.quality.weakened_tests import WeakenedTests
from sdlc.steps.testing import TestingSteps
from tests.projects import PACKAGE, GitRepository, Stage, run_tests
from tests.trees import Files, trees

CHECK = WeakenedTests()
HOLDS_UP = {severity.value for severity in RunPolicy().fix_severities}
SUITE = """import pytest
from money import double, half


def test_two():
    assert double(2) == 4


def test_half():
    x = half(4)
    assert x == 2
"""
PYPROJECT = PACKAGE["pyproject.toml"].replace("\n        ", "\n").lstrip() + "addopts = '-ra'\n"
PYPROJECT = PYPROJECT.replace("\n    addopts", "\naddopts") + "[tool.coverage.report]\nfail_under = 90\n"
BASE = {
    "pyproject.toml": PYPROJECT,
    ".gitignore": "__pycache__/\n",
    "src/money/__init__.py": PACKAGE["src/money/__init__.py"].replace("\n        ", "\n").lstrip(),
    "tests/test_money.py": SUITE,
    "tests/slow/test_more.py": SUITE.replace("_two", "_three").replace("_half", "_fourth"),
    "cart.js": "export const add = (a, b) => a + b;\n",
    "cart.test.js": 'it("adds", () => { expect(add(1, 2)).toBe(3); });\nit("x", () => { expect(add(2)).toBe(4); });\n',
    "package.json": json.dumps(
        {"name": "x", "scripts": {"test": "jest"}, "jest": {"coverageThreshold": {"global": {"lines": 80}}}}, indent=1
    )
    + "\n",
    "Makefile": "test:\n\tpytest -q\n",
}


def edited(path: str, old: str, new: str) -> dict[str, str | None]:
    assert old in BASE[path]
    return {path: BASE[path].replace(old, new)}


def suite(old: str, new: str) -> dict[str, str | None]:
    return edited("tests/test_money.py", old, new)


def held_up_by(folder: Path, change: Mapping[str, str | None]) -> list[str]:
    """The rules of what the check finds, of those severities that go back to the engine and then to a person."""
    head: Files = {path: text for path, text in {**BASE, **change}.items() if text is not None}
    found = CHECK.run(trees(folder, BASE, head)) if any(map(CHECK.looks_at, change)) else ()
    return [item.rule for item in found if item.severity in HOLDS_UP and item.confidence >= MINIMUM_CONFIDENCE]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"tests/test_money.py": None}, "test-removed"),
        (suite("def test_two():\n    assert double(2) == 4\n\n\n", ""), "test-removed"),
        (suite("def test_two():\n    assert", "# def test_two():\n#    assert"), "test-disabled"),
        (suite("def test_two", "def old_two"), "test-disabled"),
        (suite("def test_two", "@pytest.mark.skip\ndef test_two"), "test-disabled"),
        (suite("def test_two", "@pytest.mark.skipif(True, reason='x')\ndef test_two"), "test-disabled"),
        (suite("def test_two", "@pytest.mark.xfail\ndef test_two"), "test-disabled"),
        (suite("import pytest\n", "import pytest\npytestmark = pytest.mark.skip\n"), "test-disabled"),
        (suite("    assert double(2) == 4\n", "    double(2)\n"), "assertions-removed"),
        (suite("    assert double(2) == 4\n", "    pass\n"), "assertions-removed"),
        (suite("double(2) == 4", "True"), "assertion-weakened"),
        (suite("double(2) == 4", "double(2) is not None"), "assertion-weakened"),
        (edited("pyproject.toml", "-ra", '-k "not two"'), "deselected"),
        (edited("pyproject.toml", "-ra", "--ignore=tests/slow"), "deselected"),
        (edited("pyproject.toml", "-ra", "--deselect=tests/test_money.py::test_two"), "deselected"),
        (edited("pyproject.toml", "= 90", "= 10"), "coverage-lowered"),
        (edited("package.json", "80", "8"), "coverage-lowered"),
        (edited("package.json", '"test": "jest"', '"test": "jest || true"'), "deselected"),
        (edited("Makefile", "pytest -q", "pytest -q || true"), "deselected"),
        (edited("cart.test.js", 'it("adds"', 'it.only("adds"'), "focused-test"),
        (edited("cart.test.js", 'it("adds"', 'it.skip("adds"'), "test-disabled"),
        ({"cart.test.js": None}, "test-removed"),
    ],
)
def test_what_is_taken_from_the_tests_is_a_finding_that_holds_the_run_up(
    tmp_path: Path, change: Mapping[str, str | None], rule: str
) -> None:
    assert rule in held_up_by(tmp_path, change)


QUIET = {
    "return first": suite("    assert double(2)", "    return\n    assert double(2)"),
    "never entered": suite("    assert double(2)", "    if False:\n        assert double(2)"),
    "make's minus": edited("Makefile", "\tpytest", "\t-pytest"),
    "semicolon": edited("package.json", '"test": "jest"', '"test": "jest; exit 0"'),
    "no runner left": edited("package.json", '"test": "jest"', '"test": "echo ok"'),
    "no expectation": edited("cart.test.js", "expect(add(1, 2)).toBe(3)", "add(1, 2)"),
    "expects itself": edited("cart.test.js", "expect(add(1, 2)).toBe(3)", "expect(true).toBe(true)"),
}


@pytest.mark.parametrize("change", QUIET.values(), ids=QUIET)
def test_what_leaves_the_tests_without_a_say_is_found_too(tmp_path: Path, change: Mapping[str, str | None]) -> None:
    assert held_up_by(tmp_path, change)


# --- by running them ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage.shared(tmp_path_factory)


@pytest.fixture(scope="module")
def money(tmp_path_factory: pytest.TempPathFactory) -> GitRepository:
    return GitRepository.shared(tmp_path_factory)


@pytest.fixture
async def _bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(60):
        yield


RUNS = {path: text for path, text in BASE.items() if path.endswith((".py", ".toml", ".gitignore"))}
RUNS["src/money/__init__.py"] = RUNS["src/money/__init__.py"].replace("amount + 2", "amount * 2")
HOOK = (
    "import pytest\n\ndef pytest_collection_modifyitems(items):\n    for item in items:\n        item.add_marker({})\n"
)


@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize(
    "change",
    [
        suite("def test_two", "@pytest.mark.skipif(1 == 1, reason='x')\ndef test_two"),
        suite("def test_two", "@pytest.mark.skipif(double(1) > 0, reason='x')\ndef test_two"),
        suite("import pytest\n", "import pytest\npytest.importorskip('nowhere_to_be_found')\n"),
        suite("import pytest\n", "import pytest\n__test__ = False\n"),
        suite("    assert double(2)", "    if double(2):\n        pytest.skip('x')\n    assert double(2)"),
        {"pytest.ini": "[pytest]\naddopts = --ignore=tests/slow\n"},
        {"pytest.ini": "[pytest]\naddopts = -k two\n"},
        {"conftest.py": HOOK.format("pytest.mark.skip")},
        {"conftest.py": HOOK.format("pytest.mark.xfail"), **edited("src/money/__init__.py", "/ 2", "/ 3")},
        {"conftest.py": "def pytest_collection_modifyitems(items):\n    del items[1:]\n"},
        {"tests/conftest.py": "collect_ignore = ['test_money.py']\n"},
        edited("pyproject.toml", "-ra", "-k two"),
        edited("pyproject.toml", "'-ra'", "'-ra'\npython_functions = ['test_two']"),
    ],
)
async def test_a_test_that_ran_before_and_does_not_any_more_turns_the_tests_red(
    stage: Stage, money: GitRepository, change: Mapping[str, str | None]
) -> None:
    request = run_tests(money.change(RUNS, change), TestKind.UNIT)
    report = await TestingSteps(stage.services).run_tests(request)
    assert report.outcome is TestOutcome.FAILED
    assert {failure.message for failure in report.new_failures} <= {"deleted by the change", "skipped by the change"}
    assert report.new_failures
