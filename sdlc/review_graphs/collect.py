"""The first node: what changed, what no lens reads, what the repository says about itself, and what has to be run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from sdlc.activities import PanelRequest
from sdlc.domain import ArtifactRef, ChangeSet, PanelReport, SourceReport, SourceState
from sdlc.errors import GuardRailViolation
from sdlc.integrations.git.diff import ChangedFile
from sdlc.integrations.git.objects import GitObjects
from sdlc.integrations.git.paths import path_argument
from sdlc.integrations.project.rules import RULES_FILE, ReviewRules, RulesInvalid, parse_rules
from sdlc.integrations.services import Services
from sdlc.review_graphs.baseline import BASELINE_FILE, Baseline, read_baseline
from sdlc.review_graphs.declaration import PanelDeclaration
from sdlc.review_graphs.diff import FileDiff, read_hunks, split_files
from sdlc.review_graphs.scope import Scope, ScopedFile, Slice, Task, cut_to_slices, scoped_file
from sdlc.review_graphs.unread import BEGINNING, unread_sources, why_hidden, why_unread

CONTEXT_LINES = 12
"""Of the head around each change: what a reader needs to see what a function does."""
RULE_FILES = ("AGENTS.md", "CLAUDE.md", ".github/copilot-instructions.md", "REVIEW.md", "CONTRIBUTING.md")
MOST_RULE_FILES = 6
LONGEST_RULES = 16_000
"""Characters of all rule files together."""
LEFT_OUT = f"left out by the base's {RULES_FILE}"
AT_ONCE = 4
"""Git processes."""


class Collector:
    """Reads git objects only: no workspace is needed, and nothing of the change is executed."""

    def __init__(self, services: Services, declaration: PanelDeclaration) -> None:
        self._services = services
        self._declaration = declaration

    async def scope(self, request: PanelRequest) -> Scope:
        """The scope of the request; its large texts are stored as artifacts."""
        change = request.change
        objects = await self._services.workspaces.objects(change.repository)
        review = await self._review_rules(objects, change.base_sha)
        changed = await objects.changed_files(change.base_sha, change.head_sha)
        diffs = await self._diffs(objects, request, changed)
        unread = await _unread(objects, change, changed, review.generated)
        files = tuple(scoped_file(diffs[file.path], file, *unread[file.path]) for file in changed)
        shown = [diffs[file.path] for file in files if not file.unread]
        cut, uncovered = cut_to_slices(shown)
        earlier = request.earlier if request.earlier and request.earlier.base_sha == change.base_sha else None
        since = await _changed_since(objects, earlier, change.head_sha)
        again, _ = cut_to_slices([diff for diff in shown if diff.path in since])
        return Scope(
            panel=request.panel,
            change=change,
            ticket=request.ticket,
            files=files,
            rules=await self._rules(objects, change.base_sha, files),
            slices=tuple([await self._slice(text, paths) for text, paths in cut]),
            uncovered=uncovered,
            review=review,
            baseline=await _baseline(objects, change.base_sha),
            earlier=earlier,
            again=tuple([await self._slice(text, paths) for text, paths in again]) if earlier else (),
            changed_again=tuple(sorted(since)),
            waived=request.waived,
        )

    async def _diffs(
        self, objects: GitObjects, request: PanelRequest, changed: Sequence[ChangedFile]
    ) -> dict[str, FileDiff]:
        base, head = request.change.base_sha, request.change.head_sha
        whole = await objects.diff(base, head, context=CONTEXT_LINES) if changed else ""
        pieces = split_files(whole, [(file.path, file.old_path or "") for file in changed])
        for file in changed:
            if file.path not in pieces and not file.binary:
                paths = [path for path in (file.old_path, file.path) if path]
                pieces[file.path] = await objects.diff(base, head, *dict.fromkeys(paths), context=CONTEXT_LINES)
        return {
            file.path: FileDiff(
                file.path, file.old_path or file.path, [] if file.binary else read_hunks(pieces.get(file.path, ""))
            )
            for file in changed
        }

    async def _rules(self, objects: GitObjects, base: str, files: Sequence[ScopedFile]) -> ArtifactRef | None:
        """The rule files of the base: those at the top, and AGENTS.md of the folders that the change is in.

        A change that edits the rules is judged by the rules that it found.
        """
        nested = {
            "/".join([*parts[:depth], "AGENTS.md"])
            for file in files
            if (parts := file.path.split("/")[:-1])
            for depth in range(1, len(parts) + 1)
        }
        there = set(await objects.list_files(base, *RULE_FILES, *sorted(nested)))
        quoted: list[str] = []
        room = LONGEST_RULES
        for path in [path for path in (*RULE_FILES, *sorted(nested)) if path in there][:MOST_RULE_FILES]:
            content = await objects.show(base, path)
            if content and content.strip() and room > 0:
                text = content.decode("utf-8", "replace")[:room]
                room -= len(text)
                quoted.append(f"# {path}\n\n{text}")
        if not quoted:
            return None
        return await self._services.artifacts.put("\n\n".join(quoted), name="rules.md", media_type="text/markdown")

    async def _review_rules(self, objects: GitObjects, base: str) -> ReviewRules:
        """Those of the base: a change can't choose its reviewers. A file that can't be used is told at step 8."""
        try:
            return parse_rules(await objects.show(base, RULES_FILE)).review
        except RulesInvalid:
            return ReviewRules()

    async def _slice(self, text: str, paths: tuple[str, ...]) -> Slice:
        ref = await self._services.artifacts.put(text, name="slice.diff", media_type="text/x-diff")
        return Slice(text=ref, files=paths)

    def plan(self, scope: Scope) -> tuple[list[Task], list[SourceReport]]:
        """What is to be run, and what need not or can't be, with the reason."""
        tasks: list[Task] = []
        idle = unread_sources(scope)
        if note := scope.baseline.source():
            idle.append(note)
        for analyser in self._declaration.analysers:
            concerned = any(analyser.looks_at(path_argument(file.path)) for file in scope.files if file.is_text)
            if report := _idle(analyser.name, scope, concerned):
                idle.append(report)
            elif not analyser.installed():
                # Required all the same: what is not installed has not found the change clean.
                idle.append(_not_run(analyser.name, f"{analyser.name} is not installed beside sdlc; run `make setup`"))
            else:
                tasks.append(Task(kind="analyser", name=analyser.name))
        chosen: list[str] = []
        for check in self._declaration.checks:
            paths = (path for file in scope.files for path in (file.path, file.on_base) if path)
            concerned = any(check.looks_at(path_argument(path)) for path in paths)
            if report := _idle(check.name, scope, concerned):
                idle.append(report)
            else:
                chosen.append(check.name)
        if chosen:
            tasks.append(Task(kind="checks", name="checks", names=tuple(chosen)))
        own_tasks, own_idle = self._plan_own(scope)
        tasks += own_tasks
        idle += own_idle
        for lens in self._declaration.lenses:
            planned, reports = self._plan_lens(lens.name, scope)
            tasks += planned
            idle += reports
        return tasks, idle

    def _plan_own(self, scope: Scope) -> tuple[list[Task], list[SourceReport]]:
        """The analysers that the repository brings itself for this panel."""
        tasks: list[Task] = []
        idle: list[SourceReport] = []
        for name, own in scope.review.analysers.items():
            if own.panel != scope.panel.value:
                continue
            concerned = any(own.looks_at(path_argument(file.path)) for file in scope.files if file.is_text)
            if name in self._declaration.names:
                note = f"`{name}` is the name of a source of ours; give it another one in {RULES_FILE}"
                idle.append(_not_run(f"own {name}", note, required=own.required))
            elif report := _idle(name, scope, concerned):
                idle.append(report)
            else:
                tasks.append(Task(kind="own", name=name))
        return tasks, idle

    def _plan_lens(self, name: str, scope: Scope) -> tuple[list[Task], list[SourceReport]]:
        if note := self._why_no_lens(name, scope):
            return [], [_not_run(name, note, kind="lens", required=False)]
        if not scope.slices:
            return [], [_not_needed(name, kind="lens")]
        again = scope.was_read_by(name)
        count = len(scope.again if again else scope.slices)
        tasks = [Task(kind="concern", name=name, slice=number, slices=count, again=again) for number in range(count)]
        if again and not tasks:
            note = "nothing that it read has changed since"
            return [], [SourceReport(name=name, kind="lens", state=SourceState.OK, note=note)]
        if not scope.uncovered:
            return tasks, []
        note = f"the change is too large: {len(scope.uncovered)} files were not read to their end; split it, or waive"
        return tasks, [_not_run(f"{name} rest", note, kind="lens")]

    def _why_no_lens(self, name: str, scope: Scope) -> str:
        if name in scope.review.without:
            return LEFT_OUT
        if not self._services.settings.panels.lenses:
            return "lenses are switched off (panels.lenses)"
        if not self._services.models.configured("reviewer"):
            return "no model is configured; set SDLC_MODEL and OPENAI_API_KEY or OPENAI_BASE_URL"
        return ""


