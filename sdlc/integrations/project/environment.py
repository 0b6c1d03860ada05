"""The repository's own environment: made in the sandbox, once for each set of dependency files and host.

Below `<cache>/environments/<key>` lie `env/` (mounted at `/env`, writable during set-up and never after),
`products/` and `ready.json`, which is written last: without it the folder is half made and is made again.
Inside, workspace and environment are always at the same paths, so base and head share one environment,
an editable install included. Set-up has the network; nothing after it has.

Where the sandbox can't move paths (`none`) the environment lies at its real path, and the repository
is found by PYTHONPATH instead of an editable install.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sdlc.domain import ArtifactRef
from sdlc.integrations.git.locks import locked
from sdlc.integrations.project.discovery import discover, with_base
from sdlc.integrations.project.making import FORMAT, Maker, Wanted, env_mount, interpreters
from sdlc.integrations.project.plan import ProjectPlan
from sdlc.integrations.project.products import put_products
from sdlc.integrations.project.rules import RULES_FILE, ProjectRules, RulesInvalid, parse_rules
from sdlc.integrations.project.setup_run import SETUP_SECONDS, Made
from sdlc.integrations.project.setup_steps import Places, setup_steps
from sdlc.integrations.project.tree import Tree, read_blobs, read_tree
from sdlc.integrations.sandbox import Mount, Sandbox, toolchain

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.integrations.artifacts import ArtifactStore
    from sdlc.integrations.workspace import Workspace, Workspaces

_FAILURE_KEPT = 120.0
"""Seconds for which a failed set-up is not tried again: the steps of one run follow each other closely."""

State = Literal["ready", "failed", "none"]


@dataclass(frozen=True)
class Environment:
    """How commands of one workspace are run: what to mount and which variables to set."""

    mounts: tuple[Mount, ...]
    env: dict[str, str]
    state: State
    """`none`: there is nothing to set up. Commands may be run in every state, and find less in `failed`."""
    plan: ProjectPlan
    note: str = ""
    """What a person should know: why it failed, what could not be found out."""
    log: ArtifactRef | None = None
    key: str = ""
    modules: frozenset[str] = frozenset()
    """Those of pytest, coverage, pytest_cov, xdist that its Python has."""
    made: Made | None = field(default=None, repr=False)
    has_source_folder: bool = False


class Environments:
    """Environments of all repositories on this host; safe for any number of processes at once."""

    def __init__(
        self,
        settings: Settings,
        workspaces: Workspaces,
        sandbox: Sandbox,
        artifacts: ArtifactStore,
        *,
        setup_seconds: float = SETUP_SECONDS,
    ) -> None:
        self._cache = settings.cache_dir.absolute()
        self._clones = workspaces.clones
        self._sandbox = sandbox
        self._maker = Maker(self._cache, self._clones, sandbox, artifacts, setup_seconds)
        self._setup_seconds = setup_seconds
        self._trees: dict[str, Tree] = {}

    async def ensure(self, workspace: Workspace, *, base_sha: str = "", scratch: str = "") -> Environment:
        """The environment of a workspace, made if it isn't there.

        Where a change touches what set-up reads, its environment is its own: made for exactly these files, or,
        with a name for `scratch`, once for all commits under that name. A scratch environment may hold what an
        earlier commit's build code has left in it: good enough to work with, never to judge by.
        `base_sha` is the commit whose `.sdlc.yml` counts; default that of the repository. A failed
        set-up is a state, not an exception. Raises what the sandbox and git raise.
        """
        wanted = await self._wanted(workspace, base_sha or workspace.repository.base_sha, scratch)
        state: State = "none"
        made = None
        if wanted.plan.needs_setup:
            made = await self._made(workspace, wanted)
            state = "ready" if made.ok else "failed"
        notes = [made.note if made else "", *wanted.plan.notes, *wanted.notes]
        environment = Environment(
            mounts=(),
            env={},
            state=state,
            plan=wanted.plan,
            note=" ".join(dict.fromkeys(filter(None, notes))),
            log=made.log if made else None,
            key=wanted.key,
            modules=frozenset(made.modules) if made else frozenset(),
            made=made,
            has_source_folder=any(path.startswith("src/") for path in wanted.tree.blobs),
        )
        return await self.also_for(environment, workspace)

    async def also_for(self, environment: Environment, workspace: Workspace) -> Environment:
        """The same environment for another workspace of the same repository, whatever that one declares."""
        folder = self._folder(environment.key)
        plan = environment.plan
        mounts = list(toolchain().mounts)
        if environment.made is not None:
            mounts.append(env_mount(folder))
            if environment.made.node_modules and not _is_there(workspace.path / "node_modules"):
                mounts.append(Mount(folder / "node_modules", "/work/node_modules"))
            clone = self._clones.of(workspace.repository.url)
            git = clone.git.on(clone.folder, work_tree=workspace.path)
            await put_products(list(environment.made.products), folder / "products", workspace.path, git)
        env = {**plan.env, **self._base_env(plan, folder), **_offline(plan)}
        python_path = self._python_path(plan, workspace, environment.has_source_folder)
        if python_path:
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [python_path, plan.env.get("PYTHONPATH", "")]))
        return replace(environment, mounts=tuple(mounts), env=env)

    # --- what is wanted ---------------------------------------------------------------------

    async def _wanted(self, workspace: Workspace, base_sha: str, scratch: str) -> Wanted:
        base = await self._tree(workspace, base_sha)
        head = base if workspace.sha == base_sha else await self._tree(workspace, workspace.sha)
        rules, notes = await self._rules(workspace, base)
        base_plan = discover(base.files, base.texts, rules)
        head_plan = with_base(discover(head.files, head.texts, rules), base_plan)
        key = self._key(workspace, head, head_plan)
        if key == self._key(workspace, base, base_plan):
            # Made from the base, so that what a change brings along can't stay behind for others.
            return Wanted(key, head_plan, base, notes)
        whose = f"scratch {scratch}" if scratch else head.digest
        key = hashlib.sha256(f"{key} {whose}".encode()).hexdigest()[:32]
        return Wanted(key, head_plan, head, notes, from_base=False)

    async def _tree(self, workspace: Workspace, sha: str) -> Tree:
        if sha not in self._trees:
            while len(self._trees) >= 16:
                self._trees.pop(next(iter(self._trees)))
            clone = self._clones.of(workspace.repository.url)
            await clone.require(sha)
            self._trees[sha] = await read_tree(clone.git, sha)
        return self._trees[sha]

    async def _rules(self, workspace: Workspace, base: Tree) -> tuple[ProjectRules, tuple[str, ...]]:
        """The rules of the base commit; those that can't be used are a note, and discovery takes their place."""
        blob = base.blobs.get(RULES_FILE)
        if blob is None:
            return ProjectRules(), ()
        texts = await read_blobs(self._clones.of(workspace.repository.url).git, {RULES_FILE: blob})
        try:
            if RULES_FILE not in texts:
                raise RulesInvalid(f"`{RULES_FILE}` is too large.")
            return parse_rules(texts[RULES_FILE]), ()
        except RulesInvalid as error:
            return ProjectRules(), (f"{error} Until then commands are discovered as if it weren't there.",)

    def _key(self, workspace: Workspace, tree: Tree, plan: ProjectPlan) -> str:
        places = Places("/work", "/env", editable=self._sandbox.name != "none")
        steps = [[step.argv, step.instead, step.optional] for step in setup_steps(plan, places)]
        parts: list[Any] = [FORMAT, self._sandbox.name, platform.machine(), workspace.repository.url, plan.env, steps]
        parts.append({path: tree.blobs[path] for path in sorted(plan.inputs) if path in tree.blobs})
        if plan.python is not None:
            parts.append(interpreters())
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    # --- making it --------------------------------------------------------------------------

    def _folder(self, key: str) -> Path:
        return self._cache / "environments" / key

    async def _made(self, workspace: Workspace, wanted: Wanted) -> Made:
        folder = self._folder(wanted.key)
        made = Made.read(folder / "ready.json")
        if made is not None:
            return made
        folder.parent.mkdir(parents=True, exist_ok=True)
        async with locked(Path(f"{folder}.lock"), timeout=2 * self._setup_seconds):
            made = Made.read(folder / "ready.json")
            failed = Made.read(folder / "failed.json")
            if made is not None:
                return made
            if failed is not None and time.time() - failed.at < _FAILURE_KEPT:
                return failed
            made = await self._maker.make(wanted, workspace.repository, folder, self._base_env(wanted.plan, folder))
            made.write(folder / ("ready.json" if made.ok else "failed.json"))
            return made

    def _base_env(self, plan: ProjectPlan, folder: Path) -> dict[str, str]:
        inside = self._sandbox.target(env_mount(folder))
        env = {"PATH": toolchain().path}
        if plan.python is not None:
            env["PATH"] = f"{inside}/venv/bin:{env['PATH']}"
            env["PYRIGHT_PYTHON_CACHE_DIR"] = f"{inside}/pyright"
            env["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"
            env["VIRTUAL_ENV"] = env["UV_PROJECT_ENVIRONMENT"] = f"{inside}/venv"
        if plan.go:
            # Its module cache is read-only to the letter otherwise, and can't be removed.
            env |= {"GOMODCACHE": f"{inside}/go", "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw"}
        if plan.cargo:
            env["CARGO_HOME"] = f"{inside}/cargo"
        return env

    def _python_path(self, plan: ProjectPlan, workspace: Workspace, has_source_folder: bool) -> str:
        """Where imports are looked for when the repository isn't installed in a way that base and head share."""
        setup = plan.python
        if setup is None or (self._sandbox.name != "none" and (setup.project or setup.locked)):
            return ""
        inside = self._sandbox.inside(workspace.path)
        return os.pathsep.join([f"{inside}/src", inside] if has_source_folder else [inside])


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _offline(plan: ProjectPlan) -> dict[str, str]:
    """So that tools don't wait for a network that isn't there."""
    env: dict[str, str] = {}
    if plan.python is not None:
        env |= {"UV_OFFLINE": "1", "UV_NO_SYNC": "1", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if plan.node:
        env |= {"npm_config_offline": "true", "npm_config_update_notifier": "false"}
    if plan.go:
        env["GOPROXY"] = "off"
    if plan.cargo:
        env["CARGO_NET_OFFLINE"] = "true"
    return env
