"""Step 11: the proof that a change does something, and how much of it the tests reach.

The tests that the change adds or edits are run on the head, and again on the base commit with nothing
of the head but those tests. What fails there and passes here is the proof.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from temporalio import activity

from sdlc.activities import CHECK_ACCEPTANCE, CheckAcceptance
from sdlc.domain import ChangedLineCoverage, ChangeSet, TestKind, TestOutcome, TestReport
from sdlc.integrations.project.environment import Environment
from sdlc.integrations.project.plan import Command, Runner
from sdlc.integrations.project.test_files import belongs_to_tests, is_document, is_python_test, is_test
from sdlc.integrations.services import Services
from sdlc.steps.changed_coverage import (
    LARGEST_COVERAGE,
    changed_line_coverage,
    coverage_configuration,
    measurable,
)
from sdlc.steps.command_run import (
    CommandRun,
    CommandRunner,
    Deadline,
    Selection,
    read_own_file,
    results_folder,
)
from sdlc.steps.junit import CaseStatus
from sdlc.steps.proof import command_proof, failing_before, proof_of, tests_of
from sdlc.steps.testing import time_budget

_SLOWER_ON_BASE = 10
"""Times what the tests take on the head: who needs longer without the change is hanging, and that is a proof too."""
_LEAST_ON_BASE = 60.0
_ALONE = 30.0
_NOT_PYTHON = ("npm", "npx", "pnpm", "yarn", "node", "go", "cargo")
"""What they start is not measured, so it isn't started for that."""
_MOST_ALONE = 20
"""Tests that are run one by one when they hang together."""


class AcceptanceSteps:
    """The activity of step 11."""

    def __init__(self, services: Services, *, seconds: float | None = None) -> None:
        """`seconds` bounds the whole activity; default what Temporal gives it."""
        self._services = services
        self._seconds = seconds

    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.check_acceptance]

    @activity.defn(name=CHECK_ACCEPTANCE.name)
    async def check_acceptance(self, request: CheckAcceptance) -> TestReport:
        """The proof and the coverage of one change. Its absence is a report, not an exception."""
        started = time.monotonic()
        report = await _Acceptance(self._services, request.change, Deadline(time_budget(self._seconds))).report()
        return report.model_copy(update={"seconds": round(time.monotonic() - started, 3)})


