"""What is compared in a person's checkout, and how it becomes commits of ours: on real repositories, left untouched."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sdlc.errors import RepositoryInvalid
from sdlc.integrations.git import Git, GitObjects, snapshot
from sdlc.integrations.git.clones import Clones
from sdlc.integrations.git.comparison import Comparison, Wish, compared
from sdlc.integrations.git.paths import path_text
from tests.repositories import Checkout, git, new_bare, new_checkout

FILES: dict[str, str | bytes | None] = {"app.py": "one = 1\n", "lib/money.py": "two = 2\n", ".gitignore": "*.log\n"}


@pytest.fixture(autouse=True)
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, with no configuration in it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_INDEX_FILE", "GIT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return new_checkout(tmp_path / "checkout", FILES)


async def look(place: Checkout | Path, **wish: Any) -> Comparison:
    folder = place.path if isinstance(place, Checkout) else place
    cache = folder.parent / "cache"
    return await compared(Git(cache / "git"), cache, folder, Wish(**wish))


def changes(comparison: Comparison) -> dict[str, str]:
    """Status by path."""
    shown = git(
        Path(comparison.url), "diff-tree", "-r", "-z", "--name-status", comparison.base_sha, comparison.head_sha
    )
    parts = shown.split("\0")
    return dict(zip(parts[1::2], parts[::2], strict=False))


def content(comparison: Comparison, path: str) -> bytes:
    blob = git(Path(comparison.url), "rev-parse", f"{comparison.head_sha}:{path}")
    arguments = ["git", "cat-file", "blob", blob]
    return subprocess.run(arguments, cwd=comparison.url, capture_output=True, check=True, timeout=30).stdout


def everything_below(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, date and content of all files."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


# --- what is compared -------------------------------------------------------------------------


async def test_on_the_default_branch_the_uncommitted_changes_are_looked_at(checkout: Checkout) -> None:
    checkout.write({"app.py": "one = 11\n", "new.py": "x = 1\n", "lib/money.py": None, "noise.log": "no\n"})
    seen = await look(checkout)
    assert changes(seen) == {"app.py": "M", "new.py": "A", "lib/money.py": "D"}
    assert seen.told == f"working tree against HEAD ({checkout.head[:9]})"
    assert (seen.base, seen.head, seen.branch) == (checkout.head, "", "main")


async def test_without_uncommitted_changes_there_it_is_the_last_commit(checkout: Checkout) -> None:
    before = checkout.head
    after = checkout.commit({"app.py": "one = 11\n"}, "Count to eleven")
    seen = await look(checkout)
    assert changes(seen) == {"app.py": "M"}
    assert seen.told == f"main against HEAD~1 ({before[:9]})"
    assert (seen.base, seen.head, seen.messages) == (before, after, ("Count to eleven",))


async def test_a_branch_is_compared_with_where_it_left_the_default_branch(checkout: Checkout) -> None:
    left = checkout.head
    git(checkout.path, "switch", "--quiet", "--create", "feature")
    checkout.commit({"feature.py": "f = 1\n"}, "One")
    checkout.commit({"more.py": "g = 1\n"}, "Two\n\nWith a reason.")
    git(checkout.path, "switch", "--quiet", "main")
    checkout.commit({"other.py": "somebody else's\n"})
    git(checkout.path, "switch", "--quiet", "feature")
    committed = await look(checkout)
    assert committed.told == f"feature against main (merge base {left[:9]})"
    assert committed.head == checkout.head
    assert committed.messages == ("One", "Two\n\nWith a reason.")
    checkout.write({"app.py": "one = 11\n"})
    seen = await look(checkout)
    assert changes(seen) == {"feature.py": "A", "more.py": "A", "app.py": "M"}
    assert seen.told == f"working tree against main (merge base {left[:9]})"


async def test_a_default_branch_that_is_behind_its_origin_is_not_held_against_the_work(
    tmp_path: Path, checkout: Checkout
) -> None:
    bare = new_bare(checkout, tmp_path / "origin.git")
    git(tmp_path, "clone", "--quiet", str(bare), "mine")
    mine = Checkout(tmp_path / "mine")
    git(checkout.path, "push", "--quiet", str(bare), f"{checkout.commit({'theirs.py': 'x = 1'})}:refs/heads/main")
    git(mine.path, "fetch", "--quiet")
    git(mine.path, "switch", "--quiet", "--create", "feature", "origin/main")
    mine.commit({"mine.py": "y = 1\n"})
    assert changes(await look(mine)) == {"mine.py": "A"}


async def test_the_default_branch_is_the_one_that_the_origin_names(tmp_path: Path, checkout: Checkout) -> None:
    git(checkout.path, "branch", "--move", "main", "stable")
    git(checkout.path, "branch", "master")
    git(tmp_path, "clone", "--quiet", str(checkout.path), "mine")
    mine = Checkout(tmp_path / "mine")
    git(mine.path, "switch", "--quiet", "--create", "feature")
    mine.commit({"mine.py": "y = 1\n"})
    assert " against stable (" in (await look(mine)).told


async def test_a_branch_that_the_default_branch_has_whole_brings_nothing(checkout: Checkout) -> None:
    git(checkout.path, "branch", "feature")
    checkout.commit({"later.py": "x = 1\n"})
    git(checkout.path, "switch", "--quiet", "feature")
    seen = await look(checkout)
    assert seen.base_sha == seen.head_sha
    git(checkout.path, "merge", "--quiet", "--ff-only", "main")
    fresh = await look(checkout)
    assert fresh.base_sha == fresh.head_sha
    git(checkout.path, "switch", "--quiet", "--detach")
    assert changes(await look(checkout)) == {"later.py": "A"}


@pytest.mark.parametrize("base", ["HEAD~1", "v1", "old", "origin-only"])
async def test_the_base_can_be_a_branch_a_tag_a_commit_or_a_branch_of_the_origin(
    tmp_path: Path, checkout: Checkout, base: str
) -> None:
    git(checkout.path, "tag", "--annotate", "v1", "--message", "one")
    git(checkout.path, "branch", "old")
    git(checkout.path, "update-ref", "refs/remotes/origin/origin-only", checkout.head)
    checkout.commit({"app.py": "one = 11\n"})
    checkout.write({"new.py": "x = 1\n"})
    seen = await look(checkout, base=base)
    assert changes(seen) == {"app.py": "M", "new.py": "A"}
    assert seen.told.startswith(f"working tree against {base} (")


async def test_a_named_commit_is_looked_at_instead_of_the_files(checkout: Checkout) -> None:
    first = checkout.head
    second = checkout.commit({"app.py": "one = 2\n"})
    checkout.commit({"app.py": "one = 3\n"})
    checkout.write({"new.py": "x = 1\n"})
    seen = await look(checkout, head="HEAD~1")
    assert (changes(seen), seen.base, seen.head) == ({"app.py": "M"}, first, second)
    assert content(seen, "app.py") == b"one = 2\n"


async def test_what_is_staged_is_compared_with_head(checkout: Checkout) -> None:
    git(checkout.path, "switch", "--quiet", "--create", "feature")
    checkout.commit({"earlier.py": "e = 1\n"})
    checkout.write({"app.py": "one = 11\n"})
    git(checkout.path, "add", "app.py")
    checkout.write({"app.py": "one = 111\n", "not-staged.py": "x = 1\n"})
    seen = await look(checkout, staged=True)
    assert (changes(seen), content(seen, "app.py")) == ({"app.py": "M"}, b"one = 11\n")
    assert seen.told == f"staged changes against HEAD ({checkout.head[:9]})"
    assert changes(await look(checkout, staged=True, base="main")) == {"app.py": "M", "earlier.py": "A"}


async def test_within_a_hook_the_index_that_git_hands_it_is_looked_at(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for `git commit -a`, whose index is not yet the repository's."""
    checkout.write({"app.py": "one = 11\n"})
    handed = checkout.path / ".git" / "index.lock"
    shutil.copy2(checkout.path / ".git" / "index", handed)
    git(checkout.path, "update-index", "app.py", GIT_INDEX_FILE=str(handed))
    monkeypatch.chdir(checkout.path)
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index.lock")
    assert changes(await look(checkout, staged=True)) == {"app.py": "M"}
    monkeypatch.setenv("GIT_INDEX_FILE", str(checkout.path.parent / "other" / "index"))
    assert changes(await look(checkout, staged=True)) == {}


