"""Versions of Python, Node and images; licences; what is on its way out."""

from __future__ import annotations

import ast
import sys
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.review_graphs.checks.base import NotRun
from sdlc.review_graphs.checks.techstack.features import features, unparsed
from sdlc.review_graphs.checks.techstack.licences import Licences, is_denied
from sdlc.review_graphs.checks.techstack.replaced import Replaced
from sdlc.review_graphs.checks.techstack.runtimes import images, is_dockerfile
from sdlc.review_graphs.checks.techstack.versions import Versions
from tests.trees import Files, only, raised, trees

TODAY = date(2025, 6, 1)
VERSIONS = Versions(today=TODAY)


def project(requires: str, more: str = "") -> str:
    own = f'[project]\nname = "app"\nversion = "1.0"\nrequires-python = "{requires}"\n'
    return f"[build-system]\nrequires = []\n\n{own}{more}"


def needs(folder: Path, text: str, requires: str = ">=3.8", path: str = "app/new.py") -> list[tuple[str, str, int]]:
    base = {"pyproject.toml": project(requires), "app/__init__.py": ""}
    return raised(VERSIONS, trees(folder, base, {**base, path: text}))


@pytest.mark.parametrize(
    ("text", "line", "version"),
    [
        ("import tomllib\n", 1, "3.11"),
        ("from typing import Self\n", 1, "3.11"),
        ("from typing import override\n", 1, "3.12"),
        ("import datetime\nx = datetime.UTC\n", 2, "3.11"),
        ("from datetime import UTC\n", 1, "3.11"),
        ("import enum\nclass E(enum.StrEnum):\n    a = 1\n", 2, "3.11"),
        ("import itertools\nprint(itertools.batched([], 2))\n", 2, "3.12"),
        ("from itertools import pairwise\n", 1, "3.10"),
        ("def f(x):\n    match x:\n        case 1:\n            pass\n", 2, "3.10"),
        ("try:\n    pass\nexcept* ValueError:\n    pass\n", 3, "3.11"),
        ("for a in zip([], [], strict=True):\n    pass\n", 1, "3.10"),
        ("import asyncio\nasync def f():\n    async with asyncio.TaskGroup():\n        pass\n", 3, "3.11"),
        ("raise ExceptionGroup('a', [])\n", 1, "3.11"),
        ("x = 'abc'.removeprefix('a')\n", 1, "3.9"),
        ("def f(x: int | None) -> None: ...\n", 1, "3.10"),
        ("class A:\n    x: list[int]\n", 2, "3.9"),
        ("from dataclasses import dataclass\n@dataclass(slots=True)\nclass A:\n    x: int\n", 2, "3.10"),
        ("type X = int\n", 1, "3.12"),
        ("def f[T](x: T) -> T:\n    return x\n", 1, "3.12"),
        ("class A[T]:\n    pass\n", 1, "3.12"),
        pytest.param(
            "d = {}\nx = f'{d[\"a\"] + f\"{d['b']}\"}'\n",
            2,
            "3.12",
            marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="it tells by what the running Python refuses"),
        ),
    ],
)
def test_what_is_too_new_is_found(tmp_path: Path, text: str, line: int, version: str) -> None:
    base = {"pyproject.toml": project(">=3.8"), "app/__init__.py": ""}
    found = only(VERSIONS, trees(tmp_path, base, {**base, "app/new.py": text}))
    assert (found.rule, found.file, found.severity) == ("too-new", "app/new.py", "major")
    assert abs(found.line - line) <= 1
    assert f"Python {version}" in found.message
    assert len(found.message) <= 300


