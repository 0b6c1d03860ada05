"""A review of a checkout from beginning to end: what is compared, the panels, the result, the exit code."""

from __future__ import annotations

import asyncio
import importlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdlc.cli.context import log_file
from sdlc.config import Settings
from sdlc.domain import Panel, Repository, Severity, Ticket
from sdlc.errors import RepositoryInvalid, UsageError
from sdlc.integrations import ticket_file
from sdlc.integrations.git import Git
from sdlc.integrations.git.comparison import Comparison, Wish, compared
from sdlc.naming import counted

if TYPE_CHECKING:
    from sdlc.cli.review_output import Result
    from sdlc.domain import ChangeSet, PanelReport
    from sdlc.integrations.services import Services

_LONGEST_MESSAGES = 8_000
"""Characters of commit messages that stand for a ticket."""
_LEFT_OUT = 5
"""Files that are named."""
NEVER = "never"


@dataclass(frozen=True)
class Options:
    """What stood on the command line."""

    repository: Path
    base: str = ""
    head: str = ""
    staged: bool = False
    panels: tuple[str, ...] = ()
    format: str = "text"
    output: Path | None = None
    fail_on: str = Severity.BLOCKER.value
    ticket: Path | None = None
    no_model: bool = False
    everything: bool = False
    baseline_reason: str = ""


async def reviewed_checkout(settings: Settings, options: Options, say: Callable[[str], None]) -> int:
    """Do it, and return the exit code. `say` takes lines for a person; the result goes to standard output or a file.

    Raises UsageError for what can't be compared, and what the panels raise.
    """
    started = time.monotonic()
    ticket = _ticket(options.ticket) if options.ticket else None
    if options.output is not None and not options.output.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {options.output.absolute().parent} for {options.output}; make it first.")
    # Half a second of imports, in which git can work.
    engine = asyncio.ensure_future(asyncio.to_thread(_Engine.loaded, _for_a_review(settings, options)))
    try:
        wish = Wish(options.base, options.head, options.staged, without=options.output)
        comparison = await compared(Git(settings.cache_dir / "git"), settings.cache_dir, options.repository, wish)
    finally:
        await asyncio.wait([engine])
    return await _Review(await engine, comparison, options, say, started).done(ticket)


@dataclass(frozen=True)
class _Engine:
    settings: Settings
    services: Services

    @classmethod
    def loaded(cls, settings: Settings) -> _Engine:
        for name in ("sdlc.cli.review_output", "sdlc.review_graphs.local"):
            importlib.import_module(name)
        from sdlc.runtime.services import build_services
        from sdlc.runtime.telemetry import configure_logging

        configure_logging(settings, file=log_file(settings))
        return cls(settings, build_services(settings))


def _for_a_review(settings: Settings, options: Options) -> Settings:
    panels = settings.panels.model_copy(update={"lenses": False} if options.no_model else {})
    # Submodules are found from the address of their parent, and a snapshot has another one.
    forge = settings.forge.model_copy(update={"submodules": False})
    return settings.model_copy(update={"panels": panels, "forge": forge})


