"""Running one analyser on the head, and on the base where that decides anything."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from sdlc.domain import Finding, SourceReport, SourceState
from sdlc.integrations.git.paths import path_argument
from sdlc.integrations.sandbox import CommandResult, Mount, own_environment
from sdlc.integrations.services import Services
from sdlc.review_graphs.analyzers.base import Analyser, AnalyserFailed, Analysis, Excusing, Raw, Subject
from sdlc.review_graphs.collect import texts
from sdlc.review_graphs.findings import Code, Dropped, introduced
from sdlc.review_graphs.merge import Found
from sdlc.review_graphs.scope import Scope, ScopedFile
from sdlc.untrusted import visible_text

REPORTS = "/sdlc-report"
"""Where a report is written, inside the sandbox."""
LARGEST_REPORT = 64 * 1024**2
"""Bytes. A larger one is not read, and the analyser has failed."""


@runtime_checkable
class ByItself(Protocol):
    """An analyser that needs more than the files of two commits, such as the network, and knows how to run."""

    async def found(self, services: Services, scope: Scope) -> Found:
        """What the change brings; a source that could not look says so."""
        ...


class AnalyserRun:
    def __init__(self, services: Services, scope: Scope, analyser: Analyser) -> None:
        self._services = services
        self._scope = scope
        self._analyser = analyser
        self._notes: list[str] = []

    async def found(self) -> Found:
        """What the change brings. A crash, junk or a time-out of the analyser is a failed source, never a clean one."""
        name = self._analyser.name
        if isinstance(self._analyser, ByItself):
            return await self._analyser.found(self._services, self._scope)
        try:
            return await self._introduced()
        except AnalyserFailed as error:
            return Found(SourceReport(name=name, state=SourceState.FAILED, note=visible_text(str(error))[0]))

    async def _introduced(self) -> Found:
        change = self._scope.change
        files = [file for file in self._scope.files if self._looks_at(file)]
        head = await self._run(change.head_sha, [file.path for file in files])
        old = on_base(files, head)
        base = await self._run(change.base_sha, old) if old else Analysis()
        excusing = self._analyser if isinstance(self._analyser, Excusing) else None
        found = await compared(self._services, self._scope, files, head, base, excusing)
        if found.broken:
            self._notes.append(found.broken)
        report = SourceReport(
            name=self._analyser.name,
            state=SourceState.FAILED if found.broken else SourceState.OK,
            note=visible_text("; ".join(self._notes))[0],
            found=len(found.findings),
            dropped=len(found.dropped),
        )
        return Found(report, found.findings, found.dropped)

    def _looks_at(self, file: ScopedFile) -> bool:
        return file.is_text and self._analyser.looks_at(path_argument(file.path))

    async def _run(self, sha: str, files: Sequence[str]) -> Analysis:
        settings = self._services.settings.panels
        async with self._services.workspaces.reading(self._scope.change.repository, sha) as workspace:
            there = tuple(file for file in files if (workspace.path / file).is_file())
            missing = {file: "not a plain file of the workspace" for file in files if file not in there}
            if not there:
                return Analysis(unreadable=missing)
            with tempfile.TemporaryDirectory(prefix="sdlc-report-") as folder:
                mount = Mount(Path(folder), REPORTS, writable=True)
                sandbox = self._services.sandbox
                subject = Subject(
                    files=there,
                    report=f"{sandbox.target(mount)}/report.json",
                    configuration=await self._configuration(),
                )
                own = own_environment()
                if not self._analyser.installed():
                    raise AnalyserFailed(f"{self._analyser.name} is not installed on this worker; run `make setup`")
                call = await asyncio.to_thread(
                    self._analyser.call, subject, self._analyser.start(sandbox.target(own[0]))
                )
                self._note(call.note)
                for command in filter(None, (call.command, call.fallback)):
                    result = await sandbox.run(
                        command,
                        workspace=workspace.path,
                        timeout=settings.analyser_seconds,
                        mounts=(*own, mount),
                    )
                    report = read_report(Path(folder) / "report.json")
                    if report is not None and result.exit_code in self._analyser.fine:
                        break
                    if call.fallback and not result.timed_out and command is call.command:
                        self._note(call.fallback_note)
                        continue
                    raise AnalyserFailed(why_failed(self._analyser.name, result, settings.analyser_seconds))
                analysis = self._analyser.read(report or b"", sandbox.inside(workspace.path))
                return Analysis(analysis.findings, {**missing, **analysis.unreadable})

    async def _configuration(self) -> Mapping[str, bytes]:
        change = self._scope.change
        objects = await self._services.workspaces.objects(change.repository)
        found = {path: await objects.show(change.base_sha, path) for path in self._analyser.configuration}
        return {path: content for path, content in found.items() if content is not None}

    def _note(self, text: str) -> None:
        if text and text not in self._notes:
            self._notes.append(text)


@dataclass(frozen=True)
class Compared:
    """What a change brings of what an analyser says."""

    findings: tuple[Finding, ...]
    dropped: tuple[Dropped, ...]
    broken: str = ""
    """What it could not read, and could on the base; empty if it has read everything."""


def on_base(files: Sequence[ScopedFile], head: Analysis) -> list[str]:
    """Where the files with a finding are on the base. No other is asked about: where there is none, none can be old."""
    suspects = _suspects(head)
    return [file.on_base for file in files if file.path in suspects and file.on_base]


async def compared(
    services: Services,
    scope: Scope,
    files: Sequence[ScopedFile],
    head: Analysis,
    base: Analysis | None,
    excusing: Excusing | None = None,
) -> Compared:
    """The findings of the head that the base does not have; where nothing can be said of it, those on changed lines."""
    objects = await services.workspaces.objects(scope.change.repository)
    old = {file.on_base: file.path for file in files if file.path in _suspects(head) and file.on_base}
    head_lines = await texts(objects, scope.change.head_sha, sorted(_suspects(head)))
    base_lines = await texts(objects, scope.change.base_sha, sorted(old) if base else ())
    findings, dropped = introduced(
        [_within(raw, head_lines) for raw in head.findings],
        [_within(raw, base_lines) for raw in base.findings] if base else (),
        files=files,
        panel=scope.panel,
        head_code=code_of(head_lines),
        base_code=code_of(base_lines),
    )
    kept: list[Finding] = []
    for finding in findings:
        file, lines = scope.file(finding.file), head_lines.get(finding.file)
        if lines is not None and finding.line > len(lines):
            dropped.append(Dropped(finding.model_dump(mode="json"), "the line does not exist", "outside"))
        elif base is None and file is not None and not file.is_changed(finding.line, finding.end_line):
            dropped.append(Dropped(finding.model_dump(mode="json"), "the change does not touch the line", "outside"))
        elif excusing is not None and (reason := excusing.why_excused(finding, lines or ())):
            dropped.append(Dropped(finding.model_dump(mode="json"), reason))
        else:
            kept.append(finding)
    before = {old.get(path, path) for path in base.unreadable} if base else set()
    broken = {path: why for path, why in head.unreadable.items() if path not in before}
    return Compared(tuple(kept), tuple(dropped), f"could not read {_some(broken)}" if broken else "")


def _suspects(head: Analysis) -> set[str]:
    return {raw.file for raw in head.findings} | set(head.unreadable)


def _within(raw: Raw, lines: Mapping[str, Sequence[str]]) -> Raw:
    """The finding without what lies behind the end of its file."""
    last = len(lines.get(raw.file, ())) or raw.end_line
    return replace(raw, end_line=max(raw.line, min(raw.end_line, last)))


def read_report(path: Path) -> bytes | None:
    """The report, if it is a plain file of a sane size: what ran in the sandbox may have made a link of it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    with os.fdopen(handle, "rb") as file:
        content = file.read(LARGEST_REPORT + 1)
    return content if len(content) <= LARGEST_REPORT else None


def why_failed(name: str, result: CommandResult, seconds: float) -> str:
    if result.timed_out:
        return f"{name} did not end within {seconds:g} s (panels.analyser_seconds)"
    if result.limit:
        return f"{name} was stopped: too much {result.limit} (sandbox limits)"
    said = next((line.strip() for line in reversed(result.output.splitlines()) if line.strip()), "")
    return f"{name} ended with exit code {result.exit_code} and no usable report" + (f": {said[:160]}" if said else "")


def code_of(lines: Mapping[str, Sequence[str]]) -> Code:
    def code(path: str, first: int, last: int) -> str:
        return "\n".join(lines.get(path, ())[max(first, 1) - 1 : last])

    return code


def _some(broken: Mapping[str, str]) -> str:
    first, *rest = sorted(broken)
    return f"{first} ({broken[first]})" + (f" and {len(rest)} more" if rest else "")