@pytest.mark.parametrize(
    "text",
    [
        "import sys\nif sys.version_info >= (3, 11):\n    import tomllib\nelse:\n    import tomli as tomllib\n",
        "try:\n    import tomllib\nexcept ModuleNotFoundError:\n    tomllib = None\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from typing import Self\n",
        "from __future__ import annotations\ndef f(x: int | None) -> list[int]: ...\n",
        "def f():\n    x: int | None = None\n",
        "import sys\ndef f():\n    if sys.version_info < (3, 11):\n        return\n    import tomllib\n",
        "import sys\nNEW = sys.version_info >= (3, 11)\nif NEW:\n    import tomllib\n",
        "from exceptiongroup import ExceptionGroup\nraise ExceptionGroup('a', [])\n",
        "from typing_extensions import Self, override\n",
        "from ours import datetime, batched\nx = datetime.UTC\nbatched()\n",
        "def anext(x):\n    return x\nanext(1)\n",
        "def f(x):\n    return x.removeprefix('a') | x.batched()\n",
        "import pytest, sys\n@pytest.mark.skipif(sys.version_info < (3, 11), reason='x')\n"
        "def test():\n    import tomllib\n",
        "a = 1\nb = 2\nx = a | b\n",
        "def f(x: A | B): ...\n",
        "# import tomllib\nx = 'match x:'\n",
        "def f(:\n",
        "print 'old'\n",
        "",
    ],
)
def test_what_is_asked_for_first_or_is_something_else_is_let_be(tmp_path: Path, text: str) -> None:
    assert needs(tmp_path, text) == []


@pytest.mark.parametrize(
    ("requires", "found"),
    [(">=3.11", 0), (">=3.10,<4", 1), ("~=3.10", 1), ("==3.12.*", 0), (">3.10", 1), ("", 0), ("<4", 0)],
)
def test_the_lower_bound_decides(tmp_path: Path, requires: str, found: int) -> None:
    assert len(needs(tmp_path, "import tomllib\n", requires)) == found


@pytest.mark.parametrize(
    "manifest",
    [
        {"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.9"\n'},
        {"setup.cfg": "[metadata]\nname = app\n\n[options]\npython_requires = >=3.9\n"},
        {"setup.py": "from setuptools import setup\nsetup(name='app', python_requires='>=3.9')\n"},
    ],
)
def test_the_bound_is_read_wherever_it_stands(tmp_path: Path, manifest: dict[str, str]) -> None:
    assert raised(VERSIONS, trees(tmp_path, manifest, {**manifest, "app/new.py": "import tomllib\n"})) == [
        ("too-new", "app/new.py", 1)
    ]


def test_tests_are_milder_and_scripts_are_run_with_a_python_of_choice(tmp_path: Path) -> None:
    assert needs(tmp_path / "a", "import tomllib\n", path="scripts/release.py") == []
    assert needs(tmp_path / "b", "import tomllib\n", path="noxfile.py") == []
    base = {"pyproject.toml": project(">=3.8"), "tests/test_a.py": ""}
    found = only(VERSIONS, trees(tmp_path / "c", base, {**base, "tests/test_a.py": "import tomllib\n"}))
    assert found.severity == "minor"


def test_what_the_file_needed_before_is_not_new(tmp_path: Path) -> None:
    base = {"pyproject.toml": project(">=3.8"), "app/a.py": "import tomllib\n"}
    head = {**base, "app/a.py": "import tomllib as toml\nx = 1\n"}
    assert raised(VERSIONS, trees(tmp_path, base, head)) == []


def test_the_syntax_of_a_newer_python_is_told_from_a_mistake() -> None:
    newer = "x = 1\ndef f[T](x: T) -> T:\n    return x\n"
    assert unparsed(newer) == (2 if sys.version_info < (3, 12) else 0)
    assert unparsed("x = 1\ndef f(\n") == 0
    assert unparsed("x = 1\n") == 0


@given(st.text(alphabet="def (x):\n match=|[]intimport tomllib.\"'f{}*@", max_size=100))
def test_no_text_crashes_the_search_for_features(text: str) -> None:
    for one in features(text):
        assert one.line >= 1


def test_reading_features_changes_no_tree_of_the_caller() -> None:
    text = "import sys\nif sys.version_info < (3, 9):\n    raise SystemExit\nimport tomllib\n"
    assert features(text) == []
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(text))


# --- what is declared ----------------------------------------------------------------------------------------------

WORKFLOW = """\
jobs:
  test:
    strategy:
      matrix:
        python-version: ["3.9", "3.12"]
    steps:
      - uses: actions/setup-python@v5
        with:
          python-version: ${{ matrix.python-version }}
      - run: pip install -e . && pytest
"""
CI = ".github/workflows/ci.yml"


def changed(
    folder: Path, before: str, after: str, more: Files | None = None, more_before: Files | None = None
) -> list[str]:
    base = {"pyproject.toml": before, "app/__init__.py": "", **(more_before or more or {})}
    head = {**base, "pyproject.toml": after, **(more or {})}
    return [rule for rule, file, _ in raised(VERSIONS, trees(folder, base, head)) if file == "pyproject.toml"]


