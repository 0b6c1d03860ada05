"""Running pip-audit once, on what the change pins anew, with the network and without the repository."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from sdlc.domain import SourceReport, SourceState
from sdlc.integrations.sandbox import Mount, own_environment
from sdlc.integrations.services import Services
from sdlc.naming import counted
from sdlc.review_graphs.analysis import REPORTS, code_of, read_report
from sdlc.review_graphs.analyzers.base import AnalyserFailed, Subject
from sdlc.review_graphs.analyzers.pip_audit import KNOWN_BAD, Pin, PipAudit, Vulnerability, pins, raw_of, read_audit
from sdlc.review_graphs.collect import texts
from sdlc.review_graphs.findings import introduced
from sdlc.review_graphs.merge import Found
from sdlc.review_graphs.scope import Scope, ScopedFile

MOST_SECONDS = 20.0
"""In all. Without a network it ends after about three."""
MOST_PINS = 100
"""Each is a question of its own to the service."""

Known = dict[tuple[str, str], tuple[Vulnerability, ...]]
"""(name, version) → what is known of it."""


class DependencyAudit(PipAudit):
    """pip-audit as the panel has it: it runs by itself (`analysis.ByItself`)."""

    async def found(self, services: Services, scope: Scope) -> Found:
        return await AuditRun(services, scope, self).found()


class AuditRun:
    def __init__(self, services: Services, scope: Scope, audit: PipAudit) -> None:
        self._services = services
        self._scope = scope
        self._audit = audit
        self._end = time.monotonic() + MOST_SECONDS

    async def found(self) -> Found:
        """What the change brings; `not_run` wherever the data can't be had, for nobody has looked then."""
        new, old = await self._pins()
        if not new:
            note = "the change pins no Python package anew"
            return self._silent(SourceState.NOT_NEEDED, note)
        asked = new[:MOST_PINS]
        known = await self._known(asked)
        if known is None:
            note = f"vulnerability data can't be reached; {counted(len(new), 'package')} not verified"
            return self._silent(SourceState.NOT_RUN, note)
        bad = [pin for pin in asked if known.get((pin.name, pin.version))]
        before = await self._known_before(bad, old)
        raws = []
        for pin in bad:
            brought = [item for item in known[pin.name, pin.version] if item.id not in before.get(pin.name, ())]
            if brought:
                raws.append(raw_of(pin, brought))
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
        missed = [pin for pin in new if (pin.name, pin.version) not in known]
        note = f"{counted(len(missed), 'package')} of {len(new)} not verified" if missed else ""
        source = SourceReport(
            name=self._audit.name,
            state=SourceState.NOT_RUN if missed else SourceState.OK,
            required=False,
            note=note,
            found=len(findings),
            dropped=len(dropped),
        )
        return Found(source, tuple(findings), tuple(dropped))

    def _silent(self, state: SourceState, note: str) -> Found:
        return Found(SourceReport(name=self._audit.name, state=state, required=False, note=note))

    async def _pins(self) -> tuple[list[Pin], list[Pin]]:
        """What the head pins anew, each once, in a manifest rather than in a lock file; and what the base pins."""
        change = self._scope.change
        objects = await self._services.workspaces.objects(change.repository)
        files = [file for file in self._scope.files if self._looks_at(file)]
        head = await texts(objects, change.head_sha, [file.path for file in files])
        base = await texts(objects, change.base_sha, [file.on_base for file in files if file.on_base])

        def of(found: dict[str, list[str]]) -> list[Pin]:
            return [pin for path, lines in found.items() for pin in pins(path, "\n".join(lines))]

        old = await asyncio.to_thread(of, base)
        known = {(pin.name, pin.version) for pin in old}
        new: dict[tuple[str, str], Pin] = {}
        for pin in sorted(await asyncio.to_thread(of, head), key=lambda pin: pin.file.endswith(".lock")):
            if (pin.name, pin.version) not in known:
                new.setdefault((pin.name, pin.version), pin)
        return list(new.values()), old

    def _looks_at(self, file: ScopedFile) -> bool:
        return file.status != "D" and self._audit.looks_at(file.path) and file.unread not in ("binary", "symbolic link")

    async def _known_before(self, bad: Sequence[Pin], old: Sequence[Pin]) -> dict[str, set[str]]:
        """Name → the vulnerabilities that the version on the base has already, so that an upgrade is not blamed."""
        names = {pin.name for pin in bad}
        asked = [pin for pin in old if pin.name in names]
        known = await self._known(asked) if asked else None
        found: dict[str, set[str]] = {}
        for (name, _), items in (known or {}).items():
            found.setdefault(name, set()).update(item.id for item in items)
        return found

    async def _known(self, asked: Sequence[Pin]) -> Known | None:
        """What is known of these packages; None if the service can't be asked, or does not know what is known."""
        known: Known = {}
        for batch in _batches(asked):
            names = {pin.name for pin in batch}
            bad = next(((name, version) for name, version in KNOWN_BAD if name not in names), None)
            answer = await self._ask([*(pin.requirement for pin in batch), *(["==".join(bad)] if bad else [])])
            if answer is None or bad is None or not answer.pop(bad, ()):
                return known or None
            known |= answer
        return known

    async def _ask(self, requirements: Sequence[str]) -> Known | None:
        left = self._end - time.monotonic()
        if left < 1:
            return None
        sandbox, own = self._services.sandbox, own_environment()
        with tempfile.TemporaryDirectory(prefix="sdlc-audit-") as work, tempfile.TemporaryDirectory() as folder:
            mount = Mount(Path(folder), REPORTS, writable=True)
            target = sandbox.target(mount)
            (Path(folder) / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
            subject = Subject((f"{target}/requirements.txt",), f"{target}/report.json", {})
            call = self._audit.call(subject, self._audit.start(sandbox.target(own[0])))
            result = await sandbox.run(
                call.command, workspace=Path(work), timeout=left, mounts=(*own, mount), network=True
            )
            report = read_report(Path(folder) / "report.json")
        if report is None or result.exit_code not in self._audit.fine:
            return None
        try:
            return read_audit(report)
        except AnalyserFailed:
            return None


def _batches(asked: Iterable[Pin]) -> list[list[Pin]]:
    """Lists in which each name stands once, as pip-audit wants them."""
    batches: list[dict[str, Pin]] = []
    for pin in asked:
        batch = next((batch for batch in batches if pin.name not in batch), None)
        if batch is None:
            batches.append(batch := {})
        batch[pin.name] = pin
    return [list(batch.values()) for batch in batches]