async def test_a_detached_head_is_compared_as_a_branch_is(checkout: Checkout) -> None:
    git(checkout.path, "switch", "--quiet", "--detach")
    left = checkout.head
    checkout.commit({"app.py": "one = 11\n"})
    seen = await look(checkout)
    assert (changes(seen), seen.branch) == ({"app.py": "M"}, "")
    assert seen.told == f"HEAD against main ({left[:9]})"


async def test_before_the_first_commit_everything_is_new(tmp_path: Path) -> None:
    checkout = new_checkout(tmp_path / "empty")
    assert changes(await look(checkout)) == {}
    checkout.write({"app.py": "one = 1\n", "other.py": "x = 1\n"})
    git(checkout.path, "add", "app.py")
    staged = await look(checkout, staged=True)
    assert changes(staged) == {"app.py": "A"}
    assert staged.told == "staged changes against nothing (there is no commit yet)"
    assert changes(await look(checkout)) == {"app.py": "A", "other.py": "A"}


async def test_the_first_commit_is_compared_with_nothing(checkout: Checkout) -> None:
    seen = await look(checkout)
    assert changes(seen) == dict.fromkeys(FILES, "A")
    assert seen.told == "main against nothing (it is the first commit)"


async def test_a_subfolder_a_worktree_and_the_git_folder_itself_mean_the_repository(
    tmp_path: Path, checkout: Checkout
) -> None:
    checkout.write({"app.py": "one = 11\n"})
    for folder in (checkout.path / "lib", checkout.path / ".git", checkout.path / ".git" / "refs"):
        seen = await compared(Git(tmp_path / "cache" / "git"), tmp_path / "cache", folder, Wish())
        assert (changes(seen), seen.place.top) == ({"app.py": "M"}, checkout.path)
    git(checkout.path, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "other"))
    beside = Checkout(tmp_path / "other")
    beside.write({"beside.py": "x = 1\n"})
    seen = await look(beside)
    assert (changes(seen), seen.branch, seen.place.top) == ({"beside.py": "A"}, "other", beside.path)


