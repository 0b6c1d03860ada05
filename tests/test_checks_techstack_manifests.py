"""Reading manifests and lock files: what is declared, on which line, and nothing that crashes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.review_graphs.checks.base import Tree
from sdlc.review_graphs.checks.techstack import manifests as reading
from sdlc.review_graphs.checks.techstack import ranges
from sdlc.review_graphs.checks.techstack.declared import Dependency, Dialect, Manifest
from sdlc.review_graphs.checks.techstack.locks import lock_beside
from sdlc.review_graphs.checks.techstack.manifests import added, governing, is_manifest, manifests, read_manifest
from sdlc.review_graphs.checks.techstack.requirements import read_requirements
from tests.trees import trees


def tree(folder: Path, files: dict[str, str | bytes]) -> Tree:
    for path, content in files.items():
        full = folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Tree(folder)


def read(folder: Path, path: str, text: str | bytes) -> Manifest:
    found = read_manifest(tree(folder, {path: text}), path)
    assert found is not None
    return found


def told(manifest: Manifest) -> list[tuple[str, int, str, str]]:
    return [(item.name, item.line, item.kind, item.spec) for item in manifest.dependencies]


def one(manifest: Manifest, name: str) -> Dependency:
    (found,) = [item for item in manifest.dependencies if item.name == name]
    return found


PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.20"]

[project]
name = "My_App"
requires-python = ">=3.11"
dependencies = [
    "Requests>=2,<3",  # with a comment
    'uvicorn[standard]>=0.30',
    "tomli>=2; python_version < '3.11'",
]

[project.optional-dependencies]
redis = ["redis>=5"]
dev = [
    "pytest>=8",
    "requests>=2,<3",
]

[dependency-groups]
lint = ["ruff", {include-group = "more"}]
more = ["mypy>=1"]

[tool.uv.sources]
redis = { git = "https://example.com/redis.git", rev = "0123456789abcdef0123456789abcdef01234567" }
"""


def test_pyproject_of_the_standards_is_read_with_lines_and_kinds(tmp_path: Path) -> None:
    found = read(tmp_path, "pyproject.toml", PYPROJECT)
    assert told(found) == [
        ("requests", 8, "main", "<3,>=2"),
        ("uvicorn", 9, "main", ">=0.30"),
        ("tomli", 10, "main", ">=2"),
        ("redis", 25, "optional", ">=5"),
        ("pytest", 16, "dev", ">=8"),
        ("requests", 17, "dev", "<3,>=2"),
        ("ruff", 21, "dev", ""),
        ("mypy", 22, "dev", ">=1"),
        ("hatchling", 2, "build", ">=1.20"),
    ]
    assert found.own_name == "my-app"
    assert (found.requires, found.requires_line, found.is_package) == (">=3.11", 6, True)
    assert one(found, "tomli").marker
    assert one(found, "uvicorn").extras == ("standard",)
    source = one(found, "redis").source
    assert source is not None
    assert source.is_commit


def test_poetry_is_read_with_its_groups_and_sources(tmp_path: Path) -> None:
    text = """\
[tool.poetry]
name = "app"

[tool.poetry.dependencies]
python = "^3.10"
requests = "^2.31"
"ruamel.yaml" = { version = "~0.18", optional = true }
inline = [{ version = "<2", python = "<3.11" }, { version = ">=2", python = ">=3.11" }]

[tool.poetry.dependencies.ours]
git = "https://example.com/ours.git"
branch = "main"

[tool.poetry.group.test.dependencies]
pytest = "*"
"""
    found = read(tmp_path, "pyproject.toml", text)
    assert told(found) == [
        ("requests", 6, "main", "^2.31"),
        ("ruamel-yaml", 7, "optional", "~0.18"),
        ("inline", 8, "main", "<2"),
        ("inline", 8, "main", ">=2"),
        ("ours", 10, "main", ""),
        ("pytest", 15, "dev", "*"),
    ]
    assert (found.requires, found.requires_line, found.requires_dialect) == ("^3.10", 5, "poetry")
    source = one(found, "ours").source
    assert source is not None
    assert (source.kind, source.ref, source.is_fixed) == ("git", "main", False)


