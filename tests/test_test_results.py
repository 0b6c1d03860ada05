"""Reading what runners and checkers report, and what it comes to."""

from __future__ import annotations

import pytest

from sdlc.domain import ChangedLineCoverage, ChangeSet, Repository, TestKind, TestOutcome, TestReport
from sdlc.integrations.project.plan import Command, Runner
from sdlc.steps.changed_coverage import changed_line_coverage
from sdlc.steps.command_run import CommandRun
from sdlc.steps.gone_tests import Touched, gone_tests, may_run, tells_which_ran
from sdlc.steps.junit import Case, CaseStatus, JunitInvalid, error_kind, read_junit
from sdlc.steps.named_results import likeness, named_results
from sdlc.steps.outcome import Attempt, report_of
from sdlc.steps.problems import new_problems, read_problems
from sdlc.steps.proof import command_proof, failing_before

FILES = {"tests/test_a.py", "test_b.py"}
REPOSITORY = Repository(url="x", name="x", base_branch="main", base_sha="b")
CHANGE = ChangeSet(repository=REPOSITORY, base_sha="b", head_sha="h", branch="sdlc/x")
PYTEST = Command(name="pytest", line="python -m pytest", runner=Runner.PYTEST)
OTHER = Command(name="make test", line="make test")


def case(test: str, status: CaseStatus = CaseStatus.PASSED) -> Case:
    return Case(id=test, file=test.split("::")[0], status=status)


def run(*cases: Case, command: Command = PYTEST, exit_code: int | None = None, output: str = "") -> CommandRun:
    red = any(case.status.is_red for case in cases)
    code = int(red) if exit_code is None else exit_code
    return CommandRun(
        command=command,
        exit_code=code,
        cases=cases,
        reported=bool(cases),
        problems=read_problems(output),
        likeness=likeness(output) if code else "",
        output=output,
    )


def report(*attempts: Attempt, kind: TestKind = TestKind.UNIT) -> TestReport:
    return report_of(kind, CHANGE, attempts)


# --- JUnit XML ----------------------------------------------------------------------------


def test_pytests_report_gives_its_own_ids_again() -> None:
    data = b"""<testsuites><testsuite>
      <testcase classname="tests.test_a.TestA" name="test_x[a::b.c]" />
      <testcase classname="test_b" name="test_y"><failure message="assert 1 == 2">src</failure></testcase>
      <testcase classname="test_b" name="test_z"><skipped type="pytest.skip"/></testcase>
      <testcase classname="" name="tests.test_a"><error message="collection failure">
E   ModuleNotFoundError: No module named 'x'
</error></testcase>
      <testcase classname="elsewhere.Thing" name="works"/>
    </testsuite></testsuites>"""
    found = [(c.id, c.status, c.message) for c in read_junit(data, FILES.__contains__)]
    assert found == [
        ("tests/test_a.py::TestA::test_x[a::b.c]", "passed", ""),
        ("test_b.py::test_y", "failed", "AssertionError"),
        ("test_b.py::test_z", "skipped", ""),
        ("tests/test_a.py", "error", "ModuleNotFoundError: No module named 'x'"),
        ("elsewhere.Thing::works", "passed", ""),
    ]


def test_a_test_that_fails_and_breaks_in_its_teardown_is_one_red_test() -> None:
    data = b"""<testsuite>
      <testcase classname="test_b" name="test_y"><failure message="ValueError: secret text"/></testcase>
      <testcase classname="test_b" name="test_y"><error message='failed on teardown with "KeyError: 1"'/></testcase>
    </testsuite>"""
    assert [(c.status, c.message) for c in read_junit(data, FILES.__contains__)] == [("error", "KeyError in teardown")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<testsuite>",
        b"not xml",
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        b"<a>" * 100 + b"</a>" * 100,
        b'<?xml version="1.0" encoding="no-such"?><x/>',
    ],
)
def test_a_hostile_or_broken_report_is_refused(data: bytes) -> None:
    with pytest.raises(JunitInvalid):
        read_junit(data)


