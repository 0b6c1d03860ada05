"""The tools on a real workspace and in the real sandbox, and what a turn leaves behind in git."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sdlc.config import EngineSettings, Settings
from sdlc.domain import RunIdentity
from sdlc.engines.batons import kept, work_ref
from sdlc.engines.conversation import ToolCall
from sdlc.engines.tools import Toolbox
from sdlc.errors import SandboxUnavailable
from sdlc.integrations.sandbox import open_sandbox
from sdlc.integrations.workspace import Workspace, Workspaces
from tests.repositories import git, new_bare, new_checkout

RUN = RunIdentity(workflow_id="sdlc-K-1", run_id="run1", ticket_key="K-1")
TOKEN = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF3gH6"


@dataclass
class Environment:
    state: str = "none"
    note: str = ""
    mounts: tuple[Any, ...] = ()

    @property
    def env(self) -> dict[str, str]:
        return {"FROM_ENVIRONMENT": "yes"}


@dataclass
class Bench:
    workspace: Workspace
    toolbox: Toolbox
    bare: Path

    async def shell(self, command: str) -> str:
        return await self.toolbox.answer(ToolCall(id="1", name="shell", arguments={"command": command}))

    async def edit(self, path: str, old_text: str, new_text: str) -> str:
        arguments = {"path": path, "old_text": old_text, "new_text": new_text}
        return await self.toolbox.answer(ToolCall(id="1", name="edit", arguments=arguments))

    async def keep(self, parent: str = "", turn: int = 1) -> tuple[str, str]:
        return await kept(self.workspace, parent or self.workspace.repository.base_sha, turn, RUN)


@pytest.fixture
async def bench(settings: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    sandbox = open_sandbox(settings.sandbox)
    try:
        await sandbox.check()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    files: dict[str, str | bytes | None] = {
        "calc.py": "x = 1\n",
        ".gitignore": "*.log\n",
        "settings.py": "TOKEN = ''\n",
        "long.py": "".join(f"line_{number} = {number}\n" for number in range(50)),
    }
    checkout = new_checkout(tmp_path / "work", files)
    bare = new_bare(checkout, tmp_path / "bare.git")
    environment = getattr(request, "param", Environment())

    async def ensure(workspace: object, scratch: str = "") -> Environment:
        return environment

    engine = EngineSettings(command_seconds=20, output_chars=2_000)
    async with Workspaces(settings.cache_dir).at(checkout.as_repository(str(bare)), checkout.head) as workspace:
        toolbox = Toolbox(workspace, sandbox, cast(Any, SimpleNamespace(ensure=ensure)), engine, 60)
        yield Bench(workspace, toolbox, bare)


async def test_a_command_sees_the_files_and_its_exit_code_comes_first(bench: Bench) -> None:
    assert await bench.shell("cat calc.py; exit 3") == "exit code 3\nx = 1"
    assert await bench.shell("true") == "exit code 0\n[no output]"


async def test_a_command_runs_in_bash_in_the_root_with_the_repository_s_environment(bench: Bench) -> None:
    assert await bench.shell("[[ -f calc.py ]] && echo $FROM_ENVIRONMENT") == "exit code 0\nyes"


async def test_files_last_from_one_command_to_the_next_and_reach_edit(bench: Bench) -> None:
    await bench.shell("mkdir -p pkg && echo 'y = 1' > pkg/mod.py")
    assert await bench.edit("pkg/mod.py", "y = 1", "y = 2") == "Edited pkg/mod.py at line 1."
    assert await bench.edit("pkg/new.py", "", "z = 1\n") == "Created pkg/new.py."
    assert (
        await bench.shell("cat pkg/*.py && echo 'z = 2' >> pkg/new.py && rm pkg/mod.py") == "exit code 0\ny = 2\nz = 1"
    )


async def test_long_output_is_cut_in_the_middle_with_its_size(bench: Bench) -> None:
    said = await bench.shell("for i in $(seq 5000); do echo line $i; done")
    assert said.startswith("exit code 0\nline 1\n")
    assert said.endswith("line 5000")
    assert "characters left out" in said
    assert len(said) < 2_200


async def test_a_command_that_hangs_is_stopped_and_told(bench: Bench) -> None:
    bench.toolbox.settings = bench.toolbox.settings.model_copy(update={"command_seconds": 1})
    said = await bench.shell("echo before; sleep 60")
    assert said.startswith("stopped after 1 s (time limit)")
    assert "before" in said


async def test_when_the_message_s_time_is_over_the_next_command_is_not_begun(bench: Bench) -> None:
    bench.toolbox.seconds = 0.5
    assert "is over" in await bench.shell("touch a")
    assert not (bench.workspace.path / "a").exists()


async def test_an_empty_command_is_told(bench: Bench) -> None:
    assert "empty" in await bench.shell("  ")
    assert "NUL" in await bench.shell("echo a\0b")


async def test_git_works_for_the_model_and_shows_the_state_of_the_turn(bench: Bench) -> None:
    await bench.edit("calc.py", "x = 1", "x = 2")
    said = await bench.shell("git diff origin/main --stat && git status --short")
    assert "1 file changed" in said
    assert " M calc.py" in said


@pytest.mark.parametrize("bench", [Environment(state="failed", note="no pytest to be had")], indirect=True)
async def test_a_failed_environment_is_told_and_the_command_is_run_all_the_same(bench: Bench) -> None:
    said = await bench.shell("echo ran")
    assert said.startswith("exit code 0\n[The repository's environment could not be set up")
    assert "no pytest to be had" in said
    assert said.endswith("ran")


async def test_escape_sequences_and_bidi_in_output_are_made_harmless(bench: Bench) -> None:
    said = await bench.shell(r"printf '\033[31mred\033[0m \xe2\x80\xae'")
    assert said == "exit code 0\nred \\u202e"


async def test_the_workspace_can_not_be_left_by_edit_through_a_link_made_in_the_sandbox(bench: Bench) -> None:
    await bench.shell("ln -s /etc etc; ln -s ../../.. up; ln -s /etc/passwd pw")
    for path in ("etc/hosts", "up/x", "pw"):
        assert "inside the repository" in await bench.edit(path, "root", "toor")


async def test_a_turn_is_one_published_commit_on_its_parent(bench: Bench) -> None:
    await bench.edit("calc.py", "x = 1", "x = 2")
    sha, note = await bench.keep()
    assert note == ""
    assert git(bench.bare, "rev-parse", work_ref(RUN, sha)) == sha
    assert git(bench.bare, "rev-parse", f"{sha}^") == bench.workspace.repository.base_sha
    assert git(bench.bare, "show", f"{sha}:calc.py") == "x = 2"


async def test_a_turn_without_a_change_is_its_parent(bench: Bench) -> None:
    await bench.shell("echo x > a.log; touch calc.py; mkdir empty")
    assert await bench.keep() == (bench.workspace.repository.base_sha, "")


async def test_two_keeps_in_one_workspace_follow_each_other(bench: Bench) -> None:
    await bench.edit("calc.py", "x = 1", "x = 2")
    first, _ = await bench.keep()
    assert await bench.keep(first, 2) == (first, "")
    await bench.edit("calc.py", "x = 2", "x = 3")
    second, _ = await bench.keep(first, 3)
    assert git(bench.bare, "rev-parse", f"{second}^") == first


async def test_a_file_with_a_secret_is_left_as_it_was_and_the_rest_is_kept(bench: Bench) -> None:
    await bench.edit("calc.py", "x = 1", "x = 2")
    await bench.edit("settings.py", "''", f"'{TOKEN}'")
    await bench.edit("new.py", "", f"T = '{TOKEN}'\n")
    sha, note = await bench.keep()
    assert "settings.py:1 (GitHub token)" in note
    assert "new.py:1 (GitHub token)" in note
    assert TOKEN not in note
    assert git(bench.bare, "show", f"{sha}:settings.py") == "TOKEN = ''"
    assert git(bench.bare, "diff", "--name-only", f"{sha}^", sha) == "calc.py"
    again, note = await bench.keep(sha, 2)
    assert again == sha
    assert "settings.py:1" in note


async def test_a_moved_file_with_a_secret_stays_at_its_old_place(bench: Bench) -> None:
    await bench.shell(f"mv long.py moved.py && echo \"T = '{TOKEN}'\" >> moved.py && echo y >> calc.py")
    sha, note = await bench.keep()
    assert "moved.py:51" in note
    assert git(bench.bare, "diff", "--name-only", f"{sha}^", sha) == "calc.py"


async def test_what_git_refuses_is_told_and_nothing_of_it_is_kept(bench: Bench) -> None:
    await bench.edit("calc.py", "x = 1", "x = 2")
    await bench.shell("ln -s /etc/passwd pw")
    sha, note = await bench.keep()
    assert sha == bench.workspace.repository.base_sha
    assert note.startswith("[Nothing of this message's changes was kept: pw is a symbolic link")
