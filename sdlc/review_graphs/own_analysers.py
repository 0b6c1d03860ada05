"""Analysers that a repository brings itself: commands of its `.sdlc.yml` whose output is SARIF."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdlc.domain import SourceReport, SourceState
from sdlc.integrations.git.paths import path_argument
from sdlc.integrations.project.environment import Environment
from sdlc.integrations.project.rules import FILES, LONGEST_ANALYSIS, REPORT, RULES_FILE, OwnAnalyser
from sdlc.integrations.project.setup_run import SETUP_SECONDS
from sdlc.integrations.sandbox import CommandResult, Mount, Sandbox
from sdlc.integrations.services import Services
from sdlc.integrations.workspace import Workspace
from sdlc.naming import counted
from sdlc.review_graphs.analysis import LARGEST_REPORT, REPORTS, compared, on_base, read_report, why_failed
from sdlc.review_graphs.analyzers.base import AnalyserFailed, Analysis
from sdlc.review_graphs.checks.base import NotRun
from sdlc.review_graphs.collect import texts
from sdlc.review_graphs.merge import Found
from sdlc.review_graphs.sarif_reading import SarifAnalysis, read_sarif
from sdlc.review_graphs.scope import Scope
from sdlc.untrusted import visible_text

LONGEST_SECONDS = 2 * (LONGEST_ANALYSIS + 2 * SETUP_SECONDS)
"""For head and base: what an analyser may ask for, its environment, and another one that is made first."""
MOST_NAMES = 256 * 1024
"""Bytes of file names in one call, of the 2 MiB that the kernel takes with the environment. More make more calls."""

_WRITTEN = "report.sarif"
_QUIET = {
    "CI": "1",
    "NO_COLOR": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "RUFF_NO_CACHE": "true",
    "SEMGREP_SEND_METRICS": "off",
    "SEMGREP_ENABLE_VERSION_CHECK": "0",
    "CARGO_NET_OFFLINE": "true",
    "GOPROXY": "off",
    "PIP_NO_INDEX": "1",
    "UV_OFFLINE": "1",
    "npm_config_offline": "true",
    "npm_config_update_notifier": "false",
}
"""No caches in the tree, no questions, and no minute of waiting for a network that isn't there."""
_FILES = re.compile(rf"""(["']?)(?<!\$){re.escape(FILES)}\1""")
_REPORT = re.compile(rf"(?<!\$){re.escape(REPORT)}")
_CANNOT_RUN = (126, 127)
_MISSING = re.compile(
    r"(?:^|: )(?P<shell>[\w./@+-]{1,100}): (?:command )?not found$"
    r"|^(?:env|make): \W?(?P<env>[\w./@+-]{1,100})\W?: No such file or directory$"
    r"|No module named '?(?P<python>[\w.]{1,100})"
    r"|Cannot find (?:module|package) '(?P<node>[\w@][\w./@-]{0,100})'"
    r"|Cannot find module '/\S{0,200}/node_modules/\S{0,200}?/(?P<file>(?:@[\w.-]{1,80}/)?[\w.-]{1,100})'"
    r"|request to \S{1,200}/(?P<npx>[\w.@%-]{1,100}) failed: cache mode is"
    r"|Failed to spawn: \W?(?P<uv>[\w./-]{1,100})",
    re.MULTILINE,
)
"""How shells, env, make, Python, Node, npx and uv say that something is not there."""