@pytest.mark.parametrize(
    ("message", "text", "kind"),
    [
        ("AssertionError: assert secret == 1", "", "AssertionError"),
        ("decimal.InvalidOperation: [<class 'x'>]", "", "InvalidOperation"),
        ("Failed: DID NOT RAISE", "", "Failed"),
        ("collection failure", "def f(:\nE   SyntaxError: invalid syntax", "SyntaxError"),
        ("collection failure", "", "can't be collected"),
        ("password = 'hunter2'", "", ""),
    ],
)
def test_the_message_of_a_failure_is_its_kind_and_quotes_nothing(message: str, text: str, kind: str) -> None:
    assert error_kind({"message": message}, text) == kind


# --- other output -------------------------------------------------------------------------


def test_tests_that_runners_print_by_name_are_known() -> None:
    output = """--- FAIL: TestAdd (0.00s)
--- PASS: TestSub (0.00s)
test money::tests::rounds ... ok
test money::tests::fails ... FAILED
not ok 3 - adds numbers
ok 4 - subtracts # SKIP later
  \u2713 greets (3 ms)
nothing of the kind"""
    assert {c.id: str(c.status) for c in named_results(output)} == {
        "TestAdd": "failed",
        "TestSub": "passed",
        "money::tests::rounds": "passed",
        "money::tests::fails": "failed",
        "adds numbers": "failed",
        "subtracts": "skipped",
        "greets": "passed",
    }


def test_the_complaints_of_checkers_are_read_with_place_and_rule() -> None:
    output = """src/a.py:3:1: F401 `os` imported but unused
src/a.py:10: error: Missing return [return]
src/a.py:10: note: more about it
src/b.ts(3,5): error TS2322: Type 'x'
Would reformat: src/c.py
Found 3 errors."""
    found = [(problem.place, problem.rule) for problem in read_problems(output)]
    assert found == [
        ("src/a.py:3", "F401"),
        ("src/a.py:10", "return"),
        ("src/b.ts:3", "TS2322"),
        ("src/c.py", "format"),
    ]


def test_a_complaint_that_only_moved_is_an_old_one() -> None:
    base = read_problems("a.py:3:1: E501 Line too long (130 > 120)")
    head = read_problems("a.py:9:1: E501 Line too long (131 > 120)\na.py:12:1: E501 Line too long (125 > 120)")
    assert [problem.line for problem in new_problems(head, base)] == [12]


# --- what it comes to ---------------------------------------------------------------------


def test_all_green_is_passed() -> None:
    made = report(Attempt(run(case("test_b.py::a"), case("test_b.py::b", CaseStatus.SKIPPED))))
    assert (made.outcome, made.passed, made.failed, made.skipped) == (TestOutcome.PASSED, 1, 0, 1)


def test_a_failure_that_the_base_has_already_does_not_count() -> None:
    red = run(case("test_b.py::a", CaseStatus.FAILED), case("test_b.py::b"))
    made = report(Attempt(red, rerun=red, base=red))
    assert made.outcome is TestOutcome.PASSED
    assert [failure.on_base for failure in made.failures] == [True]
    assert made.new_failures == ()
    assert made.note == ""


def test_a_new_failure_beside_an_old_one_fails_and_comes_first() -> None:
    head = run(case("test_b.py::a", CaseStatus.FAILED), case("test_b.py::b", CaseStatus.FAILED))
    made = report(Attempt(head, rerun=head, base=run(case("test_b.py::a", CaseStatus.ERROR), case("test_b.py::b"))))
    assert made.outcome is TestOutcome.FAILED
    assert [failure.test for failure in made.failures] == ["test_b.py::b", "test_b.py::a"]
    assert "1 of 2 failures are on the base commit already" in made.note


