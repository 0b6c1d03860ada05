"""What the panels say, without a model, of the last changes that a project has merged.

    python -m benchmarks.review.history CLONE [--last 30] [--json FILE]

Merged changes of a well-kept project were wanted as they are by people who know it, so a finding here is either
something that they overlooked or noise. Which of them one would have wanted is for a reader to say; docs/tried.md has
the counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.bench_panels import git, services_in
from sdlc.domain import ChangeSet, PanelReport, Repository, SourceState, Ticket
from sdlc.integrations.services import Services
from sdlc.review_graphs import local

CODE = (".py", ".pyi", ".toml", ".cfg", ".yml", ".yaml", ".txt", ".lock", ".js", ".ts", "Dockerfile")
"""Endings of what the panels' programs look at; a change of documents alone is not counted as one."""


def merged_changes(clone: Path, last: int) -> list[tuple[str, str, str]]:
    """(base, head, subject) of the last changes on the main line that touch more than documents, the newest first."""
    found: list[tuple[str, str, str]] = []
    for row in git(clone, "log", "--first-parent", "--format=%H%x09%P%x09%s", "-n", str(last * 10)).splitlines():
        head, parents, subject = row.split("\t", 2)
        if not parents:
            break
        base = parents.split()[0]
        paths = git(clone, "diff", "--name-only", base, head).splitlines()
        if any(path.endswith(CODE) for path in paths):
            found.append((base, head, subject))
        if len(found) == last:
            break
    return found


async def reviewed(services: Services, clone: Path, base: str, head: str, subject: str) -> tuple[PanelReport, ...]:
    repository = Repository(url=str(clone), name=clone.name, base_branch="main", base_sha=base)
    change = ChangeSet(repository=repository, base_sha=base, head_sha=head, branch="sdlc/history", files_changed=1)
    return await local.review(services, change, Ticket(key="", title=subject))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path)
    parser.add_argument("--last", type=int, default=30)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    clone = given.clone.resolve()
    told: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-history-") as folder:
        services = services_in(Path(folder))
        changes = merged_changes(clone, given.last)
        for base, head, subject in changes:
            reports = await reviewed(services, clone, base, head, subject)
            findings = [finding for report in reports for finding in report.findings]
            failed = [s for report in reports for s in report.sources if s.state is SourceState.FAILED]
            print(f"{head[:10]} {subject[:90]}", flush=True)
            for finding in findings:
                print(f"    {finding.file}:{finding.line} {finding.severity.value} {finding.rule} {finding.message}")
                told.append({"head": head, **finding.model_dump(mode="json")})
            for source in failed:
                print(f"    FAILED {source.name}: {source.note}")
    silent = len(changes) - len({item["head"] for item in told})
    print(f"{len(changes)} changes, {len(told)} findings, {silent} changes without any")
    if given.json:
        given.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    asyncio.run(main())
