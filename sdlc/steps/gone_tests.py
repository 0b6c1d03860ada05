"""Tests that a change deletes or puts to sleep: each is a failure of the change, for a person to waive. Pure."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sdlc.domain import TestFailure
from sdlc.integrations.git.diff import ChangedFile
from sdlc.integrations.project.plan import Command, Runner
from sdlc.integrations.project.test_files import is_python_test, is_test
from sdlc.steps.command_run import CommandRun
from sdlc.steps.junit import Case, CaseStatus

DELETED = "deleted by the change"
SKIPPED = "skipped by the change"

_DECIDE_ON_ALL = frozenset({"conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"})
"""Files that can take any test out of a run."""
_RAN_TO_THE_END = (0, 1, 5)
"""Exit codes: green, red, no test. With any other one tests may not have had their turn."""
_NO_SET_UP = re.compile(r"setUp(?:Class|Module) \((?P<of>[\w.]+)\)")


@dataclass(frozen=True)
class Touched:
    """What a change does to test files."""

    before: frozenset[str] = frozenset()
    """Test files that it edits, moves or deletes, by their names on the base."""
    after: frozenset[str] = frozenset()
    """All files that it leaves changed, by their names on the head."""
    moved: Mapping[str, str] = field(default_factory=dict)
    """Old path → new path."""
    all_tests: bool = False
    """It changes what decides about every test."""

    @classmethod
    def of(cls, changed: Iterable[ChangedFile], *, selects_anew: bool = False) -> Touched:
        """`selects_anew`: it changes what a file of many purposes, such as pyproject.toml, tells the test runner."""
        changed = list(changed)
        before = {file.old_path or file.path for file in changed if file.status != "A"}
        names = {PurePosixPath(path).name for file in changed for path in (file.path, file.old_path)}
        return cls(
            before=frozenset(path for path in before if is_test(path)),
            after=frozenset(file.path for file in changed if file.status != "D"),
            moved={file.old_path: file.path for file in changed if file.status == "R"},
            all_tests=selects_anew or not _DECIDE_ON_ALL.isdisjoint(names),
        )

    def __bool__(self) -> bool:
        return bool(self.before) or self.all_tests

    def concerns(self, case: Case) -> bool:
        """A test of the base commit that the change may have taken away."""
        return self.all_tests or case.file in self.before


def tells_which_ran(run: CommandRun) -> bool:
    """It came to its end and named its tests with their files, so that one that isn't among them did not run."""
    if run.timed_out or run.limit or run.exit_code not in _RAN_TO_THE_END:
        return False
    return run.nothing_collected or any(case.file for case in run.cases)


def gone_tests(
    base: Iterable[Case],
    head: Iterable[Case],
    touched: Touched,
    runs_elsewhere: Callable[[str], bool] = lambda path: False,
) -> tuple[TestFailure, ...]:
    """Tests that passed on the base commit and are gone or skipped on the head.

    One of the same name that is new elsewhere in the change, each for one, is the same test moved or renamed; so is
    that of a file which was moved to where another command runs it (`runs_elsewhere`). Tests of a file or
    class that breaks before they can run are red, not gone.
    """
    before = {case.id: case for case in base}
    now: dict[str, Case] = {}
    for case in head:
        if case.id not in now or now[case.id].status is CaseStatus.SKIPPED:
            now[case.id] = case
    broken = _broken(now.values())
    concerned = [
        case
        for case in before.values()
        if case.status is CaseStatus.PASSED and touched.concerns(case) and broken.isdisjoint(_above(case))
    ]
    asleep = [case for case in concerned if case.id in now and now[case.id].status is CaseStatus.SKIPPED]
    gone = [case for case in concerned if case.id not in now]
    arrived = [
        case for case in now.values() if case.id not in before and (touched.all_tests or case.file in touched.after)
    ]
    awake = [case for case in arrived if case.status is not CaseStatus.SKIPPED]
    for name in (_own_name, _function):
        gone, awake = _without_pairs(gone, awake, name)
    gone = [case for case in gone if not runs_elsewhere(touched.moved.get(case.file, ""))]
    deleted, _ = _without_pairs(gone, [case for case in arrived if case.status is CaseStatus.SKIPPED], _function)
    still_there = {case.id for case in deleted}
    skipped = [*asleep, *(case for case in gone if case.id not in still_there)]
    return tuple(
        TestFailure(test=case.id, message=message)
        for cases, message in ((deleted, DELETED), (skipped, SKIPPED))
        for case in cases
    )


def may_run(command: Command, path: str) -> bool:
    """Whether a call of pytest or unittest runs the tests of a file, as far as its words tell."""
    if command.runner is Runner.OTHER or not is_python_test(path):
        return False
    if command.runner is Runner.UNITTEST:
        return True
    words = shlex.split(command.line)
    ignored = [word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")]
    places = [word for word in words[words.index("pytest") + 1 :] if not word.startswith("-")]
    return (not places or _lies_in(path, places)) and not _lies_in(path, ignored)


def _lies_in(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(place.rstrip("/") + "/") for place in places)


def _broken(head: Iterable[Case]) -> set[str]:
    """Files, modules and classes that break before their tests can run."""
    red = [case.id for case in head if case.status.is_red]
    return {found["of"] if (found := _NO_SET_UP.match(test)) else test for test in red}


def _above(case: Case) -> set[str]:
    """What a test breaks with: its file, or for unittest its module and class."""
    parts = case.id.split(".")
    return {case.file, ".".join(parts[:-1]), ".".join(parts[:-2])} - {""}


def _without_pairs(
    gone: Sequence[Case], arrived: Sequence[Case], name: Callable[[Case], str]
) -> tuple[list[Case], list[Case]]:
    """Both without those that have the same name on the other side, each for one."""
    pairs = Counter(map(name, gone)) & Counter(map(name, arrived))

    def left(cases: Sequence[Case]) -> list[Case]:
        paired = Counter(pairs)
        kept = []
        for case in cases:
            if paired[name(case)] > 0:
                paired[name(case)] -= 1
            else:
                kept.append(case)
        return kept

    return left(gone), left(arrived)


def _own_name(case: Case) -> str:
    """Without its file or module, which may be another one after a move."""
    return case.id.split("::", 1)[1] if "::" in case.id else ".".join(case.id.split(".")[-2:])


def _function(case: Case) -> str:
    """Its function's name: without class and parameters, which a change may well give anew."""
    return re.split(r"::|\.", case.id.split("[", 1)[0])[-1]