def test_jobs_and_classifiers_have_to_follow_a_raised_requirement(tmp_path: Path) -> None:
    classifiers = 'classifiers = ["Programming Language :: Python :: 3.9", "Programming Language :: Python :: 3.12"]\n'
    found = changed(
        tmp_path, project(">=3.9", classifiers), project(">=3.10", classifiers), {CI: WORKFLOW, "CHANGELOG.md": "x"}
    )
    assert found == ["ci-not-updated", "classifier-not-updated", "support-dropped"]


def test_a_raise_that_all_follow_and_that_is_told(tmp_path: Path) -> None:
    found = changed(
        tmp_path,
        project(">=3.9"),
        project(">=3.10"),
        {CI: WORKFLOW.replace("3.9", "3.10"), "CHANGELOG.md": "3.9 is gone\n"},
        {CI: WORKFLOW, "CHANGELOG.md": ""},
    )
    assert found == []


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (project(">=3.7"), project(">=3.9"), []),  # both are past their end
        (project(">=3.9"), project(">=3.11"), ["support-dropped"]),
        (project(">=3.9"), project(">=3.11").replace('"1.0"', '"2.0"'), []),
        (project(">=3.9").replace("[build-system]\nrequires = []\n", ""), project(">=3.11"), ["support-dropped"]),
    ],
)
def test_a_version_that_is_dropped(tmp_path: Path, before: str, after: str, found: list[str]) -> None:
    assert changed(tmp_path, before, after) == found


@pytest.mark.parametrize(
    "workflow",
    [
        WORKFLOW.replace("pip install -e . && pytest", "echo done"),
        WORKFLOW.replace('["3.9", "3.12"]', "${{ fromJSON(x) }}"),
        WORKFLOW.replace('["3.9", "3.12"]', '["3.x", "pypy-3.9", "3"]'),
        "jobs: [",
        "",
        "- a\n- b\n",
        "jobs:\n  a: 3\n  b:\n    strategy: {matrix: [1]}\n    steps: {}\n",
    ],
)
def test_jobs_of_which_nothing_is_certain(tmp_path: Path, workflow: str) -> None:
    assert "ci-not-updated" not in changed(tmp_path, project(">=3.9"), project(">=3.10"), {CI: workflow})


def test_a_lowered_requirement_needs_code_and_tests_that_fit(tmp_path: Path) -> None:
    assert changed(tmp_path / "a", project(">=3.9"), project(">=3.8"), {CI: WORKFLOW}) == ["untested-version"]
    assert changed(tmp_path / "b", project(">=3.12"), project(">=3.9"), {CI: WORKFLOW}) == []
    assert changed(tmp_path / "c", project(">=3.12"), project(">=3.9"), {"app/a.py": "import tomllib\n"}) == ["too-new"]


def test_an_image_that_a_raised_requirement_leaves_behind(tmp_path: Path) -> None:
    found = changed(tmp_path, project(">=3.7"), project(">=3.9"), {"Dockerfile": "FROM python:3.8-slim\n"})
    assert found == ["unsupported-version"]


def dockerfile(
    folder: Path, text: str, before: str | None = None, manifest: Files | None = None
) -> list[tuple[str, int]]:
    base = {**(manifest or {}), **({"Dockerfile": before} if before is not None else {})}
    return [(rule, line) for rule, _, line in raised(VERSIONS, trees(folder, base, {**base, "Dockerfile": text}))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM python\n", [("image-latest", 1)]),
        ("FROM acme/thing:latest\n", [("image-latest", 1)]),
        ("FROM --platform=linux/amd64 node:latest AS build\n", [("image-latest", 1)]),
        ("FROM python:3.8-slim\n", [("end-of-life", 1)]),
        ("FROM docker.io/library/node:16-alpine\n", [("end-of-life", 1)]),
        ("FROM debian:buster-slim\n", [("end-of-life", 1)]),
        ("FROM python:3.12-buster\n", [("end-of-life", 1)]),
        ("FROM ubuntu:18.04\n", [("end-of-life", 1)]),
        ("FROM python:3.12 AS build\nFROM build\nFROM scratch\n", []),
        ("ARG V=3.12\nFROM python:${V}\nFROM $BASE\n", []),
        ("FROM python@sha256:0123\n", []),
        ("FROM debian:bookworm\nFROM ubuntu:24.04\nFROM node:22\nFROM alpine:3.20\n", []),
        ("FROM acme/python:3.8\n", []),
        ("# FROM python\nRUN echo FROM python\n", []),
        ("", []),
    ],
)
def test_base_images(tmp_path: Path, text: str, found: list[tuple[str, int]]) -> None:
    assert dockerfile(tmp_path, text) == found


