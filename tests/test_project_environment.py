"""The repository's own environment: made in the real sandbox by the real uv, once, and shared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sdlc.domain import ChangeSet, TestKind
from sdlc.integrations.project.environment import Environment, Environments
from sdlc.integrations.project.products import keep_products
from sdlc.integrations.sandbox import CommandResult
from tests.projects import PACKAGE, GitRepository, Stage

NO_SETUP = {"README.md": "nothing to set up"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage.shared(tmp_path_factory)


@pytest.fixture(scope="module")
def money(tmp_path_factory: pytest.TempPathFactory) -> GitRepository:
    return GitRepository.shared(tmp_path_factory)


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(60):
        yield


async def ensured(stage: Stage, change: ChangeSet, sha: str = "") -> Environment:
    async with stage.services.workspaces.at(change.repository, sha or change.head_sha) as workspace:
        environment: Environment = await stage.services.environments.ensure(workspace)
        return environment


async def ran(stage: Stage, change: ChangeSet, line: str, sha: str = "") -> CommandResult:
    async with stage.services.workspaces.at(change.repository, sha or change.head_sha) as workspace:
        environment = await stage.services.environments.ensure(workspace)
        result: CommandResult = await stage.services.sandbox.run(
            ["/bin/sh", "-c", line],
            workspace=workspace.path,
            timeout=20,
            env=environment.env,
            mounts=environment.mounts,
        )
        return result


async def test_a_package_is_installed_and_base_and_head_share_its_environment(
    stage: Stage, money: GitRepository
) -> None:
    change = money.change(PACKAGE, {"src/money/__init__.py": "WHO = 'head'\n"})
    environment = await ensured(stage, change)
    assert (environment.state, environment.note) == ("ready", "")
    assert environment.modules == {"pytest", "coverage"}
    assert environment.log is not None
    assert "uv pip install" in await stage.services.artifacts.text(environment.log)
    started = time.monotonic()
    base = await ensured(stage, change, change.base_sha)
    assert base.key == environment.key
    assert time.monotonic() - started < 1
    line = 'python -c \'import money; print(getattr(money, "WHO", "base"), money.__file__)\''
    assert (await ran(stage, change, line)).output == "head /work/src/money/__init__.py\n"
    assert (await ran(stage, change, line, change.base_sha)).output == "base /work/src/money/__init__.py\n"


async def test_nothing_after_set_up_has_a_network_or_can_change_the_environment(
    stage: Stage, money: GitRepository
) -> None:
    change = money.change(PACKAGE, {})
    written = await ran(stage, change, "touch /env/venv/x")
    assert written.exit_code != 0
    connect = "python -c 'import socket; socket.create_connection((\"1.1.1.1\", 443), 3)'"
    assert "unreachable" in (await ran(stage, change, connect)).output


async def test_another_lock_file_makes_another_environment(stage: Stage, money: GitRepository) -> None:
    base = {".sdlc.yml": "setup: cat things.lock\n", "things.lock": "1", "other": "1"}
    change = money.change(base, {"things.lock": "2", "other": "2"})
    head, before = await ensured(stage, change), await ensured(stage, change, change.base_sha)
    assert (head.state, before.state) == ("ready", "ready")
    assert head.key != before.key
    unrelated = money.change(base, {"other": "2"})
    assert (await ensured(stage, unrelated)).key == before.key


async def test_what_a_changes_own_build_code_leaves_behind_reaches_nobody_else(
    stage: Stage, money: GitRepository
) -> None:
    rules = "setup: sh build.sh; cp things.lock $VIRTUAL_ENV/lock 2>/dev/null || cp things.lock /env/lock\n"
    base = {".sdlc.yml": rules, "things.lock": "1", "build.sh": "true\n"}
    poison = money.change(base, {"things.lock": "2", "build.sh": "touch /env/poison /cache/poison\n"})
    assert (await ensured(stage, poison)).state == "ready"
    assert (await ran(stage, poison, "test -e /env/poison")).exit_code == 0
    # Clean files with the same set-up inputs: as another change, and as the base of a later one.
    clean = money.change(base, {"things.lock": "2"})
    assert (await ran(stage, clean, "test -e /env/poison")).exit_code != 0
    later = money.change({**base, "things.lock": "2"}, {"a.py": ""})
    assert (await ran(stage, later, "test -e /env/poison", later.base_sha)).exit_code != 0
    assert not list(stage.services.settings.cache_dir.rglob("packages/**/poison"))


async def test_commits_that_are_worked_on_share_a_scratch_environment(stage: Stage, money: GitRepository) -> None:
    base = {".sdlc.yml": "setup: cat things.lock\n", "things.lock": "1"}
    one, two = (money.change(base, {"things.lock": "2", "a.py": text}) for text in ("1", "2"))
    keys = set()
    for change in (one, two):
        async with stage.services.workspaces.at(change.repository, change.head_sha) as workspace:
            keys.add((await stage.services.environments.ensure(workspace, scratch="run")).key)
    assert len(keys) == 1
    assert len({(await ensured(stage, change)).key for change in (one, two)} | keys) == 3


async def test_the_rules_are_those_of_the_base_commit(stage: Stage, money: GitRepository) -> None:
    change = money.change({**NO_SETUP, ".sdlc.yml": "unit: ./base\n"}, {".sdlc.yml": "unit: 'true'\n"})
    environment = await ensured(stage, change)
    assert [command.line for command in environment.plan.commands(TestKind.UNIT)] == ["./base"]
    assert environment.state == "none"


async def test_a_mistake_in_sdlc_yml_is_a_note_and_commands_are_discovered(stage: Stage, money: GitRepository) -> None:
    change = money.change({"Makefile": "test:\n\ttrue\n", ".sdlc.yml": "unti: pytest\n"}, {})
    environment = await ensured(stage, change)
    assert [command.line for command in environment.plan.unit] == ["make test"]
    assert "`unti`" in environment.note
    assert "discovered" in environment.note


async def test_set_up_lines_run_with_the_environments_python_and_their_files_are_not_left_in_the_tree(
    stage: Stage, money: GitRepository
) -> None:
    rules = 'setup: [\'python -c "import sys; open(\\"left\\", \\"w\\"); print(sys.prefix)"\']\nenv: {COLOUR: red}\n'
    change = money.change({"a.py": "", ".sdlc.yml": rules}, {})
    environment = await ensured(stage, change)
    assert environment.state == "ready", environment.note
    assert environment.log is not None
    assert "/env/venv\n" in await stage.services.artifacts.text(environment.log)
    result = await ran(stage, change, "ls; echo $COLOUR")
    assert result.output == "a.py\nred\n"


async def test_what_set_up_generates_and_git_ignores_is_in_every_workspace(stage: Stage, money: GitRepository) -> None:
    rules = "setup: ['echo 1 > version.txt; echo 2 > seen.txt; ln -s /etc/passwd link.txt']\n"
    change = money.change({".gitignore": "version.txt\nlink.txt\n", ".sdlc.yml": rules}, {})
    result = await ran(stage, change, "ls; cat version.txt")
    assert result.output == "version.txt\n1\n"


async def test_a_set_up_that_fails_is_told_with_its_reason_and_not_repeated_at_once(
    stage: Stage, money: GitRepository
) -> None:
    rules = "setup: ['echo preparing; echo \"error: no such compiler\" >&2; exit 3']\n"
    change = money.change({**NO_SETUP, ".sdlc.yml": rules}, {})
    environment = await ensured(stage, change)
    assert environment.state == "failed"
    assert "exit code 3: error: no such compiler." in environment.note
    assert "`setup:`" in environment.note
    again = await ensured(stage, change)
    assert again.log == environment.log
    assert again.made == environment.made


async def test_development_requirements_that_conflict_with_the_project_are_left_out_and_that_is_said(
    stage: Stage, money: GitRepository
) -> None:
    environment = await ensured(stage, money.change({**PACKAGE, "requirements-dev.txt": "money==0.5\n"}, {}))
    assert environment.state == "ready", environment.note
    assert environment.modules >= {"pytest", "coverage"}
    assert environment.note.endswith("it was made without requirements-dev.txt.")


async def test_a_set_up_that_takes_too_long_is_stopped_at_its_own_limit(stage: Stage, money: GitRepository) -> None:
    change = money.change({**NO_SETUP, ".sdlc.yml": "setup: sleep 60\n"}, {})
    services = stage.services
    impatient = Environments(stage.settings, services.workspaces, services.sandbox, services.artifacts, setup_seconds=2)
    async with services.workspaces.at(change.repository, change.head_sha) as workspace:
        environment = await impatient.ensure(workspace)
    assert environment.state == "failed"
    assert "within 2 s" in environment.note


async def test_an_environment_that_is_wanted_twice_at_once_is_made_once(stage: Stage, money: GitRepository) -> None:
    change = money.change({**NO_SETUP, ".sdlc.yml": "setup: sleep 0.5; date +%N\n"}, {})
    one, other = await asyncio.gather(ensured(stage, change), ensured(stage, change))
    assert one.state == other.state == "ready"
    assert one.made == other.made


async def test_one_that_was_left_half_made_is_made_again(stage: Stage, money: GitRepository) -> None:
    change = money.change({**NO_SETUP, ".sdlc.yml": "setup: echo whole > $HOME/x\nenv: {A: half}\n"}, {})
    first = await ensured(stage, change)
    folder = stage.settings.cache_dir / "environments" / first.key
    (folder / "ready.json").unlink()
    (folder / "env" / "half").mkdir()
    second = await ensured(stage, change)
    assert second.state == "ready"
    assert not (folder / "env" / "half").exists()


async def test_cancelling_a_set_up_leaves_nothing_that_counts_as_ready(stage: Stage, money: GitRepository) -> None:
    change = money.change({**NO_SETUP, ".sdlc.yml": "setup: sleep 30\nenv: {A: cancelled}\n"}, {})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await ensured(stage, change)
    made = (stage.settings.cache_dir / "environments").glob("*/ready.json")
    assert not any("cancelled" in path.read_text() for path in made)
    # What comes next makes it: nobody holds its lock any more.
    change = money.change({**NO_SETUP, ".sdlc.yml": "setup: sleep 0\nenv: {A: cancelled}\n"}, {})
    assert (await ensured(stage, change)).state == "ready"


async def test_without_a_sandbox_the_package_is_found_where_the_workspace_is(
    tmp_path: Path, money: GitRepository, stage: Stage
) -> None:
    bare = Stage.at(tmp_path, kind="none")
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache" / "packages").symlink_to(stage.settings.cache_dir / "packages")
    change = money.change(PACKAGE, {})
    environment = await ensured(bare, change)
    assert environment.state == "ready", environment.note
    async with bare.services.workspaces.at(change.repository, change.head_sha) as workspace:
        environment = await bare.services.environments.ensure(workspace)
        result = await bare.services.sandbox.run(
            ["python", "-c", "import money; print(money.__file__)"],
            workspace=workspace.path,
            timeout=20,
            env=environment.env,
            mounts=environment.mounts,
        )
        assert result.output.strip() == f"{workspace.path}/src/money/__init__.py"


def test_products_are_plain_files_only(tmp_path: Path) -> None:
    tree, store = tmp_path / "tree", tmp_path / "store"
    (tree / "a").mkdir(parents=True)
    (tree / "a" / "new.so").write_text("x")
    (tree / "a" / "known.py").write_text("x")
    (tree / "out").symlink_to("/etc")
    (tree / "passwd").symlink_to("/etc/passwd")
    assert keep_products(tree, {"a/known.py"}, store) == ["a/new.so"]
    assert sorted(path.name for path in store.rglob("*")) == ["a", "new.so"]