def _idle(name: str, scope: Scope, concerned: bool) -> SourceReport | None:
    """The report of an analyser or check that need not run; None if it has to."""
    if name in scope.review.without:
        return _not_run(name, LEFT_OUT, required=False)
    return None if concerned else _not_needed(name)


def _not_needed(name: str, kind: str = "analyser") -> SourceReport:
    note = "nothing in the change for it to look at"
    return SourceReport(name=name, kind=kind, state=SourceState.NOT_NEEDED, required=False, note=note)


def _not_run(name: str, note: str, *, kind: str = "analyser", required: bool = True) -> SourceReport:
    return SourceReport(name=name, kind=kind, state=SourceState.NOT_RUN, required=required, note=note)


async def _changed_since(objects: GitObjects, earlier: PanelReport | None, head: str) -> set[str]:
    """Paths of the head that are not as the earlier report saw them; none if there is no such report."""
    if earlier is None or earlier.head_sha == head:
        return set()
    return {file.path for file in await objects.changed_files(earlier.head_sha, head) if file.status != "D"}


async def _baseline(objects: GitObjects, base: str) -> Baseline:
    """Of the base, so that a change can't accept its own findings; entries end with the day of the review."""
    try:
        content = await objects.show(base, BASELINE_FILE)
    except GuardRailViolation:  # larger than git's answers may be
        return Baseline(note=f"`{BASELINE_FILE}` can't be used: it is too large; it is left out", is_usable=False)
    return read_baseline(content, datetime.now(UTC).date())