async def test_of_a_bare_repository_the_last_commit_is_looked_at(tmp_path: Path, checkout: Checkout) -> None:
    checkout.commit({"app.py": "one = 11\n"})
    bare = new_bare(checkout, tmp_path / "bare.git")
    seen = await look(bare)
    assert (changes(seen), seen.place.top) == ({"app.py": "M"}, None)
    with pytest.raises(RepositoryInvalid, match="bare repository, so nothing is staged"):
        await look(bare, staged=True)


async def test_the_same_files_are_the_same_commits_whenever_they_are_looked_at(checkout: Checkout) -> None:
    checkout.write({"app.py": "one = 11\n"})
    first, second = await look(checkout), await look(checkout)
    assert (first.base_sha, first.head_sha) == (second.base_sha, second.head_sha)


# --- what can't be compared -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"base": "nope"}, r"no branch, tag or commit 'nope' \(its branches: feature, main\)"),
        ({"head": "--all"}, "no branch, tag or commit '--all'"),
        ({"head": "a\nb"}, "no branch, tag or commit"),
        ({"base": "HEAD:app.py"}, "no branch, tag or commit"),
        ({"base": "unrelated"}, "no commit in common with HEAD"),
    ],
)
async def test_a_name_that_leads_nowhere_is_told_in_a_sentence(
    checkout: Checkout, wish: dict[str, str], words: str
) -> None:
    tree = git(checkout.path, "rev-parse", "HEAD^{tree}")
    git(checkout.path, "update-ref", "refs/tags/unrelated", git(checkout.path, "commit-tree", tree, "-m", "alone"))
    git(checkout.path, "branch", "feature")
    with pytest.raises(RepositoryInvalid, match=words):
        await look(checkout, **wish)


async def test_what_is_no_repository_on_this_machine_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name, words in (("folder", "is not in a git repository"), ("file", "is a file"), ("none", "no folder")):
        with pytest.raises(RepositoryInvalid, match=words):
            await look(tmp_path / name)
    with pytest.raises(RepositoryInvalid, match="not on this machine"):
        await compared(Git(tmp_path / "git"), tmp_path, "https://example.org/a.git", Wish())