@dataclass(frozen=True)
class _Review:
    engine: _Engine
    comparison: Comparison
    options: Options
    say: Callable[[str], None]
    started: float

    async def done(self, ticket: Ticket | None) -> int:
        from sdlc.cli.review_output import Result
        from sdlc.review_graphs.reviewed import read_reviews

        change = await self._change()
        self._say_what_is_compared(change)
        reports = await self._reports(change, ticket) if not change.is_empty else ()
        reviews = await read_reviews(self.engine.services.artifacts, [self._as_the_person_has_it(r) for r in reports])
        result = Result(reviews, self.comparison, change, round(time.monotonic() - self.started, 3))
        self._hand_out(result)
        if self.options.baseline_reason:
            self._write_baseline(result, reports)
            return 0 if result.is_complete else 1
        return self._exit_code(result)

    async def _change(self) -> ChangeSet:
        comparison = self.comparison
        repository = Repository(
            url=comparison.url,
            name=(comparison.place.top or comparison.place.git_dir).name.removesuffix(".git"),
            base_branch=comparison.base_name,
            base_sha=comparison.base_sha,
            origin=comparison.place.shown,
        )
        return await self.engine.services.workspaces.change_set(
            repository, comparison.base_sha, comparison.head_sha, comparison.branch
        )

    def _say_what_is_compared(self, change: ChangeSet) -> None:
        comparison = self.comparison
        if not change.is_empty:
            lines = counted(change.insertions + change.deletions, "line")
            self.say(f"Reviewing {counted(change.files_changed, 'file')}, {lines}: {comparison.told}")
        if left_out := comparison.left_out:
            more = f" and {len(left_out) - _LEFT_OUT} more" if len(left_out) > _LEFT_OUT else ""
            self.say(f"Left out: {', '.join(left_out[:_LEFT_OUT])}{more}")
        panels = self.engine.settings.panels
        if not change.is_empty and panels.lenses and not self.engine.services.models.configured("reviewer"):
            self.say(
                "No model is configured, so no lens is asked; set SDLC_MODEL and OPENAI_API_KEY (or OPENAI_BASE_URL), "
                "or give --no-model."
            )

    async def _reports(self, change: ChangeSet, ticket: Ticket | None) -> Sequence[PanelReport]:
        from sdlc.review_graphs.local import review

        panels = tuple(panel for panel in Panel if panel.value in self.options.panels) or tuple(Panel)
        services = self.engine.services
        try:
            return await review(services, change, ticket or _instead_of_a_ticket(self.comparison), panels=panels)
        finally:
            await services.models.close()

    def _as_the_person_has_it(self, report: PanelReport) -> PanelReport:
        """With the person's commits, or none: nobody else has ours."""
        theirs = {"base_sha": self.comparison.base, "head_sha": self.comparison.head}
        return report.model_copy(update=theirs)

    def _hand_out(self, result: Result) -> None:
        output = self.options.output
        if output is None:
            result.show(self.options.format, everything=self.options.everything)
        else:
            _write(output, result.text(self.options.format, everything=self.options.everything))
        for line in result.remarks():
            self.say(line)
        if output is not None:
            self.say(f"Written to {output}.")

    def _exit_code(self, result: Result) -> int:
        if self.options.fail_on == NEVER:
            return 0
        return int(bool(result.at_or_above(Severity(self.options.fail_on))) or not result.is_complete)

    def _write_baseline(self, result: Result, reports: Sequence[PanelReport]) -> None:
        from sdlc.review_graphs.baseline import BASELINE_FILE, BaselineInvalid, written

        top = self.comparison.place.files
        file = top / BASELINE_FILE
        if not file.resolve().is_relative_to(top.resolve()):
            raise RepositoryInvalid(f"{file} leads out of the repository; make it a plain file.")
        now_open = {entry.fingerprint for review in result.reviews for entry in review.open}
        findings = [f for report in reports for f in report.findings if f.fingerprint in now_open]
        try:
            existing = file.read_bytes() if file.exists() else None
            text = written(existing, findings, self.options.baseline_reason, self.engine.settings.run.starter)
        except BaselineInvalid as error:
            raise UsageError(str(error)) from error
        if findings:
            file.parent.mkdir(exist_ok=True)
            _write(file, text)
        accepted = counted(len(findings), "finding")
        self.say(
            f"{accepted} accepted in {BASELINE_FILE}. It counts once the base of a change has it: commit it first."
        )


def _write(file: Path, text: str) -> None:
    """All of it or nothing, as who reads the file may not wait."""
    try:
        handle, draft = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as opened:
            opened.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(draft, 0o666 & ~mask)
        os.replace(draft, file)
    except OSError as error:
        raise UsageError(f"{file} can't be written ({error.strerror}); check the folder's rights.") from error


def _ticket(path: Path) -> Ticket:
    """Raises TicketInvalid."""
    found = ticket_file.parse(ticket_file.read(path), path)
    return Ticket(
        key=found.key or path.stem,
        title=found.title,
        description=found.description,
        acceptance_criteria=found.criteria,
        labels=found.labels,
        revision=found.revision,
        truncated=found.truncated,
    )


def _instead_of_a_ticket(comparison: Comparison) -> Ticket:
    """What the commits say of themselves: it is all there is about what is wanted."""
    said = "\n\n".join(comparison.messages)[:_LONGEST_MESSAGES]
    return Ticket(
        key="none",
        title="No ticket was given",
        description=f"The messages of the commits:\n\n{said}" if said else "",
    )
