"""Small real repositories, and the services that the testing steps need, for tests that run them for real."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sdlc.activities import CheckAcceptance, RunTests
from sdlc.config import SandboxSettings, Settings
from sdlc.domain import ChangeSet, Repository, RunIdentity, TestKind, Ticket
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.integrations.project.environment import Environments
from sdlc.integrations.sandbox import open_sandbox
from sdlc.integrations.workspace import Workspaces

RUN = RunIdentity(workflow_id="sdlc-X-1", run_id="r", ticket_key="X-1")
TICKET = Ticket(key="X-1", title="x")

PACKAGE = {
    "pyproject.toml": """
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"
        [project]
        name = "money"
        version = "1"
        [tool.pytest.ini_options]
        testpaths = ["tests"]
    """,
    ".gitignore": "__pycache__/\n",
    "src/money/__init__.py": """
        def double(amount):
            return amount + 2


        def half(amount):
            if amount is None:
                return 0
            return amount / 2
    """,
    "tests/test_money.py": """
        from money import double, half

        def test_two():
            assert double(2) == 4

        def test_half():
            assert half(4) == 2
    """,
}
"""A package with a bug (`double`), no dependencies, and a suite that is green."""

FIXED = {"src/money/__init__.py": PACKAGE["src/money/__init__.py"].replace("amount + 2", "amount * 2")}


class GitRepository:
    """A repository on disk that tests write commits into."""

    def __init__(self, folder: Path, name: str = "acme/money") -> None:
        self.folder = folder
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    @classmethod
    def shared(cls, factory: pytest.TempPathFactory) -> GitRepository:
        """One repository for the tests of a process: what they have in common is made in one environment."""
        return cls(factory.getbasetemp() / "shared-money")

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True, text=True, timeout=20
        )
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str | None]) -> str:
        """Write (or with None delete) files and commit; returns the sha."""
        for path, text in files.items():
            target = self.folder / path
            if text is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        return self.git("rev-parse", "HEAD")

    def repository(self, base_sha: str) -> Repository:
        return Repository(url=str(self.folder), name=self.name, base_branch="main", base_sha=base_sha)

    def change(self, base: Mapping[str, str | None], head: Mapping[str, str | None]) -> ChangeSet:
        """A base commit with these files and no others, and a change upon it."""
        if self.git("ls-files"):
            self.git("rm", "-rfq", ".")
        base_sha = self.commit(base)
        head_sha = self.commit(head) if head else base_sha
        repository = self.repository(base_sha)
        return ChangeSet(
            repository=repository, base_sha=base_sha, head_sha=head_sha, branch="sdlc/X-1", files_changed=len(head)
        )


@dataclass
class Stage:
    """Everything that runs a repository, over one cache."""

    settings: Settings
    services: Any

    @classmethod
    def at(cls, folder: Path, **sandbox: Any) -> Stage:
        settings = Settings(
            data_dir=folder / "data",
            cache_dir=folder / "cache",
            sandbox=SandboxSettings(**{"processes": 256, **sandbox}),
        )
        box = open_sandbox(settings.sandbox)
        artifacts = ArtifactStore(settings.artifacts_dir)
        workspaces = Workspaces(settings.cache_dir)
        services = SimpleNamespace(
            settings=settings,
            sandbox=box,
            artifacts=artifacts,
            workspaces=workspaces,
            environments=Environments(settings, workspaces, box, artifacts),
        )
        return cls(settings, services)

    @classmethod
    def shared(cls, factory: pytest.TempPathFactory) -> Stage:
        """Over the one cache of a test session, which all its processes use."""
        base = factory.getbasetemp()
        return cls.at((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-projects")

    async def log(self, report: Any) -> str:
        return str(await self.services.artifacts.text(report.log)) if report.log else ""


def run_tests(change: ChangeSet, kind: TestKind = TestKind.UNIT) -> RunTests:
    return RunTests(run=RUN, change=change, kind=kind)


def check(change: ChangeSet) -> CheckAcceptance:
    return CheckAcceptance(run=RUN, change=change, ticket=TICKET)