async def test_without_a_branch_to_compare_with_one_has_to_be_named(checkout: Checkout) -> None:
    git(checkout.path, "branch", "--move", "main", "one")
    git(checkout.path, "branch", "two")
    with pytest.raises(RepositoryInvalid, match="name one with --base"):
        await look(checkout)
    assert (await look(checkout, base="two")).told.startswith("one against two")


async def test_a_base_needs_a_commit_that_it_can_be_compared_with(tmp_path: Path, checkout: Checkout) -> None:
    git(checkout.path, "switch", "--quiet", "--orphan", "fresh")
    with pytest.raises(RepositoryInvalid, match="leave --base out"):
        await look(checkout, base="main")


async def test_a_bare_repository_without_a_commit_is_told(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "empty.git")
    with pytest.raises(RepositoryInvalid, match="no commit yet"):
        await look(tmp_path / "empty.git")


async def test_a_shallow_clone_that_lacks_the_merge_base_says_how_to_get_it(tmp_path: Path, checkout: Checkout) -> None:
    git(checkout.path, "switch", "--quiet", "--create", "feature")
    for number in range(3):
        checkout.commit({"app.py": f"one = {number}\n"})
    git(checkout.path, "switch", "--quiet", "main")
    shallow = ("clone", "--quiet", "--depth=1", "--no-single-branch", f"file://{checkout.path}")
    git(tmp_path, *shallow, "--branch=feature", "shallow")
    with pytest.raises(RepositoryInvalid, match="git fetch --unshallow"):
        await look(tmp_path / "shallow")
    with pytest.raises(RepositoryInvalid, match="fetch it first, for this is a shallow clone"):
        await look(tmp_path / "shallow", base="HEAD~1")
    git(tmp_path, "clone", "--quiet", "--depth=1", "--branch=main", f"file://{checkout.path}", "main-only")
    with pytest.raises(RepositoryInvalid, match="fetch-depth: 2"):
        await look(tmp_path / "main-only")
    (tmp_path / "main-only" / "new.py").write_text("x = 1\n")
    assert changes(await look(tmp_path / "main-only")) == {"new.py": "A"}


async def test_conflicts_are_looked_at_in_the_files_and_refused_in_the_index(checkout: Checkout) -> None:
    git(checkout.path, "switch", "--quiet", "--create", "feature")
    checkout.commit({"app.py": "one = 'mine'\n"})
    git(checkout.path, "switch", "--quiet", "main")
    checkout.commit({"app.py": "one = 'theirs'\n"})
    git(checkout.path, "-c", "alias.m=!git merge feature || true", "m")
    seen = await look(checkout)
    assert b"<<<<<<<" in content(seen, "app.py")
    with pytest.raises(RepositoryInvalid, match=r"app\.py has a conflict that is not resolved"):
        await look(checkout, staged=True)


# --- the person's repository ------------------------------------------------------------------


async def test_nothing_in_the_repository_is_touched(checkout: Checkout) -> None:
    checkout.write({"app.py": "one = 11\n"})
    git(checkout.path, "stash")
    checkout.write({"app.py": "one = 12\n", "staged.py": "s = 1\n", "untracked.py": "u = 1\n"})
    git(checkout.path, "add", "staged.py")
    before = everything_below(checkout.path)
    for wish in ({}, {"staged": True}, {"head": "HEAD"}, {"base": "HEAD"}):
        await look(checkout, **wish)
    assert everything_below(checkout.path) == before


