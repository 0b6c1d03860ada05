"""Running the checks of a panel in the sandbox, on head and base at once."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdlc.domain import Panel, Severity, SourceReport, SourceState
from sdlc.integrations.sandbox import CommandResult, Mount, own_environment, own_package
from sdlc.integrations.services import Services
from sdlc.review_graphs.analysis import REPORTS, code_of, read_report, why_failed
from sdlc.review_graphs.analyzers.base import AnalyserFailed, Raw, json_report
from sdlc.review_graphs.checks.base import ChangedPath, Check
from sdlc.review_graphs.collect import texts
from sdlc.review_graphs.findings import introduced
from sdlc.review_graphs.merge import Found
from sdlc.review_graphs.scope import Scope, ScopedFile
from sdlc.untrusted import escaped_text, visible_text

BASE = "/sdlc-base"
"""Where the base is mounted, inside the sandbox."""
_PROGRAM = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('sdlc.review_graphs.checks')"
"""Isolated (`-I`), Python does not look for modules where it is told to from outside, so the program says it."""


class ChecksRun:
    """One process for all checks of a panel: most of what a small check costs is the start of its process."""

    def __init__(self, services: Services, scope: Scope, checks: Sequence[Check]) -> None:
        self._services = services
        self._scope = scope
        self._checks = checks

    async def found(self) -> list[Found]:
        """What each check found. One that said nothing is a failed source, never a clean one."""
        change = self._scope.change
        workspaces = self._services.workspaces
        with tempfile.TemporaryDirectory(prefix="sdlc-report-") as folder:
            async with (
                workspaces.reading(change.repository, change.head_sha) as head,
                workspaces.reading(change.repository, change.base_sha) as base,
            ):
                result = await self._run(Path(folder), head.path, base.path)
            unread = read_report(Path(folder) / "unread.json")
            reports = {check.name: read_report(Path(folder) / f"{check.name}.json") for check in self._checks}
        found = [await self._found(check, reports[check.name], result) for check in self._checks]
        return [*found, *self._unread(unread)]

    def _unread(self, content: bytes | None) -> list[Found]:
        """Files that checks pass over, for a person to look at; one panel asks."""
        names = json_report(content, list, "checks") if content is not None else []
        if not names or self._scope.panel is not Panel.SECURITY:
            return []
        shown = ", ".join(escaped_text(str(name))[-200:] for name in names[:5])
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        note = f"{shown}{more}: too large, or with a name that is no text; split or rename it, or look at it and waive"
        state = SourceState.FAILED
        return [Found(SourceReport(name="files that no check can read", kind="unread", state=state, note=note))]

    async def _run(self, folder: Path, head: Path, base: Path) -> CommandResult:
        sandbox = self._services.sandbox
        reports, beside = Mount(folder, REPORTS, writable=True), Mount(base, BASE)
        own, package = own_environment(), own_package()
        seconds = self._services.settings.panels.analyser_seconds
        subject = {
            "panel": self._scope.panel.value,
            "checks": [check.name for check in self._checks],
            "head": sandbox.inside(head),
            "base": sandbox.target(beside),
            "files": [asdict(_changed(file)) for file in self._scope.files],
            "rules": self._scope.review.model_dump(mode="json"),
            "seconds": seconds / len(self._checks),
        }
        (folder / "subject.json").write_text(json.dumps(subject), encoding="utf-8")
        python = f"{sandbox.target(own[0])}/bin/python"
        package_folder = str(Path(sandbox.target(package)).parent)
        return await sandbox.run(
            (python, "-I", "-B", "-c", _PROGRAM, package_folder, f"{sandbox.target(reports)}/subject.json"),
            workspace=head,
            timeout=seconds,
            mounts=(*own, package, reports, beside),
        )

    async def _found(self, check: Check, content: bytes | None, result: CommandResult) -> Found:
        try:
            if content is None:
                raise AnalyserFailed(why_failed(check.name, result, self._services.settings.panels.analyser_seconds))
            report = json_report(content, dict, check.name)
            state, note = SourceState(report["state"]), visible_text(str(report["note"]))[0]
            raws = [_raw(check.name, item) for item in report["findings"]]
        except AnalyserFailed as error:
            return Found(SourceReport(name=check.name, state=SourceState.FAILED, note=visible_text(str(error))[0]))
        except (KeyError, TypeError, ValueError, AttributeError):
            note = f"{check.name} wrote a report of another shape"
            return Found(SourceReport(name=check.name, state=SourceState.FAILED, note=note))
        objects = await self._services.workspaces.objects(self._scope.change.repository)
        lines = await texts(objects, self._scope.change.head_sha, sorted({raw.file for raw in raws}))
        findings, dropped = introduced(
            raws,
            (),
            files=self._scope.files,
            panel=self._scope.panel,
            head_code=code_of(lines),
            base_code=code_of({}),
        )
        source = SourceReport(
            name=check.name,
            state=state,
            required=check.required or state is SourceState.FAILED,
            note=note,
            found=len(findings),
            dropped=len(dropped),
        )
        return Found(source, tuple(findings), tuple(dropped))


def _changed(file: ScopedFile) -> ChangedPath:
    return ChangedPath(
        path=file.path,
        old_path=file.on_base,
        status=file.status,
        added=file.added,
        mode=file.mode,
        old_mode=file.old_mode,
        is_text=file.is_text,
        is_generated=file.unread in ("lock file", "vendored", "generated"),
    )


def _raw(check: str, item: dict[str, Any]) -> Raw:
    line = max(int(item["line"]), 1)
    return Raw(
        rule=f"{check}:{item['rule']}",
        file=str(item["file"]),
        line=line,
        end_line=max(line, int(item["end_line"])),
        severity=Severity(item["severity"]),
        message=visible_text(str(item["message"]))[0],
        confidence=min(max(float(item["confidence"]), 0.0), 1.0),
        suggestion=str(item["suggestion"]),
        confidential=bool(item["confidential"]),
    )