def test_a_test_that_passes_alone_is_flaky_and_no_failure() -> None:
    head = run(case("test_b.py::a", CaseStatus.FAILED), case("test_b.py::b"))
    made = report(Attempt(head, rerun=run(case("test_b.py::a"))))
    assert (made.outcome, made.flaky, made.failures) == (TestOutcome.PASSED, ("test_b.py::a",), ())
    assert (made.passed, made.failed) == (2, 0)


def test_a_report_that_says_green_does_not_outvote_the_exit_code() -> None:
    assert report(Attempt(run(case("test_b.py::a"), exit_code=1))).outcome is TestOutcome.FAILED


def test_an_exit_code_that_says_green_does_not_outvote_a_red_report() -> None:
    assert report(Attempt(run(case("test_b.py::a", CaseStatus.FAILED), exit_code=0))).outcome is TestOutcome.FAILED


def test_a_crash_is_not_excused_by_a_base_that_was_red_in_another_way() -> None:
    head = run(exit_code=139, output="Segmentation fault")
    made = report(Attempt(head, base=run(case("test_b.py::a", CaseStatus.FAILED))))
    assert made.outcome is TestOutcome.FAILED


def test_tests_of_which_none_passes_on_either_commit_are_a_question_to_a_person() -> None:
    red = run(case("test_b.py::a", CaseStatus.ERROR))
    made = report(Attempt(red, rerun=red, base=red))
    assert made.outcome is TestOutcome.SETUP_FAILED
    assert made.new_failures == ()
    assert "`python -m pytest` fails in the same way on the base commit" in made.note
    crashed = run(command=OTHER, exit_code=1, output="No module named pytest")
    assert report(Attempt(crashed, base=crashed)).outcome is TestOutcome.SETUP_FAILED


def test_what_the_engine_can_mend_comes_before_what_only_a_person_can() -> None:
    broken = Attempt(run(command=OTHER, exit_code=127))
    assert report(broken, Attempt(run(case("test_b.py::a", CaseStatus.FAILED)))).outcome is TestOutcome.FAILED
    assert report(broken, Attempt(run(case("test_b.py::a")))).outcome is TestOutcome.SETUP_FAILED


def test_a_check_without_places_is_old_news_only_if_it_is_red_in_the_same_way() -> None:
    def red(output: str, exit_code: int = 1) -> CommandRun:
        return run(command=OTHER, exit_code=exit_code, output=output)

    def outcome(head: CommandRun, base: CommandRun) -> TestOutcome:
        return report(Attempt(head, base=base), kind=TestKind.STATIC).outcome

    assert outcome(red("1 complaint in 3 ms"), red("1 complaint in 4 ms")) is TestOutcome.PASSED
    assert outcome(red("x is bad\ny is bad"), red("x is bad")) is TestOutcome.FAILED
    assert outcome(red("it crashed", 2), red("it crashed", 2)) is TestOutcome.SETUP_FAILED


def test_at_most_fifty_failures_are_named_and_the_rest_is_counted() -> None:
    head = run(*(case(f"test_b.py::t{number}", CaseStatus.FAILED) for number in range(70)))
    made = report(Attempt(head))
    assert (len(made.failures), made.failed) == (50, 70)
    assert "20 more failures" in made.note
    old = report(Attempt(run(*head.cases, case("test_b.py::green")), base=head))
    assert (old.outcome, len(old.failures), old.note) == (TestOutcome.PASSED, 50, "")


def test_old_complaints_of_a_checker_do_not_count() -> None:
    def red(output: str) -> Attempt:
        ruff = Command(name="ruff check", line="ruff check .")
        return Attempt(
            run(command=ruff, exit_code=1, output=output),
            base=run(command=ruff, exit_code=1, output="a.py:1:1: F401 x"),
        )

    assert report(red("a.py:2:1: F401 x"), kind=TestKind.STATIC).outcome is TestOutcome.PASSED
    made = report(red("a.py:2:1: F401 x\nb.py:1:1: F401 x"), kind=TestKind.STATIC)
    assert made.outcome is TestOutcome.FAILED
    assert [(f.test, f.message) for f in made.new_failures] == [("ruff check: b.py:1", "F401")]