async def test_a_repository_that_may_not_be_written_to_is_looked_at_all_the_same(checkout: Checkout) -> None:
    checkout.write({"app.py": "one = 11\n"})
    folders = [checkout.path, *(path for path in checkout.path.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert changes(await look(checkout)) == {"app.py": "M"}
    finally:
        for folder in folders:
            folder.chmod(0o755)


async def test_no_program_that_the_repository_names_is_run(tmp_path: Path, checkout: Checkout, person: Path) -> None:
    mark = tmp_path / "ran"
    program = checkout.path / "evil"
    program.write_text(f"#!/bin/sh\necho $0 $@ >> {mark}\ncat\n")
    program.chmod(0o755)
    checkout.commit({".gitattributes": "*.py filter=evil diff=evil merge=evil\n", "one.py": "x = 1\n"})
    for hook in ("pre-commit", "post-index-change", "reference-transaction", "post-checkout", "pre-auto-gc"):
        shutil.copy(program, checkout.path / ".git" / "hooks" / hook)
    for key in (
        *("core.fsmonitor", "core.editor", "core.pager", "core.sshCommand", "core.alternateRefsCommand"),
        *("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv", "diff.evil.command"),
        *("merge.evil.driver", "gpg.program", "uploadpack.packObjectsHook", "credential.helper", "diff.external"),
    ):
        git(checkout.path, "config", key, str(program))
    for key in ("log.showSignature", "filter.evil.required", "commit.gpgSign"):
        git(checkout.path, "config", key, "true")
    git(checkout.path, "config", "core.hooksPath", ".git/hooks")
    (person / ".gitconfig").write_text((checkout.path / ".git" / "config").read_text())
    git(checkout.path, "switch", "--quiet", "--create", "feature")
    mark.unlink(missing_ok=True)
    checkout.write({"app.txt": "new\n", "one.py": "x = 2\n", "two.py": "x = 2\n"})
    for wish in ({}, {"staged": True}, {"head": "HEAD"}, {"base": "main"}):
        seen = await look(checkout, **wish)
        clones = Clones(Git(tmp_path / "cache" / "git"), tmp_path / "cache" / "repositories")
        await GitObjects(clones.of(seen.url)).changed_files(seen.base_sha, seen.head_sha)
    assert not mark.exists(), mark.read_text()
    subprocess.run(["git", "status"], cwd=checkout.path, capture_output=True, timeout=30)
    assert mark.exists(), "a git that is not ours would have run them"


async def test_a_person_s_own_ignores_hold_here_too(tmp_path: Path, checkout: Checkout, person: Path) -> None:
    (person / ".config" / "git").mkdir(parents=True)
    (person / ".config" / "git" / "ignore").write_text("usual.txt\n")
    (checkout.path / ".git" / "info" / "exclude").write_text("here.txt\n")
    checkout.write({"usual.txt": "a", "here.txt": "b", "named.txt": "c", "x/__pycache__/y.pyc": "d", "kept.txt": "e"})
    assert changes(await look(checkout)) == {"named.txt": "A", "kept.txt": "A"}
    (tmp_path / "ignores").write_text("named.txt\n")
    (person / "more").write_text(f"[core]\n\texcludesFile = {tmp_path}/ignores\n")
    (person / ".gitconfig").write_text("[include]\n\tpath = ~/more\n")
    assert changes(await look(checkout)) == {"usual.txt": "A", "kept.txt": "A"}


# --- files ------------------------------------------------------------------------------------


async def test_files_are_taken_whatever_they_are_called(checkout: Checkout) -> None:
    names = [b"a b.py", b"new\nline.py", b'"quoted".py', b"caf\xe9.py", "Käse.py".encode(), b"-x.py", b":(top)x.py"]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(checkout.path), name))).write_text("x = 1\n")
    clones = Clones(Git(checkout.path.parent / "git"), checkout.path.parent / "repositories")
    seen = await look(checkout)
    found = await GitObjects(clones.of(seen.url)).changed_files(seen.base_sha, seen.head_sha)
    assert {file.path for file in found} == {path_text(name) for name in names}
    assert seen.left_out == ()


async def test_files_are_taken_as_they_are(checkout: Checkout) -> None:
    given: dict[str, str | bytes | None] = {
        "crlf.py": b"a = 1\r\nb = 2\r\n",
        "latin.py": b"# caf\xe9\n",
        "no-newline.py": b"a = 1",
        "empty.py": b"",
        "nul.bin": b"\0\1\2",
        "broken.py": b"def f(:\n",
    }
    checkout.write(given)
    (checkout.path / "link").symlink_to("app.py")
    (checkout.path / "app.py").chmod(0o755)
    seen = await look(checkout)
    assert {name: content(seen, name) for name in given} == given
    assert changes(seen) == {**dict.fromkeys(given, "A"), "link": "A", "app.py": "M"}
    listed = git(Path(seen.url), "ls-tree", seen.head_sha, "link", "app.py")
    assert [line.split()[0] for line in listed.splitlines()] == ["100755", "120000"]


