"""The checks of the techstack panel together: what concerns them, and that nothing makes them fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdlc.review_graphs.checks.base import NotRun, Raised, Trees
from sdlc.review_graphs.checks.techstack import CHECKS
from tests.trees import Files, trees


def all_of(given: Trees) -> list[Raised]:
    found: list[Raised] = []
    for check in CHECKS:
        try:
            found += check.run(given)
        except NotRun:
            continue
    return found


@pytest.mark.parametrize("path", ["README.md", "docs/a.rst", "logo.png", "data/a.csv", "app/page.html", "src/main.css"])
def test_what_concerns_nobody_costs_nothing(path: str) -> None:
    assert [check.name for check in CHECKS if check.looks_at(path) and not path.endswith(".css")] == []


def test_a_change_of_code_alone_concerns_few() -> None:
    assert {check.name for check in CHECKS if check.looks_at("app/a.py")} == {
        "undeclared",
        "licences",
        "versions",
        "replaced",
    }


ODD: list[str | bytes] = [
    "",
    "\n" * 10,
    b"\xff\xfe\x00\x01",
    b"\xef\xbb\xbfimport x\n",
    "import x",
    "import x\r\nFROM y\r\n",
    "[project]\n" * 3,
    '[project]\nname = "x"\ndependencies = ["a'  # cut off
    "",
    "{" * 3_000,
    "x = 1\n" * 1_000,
    "import " + "a." * 5_000 + "b\n",
    "import x\nx = " + "(" * 20_000 + ")" * 20_000 + "\n",
    "import x\nx = " + "not " * 20_000 + "1\n",
    '{"dependencies": {"a": 1, "": "", "b": {"c": []}}, "license": 3, "engines": []}',
    "requires-python = 3\n[project]\nrequires-python = 3\nlicense = 4\n",
    "FROM\nFROM a AS\nfrom :::@@@//\n",
    "jobs: {a: {strategy: {matrix: {python: {b: [1]}}}}}\n",
    "&a [*a, *a]\n",
]
PATHS = [
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "requirements.txt",
    "package.json",
    "package-lock.json",
    "uv.lock",
    "go.mod",
    "Cargo.toml",
    "Pipfile",
    "Dockerfile",
    ".github/workflows/ci.yml",
    ".nvmrc",
    "app/a.py",
    "src/a.ts",
    "tsconfig.json",
    "LICENSE",
    ".npmrc",
    "docker-compose.yml",
]
GOOD = '[project]\nname = "x"\nrequires-python = ">=3.9"\ndependencies = ["requests>=2"]\nlicense = "MIT"\n'


@pytest.mark.parametrize("content", ODD, ids=range(len(ODD)))
def test_odd_files_on_either_side_make_nothing_fail(tmp_path: Path, content: str | bytes) -> None:
    odd: Files = dict.fromkeys(PATHS, content)
    good: Files = {"pyproject.toml": GOOD, "app/a.py": "import requests\n"}
    all_of(trees(tmp_path / "a", good, odd))
    all_of(trees(tmp_path / "b", odd, {**odd, **good}))
    all_of(trees(tmp_path / "c", {}, {**odd, "pyproject.toml": GOOD}))


def test_50_000_changed_lines(tmp_path: Path) -> None:
    long = "import requests\n" + "x = 1\n" * 50_000
    head = {"pyproject.toml": GOOD, "app/a.py": long + "import httpx\n", "requirements.txt": "a==1\n" * 50_000}
    found = all_of(trees(tmp_path, {"pyproject.toml": GOOD}, head))
    assert [(item.rule, item.line) for item in found if item.file == "app/a.py"] == [("undeclared", 50_002)]


def test_all_files_gone_or_moved(tmp_path: Path) -> None:
    base = {"pyproject.toml": GOOD, "app/a.py": "import requests\n", "Dockerfile": "FROM python:3.12\n"}
    assert all_of(trees(tmp_path / "a", base, {"README.md": "x"})) == []
    moved = {f"sub/{path}": text for path, text in base.items()}
    given = trees(tmp_path / "b", base, moved, renamed={f"sub/{path}": path for path in base})
    assert all_of(given) == []


def test_a_link_out_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "requirements.txt"
    secret.write_text("secret-thing==1\n")
    given = trees(tmp_path / "t", {"a.txt": ""}, {"a.txt": "", "sub/requirements.txt": "x==1\n"})
    link = tmp_path / "t" / "head" / "sub" / "requirements.txt"
    link.unlink()
    link.symlink_to(secret)
    assert all_of(given) == []


def test_every_message_fits_and_says_what_to_do(tmp_path: Path) -> None:
    base = {"pyproject.toml": GOOD, "app/__init__.py": "import requests\n", "LICENSE": "MIT\n"}
    head = {
        "pyproject.toml": GOOD.replace(
            '"requests>=2"', '"requets", "asyncio", "nose", "tenacity @ git+https://e.org/t"'
        ),
        "app/__init__.py": "import requests\nimport tomllib\nimport imp\nimport boto3\n",
        "LICENSE": "GPL\n",
        "Dockerfile": "FROM python:3.8\nFROM node\n",
        "requirements.txt": "--index-url http://e.org/simple\nboto<1\nboto>2\n",
    }
    found = all_of(trees(tmp_path, base, head))
    assert len({item.rule for item in found}) >= 10
    assert all(60 <= len(item.message) <= 300 and item.message.endswith(".") for item in found)
    assert all(item.line >= 1 and item.file in head for item in found)