def test_requirements_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    text = (
        "# comment\n-r base.txt\n--index-url https://example.com/simple\nDjango==4.2 \\\n    --hash=sha256:aa \\\n"
        "    --hash=sha256:bb\nflask>=3  # because\n-e git+https://example.com/x/tool.git@main#egg=the_tool\n"
        "https://example.com/pkg-1.2.zip\n./local/thing\nmodern @ git+ssh://git@example.com/x/modern.git@v1.2.0\n"
        "not a requirement at all !!\nlast>=1; python_version < '3.11'"
    )
    found = read(tmp_path, "requirements.txt", text)
    assert told(found) == [
        ("django", 4, "main", "==4.2"),
        ("flask", 7, "main", ">=3"),
        ("the-tool", 8, "main", ""),
        ("pkg", 9, "main", ""),
        ("thing", 10, "main", ""),
        ("modern", 11, "main", ""),
        ("last", 13, "main", ">=1"),
    ]
    assert [(option.name, option.value) for option in found.options] == [
        ("--requirement", "base.txt"),
        ("--index-url", "https://example.com/simple"),
    ]
    assert [item.name for item in found.dependencies if item.hashed] == ["django"]
    sources = [one(found, name).source for name in ("the-tool", "modern", "pkg", "thing")]
    assert [(s.kind, s.ref, s.is_fixed) for s in sources if s] == [
        ("git", "main", False),
        ("git", "v1.2.0", True),
        ("url", "", True),
        ("path", "", False),
    ]


@pytest.mark.parametrize(
    ("path", "text", "is_compiled"),
    [
        ("requirements.txt", "#    pip-compile pyproject.toml\na==1\n", True),
        ("requirements.txt", "a==1\n    # via b\n", True),
        ("requirements.lock", "a==1\n", True),
        ("requirements.txt", "a==1\n", False),
    ],
)
def test_what_a_resolver_has_written_is_known(tmp_path: Path, path: str, text: str, is_compiled: bool) -> None:
    assert read(tmp_path, path, text).is_compiled is is_compiled


def test_setup_cfg_is_read(tmp_path: Path) -> None:
    text = (
        "[metadata]\nname = my_lib\nclassifiers =\n    Programming Language :: Python :: 3.9\n\n[options]\n"
        "python_requires = >=3.9\ninstall_requires =\n    requests>=2\n    # comment\n    click\n\n"
        "[options.extras_require]\ntest =\n    pytest\ns3 =\n    boto3>=1\n"
    )
    found = read(tmp_path, "setup.cfg", text)
    assert told(found) == [
        ("requests", 9, "main", ">=2"),
        ("click", 11, "main", ""),
        ("pytest", 15, "dev", ""),
        ("boto3", 17, "optional", ">=1"),
    ]
    assert (found.requires, found.requires_line, found.own_name) == (">=3.9", 7, "my-lib")
    assert found.classifiers == ("Programming Language :: Python :: 3.9",)


def test_setup_py_is_read_and_never_run(tmp_path: Path) -> None:
    text = (
        "import setuptools\nopen('ran', 'w')\nREQS = [\n    'requests>=2',\n    'click',\n]\n"
        "setuptools.setup(name='my.lib', python_requires='>=3.8', install_requires=REQS,\n"
        "    extras_require={'dev': ['pytest']})\n"
    )
    found = read(tmp_path, "setup.py", text)
    assert told(found) == [("requests", 4, "main", ">=2"), ("click", 5, "main", ""), ("pytest", 8, "dev", "")]
    assert (found.own_name, found.requires, found.is_complete) == ("my-lib", ">=3.8", True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text",
    [
        "from setuptools import setup\nsetup(install_requires=open('r.txt').read().split())\n",
        "from setuptools import setup\nsetup(install_requires=['a'] + MORE)\n",
        "from setuptools import setup\nsetup(**arguments)\n",
        "from setuptools import setup\nsetup(install_requires=['a'], extras_require=extras())\n",
        "def (:\n",
    ],
)
def test_a_setup_py_that_computes_its_list_is_incomplete(tmp_path: Path, text: str) -> None:
    assert not read(tmp_path, "setup.py", text).is_complete