async def test_a_file_that_became_a_folder_and_a_moved_one_are_seen(checkout: Checkout) -> None:
    checkout.write({"app.py": None})
    checkout.write({"app.py/inner.py": "x = 1\n"})
    (checkout.path / "lib" / "money.py").rename(checkout.path / "lib" / "cash.py")
    expected = {"app.py": "D", "app.py/inner.py": "A", "lib/money.py": "D", "lib/cash.py": "A"}
    assert changes(await look(checkout)) == expected


async def test_a_file_that_was_only_touched_is_no_change(checkout: Checkout) -> None:
    checkout.commit({"second.py": "x = 1\n"})
    for name in ("app.py", "second.py"):
        os.utime(checkout.path / name, (1, 1))
    assert (await look(checkout, base="HEAD")).head == checkout.head


async def test_an_edit_in_the_second_of_the_commit_and_of_the_same_length_is_seen(checkout: Checkout) -> None:
    stat_before = (checkout.path / "app.py").stat()
    (checkout.path / "app.py").write_text("one = 2\n")
    os.utime(checkout.path / "app.py", ns=(stat_before.st_atime_ns, stat_before.st_mtime_ns))
    assert changes(await look(checkout)) == {"app.py": "M"}


async def test_what_is_only_announced_to_the_index_counts_as_it_stands(checkout: Checkout) -> None:
    checkout.write({"new.py": "x = 1\n"})
    git(checkout.path, "add", "--intent-to-add", "new.py")
    assert changes(await look(checkout)) == {"new.py": "A"}
    assert changes(await look(checkout, staged=True)) == {}


