"""One command of a repository, run in the sandbox on one commit, and what it gave."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sdlc.integrations.project.environment import Environment
from sdlc.integrations.project.plan import Command, Runner
from sdlc.integrations.sandbox import CommandResult, Mount, Sandbox
from sdlc.integrations.workspace import Workspace
from sdlc.steps import unittest_junit
from sdlc.steps.junit import LARGEST_REPORT, Case, JunitInvalid, read_junit
from sdlc.steps.named_results import likeness, named_results
from sdlc.steps.problems import Problem, read_problems

RESULTS = "/results"
"""Where a command may write its report, inside the sandbox."""

_JUNIT = "junit.xml"
_NOTHING_COLLECTED = 5
"""pytest's exit code for no tests, and that of our own unittest runner."""
_NOT_FOUND = (126, 127)


class CommandRun(BaseModel):
    """How a command ended. Without its output it is what is kept of a base commit."""

    model_config = ConfigDict(frozen=True)

    command: Command
    exit_code: int
    cases: tuple[Case, ...] = ()
    problems: tuple[Problem, ...] = ()
    reported: bool = False
    """It wrote a report that could be read."""
    report_note: str = ""
    timed_out: bool = False
    limit: str = ""
    seconds: float = 0.0
    time_limit: float = 0.0
    """Seconds it was given."""
    sandboxed: bool = True
    likeness: str = ""
    """Of the output of a red command (`named_results.likeness`)."""
    output: str = ""

    @property
    def is_green(self) -> bool:
        return self.exit_code == 0 and not self.timed_out

    @property
    def nothing_collected(self) -> bool:
        takes_tests = self.command.runner is not Runner.OTHER
        return takes_tests and self.exit_code == _NOTHING_COLLECTED and not self.cases

    @property
    def program_missing(self) -> bool:
        return self.exit_code in _NOT_FOUND and not self.cases

    @property
    def red_cases(self) -> tuple[Case, ...]:
        return tuple(case for case in self.cases if case.status.is_red)

    @property
    def log(self) -> str:
        end = f"stopped after {self.seconds:.0f} s" if self.timed_out else f"exit code {self.exit_code}"
        limit = f", {self.limit} limit" if self.limit and not self.timed_out else ""
        return f"$ {self.command.line}\n{self.output.rstrip()}\n[{end}{limit}, {self.seconds:.1f} s]\n"


