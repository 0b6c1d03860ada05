"""Steps 8 to 10: the repository's own unit tests, integration tests and static checks.

Each is run on the head. What is red there is run once more alone (flaky?) and then on the base commit
(was it red before?), so that a change answers for what it broke and for nothing else. Tests that passed there and
are gone or skipped on the head are broken too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from temporalio import activity

from sdlc.activities import RUN_TESTS, RunTests
from sdlc.domain import ChangeSet, TestFailure, TestKind, TestOutcome, TestReport
from sdlc.integrations.project.environment import Environment
from sdlc.integrations.project.plan import Command
from sdlc.integrations.project.test_files import is_python_test
from sdlc.integrations.services import Services
from sdlc.integrations.workspace import Workspace
from sdlc.review_graphs.checks.quality.settings import sections
from sdlc.steps.baselines import Baselines
from sdlc.steps.command_run import CommandRun, CommandRunner, Deadline, Selection
from sdlc.steps.gone_tests import Touched, gone_tests, may_run, tells_which_ran
from sdlc.steps.outcome import Attempt, can_be_narrowed, report_of

DEFAULT_SECONDS = 1_800.0
"""Where no activity says how long it may take."""
_MOST_RUN_AGAIN = 50
"""Failed tests that are run once more; when more than these fail, it is no flakiness."""


class TestingSteps:
    """The activity of steps 8, 9 and 10."""

    __test__ = False

    def __init__(self, services: Services, *, seconds: float | None = None) -> None:
        """`seconds` bounds the whole activity; default what Temporal gives it."""
        self._services = services
        self._seconds = seconds

    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.run_tests]

    @activity.defn(name=RUN_TESTS.name)
    async def run_tests(self, request: RunTests) -> TestReport:
        """Run all commands of one kind on the head of a change. Red tests are a report, not an exception."""
        started = time.monotonic()
        session = _Session(self._services, request.change, request.kind, Deadline(time_budget(self._seconds)))
        report = await session.report()
        return report.model_copy(update={"seconds": round(time.monotonic() - started, 3)})


def time_budget(seconds: float | None = None) -> float:
    """Seconds that an activity may use: what Temporal gives it, less a tenth (at most a minute) to report in."""
    if seconds is None and activity.in_activity():
        limit = activity.info().start_to_close_timeout
        seconds = limit.total_seconds() if limit else None
    seconds = seconds or DEFAULT_SECONDS
    return seconds - min(60.0, seconds / 10)


def unrunnable(kind: TestKind, change: ChangeSet, environment: Environment) -> TestReport | None:
    """The report where there is nothing to run or nothing to run it in; None otherwise."""
    if not environment.plan.commands(kind):
        return _nothing_declared(kind, change, environment)
    if environment.state != "failed":
        return None
    return TestReport(
        kind=kind,
        head_sha=change.head_sha,
        outcome=TestOutcome.SETUP_FAILED,
        commands=tuple(command.line for command in environment.plan.commands(kind)),
        log=environment.log,
        note=environment.note,
    )


def _nothing_declared(kind: TestKind, change: ChangeSet, environment: Environment) -> TestReport:
    outcome, note = TestOutcome.NOT_DECLARED, f"The repository declares no {_NAMES[kind]}."
    if kind in environment.plan.declared:
        note = f"`.sdlc.yml` says that there are no {_NAMES[kind]}."
    elif kind is TestKind.UNIT:
        outcome = TestOutcome.MISSING
        note = "No unit tests were found. Add some, or name the command as `unit:` in `.sdlc.yml` on the base branch."
    note = f"{note} {environment.note}".strip()
    return TestReport(kind=kind, head_sha=change.head_sha, outcome=outcome, note=note)


_NAMES = {
    TestKind.UNIT: "unit tests",
    TestKind.INTEGRATION: "integration tests",
    TestKind.STATIC: "static checks",
}


class _Session:
    """One run of one step."""

    def __init__(self, services: Services, change: ChangeSet, kind: TestKind, deadline: Deadline) -> None:
        self._services = services
        self._change = change
        self._kind = kind
        self._deadline = deadline
        self._baselines = Baselines(services.settings.cache_dir)
        self._log: list[str] = []

    async def report(self) -> TestReport:
        change = self._change
        async with self._services.workspaces.at(change.repository, change.head_sha) as workspace:
            environment = await self._services.environments.ensure(workspace, base_sha=change.base_sha)
            nothing = unrunnable(self._kind, change, environment)
            if nothing is not None:
                return nothing
            runner = CommandRunner(self._services.sandbox, workspace, environment)
            await workspace.sandbox_git()
            commands = environment.plan.commands(self._kind)
            attempts = [await self._on_head(runner, command) for command in commands]
            touched = await self._touched_tests(workspace)
        await self._compare(attempts, touched)
        report = report_of(self._kind, change, attempts, [environment.note] if environment.note else [])
        log = await self._services.artifacts.put("\n".join(self._log), name=f"{self._kind.value}.log")
        return report.model_copy(update={"log": log})

    async def _on_head(self, runner: CommandRunner, command: Command) -> Attempt:
        head = await runner.run(command, timeout=max(1.0, self._deadline.left))
        self._log.append(head.log)
        attempt = Attempt(head)
        # pytest runs nothing at all if it doesn't know one of the ids, so only those that are surely its own.
        red = tuple(case.id for case in head.red_cases if case.file)
        again = 0 < len(red) <= _MOST_RUN_AGAIN and can_be_narrowed(head) and not head.timed_out
        if again and self._deadline.left > 1:
            attempt.rerun = await runner.run(command, timeout=self._deadline.left, selection=Selection(ids=red))
            self._log.append(f"Failed tests run again, alone:\n{attempt.rerun.log}")
        return attempt

    async def _touched_tests(self, workspace: Workspace) -> Touched:
        if self._kind is TestKind.STATIC or self._change.is_empty:
            return Touched()
        changed = await workspace.changed_files(self._change.base_sha, self._change.head_sha)
        return Touched.of(changed, selects_anew=await self._selects_anew(workspace, {file.path for file in changed}))

    async def _selects_anew(self, workspace: Workspace, changed: set[str]) -> bool:
        """Does the change tell pytest something else, in a file that is for other things as well?"""
        for name in changed & {"pyproject.toml", "tox.ini", "setup.cfg"}:
            shas = (self._change.base_sha, self._change.head_sha)
            texts = [(await workspace.show(sha, name) or b"").decode("utf-8", "replace") for sha in shas]
            before, after = (sections(name, text).get("pytest") for text in texts)
            if before != after:
                return True
        return False

    async def _compare(self, attempts: Sequence[Attempt], touched: Touched) -> None:
        """Run on the base commit what is red on the head, and the tests that the change touched."""
        red = [attempt for attempt in attempts if attempt.is_red and not attempt.head.timed_out]
        watched = [attempt for attempt in attempts if touched and tells_which_ran(attempt.head)]
        if not (red or watched) or self._change.head_sha == self._change.base_sha:
            return
        change = self._change
        async with self._services.workspaces.at(change.repository, change.base_sha) as workspace:
            environment = await self._services.environments.ensure(workspace, base_sha=change.base_sha)
            if environment.state == "failed":
                for attempt in {id(attempt): attempt for attempt in (*red, *watched)}.values():
                    attempt.base_note = f"What was red before, or is gone, can't be told: {environment.note}"
                return
            await workspace.sandbox_git()
            runner = CommandRunner(self._services.sandbox, workspace, environment)
            for attempt in red:
                attempt.base = await self._on_base(runner, attempt, Selection())
            for attempt in watched:
                attempt.gone = await self._gone(runner, attempt, attempts, touched)

    async def _gone(
        self, runner: CommandRunner, attempt: Attempt, attempts: Sequence[Attempt], touched: Touched
    ) -> tuple[TestFailure, ...]:
        """The tests that the change took out of a command."""
        head = [case for each in attempts for case in each.head.cases]
        other = TestKind.INTEGRATION if self._kind is TestKind.UNIT else TestKind.UNIT
        others = runner.environment.plan.commands(other)

        def gone(base: CommandRun) -> tuple[TestFailure, ...]:
            return gone_tests(base.cases, head, touched, lambda path: any(may_run(each, path) for each in others))

        narrow = attempt.base is None and not touched.all_tests and can_be_narrowed(attempt.head)
        selection = Selection(files=tuple(sorted(filter(is_python_test, touched.before))) if narrow else ())
        if narrow and not selection.files:
            return ()
        base = attempt.base or await self._on_base(runner, attempt, selection)
        suspects = gone(base) if base is not None else ()
        if not (suspects and narrow):
            return suspects
        # Files that are named are run even where the command by itself would leave them out.
        whole = await self._on_base(runner, attempt, Selection())
        return gone(whole) if whole is not None and tells_which_ran(whole) else suspects

    async def _on_base(self, runner: CommandRunner, attempt: Attempt, selection: Selection) -> CommandRun | None:
        change, command = self._change, attempt.head.command
        where = (change.repository, change.base_sha, command, runner.environment, selection)
        run = await self._baselines.get(*where)
        if run is None:
            if self._deadline.left < 1:
                attempt.base_note = "What was red before, or is gone, can't be told: no time was left for that."
                return None
            run = await runner.run(command, timeout=self._deadline.left, selection=selection)
            await self._baselines.put(*where, run)
        if run.timed_out:
            attempt.base_note = f"On the base commit `{command.line}` did not end within {run.time_limit:.0f} s."
        names = ", ".join(case.id for case in run.red_cases[:20])
        red = f"; red: {names}" if names else ""
        self._log.append(f"[On the base commit `{command.line}` ended with exit code {run.exit_code}{red}]\n")
        return run
