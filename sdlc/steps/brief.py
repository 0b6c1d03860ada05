"""Before step 2: the brief that the engine works from, as a Markdown artifact."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from temporalio import activity

from sdlc.activities import WRITE_BRIEF, BriefRequest
from sdlc.domain import ArtifactRef, CiState, Finding, PanelReport, TestKind
from sdlc.integrations.project.discovery import discover, wanted_files
from sdlc.integrations.project.rules import RULES_FILE, ProjectRules, RulesInvalid, parse_rules
from sdlc.integrations.project.test_files import is_test
from sdlc.steps.brief_text import Material, TroubleLog, brief_text, trouble_of
from sdlc.steps.log_excerpt import relevant_part

if TYPE_CHECKING:
    from sdlc.integrations.git.objects import GitObjects
    from sdlc.integrations.services import Services

RULE_FILES = (
    *(
        "agents.md",
        "agent.md",
        ".github/agents.md",
        "claude.md",
        ".claude/claude.md",
        ".github/copilot-instructions.md",
    ),
    *("contributing.md", "contributing.rst", ".github/contributing.md", "docs/contributing.md"),
)
"""In the order in which they are told; as the base commit spells them."""
_FOLDER_RULES = ("agents.md", "claude.md")
_MOST_FOLDER_RULES = 4
"""Of single folders that are told; more are named."""
_MOST_NAMED_RULES = 20
_MAX_RULE_CHARS = 64_000
_MAX_EXCERPTS = 18_000
"""Characters of all logs together."""
_MOST_TESTS_READ = 12
_MOST_DIFF_FILES = 60


class BriefSteps:
    def __init__(self, services: Services) -> None:
        self._services = services

    def activities(self) -> Sequence[Callable[..., Any]]:
        return [self.write_brief]

    @activity.defn(name=WRITE_BRIEF.name)
    async def write_brief(self, request: BriefRequest) -> ArtifactRef:
        """The brief of one round. The same request gives the same artifact.

        Raises WorkspaceBroken when the clone or an artifact can't be read.
        """
        objects = await self._services.workspaces.objects(request.change.repository)
        changed, diff = await _so_far(objects, request)
        base = request.change.base_sha
        files = await objects.list_files(base)
        rules, more = await _rules(objects, base, files, changed)
        material = Material(
            rules=rules,
            more_rules=more,
            commands=await _commands(objects, base, files),
            changed_files=changed,
            diff=diff,
            findings=await self._findings(request),
            troubles=await self._troubles(request),
        )
        name = f"brief-{request.ticket.key}-round-{request.round}.md"
        return await self._services.artifacts.put(brief_text(request, material), name=name, media_type="text/markdown")

    async def _findings(self, request: BriefRequest) -> tuple[Finding, ...]:
        """The findings to mend, the worst first, with evidence and suggestion where their report has them."""
        wanted = set(request.fingerprints)
        found: dict[str, Finding] = {}
        for report in request.panel_reports:
            whole = {finding.fingerprint: finding for finding in await self._whole_findings(report)}
            for finding in report.findings:
                if finding.fingerprint in wanted:
                    found.setdefault(finding.fingerprint, whole.get(finding.fingerprint, finding))
        return tuple(sorted(found.values(), key=lambda item: (item.severity.rank, item.file, item.line, item.rule)))

    async def _whole_findings(self, report: PanelReport) -> list[Finding]:
        """Those of the report's artifact; one that can't be read as findings gives none."""
        if report.report is None:
            return []
        try:
            document = json.loads(await self._services.artifacts.text(report.report))
            listed = document.get("findings", []) if isinstance(document, dict) else []
            return [Finding.model_validate(item) for item in listed]
        except (ValueError, ValidationError):
            return []

    async def _troubles(self, request: BriefRequest) -> tuple[TroubleLog, ...]:
        red = [report for report in request.tests if not report.is_green]
        ci = request.ci if request.ci is not None and request.ci.state is CiState.RED else None
        each = _MAX_EXCERPTS // max(1, len(red) + bool(ci))
        troubles = []
        for report in red:
            names = [failure.test for failure in report.new_failures]
            troubles.append(trouble_of(report, await self._excerpt(report.log, names, each)))
        if ci is not None:
            excerpt = await self._excerpt(ci.log, [failure.test for failure in ci.failures], each)
            troubles.append(TroubleLog(title="the forge's checks", note=ci.note, failures=ci.failures, excerpt=excerpt))
        return tuple(troubles)

    async def _excerpt(self, log: ArtifactRef | None, tests: Sequence[str], limit: int) -> str:
        return relevant_part(await self._services.artifacts.text(log), tests, limit) if log is not None else ""


async def _so_far(objects: GitObjects, request: BriefRequest) -> tuple[tuple[str, ...], str]:
    """Names of the files that the branch changes, and the diff where it is small enough to be of use."""
    base, head = request.change.base_sha, request.change.head_sha
    if head == base:
        return (), ""
    files = await objects.changed_files(base, head)
    readable = [file.path for file in files if not file.binary][:_MOST_DIFF_FILES]
    diff = await objects.diff(base, head, *readable) if readable else ""
    return tuple(file.path for file in files), diff


async def _rules(
    objects: GitObjects, base: str, files: Sequence[str], changed: Sequence[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Rule files of the base commit, and those of folders that are only named.

    A change can't rewrite the rules it is made under. Of folders those come first in which something was changed.
    """
    top = sorted(
        (path for path in files if path.lower() in RULE_FILES), key=lambda path: RULE_FILES.index(path.lower())
    )
    below = [path for path in files if path.lower().endswith(tuple(f"/{name}" for name in _FOLDER_RULES))]
    below = [path for path in below if path not in top]
    concerned = [path for path in below if any(name.startswith(_folder(path)) for name in changed)]
    told = concerned[:_MOST_FOLDER_RULES]
    rules: dict[str, str] = {}
    for path in [*top, *told]:
        text = await _rule_text(objects, base, path)
        # Of a symbolic link, such as CLAUDE.md to AGENTS.md, git shows where it leads to.
        target = posixpath.normpath(_folder(path) + text)
        if "\n" not in text and target in files:
            text = await _rule_text(objects, base, target)
        if text and text not in rules.values():
            rules[path] = text
    return rules, tuple(path for path in dict.fromkeys([*concerned, *below]) if path not in told)[:_MOST_NAMED_RULES]


