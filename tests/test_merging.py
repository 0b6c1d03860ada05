"""Parts merged into the run's line and branches shown, on real repositories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sdlc.activities import MergePart, PartMerged, PublishBranch, TakeIn, TakenIn
from sdlc.config import ForgeSettings, Settings
from sdlc.domain import ChangeSet, Repository, RunIdentity
from sdlc.errors import GuardRailViolation, WorkspaceBroken
from sdlc.integrations.git.merging import leftover_markers, merge_squashed
from sdlc.integrations.services import Services
from sdlc.integrations.workspace import Workspaces
from sdlc.steps.merging import MergingSteps
from tests.repositories import Checkout, git, new_bare, new_checkout

RUN = RunIdentity(workflow_id="sdlc-ABC-1", run_id="r1", ticket_key="ABC-1")
Files = dict[str, str | bytes | None]
BASE: Files = {"a.txt": "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "b.txt": "b\n", "logo.png": b"\0\1base"}


@dataclass
class House:
    checkout: Checkout
    repository: Repository
    workspaces: Workspaces
    settings: Settings

    @property
    def forge(self) -> Path:
        return Path(self.repository.url)

    @property
    def steps(self) -> MergingSteps:
        services = SimpleNamespace(workspaces=self.workspaces, settings=self.settings, forge=self)
        return MergingSteps(cast(Services, services))

    async def open_repository(self, origin: str, *, base_branch: str = "") -> Repository:
        """As the forge has it now."""
        assert base_branch == self.repository.base_branch
        tip = git(self.forge, "rev-parse", f"refs/heads/{base_branch}")
        return self.repository.model_copy(update={"base_sha": tip})

    def base_moves(self, files: Files) -> str:
        moved = self.line("the base moves", files)
        git(self.forge, "update-ref", f"refs/heads/{self.repository.base_branch}", moved)
        return moved

    async def take_in(self, head: str, foreign: str = "", *, with_base: bool = False) -> TakenIn:
        request = TakeIn(run=RUN, change=self.change(head), head_sha=foreign, with_base=with_base)
        return await self.steps.take_in(request)

    def line(self, name: str, files: Files, *, start: str = "") -> str:
        """A commit on the base, or on `start`, that the forge has."""
        git(self.checkout.path, "checkout", "--quiet", "--detach", start or self.repository.base_sha)
        made = self.checkout.commit(files, name)
        git(self.checkout.path, "push", "--quiet", str(self.forge), f"{made}:refs/sdlc/r1/{made[:16]}")
        return made

    def change(self, head: str, branch: str = "sdlc/ABC-1-export") -> ChangeSet:
        base = self.repository.base_sha
        return ChangeSet(repository=self.repository, base_sha=base, head_sha=head, branch=branch)

    async def merge(self, head: str, part: str, title: str = "Add the export (p1)") -> PartMerged:
        request = MergePart(
            run=RUN, change=self.change(head), part=self.change(part, "sdlc/ABC-1-export--p1"), title=title
        )
        return await self.steps.merge_part(request)

    def shown(self, sha: str, path: str) -> str:
        return git(self.forge, "show", f"{sha}:{path}")


@pytest.fixture
def house(tmp_path: Path, settings: Settings) -> House:
    checkout = new_checkout(tmp_path / "checkout", BASE)
    repository = checkout.as_repository(str(new_bare(checkout, tmp_path / "forge.git")))
    repository = repository.model_copy(update={"origin": str(checkout.path)})
    return House(checkout, repository, Workspaces(tmp_path / "cache"), settings)


def numbers(changed: dict[int, str]) -> str:
    return "".join(f"{changed.get(number, number)}\n" for number in range(1, 10))


async def test_a_part_becomes_one_commit_on_the_runs_head(house: House) -> None:
    run = house.line("run", {"a.txt": numbers({1: "run"})})
    middle = house.line("part 1", {"a.txt": numbers({9: "draft"})})
    part = house.line("part 2", {"a.txt": numbers({9: "part"}), "new.txt": "new\n"}, start=middle)
    merged = await house.merge(run, part)
    head = merged.change.head_sha
    assert merged.conflicts == ()
    assert git(house.forge, "rev-list", "--parents", "-1", head).split() == [head, run]
    assert house.shown(head, "a.txt") == numbers({1: "run", 9: "part"}).strip()
    assert git(house.forge, "show", "-s", "--format=%s", head) == "feat(ABC-1): add the export (p1)"
    assert (merged.change.files_changed, merged.change.branch) == (2, "sdlc/ABC-1-export")
    assert git(house.forge, "rev-parse", f"refs/sdlc/r1/{head[:16]}") == head


async def test_merging_again_gives_the_same_commit_also_on_another_host(house: House, tmp_path: Path) -> None:
    run = house.line("run", {"b.txt": "run\n"})
    part = house.line("part", {"a.txt": numbers({5: "part"})})
    first = await house.merge(run, part)
    house.workspaces = Workspaces(tmp_path / "another")
    assert await house.merge(run, part) == first


async def test_a_part_that_adds_nothing_leaves_the_run_as_it_is(house: House) -> None:
    run = house.line("run", {"b.txt": "run\n"})
    for part in (house.repository.base_sha, run, house.line("the same", {"b.txt": "run\n"})):
        merged = await house.merge(run, part)
        assert (merged.change.head_sha, merged.conflicts) == (run, ())


async def test_conflicts_are_marked_and_named_and_so_are_those_without_markers(house: House) -> None:
    run = house.line(
        "run",
        {"a.txt": numbers({5: "run"}), "logo.png": b"\0\1run", "b.txt": None, "same.txt": "run\n", "clean.txt": "x\n"},
    )
    part = house.line(
        "part", {"a.txt": numbers({5: "part"}), "logo.png": b"\0\1part", "b.txt": "part\n", "same.txt": "part\n"}
    )
    merged = await house.merge(run, part)
    assert merged.conflicts == ("a.txt", "b.txt (modify/delete)", "logo.png (binary)", "same.txt")
    text = house.shown(merged.change.head_sha, "a.txt")
    assert f"<<<<<<< {run}\nrun\n=======\npart\n>>>>>>> {part}" in text
    assert house.shown(merged.change.head_sha, "clean.txt") == "x"
    assert git(house.forge, "rev-parse", f"refs/sdlc/r1/{merged.change.head_sha[:16]}") == merged.change.head_sha


async def test_a_file_that_was_renamed_in_two_ways_is_a_conflict(house: House) -> None:
    run = house.line("run", {"a.txt": None, "one.txt": BASE["a.txt"]})
    part = house.line("part", {"a.txt": None, "two.txt": BASE["a.txt"]})
    merged = await house.merge(run, part)
    assert merged.conflicts == ("a.txt (rename/rename)", "one.txt (rename/rename)", "two.txt (rename/rename)")


async def test_two_kinds_of_file_under_one_name_are_a_conflict(house: House) -> None:
    run = house.line("run", {"thing": "a file\n"})
    part = house.line("part", {"thing/inside.txt": "a folder\n"})
    merged = await house.merge(run, part)
    assert any("file/directory" in conflict for conflict in merged.conflicts)


async def test_names_with_unusual_characters_are_named_so_that_they_can_be_found_again(house: House) -> None:
    name = "späße\n.txt"
    run, part = house.line("run", {name: "run\n"}), house.line("part", {name: "part\n"})
    merged = await house.merge(run, part)
    assert merged.conflicts == ('"sp\\303\\244\\303\\237e\\n.txt"',)
    clone = house.workspaces.clones.of(house.repository.url)
    assert await leftover_markers(clone, merged.change.head_sha, merged.conflicts) == merged.conflicts


async def test_a_resolution_is_merged_in_place_of_the_part_and_no_marker_is_left_in_the_line(house: House) -> None:
    run = house.line("run", {"a.txt": numbers({5: "run"})})
    part = house.line("part", {"a.txt": numbers({5: "part"})})
    marked = (await house.merge(run, part)).change.head_sha
    git(house.checkout.path, "fetch", "--quiet", str(house.forge), f"refs/sdlc/r1/{marked[:16]}")
    resolved = house.line("resolved", {"a.txt": numbers({5: "run and part"})}, start=marked)
    merged = await house.merge(run, resolved)
    assert merged.conflicts == ()
    assert git(house.forge, "rev-list", "--parents", "-1", merged.change.head_sha).split()[1:] == [run]
    assert house.shown(merged.change.head_sha, "a.txt") == numbers({5: "run and part"}).strip()


async def test_markers_that_an_engine_has_left_are_still_conflicts(house: House) -> None:
    run = house.line("run", {"a.txt": numbers({5: "run"}), "b.txt": "run\n"})
    part = house.line("part", {"a.txt": numbers({5: "part"}), "b.txt": "part\n"})
    marked = (await house.merge(run, part)).change.head_sha
    git(house.checkout.path, "fetch", "--quiet", str(house.forge), f"refs/sdlc/r1/{marked[:16]}")
    half = house.line("half", {"a.txt": numbers({5: "both"}), "b.txt": f"run\npart\n>>>>>>> {part}\n"}, start=marked)
    assert (await house.merge(run, half)).conflicts == ("b.txt",)


async def test_a_text_about_conflicts_is_none(house: House) -> None:
    text = "<<<<<<< HEAD\nmine\n=======\nyours\n>>>>>>> feature\n"
    merged = await house.merge(house.line("run", {"b.txt": "run\n"}), house.line("part", {"guide.md": text}))
    assert merged.conflicts == ()


async def test_merge_drivers_and_filters_that_a_repository_names_are_not_run(house: House, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    evil: Files = {".gitattributes": "*.txt merge=evil filter=evil diff=evil\n"}
    start = house.line("attributes", evil)
    for key in ("merge.evil.driver", "filter.evil.clean", "filter.evil.smudge", "diff.evil.textconv"):
        git(house.forge, "config", key, f"touch {proof}")
    git(house.forge, "config", "merge.default", "evil")
    run = house.line("run", {"a.txt": numbers({5: "run"})}, start=start)
    part = house.line("part", {"a.txt": numbers({5: "part"})}, start=start)
    merged = await house.merge(run, part)
    assert merged.conflicts == ("a.txt",)
    assert not proof.exists()


async def test_histories_that_have_nothing_in_common_are_not_merged(house: House) -> None:
    git(house.checkout.path, "checkout", "--quiet", "--orphan", "other")
    other = house.checkout.commit({"x.txt": "x\n"})
    git(house.checkout.path, "push", "--quiet", str(house.forge), f"{other}:refs/sdlc/r1/other")
    clone = house.workspaces.clones.of(house.repository.url)
    with pytest.raises(WorkspaceBroken, match="unrelated histories"):
        await merge_squashed(clone, house.repository.base_sha, other, "m\n")


# --- branches ---------------------------------------------------------------------------------


async def publish(house: House, head: str) -> tuple[str, str]:
    shown = await house.steps.publish_branch(PublishBranch(run=RUN, change=house.change(head, "sdlc/LOOP-1")))
    return shown.branch, shown.url


async def test_a_result_is_a_branch_of_the_forge_and_of_the_persons_repository(house: House) -> None:
    head = house.line("work", {"b.txt": "work\n"})
    git(house.checkout.path, "checkout", "--quiet", "main")
    for _ in range(2):  # safe to repeat
        assert await publish(house, head) == ("sdlc/LOOP-1", str(house.checkout.path))
    for place in (house.forge, house.checkout.path):
        assert git(place, "rev-parse", "refs/heads/sdlc/LOOP-1") == head
    assert git(house.checkout.path, "status", "--porcelain") == ""


async def test_a_name_that_is_taken_gets_a_number(house: House) -> None:
    first, second = house.line("one", {"b.txt": "one\n"}), house.line("two", {"b.txt": "two\n"})
    git(house.checkout.path, "branch", "sdlc/LOOP-1", first)
    assert (await publish(house, second))[0] == "sdlc/LOOP-1-2"
    assert git(house.checkout.path, "rev-parse", "sdlc/LOOP-1", "sdlc/LOOP-1-2").split() == [first, second]


async def test_the_persons_repository_is_left_alone_where_the_settings_say_so(house: House) -> None:
    house.settings = house.settings.model_copy(update={"forge": ForgeSettings(publish_branch=False)})
    head = house.line("work", {"b.txt": "work\n"})
    assert (await publish(house, head)) == ("sdlc/LOOP-1", house.repository.url)
    assert git(house.checkout.path, "branch", "--list", "sdlc/*") == ""


async def test_a_persons_repository_that_takes_no_branch_is_no_failure(house: House, tmp_path: Path) -> None:
    house.repository = house.repository.model_copy(update={"origin": str(tmp_path / "gone")})
    head = house.line("work", {"b.txt": "work\n"})
    assert (await publish(house, head)) == ("sdlc/LOOP-1", house.repository.url)


# --- what others did -------------------------------------------------------------------------------


async def test_commits_on_top_of_the_runs_head_are_the_new_head_as_they_stand(house: House) -> None:
    run = house.line("run", {"a.txt": numbers({1: "run"})})
    theirs = house.line("by hand", {"b.txt": "by hand\n"}, start=run)
    taken = await house.take_in(run, theirs)
    assert taken.change.head_sha == theirs
    assert taken.change.files_changed == 2
    assert taken.authors == ("Ada",)
    assert taken.conflicts == ()


async def test_commits_beside_the_runs_are_joined_and_neither_history_is_lost(house: House) -> None:
    shown = house.line("shown", {"a.txt": numbers({1: "run"})})
    run = house.line("a fix round", {"a.txt": numbers({1: "run", 5: "fix"})}, start=shown)
    theirs = house.line("by hand", {"a.txt": numbers({1: "run", 9: "hand"})}, start=shown)
    taken = await house.take_in(run, theirs)
    head = taken.change.head_sha
    assert set(git(house.forge, "rev-list", "--parents", "-1", head).split()[1:]) == {run, theirs}
    assert house.shown(head, "a.txt") == numbers({1: "run", 5: "fix", 9: "hand"}).strip()
    assert git(house.forge, "rev-parse", f"refs/sdlc/r1/{head[:16]}") == head
    house.workspaces = Workspaces(house.workspaces.clones.of(house.repository.url).folder.parent.parent / "another")
    assert await house.take_in(run, theirs) == taken


async def test_a_branch_that_was_moved_back_gives_nothing_to_take_in(house: House) -> None:
    shown = house.line("shown", {"a.txt": numbers({1: "run"})})
    run = house.line("a fix round", {"a.txt": numbers({1: "fix"})}, start=shown)
    taken = await house.take_in(run, shown)
    assert (taken.change.head_sha, taken.conflicts) == (run, ())


async def test_a_base_that_has_moved_is_merged_and_only_the_change_itself_is_left_to_review(house: House) -> None:
    run = house.line("run", {"a.txt": numbers({1: "run"})})
    base = house.base_moves({"b.txt": "moved\n", "c.txt": "new\n"})
    taken = await house.take_in(run, with_base=True)
    assert (taken.change.base_sha, taken.change.repository.base_sha) == (base, base)
    assert taken.change.files_changed == 1
    assert house.shown(taken.change.head_sha, "c.txt") == "new"


async def test_lines_that_both_have_changed_are_marked_and_named(house: House) -> None:
    run = house.line("run", {"a.txt": numbers({1: "run"})})
    house.base_moves({"a.txt": numbers({1: "base"})})
    taken = await house.take_in(run, with_base=True)
    assert taken.conflicts == ("a.txt",)
    assert "<<<<<<<" in house.shown(taken.change.head_sha, "a.txt")


async def test_a_base_that_somebody_merged_into_the_branch_is_no_part_of_the_change(house: House) -> None:
    """As the forge's button "Update branch" does it."""
    run = house.line("run", {"a.txt": numbers({1: "run"})})
    base = house.base_moves({"c.txt": "new\n"})
    git(house.checkout.path, "checkout", "--quiet", "--detach", run)
    git(house.checkout.path, "merge", "--quiet", "--no-edit", base)
    git(house.checkout.path, "push", "--quiet", str(house.forge), "HEAD:refs/heads/sdlc/ABC-1-export")
    taken = await house.take_in(run, house.checkout.head)
    assert taken.change.head_sha == house.checkout.head
    assert taken.change.base_sha == base
    assert taken.change.files_changed == 1


async def test_what_people_have_pushed_is_held_against_the_guard_rails(house: House) -> None:
    run = house.line("run", {"a.txt": numbers({1: "run"})})
    theirs = house.line("by hand", {".github/workflows/ci.yml": "on: push\n"}, start=run)
    taken = await house.take_in(run, theirs)
    assert taken.protected == taken.unasked == (".github/workflows/ci.yml",)
    key = "AKIA" + "Q3EGRIFQ7XKZ2LMN"
    secret = house.line("a key", {"key.txt": f"aws_access_key_id = {key}\n"}, start=run)
    with pytest.raises(GuardRailViolation, match="Take it out of the branch") as refused:
        await house.take_in(run, secret)
    assert key not in str(refused.value)