def test_package_json_is_read(tmp_path: Path) -> None:
    text = """{
  "name": "app",
  "private": true,
  "engines": { "node": ">=20" },
  "dependencies": {
    "react": "^18.2.0",
    "ours": "github:acme/ours#main",
    "fork": "acme/fork",
    "sibling": "workspace:*",
    "old": "file:../old"
  },
  "devDependencies": { "react": "^18.2.0", "@types/node": "*" }
}
"""
    found = read(tmp_path, "package.json", text)
    assert told(found) == [
        ("react", 6, "main", "^18.2.0"),
        ("ours", 7, "main", ""),
        ("fork", 8, "main", ""),
        ("sibling", 9, "main", ""),
        ("old", 10, "main", ""),
        ("react", 12, "dev", "^18.2.0"),
        ("@types/node", 12, "dev", "*"),
    ]
    assert (found.requires, found.requires_line, found.is_package) == (">=20", 4, False)
    kinds = [item.source.kind for item in found.dependencies if item.source]
    assert kinds == ["git", "git", "workspace", "path"]


def test_go_mod_is_read_with_its_replacements(tmp_path: Path) -> None:
    text = """\
module example.com/app

go 1.22

require github.com/pkg/errors v0.9.1

require (
	golang.org/x/text v0.14.0
	github.com/x/y v1.0.0 // indirect
)

replace github.com/pkg/errors => ../errors
"""
    found = read(tmp_path, "go.mod", text)
    assert told(found) == [
        ("github.com/pkg/errors", 12, "main", ""),
        ("golang.org/x/text", 8, "main", "v0.14.0"),
        ("github.com/x/y", 9, "optional", "v1.0.0"),
    ]


def test_cargo_toml_is_read(tmp_path: Path) -> None:
    text = """\
[package]
name = "app"

[dependencies]
serde = { version = "1", features = ["derive"] }
rand = "0.8"
shared.workspace = true
renamed = { package = "real-name", git = "https://example.com/r", branch = "main" }

[dev-dependencies]
criterion = "0.5"

[target.'cfg(unix)'.dependencies]
nix = "0.27"
"""
    found = read(tmp_path, "Cargo.toml", text)
    assert told(found) == [
        ("serde", 5, "main", "1"),
        ("rand", 6, "main", "0.8"),
        ("shared", 7, "main", ""),
        ("real-name", 8, "main", ""),
        ("criterion", 11, "dev", "0.5"),
        ("nix", 14, "main", "0.27"),
    ]


def test_pipfile_is_read(tmp_path: Path) -> None:
    text = '[[source]]\nurl = "https://example.com"\n\n[packages]\nflask = "*"\n\n[dev-packages]\npytest = ">=8"\n'
    assert told(read(tmp_path, "Pipfile", text)) == [("flask", 5, "main", "*"), ("pytest", 8, "dev", ">=8")]


BROKEN: list[str | bytes] = [
    "",
    "\0\0",
    "[[[",
    "{",
    "[]",
    "null",
    b"\xff\xfe\x00a",
    "[project]\ndependencies = 3\n",
    "[project]\ndependencies = [1, [2], {}]\noptional-dependencies = []\n",
    '[project]\ndependencies = ["", "=="]\n',
    "project = 1\ntool = 2\n",
    "[tool]\npoetry = 3\nuv = []\nhatch = {envs = 1}\n",
    "[tool.poetry]\ngroup = {dev = 1}\ndependencies = {a = 1, b = [], c = {git = 1}}\n",
    '{"dependencies": []}',
    '{"dependencies": {"a": {"b": 1}}, "engines": "x"}',
    '{"dependencies": {"a": null}}',
    "[dependencies]\na = 1\nb = []\n",
    "require (\nreplace => \n)\nrequire\n",
    "[options]\ninstall_requires = %(x)s\n[options]\n",
    "setup()\nsetup(install_requires=x)",
    "a" * 100_000,
    "a" + ".a" * 5_000 + " = 1",
    "\\\n" * 50,
]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize(
    "path",
    ["pyproject.toml", "Pipfile", "setup.cfg", "setup.py", "package.json", "Cargo.toml", "go.mod", "requirements.txt"],
)
def test_nothing_broken_crashes(tmp_path: Path, path: str, content: str | bytes) -> None:
    assert read_manifest(tree(tmp_path, {path: content}), path) is not None