@pytest.mark.parametrize(
    ("service", "found"),
    [
        ("image: postgres:latest", ["image-latest"]),
        ("image: 'redis'", ["image-latest"]),
        ("image: node:16", ["end-of-life"]),
        ("image: postgres:16.3", []),
        ("image: app:latest\n    build: .", []),
        ("image: ${IMAGE}:latest", []),
        ("image: acme/app@sha256:00", []),
        ("build: .", []),
        ("- image", []),
    ],
)
def test_images_of_compose(tmp_path: Path, service: str, found: list[str]) -> None:
    text = f"services:\n  one:\n    {service}\n"
    given_trees = trees(tmp_path, {"compose.yml": ""}, {"compose.yml": text})
    assert [rule for rule, _, _ in raised(VERSIONS, given_trees)] == found


def test_an_image_that_was_there_is_not_new(tmp_path: Path) -> None:
    assert dockerfile(tmp_path, "# moved\nFROM python:3.8\nRUN x\n", "FROM python:3.8\n") == []
    assert dockerfile(tmp_path / "b", "FROM python:3.8-slim\n", "FROM python:3.8\n") == []


@pytest.mark.parametrize(
    ("requires", "image", "found"),
    [
        (">=3.12", "3.11-slim", 1),
        (">=3.10,<3.13", "3.13", 1),
        (">=3.11", "3.11", 0),
        (">=3.11.4", "3.11", 0),
        ("", "3.11", 0),
        (">=3.12", "3", 0),
    ],
)
def test_an_image_has_to_be_one_that_the_project_accepts(tmp_path: Path, requires: str, image: str, found: int) -> None:
    manifest = {"pyproject.toml": project(requires)}
    rules = [rule for rule, _ in dockerfile(tmp_path, f"FROM python:{image}\n", None, manifest)]
    assert rules == ["unsupported-version"] * found


def test_node_has_to_be_one_that_the_package_accepts(tmp_path: Path) -> None:
    base = {"package.json": '{"engines": {"node": ">=20"}}'}
    head = {**base, "Dockerfile": "FROM node:22\n", "web/Dockerfile": "FROM node:19\n", ".nvmrc": "v18.2.0\n"}
    assert raised(Versions(today=date(2023, 1, 1)), trees(tmp_path, base, head)) == [
        ("unsupported-version", ".nvmrc", 1),
        ("unsupported-version", "web/Dockerfile", 1),
    ]


def test_a_job_of_node_runs_on_the_last_release_of_its_major_version(tmp_path: Path) -> None:
    workflow = "jobs:\n  t:\n    strategy:\n      matrix:\n        node: [12, 14]\n    steps:\n      - run: npm ci\n"
    base = {"package.json": '{"engines": {"node": ">=10"}}', CI: workflow}
    same = {**base, "package.json": '{"engines": {"node": ">=12.17.0"}}'}
    newer = {**base, "package.json": '{"engines": {"node": ">=14"}}'}
    versions = Versions(today=date(2026, 1, 1))
    assert raised(versions, trees(tmp_path / "a", base, same)) == []
    assert raised(versions, trees(tmp_path / "b", base, newer)) == [("ci-not-updated", "package.json", 1)]