class _Acceptance:
    """One check of one change."""

    def __init__(self, services: Services, change: ChangeSet, deadline: Deadline) -> None:
        self._services = services
        self._change = change
        self._deadline = deadline
        self._log: list[str] = []
        self._notes: list[str] = []
        self._sandboxed = True
        self._lines: dict[str, set[int]] = {}

    async def report(self) -> TestReport:
        change = self._change
        async with self._services.workspaces.at(change.repository, change.head_sha) as head:
            changed = await head.changed_files(change.base_sha, change.head_sha)
            paths = [file.path for file in changed if file.status != "D"]
            if changed and all(is_document(file.path) for file in changed):
                return self._report(
                    TestOutcome.NOT_DECLARED, "Only documents and configuration changed: no test is due."
                )
            tests = [path for path in paths if is_test(path)]
            if not tests:
                note = "No test was added or changed: nothing shows that the change does what the ticket asks for."
                return self._report(TestOutcome.MISSING, note)
            environment = await self._services.environments.ensure(head, base_sha=change.base_sha)
            if environment.state == "failed":
                report = self._report(TestOutcome.SETUP_FAILED, environment.note)
                return report.model_copy(update={"log": environment.log})
            commands = _commands_for(tests, environment)
            if not commands:
                note = "Tests changed, and no command is known that runs them; name it as `unit:` in `.sdlc.yml`."
                return self._report(TestOutcome.MISSING, f"{note} {environment.note}".strip())
            await head.sandbox_git()
            runner = CommandRunner(self._services.sandbox, head, environment)
            heads = [await self._run(runner, command, tests) for command in commands]
            if any(run.timed_out for run in heads):
                return await self._with_log(self._timed_out(heads))
            coverage = await self._coverage(runner, commands, [path for path in paths if not belongs_to_tests(path)])
        carried = [path for path in paths if belongs_to_tests(path)]
        return await self._with_log(await self._judge(heads, tests, carried, environment, coverage))

    # --- the proof ----------------------------------------------------------------------------

    async def _judge(
        self,
        heads: Sequence[CommandRun],
        tests: Sequence[str],
        carried: Sequence[str],
        environment: Environment,
        coverage: ChangedLineCoverage | None,
    ) -> TestReport:
        failing: list[str] = []
        passing: list[str] = []
        change = self._change
        async with self._services.workspaces.at(change.repository, change.base_sha) as base:
            await base.overlay(change.head_sha, carried)
            # The head's environment: what the tests need anew is there, and only the code differs.
            there = await self._services.environments.also_for(environment, base)
            await base.sandbox_git()
            runner = CommandRunner(self._services.sandbox, base, there)
            for head in heads:
                limit = max(_LEAST_ON_BASE, _SLOWER_ON_BASE * head.seconds)
                before = await self._run(runner, head.command, tests, limit=limit, where="base commit with these tests")
                found = await self._compared(runner, head, before, tests)
                failing, passing = failing + found[0], passing + found[1]
        proof = proof_of(failing, passing).model_copy(update={"coverage": coverage})
        passed = sum(len(tests_of(head, tests, CaseStatus.PASSED)) or int(head.is_green) for head in heads)
        failed = sum(len(_red(head, tests)) for head in heads)
        if failed:
            self._notes.append(f"{failed} of the changed tests fail on the head; see the unit tests.")
        if proof.shown:
            outcome, note = TestOutcome.PASSED, ""
        elif not passing:
            outcome, note = TestOutcome.FAILED, "None of the changed tests passes on the head."
        else:
            outcome = TestOutcome.FAILED
            note = "Every changed test passes on the base commit as well: none shows what the change does."
        report = self._report(outcome, note)
        return report.model_copy(
            update={
                "proof": proof,
                "commands": tuple(head.command.line for head in heads),
                "passed": passed,
                "failed": failed,
                "skipped": sum(len(tests_of(head, tests, CaseStatus.SKIPPED)) for head in heads),
            }
        )

    async def _compared(
        self, runner: CommandRunner, head: CommandRun, before: CommandRun, tests: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Failing before and passing now, of one command."""
        passing = tests_of(head, tests, CaseStatus.PASSED)
        if not passing:
            return command_proof(head, before) if head.command.runner is Runner.OTHER else ([], [])
        if before.timed_out and head.command.runner is not Runner.OTHER:
            return await self._one_by_one(runner, head.command, passing[:_MOST_ALONE]), passing
        return failing_before(passing, before, {case.id: case.file for case in head.cases}), passing

    async def _one_by_one(self, runner: CommandRunner, command: Command, tests: Sequence[str]) -> list[str]:
        """Which tests fail on the base commit where together they hang: a hanging one fails."""
        failing = []
        for test in tests:
            limit = min(_ALONE, self._deadline.left)
            if limit < 1:
                self._notes.append("Not every test could be tried on the base commit: they hang there.")
                break
            run = await runner.run(command, timeout=limit, selection=Selection(ids=(test,)))
            if run.timed_out or any(case.id == test for case in run.red_cases):
                failing.append(test)
        return failing

    async def _run(
        self, runner: CommandRunner, command: Command, tests: Sequence[str], *, limit: float = 0, where: str = "head"
    ) -> CommandRun:
        files = tuple(tests)
        if command.runner is not Runner.OTHER:
            files = tuple(path for path in tests if is_python_test(path))
        timeout = max(1.0, min(limit, self._deadline.left) if limit else self._deadline.left)
        run = await runner.run(command, timeout=timeout, selection=Selection(files=files))
        self._log.append(f"On the {where}: {', '.join(files[:20])}\n{run.log}")
        self._sandboxed = self._sandboxed and run.sandboxed
        return run

    # --- coverage -----------------------------------------------------------------------------

    async def _coverage(
        self, runner: CommandRunner, commands: Sequence[Command], files: Sequence[str]
    ) -> ChangedLineCoverage | None:
        """Coverage of the changed lines by the unit tests on the head; None where it can't be measured."""
        files = measurable(files)
        if not files or "coverage" not in runner.environment.modules or self._deadline.left < 5:
            return None
        lines = await runner.workspace.changed_lines(self._change.base_sha, self._change.head_sha)
        with results_folder() as folder:
            inside = runner.inside(folder)
            (folder / "coveragerc").write_text(coverage_configuration(inside, files), encoding="utf-8")
            for command in runner.environment.plan.unit or commands:
                if self._deadline.left > 2 and command.line.split()[0] not in _NOT_PYTHON:
                    await self._measure(runner, command, folder, inside)
            data = read_own_file(folder / "coverage.lcov", LARGEST_COVERAGE)
        wanted = {path: set(lines.get(path, set())) for path in files}
        measured = await asyncio.to_thread(changed_line_coverage, data, wanted) if data else None
        if measured is None:
            self._notes.append("The coverage of the changed lines could not be measured.")
        return measured

    async def _measure(self, runner: CommandRunner, command: Command, folder: Path, inside: str) -> None:
        modules = runner.environment.modules
        arguments = ["--no-cov"] if "pytest_cov" in modules else []
        # One process: what xdist's workers measured would have to be found and joined.
        arguments += ["-n0"] if "xdist" in modules else []
        run = await runner.run(
            command,
            timeout=self._deadline.left,
            env={"COVERAGE_PROCESS_START": f"{inside}/coveragerc"},
            results=folder,
            arguments=arguments,
        )
        self._log.append(
            f"For coverage: `{command.line}` ended with exit code {run.exit_code} in {run.seconds:.1f} s\n"
        )
        for verb in ("combine", "lcov"):
            argv = ["python", "-m", "coverage", verb, f"--rcfile={inside}/coveragerc"]
            argv += ["--keep"] if verb == "combine" else []
            result = await runner.execute(argv, folder=folder, timeout=max(1.0, self._deadline.left))
            if result.exit_code:
                self._log.append(f"$ coverage {verb}\n{result.output.rstrip()}\n")

    # --- reports ------------------------------------------------------------------------------

    def _timed_out(self, heads: Sequence[CommandRun]) -> TestReport:
        slow = next(run for run in heads if run.timed_out)
        note = f"The changed tests did not end within {slow.time_limit:.0f} s on the head and were stopped."
        report = self._report(TestOutcome.TIMED_OUT, note)
        return report.model_copy(update={"commands": tuple(head.command.line for head in heads)})

    def _report(self, outcome: TestOutcome, note: str) -> TestReport:
        return TestReport(
            kind=TestKind.ACCEPTANCE,
            head_sha=self._change.head_sha,
            outcome=outcome,
            note=" ".join(filter(None, [note, *self._notes])),
            sandboxed=self._sandboxed,
        )

    async def _with_log(self, report: TestReport) -> TestReport:
        log = await self._services.artifacts.put("\n".join(self._log), name="acceptance.log")
        return report.model_copy(update={"log": log})


def _commands_for(tests: Sequence[str], environment: Environment) -> tuple[Command, ...]:
    """The commands that run these tests: one for those of Python, or all that can't be told apart."""
    commands = (*environment.plan.unit, *environment.plan.integration)
    python = any(is_python_test(path) for path in tests)
    narrow = [command for command in commands if command.runner is not Runner.OTHER]
    # Narrowed down to files, any one call of pytest will do.
    chosen = narrow[:1] if python else []
    if not chosen or not all(is_python_test(path) for path in tests):
        chosen += [command for command in environment.plan.unit if command.runner is Runner.OTHER]
    return tuple(chosen)


def _red(run: CommandRun, files: Sequence[str]) -> list[str]:
    return [case.id for case in run.red_cases if case.file in files]
