"""Imports against declarations: undeclared, misplaced, removed and unused ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdlc.review_graphs.checks.techstack.undeclared import Undeclared
from sdlc.review_graphs.checks.techstack.unused import Unused
from tests.trees import Files, only, raised, trees

PROJECT = """\
[build-system]
requires = ["hatchling"]

[project]
name = "shop"
requires-python = ">=3.11"
dependencies = [
    "click>=8",
]

[project.optional-dependencies]
s3 = ["boto3>=1"]
dev = [
    "pytest>=8",
    "freezegun>=1",
    "types-pyyaml",
]
"""
BASE = {"pyproject.toml": PROJECT, "shop/__init__.py": "", "shop/cart.py": "import click\n", "tests/test_cart.py": ""}


def undeclared(folder: Path, head: Files, base: Files = BASE) -> list[tuple[str, str, int]]:
    return raised(Undeclared(), trees(folder, base, {**base, **head}))


def test_an_import_that_nothing_declares_is_found(tmp_path: Path) -> None:
    head = {**BASE, "shop/cart.py": "import click\nimport os\nimport requests\n"}
    found = only(Undeclared(), trees(tmp_path, BASE, head))
    assert (found.rule, found.file, found.line, found.severity) == ("undeclared", "shop/cart.py", 3, "major")
    assert "requests" in found.message
    assert "pyproject.toml" in found.message
    assert len(found.message) <= 300


@pytest.mark.parametrize(
    ("line", "distribution"),
    [
        ("import yaml", "pyyaml"),
        ("from PIL import Image", "pillow"),
        ("import sklearn.linear_model", "scikit-learn"),
        ("from bs4 import BeautifulSoup", "beautifulsoup4"),
        ("import jwt", "pyjwt"),
        ("from google.cloud import storage", "the distribution of `google.cloud.storage`"),
        ("import some_rare_thing", "some-rare-thing"),
    ],
)
def test_the_distribution_that_is_meant_is_named(tmp_path: Path, line: str, distribution: str) -> None:
    found = only(Undeclared(), trees(tmp_path, BASE, {**BASE, "shop/cart.py": f"import click\n{line}\n"}))
    assert distribution in found.message


def test_it_is_milder_in_tests_and_scripts_and_where_it_is_not_certain(tmp_path: Path) -> None:
    head = {
        **BASE,
        "tests/test_cart.py": "import responses\n",
        "scripts/load.py": "import requests\n",
        "shop/cart.py": "import click\ndef f():\n    import httpx\n",
    }
    found = {item.file: item for item in Undeclared().run(trees(tmp_path, BASE, head))}
    assert found["tests/test_cart.py"].severity == "minor"
    assert found["scripts/load.py"].severity == "minor"
    assert (found["shop/cart.py"].severity, found["shop/cart.py"].confidence) == ("major", 0.8)


def test_what_only_the_development_group_has_is_misplaced_in_the_package(tmp_path: Path) -> None:
    head = {**BASE, "shop/cart.py": "import click\nfrom freezegun import freeze_time\n"}
    found = only(Undeclared(), trees(tmp_path, BASE, head))
    assert (found.rule, found.line, found.severity) == ("misplaced", 2, "major")


def test_what_only_the_build_has_is_misplaced_as_well(tmp_path: Path) -> None:
    base = {**BASE, "pyproject.toml": PROJECT.replace("hatchling", "setuptools>=60")}
    head = {**base, "shop/cart.py": "import click\nimport pkg_resources\n"}
    found = only(Undeclared(), trees(tmp_path, base, head))
    assert found.rule == "misplaced"
    assert "for the build only" in found.message


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("tests/test_cart.py", "import pytest\nimport freezegun\n"),
        ("scripts/make.py", "import freezegun\n"),
        ("conftest.py", "import freezegun\n"),
        ("shop/cart.py", "import click\ntry:\n    import freezegun\nexcept ImportError:\n    freezegun = None\n"),
        ("shop/cart.py", "import click\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import freezegun\n"),
        ("shop/testing/plugin.py", "import pytest\n"),
        ("shop/cart.py", "import click\nimport boto3\n"),
    ],
)
def test_what_users_do_not_run_may_import_the_development_group(tmp_path: Path, path: str, text: str) -> None:
    assert undeclared(tmp_path, {path: text}) == []


@pytest.mark.parametrize(
    "text",
    [
        "import click\nimport sys, json, distutils.core, tomllib\n",
        "import click\nimport shop.cart\nfrom . import other\nfrom shop import x\n",
        "import click\ntry:\n    import ujson as json\nexcept ImportError:\n    import json\n",
        "import click\ntry:\n    import ujson\nexcept (ImportError, AttributeError):\n    import simplejson\n",
        "import click\nfrom contextlib import suppress\nwith suppress(ImportError):\n    import ujson\n",
        "import click\nimport sys\nif sys.platform == 'win32':\n    import win32api\n",
        "import click\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mypy_boto3_s3 import S3Client\n",
        "import click\nimport importlib.util\nif importlib.util.find_spec('rich'):\n    import rich\n",
        "import click\nimport sys\nsys.path.insert(0, 'lib')\nimport anything\n",
        "import click\nfrom shop_pb2 import Order\n",
        "import click\nimport bpy\n",
        '# /// script\n# dependencies = ["requests"]\n# ///\nimport click\nimport requests\n',
        "import click\ndef (:\nimport requests\n",
        "import click  # import requests\n'''\nimport requests\n'''\n",
        "",
    ],
)
def test_what_is_declared_own_guarded_or_of_the_host_is_let_be(tmp_path: Path, text: str) -> None:
    assert undeclared(tmp_path, {"shop/cart.py": text}) == []


@pytest.mark.parametrize(
    ("dependency", "line"),
    [
        ("opencv-python-headless", "import cv2"),
        ("python-dateutil", "from dateutil import parser"),
        ("Django", "import django.conf"),
        ("djangorestframework", "import rest_framework"),
        ("acme-platform-sdk", "import acme"),
        ("python-acme", "import acme"),
        ("acmelib", "import acme_lib"),
        ("google-cloud-storage", "from google.cloud import storage"),
        ("ruamel.yaml", "import ruamel.yaml"),
        ("protobuf", "import google.protobuf"),
        ("zope.interface", "import zope.interface"),
        ("azure-storage-blob", "from azure.storage.blob import BlobClient"),
        ("psycopg[binary]", "import psycopg"),
        ("pywin32; sys_platform == 'win32'", "import win32api"),
        ("attrs", "import attr, attrs"),
        ("django-redis", "import redis"),
        ("scikit-learn @ git+https://example.com/s.git@abcdef0", "import sklearn"),
    ],
)
def test_declared_under_another_name_is_declared(tmp_path: Path, dependency: str, line: str) -> None:
    base = {**BASE, "pyproject.toml": PROJECT.replace('"click>=8",', f'"click>=8",\n    "{dependency}",')}
    assert undeclared(tmp_path, {"shop/cart.py": f"import click\n{line}\n"}, base) == []


def test_stubs_declare_nothing(tmp_path: Path) -> None:
    assert undeclared(tmp_path, {"shop/cart.py": "import click\nimport yaml\n"}) == [("undeclared", "shop/cart.py", 2)]


@pytest.mark.parametrize(
    "there",
    [
        {"tools_of_ours.py": ""},
        {"src/tools_of_ours/__init__.py": ""},
        {"lib/tools_of_ours/deep/one.py": ""},
        {"shop/tools_of_ours.py": ""},
        {"tools_of_ours.pyx": ""},
        {".gitmodules": '[submodule "x"]\n\tpath = vendor/tools-of-ours\n\turl = https://example.com/x\n'},
        {"Dockerfile": "FROM python:3.12\nRUN pip install tools-of-ours\n"},
        {"environment.yml": "dependencies:\n  - tools_of_ours=1\n"},
    ],
)
def test_what_the_repository_has_or_installs_itself_is_known(tmp_path: Path, there: dict[str, str]) -> None:
    assert undeclared(tmp_path, {"shop/cart.py": "import click\nimport tools_of_ours\n"}, {**BASE, **there}) == []


def test_a_path_of_its_own_hides_no_distribution_that_is_known(tmp_path: Path) -> None:
    text = "import click\nimport sys\nsys.path.insert(0, 'lib')\nimport requests\n"
    assert undeclared(tmp_path, {"shop/cart.py": text}) == [("undeclared", "shop/cart.py", 4)]


def test_a_module_inside_a_package_hides_no_distribution(tmp_path: Path) -> None:
    base = {**BASE, "shop/plugins/__init__.py": "", "shop/plugins/redis.py": ""}
    found = undeclared(tmp_path, {"shop/cart.py": "import click\nimport redis\n"}, base)
    assert found == [("undeclared", "shop/cart.py", 2)]


@pytest.mark.parametrize(
    "base",
    [
        {"shop/__init__.py": ""},
        {"pyproject.toml": "[tool.ruff]\nline-length = 100\n", "shop/__init__.py": ""},
        {"setup.py": "from setuptools import setup\nsetup(install_requires=read())\n", "shop/__init__.py": ""},
        {"pyproject.toml": '[project]\nname = "x"\ndynamic = ["dependencies"]\n', "shop/__init__.py": ""},
        {"pyproject.toml": "[[[", "shop/__init__.py": ""},
    ],
)
def test_where_no_list_can_be_read_nothing_is_said(tmp_path: Path, base: dict[str, str]) -> None:
    assert undeclared(tmp_path, {"shop/cart.py": "import requests\n"}, base) == []


def test_what_the_base_imports_already_is_not_new(tmp_path: Path) -> None:
    base = {**BASE, "shop/old.py": "import requests\n"}
    assert undeclared(tmp_path, {"shop/cart.py": "import click\nimport requests\n"}, base) == []


@pytest.mark.parametrize(
    "text", ["import os, requests as r\n", "def f():\n    from requests.auth import x\n", "import requests;x = 1\n"]
)
def test_the_base_is_searched_for_imports_of_all_forms(tmp_path: Path, text: str) -> None:
    base = {**BASE, "shop/old.py": text}
    assert undeclared(tmp_path, {"shop/cart.py": "import click\nimport requests\n"}, base) == []


def test_a_guard_or_a_test_on_the_base_is_no_excuse(tmp_path: Path) -> None:
    base = {
        **BASE,
        "shop/old.py": "try:\n    import requests\nexcept ImportError:\n    requests = None\n",
        "tests/test_old.py": "import httpx\n",
    }
    found = undeclared(tmp_path, {"shop/cart.py": "import click\nimport requests\nimport httpx\n"}, base)
    assert found == [("undeclared", "shop/cart.py", 2), ("undeclared", "shop/cart.py", 3)]


def test_only_added_lines_count(tmp_path: Path) -> None:
    base = {**BASE, "shop/cart.py": "import click\nimport requests\nx = 1\n"}
    assert undeclared(tmp_path, {"shop/cart.py": "import click\nimport requests\nx = 2\n"}, base) == []


def test_what_another_dependency_brings_is_milder(tmp_path: Path) -> None:
    base = {**BASE, "pyproject.toml": PROJECT.replace('"click>=8"', '"click>=8", "fastapi>=0.1"')}
    found = only(Undeclared(), trees(tmp_path, base, {**base, "shop/cart.py": "import click\nimport starlette\n"}))
    assert (found.rule, found.severity) == ("transitive", "minor")
    assert "fastapi" in found.message


@pytest.mark.parametrize(
    "lock",
    [
        {"uv.lock": '[[package]]\nname = "requests"\nversion = "2.31.0"\n'},
        {"requirements.txt": "# autogenerated by pip-compile\nrequests==2.31.0\n    # via click\n"},
    ],
)
def test_what_the_lock_file_has_is_milder(tmp_path: Path, lock: dict[str, str]) -> None:
    base = {**BASE, **lock}
    head = {**base, "shop/cart.py": "import click\nimport requests\n"}
    assert only(Undeclared(), trees(tmp_path, base, head)).rule == "transitive"


def test_a_compiled_file_declares_where_there_is_nothing_else(tmp_path: Path) -> None:
    base = {"requirements.txt": "# pip-compile\nrequests==2.31.0\n", "app.py": ""}
    assert undeclared(tmp_path, {"app.py": "import requests\n"}, base) == []


def test_skipped_tests_may_import_what_is_missing(tmp_path: Path) -> None:
    text = 'import pytest\npytest.importorskip("torch")\nimport torch\n'
    assert undeclared(tmp_path, {"tests/test_cart.py": text}) == []


def test_a_part_of_a_repository_is_held_against_its_own_manifest(tmp_path: Path) -> None:
    other = '[project]\nname = "other"\ndependencies = ["requests"]\n'
    base = {
        "a/pyproject.toml": PROJECT,
        "a/shop/__init__.py": "",
        "b/pyproject.toml": other,
        "b/other/__init__.py": "",
    }
    head = {"a/shop/__init__.py": "import requests\n", "b/other/__init__.py": "import requests\n"}
    assert undeclared(tmp_path, head, base) == [("undeclared", "a/shop/__init__.py", 1)]


@pytest.mark.parametrize(
    "content", [b"\xff\xfeimport requests\n", "import requests\0\n", "(" * 2_000, "import requests"]
)
def test_odd_files_do_not_crash(tmp_path: Path, content: str | bytes) -> None:
    undeclared(tmp_path, {"shop/cart.py": content})


def test_line_ends_of_windows(tmp_path: Path) -> None:
    found = undeclared(tmp_path, {"shop/cart.py": "import click\r\nimport requests\r\n"})
    assert found == [("undeclared", "shop/cart.py", 2)]


def test_a_renamed_file_and_a_deleted_one(tmp_path: Path) -> None:
    base = {**BASE, "shop/old.py": "import click\nx = 1\ny = 2\n", "shop/gone.py": "import requests\n"}
    head = {**BASE, "shop/new.py": "import click\nx = 1\ny = 2\nimport httpx\n"}
    given = trees(tmp_path, base, head, renamed={"shop/new.py": "shop/old.py"})
    assert raised(Undeclared(), given) == [("undeclared", "shop/new.py", 4)]


# --- removed -----------------------------------------------------------------------------------------------------


def test_a_dependency_that_is_taken_out_and_still_imported(tmp_path: Path) -> None:
    base = {
        **BASE,
        "pyproject.toml": PROJECT.replace('"click>=8",', '"click>=8",\n    "pyyaml>=6",'),
        "shop/a.py": "import yaml\n",
    }
    head = {**base, "pyproject.toml": PROJECT}
    found = only(Undeclared(), trees(tmp_path, base, head))
    assert (found.rule, found.file, found.line, found.severity) == ("removed", "pyproject.toml", 8, "major")
    assert "shop/a.py:1" in found.message


@pytest.mark.parametrize(
    "text",
    ["import json\n", "try:\n    import yaml\nexcept ImportError:\n    yaml = None\n", "# import yaml\n"],
)
def test_a_dependency_may_go_where_nothing_needs_it(tmp_path: Path, text: str) -> None:
    base = {
        **BASE,
        "pyproject.toml": PROJECT.replace('"click>=8",', '"click>=8",\n    "pyyaml>=6",'),
        "shop/a.py": text,
    }
    assert raised(Undeclared(), trees(tmp_path, base, {**base, "pyproject.toml": PROJECT})) == []


def test_another_distribution_may_take_its_place(tmp_path: Path) -> None:
    base = {
        **BASE,
        "pyproject.toml": PROJECT.replace('"click>=8",', '"click>=8",\n    "psycopg2>=2",'),
        "shop/a.py": "import psycopg2\n",
    }
    head = {**base, "pyproject.toml": base["pyproject.toml"].replace("psycopg2", "psycopg2-binary")}
    assert raised(Undeclared(), trees(tmp_path, base, head)) == []


def test_a_dependency_that_moves_to_development_and_is_needed_by_users(tmp_path: Path) -> None:
    base = {
        **BASE,
        "pyproject.toml": PROJECT.replace('"click>=8",', '"click>=8",\n    "rich>=13",'),
        "shop/a.py": "import rich\n",
    }
    head = {**base, "pyproject.toml": PROJECT.replace('"pytest>=8",', '"pytest>=8",\n    "rich>=13",')}
    found = only(Undeclared(), trees(tmp_path, base, head))
    assert (found.rule, found.line) == ("misplaced", 15)


def test_a_dependency_may_move_between_files(tmp_path: Path) -> None:
    base = {"requirements.txt": "click\n", "app/__init__.py": "import click\n"}
    head = {"pyproject.toml": PROJECT, "app/__init__.py": "import click\n"}
    assert raised(Undeclared(), trees(tmp_path, base, head)) == []


# --- JavaScript --------------------------------------------------------------------------------------------------

PACKAGE = """\
{
  "name": "web",
  "dependencies": {
    "react": "^18.0.0"
  },
  "devDependencies": {
    "vitest": "^1.0.0"
  }
}
"""
WEB = {"package.json": PACKAGE, "src/a.ts": "import React from 'react';\n", "tsconfig.json": "{}"}


@pytest.mark.parametrize(
    "line",
    [
        "import axios from 'axios';",
        'import "axios/dist/axios";',
        'import { get } from "axios"',
        "const axios = require('axios');",
        "export { get } from 'axios';",
        "const a = await import('axios');",
        "import {\n  get,\n} from 'axios';",
    ],
)
def test_a_package_that_nothing_declares_is_found(tmp_path: Path, line: str) -> None:
    found = only(Undeclared(), trees(tmp_path, WEB, {**WEB, "src/b.ts": f"{line}\n"}))
    assert (found.rule, found.file, found.severity) == ("undeclared", "src/b.ts", "major")
    assert "`axios`" in found.message


@pytest.mark.parametrize(
    "text",
    [
        "import fs from 'fs';\nimport { join } from 'node:path';\nimport promises from 'fs/promises';\n",
        "import a from './a';\nimport b from '../b';\nimport c from '/c';\n",
        "import a from '@/a';\nimport b from '~/b';\nimport c from '#c';\nimport d from '$lib/d';\n",
        "import React from 'react';\nimport x from 'react/jsx-runtime';\nimport { test } from 'vitest';\n",
        "import self from 'web';\n",
        "// import axios from 'axios';\n/* import axios\n from 'axios' */\n * import axios from 'axios';\n",
        "const s = \"import axios from 'axios'\";\n",
        "import x from 'https://example.com/x.js';\nimport y from 'virtual:pwa';\nimport z from 'npm:zod';\n",
        "try {\n  require('fsevents');\n} catch {}\n",
        "import * as vscode from 'vscode';\n",
        "",
    ],
)
def test_builtins_paths_and_guards_of_javascript_are_let_be(tmp_path: Path, text: str) -> None:
    assert raised(Undeclared(), trees(tmp_path, WEB, {**WEB, "src/b.ts": text})) == []


@pytest.mark.parametrize(
    "there",
    [
        {"tsconfig.json": '{"compilerOptions": {"paths": {"ours/*": ["src/*"]}}}'},
        {"vite.config.ts": "export default { resolve: { alias: { 'ours': '/src' } } }"},
        {"tsconfig.json": '{"compilerOptions": {"baseUrl": "src"}}', "src/ours/thing.ts": ""},
        {"types.d.ts": "declare module 'ours/thing' {}\n"},
        {"packages/ours/package.json": '{"name": "ours"}'},
        {
            "package.json": PACKAGE.replace(
                '"name"', '"jest": {"moduleNameMapper": {"^ours/(.*)$": "<rootDir>/$1"}},\n  "name"'
            )
        },
        {"package.json": PACKAGE.replace('"vitest"', '"@types/ours"')},
    ],
)
def test_aliases_and_packages_of_the_repository_are_known(tmp_path: Path, there: dict[str, str]) -> None:
    base = {**WEB, **there}
    assert raised(Undeclared(), trees(tmp_path, base, {**base, "src/b.ts": "import x from 'ours/thing';\n"})) == []


def test_a_scoped_package_is_named_whole_and_one_in_the_lock_is_milder(tmp_path: Path) -> None:
    base = {**WEB, "package-lock.json": '{"packages": {"node_modules/@acme/x": {"version": "1.0.0"}}}'}
    found = only(Undeclared(), trees(tmp_path, base, {**base, "src/b.ts": "import x from '@acme/x/y';\n"}))
    assert (found.rule, found.severity) == ("transitive", "minor")
    assert "`@acme/x`" in found.message


def test_a_package_that_the_base_imports_already_is_not_new(tmp_path: Path) -> None:
    base = {**WEB, "src/old.ts": "import axios from 'axios';\n"}
    assert raised(Undeclared(), trees(tmp_path, base, {**base, "src/b.ts": "import axios from 'axios';\n"})) == []


def test_a_package_that_is_taken_out_and_still_imported(tmp_path: Path) -> None:
    head = {**WEB, "package.json": '{\n  "name": "web",\n  "dependencies": {}\n}\n'}
    found = only(Undeclared(), trees(tmp_path, WEB, head))
    assert (found.rule, found.file) == ("removed", "package.json")


# --- unused ------------------------------------------------------------------------------------------------------


def unused(folder: Path, dependency: str, more: Files | None = None, base: Files = BASE) -> list[tuple[str, str, int]]:
    head = {
        **base,
        "pyproject.toml": PROJECT.replace('"click>=8",', f'"click>=8",\n    "{dependency}",'),
        **(more or {}),
    }
    return raised(Unused(), trees(folder, base, head))


def test_a_dependency_that_nothing_names_is_found(tmp_path: Path) -> None:
    assert unused(tmp_path, "tenacity>=8", {"README.md": "We use tenacity.\n"}) == [("unused", "pyproject.toml", 9)]


@pytest.mark.parametrize(
    ("dependency", "more"),
    [
        ("tenacity", {"shop/cart.py": "import tenacity\n"}),
        ("pyyaml", {"shop/cart.py": "def f():\n    import yaml\n"}),
        ("tenacity", {"shop/cart.py": "try:\n    import tenacity\nexcept ImportError:\n    pass\n"}),
        ("acme-platform-sdk", {"shop/cart.py": "import acme\n"}),
        ("tenacity", {"shop/cart.py": 'importlib.import_module("tenacity")\n'}),
        ("tenacity", {"Dockerfile": "RUN tenacity --help\n"}),
        ("tenacity", {"conf/app.yml": "plugins: [tenacity]\n"}),
        ("uvicorn>=0.3", {}),
        ("pytest-django", {}),
        ("psycopg[binary]", {}),
        ("types-requests", {}),
        ("django-cors-headers", {}),
        ("tenacity; python_version < '3.12'", {}),
        ("tenacity @ git+https://example.com/t.git@abcdef0", {}),
    ],
)
def test_what_is_imported_named_or_taken_at_run_time_is_used(
    tmp_path: Path, dependency: str, more: dict[str, str]
) -> None:
    assert unused(tmp_path, dependency, more) == []


def test_an_entry_in_the_same_manifest_names_it(tmp_path: Path) -> None:
    text = PROJECT.replace('"click>=8",', '"click>=8",\n    "tenacity",') + "\n[tool.tenacity]\nx = 1\n"
    assert raised(Unused(), trees(tmp_path, BASE, {**BASE, "pyproject.toml": text})) == []


def test_a_comment_beside_it_explains_it(tmp_path: Path) -> None:
    text = PROJECT.replace(
        '"click>=8",', '"click>=8",\n    # CVE-2024-1: the version that click takes has a hole\n    "tenacity>=8",'
    )
    assert raised(Unused(), trees(tmp_path, BASE, {**BASE, "pyproject.toml": text})) == []


def test_what_the_lock_of_the_base_has_is_declared_for_its_version(tmp_path: Path) -> None:
    base = {**BASE, "uv.lock": '[[package]]\nname = "tenacity"\nversion = "8.0"\n'}
    assert unused(tmp_path, "tenacity>=8", base=base) == []


def test_development_and_optional_groups_are_not_asked(tmp_path: Path) -> None:
    text = PROJECT.replace('"pytest>=8",', '"pytest>=8",\n    "tenacity",').replace(
        '["boto3>=1"]', '["boto3>=1", "arrow"]'
    )
    assert raised(Unused(), trees(tmp_path, BASE, {**BASE, "pyproject.toml": text})) == []


def test_a_repository_without_code_uses_what_it_lists_otherwise(tmp_path: Path) -> None:
    base = {"requirements.txt": "mkdocs\n"}
    assert raised(Unused(), trees(tmp_path, base, {"requirements.txt": "mkdocs\ntenacity\n"})) == []


def test_an_unused_package_of_npm(tmp_path: Path) -> None:
    head = {**WEB, "package.json": PACKAGE.replace('"react"', '"left-pad": "^1.0.0",\n    "react"')}
    assert raised(Unused(), trees(tmp_path, WEB, head)) == [("unused", "package.json", 4)]


@pytest.mark.parametrize(
    ("package", "more"),
    [
        ("left-pad", {"src/a.ts": "import x from 'left-pad';\n"}),
        ("left-pad", {"index.html": "<script src='/node_modules/left-pad/x.js'>\n"}),
        (
            "left-pad",
            {"package-lock.json": '{"packages": {"node_modules/x": {"peerDependencies": {"left-pad": "^1"}}}}'},
        ),
        ("eslint-config-x", {}),
        ("@types/node", {}),
        ("react-dom", {}),
    ],
)
def test_a_package_of_npm_that_is_named_or_expected_is_used(tmp_path: Path, package: str, more: dict[str, str]) -> None:
    head = {**WEB, "package.json": PACKAGE.replace('"react"', f'"{package}": "^1.0.0",\n    "react"'), **more}
    assert raised(Unused(), trees(tmp_path, WEB, head)) == []