def test_files_that_name_a_version(tmp_path: Path) -> None:
    base = {".python-version": "3.8\n", ".nvmrc": "lts/iron\n"}
    assert raised(VERSIONS, trees(tmp_path, base, {".python-version": "3.7.1\n", ".nvmrc": "16\n"})) == [
        ("end-of-life", ".nvmrc", 1),
        ("end-of-life", ".python-version", 1),
    ]
    assert raised(VERSIONS, trees(tmp_path / "b", base, {".python-version": "3.8.1\n", ".nvmrc": "\n"})) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("python-version: 3.10", 1),
        ("python-version: [3.9, 3.10]", 1),
        ("python-version: [3.10, 3.11]", 1),
        ("- python-version: 3.10  # x", 1),
        ('python-version: "3.10"', 0),
        ("python-version: ['3.9', '3.10']", 0),
        ("python-version: 3.11", 0),
        ("python-version:\n        - '3.9'\n        - 3.10", 1),
        ("other:\n        - '3.9'\n        - 3.10", 0),
        ("python-version: 3.10.4", 0),
    ],
)
def test_a_version_that_yaml_reads_as_a_number(tmp_path: Path, line: str, found: int) -> None:
    text = f"jobs:\n  a:\n    x:\n      {line}\n"
    last = text.count("\n")
    assert raised(VERSIONS, trees(tmp_path, {}, {CI: text})) == [("unquoted-version", CI, last)] * found


def test_what_a_dockerfile_is() -> None:
    names = [
        "Dockerfile",
        "a/Dockerfile.dev",
        "web.dockerfile",
        "Containerfile",
        "Dockerfile.md",
        "Dockerfile.j2",
        "docker.py",
    ]
    assert [name for name in names if is_dockerfile(name)] == names[:4]


@given(st.text(alphabet="FROM asbuild:/@-_.$\n3\t#", max_size=80))
def test_no_dockerfile_crashes(text: str) -> None:
    assert all(isinstance(image.runtimes, list) for image in images(text))


# --- licences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "denied"),
    [
        ("GPL-3.0", True),
        ("GPL-3.0-only", True),
        ("GPL-3.0-or-later", True),
        ("AGPL-3.0+", True),
        ("MIT AND GPL-2.0-only", True),
        ("(GPL-3.0-only)", True),
        ("MIT OR GPL-3.0-only", False),
        ("(MIT OR GPL-2.0)", False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("LGPL-3.0-only", False),
        ("MIT", False),
        ("", False),
    ],
)
def test_which_expressions_are_denied(expression: str, denied: bool) -> None:
    assert is_denied(expression, ["AGPL-3.0", "GPL-2.0", "GPL-3.0"]) is denied


def lock(**licences: str) -> str:
    packages = ",\n".join(
        f'"node_modules/{name}": {{\n"version": "1.0.0",\n"license": "{licence}"\n}}'
        for name, licence in licences.items()
    )
    return f'{{\n"packages": {{\n"": {{}},\n{packages}\n}}\n}}\n'


def test_a_denied_licence_of_a_package_is_shown_where_it_is_declared(tmp_path: Path) -> None:
    base = {"package.json": '{\n"dependencies": {\n"a": "^1.0.0"\n}\n}', "package-lock.json": lock(a="MIT")}
    head = {
        "package.json": '{\n"dependencies": {\n"a": "^1.0.0",\n"b": "^1.0.0"\n}\n}',
        "package-lock.json": lock(a="MIT", b="AGPL-3.0-only", deep="GPL-3.0"),
    }
    assert raised(Licences(), trees(tmp_path, base, head)) == [
        ("denied", "package-lock.json", 12),
        ("denied", "package.json", 4),
    ]


def test_what_the_base_has_and_what_is_allowed_is_let_be(tmp_path: Path) -> None:
    base = {"package-lock.json": lock(a="GPL-3.0")}
    assert raised(Licences(), trees(tmp_path / "a", base, {"package-lock.json": lock(a="GPL-3.0", b="ISC")})) == []
    rules = {"dependencies": {"licences_deny": ["MIT"]}}
    head = {"package-lock.json": lock(a="GPL-3.0", b="MIT")}
    assert raised(Licences(), trees(tmp_path / "b", base, head, rules=rules)) == [("denied", "package-lock.json", 8)]


def test_a_licence_that_cannot_be_known_is_said_to_be_unknown(tmp_path: Path) -> None:
    given_trees = trees(tmp_path, {"requirements.txt": "a\n"}, {"requirements.txt": "a\nb\nc\n"})
    with pytest.raises(NotRun, match="licence of b, c is not known"):
        list(Licences().run(given_trees))
    assert not Licences().required


def test_nothing_is_unknown_where_nothing_is_added(tmp_path: Path) -> None:
    assert raised(Licences(), trees(tmp_path, {"requirements.txt": "a\n"}, {"requirements.txt": "a>=1\n"})) == []


