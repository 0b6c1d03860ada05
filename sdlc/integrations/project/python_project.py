"""Discovery for Python: what to install, how the tests are run, which checks are declared. Pure."""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from sdlc.integrations.project.plan import Command, PythonSetup, Runner
from sdlc.integrations.project.python_requirements import (
    keyword_of,
    nox_environment,
    poetry_requirements,
    requirement_files,
    requirement_name,
    setup_cfg_requirements,
    setup_py_strings,
    strings,
    tox_environment,
)
from sdlc.integrations.project.rules import VERSION
from sdlc.integrations.project.test_files import is_python_test, tests_nearby
from sdlc.integrations.toml_file import read_toml

TEST_NAMES = ("test", "tests", "testing", "dev", "develop", "development")
"""Extras and dependency groups that hold what tests need."""

INTEGRATION_FOLDERS = ("tests/integration", "tests/integration_tests", "test/integration", "integration_tests")
"""A folder of such a name is the only thing that makes tests integration tests without a word in `.sdlc.yml`."""

_MANIFESTS = ("pyproject.toml", "setup.py", "setup.cfg", "uv.lock", "tox.ini", "noxfile.py")
_HOOK_VERSION = r"[/-]{program}(?:-pre-commit|-mirror|-python)*(?:\.git)?[\"']?\s+rev:\s*[\"']?v?(\d+(?:\.\d+)+)"
"""Of a program's own hook: `…/ruff-pre-commit`, `…/mirrors-mypy`, `…/black`, and not of `…/blacken-docs`."""
_USES_PYTEST = re.compile(r"^\s*(?:import pytest|from pytest\b)", re.MULTILINE)
_USES_UNITTEST = re.compile(r"^\s*(?:import unittest|from unittest\b)", re.MULTILINE)


