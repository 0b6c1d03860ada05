"""What a repository's files say about its set-up and commands, and what `.sdlc.yml` says about them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pytest

from sdlc.domain import TestKind
from sdlc.integrations.project.discovery import command_of, discover, wanted_files, with_base
from sdlc.integrations.project.passed_through import passed_through, without_secrets
from sdlc.integrations.project.plan import ProjectPlan, Runner
from sdlc.integrations.project.rules import OwnAnalyser, ProjectRules, RulesInvalid, parse_rules
from sdlc.integrations.project.setup_steps import Places, setup_steps
from sdlc.integrations.project.test_files import belongs_to_tests, is_document, is_test

PLACES = Places(work="/work", env="/env", editable=True)
PYTEST = {"tests/test_a.py": "import pytest\n"}


def plan_of(files: Mapping[str, str], rules: str = "") -> ProjectPlan:
    paths = list(files)
    texts = {path: files[path] for path in wanted_files(paths)}
    return discover(paths, texts, parse_rules(rules))


def lines(plan: ProjectPlan, kind: TestKind) -> list[str]:
    return [command.line for command in plan.commands(kind)]


def setup_lines(plan: ProjectPlan, places: Places = PLACES) -> list[str]:
    return [" ".join(step.argv) for step in setup_steps(plan, places)]


# --- tests --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files",
    [
        PYTEST,
        {"tests/test_a.py": "def test_a(): pass"},
        {"tests/test_a.py": "import unittest", "conftest.py": ""},
        {"tests/test_a.py": "import unittest", "pytest.ini": ""},
        {"tests/test_a.py": "import unittest", "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-q'"},
        {"tests/test_a.py": "import unittest", "setup.cfg": "[tool:pytest]\ntestpaths = tests"},
        {"tests/test_a.py": "import unittest", "tox.ini": "[pytest]\n"},
    ],
)
def test_pytest_is_found_by_its_configuration_or_its_tests(files: dict[str, str]) -> None:
    plan = plan_of(files)
    assert lines(plan, TestKind.UNIT) == ["python -m pytest"]
    assert plan.python is not None
    assert set(plan.python.tools) >= {"pytest", "coverage"}


def test_a_repository_that_only_knows_unittest_is_tested_with_it() -> None:
    plan = plan_of({"tests/test_a.py": "import unittest\nclass T(unittest.TestCase): ...", "setup.py": ""})
    assert [command.runner for command in plan.unit] == [Runner.UNITTEST]
    assert plan.python is not None
    assert plan.python.tools == ("coverage",)


def test_integration_tests_are_what_lies_in_a_folder_of_that_name() -> None:
    plan = plan_of({**PYTEST, "tests/integration/test_b.py": "import pytest"})
    assert lines(plan, TestKind.UNIT) == ["python -m pytest --ignore=tests/integration"]
    assert lines(plan, TestKind.INTEGRATION) == ["python -m pytest tests/integration"]


def test_a_repository_whose_tests_are_all_integration_tests_still_has_unit_tests() -> None:
    plan = plan_of({"tests/integration/test_b.py": "import pytest"})
    assert lines(plan, TestKind.UNIT) == ["python -m pytest"]
    assert plan.integration == ()


def test_no_tests_are_found_where_there_are_none() -> None:
    plan = plan_of({"README.md": "", "src/app.py": "x = 1"})
    assert plan.unit == plan.integration == plan.static == ()


def test_make_test_is_taken_only_where_nothing_says_more() -> None:
    makefile = "test: build\n\t./run-tests\nlint:\n\tx\nVARIABLE := 1\n"
    assert lines(plan_of({"Makefile": makefile, "main.c": ""}), TestKind.UNIT) == ["make test"]
    assert lines(plan_of({"Makefile": makefile, "main.c": ""}), TestKind.STATIC) == ["make lint"]
    assert lines(plan_of({"Makefile": makefile, **PYTEST}), TestKind.UNIT) == ["python -m pytest"]


def test_npm_test_is_taken_only_if_the_script_is_a_real_one() -> None:
    def package(script: str) -> dict[str, str]:
        return {"package.json": json.dumps({"scripts": {"test": script}}), "package-lock.json": "{}"}

    assert lines(plan_of(package("node --test")), TestKind.UNIT) == ["npm test"]
    assert plan_of(package('echo "Error: no test specified" && exit 1')).unit == ()


@pytest.mark.parametrize(
    ("lock", "installer", "command"),
    [
        ("package-lock.json", "npm", ("npm", "ci")),
        ("pnpm-lock.yaml", "pnpm", ("pnpm", "install", "--frozen-lockfile")),
        ("yarn.lock", "yarn", ("yarn", "install", "--frozen-lockfile")),
    ],
)
def test_node_is_installed_by_whom_the_lock_file_belongs_to(
    lock: str, installer: str, command: tuple[str, ...]
) -> None:
    plan = plan_of({"package.json": '{"scripts": {"test": "x", "lint": "y"}}', lock: ""})
    assert (plan.node, plan.node_command) == (installer, command)
    assert lines(plan, TestKind.UNIT) == [f"{installer} test"]
    assert lines(plan, TestKind.STATIC) == [f"{installer} run lint"]


def test_go_and_cargo_are_known_by_their_manifests() -> None:
    go = plan_of({"go.mod": "module x", "a_test.go": ""})
    assert (lines(go, TestKind.UNIT), lines(go, TestKind.STATIC)) == (["go test ./..."], ["go vet ./..."])
    rust = plan_of({"Cargo.toml": "[package]", "Cargo.lock": "", "src/lib.rs": ""})
    assert lines(rust, TestKind.UNIT) == ["cargo test"]
    assert lines(rust, TestKind.STATIC) == ["cargo check --all-targets --message-format short"]


# --- static checks ------------------------------------------------------------------------


def test_static_checks_are_those_that_the_repository_configures() -> None:
    plan = plan_of({"pyproject.toml": "[tool.ruff.format]\n[tool.mypy]\nstrict = true\n", "src/a/__init__.py": ""})
    assert lines(plan, TestKind.STATIC) == ["ruff check .", "ruff format --check .", "mypy src"]
    assert plan_of({"pyproject.toml": "[project]\nname='a'\nversion='1'", "a.py": ""}).static == ()


def test_the_formatter_is_not_checked_where_nobody_asked_for_it() -> None:
    assert lines(plan_of({"ruff.toml": "line-length = 100"}), TestKind.STATIC) == ["ruff check ."]


def test_a_checker_has_the_version_that_pre_commit_pins() -> None:
    hooks = "repos:\n- repo: https://x/ruff-pre-commit\n  rev: v0.4.1\n  hooks:\n  - id: ruff\n  - id: ruff-format\n"
    plan = plan_of({".pre-commit-config.yaml": hooks, "a.py": ""})
    assert lines(plan, TestKind.STATIC) == ["ruff check .", "ruff format --check ."]
    assert plan.python is not None
    assert plan.python.tools == ("ruff==0.4.1",)


@pytest.mark.parametrize(
    ("files", "tool"),
    [
        ({"pyproject.toml": "[project.optional-dependencies]\ntest = ['pytest-ruff >= 0.2.1']"}, "ruff==0.4.1"),
        ({"pyproject.toml": "[tool.ruff]\nline-length = 100"}, "ruff==0.4.1"),
        ({"setup.cfg": "[options.extras_require]\nlint =\n    ruff-lsp\n"}, "ruff==0.4.1"),
        ({"pyproject.toml": "[project.optional-dependencies]\nlint = ['Ruff>=0.3']"}, "ruff"),
        ({"pyproject.toml": "[dependency-groups]\nlint = ['ruff']"}, "ruff"),
        ({"pyproject.toml": "[tool.poetry.group.dev.dependencies]\nruff = '^0.3'"}, "ruff"),
        ({"setup.cfg": "[options.extras_require]\nlint =\n    ruff ~= 0.3\n"}, "ruff"),
        ({"setup.py": "LINT = ['ruff==0.3.0']\nsetup(extras_require={'lint': LINT})"}, "ruff"),
    ],
)
def test_only_a_project_that_requires_the_checker_itself_has_its_own_version(files: dict[str, str], tool: str) -> None:
    hooks = "repos:\n- repo: https://x/ruff-pre-commit\n  rev: v0.4.1\n  hooks:\n  - id: ruff\n"
    plan = plan_of({".pre-commit-config.yaml": hooks, "a.py": "", **files})
    assert plan.python is not None
    assert [one for one in plan.python.tools if one.startswith("ruff")] == [tool]


def test_the_version_of_another_hook_is_not_taken_for_the_checkers() -> None:
    hooks = (
        "repos:\n- repo: https://x/adamchainz/blacken-docs\n  rev: 1.19.1\n  hooks:\n  - id: blacken-docs\n"
        "- repo: https://x/psf/black\n  rev: 24.1.0\n  hooks:\n  - id: black\n"
    )
    plan = plan_of({".pre-commit-config.yaml": hooks, "a.py": ""})
    assert plan.python is not None
    assert plan.python.tools == ("black==24.1.0",)


# --- set-up -------------------------------------------------------------------------------


def test_a_lock_file_is_installed_as_it_is() -> None:
    project = "[project]\nname='a'\n[project.optional-dependencies]\ntests=['x']\n[dependency-groups]\ntest=['y']"
    found = setup_lines(plan_of({"uv.lock": "", "pyproject.toml": project, **PYTEST}))
    assert "uv sync --frozen --inexact --python /env/venv/bin/python --extra tests --group test" in found


def test_extras_and_groups_that_hold_tests_are_installed_with_the_project() -> None:
    project = (
        "[build-system]\nrequires=['hatchling']\n[project]\nname='a'\nversion='1'\nrequires-python='>=3.9'\n"
        "[project.optional-dependencies]\ntesting=['x']\ndocs=['y']\n[dependency-groups]\ndev=['z']"
    )
    plan = plan_of({"pyproject.toml": project, "requirements-dev.txt": "", **PYTEST})
    found = setup_lines(plan)
    assert found[0] == "uv venv --no-project --no-config --python=>=3.9 /env/venv"
    installed = next(line for line in found if "-r requirements-dev.txt" in line)
    assert "-e .[testing] --group dev" in installed
    assert installed.endswith("pytest coverage[toml]")


@pytest.mark.parametrize(
    ("present", "wanted", "dispensable"),
    [
        (["requirements/dev.txt", "requirements/docs.txt", "requirements/tests.txt"], ["requirements/tests.txt"], []),
        (["dev-requirements.txt", "test-requirements.txt"], ["test-requirements.txt"], []),
        (["requirements-dev.txt", "requirements-test.txt"], ["requirements-test.txt"], []),
        (["requirements.txt", "requirements/base.txt", "requirements/test.txt"], None, []),
        (["requirements.txt", "requirements-dev.txt"], None, ["requirements-dev.txt"]),
        (["requirements/docs.txt", "test-notes.txt"], [], []),
    ],
)
def test_files_named_for_development_are_left_out_where_there_is_one_for_tests(
    present: list[str], wanted: list[str] | None, dispensable: list[str]
) -> None:
    setup = plan_of({**dict.fromkeys(present, ""), **PYTEST}).python
    assert setup is not None
    assert list(setup.requirement_files) == (present if wanted is None else wanted)
    assert list(setup.dispensable_files) == dispensable


@pytest.mark.parametrize(
    "named",
    [
        {"tox.ini": "[testenv]\ndeps =\n    -r{toxinidir}/ci/needed.txt\n"},
        {"tox.ini": "[testenv]\ndeps = -r ci/needed.txt # all of it\n"},
        {"tox.ini": "[testenv:test]\ndeps =\n    --requirement=ci/needed.txt\n    -r absent.txt\n"},
        {"pyproject.toml": "[tool.tox.env_run_base]\ndeps = ['-r ci/needed.txt']\n"},
        {"noxfile.py": "def tests(session):\n    session.install('-r', 'ci/needed.txt')\n"},
    ],
)
def test_the_file_that_tox_or_nox_install_from_comes_before_all_others(named: dict[str, str]) -> None:
    files = {**named, "ci/needed.txt": "", "requirements.txt": "", "requirements/tests.txt": "", **PYTEST}
    plan = plan_of(files)
    assert plan.python is not None
    assert set(plan.python.requirement_files) == {"ci/needed.txt", "requirements.txt"}
    assert "ci/needed.txt" in plan.inputs
    assert not any("needed" in requirement for requirement in plan.python.requirements)


def test_a_file_that_tox_or_nox_name_for_other_work_is_not_taken() -> None:
    files = {
        "tox.ini": "[testenv:docs]\ndeps = -r requirements/docs.txt\n",
        "noxfile.py": "def lint(session):\n    session.install('-r', 'requirements/docs.txt')\n",
        "requirements/docs.txt": "",
        **PYTEST,
    }
    setup = plan_of(files).python
    assert setup is not None
    assert setup.requirement_files == ()


def test_what_conflicts_without_need_is_left_out_at_the_second_try() -> None:
    hooks = "repos:\n- repo: https://x/ruff-pre-commit\n  rev: v0.4.1\n  hooks:\n  - id: ruff\n"
    plan = plan_of({"requirements-dev.txt": "", ".pre-commit-config.yaml": hooks, **PYTEST})
    (step,) = [step for step in setup_steps(plan, PLACES) if step.instead]
    assert "-r requirements-dev.txt pytest coverage[toml] ruff==0.4.1" in " ".join(step.argv)
    assert " ".join(step.instead).endswith("--python /env/venv/bin/python pytest coverage[toml] ruff")
    assert re.search(step.instead_of, "  × No solution found when resolving dependencies:")
    assert not re.search(step.instead_of, "error sending request for url")
    assert step.instead_note == "it was made without requirements-dev.txt, the pin ruff==0.4.1"
    without = plan_of({"requirements.txt": "", **PYTEST})
    assert not any(step.instead for step in setup_steps(without, PLACES))


def test_where_paths_cannot_be_moved_nothing_is_installed_editable() -> None:
    project = "[build-system]\nrequires=['hatchling']\n[project]\nname='a'\nversion='1'"
    found = setup_lines(plan_of({"pyproject.toml": project, **PYTEST}), Places("/w", "/e", editable=False))
    assert not any(" -e " in line for line in found)
    assert any(line.startswith("uv pip install --python /e/venv/bin/python . ") for line in found)


def test_a_project_that_cannot_be_built_gets_its_dependencies() -> None:
    plan = plan_of({"pyproject.toml": "[project]\nname='a'\nversion='1'\ndependencies=['x']", **PYTEST})
    assert any("install --python /env/venv/bin/python -r pyproject.toml" in line for line in setup_lines(plan))


def test_a_pyproject_that_only_configures_tools_is_not_installed() -> None:
    found = setup_lines(plan_of({"pyproject.toml": "[tool.ruff]\n", **PYTEST}))
    assert len(found) == 3  # the interpreter, the tools, the look at what is there


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (
            {"tox.ini": "[testenv]\ndeps =\n    hypothesis>=6\n    py38: mock\n    {[base]deps}\n    -rx.txt\n"},
            ["hypothesis>=6"],
        ),
        (
            {"noxfile.py": "def tests(session):\n    session.install('.', 'attrs', 'pytest>=7')\n"},
            ["attrs", "pytest>=7"],
        ),
        ({"noxfile.py": "def lint(session):\n    session.install('flake8')\n"}, []),
        ({"setup.py": "setup(tests_require=['mock'])"}, ["mock"]),
        ({"pyproject.toml": "[tool.poetry.group.test.dependencies]\nfoo = '^1.2'\nbar = '*'"}, ["foo>=1.2", "bar"]),
        ({"pyproject.toml": "[tool.pdm.dev-dependencies]\ntest = ['foo']"}, ["foo"]),
        ({"pyproject.toml": "[tool.hatch.envs.default]\ndependencies = ['foo']"}, ["foo"]),
    ],
)
def test_test_requirements_are_found_where_other_tools_keep_them(files: dict[str, str], wanted: list[str]) -> None:
    setup = plan_of({**files, **PYTEST}).python
    assert setup is not None
    assert list(setup.requirements) == wanted


def test_extras_are_read_from_setup_py_without_running_it() -> None:
    text = "from setuptools import setup\nraise SystemExit\nsetup(extras_require={'test': ['x'], 'docs': unknown})"
    setup = plan_of({"setup.py": text, **PYTEST}).python
    assert setup is not None
    assert (setup.project, setup.extras) == (True, ("test",))


def test_the_files_that_decide_what_is_installed_are_the_keys_inputs() -> None:
    files = {
        "pyproject.toml": "",
        "requirements/dev.txt": "",
        "a/go.mod": "",
        "tests/data/setup.py": "",
        "README.md": "",
    }
    assert plan_of(files).inputs == ("pyproject.toml", "requirements/dev.txt", "a/go.mod")


def test_files_that_cannot_be_read_are_a_note_and_the_rest_is_found_all_the_same() -> None:
    plan = plan_of({"pyproject.toml": "[tool.ruff", "package.json": "{", "tox.ini": "no section", **PYTEST})
    assert lines(plan, TestKind.UNIT) == ["python -m pytest"]
    assert [note.split("`")[1] for note in plan.notes] == ["pyproject.toml", "tox.ini", "package.json"]


# --- .sdlc.yml ----------------------------------------------------------------------------


def test_what_sdlc_yml_says_wins_over_what_is_found() -> None:
    rules = (
        "unit: pytest -q tests/unit\nintegration: []\nstatic: {types: mypy .}\nsetup: [pip install x]\npython: 3.12\n"
    )
    plan = plan_of({"pyproject.toml": "[tool.ruff]", "tests/integration/test_b.py": "", **PYTEST}, rules)
    assert [(c.line, c.runner) for c in plan.unit] == [("pytest -q tests/unit", Runner.PYTEST)]
    assert plan.integration == ()
    assert [(c.name, c.line) for c in plan.static] == [("types", "mypy .")]
    assert plan.declared == {TestKind.UNIT, TestKind.INTEGRATION, TestKind.STATIC}
    found = setup_lines(plan)
    assert found[0] == "uv venv --no-project --no-config --seed --python=3.12 /env/venv"
    assert "/bin/sh -c pip install x" in found


def test_a_file_that_set_up_lines_name_is_an_input() -> None:
    plan = plan_of({"scripts/setup.sh": "", "Makefile": "", "a.py": ""}, "setup: [./scripts/setup.sh --all, make deps]")
    assert set(plan.inputs) >= {"scripts/setup.sh", "Makefile"}


@pytest.mark.parametrize(
    ("line", "runner"),
    [
        ("pytest", Runner.PYTEST),
        ("python -m pytest -k 'a and b' --cov=src", Runner.PYTEST),
        ("uv run pytest -q", Runner.PYTEST),
        ("python -m unittest discover -s tests", Runner.UNITTEST),
        ("cd sub && pytest", Runner.OTHER),
        ("pytest | tee log", Runner.OTHER),
        ("FOO=1 pytest", Runner.OTHER),
        ("make test", Runner.OTHER),
    ],
)
def test_a_plain_call_of_a_runner_is_known_as_such(line: str, runner: Runner) -> None:
    assert command_of(line).runner is runner


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("unti: pytest", ("`unti`", "there are", "`unit`")),
        ("unit: [", ("not YAML", "line")),
        ("- unit", ("list",)),
        ("unit: 7", ("`unit`",)),
        ("static: [ruff]", ("`static`",)),
        ("env: {'A B': c}", ("`A B`",)),
        ("a: &a [x]\nunit: *a", ("aliases",)),
        (b"unit: \xff", ("UTF-8",)),
        ("review: {analyser: {}}", ("`review.analyser`", "there are", "`analysers`")),
        ("review: {analysers: {a: {run: x, cmd: x}}}", ("`review.analysers.a.cmd`", "`timeout_seconds`")),
        ("review: {analysers: {a: {}}}", ("`review.analysers.a.run`",)),
        ("review: {analysers: {a: {run: ''}}}", ("`review.analysers.a.run`",)),
        ("review: {analysers: {'A b': {run: x}}}", ("`review.analysers.A b",)),
        ("review: {analysers: {lens: {run: x}}}", ("`lens`", "another name")),
        ("review: {analysers: {a: {run: x, panel: style}}}", ("`review.analysers.a.panel`", "'quality'")),
        ("review: {analysers: {a: {run: x, timeout_seconds: 3601}}}", ("`review.analysers.a.timeout_seconds`",)),
        ("review:\n  analysers:\n    a:\n      run: sh -c 'lint {files}'", ("`{files}`", "quotes")),
        ("review: {analysers: {a: {run: x, configuration: ../x}}}", ("`../x`", "below the top")),
        ("review: {analysers: {a: {run: x, configuration: /etc/x}}}", ("`/etc/x`", "below the top")),
        ("review: {dependencies: {permit: x}}", ("`review.dependencies.permit`", "`allow`")),
        ("review: {complexity: 0}", ("`review.complexity`",)),
        ("x" * 70_000, ("bytes",)),
        ("[" * 9_000, ("YAML",)),
    ],
)
def test_a_mistake_in_sdlc_yml_is_told_with_its_place(text: str | bytes, words: tuple[str, ...]) -> None:
    with pytest.raises(RulesInvalid) as raised:
        parse_rules(text)
    for word in (".sdlc.yml", *words):
        assert word in str(raised.value)


@pytest.mark.parametrize("text", [None, "", b"", "# nothing\n"])
def test_no_rules_are_empty_rules(text: str | bytes | None) -> None:
    assert parse_rules(text) == ProjectRules()


def test_an_analyser_needs_no_more_than_its_command() -> None:
    own = parse_rules("review: {analysers: {eslint: {run: npx eslint}}}").review.analysers["eslint"]
    assert (own.panel, own.files, own.configuration, own.base, own.required) == ("quality", ("*",), (), True, True)


@pytest.mark.parametrize(
    "line",
    [
        'lint "{files}" > {report}',
        "lint --files={files}",
        "cd a && lint {files} # don't",
        "lint {files} 'a b'",
        "lint {files} 'never closed",
    ],
)
def test_files_stand_where_arguments_stand(line: str) -> None:
    rules = json.dumps({"review": {"analysers": {"lint": {"run": line}}}})
    assert parse_rules(rules).review.analysers["lint"].run == line


def test_an_analyser_looks_at_what_fits_and_never_at_its_configuration() -> None:
    own = OwnAnalyser(run="x", files=("*.txt", "!skip/"), configuration=("conf/", "own.txt"))
    looked_at = {"a.txt", "sub/b.txt", "own.txt.txt", "sub/own.txt", "conf.txt", '"two\\nlines.txt"'}
    others = {"skip/c.txt", "d.md", "conf/e.txt", "own.txt", '"two\\nlines.md"'}
    assert {path for path in looked_at | others if own.looks_at(path)} == looked_at


# --- base and head ------------------------------------------------------------------------


def test_a_change_does_not_get_rid_of_checks_by_deleting_their_configuration() -> None:
    base = plan_of({"pyproject.toml": "[tool.ruff]\n[tool.mypy]\nfiles=['a']", **PYTEST})
    head = with_base(plan_of({"pyproject.toml": "[tool.mypy]\nfiles=['a']"}), base)
    assert lines(head, TestKind.UNIT) == ["python -m pytest"]
    assert lines(head, TestKind.STATIC) == ["ruff check .", "mypy"]


def test_the_first_tests_of_a_repository_are_found_on_the_head() -> None:
    base = plan_of({"a.py": "x = 1"})
    assert lines(with_base(plan_of({"a.py": "", **PYTEST}), base), TestKind.UNIT) == ["python -m pytest"]


# --- names of files -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["tests/test_a.py", "a_test.py", "pkg/x.test.ts", "a_test.go", "tests/it.rs", "__tests__/a.js"]
)
def test_test_files_are_known_by_name(path: str) -> None:
    assert is_test(path)
    assert belongs_to_tests(path)


@pytest.mark.parametrize("path", ["src/testing_tools.py", "latest.py", "contest.go", "src/main.rs"])
def test_other_files_are_no_tests(path: str) -> None:
    assert not is_test(path)


def test_fixtures_belong_to_tests_and_are_none() -> None:
    assert belongs_to_tests("tests/data/a.json")
    assert not is_test("tests/data/a.json")


@pytest.mark.parametrize(
    "path", ["README.md", "docs/conf.py", "LICENSE", ".gitignore", "pyproject.toml", ".github/workflows/ci.yml"]
)
def test_documents_and_configuration_are_told_from_code(path: str) -> None:
    assert is_document(path)


@pytest.mark.parametrize("path", ["src/a.py", "src/data/rates.json", "main.go", "Makefile"])
def test_code_and_its_data_are_no_documents(path: str) -> None:
    assert not is_document(path)


# --- what set-up gets of the worker's environment -----------------------------------------


def test_set_up_gets_where_packages_come_from_and_nothing_else() -> None:
    environ = {
        "UV_DEFAULT_INDEX": "https://me:secret@index.invalid/simple",
        "UV_INDEX_CORP_PASSWORD": "hunter22",
        "UV_PUBLISH_TOKEN": "t",
        "UV_CACHE_DIR": "/x",
        "HTTPS_PROXY": "http://proxy.invalid",
        "npm_config_registry": "https://npm.invalid",
        "CARGO_REGISTRY_TOKEN": "t",
        "GOPROXY": "https://go.invalid",
        "OPENAI_API_KEY": "sk-x",
        "PATH": "/bin",
    }
    env, mounts = passed_through(environ)
    assert sorted(env) == [
        "GOPROXY",
        "HTTPS_PROXY",
        "UV_DEFAULT_INDEX",
        "UV_INDEX_CORP_PASSWORD",
        "npm_config_registry",
    ]
    assert mounts == ()
    log = without_secrets("GET https://me:secret@index.invalid/simple with hunter22", env)
    assert log == "GET https://***@index.invalid/simple with ***"


def test_a_certificate_of_the_hosts_own_is_mounted_where_the_sandbox_has_it(tmp_path: object) -> None:
    file = f"{tmp_path}/ca.pem"
    with open(file, "w", encoding="utf-8") as opened:
        opened.write("x")
    env, mounts = passed_through({"SSL_CERT_FILE": file, "REQUESTS_CA_BUNDLE": "/nowhere.pem"})
    assert env == {"SSL_CERT_FILE": mounts[0].target}
    assert str(mounts[0].source) == file
    assert passed_through({"SSL_CERT_FILE": file}, "host") == ({"SSL_CERT_FILE": file}, ())


def test_a_pyproject_that_is_written_to_exhaust_its_reader_is_a_note() -> None:
    plan = plan_of({**PYTEST, "pyproject.toml": "a" + ".a" * 20_000 + " = 1\n"})
    assert any("`pyproject.toml` can't be read" in note for note in plan.notes)
    assert lines(plan, TestKind.UNIT) == ["python -m pytest"]