class Deadline:
    """Seconds until an activity has to be done, with something left to report in."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self._end - time.monotonic())


class Selection(BaseModel):
    """Which tests of a command to run; both empty: all of them."""

    model_config = ConfigDict(frozen=True)

    ids: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class CommandRunner:
    """Runs commands in one workspace with its environment."""

    def __init__(self, sandbox: Sandbox, workspace: Workspace, environment: Environment) -> None:
        self.sandbox = sandbox
        self.workspace = workspace
        self.environment = environment

    async def run(
        self,
        command: Command,
        *,
        timeout: float,
        selection: Selection | None = None,
        env: Mapping[str, str] | None = None,
        results: Path | None = None,
        arguments: Sequence[str] = (),
    ) -> CommandRun:
        """Run `command` for at most `timeout` seconds; without network.

        `selection` narrows pytest and unittest down to some tests and means nothing for other commands.
        `results` is a folder for reports that outlives the call; without one they are gone afterwards.
        """
        with _folder(results) as folder:
            _clear(folder / _JUNIT)
            inside = self.inside(folder)
            argv, extra = self._call(command, selection or Selection(), folder, inside, arguments)
            result = await self.execute(argv, folder=folder, timeout=timeout, env={**extra, **(env or {})})
            # Megabytes of XML or of output would hold up everything else that the worker does.
            return await asyncio.to_thread(self._read, command, result, timeout, folder / _JUNIT)

    def _read(self, command: Command, result: CommandResult, timeout: float, report: Path) -> CommandRun:
        cases, reported, note = self._cases(report)
        if not reported and command.runner is Runner.OTHER:
            cases = named_results(result.output)
        return CommandRun(
            command=command,
            exit_code=result.exit_code,
            cases=cases,
            problems=read_problems(result.output) if result.exit_code and not cases else (),
            reported=reported,
            report_note=note,
            timed_out=result.timed_out,
            limit=result.limit or "",
            seconds=result.seconds,
            time_limit=timeout,
            sandboxed=result.sandboxed,
            likeness=likeness(result.output) if result.exit_code else "",
            output=result.output,
        )

    def inside(self, folder: Path) -> str:
        """The path of a results folder as commands see it."""
        return self.sandbox.target(Mount(folder, RESULTS, writable=True))

    async def execute(
        self, argv: Sequence[str], *, folder: Path, timeout: float, env: Mapping[str, str] | None = None
    ) -> CommandResult:
        """Run anything as the commands are run, with `folder` to write to; without network."""
        mount = Mount(folder, RESULTS, writable=True)
        return await self.sandbox.run(
            argv,
            workspace=self.workspace.path,
            timeout=timeout,
            env={**self.environment.env, **_quiet(self.inside(folder)), **(env or {})},
            mounts=(*self.environment.mounts, mount),
        )

    def _call(
        self, command: Command, selection: Selection, folder: Path, inside: str, arguments: Sequence[str]
    ) -> tuple[list[str], dict[str, str]]:
        """The command line, and the variables that go with it."""
        report = f"{inside}/{_JUNIT}"
        if command.runner is Runner.UNITTEST:
            return self._unittest_call(command, selection, folder, inside, report)
        options = _pytest_options(report)
        if command.runner is Runner.PYTEST:
            places = _pytest_selection(selection)
            line = self._without_places(command.line) if places else command.line
            return ["/bin/sh", "-c", f'{line} "$@"', "sh", *options, *arguments, *places], {}
        line = _with_plain_output(command.line)
        # A pytest that is called by make, tox or npm takes its options from the environment.
        mine = " ".join([self.environment.env.get("PYTEST_ADDOPTS", ""), *options, *arguments]).strip()
        return ["/bin/sh", "-c", line], {"PYTEST_ADDOPTS": mine}

    def _without_places(self, line: str) -> str:
        """The call of pytest without the folders and files that it names, so that others can be given."""
        kept: list[str] = []
        for word in shlex.split(line):
            takes_value = bool(kept) and kept[-1].startswith("-") and kept[-1] not in ("-q", "-v", "-vv", "-x", "-s")
            is_place = not word.startswith("-") and (self.workspace.path / word.split("::")[0]).exists()
            if word.startswith("--ignore") or (is_place and not takes_value and len(kept) > 0):
                continue
            kept.append(word)
        return shlex.join(kept)

    def _unittest_call(
        self, command: Command, selection: Selection, folder: Path, inside: str, report: str
    ) -> tuple[list[str], dict[str, str]]:
        source = Path(unittest_junit.__file__)
        _write_own(folder / source.name, source.read_text(encoding="utf-8"))
        python, _, _, *arguments = shlex.split(command.line)
        extra = {}
        if selection.ids or selection.files:
            only = {"ids": selection.ids, "files": selection.files}
            _write_own(folder / "only.json", json.dumps(only))
            extra["SDLC_ONLY"] = f"{inside}/only.json"
        return [python, f"{inside}/{source.name}", report, *arguments], extra

    def _cases(self, report: Path) -> tuple[tuple[Case, ...], bool, str]:
        data = read_own_file(report, LARGEST_REPORT)
        if data is None:
            return (), False, ""
        try:
            return read_junit(data, self._is_file), True, ""
        except JunitInvalid as error:
            return (), False, f"its results can't be read: {error}"

    def _is_file(self, path: str) -> bool:
        if not path or path.startswith("/") or ".." in path.split("/") or len(path) > 1_000 or "\0" in path:
            return False
        try:
            return (self.workspace.path / path).is_file()
        except OSError:
            return False


def read_own_file(path: Path, largest: int) -> bytes | None:
    """A file that the sandbox wrote: a plain one, at most `largest` bytes. None if there is no such.

    Whatever stands there was made by code under test: a symlink would lead out, and a pipe never end.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
        os.close(handle)
        return None
    with os.fdopen(handle, "rb") as file:
        return file.read(largest)


def _clear(path: Path) -> None:
    """Take away what an earlier command may have put there, whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_own(path: Path, text: str) -> None:
    """Write a file where commands write too: one that they left as a link would lead us out."""
    _clear(path)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


@contextmanager
def results_folder() -> Iterator[Path]:
    """A folder that a command may write to; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="sdlc-results-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
    else:
        with results_folder() as folder:
            yield folder


def _pytest_options(report: str) -> list[str]:
    return [
        f"--junitxml={report}",
        "-ocache_dir=/tmp/pytest-cache",
        "--color=no",
        # A project's own -x would hide what else is red, and the base commit might stop elsewhere.
        "--maxfail=0",
        "--continue-on-collection-errors",
    ]


def _pytest_selection(selection: Selection) -> list[str]:
    # `./` so that no file name is taken for an option.
    return [f"./{place}" for place in (*selection.ids, *selection.files)]


def _with_plain_output(line: str) -> str:
    """A plain call of mypy with one line for each complaint, of go test with its tests by name; others as they are."""
    words = line.split()
    if set(line) & set("|&;<>()$`\n#"):
        return line
    if words[:1] == ["mypy"]:
        return f"{line} --no-pretty --show-error-codes --hide-error-context"
    return f"{line} -v" if words[:2] == ["go", "test"] and "-args" not in words else line


def _quiet(inside: str) -> dict[str, str]:
    """What every command gets: no caches in the tree, no questions, no network wanted."""
    return {
        "CI": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "RUFF_NO_CACHE": "true",
        "RUFF_OUTPUT_FORMAT": "concise",
        "MYPY_CACHE_DIR": "/tmp/mypy-cache",  # noqa: S108 - the sandbox's own
        "NO_COLOR": "1",
        "CARGO_TARGET_DIR": f"{inside}/target",
    }
