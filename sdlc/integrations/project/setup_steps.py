"""From a plan to the commands that make its environment. Pure.

All of them run in the sandbox. The order matters: what comes from us (the interpreter, pytest,
coverage) is put in while nothing of the repository has run yet, from a package cache that is shared
by all repositories; what the repository asks for comes after, with a cache of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdlc.integrations.project.plan import ProjectPlan, PythonSetup

PROBE_MARK = "sdlc-probe "

_PROBE = """
import importlib.util, json, os, platform, sysconfig
place = os.path.join(sysconfig.get_path("purelib"), "sdlc_coverage.pth")
with open(place, "w") as file:
    file.write('import os; os.environ.get("COVERAGE_PROCESS_START") and __import__("coverage").process_startup()\\n')
names = ["pytest", "coverage", "pytest_cov", "xdist"]
found = [name for name in names if importlib.util.find_spec(name)]
print("%s" + json.dumps({"python": platform.python_version(), "modules": found}))
"""
"""Lets every Python process of a run be measured when asked (COVERAGE_PROCESS_START), whoever starts it."""

_CONFLICT = "No solution found|[Cc]onflict|unsatisfiable"
"""How uv and pip say that requirements can't be had together."""
_REQUESTS = {"coverage": "coverage[toml]"}


@dataclass(frozen=True)
class SetupStep:
    """One command of set-up."""

    argv: tuple[str, ...]
    instead: tuple[str, ...] = ()
    """Tried when `argv` fails, before that counts as a failure."""
    instead_of: str = ""
    """What the output must hold for that, as a pattern; empty: whatever it says."""
    instead_note: str = "another Python was taken"
    """What `instead` does in place of `argv`, for a person."""
    trusted: bool = False
    """Nothing of the repository takes part: run beside it, with the cache that all share."""
    optional: bool = False
    """What it would bring may come with the next step all the same."""


@dataclass(frozen=True)
class Places:
    """Paths as the commands see them."""

    work: str
    env: str
    editable: bool
    """The workspace is at the same path in every run, so that an editable install can be shared."""

    @property
    def venv(self) -> str:
        return f"{self.env}/venv"

    @property
    def python(self) -> str:
        return f"{self.venv}/bin/python"


def setup_steps(plan: ProjectPlan, places: Places) -> list[SetupStep]:
    """The commands in their order; empty if there is nothing to make."""
    steps: list[SetupStep] = []
    if plan.python is not None:
        steps += _venv(plan.python, places, seed=plan.setup_lines is not None)
        if plan.setup_lines is None:
            steps += _installs(plan.python, places)
    steps += [SetupStep(("/bin/sh", "-c", line)) for line in plan.setup_lines or ()]
    if plan.node:
        steps.append(SetupStep(plan.node_command))
    if plan.go:
        steps.append(SetupStep(("go", "mod", "download")))
    if plan.cargo:
        steps.append(SetupStep(("cargo", "fetch")))
    if plan.python is not None:
        if any(tool.startswith("pyright") for tool in plan.python.tools):
            # It fetches its real self, which is Node's, when it is called first.
            steps.append(SetupStep((f"{places.venv}/bin/pyright", "--version"), optional=True))
        steps.append(SetupStep((places.python, "-c", _PROBE % PROBE_MARK)))
    return steps


def _venv(setup: PythonSetup, places: Places, *, seed: bool) -> list[SetupStep]:
    def call(version: str) -> tuple[str, ...]:
        wanted = (f"--python={version}",) if version else ()
        return ("uv", "venv", "--no-project", "--no-config", *(("--seed",) if seed else ()), *wanted, places.venv)

    versions = setup.versions or ("",)
    steps = [SetupStep(call(versions[0]), instead=call(versions[1]) if len(versions) > 1 else (), trusted=True)]
    if setup.tools:
        # Wheels only, so that nothing is built and nothing runs but uv.
        install = _pip(places, "--no-config", "--only-binary", ":all:", *_asked(setup.tools))
        steps.append(SetupStep(install, trusted=True, optional=True))
    return steps


def _installs(setup: PythonSetup, places: Places) -> list[SetupStep]:
    if setup.locked:
        return _locked(setup, places)
    words = _wanted(setup, places, setup.requirement_files)
    if not words:
        return []
    # The tools are named once more, so that one resolution holds for them and what the project wants.
    whole = _pip(places, *words, *_asked(setup.tools))
    spared = [path for path in setup.requirement_files if path not in setup.dispensable_files]
    loose = [tool.split("==")[0] for tool in setup.tools]
    less = _pip(places, *_wanted(setup, places, spared), *_asked(loose))
    if less == whole:
        return [SetupStep(whole)]
    left_out = [*setup.dispensable_files, *(f"the pin {tool}" for tool in setup.tools if "==" in tool)]
    note = f"it was made without {', '.join(left_out)}"
    return [SetupStep(whole, instead=less, instead_of=_CONFLICT, instead_note=note)]


def _wanted(setup: PythonSetup, places: Places, files: Sequence[str]) -> list[str]:
    words: list[str] = []
    for path in files:
        words += ["-r", path]
    extras = ",".join(setup.extras)
    if setup.project:
        own = f".[{extras}]" if extras else "."
        words += ["-e", own] if places.editable else [own]
    elif setup.dependencies_only:
        words += ["-r", "pyproject.toml", *(word for extra in setup.extras for word in ("--extra", extra))]
    for group in setup.groups:
        words += ["--group", group]
    return [*words, *setup.requirements]


def _locked(setup: PythonSetup, places: Places) -> list[SetupStep]:
    words = ["uv", "sync", "--frozen", "--inexact", "--python", places.python]
    words += [word for extra in setup.extras for word in ("--extra", extra)]
    words += [word for group in setup.groups for word in ("--group", group)]
    if not places.editable:
        words.append("--no-editable")
    steps = [SetupStep(tuple(words))]
    if setup.tools:
        steps.append(SetupStep(_pip(places, *_asked(setup.tools))))
    return steps


def _pip(places: Places, *words: str) -> tuple[str, ...]:
    return ("uv", "pip", "install", "--python", places.python, *words)


def _asked(tools: Sequence[str]) -> list[str]:
    return [_REQUESTS.get(tool, tool) for tool in tools]