async def _rule_text(objects: GitObjects, base: str, path: str) -> str:
    return (await objects.show(base, path) or b"").decode("utf-8", "replace").strip()[:_MAX_RULE_CHARS]


def _folder(path: str) -> str:
    """`a/b/` of `a/b/c`; empty at the top."""
    return path[: path.rfind("/") + 1]


async def _commands(objects: GitObjects, base: str, files: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What discovery and `.sdlc.yml` of the base commit say about how it is tested."""
    wanted = wanted_files(files)
    tests = [path for path in wanted if is_test(path)][:_MOST_TESTS_READ]
    texts = {}
    for path in [*(path for path in wanted if not is_test(path)), *tests]:
        content = await objects.show(base, path)
        if content is not None:
            texts[path] = content[: 512 * 1024].decode("utf-8", "replace")
    plan = discover(files, texts, await _project_rules(objects, base, files))
    kinds = (TestKind.UNIT, TestKind.INTEGRATION, TestKind.STATIC)
    return {kind.value: tuple(command.line for command in plan.commands(kind)) for kind in kinds}


async def _project_rules(objects: GitObjects, base: str, files: Sequence[str]) -> ProjectRules:
    try:
        return parse_rules(await objects.show(base, RULES_FILE) if RULES_FILE in files else None)
    except RulesInvalid:
        return ProjectRules()  # the tests' own step tells people what is wrong with the file
