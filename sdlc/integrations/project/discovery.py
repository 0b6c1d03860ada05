"""From a list of files and the contents of a few to a plan: set-up and commands. Pure.

Only the top of a repository is looked at for what it declares; a project in a folder below it
needs a word in `.sdlc.yml`. What an explicit entry there says always wins.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from sdlc.domain import TestKind
from sdlc.integrations.project.other_projects import cargo_project, go_project, make_targets, node_project
from sdlc.integrations.project.plan import Command, ProjectPlan, PythonSetup, Runner
from sdlc.integrations.project.python_project import PythonProject
from sdlc.integrations.project.rules import ProjectRules
from sdlc.integrations.project.test_files import is_python_test, tests_nearby

_READ = frozenset(
    {
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "tox.ini",
        "noxfile.py",
        "pytest.ini",
        "mypy.ini",
        ".mypy.ini",
        "ruff.toml",
        ".ruff.toml",
        ".python-version",
        ".pre-commit-config.yaml",
        "package.json",
        "Makefile",
        "GNUmakefile",
        "makefile",
    }
)
_MOST_TESTS_READ = 40
"""Test files whose imports are looked at; enough to tell pytest from unittest."""

LARGEST_FILE = 512 * 1024
"""Bytes of a file that is read for discovery; a longer one is left out."""

_INPUT_NAMES = re.compile(
    r"(?:pyproject\.toml|setup\.(?:py|cfg)|tox\.ini|noxfile\.py|\.python-version|(?:uv|poetry|pdm|Cargo)\.lock"
    r"|(?:[\w.-]*requirements[\w.-]*|constraints[\w.-]*)\.(?:txt|in)|hatch_build\.py|MANIFEST\.in|PKG-INFO"
    r"|package(?:-lock)?\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml|pnpm-workspace\.yaml|yarn\.lock"
    r"|\.npmrc|\.yarnrc(?:\.yml)?|go\.(?:mod|sum|work)|Cargo\.toml|rust-toolchain(?:\.toml)?)\Z"
)
_SHELL_WORK = re.compile(r"[|&;<>()$`\\\n*?#~{}]")


def wanted_files(files: Sequence[str]) -> list[str]:
    """Which files `discover` wants to see the contents of."""
    tests = sorted((path for path in files if is_python_test(path)), key=lambda path: (path.count("/"), path))
    return [path for path in files if path in _READ] + tests[:_MOST_TESTS_READ]


def discover(files: Sequence[str], texts: Mapping[str, str], rules: ProjectRules | None = None) -> ProjectPlan:
    """The plan of a repository that has `files`, with the contents of `wanted_files`, under its `rules`."""
    rules = rules or ProjectRules()
    python = PythonProject(files, texts)
    node, go, cargo = node_project(files, texts), go_project(files), cargo_project(files)
    others = (node, go, cargo)
    unit = [*python.unit(), *(command for found in others for command in found.unit)]
    static = [*python.static(), *(command for found in others for command in found.static)]
    _add_make_targets(texts, unit, static)
    plan = ProjectPlan(
        node=node.installer,
        node_command=node.install_command,
        go=bool(go.installer),
        cargo=bool(cargo.installer),
        unit=tuple(unit),
        integration=python.integration(),
        static=tuple(static),
        inputs=tuple(path for path in files if _is_input(path) or path in python.requirement_files.wanted),
        notes=tuple(dict.fromkeys([*python.notes, *(note for found in others for note in found.notes)])),
    )
    plan = _under_rules(plan, rules)
    commands = (*plan.unit, *plan.integration, *plan.static)
    if python.is_python or any(command.runner is not Runner.OTHER for command in commands):
        # What a shell line of `.sdlc.yml` calls can't be told; what would have been found is the best guess.
        plan = plan.model_copy(update={"python": _python_setup(python, (*commands, *python.unit()), rules)})
    if rules.setup is not None:
        named = _files_named(rules.setup, files)
        plan = plan.model_copy(
            update={
                "setup_lines": rules.setup,
                "node": "",
                "node_command": (),
                "go": False,
                "cargo": False,
                "inputs": tuple(dict.fromkeys([*plan.inputs, *named])),
            }
        )
    return plan


def with_base(head: ProjectPlan, base: ProjectPlan) -> ProjectPlan:
    """The head's plan, without what a change would get rid of by deleting its declaration.

    Tests: the head's own commands, or the base's where the head has none left. Checks: those of both.
    """
    static = {command.name: command for command in (*base.static, *head.static)}
    merged = head.model_copy(
        update={
            "unit": head.unit or base.unit,
            "integration": head.integration or base.integration,
            "static": tuple(static.values()),
        }
    )
    if merged.python and base.python:
        tools = {tool.split("==")[0]: tool for tool in (*base.python.tools, *merged.python.tools)}
        merged = merged.model_copy(update={"python": merged.python.model_copy(update={"tools": tuple(tools.values())})})
    return merged


def command_of(line: str, *, name: str = "") -> Command:
    """A line of `.sdlc.yml` as a command; a plain call of pytest or unittest is known as such."""
    return Command(name=name or _short(line), line=line, runner=_runner_of(line))


def _under_rules(plan: ProjectPlan, rules: ProjectRules) -> ProjectPlan:
    update: dict[str, object] = {"env": dict(rules.env)}
    declared: set[TestKind] = set()
    if rules.unit is not None:
        update["unit"] = tuple(command_of(line) for line in rules.unit)
        declared.add(TestKind.UNIT)
    if rules.integration is not None:
        update["integration"] = tuple(command_of(line) for line in rules.integration)
        declared.add(TestKind.INTEGRATION)
    if rules.static is not None:
        update["static"] = tuple(Command(name=name, line=line) for name, line in rules.static.items())
        declared.add(TestKind.STATIC)
    return plan.model_copy(update={**update, "declared": frozenset(declared)})


def _python_setup(python: PythonProject, commands: Sequence[Command], rules: ProjectRules) -> PythonSetup:
    setup = python.setup(commands)
    if rules.python:
        setup = setup.model_copy(update={"versions": (rules.python,)})
    if rules.setup is not None:
        # The lines install what the project needs; the runners that we look for come by us all the same.
        setup = PythonSetup(versions=setup.versions, tools=setup.tools)
    return setup


def _add_make_targets(texts: Mapping[str, str], unit: list[Command], static: list[Command]) -> None:
    """`make test`, where nothing says more: it often makes an environment of its own, which has no network here."""
    text = next((texts[name] for name in ("GNUmakefile", "makefile", "Makefile") if name in texts), "")
    targets = make_targets(text)
    if not unit:
        target = next((name for name in ("test", "tests", "check") if name in targets), None)
        if target:
            unit.append(Command(name=f"make {target}", line=f"make {target}"))
    if not static and "lint" in targets:
        static.append(Command(name="make lint", line="make lint"))


def _is_input(path: str) -> bool:
    name = PurePosixPath(path)
    if re.match(r"requirements/[^/]+\.(?:txt|in)\Z", path):
        return True
    return bool(_INPUT_NAMES.match(name.name)) and not tests_nearby(path)


def _files_named(lines: Sequence[str], files: Sequence[str]) -> list[str]:
    """The files that set-up lines speak of, and the Makefile if they call make."""
    words = {word.removeprefix("./") for line in lines for word in re.split(r"[\s\"'=;&|()]+", line)}
    named = [path for path in files if path in words]
    if "make" in words:
        named += [path for path in files if path in ("Makefile", "GNUmakefile", "makefile")]
    return named


def _short(line: str) -> str:
    words = line.split()
    return " ".join(words[:3]) if len(words) <= 3 else " ".join(words[:3]) + " …"


def _runner_of(line: str) -> Runner:
    if _SHELL_WORK.search(line):
        return Runner.OTHER
    try:
        words = shlex.split(line)
    except ValueError:
        return Runner.OTHER
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    if words[:1] == ["pytest"] or (words[:1] in (["python"], ["python3"]) and words[1:3] == ["-m", "pytest"]):
        return Runner.PYTEST
    if words[:1] in (["python"], ["python3"]) and words[1:3] == ["-m", "unittest"]:
        return Runner.UNITTEST
    return Runner.OTHER