async def _unread(
    objects: GitObjects, change: ChangeSet, changed: Sequence[ChangedFile], generated: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """By path why no lens reads a file, empty for those that lenses do read; and why a person should."""
    there = [file for file in changed if file.status != "D" and not file.is_submodule]
    base = await _beginnings(
        objects, change.base_sha, [file.old_path or file.path for file in there if file.status != "A"]
    )
    head = await _beginnings(objects, change.head_sha, [file.path for file in there if file.binary])
    before = {file.path: base.get(file.old_path or file.path) for file in there if file.status != "A"}
    return {
        file.path: (
            why_unread(file, before.get(file.path), generated),
            why_hidden(file, before.get(file.path), head.get(file.path)),
        )
        for file in changed
    }


async def _beginnings(objects: GitObjects, sha: str, paths: Sequence[str]) -> dict[str, bytes]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(path: str) -> tuple[str, bytes | None]:
        async with gate:
            try:
                content = await objects.show(sha, path)
            except GuardRailViolation:  # larger than git's answers may be
                content = None
            return path, content if content is None else content[:BEGINNING]

    found = await asyncio.gather(*(one(path) for path in dict.fromkeys(paths)))
    return {path: content for path, content in found if content is not None}


async def _contents(objects: GitObjects, sha: str, paths: Sequence[str]) -> dict[str, bytes]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(path: str) -> tuple[str, bytes | None]:
        async with gate:
            return path, await objects.show(sha, path)

    found = await asyncio.gather(*(one(path) for path in dict.fromkeys(paths)))
    return {path: content for path, content in found if content is not None}


async def texts(objects: GitObjects, sha: str, paths: Sequence[str]) -> dict[str, list[str]]:
    """The lines of files at a commit, numbered as git and the analysers number them; absent files are left out."""
    found = await _contents(objects, sha, paths)
    return {
        path: [line.removesuffix("\r") for line in content.decode("utf-8", "replace").split("\n")]
        for path, content in found.items()
    }
