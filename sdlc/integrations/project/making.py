"""Making an environment: its folder, what it starts from, and the set-up itself.

Most Python environments begin alike: an interpreter, pytest, coverage, a checker or two. That beginning
is made once per host, kept for a week as `tools-<key>`, and copied. Nothing of a repository runs
while it is made, so all repositories may have it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdlc.domain import Repository
from sdlc.integrations import process
from sdlc.integrations.git.clones import Clones
from sdlc.integrations.git.locks import locked
from sdlc.integrations.git.sandbox_git import SandboxGit
from sdlc.integrations.git.throw_away import throw_away
from sdlc.integrations.git.worktree import Worktree
from sdlc.integrations.project.passed_through import passed_through
from sdlc.integrations.project.plan import ProjectPlan
from sdlc.integrations.project.setup_run import Made, SetupRun
from sdlc.integrations.project.setup_steps import Places, setup_steps
from sdlc.integrations.project.tree import Tree
from sdlc.integrations.sandbox import Mount, Sandbox, toolchain

if TYPE_CHECKING:
    from sdlc.integrations.artifacts import ArtifactStore

FORMAT = 1
"""Part of every key; raised when environments are made in another way."""
_TOOLS_KEPT = 7 * 86_400.0
"""Seconds for which a beginning is used: its tools are the newest of the day on which it was made."""
_COPY_SECONDS = 300.0


@dataclass(frozen=True)
class Wanted:
    """One environment before it is there."""

    key: str
    plan: ProjectPlan
    tree: Tree
    """What it is made from."""
    notes: tuple[str, ...] = ()
    from_base: bool = True
    """Made from the base. One that is made from a change may hold whatever the change's own build code has put
    there: it is kept apart, with downloads of its own."""


class Maker:
    """Makes environments in folders that the caller has locked."""

    def __init__(
        self, cache: Path, clones: Clones, sandbox: Sandbox, artifacts: ArtifactStore, setup_seconds: float
    ) -> None:
        self._cache = cache
        self._clones = clones
        self._sandbox = sandbox
        self._artifacts = artifacts
        self._seconds = setup_seconds

    async def make(self, wanted: Wanted, repository: Repository, folder: Path, env: dict[str, str]) -> Made:
        """Make the environment in `folder`, which may hold what an earlier try left; `env` is for every step."""
        await throw_away(folder)
        _make_folders(folder)
        begun = await self._begin(wanted.plan, folder, env)
        try:
            work = await self._files(wanted, repository, folder / "work")
            run = self._run(wanted.plan, folder, work, env, repository, from_base=wanted.from_base)
            steps = setup_steps(wanted.plan, run.places)
            made = await run.make([step for step in steps if not (begun and step.trusted)])
            if made.ok:
                made = await run.collected(made, frozenset(wanted.tree.blobs))
        finally:
            await throw_away(folder / "work")
            await throw_away(folder / "packages")
        notes = [begun.note if begun else "", made.note]
        log = await self._artifacts.put(f"{begun.text if begun else ''}{made.text}", name="environment.log")
        return made.model_copy(update={"note": " ".join(filter(None, notes)), "log": log, "text": ""})

    async def _begin(self, plan: ProjectPlan, folder: Path, env: dict[str, str]) -> Made | None:
        """Copy the beginning to `folder`; None leaves it empty: there is none, and its steps are still to be run."""
        beginning = None
        # A Python environment knows its own path: it can be copied only if that is the same everywhere.
        if plan.python is not None and self._sandbox.name != "none":
            beginning = await self._beginning(plan, env)
        if beginning is None:
            _make_folders(folder / "env")
            return None
        source, made = beginning
        done = await process.run(("cp", "-a", str(source / "env"), str(folder / "env")), timeout=_COPY_SECONDS)
        if done.exit_code == 0:
            return made
        await throw_away(folder / "env")
        _make_folders(folder / "env")
        return None

    async def _beginning(self, plan: ProjectPlan, env: dict[str, str]) -> tuple[Path, Made] | None:
        steps = [step for step in setup_steps(plan, self._places(Path(), Path())) if step.trusted]
        parts = [FORMAT, platform.machine(), interpreters(), [[step.argv, step.instead] for step in steps]]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        folder = self._cache / "environments" / f"tools-{key}"
        async with locked(Path(f"{folder}.lock"), timeout=2 * self._seconds):
            made = Made.read(folder / "ready.json")
            if made is None or not 0 <= time.time() - made.at < _TOOLS_KEPT:
                await throw_away(folder)
                _make_folders(folder / "env", folder / "work")
                made = await self._run(plan, folder, folder / "work", env, None).make(steps)
                if made.ok and not made.left_out:
                    made.write(folder / "ready.json")
        return (folder, made) if made.ok and not made.left_out else None

    def _run(
        self,
        plan: ProjectPlan,
        folder: Path,
        work: Path,
        env: dict[str, str],
        repository: Repository | None,
        *,
        from_base: bool = True,
    ) -> SetupRun:
        passed, certificates = passed_through(os.environ, "host" if self._sandbox.name == "none" else "")
        own = hashlib.sha256(repository.url.encode()).hexdigest()[:16] if repository else "tools"
        return SetupRun(
            sandbox=self._sandbox,
            folder=folder,
            work=work,
            caches=(
                self._cache / "packages" / "tools",
                self._cache / "packages" / own if from_base else folder / "packages",
            ),
            places=self._places(work, folder),
            env={**passed, **env},
            own_env=plan.env,
            mounts=(*toolchain().mounts, *certificates),
            seconds=self._seconds,
        )

    async def _files(self, wanted: Wanted, repository: Repository, folder: Path) -> Path:
        """A tree of the commit's files for set-up alone: what that leaves in it may not get into a change."""
        worktree = Worktree(self._clones.of(repository.url), folder)
        await worktree.move_to(wanted.tree.sha)
        # With tags: many a project makes its version of them.
        await SandboxGit(worktree, wanted.tree.sha, repository.base_sha, repository.base_branch).make()
        return worktree.tree

    def _places(self, work: Path, folder: Path) -> Places:
        environment = self._sandbox.target(env_mount(folder))
        return Places(self._sandbox.inside(work), environment, editable=self._sandbox.name != "none")


def _make_folders(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)


def env_mount(folder: Path) -> Mount:
    """The environment in `folder` as commands see it: to be read only."""
    return Mount(folder / "env", "/env")


def interpreters() -> list[str]:
    """The Pythons that an environment could be made on: another one makes another environment."""
    folders = [Path(part) for part in toolchain().path.split(":")]
    return sorted({str((folder / "python3").resolve()) for folder in folders if (folder / "python3").exists()})