# --- tests that a change takes away -------------------------------------------------------

EDITED = Touched(before=frozenset(FILES), after=frozenset(FILES))


def gone(base: list[Case], head: list[Case], touched: Touched = EDITED, elsewhere: str = "-") -> dict[str, str]:
    found = gone_tests(base, head, touched, lambda path: path.startswith(elsewhere))
    return {failure.test: failure.message.split()[0] for failure in found}


def test_a_test_that_passed_and_is_deleted_or_skipped_fails_the_change() -> None:
    base = [case("test_b.py::gone"), case("test_b.py::asleep"), case("test_b.py::stays")]
    head = [case("test_b.py::asleep", CaseStatus.SKIPPED), case("test_b.py::stays")]
    assert gone(base, head) == {"test_b.py::gone": "deleted", "test_b.py::asleep": "skipped"}
    made = report(Attempt(run(*head), gone=gone_tests(base, head, EDITED)))
    assert made.outcome is TestOutcome.FAILED
    assert [(failure.test, failure.message, failure.on_base) for failure in made.failures] == [
        ("test_b.py::gone", "deleted by the change", False),
        ("test_b.py::asleep", "skipped by the change", False),
    ]
    assert "2 tests passed on the base commit and did not run on the head: test_b.py::gone" in made.note


def test_deleting_every_test_is_no_lack_of_tests_but_a_failure() -> None:
    empty = run(exit_code=5)
    assert tells_which_ran(empty)
    made = report(Attempt(empty, gone=gone_tests([case("test_b.py::a")], [], EDITED)))
    assert (made.outcome, len(made.failures)) == (TestOutcome.FAILED, 1)


def test_a_test_that_did_not_pass_on_the_base_can_be_taken_away() -> None:
    assert gone([case("test_b.py::a", CaseStatus.FAILED), case("test_b.py::b", CaseStatus.SKIPPED)], []) == {}


def test_a_test_of_a_file_that_the_change_left_alone_is_not_asked_for() -> None:
    assert gone([case("test_c.py::a")], []) == {}
    assert gone([case("test_c.py::a")], [], Touched(all_tests=True)) == {"test_c.py::a": "deleted"}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("test_b.py::test_x", "tests/test_a.py::test_x"),
        ("test_b.py::TestOld::test_x", "test_b.py::TestNew::test_x"),
        ("test_b.py::test_x[1-2]", "test_b.py::test_x[1-3]"),
        ("test_b.py::test_x", "test_b.py::test_x[1]"),
    ],
)
def test_a_test_that_moved_or_has_new_parameters_is_the_same_test(before: str, now: str) -> None:
    assert gone([case(before)], [case(now)]) == {}
    assert gone([case(before)], [case(now, CaseStatus.FAILED)]) == {}
    assert gone([case(before)], [case(now, CaseStatus.SKIPPED)]) == {before: "skipped"}


def test_one_test_that_arrives_stands_for_one_that_went() -> None:
    base = [case("test_b.py::TestA::test_x"), case("test_b.py::TestB::test_x")]
    assert gone(base, [case("tests/test_a.py::TestB::test_x")]) == {"test_b.py::TestA::test_x": "deleted"}


def test_a_test_of_the_same_name_that_was_there_before_stands_for_nothing() -> None:
    base = [case("test_b.py::test_x"), case("tests/test_a.py::test_x")]
    assert gone(base, base[1:]) == {"test_b.py::test_x": "deleted"}
    untouched = case("test_c.py::test_x")
    assert gone(base[:1], [untouched]) == {"test_b.py::test_x": "deleted"}


