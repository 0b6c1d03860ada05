"""Versions that declarations accept, where they come from, lock files, and names that are slips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdlc.review_graphs.checks.techstack.allowed import Allowed
from sdlc.review_graphs.checks.techstack.invented import Invented
from sdlc.review_graphs.checks.techstack.pins import Pins
from tests.trees import Files, only, raised, trees

PROJECT = """\
[build-system]
requires = ["hatchling"]

[project]
name = "lib"
version = "1.0.0"
dependencies = [
    "click>=8,<9",
    "requests>=2.31,<3",
    "rich>=13,<14",
]

[project.optional-dependencies]
dev = ["pytest>=8"]
"""
BASE = {"pyproject.toml": PROJECT, "lib/__init__.py": ""}


def with_line(line: str) -> dict[str, str]:
    return {
        "pyproject.toml": PROJECT.replace('"click>=8,<9",', f'"click>=8,<9",\n    "{line}",'),
        "lib/__init__.py": "",
    }


def instead(old: str, new: str) -> dict[str, str]:
    return {"pyproject.toml": PROJECT.replace(old, new), "lib/__init__.py": ""}


def pins(folder: Path, head: Files, base: Files = BASE) -> list[tuple[str, str, int]]:
    return raised(Pins(), trees(folder, base, head))


@pytest.mark.parametrize(
    ("line", "rule", "severity"),
    [
        ("httpx", "unbounded", "minor"),
        ("httpx==0.27.0", "pin-in-library", "minor"),
        ("httpx>=0.28rc1,<1", "pre-release", "minor"),
        ("httpx @ git+https://example.com/httpx.git@main", "moving-source", "major"),
        ("httpx @ git+https://example.com/httpx.git", "moving-source", "major"),
        ("httpx @ git+https://example.com/httpx.git@0123456789abcdef", "not-from-index", "minor"),
        ("httpx @ git+ssh://git@example.com/x/httpx.git@v1.2.0", "not-from-index", "minor"),
        ("httpx @ https://example.com/latest/httpx.zip", "moving-source", "major"),
        ("httpx @ file:///home/me/httpx", "local-path", "major"),
        ("httpx @ http://example.com/httpx-1.0.0.zip", "http", "major"),
        ("click>=9", "contradiction", "major"),
    ],
)
def test_a_declaration_that_goes_wrong(tmp_path: Path, line: str, rule: str, severity: str) -> None:
    found = only(Pins(), trees(tmp_path, BASE, with_line(line)))
    assert (found.rule, found.file, found.line, found.severity) == (rule, "pyproject.toml", 9, severity)
    assert len(found.message) <= 300


@pytest.mark.parametrize(
    "line",
    [
        "httpx>=0.27,<1",
        "httpx>=0.27",
        "httpx~=0.27",
        "httpx @ https://example.com/httpx-1.0.0-py3-none-any.whl",
        "opentelemetry-sdk>=0.50b0,<1",
        "types-requests",
        "tomli>=2; python_version < '3.11'",
        "colorama==0.4.6; sys_platform == 'win32'",
        "click<8.2; python_version < '3.8'",
        "click>=8.1",
        "lib[extra]>=1,<2",
    ],
)
def test_a_declaration_that_is_right(tmp_path: Path, line: str) -> None:
    assert pins(tmp_path, with_line(line)) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("click>=8,<9", "click>=8", [("bound-dropped", "pyproject.toml", 8)]),
        ("click>=8,<9", "click<9", [("bound-dropped", "pyproject.toml", 8)]),
        ("click>=8,<9", "click", [("unbounded", "pyproject.toml", 8)]),
        ("click>=8,<9", "click>=8,<10", []),
        ("click>=8,<9", "click>=8.1,<9", []),
        ("click>=8,<9", "click~=8.1", []),
        ("pytest>=8", "pytest", []),
        ('"pytest>=8"', '"pytest>=8", "lib[extra]", "ruff", "mypy"', []),
        ("requests>=2.31,<3", "requests[socks]>=2.31,<3", []),
    ],
)
def test_a_bound_that_goes(tmp_path: Path, old: str, new: str, found: list[tuple[str, str, int]]) -> None:
    assert pins(tmp_path, instead(old, new)) == found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("httpx==0.27.0", "httpx==0.28.0"),
        ("httpx", "httpx[http2]"),
        ("httpx>=0.27rc1,<1", "httpx>=0.28rc1,<1"),
        ("httpx @ git+https://example.com/httpx.git@main", "httpx @ git+https://example.com/httpx.git@next"),
    ],
)
def test_what_was_so_before_is_not_said_again(tmp_path: Path, before: str, after: str) -> None:
    assert pins(tmp_path, with_line(after), with_line(before)) == []


def test_bounds_are_a_custom_of_the_file_or_they_are_none(tmp_path: Path) -> None:
    base = {"pyproject.toml": '[project]\nname = "x"\ndependencies = ["a", "b", "c>=1"]\n'}
    head = {"pyproject.toml": '[project]\nname = "x"\ndependencies = ["a", "b", "c>=1", "d"]\n'}
    assert pins(tmp_path, head, base) == []


def test_an_upper_bound_may_go_where_the_others_have_none(tmp_path: Path) -> None:
    base = {"requirements.txt": "a>=1\nb>=2\nc>=1,<2\n"}
    assert pins(tmp_path, {"requirements.txt": "a>=1\nb>=2\nc>=1\n"}, base) == []


def test_a_bound_may_go_among_the_tools_of_development(tmp_path: Path) -> None:
    base = {"requirements-dev.txt": "a==1\nb==2\nc==1\n"}
    assert pins(tmp_path, {"requirements-dev.txt": "a==1\nb==2\nc>=1\n"}, base) == []


def test_a_pin_is_no_finding_in_an_application(tmp_path: Path) -> None:
    assert pins(tmp_path, {"requirements.txt": "a==1\nb==2\nc==3\n"}, {"requirements.txt": "a==1\nb==2\n"}) == []


def test_what_stands_on_the_base_is_not_said_again(tmp_path: Path) -> None:
    base = with_line("httpx @ git+https://example.com/httpx.git@main")
    head = {**base, "pyproject.toml": base["pyproject.toml"].replace('"pytest>=8"', '"pytest>=8", "ruff>=0.5"')}
    assert pins(tmp_path, head, base) == []


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ('"*"', ["moving"]),
        ('"latest"', ["moving"]),
        ('""', ["moving"]),
        ('"^1.0.0"', []),
        ('"1.x"', []),
        ('"workspace:*"', []),
        ('"github:acme/x"', ["moving-source"]),
        ('"acme/x#v1.2.3"', ["not-from-index"]),
        ('"git+https://example.com/x.git#0123456789abcdef0123456789abcdef01234567"', ["not-from-index"]),
        ('"file:../../elsewhere"', ["local-path"]),
        ('"file:packages/x"', []),
        ('"http://example.com/x-1.0.0.tgz"', ["http"]),
        ('"2.0.0-beta.1"', ["pre-release"]),
    ],
)
def test_versions_in_package_json(tmp_path: Path, spec: str, found: list[str]) -> None:
    base = {"package.json": '{\n  "dependencies": {\n    "a": "^1.0.0"\n  }\n}\n', "packages/x/index.js": ""}
    head = {**base, "package.json": base["package.json"].replace('"^1.0.0"', f'"^1.0.0",\n    "x": {spec}')}
    assert [rule for rule, _, line in pins(tmp_path, head, base) if line == 4] == found


def test_a_replacement_that_leaves_the_repository(tmp_path: Path) -> None:
    base = {"go.mod": "module a\n\nrequire example.com/b v1.0.0\n", "sub/b/go.mod": "module example.com/b\n"}
    away = {**base, "go.mod": base["go.mod"] + "\nreplace example.com/b => ../b\n"}
    inside = {**base, "go.mod": base["go.mod"] + "\nreplace example.com/b => ./sub/b\n"}
    fork = {**base, "go.mod": base["go.mod"] + "\nreplace example.com/b => example.com/fork v1.0.1\n"}
    assert pins(tmp_path / "a", away, base) == [("local-path", "go.mod", 5)]
    assert pins(tmp_path / "b", inside, base) == []
    assert pins(tmp_path / "c", fork, base) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("requirements.txt", "--extra-index-url http://pypi.example.com/simple\n"),
        ("requirements.txt", "--find-links=http://user:word@example.com/wheels\n"),
        (".npmrc", "registry=http://npm.example.com/\n"),
        ("pip.conf", "[global]\nindex-url = http://pypi.example.com/simple\n"),
        ("pyproject.toml", '[[tool.uv.index]]\nurl = "http://pypi.example.com/simple"\n'),
        ("pyproject.toml", '[[tool.poetry.source]]\nname = "x"\nurl = "http://pypi.example.com/simple"\n'),
        ("Pipfile", '[[source]]\nurl = "http://pypi.example.com/simple"\n'),
    ],
)
def test_packages_without_encryption(tmp_path: Path, path: str, text: str) -> None:
    found = only(Pins(), trees(tmp_path, {}, {path: text}))
    assert (found.rule, found.severity) == ("http", "major")
    assert "word" not in found.message


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("requirements.txt", "--index-url https://pypi.example.com/simple\n# http://example.com\n"),
        ("requirements.txt", "--index-url http://localhost:3141/root/pypi\n"),
        (".npmrc", "proxy=http://proxy.example.com:3128\n"),
        ("pyproject.toml", '[project]\nname = "x"\n\n[project.urls]\nrepository = "http://example.com/x"\n'),
        ("package.json", '{"homepage": "http://example.com/@x", "repository": {"url": "http://example.com/x"}}\n'),
        ("README.md", "http://pypi.example.com/simple\n"),
    ],
)
def test_addresses_from_which_nothing_is_fetched(tmp_path: Path, path: str, text: str) -> None:
    assert raised(Pins(), trees(tmp_path, {}, {path: text})) == []


HASHED = "a==1.0 \\\n    --hash=sha256:aa\nb==1.0 \\\n    --hash=sha256:bb\n"


def test_one_without_a_hash_among_others(tmp_path: Path) -> None:
    head = {"requirements.txt": HASHED + "c==1.0\n"}
    assert pins(tmp_path, head, {"requirements.txt": HASHED}) == [("no-hash", "requirements.txt", 5)]


def test_hashes_everywhere_or_nowhere(tmp_path: Path) -> None:
    more = {"requirements.txt": HASHED + "c==1.0 --hash=sha256:cc\n"}
    assert pins(tmp_path / "a", more, {"requirements.txt": HASHED}) == []
    mixed = HASHED + "c==1.0\n"
    assert pins(tmp_path / "b", {"requirements.txt": mixed + "d==1.0\n"}, {"requirements.txt": mixed}) == []


def test_two_declarations_that_exclude_each_other(tmp_path: Path) -> None:
    base = {"requirements.txt": "a==1.0\n", "requirements-dev.txt": "-r requirements.txt\npytest==8.0\n"}
    head = {**base, "requirements-dev.txt": "-r requirements.txt\npytest==8.0\na>=2\n"}
    found = only(Pins(), trees(tmp_path, base, head))
    assert (found.rule, found.file, found.line) == ("contradiction", "requirements-dev.txt", 3)
    assert "requirements.txt:1" in found.message


def test_a_pin_beside_the_package_that_its_range_refuses(tmp_path: Path) -> None:
    base = {"pyproject.toml": PROJECT, "requirements.txt": "click==8.1.0\n"}
    head = {**base, "pyproject.toml": PROJECT.replace("click>=8,<9", "click>=9,<10")}
    found = only(Pins(), trees(tmp_path, base, head))
    assert (found.rule, found.file, found.line) == ("contradiction", "pyproject.toml", 8)


@pytest.mark.parametrize(
    ("main", "other"),
    [
        ("torch>=2", 'cpu = ["torch>=2.1"]'),
        ("torch; sys_platform == 'linux'", 'cpu = ["torch<2"]'),
        ("numpy", 'one = ["torch<2"]\ntwo = ["torch>=2"]'),
    ],
)
def test_declarations_that_fit_or_are_never_installed_together(tmp_path: Path, main: str, other: str) -> None:
    text = f'[project]\nname = "x"\ndependencies = ["{main}"]\n\n[project.optional-dependencies]\n{other}\n'
    assert pins(tmp_path, {"pyproject.toml": text}, {}) == []


def test_requirements_that_do_not_include_each_other_may_differ(tmp_path: Path) -> None:
    base = {"requirements-a.txt": "x==1\n", "requirements-b.txt": "x==1\n"}
    assert pins(tmp_path, {**base, "requirements-b.txt": "x==2\n"}, base) == []


UV = '[[package]]\nname = "click"\nversion = "8.1.7"\n\n[[package]]\nname = "requests"\nversion = "2.31.0"\n\n' + (
    '[[package]]\nname = "rich"\nversion = "13.0"\n\n[[package]]\nname = "pytest"\nversion = "8.0"\n'
)


@pytest.mark.parametrize(
    ("change", "is_stale"),
    [
        (with_line("httpx>=0.27,<1"), True),
        (instead("click>=8,<9", "click>=8.2,<9"), True),
        (instead("click>=8,<9", "click>=8.1,<9"), False),
        (instead('    "rich>=13,<14",\n', ""), False),
        (instead('["pytest>=8"]', '["pytest>=8", "mypy>=1"]'), True),
        (instead('version = "1.0.0"', 'version = "1.0.1"'), False),
    ],
)
def test_the_lock_file_has_to_follow(tmp_path: Path, change: dict[str, str], is_stale: bool) -> None:
    found = pins(tmp_path, {**change, "uv.lock": UV}, {**BASE, "uv.lock": UV})
    assert [rule for rule, _, _ in found] == (["lock-not-updated"] if is_stale else [])


def test_a_lock_file_that_follows(tmp_path: Path) -> None:
    lock = UV + '\n[[package]]\nname = "httpx"\nversion = "0.27.2"\n'
    assert pins(tmp_path, {**with_line("httpx>=0.27,<1"), "uv.lock": lock}, {**BASE, "uv.lock": UV}) == []


def test_a_lock_file_that_does_not_cover_a_group_says_nothing_of_it(tmp_path: Path) -> None:
    lock = UV.replace("pytest", "other")
    head = {**instead('["pytest>=8"]', '["pytest>=8", "mypy>=1"]'), "uv.lock": lock}
    assert pins(tmp_path, head, {**BASE, "uv.lock": lock}) == []


@pytest.mark.parametrize(
    ("manifest", "before", "after", "lock", "text"),
    [
        (
            "package.json",
            '{\n"dependencies": {\n"a": "^1.0.0"\n}\n}',
            '{\n"dependencies": {\n"a": "^1.0.0",\n"b": "^1.0.0"\n}\n}',
            "package-lock.json",
            '{"packages": {"node_modules/a": {"version": "1.0.0"}}}',
        ),
        (
            "package.json",
            '{\n"dependencies": {\n"a": "^1.0.0"\n}\n}',
            '{\n"dependencies": {\n"a": "^2.0.0"\n}\n}',
            "yarn.lock",
            'a@^1.0.0:\n  version "1.0.0"\n',
        ),
        (
            "go.mod",
            "module x\nrequire a.b/c v1.0.0\n",
            "module x\nrequire a.b/c v1.1.0\n",
            "go.sum",
            "a.b/c v1.0.0 h1:x=\n",
        ),
        (
            "Cargo.toml",
            '[dependencies]\na = "1"\n',
            '[dependencies]\na = "1"\nb = "1"\n',
            "Cargo.lock",
            '[[package]]\nname = "a"\nversion = "1.0.0"\n',
        ),
        ("requirements.in", "a\n", "a\nb\n", "requirements.txt", "# pip-compile\na==1.0\n"),
    ],
)
def test_lock_files_of_other_programs(
    tmp_path: Path, manifest: str, before: str, after: str, lock: str, text: str
) -> None:
    found = only(Pins(), trees(tmp_path, {manifest: before, lock: text}, {manifest: after, lock: text}))
    assert (found.rule, found.severity) == ("lock-not-updated", "major")


@pytest.mark.parametrize("lock", ["", "{", "x" * (3 * 1024**2)])
def test_a_lock_file_that_cannot_be_read_is_let_be(tmp_path: Path, lock: str) -> None:
    assert pins(tmp_path, {**with_line("httpx>=0.27,<1"), "uv.lock": lock}, {**BASE, "uv.lock": lock}) == []


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("requets", "look-alike"),
        ("reqeusts", "look-alike"),
        ("requestss", "look-alike"),
        ("nunpy", None),
        ("djangoo", "look-alike"),
        ("python_dateutils", "look-alike"),
        ("scikitlearn", "look-alike"),
        ("beautifulsoup", "wrong-name"),
        ("python-sqlite", "wrong-name"),
        ("sklearn", "wrong-name"),
        ("yaml", "wrong-name"),
        ("asyncio", "standard-library"),
        ("pathlib", "standard-library"),
        ("sqlite3", "standard-library"),
    ],
)
def test_names_that_are_slips(tmp_path: Path, name: str, rule: str | None) -> None:
    found = list(Invented().run(trees(tmp_path, BASE, with_line(f"{name}>=1"))))
    assert [(item.rule, item.line, item.severity) for item in found] == ([(rule, 9, "major")] if rule else [])


@pytest.mark.parametrize(
    "line",
    [
        "requests2",
        "psycopg>=3",
        "httpx2",
        "tomli",
        "preact",
        "pyaml",
        "scapy",
        "dataset",
        "openapi",
        "authlib",
        "mypyc",
        "dataclasses>=0.8; python_version < '3.7'",
        "types-requests",
        "requests-cache",
        "my-own-thing",
        "h2",
        "six",
        "flask-login",
        "requets @ https://example.com/requets-1.0.zip",
        "boto",
        "jinja2-cli",
        "python-pptx",
    ],
)
def test_names_that_are_meant(tmp_path: Path, line: str) -> None:
    assert raised(Invented(), trees(tmp_path, BASE, with_line(line))) == []


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("expresss", "look-alike"),
        ("lodahs", "look-alike"),
        ("crossenv", "look-alike"),
        ("fs", "standard-library"),
        ("child_process", "standard-library"),
        ("preact", None),
        ("tslint", None),
        ("request", None),
        ("buffer", None),
        ("@acme/expres", None),
    ],
)
def test_names_of_npm(tmp_path: Path, name: str, rule: str | None) -> None:
    given = trees(tmp_path, {"package.json": "{}"}, {"package.json": json.dumps({"dependencies": {name: "^1.0.0"}})})
    assert [item.rule for item in Invented().run(given)] == ([rule] if rule else [])


def test_a_slip_that_the_base_has_is_not_said_again(tmp_path: Path) -> None:
    base = with_line("requets>=1")
    head = {**base, "pyproject.toml": base["pyproject.toml"].replace("requets>=1", "requets>=2")}
    assert raised(Invented(), trees(tmp_path, base, head)) == []


# --- the repository's own lists ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ({"deny": ["Flask"]}, [("denied", 9)]),
        ({"deny": ["fla*"]}, [("denied", 9)]),
        ({"allow": ["click", "httpx"]}, [("not-allowed", 9)]),
        ({"allow": ["flask"]}, []),
        ({"allow": ["flask"], "deny": ["flask"]}, [("denied", 9)]),
        ({"deny": ["click"]}, []),
        ({}, []),
    ],
)
def test_the_lists_of_the_repository(tmp_path: Path, rules: dict[str, object], found: list[tuple[str, int]]) -> None:
    given = trees(tmp_path, BASE, with_line("flask>=3,<4"), rules={"dependencies": rules})
    assert [(item.rule, item.line) for item in Allowed().run(given)] == found


def test_a_denied_dependency_is_a_blocker_wherever_it_comes_from(tmp_path: Path) -> None:
    rules = {"dependencies": {"deny": ["left-pad"]}}
    head = {"package.json": '{"devDependencies": {"left-pad": "acme/left-pad"}}'}
    found = only(Allowed(), trees(tmp_path, {}, head, rules=rules))
    assert (found.rule, found.severity) == ("denied", "blocker")
