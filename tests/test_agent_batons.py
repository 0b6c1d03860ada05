"""What is looked at before a turn or a round is kept, on real repositories."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sdlc.activities import EngineRequest
from sdlc.domain import ArtifactRef, ChangeSet, RunIdentity
from sdlc.engines import batons
from sdlc.engines.batons import finished, kept
from sdlc.engines.guard_rails import secrets_added
from sdlc.errors import GuardRailViolation
from sdlc.integrations.git.objects import GitObjects
from sdlc.integrations.workspace import Workspaces
from tests.repositories import Checkout, git, new_bare, new_checkout

RUN = RunIdentity(workflow_id="sdlc-CALC-1", run_id="r1", ticket_key="CALC-1")
TOKEN = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF3gH6"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return new_checkout(tmp_path / "work", {"calc.py": "x = 1\n"})


def request(checkout: Checkout, base: str) -> EngineRequest:
    repository = checkout.as_repository().model_copy(update={"base_sha": base})
    change = ChangeSet(repository=repository, base_sha=base, head_sha=base, branch="sdlc/CALC-1")
    return EngineRequest(run=RUN, change=change, brief=ArtifactRef(sha256="0" * 64, size=1), max_turns=1)


@pytest.mark.parametrize("width", [1, 300], ids=["lines", "files"])
async def test_a_change_that_is_too_large_is_refused_before_its_diff_is_read(
    tmp_path: Path, checkout: Checkout, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    base = checkout.head
    head = checkout.commit({f"data/{number}.txt": "a\n" * (21_000 // width) for number in range(width)})

    async def unread(*_: object, **__: object) -> str:
        raise AssertionError("the diff was read")

    monkeypatch.setattr(GitObjects, "diff", unread)
    with pytest.raises(GuardRailViolation, match="are the most that can be reviewed"):
        await finished(Workspaces(tmp_path / "cache"), request(checkout, base), head, "Done.", "submitted")


async def test_secrets_are_looked_for_beside_the_event_loop_in_portions_and_in_every_file(
    tmp_path: Path, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    diffs: list[str] = []

    def watched(diff: str) -> object:
        assert threading.current_thread() is not threading.main_thread()
        diffs.append(diff)
        return secrets_added(diff)

    monkeypatch.setattr(batons, "secrets_added", watched)
    base = checkout.head
    bare = new_bare(checkout, tmp_path / "calc.git")
    async with Workspaces(tmp_path / "cache").at(checkout.as_repository(str(bare)), base) as workspace:
        for number in range(450):
            (workspace.path / f"{number:03}.txt").write_text(f"word {number}\n")
        (workspace.path / "449.txt").write_text(f"{TOKEN}\n")
        (workspace.path / "picture.png").write_bytes(b"\0" + TOKEN.encode())
        sha, note = await kept(workspace, base, 1, RUN)
    assert [diff.count("diff --git") for diff in diffs] == [200, 200, 50]
    assert "449.txt:1 (GitHub token)" in note
    assert "picture.png:1 (GitHub token)" in note
    there = git(bare, "ls-tree", "--name-only", sha).splitlines()
    assert len(there) == 450
    assert not {"449.txt", "picture.png"} & set(there)
