"""Files that programs leave to make git wait or give up, or to fill the repository: runs go on without them."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sdlc.domain import Repository, RunIdentity
from sdlc.engines import checkpoints as checkpoints_module
from sdlc.engines import command_copy
from sdlc.engines.checkpoints import Checkpoints
from sdlc.engines.command_copy import Allowance, Mirror
from sdlc.errors import ServiceUnavailable
from sdlc.integrations.git import worktree as worktree_module
from sdlc.integrations.git.runner import Git
from sdlc.integrations.git.worktree import READ_BY_GIT, remove_special
from sdlc.integrations.workspace import Workspace, Workspaces
from tests.repositories import git, new_bare, new_checkout

RUN = RunIdentity(workflow_id="w", run_id="r1", ticket_key="CALC-1")
FILES: dict[str, str | bytes | None] = {"a": "1\n", "s/b": "1\n", ".gitignore": "build/\n"}
LONG_ENOUGH = 20.0
"""Seconds; a git that waits for a writer does it for ever."""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    checkout = new_checkout(tmp_path / "checkout", FILES)
    return checkout.as_repository(str(new_bare(checkout, tmp_path / "forge.git")))


@pytest.fixture
def workspaces(tmp_path: Path) -> Workspaces:
    return Workspaces(tmp_path / "cache")


def at_the_top(tree: Path) -> None:
    os.mkfifo(tree / ".gitattributes")
    (tree / "s" / "b").write_text("2\n")  # so that git asks for its attributes


def in_a_folder(tree: Path) -> None:
    os.mkfifo(tree / "s" / ".gitignore")
    (tree / "s" / "new").write_text("2\n")


def in_the_place_of_a_file(tree: Path) -> None:
    (tree / ".gitignore").unlink()
    os.mkfifo(tree / ".gitignore")


PIPES = pytest.mark.parametrize("pipe", [at_the_top, in_a_folder, in_the_place_of_a_file])


# --- pipes in workspaces --------------------------------------------------------------------


@PIPES
async def test_a_pipe_that_git_would_read_does_not_stop_the_next_run(
    workspaces: Workspaces, repository: Repository, pipe: Callable[[Path], None]
) -> None:
    async with workspaces.at(repository, repository.base_sha, run_id="r1") as workspace:
        pipe(workspace.path)
        untouched = (workspace.path / "a").stat()
    async with asyncio.timeout(LONG_ENOUGH), workspaces.at(repository, repository.base_sha, run_id="r2") as workspace:
        found = {str(p.relative_to(workspace.path)): p.read_text() for p in workspace.path.rglob("*") if p.is_file()}
        assert found == FILES
        assert not [p for p in workspace.path.rglob("*") if p.is_fifo()]
        assert (workspace.path / "a").stat().st_ino == untouched.st_ino


async def test_a_workspace_in_which_git_waits_for_ever_is_built_anew(
    workspaces: Workspaces, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with workspaces.at(repository, repository.base_sha, run_id="r1") as workspace:
        at_the_top(workspace.path)
    monkeypatch.setattr(worktree_module, "remove_special", lambda *_: None)
    monkeypatch.setitem(Git.run.__kwdefaults__, "timeout", 2.0)  # type: ignore[arg-type]
    async with asyncio.timeout(LONG_ENOUGH), workspaces.at(repository, repository.base_sha, run_id="r2") as workspace:
        assert (workspace.path / "s" / "b").read_text() == "1\n"


async def test_folders_within_one_another_by_the_thousand_hold_the_next_run_up_for_a_moment_only(
    workspaces: Workspaces, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worktree_module, "_CLEAN_SECONDS", 1.0)
    async with workspaces.at(repository, repository.base_sha, run_id="r1") as workspace:
        folders_within(workspace.path, "d", 1_900)
    async with asyncio.timeout(LONG_ENOUGH), workspaces.at(repository, repository.base_sha, run_id="r2") as workspace:
        assert sorted(os.listdir(workspace.path)) == [".gitignore", "a", "s"]


def folders_within(place: Path, name: str, count: int) -> None:
    """`count` folders one in another, the innermost with a file; deeper than a path can be long."""
    folder = os.open(place, os.O_RDONLY)
    for _ in range(count):
        os.mkdir(name, dir_fd=folder)
        above, folder = folder, os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(above)
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)


@PIPES
async def test_a_commit_is_made_where_a_pipe_lies_that_git_would_read(
    workspaces: Workspaces, repository: Repository, pipe: Callable[[Path], None]
) -> None:
    async with workspaces.at(repository, repository.base_sha) as workspace:
        pipe(workspace.path)
        (workspace.path / "good").write_text("1\n")
        async with asyncio.timeout(LONG_ENOUGH):
            sha = await workspace.commit("one")
        assert "good" in {file.path for file in await workspace.changed_files(repository.base_sha, sha)}


async def test_files_are_laid_over_a_folder_with_a_pipe_that_git_would_read(
    workspaces: Workspaces, repository: Repository
) -> None:
    async with workspaces.at(repository, repository.base_sha) as workspace:
        at_the_top(workspace.path)
        async with asyncio.timeout(LONG_ENOUGH):
            await workspace.overlay(repository.base_sha, ["s"])
        assert (workspace.path / "s" / "b").read_text() == "1\n"


def test_special_files_go_and_nothing_else_does_nor_what_a_link_leads_to(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    for folder in (tree / "d" / "e", outside):
        folder.mkdir(parents=True)
    os.mkfifo(outside / "pipe")
    os.mkfifo(tree / "d" / "e" / "pipe")
    os.mkfifo(tree / "d" / ".mailmap")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "d" / "socket"))
    (tree / "d" / "file").write_text("x")
    (tree / "link").symlink_to(outside)
    (tree / "d" / "pipe-link").symlink_to(outside / "pipe")
    remove_special(tree, READ_BY_GIT)
    assert sorted(os.listdir(tree / "d")) == ["e", "file", "pipe-link", "socket"]
    assert os.listdir(tree / "d" / "e") == ["pipe"]
    remove_special(tree)
    assert sorted(os.listdir(tree / "d")) == ["e", "file", "pipe-link"]
    assert os.listdir(tree / "d" / "e") == []
    assert os.listdir(outside) == ["pipe"]
    assert (tree / "link").is_symlink()


# --- checkpoints ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    checkpoints: Checkpoints
    workspace: Workspace
    forge: Path

    def content(self, path: str) -> str:
        return git(self.forge, "show", f"{self.checkpoints.head}:{path}")


@asynccontextmanager
async def begun(workspaces: Workspaces, repository: Repository) -> AsyncIterator[Stage]:
    async with workspaces.at(repository, repository.base_sha, run_id="r1") as workspace:
        checkpoints = Checkpoints(workspaces, workspace, RUN, repository.base_sha, ())
        try:
            yield Stage(checkpoints, workspace, Path(repository.url))
        finally:
            await checkpoints.close()


@PIPES
async def test_a_pipe_costs_a_checkpoint_while_the_program_lives_and_none_after_its_death(
    workspaces: Workspaces, repository: Repository, monkeypatch: pytest.MonkeyPatch, pipe: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(checkpoints_module, "_LOOK_SECONDS", 1.0)
    async with begun(workspaces, repository) as stage, asyncio.timeout(LONG_ENOUGH):
        pipe(stage.workspace.path)
        (stage.workspace.path / "good").write_text("1")
        with pytest.raises(ServiceUnavailable, match="did not end within 1 s"):
            await stage.checkpoints.take(1)
        assert [p for p in stage.workspace.path.rglob("*") if p.is_fifo()]
        await stage.checkpoints.take_last(2)
        assert stage.content("good") == "1"


async def test_the_last_checkpoint_has_an_end(
    workspaces: Workspaces, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints_module, "_LAST_SECONDS", 1.0)

    async def for_ever(*_: object) -> tuple[str, str]:
        await asyncio.Event().wait()
        return "", ""

    monkeypatch.setattr(checkpoints_module, "kept", for_ever)
    async with begun(workspaces, repository) as stage, asyncio.timeout(LONG_ENOUGH):
        (stage.workspace.path / "good").write_text("1")
        with pytest.raises(ServiceUnavailable, match="could not be published within 1 s"):
            await stage.checkpoints.take_last(1)


async def test_who_is_cut_off_while_files_are_copied_leaves_no_thread_in_the_copy(
    workspaces: Workspaces, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with begun(workspaces, repository) as stage, asyncio.timeout(LONG_ENOUGH):
        for number in range(200):
            (stage.workspace.path / f"f{number}").write_text("1")
        reached, slow = asyncio.Event(), Mirror._bring
        copied: list[bytes] = []
        loop = asyncio.get_running_loop()
        pause = threading.Event()

        def bring(mirror: Mirror, path: bytes) -> str:
            loop.call_soon_threadsafe(reached.set)
            copied.append(path)
            pause.wait(0.05)
            return slow(mirror, path)

        monkeypatch.setattr(Mirror, "_bring", bring)
        taking = asyncio.create_task(stage.checkpoints.take(1))
        await reached.wait()
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert len(copied) < 50
        after = len(copied)
        await asyncio.sleep(0.2)
        assert len(copied) == after


async def test_a_folder_deeper_than_a_path_can_be_is_left_out_and_said(
    workspaces: Workspaces, repository: Repository
) -> None:
    async with begun(workspaces, repository) as stage:
        folders_within(stage.workspace.path, "d" * 200, 60)
        (stage.workspace.path / "good").write_text("1")
        await stage.checkpoints.take(1)
        assert stage.content("good") == "1"
        assert stage.checkpoints.left_out == f"{'d' * 100}… goes deeper than a path can be long; remove it."
    async with asyncio.timeout(LONG_ENOUGH), workspaces.at(repository, repository.base_sha, run_id="r2") as workspace:
        assert sorted(os.listdir(workspace.path)) == [".gitignore", "a", "s"]


# --- volume ---------------------------------------------------------------------------------


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 bytes at once, 250 in all, 50 of them for files up to 10 bytes."""
    for name, value in {"MAX_COPIED_BYTES": 100, "MAX_RUN_BYTES": 250, "_SMALL": 10, "_FOR_SMALL": 50}.items():
        monkeypatch.setattr(command_copy, name, value)