@given(
    st.sampled_from(
        ["pyproject.toml", "setup.cfg", "setup.py", "package.json", "Cargo.toml", "go.mod", "requirements.txt"]
    ),
    st.text(alphabet="[]{}\"'=.,:#\\\n abR>-1r/@$*", max_size=120),
)
def test_no_text_crashes_a_reader(path: str, text: str) -> None:
    found = reading._READERS.get(path, read_requirements)(path, text)
    lines = text.count("\n") + 1
    assert all(1 <= item.line <= lines for item in found.dependencies)


def test_line_ends_of_windows_and_a_missing_last_one_change_nothing(tmp_path: Path) -> None:
    plain = read(tmp_path / "a", "pyproject.toml", PYPROJECT)
    other = read(tmp_path / "b", "pyproject.toml", PYPROJECT.rstrip("\n").replace("\n", "\r\n"))
    assert told(plain) == told(other)


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("requirements.txt", True),
        ("requirements-dev.txt", True),
        ("dev-requirements.in", True),
        ("requirements/prod.txt", True),
        ("constraints.txt", True),
        ("services/api/pyproject.toml", True),
        ("tests/fixtures/pyproject.toml", False),
        ("templates/app/package.json", False),
        ("{{cookiecutter.name}}/setup.py", False),
        ("vendor/x/go.mod", False),
        ("docs/requirements.md", False),
        ("my-setup.py", False),
    ],
)
def test_what_a_manifest_is(path: str, is_one: bool) -> None:
    assert is_manifest(path) is is_one


