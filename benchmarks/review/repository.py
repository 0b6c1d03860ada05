"""A case as a git repository, and the panels at work on it as `sdlc review` has them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.review.case import Case, Tree
from sdlc.config import ModelSettings, PanelSettings, Settings
from sdlc.domain import ChangeSet, PanelReport, Repository, Ticket
from sdlc.integrations.services import Services
from sdlc.review_graphs.local import review
from sdlc.runtime.services import build_services

_GIT = (
    "git",
    *("-c", "user.name=A. Developer", "-c", "user.email=developer@example.org", "-c", "commit.gpgSign=false"),
    *("-c", f"core.hooksPath={os.devnull}", "-c", "core.autocrlf=false", "-c", "init.defaultBranch=main"),
)
REVIEW_SECONDS = 300
"""One case, with all panels, on a machine that is busy with others."""


def change_of(case: Case, folder: Path) -> ChangeSet:
    """A repository of the case in `folder`, with a commit before and one after the change."""
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet")
    shas = [_commit(folder, tree, message) for tree, message in ((case.before, "Before"), (case.after, _title(case)))]
    repository = Repository(url=str(folder), name=f"acme/{case.name}", base_branch="main", base_sha=shas[0])
    changed = sum(case.before.get(path) != case.after.get(path) for path in {*case.before, *case.after})
    return ChangeSet(repository=repository, base_sha=shas[0], head_sha=shas[1], branch="change", files_changed=changed)


def ticket_of(case: Case) -> Ticket:
    return Ticket(key=case.text.ticket.partition(" ")[0], title=_title(case), description=case.text.description)


def services_for(folder: Path, llm: ModelSettings | None = None) -> Services:
    """What the panels need, with every folder below the one given; without a model unless there is one."""
    settings = Settings(
        data_dir=folder / "data",
        cache_dir=folder / "cache",
        llm=llm or ModelSettings(),
        panels=PanelSettings(lenses=llm is not None),
    )
    return build_services(settings)


async def reviewed(case: Case, folder: Path, services: Services) -> tuple[tuple[PanelReport, ...], float]:
    """The reports of all panels on a case, and how many seconds they took. The repository in `folder` goes after it."""
    place = folder / case.title.replace("/", "-")
    change = await asyncio.to_thread(change_of, case, place)
    started = time.monotonic()
    try:
        async with asyncio.timeout(REVIEW_SECONDS):
            reports = await review(services, change, ticket_of(case))
    finally:
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
    return reports, round(time.monotonic() - started, 2)


def _title(case: Case) -> str:
    return case.text.ticket.partition(" ")[2]


def _commit(folder: Path, tree: Tree, message: str) -> str:
    for child in folder.iterdir():
        if child.name != ".git":
            shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
    for path, entry in tree.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if entry.mode == "link":
            file.symlink_to(entry.content)
        else:
            file.write_bytes(entry.content.encode())
            file.chmod(0o755 if entry.mode == "755" else 0o644)
    _git(folder, "add", "--all", "--force")
    _git(folder, "commit", "--quiet", "--message", message)
    return _git(folder, "rev-parse", "HEAD")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run([*_GIT, *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()