GPL = "# This program is under the terms of the GNU General Public License as\n# published; either version 3\n"


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("lib/x.py", "# SPDX-License-Identifier: GPL-3.0-or-later\nx = 1\n", 1),
        ("lib/x.c", "/* x\n * SPDX-License-Identifier: AGPL-3.0-only */\n", 2),
        ("lib/x.py", f"#!/usr/bin/python\n{GPL}x = 1\n", 1),
    ],
)
def test_a_file_of_others_under_a_denied_licence(tmp_path: Path, path: str, text: str, line: int) -> None:
    base = {"LICENSE": "MIT License\n"}
    assert raised(Licences(), trees(tmp_path, base, {**base, path: text})) == [("denied-file", path, line)]


@pytest.mark.parametrize(
    ("base", "path", "text"),
    [
        ({"LICENSE": "MIT License\n"}, "x.py", "# SPDX-License-Identifier: MIT\n"),
        ({"LICENSE": "MIT License\n"}, "x.py", "# SPDX-License-Identifier: MIT OR GPL-3.0-only\n"),
        ({"LICENSE": "MIT License\n"}, "x.py", 'x = "SPDX-License-Identifier: GPL-3.0-only"\n'),
        ({"LICENSE": "MIT License\n"}, "x.py", f'import os\nHEADER = """\n{GPL}"""\n'),
        ({"LICENSE": "GNU GENERAL PUBLIC LICENSE\nVersion 3\n"}, "x.py", "# SPDX-License-Identifier: GPL-3.0-only\n"),
        (
            {"pyproject.toml": '[project]\nlicense = "GPL-3.0-only"\n'},
            "x.py",
            "# SPDX-License-Identifier: GPL-3.0-only\n",
        ),
        ({"LICENSE": "MIT License\n"}, "notes.md", "SPDX-License-Identifier: GPL-3.0-only\n"),
    ],
)
def test_headers_that_bind_nobody(tmp_path: Path, base: dict[str, str], path: str, text: str) -> None:
    assert raised(Licences(), trees(tmp_path, base, {**base, path: text})) == []


@pytest.mark.parametrize(
    ("base", "head", "found"),
    [
        ({"LICENSE": "MIT License\n"}, {"LICENSE": "Apache License\n"}, [("own-licence", "LICENSE", 1)]),
        ({"LICENSE": "MIT License\n"}, {"a": ""}, [("own-licence", "LICENSE", 1)]),
        ({"LICENSE": "MIT License\n"}, {"LICENSE": "MIT\nLicense\n"}, []),
        ({"LICENSE": "MIT\nCopyright 2023 A\n"}, {"LICENSE": "MIT\nCopyright 2024 A and B\n"}, []),
        ({"LICENSE": "MIT\n"}, {"LICENSE.md": "MIT\n"}, []),
        ({"LICENSE": "MIT\n"}, {"LICENSE": "MIT\n\nBundled: BSD\n"}, []),
        ({"package.json": '{"license": "MIT License"}'}, {"package.json": '{"license": "MIT"}'}, []),
        ({"package.json": '{"license": "MIT"}', "LICENSE": "x"}, {"package.json": "{}", "LICENSE": "x"}, []),
        ({"a": ""}, {"LICENSE": "MIT\n"}, []),
        ({"LICENSE": "MIT\n", "lib/LICENSE": "A\n"}, {"LICENSE": "MIT\n", "lib/LICENSE": "B\n"}, []),
        (
            {"pyproject.toml": '[project]\nname = "x"\nlicense = "MIT"\n'},
            {"pyproject.toml": '[project]\nname = "x"\nlicense = "Apache-2.0"\n'},
            [("own-licence", "pyproject.toml", 3)],
        ),
        ({"package.json": '{"license": "MIT"}'}, {"package.json": "{}"}, [("own-licence", "package.json", 1)]),
        (
            {"pyproject.toml": '[project]\nname = "x"\n'},
            {"pyproject.toml": '[project]\nname = "x"\nlicense = {text = "MIT"}\n'},
            [],
        ),
    ],
)
def test_the_licence_of_the_repository(
    tmp_path: Path, base: dict[str, str], head: dict[str, str], found: list[tuple[str, str, int]]
) -> None:
    assert raised(Licences(), trees(tmp_path, base, head)) == found