@pytest.mark.parametrize(
    ("dialect", "spec", "accepted", "refused"),
    [
        ("npm", "^1.2.3", ["1.2.3", "1.9.0"], ["1.2.2", "2.0.0"]),
        ("npm", "^0.2.3", ["0.2.9"], ["0.3.0"]),
        ("npm", "^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("npm", "~1.2", ["1.2.9"], ["1.3.0"]),
        ("npm", "1.x", ["1.0.0", "1.9.9"], ["2.0.0"]),
        ("npm", "1.2", ["1.2.7"], ["1.3.0"]),
        ("npm", ">=1.2 <2", ["1.5.0"], ["2.0.0"]),
        ("npm", "1.0.0 - 2.0.0", ["1.5.0"], ["2.0.1"]),
        ("npm", "^16 || ^18.1", ["16.3.0", "18.2.0"], ["17.0.0"]),
        ("npm", "1.0.0-beta.2", ["1.0.0-beta.2"], ["1.0.0"]),
        ("cargo", "1.2", ["1.2.0", "1.9.0"], ["2.0.0"]),
        ("cargo", "=1.2.3", ["1.2.3"], ["1.2.4"]),
        ("cargo", "0.8", ["0.8.5"], ["0.9.0"]),
        ("poetry", "^2.31", ["2.40"], ["3.0"]),
        ("poetry", "~1.4.2", ["1.4.9"], ["1.5.0"]),
        ("poetry", ">=1,<2 || >=3", ["1.5", "3.1"], ["2.5"]),
        ("poetry", "!=1.4.*", ["1.5"], ["1.4.2"]),
        ("pep440", "~=1.4", ["1.9"], ["2.0"]),
        ("npm", "latest-of-something", ["1.0.0"], []),
        ("pep440", "not a range", ["1.0"], []),
        ("pep440", ">=" + "9" * 5_000, ["1.0"], []),
    ],
)
def test_what_a_range_accepts(dialect: Dialect, spec: str, accepted: list[str], refused: list[str]) -> None:
    assert all(ranges.accepts(spec, dialect, version) for version in accepted)
    assert not any(ranges.accepts(spec, dialect, version) for version in refused)


@given(
    st.text(alphabet="^~<>=!*x.,|- 0123456789abv", max_size=30), st.sampled_from(["npm", "poetry", "cargo", "pep440"])
)
def test_no_range_crashes(spec: str, dialect: Dialect) -> None:
    ranges.accepts(spec, dialect, "1.2.3")
    ranges.lowest(spec, dialect)
    sets = ranges.alternatives(spec, dialect)
    assert sets is None or isinstance(ranges.prerelease(sets), str)


LOCKS = {
    "uv.lock": '[[package]]\nname = "requests"\nversion = "2.31.0"\n\n[[package]]\nname = "ours"\nx = 1\n',
    "poetry.lock": '[[package]]\nname = "requests"\nversion = "2.31.0"\n',
    "package-lock.json": '{"packages": {"": {}, "node_modules/requests": {"version": "2.31.0"}}}',
    "yarn.lock": 'requests@^2.0.0:\n  version "2.31.0"\n',
    "pnpm-lock.yaml": "packages:\n  /requests@2.31.0:\n    resolution: {}\n",
    "Cargo.lock": '[[package]]\nname = "requests"\nversion = "2.31.0"\n',
    "go.sum": "requests v2.31.0 h1:aa=\nrequests v2.31.0/go.mod h1:bb=\n",
    "Pipfile.lock": '{"default": {"requests": {"version": "==2.31.0"}}}',
    "bun.lock": '{"packages": {"requests": ["requests@2.31.0", "", {}]}}',
}


@pytest.mark.parametrize("name", LOCKS)
def test_lock_files_are_read(tmp_path: Path, name: str) -> None:
    manifest = {"Cargo.lock": "Cargo.toml", "go.sum": "go.mod", "Pipfile.lock": "Pipfile"}.get(
        name, "pyproject.toml" if name in ("uv.lock", "poetry.lock") else "package.json"
    )
    files: dict[str, str | bytes] = {f"a/{name}": LOCKS[name], f"a/{manifest}": "# workspace"}
    lock = lock_beside(tree(tmp_path, files), f"a/b/{manifest}")
    assert lock is not None
    assert "requests" in lock.versions
    assert {version.removeprefix("v") for version in lock.versions["requests"]} == {"2.31.0"}


def test_the_lock_file_of_a_folder_above_belongs_to_it_only_in_a_workspace(tmp_path: Path) -> None:
    there = tree(tmp_path, {"uv.lock": LOCKS["uv.lock"], "pyproject.toml": "[project]\n"})
    assert lock_beside(there, "pyproject.toml") is not None
    assert lock_beside(there, "examples/one/pyproject.toml") is None


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("text", ["", "{", "[1]", '{"packages": 3}', "\0", "name = \n" * 100])
def test_broken_lock_files_are_none(tmp_path: Path, name: str, text: str) -> None:
    there = tree(tmp_path, {name: text})
    assert all(lock_beside(there, manifest) is None for manifest in ("pyproject.toml", "package.json", "go.mod"))


def test_a_file_is_governed_by_its_project_and_what_is_above_it(tmp_path: Path) -> None:
    there = tree(
        tmp_path,
        {
            "requirements-dev.txt": "pytest\n",
            "a/pyproject.toml": '[project]\nname = "a"\ndependencies = ["x"]\n',
            "a/requirements/extra.txt": "y\n",
            "b/pyproject.toml": '[project]\nname = "b"\ndependencies = ["z"]\n',
        },
    )
    assert [m.path for m in governing(there, "a/src/a/one.py", "python")] == [
        "requirements-dev.txt",
        "a/pyproject.toml",
        "a/requirements/extra.txt",
    ]
    assert [m.path for m in governing(there, "tool.py", "python")] == ["requirements-dev.txt"]
    assert len(manifests(there)) == 4


def test_only_what_no_manifest_of_the_base_has_is_added(tmp_path: Path) -> None:
    base = {"requirements.txt": "requests\nold\n"}
    head = {
        "pyproject.toml": '[project]\nname = "app"\ndependencies = ["Requests>=2", "httpx", "app[x]"]\n',
        "requirements.txt": "requests\nold>=2\nhttpx\n",
    }
    assert [(item.name, item.file) for item in added(trees(tmp_path, base, head))] == [("httpx", "pyproject.toml")]


def test_a_renamed_manifest_adds_nothing(tmp_path: Path) -> None:
    given_trees = trees(
        tmp_path,
        {"reqs.in": "", "requirements/a.txt": "x\n"},
        {"reqs.in": "", "requirements/b.txt": "x\n"},
        renamed={"requirements/b.txt": "requirements/a.txt"},
    )
    assert list(added(given_trees)) == []


def test_nothing_is_added_where_the_file_of_the_base_cannot_be_read(tmp_path: Path) -> None:
    head = '[project]\nname = "app"\ndependencies = ["httpx"]\n'
    assert list(added(trees(tmp_path, {"pyproject.toml": "[[["}, {"pyproject.toml": head}))) == []
