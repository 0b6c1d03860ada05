"""The proof of a change: which of its tests failed before and pass now. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sdlc.domain import Proof
from sdlc.steps.command_run import CommandRun
from sdlc.steps.junit import CaseStatus

MOST_TESTS = 50
"""Named in a proof; those that are shown come first."""
_COLLECTION_FAILED = (2, 3, 4)
"""pytest's exit codes when it can't collect, breaks inside, or can't load a conftest."""


def tests_of(run: CommandRun, files: Collection[str], status: CaseStatus) -> list[str]:
    """The tests of some files that ended so."""
    return [case.id for case in run.cases if case.file in files and case.status is status]


def failing_before(passing: Sequence[str], base: CommandRun, file_of: dict[str, str]) -> list[str]:
    """Those of the head's `passing` tests that the base commit, with the same test files, does not pass.

    A test counts if it failed there, or if its file, or everything, could not be collected. One that
    is simply not there (a parameter made from the code, a run cut short) says nothing.
    """
    before = {case.id: case.status for case in base.cases}
    broken = {case.id for case in base.red_cases}
    nothing_ran = not base.cases and base.exit_code in _COLLECTION_FAILED and not base.limit and not base.timed_out
    failing = []
    for test in passing:
        status = before.get(test)
        if status is not None:
            if status.is_red:
                failing.append(test)
        elif nothing_ran or file_of.get(test, "") in broken or _module_of(test) in broken:
            failing.append(test)
    return failing


def _module_of(test: str) -> str:
    """The module of a unittest id: `tests.test_a` of `tests.test_a.TestA.test_x`."""
    return ".".join(test.split(".")[:-2])


def command_proof(head: CommandRun, base: CommandRun) -> tuple[list[str], list[str]]:
    """Failing before, passing now, for a command whose tests can't be chosen one by one.

    Names are used where its output has them; otherwise the command is one test of its own.
    """
    passing = [case.id for case in head.cases if case.status is CaseStatus.PASSED]
    red = {case.id for case in base.red_cases}
    named = [test for test in passing if test in red]
    if named:
        return named, passing
    if not head.is_green:
        return [], passing
    name = head.command.line
    failed = not base.is_green and not base.program_missing and base.limit in ("", "time")
    return ([name] if failed else []), [name]


def proof_of(failing: Sequence[str], passing: Sequence[str]) -> Proof:
    """The proof, with at most `MOST_TESTS` names on each side."""
    shown = [test for test in passing if test in set(failing)]
    others = [test for test in passing if test not in set(shown)]
    return Proof(fails_on_base=tuple(shown[:MOST_TESTS]), passes_on_head=tuple([*shown, *others][:MOST_TESTS]))