# --- on its way out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requires", "severity"), [(">=3.9", "major"), (">=3.9,<3.12", None), ("", "minor"), (">=3.13", "major")]
)
def test_a_module_that_python_no_longer_has(tmp_path: Path, requires: str, severity: str | None) -> None:
    base = {"pyproject.toml": project(requires), "app/a.py": ""}
    found = list(Replaced().run(trees(tmp_path, base, {**base, "app/a.py": "import os\nfrom distutils import util\n"})))
    assert [(item.rule, item.line, item.severity) for item in found] == (
        [("removed-module", 2, severity)] if severity else []
    )


@pytest.mark.parametrize(
    ("base", "text"),
    [
        ({}, "try:\n    import imp\nexcept ImportError:\n    imp = None\n"),
        ({}, "import sys\nif sys.version_info < (3, 12):\n    import imp\n"),
        ({"imp.py": ""}, "import imp\n"),
        ({"app/a.py": "import imp\n"}, "import imp\nx = 1\n"),
        ({"requirements.txt": "legacy-cgi\n"}, "import cgi\n"),
        ({"requirements.txt": "standard-telnetlib\n"}, "import telnetlib\n"),
        ({"requirements.txt": "setuptools>=60\n"}, "from distutils.util import strtobool\n"),
        ({}, "from . import imp\nfrom .cgi import x\nimport importlib\n"),
    ],
)
def test_modules_that_are_guarded_own_or_brought_back(tmp_path: Path, base: dict[str, str], text: str) -> None:
    base = {"pyproject.toml": project(">=3.9"), "app/a.py": "", **base}
    assert raised(Replaced(), trees(tmp_path, base, {**base, "app/a.py": text})) == []


def test_a_second_library_for_the_same(tmp_path: Path) -> None:
    base = {"requirements.txt": "requests\n"}
    found = only(Replaced(), trees(tmp_path, base, {"requirements.txt": "requests\nhttpx\n"}))
    assert (found.rule, found.line, found.severity, found.confidence) == ("second-library", 2, "minor", 0.6)


@pytest.mark.parametrize(
    ("base", "head"),
    [
        ({"requirements.txt": "requests\n"}, {"requirements.txt": "httpx\n"}),
        ({"requirements.txt": "flask\n"}, {"requirements.txt": "flask\nhttpx\n"}),
        (
            {"requirements.txt": "requests\n"},
            {"requirements.txt": "requests\n", "requirements-dev.txt": "httpx\n"},
        ),
        ({"requirements.txt": "requests\nhttpx\n"}, {"requirements.txt": "requests\nhttpx>=0.27\n"}),
        ({}, {"requirements.txt": "requests\nhttpx\n"}),
    ],
)
def test_one_library_for_each_purpose(tmp_path: Path, base: dict[str, str], head: dict[str, str]) -> None:
    assert raised(Replaced(), trees(tmp_path, base, head)) == []


def test_a_module_that_is_deprecated(tmp_path: Path) -> None:
    base = {"requirements.txt": "setuptools\n", "app/a.py": ""}
    found = only(Replaced(), trees(tmp_path, base, {**base, "app/a.py": "import pkg_resources\n"}))
    assert (found.rule, found.line, found.severity) == ("deprecated", 1, "minor")


def test_what_is_deprecated(tmp_path: Path) -> None:
    head = {"requirements.txt": "nose\n", "package.json": '{"dependencies": {"request": "^2.0.0"}}'}
    assert raised(Replaced(), trees(tmp_path, {"requirements.txt": "", "package.json": "{}"}, head)) == [
        ("deprecated", "package.json", 1),
        ("deprecated", "requirements.txt", 1),
    ]


def test_a_second_lock_file(tmp_path: Path) -> None:
    base = {"a/poetry.lock": "x\n", "yarn.lock": "x\n"}
    assert raised(Replaced(), trees(tmp_path / "1", base, {**base, "a/uv.lock": "y\n"})) == [
        ("second-lock", "a/uv.lock", 1)
    ]
    assert raised(Replaced(), trees(tmp_path / "2", base, {"yarn.lock": "x\n", "a/uv.lock": "y\n"})) == []
    assert raised(Replaced(), trees(tmp_path / "3", base, {**base, "b/uv.lock": "y\n"})) == []