class OwnAnalyserRun:
    """One analyser of the repository's own, on the head, and on the base where that decides anything."""

    def __init__(self, services: Services, scope: Scope, name: str, analyser: OwnAnalyser) -> None:
        self._services = services
        self._scope = scope
        self._name = name
        self._analyser = analyser
        self._notes: list[str] = []

    async def found(self) -> Found:
        """What the change brings. What could not be run, crashed or wrote junk is never taken for clean."""
        try:
            return await self._introduced()
        except NotRun as reason:
            return Found(self._source(SourceState.NOT_RUN, str(reason)))
        except AnalyserFailed as error:
            return Found(self._source(SourceState.FAILED, str(error)))

    async def _introduced(self) -> Found:
        files = [file for file in self._scope.files if file.is_text and self._analyser.looks_at(file.path)]
        head = await self._said(self._scope.change.head_sha, [file.path for file in files])
        left_out = head.outside + head.placeless
        if left_out:
            self._notes.append(f"{counted(left_out, 'result')} without a line in a file of the repository left out")
        found = await compared(self._services, self._scope, files, head, await self._base(on_base(files, head)))
        if found.broken:
            self._notes.append(found.broken)
        source = self._source(SourceState.FAILED if found.broken else SourceState.OK, "; ".join(self._notes))
        dropped = sum(head.elsewhere.values()) + left_out + len(found.dropped)
        source = source.model_copy(update={"found": len(found.findings), "dropped": dropped})
        return Found(source, found.findings, found.dropped)

    async def _base(self, files: Sequence[str]) -> Analysis | None:
        """What it says of the base; None where that is not asked for, or can't be had."""
        if not files:
            return Analysis()
        if not self._analyser.base:
            return None
        try:
            return await self._said(self._scope.change.base_sha, files)
        except (NotRun, AnalyserFailed) as reason:
            self._notes.append(f"it could not look at the base, so findings on changed lines alone count ({reason})")
            return None

    async def _said(self, sha: str, files: Sequence[str]) -> SarifAnalysis:
        """What it says of these files of a commit."""
        change, own = self._scope.change, self._analyser
        async with self._services.workspaces.at(change.repository, sha) as workspace:
            environment = await self._services.environments.ensure(workspace, base_sha=change.base_sha)
            if environment.state == "failed":
                raise NotRun(environment.note)
            if own.configuration and sha != change.base_sha:
                await workspace.overlay(change.base_sha, own.configuration)
            await workspace.sandbox_git()
            about = tuple(file for file in files if _is_file(workspace, file))
            commit = _Commit(
                self._services.sandbox, self._name, own, workspace, environment, about, sha == change.head_sha
            )
            end = time.monotonic() + own.timeout_seconds
            calls = _calls(about) if _FILES.search(own.run) else [[]]
            said = _together([await commit.call(names, end - time.monotonic()) for names in calls])
            return _without_ghosts(said, workspace, self._name)

    def _source(self, state: SourceState, note: str) -> SourceReport:
        return SourceReport(name=self._name, state=state, required=self._analyser.required, note=visible_text(note)[0])