@pytest.mark.usefixtures("bounds")
def test_a_file_that_is_written_anew_again_and_again_is_kept_until_it_was_too_much(tmp_path: Path) -> None:
    source, target, other = (tmp_path / name for name in ("source", "target", "other"))
    for folder in (source, target, other):
        folder.mkdir()
    allowance = Allowance()
    mirror = Mirror(source, target, allowance)

    def written(content: str) -> None:
        (source / "big").unlink(missing_ok=True)  # another inode, whatever the clock says
        (source / f"draft{content}").write_text(content * 90)
        (source / f"draft{content}").rename(source / "big")

    for turn in ("1", "2"):
        written(turn)
        assert mirror.bring([b"big"]) == []
    written("3")
    (source / "small").write_text("code")
    refused = ["big and what was kept before it are more than 0 MiB together."]
    assert mirror.bring([b"big", b"small"]) == refused
    assert (target / "big").read_text() == "2" * 90
    assert (target / "small").read_text() == "code"
    assert Mirror(source, other, allowance).bring([b"big"]) == refused
    assert mirror.bring([b"big"], last=True) == []
    assert (target / "big").read_text() == "3" * 90


@pytest.mark.usefixtures("bounds")
def test_a_file_that_is_too_much_takes_no_room_from_those_after_it(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target):
        folder.mkdir()
    for name, size in {"a": 60, "b": 60, "c": 30}.items():
        (source / name).write_text("x" * size)
    assert Mirror(source, target).bring([b"a", b"b", b"c"]) == ["b and others are more than 0 MiB together."]
    assert sorted(os.listdir(target)) == ["a", "c"]


@pytest.mark.usefixtures("bounds")
async def test_what_checkpoints_left_out_the_last_one_holds(workspaces: Workspaces, repository: Repository) -> None:
    async with begun(workspaces, repository) as stage:
        for turn in range(4):
            (stage.workspace.path / f"big{turn}").write_text(str(turn) * 80)
            await stage.checkpoints.take(turn)
        assert "big3 and what was kept before it" in stage.checkpoints.left_out
        (stage.workspace.path / "big0").unlink()
        await stage.checkpoints.take_last(5)
        assert stage.checkpoints.left_out == ""
        assert stage.content("big3") == "3" * 80
