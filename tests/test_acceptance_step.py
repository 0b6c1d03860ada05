"""Step 11 on real repositories: the tests of a change on its head, and on the base without the change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sdlc.activities import CHECK_ACCEPTANCE
from sdlc.domain import ChangeSet, TestOutcome, TestReport
from sdlc.steps.acceptance import AcceptanceSteps
from tests.projects import FIXED, PACKAGE, GitRepository, Stage, check

TEST = {
    "tests/test_double.py": """
        from money import double

        def test_three():
            assert double(3) == 6

        def test_two():
            assert double(2) == 4
    """
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage.shared(tmp_path_factory)


@pytest.fixture(scope="module")
def money(tmp_path_factory: pytest.TempPathFactory) -> GitRepository:
    return GitRepository.shared(tmp_path_factory)


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(60):
        yield


async def checked(stage: Stage, change: ChangeSet, seconds: float | None = None) -> TestReport:
    return await AcceptanceSteps(stage.services, seconds=seconds).check_acceptance(check(change))


async def test_a_test_that_fails_without_the_change_is_the_proof(stage: Stage, money: GitRepository) -> None:
    report = await checked(stage, money.change(PACKAGE, {**FIXED, **TEST}))
    assert report.outcome is TestOutcome.PASSED, report.note
    assert report.proof is not None
    assert report.proof.shown == ("tests/test_double.py::test_three",)
    assert set(report.proof.passes_on_head) == {"tests/test_double.py::test_three", "tests/test_double.py::test_two"}
    assert report.proof.coverage is not None
    assert (report.proof.coverage.covered, report.proof.coverage.total) == (1, 1)
    assert report.log is not None


async def test_lines_that_no_test_reaches_lower_the_coverage(stage: Stage, money: GitRepository) -> None:
    more = FIXED["src/money/__init__.py"] + "\n\n        def triple(amount):\n            return amount * 3\n"
    report = await checked(stage, money.change(PACKAGE, {"src/money/__init__.py": more, **TEST}))
    assert report.proof is not None
    assert report.proof.coverage is not None
    assert (report.proof.coverage.covered, report.proof.coverage.total) == (2, 3)


async def test_tests_that_pass_without_the_change_prove_nothing(stage: Stage, money: GitRepository) -> None:
    easy = {"tests/test_double.py": "from money import double\n\ndef test_two():\n    assert double(2) == 4\n"}
    report = await checked(stage, money.change(PACKAGE, {**FIXED, **easy}))
    assert report.outcome is TestOutcome.FAILED
    assert "passes on the base commit as well" in report.note
    assert report.proof is not None
    assert report.proof.shown == ()


async def test_a_test_of_something_new_cannot_be_collected_without_it_and_that_is_proof(
    stage: Stage, money: GitRepository
) -> None:
    head = {
        "src/money/tax.py": "RATE = 19\n",
        "tests/test_tax.py": "from money.tax import RATE\n\ndef test_rate():\n    assert RATE == 19\n",
    }
    report = await checked(stage, money.change(PACKAGE, head))
    assert report.outcome is TestOutcome.PASSED
    assert report.proof is not None
    assert report.proof.shown == ("tests/test_tax.py::test_rate",)


async def test_the_support_files_of_tests_go_along_to_the_base(stage: Stage, money: GitRepository) -> None:
    head = {
        **FIXED,
        "tests/conftest.py": "import pytest\n\n@pytest.fixture\ndef three():\n    return 3\n",
        "tests/data/six.txt": "6\n",
        "tests/test_data.py": """
            import pathlib
            from money import double

            def test_data(three):
                assert double(three) == int(pathlib.Path(__file__).with_name("data").joinpath("six.txt").read_text())

            def test_support(three):
                assert three == 3
        """,
    }
    report = await checked(stage, money.change(PACKAGE, head))
    assert report.proof is not None
    assert report.proof.shown == ("tests/test_data.py::test_data",)


async def test_a_test_that_hangs_without_the_change_is_proof(
    stage: Stage, money: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdlc.steps.acceptance._LEAST_ON_BASE", 1.0)
    monkeypatch.setattr("sdlc.steps.acceptance._SLOWER_ON_BASE", 1)
    monkeypatch.setattr("sdlc.steps.acceptance._ALONE", 3.0)
    base = {**PACKAGE, "src/money/__init__.py": "def wait():\n    while True: pass\n", "tests/test_money.py": ""}
    head = {
        "src/money/__init__.py": "def wait():\n    return 1\n",
        "tests/test_wait.py": "from money import wait\n\ndef test_a():\n    assert True\n\ndef test_b():\n    wait()\n",
    }
    report = await checked(stage, money.change(base, head))
    assert report.proof is not None
    assert report.proof.shown == ("tests/test_wait.py::test_b",)


async def test_a_change_without_tests_is_a_question(stage: Stage, money: GitRepository) -> None:
    report = await checked(stage, money.change(PACKAGE, FIXED))
    assert (report.outcome, report.proof) == (TestOutcome.MISSING, None)


async def test_a_change_of_documents_owes_no_proof(stage: Stage, money: GitRepository) -> None:
    report = await checked(stage, money.change(PACKAGE, {"README.md": "x", "docs/a.rst": "y", "ruff.toml": ""}))
    assert report.outcome is TestOutcome.NOT_DECLARED
    assert "no test is due" in report.note


async def test_changed_tests_that_fail_on_the_head_are_no_proof(stage: Stage, money: GitRepository) -> None:
    report = await checked(stage, money.change(PACKAGE, TEST | {"tests/test_double.py": "def test(): assert 0\n"}))
    assert (report.outcome, report.failed) == (TestOutcome.FAILED, 1)


async def test_a_unittest_suite_is_proof_as_well(stage: Stage, money: GitRepository) -> None:
    suite = """
        import unittest
        import calc

        class Sums(unittest.TestCase):
            def test_one(self):
                self.assertEqual(calc.one(), {wanted})

            def test_other(self):
                self.assertTrue(calc)
    """
    base = {"calc.py": "def one():\n    return 2\n", "tests/__init__.py": "", "tests/test_x.py": suite.format(wanted=2)}
    head = {"calc.py": "def one():\n    return 1\n", "tests/test_x.py": suite.format(wanted=1)}
    report = await checked(stage, money.change(base, head))
    assert report.proof is not None
    assert report.proof.shown == ("tests.test_x.Sums.test_one",)
    assert report.proof.coverage is not None
    assert report.proof.coverage.percent == 100.0


async def test_a_command_that_names_no_tests_proves_as_a_whole(stage: Stage, money: GitRepository) -> None:
    base = {
        "Makefile": "test:\n\t@grep -q 2 answer && sh tests/check_test.js\n",
        "answer": "1",
        "tests/check_test.js": "",
    }
    report = await checked(stage, money.change(base, {"answer": "2", "tests/check_test.js": "true"}))
    assert report.outcome is TestOutcome.PASSED, report.note
    assert report.proof is not None
    assert report.proof.shown == ("make test",)


def test_the_activity_has_the_catalogues_name(stage: Stage) -> None:
    (activity,) = AcceptanceSteps(stage.services).activities()
    assert activity.__temporal_activity_definition.name == CHECK_ACCEPTANCE.name