async def test_large_files_pipes_and_repositories_inside_are_left_out_and_said(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MAX_FILE_BYTES", 1024**2)
    with (checkout.path / "big.bin").open("wb") as file:
        file.truncate(3 * 1024**2)
    checkout.write({"app.py": b"x" * (1024**2 + 1), "ok.py": "x = 1\n"})
    new_checkout(checkout.path / "inside", {"a.py": "x = 1\n"})
    (checkout.path / "lib" / "money.py").unlink()
    os.mkfifo(checkout.path / "lib" / "money.py")
    seen = await look(checkout)
    assert changes(seen) == {"ok.py": "A"}
    assert seen.left_out == (
        "app.py (1 MiB, the limit is 1)",
        "big.bin (3 MiB, the limit is 1)",
        "inside/ (a repository of its own)",
        "lib/money.py (a pipe, socket or device)",
    )


async def test_a_socket_does_not_stop_the_look(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout.path)  # the path of a socket has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        checkout.write({"app.py": "one = 11\n"})
        assert changes(await look(checkout)) == {"app.py": "M"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_a_file_that_can_not_be_read_is_left_out_and_said(checkout: Checkout) -> None:
    checkout.write({"app.py": "one = 11\n", "new.py": "x = 1\n"})
    (checkout.path / "app.py").chmod(0)
    seen = await look(checkout)
    assert (changes(seen), seen.left_out) == ({"new.py": "A"}, ("app.py (can't be read)",))


async def test_many_untracked_files_are_bounded_and_changes_are_not(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MOST_UNTRACKED", 3)
    checkout.write({"zz.py": "x = 1\n", "app.py": "one = 11\n", **{f"data/{n}.csv": "1" for n in range(10)}})
    seen = await look(checkout)
    assert changes(seen) == {"app.py": "M", "data/0.csv": "A", "data/1.csv": "A", "data/2.csv": "A"}
    assert seen.left_out == ("8 untracked files (more than 3, or than 200 MiB)",)
    monkeypatch.setattr(snapshot, "MOST_UNTRACKED", 100)
    monkeypatch.setattr(snapshot, "UNTRACKED_BYTES", 4)
    assert len(changes(await look(checkout))) == 5


async def test_the_file_that_the_result_goes_to_is_not_looked_at(checkout: Checkout) -> None:
    checkout.write({"review.sarif": "{}", "new.py": "x = 1\n"})
    assert changes(await look(checkout, without=checkout.path / "lib" / ".." / "review.sarif")) == {"new.py": "A"}


async def test_line_ends_are_those_that_a_commit_would_have(checkout: Checkout, person: Path) -> None:
    checkout.commit({".gitattributes": "*.bat text eol=crlf\n", "run.bat": "one\r\ntwo\r\n"})
    checkout.write({"run.bat": "one\r\nzwei\r\n"})
    assert content(await look(checkout), "run.bat") == b"one\nzwei\n"
    checkout.write({"app.py": "one = 11\r\n"})
    assert content(await look(checkout), "app.py") == b"one = 11\r\n"
    (person / ".gitconfig").write_text("[core]\n\tautocrlf = input\n")
    assert content(await look(checkout), "app.py") == b"one = 11\n"


async def test_modes_count_only_where_the_checkout_has_them(checkout: Checkout) -> None:
    (checkout.path / "app.py").chmod(0o755)
    assert changes(await look(checkout)) == {"app.py": "M"}
    git(checkout.path, "config", "core.fileMode", "false")
    assert (await look(checkout, base="HEAD")).base_sha == (await look(checkout, base="HEAD")).head_sha


async def test_files_of_git_lfs_become_pointers(checkout: Checkout) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 5\n"
    old = pointer % hashlib.sha256(b"12345").hexdigest().encode()
    checkout.commit({".gitattributes": "*.psd filter=lfs diff=lfs merge=lfs -text\n", "a.psd": old, "b.psd": old})
    checkout.write({"a.psd": b"\0abcd", "c d.psd": b"12345"})
    os.utime(checkout.path / "b.psd", (1, 1))
    seen = await look(checkout)
    assert changes(seen) == {"a.psd": "M", "c d.psd": "A"}
    assert content(seen, "a.psd") == pointer % hashlib.sha256(b"\0abcd").hexdigest().encode()
    assert content(seen, "c d.psd") == old


async def test_what_another_filter_writes_is_left_as_the_index_has_it(checkout: Checkout) -> None:
    checkout.commit({".gitattributes": "secret* filter=crypt\n", "secret": b"\0encrypted"})
    checkout.write({"secret": "plain\n", "secret2": "plain\n", "app.py": "one = 11\n"})
    seen = await look(checkout)
    assert changes(seen) == {"app.py": "M"}
    assert seen.left_out == tuple(f"{name} (the filter crypt would have to be run)" for name in ("secret", "secret2"))


async def test_submodules_are_their_commits(tmp_path: Path, checkout: Checkout) -> None:
    library = new_checkout(tmp_path / "library", {"lib.py": "x = 1\n"})
    git(checkout.path, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library.path), "vendor")
    checkout.commit({}, "with a library")
    inside = Checkout(checkout.path / "vendor")
    inside.write({"lib.py": "x = 2\n"})
    assert changes(await look(checkout, base="HEAD")) == {}
    moved = inside.commit({}, "newer")
    seen = await look(checkout)
    assert changes(seen) == {"vendor": "M"}
    assert moved in git(Path(seen.url), "ls-tree", seen.head_sha, "vendor")
    clones = Clones(Git(tmp_path / "cache" / "git"), tmp_path / "cache" / "repositories")
    assert [
        file.path for file in await GitObjects(clones.of(seen.url)).changed_files(seen.base_sha, seen.head_sha)
    ] == ["vendor"]


@pytest.mark.parametrize("kind", ["split", "sparse", "untracked-cache", "version-4"])
async def test_every_kind_of_index_is_understood(checkout: Checkout, kind: str) -> None:
    checkout.commit({f"many/{number}.py": f"x = {number}\n" for number in range(20)})
    match kind:
        case "split":
            git(checkout.path, "update-index", "--split-index")
        case "sparse":
            git(checkout.path, "sparse-checkout", "set", "--cone", "--sparse-index", "lib")
        case "untracked-cache":
            git(checkout.path, "update-index", "--force-untracked-cache")
            git(checkout.path, "status")
        case "version-4":
            git(checkout.path, "update-index", "--index-version", "4")
    checkout.write({"app.py": "one = 11\n", "lib/new.py": "x = 1\n"})
    before = everything_below(checkout.path / ".git")
    assert changes(await look(checkout)) == {"app.py": "M", "lib/new.py": "A"}
    git(checkout.path, "add", "app.py")
    assert changes(await look(checkout, staged=True)) == {"app.py": "M"}
    assert kind != "split" or any(name.startswith("sharedindex.") for name in before)


async def test_objects_that_are_borrowed_from_elsewhere_are_found(tmp_path: Path, checkout: Checkout) -> None:
    git(tmp_path, "clone", "--quiet", "--shared", str(checkout.path), 'it\'s a "clone"')
    borrowed = Checkout(tmp_path / 'it\'s a "clone"')
    borrowed.write({"app.py": "one = 11\n"})
    seen = await look(borrowed)
    clones = Clones(Git(tmp_path / "cache" / "git"), tmp_path / "cache" / "repositories")
    objects = GitObjects(clones.of(seen.url))
    assert await objects.show(seen.base_sha, "lib/money.py") == b"two = 2\n"
    assert await objects.show(seen.head_sha, "app.py") == b"one = 11\n"


async def test_a_partial_clone_that_lacks_the_base_s_files_says_so(tmp_path: Path, checkout: Checkout) -> None:
    git(checkout.path, "config", "uploadpack.allowFilter", "true")
    checkout.commit({"app.py": "one = 11\n"})
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", f"file://{checkout.path}", "partial")
    with pytest.raises(RepositoryInvalid, match=r"partial clone .* without --filter"):
        await look(tmp_path / "partial")


async def test_names_by_sha_256_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    git(tmp_path / "new", "init", "--quiet", "--object-format=sha256", "--initial-branch=main")
    Checkout(tmp_path / "new").commit({"app.py": "one = 1\n"})
    with pytest.raises(RepositoryInvalid, match="SHA-256"):
        await look(tmp_path / "new")


async def test_a_damaged_repository_is_told_with_what_to_do(checkout: Checkout) -> None:
    tree = git(checkout.path, "rev-parse", "HEAD^{tree}")
    place = checkout.path / ".git" / "objects" / tree[:2] / tree[2:]
    place.chmod(stat.S_IRUSR | stat.S_IWUSR)
    place.write_bytes(b"junk")
    with pytest.raises(RepositoryInvalid, match="git fsck"):
        await look(checkout)


async def test_what_is_ours_and_damaged_is_made_again(checkout: Checkout) -> None:
    checkout.write({"app.py": "one = 11\n"})
    first = await look(checkout)
    (Path(first.url) / "config").write_text("junk")
    again = await look(checkout)
    assert (again.url, again.head_sha, changes(again)) == (first.url, first.head_sha, {"app.py": "M"})


async def test_two_looks_at_once_do_not_disturb_each_other(checkout: Checkout) -> None:
    checkout.write({"app.py": "one = 11\n"})
    git(checkout.path, "add", "app.py")
    checkout.write({"app.py": "one = 12\n"})
    seen = await asyncio.gather(*(look(checkout, staged=number % 2 == 0) for number in range(6)))
    assert [content(one, "app.py") for one in seen] == [b"one = 11\n", b"one = 12\n"] * 3


async def test_a_checkout_that_names_other_files_as_its_own_is_refused(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.txt").write_text("theirs\n")
    for elsewhere in (tmp_path / "other", tmp_path):
        git(checkout.path, "config", "core.worktree", str(elsewhere))
        with pytest.raises(RepositoryInvalid, match=r"core\.worktree"):
            await look(checkout)


async def test_a_device_in_place_of_the_list_of_what_is_left_out_is_passed_over(checkout: Checkout) -> None:
    exclude = checkout.path / ".git" / "info" / "exclude"
    exclude.unlink(missing_ok=True)
    exclude.parent.mkdir(exist_ok=True)
    exclude.symlink_to("/dev/zero")
    checkout.write({"app.py": "one = 2\n"})
    async with asyncio.timeout(30):
        assert changes(await look(checkout)) == {"app.py": "M"}
