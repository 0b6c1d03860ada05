"""Steps 8 to 10 on real repositories: real git, real sandbox, real pytest."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from sdlc import policy
from sdlc.activities import RUN_TESTS
from sdlc.domain import ChangeSet, GateDecision, TestKind, TestOutcome, TestReport
from sdlc.steps.command_run import CommandRunner, read_own_file
from sdlc.steps.testing import TestingSteps, time_budget
from tests.projects import FIXED, PACKAGE, GitRepository, Stage, run_tests

BROKEN = {"src/money/__init__.py": PACKAGE["src/money/__init__.py"].replace("amount / 2", "amount / 3")}
HANGING = {"tests/test_money.py": "import time\n\ndef test_sleeps():\n    time.sleep(300)\n"}


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


async def reported(
    stage: Stage, change: ChangeSet, kind: TestKind = TestKind.UNIT, seconds: float | None = None
) -> TestReport:
    return await TestingSteps(stage.services, seconds=seconds).run_tests(run_tests(change, kind))


async def test_a_green_suite_is_passed_with_its_counts_and_log(stage: Stage, money: GitRepository) -> None:
    report = await reported(stage, money.change(PACKAGE, FIXED))
    assert (report.outcome, report.passed, report.failed, report.note) == (TestOutcome.PASSED, 2, 0, "")
    assert report.commands == ("python -m pytest",)
    assert report.sandboxed
    assert "2 passed" in await stage.log(report)


async def test_a_test_that_the_change_broke_fails_without_a_word_of_source(stage: Stage, money: GitRepository) -> None:
    report = await reported(stage, money.change(PACKAGE, BROKEN))
    assert report.outcome is TestOutcome.FAILED
    assert [(f.test, f.message, f.on_base) for f in report.failures] == [
        ("tests/test_money.py::test_half", "AssertionError", False)
    ]
    assert "half(4)" not in report.model_dump_json()
    assert "half(4)" in await stage.log(report)


async def test_a_failure_that_the_base_commit_has_does_not_count_and_the_base_is_asked_once(
    stage: Stage, money: GitRepository
) -> None:
    change = money.change({**PACKAGE, **BROKEN}, {"src/money/more.py": "x = 1\n"})
    report = await reported(stage, change)
    assert report.outcome is TestOutcome.PASSED
    assert [failure.on_base for failure in report.failures] == [True]
    assert report.note == ""
    kept = set((stage.settings.cache_dir / "baselines").iterdir())
    assert (await reported(stage, change)).failures == report.failures
    assert set((stage.settings.cache_dir / "baselines").iterdir()) == kept


async def test_a_flaky_test_is_run_again_and_labelled(stage: Stage, money: GitRepository) -> None:
    flaky = """
        import pathlib

        def test_second_time_lucky():
            seen = pathlib.Path("seen")
            known = seen.exists()
            seen.touch()
            assert known
    """
    report = await reported(stage, money.change(PACKAGE, {"tests/test_flaky.py": flaky}))
    assert (report.outcome, report.failures) == (TestOutcome.PASSED, ())
    assert report.flaky == ("tests/test_flaky.py::test_second_time_lucky",)


async def test_a_suite_that_hangs_is_stopped_and_the_limit_is_told(stage: Stage, money: GitRepository) -> None:
    change = money.change(PACKAGE, HANGING)
    await reported(stage, change, TestKind.INTEGRATION)  # the environment is there
    started = time.monotonic()
    report = await reported(stage, change, seconds=2)
    assert report.outcome is TestOutcome.TIMED_OUT
    assert "did not end within" in report.note
    assert time.monotonic() - started < 8


async def test_cancelling_stops_the_suite_at_once(stage: Stage, money: GitRepository) -> None:
    change = money.change(PACKAGE, HANGING)
    environment = ActivityEnvironment()
    steps = TestingSteps(stage.services, seconds=300)
    task = asyncio.create_task(environment.run(steps.run_tests, run_tests(change)))
    await asyncio.sleep(2)
    started = time.monotonic()
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 5


async def test_no_test_collected_is_a_question_and_not_a_pass(stage: Stage, money: GitRepository) -> None:
    change = money.change({**PACKAGE, "tests/test_money.py": "import money\n"}, {})
    report = await reported(stage, change)
    assert report.outcome is TestOutcome.MISSING
    assert "found no test" in report.note


async def test_a_repository_without_tests_is_a_question_and_not_a_crash(stage: Stage, money: GitRepository) -> None:
    report = await reported(stage, money.change({"README.md": "x"}, {}))
    assert report.outcome is TestOutcome.MISSING
    assert "`unit:` in `.sdlc.yml`" in report.note


async def test_integration_tests_and_checks_that_nobody_declares_are_not_owed(
    stage: Stage, money: GitRepository
) -> None:
    change = money.change({"README.md": "x"}, {})
    for kind in (TestKind.INTEGRATION, TestKind.STATIC):
        assert (await reported(stage, change, kind)).outcome is TestOutcome.NOT_DECLARED


async def test_a_set_up_that_fails_is_not_a_failing_test(stage: Stage, money: GitRepository) -> None:
    rules = "setup: ['echo \"error: no such compiler\"; exit 3']\nunit: 'true'\n"
    report = await reported(stage, money.change({"a.txt": "", ".sdlc.yml": rules}, {}))
    assert report.outcome is TestOutcome.SETUP_FAILED
    assert "error: no such compiler" in report.note
    assert "no such compiler" in await stage.log(report)


async def test_a_program_that_is_missing_is_not_a_failing_test(stage: Stage, money: GitRepository) -> None:
    report = await reported(stage, money.change({"a.txt": "", ".sdlc.yml": "unit: no-such-program --all\n"}, {}))
    assert report.outcome is TestOutcome.SETUP_FAILED
    assert "`no-such-program --all` can't be run" in report.note


async def test_a_mistake_in_sdlc_yml_is_told_and_the_tests_are_found_all_the_same(
    stage: Stage, money: GitRepository
) -> None:
    report = await reported(stage, money.change({**PACKAGE, ".sdlc.yml": "unti: pytest\n"}, {}))
    assert report.outcome is TestOutcome.PASSED
    assert "there is no entry `unti`" in report.note


async def test_tests_that_are_deleted_or_skipped_fail_the_step(stage: Stage, money: GitRepository) -> None:
    without = """
        import pytest
        from money import half

        @pytest.mark.skip
        def test_half():
            assert half(4) == 2
    """
    report = await reported(stage, money.change(PACKAGE, {"tests/test_money.py": without}))
    assert report.outcome is TestOutcome.FAILED
    assert [(failure.test, failure.message, failure.on_base) for failure in report.failures] == [
        ("tests/test_money.py::test_two", "deleted by the change", False),
        ("tests/test_money.py::test_half", "skipped by the change", False),
    ]
    assert "2 tests passed on the base commit and did not run on the head" in report.note
    verdict = policy.tests_gate(report, waived=(), rounds_left=0)
    assert verdict.decision is GateDecision.ASK
    assert policy.tests_gate(report, waived=verdict.fingerprints, rounds_left=0).decision is GateDecision.PASS


async def test_a_test_that_is_expected_to_fail_from_now_on_is_skipped(stage: Stage, money: GitRepository) -> None:
    before = PACKAGE["tests/test_money.py"]
    head = before.replace("def test_half", "@pytest.mark.xfail\n        def test_half").replace(
        "from", "import pytest\n        from"
    )
    report = await reported(stage, money.change(PACKAGE, {**BROKEN, "tests/test_money.py": head}))
    assert [failure.message for failure in report.failures] == ["skipped by the change"]


async def test_a_conftest_that_leaves_tests_out_is_found_out(stage: Stage, money: GitRepository) -> None:
    report = await reported(stage, money.change(PACKAGE, {"conftest.py": "collect_ignore = ['tests/test_money.py']\n"}))
    assert report.outcome is TestOutcome.FAILED
    assert {failure.message for failure in report.failures} == {"deleted by the change"}


async def test_a_test_file_that_moves_takes_its_tests_along(stage: Stage, money: GitRepository) -> None:
    moved = {"tests/test_money.py": None, "tests/unit/test_cash.py": PACKAGE["tests/test_money.py"]}
    report = await reported(stage, money.change(PACKAGE, moved))
    assert (report.outcome, report.failures, report.note) == (TestOutcome.PASSED, (), "")
    hidden = {"tests/test_money.py": None, "tests/cash.py": PACKAGE["tests/test_money.py"]}
    beside = {"tests/test_other.py": "def test_other(): pass\n"}
    report = await reported(stage, money.change({**PACKAGE, **beside}, hidden))
    assert [failure.message for failure in report.failures] == ["deleted by the change"] * 2


async def test_a_file_of_tests_that_the_command_never_ran_may_go(stage: Stage, money: GitRepository) -> None:
    apart = {"bench/test_speed.py": "def test_speed(): pass\n"}
    report = await reported(stage, money.change({**PACKAGE, **apart}, {"bench/test_speed.py": None}))
    assert (report.outcome, report.failures) == (TestOutcome.PASSED, ())


async def test_a_shell_line_that_reports_its_tests_is_asked_for_them_as_well(
    stage: Stage, money: GitRepository
) -> None:
    rules = {".sdlc.yml": "unit: cd . && python -m pytest -q\n"}
    fewer = {"tests/test_money.py": "def test_two(): pass\n"}
    report = await reported(stage, money.change({**PACKAGE, **rules}, fewer))
    assert [failure.test for failure in report.failures] == ["tests/test_money.py::test_half"]


async def test_a_command_that_fails_alike_without_the_change_is_a_question_to_a_person(
    stage: Stage, money: GitRepository
) -> None:
    broken = {"conftest.py": "raise RuntimeError('too old')\n"}
    report = await reported(stage, money.change({**PACKAGE, **broken}, FIXED))
    assert report.outcome is TestOutcome.SETUP_FAILED
    assert "fails in the same way on the base commit" in report.note
    assert policy.tests_gate(report, waived=(), rounds_left=3).decision is GateDecision.ASK


async def test_a_unittest_suite_is_run_by_unittest_with_its_own_ids(stage: Stage, money: GitRepository) -> None:
    suite = """
        import unittest
        import {imported}

        class Sums(unittest.TestCase):
            def test_right(self):
                self.assertEqual({imported}.one(), 1)

            def test_parts(self):
                for number in (1, 2):
                    with self.subTest(number):
                        self.assertLess(number, {limit})

            @unittest.skip("later")
            def test_later(self): ...
    """
    base = {
        "calc.py": "def one(): return 1\n",
        "tests/__init__.py": "",
        "tests/test_sums.py": suite.format(imported="calc", limit=3),
    }
    head = {
        "tests/test_sums.py": suite.format(imported="calc", limit=2),
        "tests/test_gone.py": suite.format(imported="nowhere", limit=3),
    }
    report = await reported(stage, money.change(base, head))
    assert report.commands == ("python -m unittest discover",)
    assert report.outcome is TestOutcome.FAILED
    assert {(failure.test, failure.message) for failure in report.failures} == {
        ("tests.test_sums.Sums.test_parts", "AssertionError"),
        ("tests.test_gone", "ImportError"),
    }
    assert (report.passed, report.skipped) == (1, 1)
    assert report.note == ""


async def test_a_shell_line_of_sdlc_yml_still_reports_the_tests_of_the_pytest_in_it(
    stage: Stage, money: GitRepository
) -> None:
    rules = {".sdlc.yml": "unit: cd . && python -m pytest -q\n"}
    report = await reported(stage, money.change({**PACKAGE, **rules}, BROKEN))
    assert report.outcome is TestOutcome.FAILED
    assert [failure.test for failure in report.failures] == ["tests/test_money.py::test_half"]


async def test_make_test_passes_and_fails_by_its_exit_code(stage: Stage, money: GitRepository) -> None:
    if shutil.which("make") is None:
        pytest.skip("no make here")
    change = money.change({"Makefile": "test:\n\t@cat result && exit `cat result`\n", "result": "0"}, {"result": "1"})
    report = await reported(stage, change)
    assert report.outcome is TestOutcome.FAILED
    assert [(failure.test, failure.message) for failure in report.failures] == [("make test", "exit code 2")]


async def test_a_check_answers_for_new_complaints_only(stage: Stage, money: GitRepository) -> None:
    files = {".sdlc.yml": "static: {lint: 'cat found; exit 1', fine: 'true'}\n", "found": "a.py:1:1: X001 old\n"}
    old = await reported(stage, money.change(files, {"found": "a.py:7:1: X001 old\n"}), TestKind.STATIC)
    assert (old.outcome, old.passed, old.failed) == (TestOutcome.PASSED, 2, 0)
    new = await reported(
        stage, money.change(files, {"found": "a.py:1:1: X001 old\nb.py:2:1: X002 new\n"}), TestKind.STATIC
    )
    assert (new.outcome, new.passed, new.failed) == (TestOutcome.FAILED, 1, 1)
    assert [(failure.test, failure.message) for failure in new.new_failures] == [("lint: b.py:2", "X002")]


async def test_tests_see_no_variable_of_the_worker(
    stage: Stage, money: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("UV_DEFAULT_INDEX_PASSWORD", "planted")
    report = await reported(stage, money.change({"a.txt": "", ".sdlc.yml": "unit: env\n"}, {}))
    log = await stage.log(report)
    assert report.outcome is TestOutcome.PASSED
    assert "planted" not in log
    assert "CI=1" in log


def test_a_report_that_is_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    assert read_own_file(tmp_path / "secret", 10) == b"x"
    assert read_own_file(tmp_path / "secret", 0) is None
    assert read_own_file(tmp_path, 10) is None  # a folder in a report's place
    assert read_own_file(tmp_path / "link", 10) is None
    assert read_own_file(tmp_path / "pipe", 10) is None
    assert read_own_file(tmp_path / "absent", 10) is None


async def test_what_a_command_left_in_its_results_leads_nobody_out(
    stage: Stage, money: GitRepository, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("kept")
    results = tmp_path / "results"
    results.mkdir()
    (results / "unittest_junit.py").symlink_to(tmp_path / "precious")
    (results / "junit.xml").mkdir()
    change = money.change({"calc.py": "", "test_calc.py": "import unittest\n"}, {})
    async with stage.services.workspaces.at(change.repository, change.head_sha) as workspace:
        environment = await stage.services.environments.ensure(workspace)
        runner = CommandRunner(stage.services.sandbox, workspace, environment)
        run = await runner.run(environment.plan.unit[0], timeout=20, results=results)
    assert run.nothing_collected
    assert (tmp_path / "precious").read_text() == "kept"


def test_the_time_of_a_step_leaves_some_to_report_in() -> None:
    assert time_budget(1_800) == 1_740
    assert time_budget(10) == 9


def test_the_activity_has_the_catalogues_name(stage: Stage) -> None:
    (activity,) = TestingSteps(stage.services).activities()
    assert activity.__temporal_activity_definition.name == RUN_TESTS.name