def test_a_file_that_moved_to_where_another_command_runs_it_is_not_gone() -> None:
    moved = Touched(before=frozenset({"test_b.py"}), moved={"test_b.py": "it/test_b.py"})
    assert gone([case("test_b.py::a")], [], moved, elsewhere="it/") == {}
    assert gone([case("test_b.py::a")], [], moved) == {"test_b.py::a": "deleted"}
    command = Command(name="", line="python -m pytest it", runner=Runner.PYTEST)
    assert [may_run(command, path) for path in ("it/test_b.py", "test_b.py", "it/attic.py")] == [True, False, False]
    rest = Command(name="", line="python -m pytest --ignore=it", runner=Runner.PYTEST)
    assert [may_run(rest, path) for path in ("it/test_b.py", "test_b.py")] == [False, True]


def test_tests_of_what_breaks_before_they_can_run_are_red_and_not_gone() -> None:
    assert gone([case("test_b.py::a")], [case("test_b.py", CaseStatus.ERROR)]) == {}
    base = [Case(id="test_b.T.test_x", file="test_b.py", status=CaseStatus.PASSED)]
    for red in ("test_b", "setUpClass (test_b.T)", "setUpModule (test_b)"):
        assert gone(base, [Case(id=red, status=CaseStatus.ERROR)]) == {}


def test_a_run_that_was_cut_short_does_not_tell_which_tests_are_gone() -> None:
    whole = run(case("test_b.py::a"))
    assert tells_which_ran(whole)
    assert not tells_which_ran(run(case("test_b.py::a"), exit_code=2))
    assert not tells_which_ran(whole.model_copy(update={"limit": "memory"}))
    assert not tells_which_ran(run(Case(id="TestAdd", status=CaseStatus.PASSED), command=OTHER))


# --- proof and coverage -------------------------------------------------------------------


def test_what_fails_or_cannot_be_collected_without_the_change_is_proof() -> None:
    passing = ["test_b.py::a", "test_b.py::b", "test_b.py::c", "tests/test_a.py::d"]
    base = run(case("test_b.py::a", CaseStatus.FAILED), case("test_b.py::b"), case("tests/test_a.py", CaseStatus.ERROR))
    file_of = {test: test.split("::")[0] for test in passing}
    assert failing_before(passing, base, file_of) == ["test_b.py::a", "tests/test_a.py::d"]


def test_a_run_that_was_cut_short_proves_nothing() -> None:
    assert failing_before(["test_b.py::a"], run(exit_code=137), {}) == []
    assert failing_before(["test_b.py::a"], run(exit_code=4), {}) == ["test_b.py::a"]


def test_a_command_proves_as_a_whole_where_it_names_nothing() -> None:
    green, red = run(command=OTHER, exit_code=0), run(command=OTHER, exit_code=2)
    assert command_proof(green, red) == (["make test"], ["make test"])
    assert command_proof(green, green) == ([], ["make test"])
    assert command_proof(green, run(command=OTHER, exit_code=127)) == ([], ["make test"])


def test_coverage_counts_the_changed_lines_that_can_be_executed() -> None:
    data = b"SF:a.py\nDA:1,1\nDA:2,3\nDA:4,0\nend_of_record\nSF:c.py\nDA:1,0\nend_of_record\n"
    measured = changed_line_coverage(data, {"a.py": {2, 3, 4}, "b.py": {1}})
    assert measured is not None
    assert (measured.covered, measured.total, measured.percent) == (1, 2, 50.0)
    assert changed_line_coverage(data, {}) == ChangedLineCoverage(covered=0, total=0)


@pytest.mark.parametrize("data", [b"{}", b"DA:1,1\n", b"SF:a.py\nDA:x,1\n", b"\xff\xfe"])
def test_coverage_that_cannot_be_read_is_none(data: bytes) -> None:
    assert changed_line_coverage(data, {"a.py": {1}}) is None
