"""What the runs of a step's commands come to: which failures are new, which flaky, which the base had. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sdlc.domain import ChangeSet, TestFailure, TestKind, TestOutcome, TestReport
from sdlc.integrations.project.plan import Runner
from sdlc.steps.command_run import CommandRun
from sdlc.steps.junit import Case, CaseStatus
from sdlc.steps.problems import new_problems

MOST_FAILURES = 50
"""In a report; the log has them all."""
MOST_NAMES = 10
"""Names listed in a note."""


@dataclass
class Attempt:
    """One command: on the head, its failed tests once more, and on the base commit where that was needed."""

    head: CommandRun
    rerun: CommandRun | None = None
    base: CommandRun | None = None
    base_note: str = ""
    """Why there is no base to compare with, although there should be."""
    gone: tuple[TestFailure, ...] = ()
    """Tests that passed on the base commit, and that the change deletes or skips."""

    @property
    def flaky(self) -> tuple[str, ...]:
        """Failed at first and passed alone."""
        if self.rerun is None:
            return ()
        passed = {case.id for case in self.rerun.cases if case.status is CaseStatus.PASSED}
        return tuple(case.id for case in self.head.red_cases if case.id in passed)

    @property
    def red(self) -> tuple[Case, ...]:
        flaky = set(self.flaky)
        return tuple(case for case in self.head.red_cases if case.id not in flaky)

    @property
    def is_red(self) -> bool:
        """Something is left to explain when flaky tests are set apart."""
        if self.head.is_green:
            return bool(self.red)
        return bool(self.red) or not self.head.red_cases


@dataclass
class Verdict:
    """What one attempt comes to."""

    outcome: TestOutcome
    failures: list[TestFailure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verdict_of(attempt: Attempt, kind: TestKind = TestKind.UNIT) -> Verdict:
    """What one command comes to. A green one passed, if the change took no test out of it. A red one did if all
    that is red was so before, and something was verified none the less: where nothing passes, on neither
    commit, nothing is known about the change, and the engine that made the change can't mend that.
    """
    run = attempt.head
    name = run.command.line
    if run.timed_out:
        stopped = TestFailure(test=run.command.name, message=f"stopped at its limit of {run.time_limit:.0f} s")
        note = f"`{name}` did not end within {run.time_limit:.0f} s and was stopped, with everything it had started."
        return Verdict(TestOutcome.TIMED_OUT, [stopped], [note])
    if run.program_missing:
        note = (
            f"`{name}` can't be run: a program it needs is not in the environment (exit code {run.exit_code}). "
            "Add it to the repository's own requirements, to `setup:` in `.sdlc.yml`, or to this worker."
        )
        return Verdict(TestOutcome.SETUP_FAILED, [], [note])
    if run.nothing_collected and not attempt.gone:
        note = f"`{name}` found no test. Add one, or name the command as `unit:` in `.sdlc.yml`."
        return Verdict(TestOutcome.MISSING, [], [note])
    failures = [*_failures(attempt), *attempt.gone]
    notes = _notes(attempt)
    if not failures:
        return Verdict(TestOutcome.PASSED, failures, notes)
    old = sum(failure.on_base for failure in failures)
    if old == len(failures):
        if _verified_something(attempt, kind):
            return Verdict(TestOutcome.PASSED, failures, notes)
        notes.append(
            f"`{name}` fails in the same way on the base commit, and nothing in it passes: it says nothing about the "
            "change. Mend it there, or name another command in `.sdlc.yml` on the base branch."
        )
        return Verdict(TestOutcome.SETUP_FAILED, failures, notes)
    if old:
        notes.append(f"`{name}`: {old} of {len(failures)} failures are on the base commit already and don't count.")
    return Verdict(TestOutcome.FAILED, failures, notes)


def _verified_something(attempt: Attempt, kind: TestKind) -> bool:
    if kind is TestKind.STATIC:
        # Checkers end with 1 when they complain, and with more when they could not look.
        return bool(attempt.head.problems) or attempt.head.exit_code == 1
    return bool(attempt.flaky) or any(case.status is CaseStatus.PASSED for case in attempt.head.cases)


def _failures(attempt: Attempt) -> list[TestFailure]:
    if not attempt.is_red or attempt.head.nothing_collected:
        return []
    if attempt.red:
        before = {case.id for case in attempt.base.red_cases} if attempt.base else set()
        return [TestFailure(test=case.id, message=case.message, on_base=case.id in before) for case in attempt.red]
    if attempt.head.problems:
        return _problem_failures(attempt)
    return [_whole_command(attempt)]


def _problem_failures(attempt: Attempt) -> list[TestFailure]:
    head = attempt.head
    base = attempt.base.problems if attempt.base and not attempt.base.is_green else ()
    new = {id(problem) for problem in new_problems(head.problems, base)}
    return [
        TestFailure(
            test=f"{head.command.name}: {problem.place}"[:300], message=problem.rule, on_base=id(problem) not in new
        )
        for problem in head.problems
    ]


def _whole_command(attempt: Attempt) -> TestFailure:
    head, base = attempt.head, attempt.base
    message = f"stopped at the {head.limit} limit" if head.limit else f"exit code {head.exit_code}"
    alike = base is not None and not base.is_green and base.likeness == head.likeness
    return TestFailure(test=head.command.name, message=message, on_base=alike)


def _notes(attempt: Attempt) -> list[str]:
    name = attempt.head.command.line
    notes = [attempt.base_note] if attempt.base_note else []
    if attempt.head.report_note:
        notes.append(f"`{name}`: {attempt.head.report_note}.")
    if attempt.head.limit and not attempt.head.timed_out:
        notes.append(f"`{name}` reached its {attempt.head.limit} limit.")
    if attempt.gone:
        notes.append(_gone_note([failure.test for failure in attempt.gone]))
    return notes


def _gone_note(tests: Sequence[str]) -> str:
    listed = ", ".join(tests[:MOST_NAMES]) + (" …" if len(tests) > MOST_NAMES else "")
    what = "1 test" if len(tests) == 1 else f"{len(tests)} tests"
    return f"{what} passed on the base commit and did not run on the head: {listed}."


_ORDER = (TestOutcome.TIMED_OUT, TestOutcome.FAILED, TestOutcome.SETUP_FAILED, TestOutcome.PASSED, TestOutcome.MISSING)
"""The outcome of several commands is the first of these that any of them has: what the engine can mend comes
before what only a person can."""


def report_of(kind: TestKind, change: ChangeSet, attempts: Sequence[Attempt], notes: Iterable[str] = ()) -> TestReport:
    """The report of a step whose commands were run; without log and total time."""
    verdicts = [verdict_of(attempt, kind) for attempt in attempts]
    failures = sorted((failure for verdict in verdicts for failure in verdict.failures), key=lambda f: f.on_base)
    passed, failed, skipped = _counts(attempts, verdicts)
    said = [note for verdict in verdicts for note in verdict.notes] + list(notes)
    new = sum(not failure.on_base for failure in failures)
    if new > MOST_FAILURES:
        said.append(f"{new - MOST_FAILURES} more failures are in the log.")
    outcomes = {verdict.outcome for verdict in verdicts}
    return TestReport(
        kind=kind,
        head_sha=change.head_sha,
        outcome=next(outcome for outcome in _ORDER if outcome in outcomes),
        commands=tuple(attempt.head.command.line for attempt in attempts),
        passed=passed,
        failed=failed,
        skipped=skipped,
        failures=tuple(failures[:MOST_FAILURES]),
        flaky=tuple(test for attempt in attempts for test in attempt.flaky)[:MOST_FAILURES],
        note=" ".join(dict.fromkeys(said)),
        sandboxed=all(attempt.head.sandboxed for attempt in attempts),
    )


def _counts(attempts: Sequence[Attempt], verdicts: Sequence[Verdict]) -> tuple[int, int, int]:
    """Passed, failed, skipped: of tests where they are known one by one, else of commands."""
    passed = failed = skipped = 0
    for attempt, verdict in zip(attempts, verdicts, strict=True):
        cases = attempt.head.cases
        if cases:
            skipped += sum(case.status is CaseStatus.SKIPPED for case in cases)
            failed += len(attempt.red)
            passed += sum(not case.status.is_red and case.status is not CaseStatus.SKIPPED for case in cases)
            passed += len(attempt.flaky)
        elif verdict.outcome is not TestOutcome.MISSING:
            red = verdict.outcome is not TestOutcome.PASSED
            failed, passed = failed + red, passed + (not red)
    return passed, failed, skipped


def can_be_narrowed(run: CommandRun) -> bool:
    """Single tests of it can be run again."""
    return run.command.runner in (Runner.PYTEST, Runner.UNITTEST)