@dataclass(frozen=True)
class _Commit:
    """One commit in a workspace, with the environment in which its commands run."""

    sandbox: Sandbox
    name: str
    analyser: OwnAnalyser
    workspace: Workspace
    environment: Environment
    about: Sequence[str]
    """The files that are of interest."""
    suggests: bool
    """Whether suggestions are wanted: they cost a look at the files."""

    async def call(self, names: Sequence[str], seconds: float) -> SarifAnalysis:
        """Run the command once, with these files as its arguments, and read its report."""
        allowed = self.analyser.timeout_seconds
        too_long = f"{self.name} did not end within {allowed:g} s (its timeout_seconds in {RULES_FILE})"
        if seconds <= 0:
            raise AnalyserFailed(too_long)
        with tempfile.TemporaryDirectory(prefix="sdlc-report-", ignore_cleanup_errors=True) as folder:
            mount = Mount(Path(folder), REPORTS, writable=True)
            result = await self.sandbox.run(
                ("/bin/sh", "-c", self._line(f"{self.sandbox.target(mount)}/{_WRITTEN}"), "sh", *names),
                workspace=self.workspace.path,
                timeout=seconds,
                env={**_QUIET, **self.environment.env},
                mounts=(*self.environment.mounts, mount),
            )
            report = await asyncio.to_thread(read_report, Path(folder, _WRITTEN))
            is_too_large = report is None and _size(Path(folder, _WRITTEN)) > LARGEST_REPORT
        if result.timed_out:
            raise AnalyserFailed(too_long)
        if is_too_large:
            raise AnalyserFailed(f"{self.name} wrote more than {LARGEST_REPORT >> 20} MiB; have it look at less")
        if result.limit or not (report and report.strip()):
            self._raise_if_missing(result)
            raise AnalyserFailed(why_failed(self.name, result, seconds))
        return await self._read(report, result)

    def _line(self, report: str) -> str:
        """The shell line with the report's path, and with the files as the arguments of the shell.

        As text of the line, the name of a file could be a command.
        """
        line = _FILES.sub('"$@"', self.analyser.run)
        quoted = shlex.quote(report)
        if _REPORT.search(line):
            return _REPORT.sub(lambda _: quoted, line)
        return f"exec > {quoted}\n{line}"

    async def _read(self, report: bytes, result: CommandResult) -> SarifAnalysis:
        about = frozenset(self.about)
        roots = (self.sandbox.inside(self.workspace.path), str(self.workspace.path.resolve()))

        def read(lines: Mapping[str, Sequence[str]]) -> SarifAnalysis:
            return read_sarif(report, self.name, roots, about=about, source=lambda path: lines.get(path, ()))

        try:
            # Megabytes of JSON would hold up everything else that the worker does.
            said = await asyncio.to_thread(read, {})
            if result.exit_code and not said.results:
                # semgrep writes such a report when it could not read its rules.
                raise AnalyserFailed(f"{self.name} did not end well, and its report has no result")
            if self.suggests and said.findings and b'"fixes"' in report:
                files = sorted({raw.file for raw in said.findings})
                lines = await texts(self.workspace.objects, self.workspace.sha, files)
                said = await asyncio.to_thread(read, lines)
            return said
        except AnalyserFailed as error:
            self._raise_if_missing(result)
            raise AnalyserFailed(
                f"{error} (exit code {result.exit_code})" if result.exit_code else str(error)
            ) from None

    def _raise_if_missing(self, result: CommandResult) -> None:
        missing = _MISSING.search(result.output)
        if missing is None and result.exit_code not in _CANNOT_RUN:
            return
        program = next(filter(None, missing.groups()), "") if missing else "a program that it calls"
        raise NotRun(
            f"{program} is not installed in the repository's environment; add it to what its set-up installs, or to "
            f"`setup:` in {RULES_FILE}"
        )


def _calls(files: Sequence[str]) -> Iterator[list[str]]:
    """The files as arguments, as many at once as a command line takes; `./` so that none is taken for an option."""
    names: list[str] = []
    size = 0
    for name in (f"./{path_argument(file)}" for file in files):
        length = len(os.fsencode(name)) + 1
        if names and size + length > MOST_NAMES:
            yield names
            names, size = [], 0
        names.append(name)
        size += length
    if names:
        yield names


def _together(said: Sequence[SarifAnalysis]) -> SarifAnalysis:
    return SarifAnalysis(
        findings=tuple(dict.fromkeys(raw for each in said for raw in each.findings)),
        unreadable={path: why for each in said for path, why in each.unreadable.items()},
        results=sum(each.results for each in said),
        outside=sum(each.outside for each in said),
        placeless=sum(each.placeless for each in said),
        elsewhere=sum((Counter(each.elsewhere) for each in said), Counter()),
    )


def _without_ghosts(said: SarifAnalysis, workspace: Workspace, name: str) -> SarifAnalysis:
    """Files that are not there count as outside; AnalyserFailed if it names no others.

    A tool that ran in a folder, and gives paths relative to it, would else look as if it had found nothing.
    """
    there = {path: number for path, number in said.elsewhere.items() if _is_file(workspace, path)}
    if said.elsewhere and not there and not said.findings:
        raise AnalyserFailed(
            f"{name} names files that the repository does not have, such as {next(iter(said.elsewhere))[:120]}; have "
            "it give whole paths, or run it at the top of the repository"
        )
    ghosts = sum(said.elsewhere.values()) - sum(there.values())
    return replace(said, elsewhere=there, outside=said.outside + ghosts)


def _is_file(workspace: Workspace, path: str) -> bool:
    return os.path.isfile(workspace.path / path_argument(path))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