class PythonProject:
    """One look at a repository's Python side.

    `files` are all paths, `texts` the contents of those that were read (`discovery.wanted_files`).
    """

    def __init__(self, files: Sequence[str], texts: Mapping[str, str]) -> None:
        self.files = files
        self.present = frozenset(files)
        self.texts = texts
        self.notes: list[str] = []
        self.pyproject = self._toml("pyproject.toml")
        self.setup_cfg = self._ini("setup.cfg")
        self.tox = self._ini("tox.ini")
        self.pre_commit = texts.get(".pre-commit-config.yaml", "")
        self.test_files = [path for path in files if is_python_test(path)]
        self._test_environments = (
            tox_environment(self.tox, self._table("tool", "tox")),
            nox_environment(texts.get("noxfile.py", "")),
        )
        self.requirement_files = requirement_files(
            files, [path for one in self._test_environments for path in one.files]
        )

    @property
    def is_python(self) -> bool:
        return bool(
            self.present.intersection(_MANIFESTS[:4])
            or self.requirement_files.wanted
            or self.test_files
            or any("/" not in path and path.endswith(".py") for path in self.files)
        )

    # --- set-up -----------------------------------------------------------------------------

    def setup(self, commands: Iterable[Command]) -> PythonSetup:
        """What to install so that `commands` can be run."""
        locked = "uv.lock" in self.present and "project" in self.pyproject
        buildable = "build-system" in self.pyproject or "setup.py" in self.present
        buildable = buildable or self.setup_cfg.has_section("options")
        return PythonSetup(
            versions=self._versions(),
            locked=locked,
            project=buildable and not locked,
            dependencies_only=not buildable and not locked and "project" in self.pyproject,
            extras=tuple(name for name in TEST_NAMES if name in self._extras()),
            groups=tuple(name for name in TEST_NAMES if name in self._table("dependency-groups")),
            requirement_files=() if locked else self.requirement_files.wanted,
            dispensable_files=() if locked else self.requirement_files.dispensable,
            requirements=() if locked else tuple(dict.fromkeys(self._loose_requirements())),
            tools=self._tools(commands),
        )

    def _versions(self) -> tuple[str, ...]:
        wanted: list[str] = []
        pinned = re.match(r"\s*(?:cpython-)?(3\.\d+)", self.texts.get(".python-version", ""))
        if pinned:
            wanted.append(pinned[1])
        requires = self._table("project").get("requires-python") or self.setup_cfg.get(
            "options", "python_requires", fallback=""
        )
        if isinstance(requires, str) and VERSION.match(requires.strip()):
            wanted.append(requires.strip())
        return tuple(wanted)

    def _extras(self) -> set[str]:
        names = set(self._table("project", "optional-dependencies")) | set(self._table("tool", "poetry", "extras"))
        if self.setup_cfg.has_section("options.extras_require"):
            names |= set(self.setup_cfg.options("options.extras_require"))
        value = keyword_of(self.texts.get("setup.py", ""), "extras_require")
        if isinstance(value, dict):
            names |= {key for key in value if isinstance(key, str)}
        return names

    def _loose_requirements(self) -> Iterable[str]:
        for environment in self._test_environments:
            yield from environment.requirements
        yield from strings(keyword_of(self.texts.get("setup.py", ""), "tests_require"))
        poetry = self._table("tool", "poetry")
        tables = [poetry.get("dev-dependencies"), *(_sub(group, "dependencies") for group in _values(poetry, "group"))]
        for table in tables:
            yield from poetry_requirements(table)
        for group in _values(self._table("tool", "pdm"), "dev-dependencies"):
            yield from strings(group)
        for name, environment in self._table("tool", "hatch", "envs").items():
            if name == "default" or "test" in name:
                yield from strings(_sub(environment, "dependencies"))
                yield from strings(_sub(environment, "extra-dependencies"))

    def _tools(self, commands: Iterable[Command]) -> tuple[str, ...]:
        tools: dict[str, None] = {}
        for command in commands:
            if command.runner is Runner.PYTEST:
                tools["pytest"] = None
            if command.runner in (Runner.PYTEST, Runner.UNITTEST):
                tools["coverage"] = None
            program = command.line.split()[0]
            if program in ("ruff", "mypy", "black", "flake8", "pyright"):
                tools[program + self._pin(program)] = None
        return tuple(tools)

    def _pin(self, program: str) -> str:
        """The version of pre-commit's hook, so that a checker newer than the project's own doesn't judge it."""
        found = re.search(_HOOK_VERSION.format(program=program), self.pre_commit)
        return f"=={found[1]}" if found and program not in self._required() else ""

    def _required(self) -> frozenset[str]:
        """The names of all that the project requires, in whatever table: there it says itself which version."""
        project, tool = self._table("project"), self._table("tool")
        found = [*self._loose_requirements(), *strings(project.get("dependencies"))]
        tables = [project.get("optional-dependencies"), self.pyproject.get("dependency-groups")]
        tables += [self._table("tool", "poetry", "extras")]
        found += [
            word for table in tables if isinstance(table, dict) for group in table.values() for word in strings(group)
        ]
        found += [*self._table("tool", "poetry", "dependencies"), *strings(_sub(tool.get("uv"), "dev-dependencies"))]
        found += [*setup_cfg_requirements(self.setup_cfg), *setup_py_strings(self.texts.get("setup.py", ""))]
        return frozenset(map(requirement_name, found))

    def _named(self) -> str:
        """Every text in which the project names its own requirements."""
        return "\n".join([self.texts.get(path, "") for path in ("pyproject.toml", "setup.py", "setup.cfg")])

    # --- tests ------------------------------------------------------------------------------

    def unit(self) -> tuple[Command, ...]:
        kind = self._test_runner()
        if kind is Runner.PYTEST:
            apart = self._integration_folders()
            ignored = "".join(f" --ignore={shlex.quote(folder)}" for folder in apart)
            return (Command(name="pytest", line=f"python -m pytest{ignored}", runner=kind),)
        if kind is Runner.UNITTEST:
            return (Command(name="unittest", line="python -m unittest discover", runner=kind),)
        return ()

    def integration(self) -> tuple[Command, ...]:
        folders = self._integration_folders()
        if self._test_runner() is not Runner.PYTEST or not folders:
            return ()
        places = " ".join(shlex.quote(folder) for folder in folders)
        return (Command(name="pytest integration", line=f"python -m pytest {places}", runner=Runner.PYTEST),)

    def _test_runner(self) -> Runner | None:
        if not self.test_files:
            return None
        if self._pytest_configured() or any(PurePosixPath(path).name == "conftest.py" for path in self.files):
            return Runner.PYTEST
        read = [self.texts[path] for path in self.test_files if path in self.texts]
        if any(_USES_PYTEST.search(text) for text in read) or re.search(r"\bpytest\b", self._named()):
            return Runner.PYTEST
        # Plain functions named test_… are pytest's: unittest would find none of them.
        return Runner.UNITTEST if any(_USES_UNITTEST.search(text) for text in read) else Runner.PYTEST

    def _pytest_configured(self) -> bool:
        return bool(
            self.present.intersection(("pytest.ini", ".pytest.ini", "pytest.toml"))
            or self._table("tool", "pytest")
            or self.tox.has_section("pytest")
            or self.setup_cfg.has_section("tool:pytest")
        )

    def _integration_folders(self) -> tuple[str, ...]:
        """Folders of integration tests, unless these are all the tests there are."""
        apart = [
            folder for folder in INTEGRATION_FOLDERS if any(path.startswith(folder + "/") for path in self.test_files)
        ]
        others = [path for path in self.test_files if not path.startswith(tuple(f"{folder}/" for folder in apart))]
        return tuple(apart) if others else ()

    # --- static checks ----------------------------------------------------------------------

    def static(self) -> tuple[Command, ...]:
        found: list[str] = []
        ruff_files = self.present.intersection(("ruff.toml", ".ruff.toml"))
        ruff = self._table("tool", "ruff")
        if "ruff" in self._table("tool") or ruff_files or self._hook("ruff") or self._hook("ruff-check"):
            found.append("ruff check .")
        ruff_texts = "".join(self.texts.get(path, "") for path in sorted(ruff_files))
        if "format" in ruff or re.search(r"^\[format", ruff_texts, re.MULTILINE) or self._hook("ruff-format"):
            found.append("ruff format --check .")
        if "black" in self._table("tool") or self._hook("black"):
            found.append("black --check .")
        if ".flake8" in self.present or self.tox.has_section("flake8") or self.setup_cfg.has_section("flake8"):
            found.append("flake8")
        found.extend(self._mypy())
        if "pyrightconfig.json" in self.present or "pyright" in self._table("tool"):
            found.append("pyright")
        return tuple(Command(name=" ".join(line.split()[:2]).removesuffix(" ."), line=line) for line in found)

    def _hook(self, identity: str) -> bool:
        return bool(re.search(rf"^\s*-?\s*id:\s*[\"']?{re.escape(identity)}[\"']?\s*$", self.pre_commit, re.MULTILINE))

    def _mypy(self) -> list[str]:
        own = [self._ini(path) for path in ("mypy.ini", ".mypy.ini") if path in self.present]
        tables: list[Mapping[str, Any]] = []
        tables += [dict(ini.items("mypy")) for ini in (*own, self.setup_cfg) if ini.has_section("mypy")]
        if "mypy" in self._table("tool"):
            tables.append(self._table("tool", "mypy"))
        if not own and not tables:
            return []
        if any(key in table for table in tables for key in ("files", "packages", "modules")):
            return ["mypy"]
        return [f"mypy {' '.join(self._source_places())}"]

    def _source_places(self) -> list[str]:
        if any(path.startswith("src/") and path.endswith(".py") for path in self.files):
            return ["src"]
        packages = {path.split("/")[0] for path in self.files if path.count("/") == 1 and path.endswith("/__init__.py")}
        return sorted(shlex.quote(name) for name in packages if not tests_nearby(f"{name}/x")) or ["."]

    # --- reading ----------------------------------------------------------------------------

    def _table(self, *names: str) -> Mapping[str, Any]:
        table: Any = self.pyproject
        for name in names:
            table = _sub(table, name)
        return table if isinstance(table, dict) else {}

    def _toml(self, path: str) -> dict[str, Any]:
        try:
            return read_toml(self.texts.get(path, "")) or {}
        except ValueError as error:
            self.notes.append(f"`{path}` can't be read ({error}); what it declares is not known.")
            return {}

    def _ini(self, path: str) -> configparser.RawConfigParser:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(self.texts.get(path, ""))
        except configparser.Error as error:
            self.notes.append(f"`{path}` can't be read ({str(error).splitlines()[0]}); what it declares is not known.")
        return parser


def _sub(table: Any, name: str) -> Any:
    return table.get(name) if isinstance(table, dict) else None


def _values(table: Mapping[str, Any], name: str) -> list[Any]:
    found = _sub(table, name)
    return list(found.values()) if isinstance(found, dict) else []
