"""What discovery finds: how a repository is set up and which commands it has."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from sdlc.domain import TestKind


class Runner(StrEnum):
    """What a command is, as far as its results can be read one by one."""

    PYTEST = "pytest"
    """Takes further arguments and test ids, writes JUnit XML."""
    UNITTEST = "unittest"
    """Run by our own small runner, which writes JUnit XML."""
    OTHER = "other"
    """Its exit code tells, and JUnit XML if a pytest inside it writes one."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Command(_Part):
    name: str
    """Short, for lists: `pytest`, `ruff check`."""
    line: str
    """A shell line as a person would type it; run in the sandbox only."""
    runner: Runner = Runner.OTHER


class PythonSetup(_Part):
    """What uv is to install. Everything is optional: a bare environment is an environment too."""

    versions: tuple[str, ...] = ()
    """What to ask uv for, in order of preference, such as `3.11`, `>=3.9`; empty: what is there."""
    locked: bool = False
    """By `uv sync --frozen`."""
    project: bool = False
    """The repository itself can be built and is installed (editable where paths allow it)."""
    dependencies_only: bool = False
    """It has a `[project]` table and no build system: what it depends on is installed, it itself isn't."""
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    requirement_files: tuple[str, ...] = ()
    dispensable_files: tuple[str, ...] = ()
    """Those of `requirement_files` that are left out if they conflict with the rest."""
    requirements: tuple[str, ...] = ()
    """Test requirements that are written where no installer reads them: tox, nox, Poetry, PDM, Hatch."""
    tools: tuple[str, ...] = ()
    """What the commands need and the project may not bring, such as `pytest`; installed last."""


class ProjectPlan(_Part):
    python: PythonSetup | None = None
    node: str = ""
    """The installer: `npm`, `pnpm`, `yarn`; empty: nothing of Node's to install."""
    node_command: tuple[str, ...] = ()
    go: bool = False
    cargo: bool = False
    setup_lines: tuple[str, ...] | None = None
    """The shell lines of `.sdlc.yml`, in place of all of the above but an empty Python environment."""
    unit: tuple[Command, ...] = ()
    integration: tuple[Command, ...] = ()
    static: tuple[Command, ...] = ()
    declared: frozenset[TestKind] = frozenset()
    """The kinds that `.sdlc.yml` speaks about, be it to say that there are none."""
    env: dict[str, str] = {}
    inputs: tuple[str, ...] = ()
    """The files that decide what set-up installs; their contents are part of the environment's key."""
    notes: tuple[str, ...] = ()
    """What could not be found out, and what would mend it."""

    def commands(self, kind: TestKind) -> tuple[Command, ...]:
        return {TestKind.UNIT: self.unit, TestKind.INTEGRATION: self.integration, TestKind.STATIC: self.static}[kind]

    @property
    def needs_setup(self) -> bool:
        return bool(self.python or self.node or self.go or self.cargo or self.setup_lines)
