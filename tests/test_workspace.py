"""Workspaces: the files of a commit, safe from what was done to them before and from each other; on real git."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from sdlc.domain import Repository
from sdlc.errors import GuardRailViolation, RepositoryInvalid, WorkspaceBroken
from sdlc.integrations.git import commit as commit_module
from sdlc.integrations.git import sandbox_git as sandbox_git_module
from sdlc.integrations.git.commit import leads_out
from sdlc.integrations.workspace import Workspace, Workspaces
from tests.repositories import Checkout, git, new_bare, new_checkout

FILES: dict[str, str | bytes | None] = {
    "parcel/__init__.py": "",
    "parcel/money.py": "def total():\n    return 1\n",
    "README.md": "parcel\n",
    ".gitignore": "build/\n*.log\n",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return new_checkout(tmp_path / "checkout", FILES)


@pytest.fixture
def repository(tmp_path: Path, checkout: Checkout) -> Repository:
    return checkout.as_repository(str(new_bare(checkout, tmp_path / "forge.git")))


@pytest.fixture
def workspaces(tmp_path: Path) -> Workspaces:
    return Workspaces(tmp_path / "cache")


def content(folder: Path) -> dict[str, str]:
    """Everything in a workspace but `.git`: text by path, `-> target` for links, `/` for empty folders."""
    found = {}
    for place in sorted(folder.rglob("*")):
        name = place.relative_to(folder).as_posix()
        if name.split("/")[0] == ".git":
            continue
        if place.is_symlink():
            found[name] = f"-> {place.readlink()}"
        elif place.is_file():
            found[name] = place.read_text(errors="replace")
        elif not place.is_dir():
            found[name] = "special"
        elif not any(place.iterdir()):
            found[name] = "/"
    return found


# --- what is handed out -------------------------------------------------------------------


async def test_a_workspace_has_the_files_of_the_commit_and_nothing_of_ours(
    workspaces: Workspaces, repository: Repository
) -> None:
    async with workspaces.at(repository, repository.base_sha) as workspace:
        assert content(workspace.path) == FILES
        assert not (workspace.path / ".git").exists()
        assert (workspace.sha, workspace.repository) == (repository.base_sha, repository)


async def test_a_commit_nobody_has_is_refused(workspaces: Workspaces, repository: Repository) -> None:
    with pytest.raises(RepositoryInvalid):
        async with workspaces.at(repository, "f" * 40):
            pass


async def test_two_at_a_time_have_a_folder_each_and_one_after_another_the_same(
    workspaces: Workspaces, tmp_path: Path, repository: Repository
) -> None:
    on_the_same_host = Workspaces(tmp_path / "cache")
    first = workspaces.at(repository, repository.base_sha)
    async with first as one, on_the_same_host.at(repository, repository.base_sha) as other:
        assert one.path != other.path
        (one.path / "README.md").write_text("one\n")
        assert content(other.path) == FILES
    async with workspaces.at(repository, repository.base_sha) as again:
        assert again.path in (one.path, other.path)
        assert content(again.path) == FILES


async def test_many_activities_at_once_commit_and_publish_without_disturbing_each_other(
    workspaces: Workspaces, repository: Repository
) -> None:
    async def activity(number: int) -> str:
        async with workspaces.at(repository, repository.base_sha) as workspace:
            (workspace.path / "number.txt").write_text(f"{number}\n")
            await asyncio.sleep(0.01)
            sha = await workspace.commit(f"number {number}")
            await workspace.publish(f"refs/sdlc/run/{number}", sha)
            return sha

    shas = await asyncio.gather(*(activity(number) for number in range(6)))
    objects = await workspaces.objects(repository)
    for number, sha in enumerate(shas):
        assert await objects.show(sha, "number.txt") == f"{number}\n".encode()
        assert git(Path(repository.url), "rev-parse", f"refs/sdlc/run/{number}") == sha


async def test_another_host_gets_what_was_published(
    workspaces: Workspaces, tmp_path: Path, repository: Repository
) -> None:
    async with workspaces.at(repository, repository.base_sha) as workspace:
        (workspace.path / "new.py").write_text("x = 1\n")
        sha = await workspace.commit("new")
        await workspace.publish("refs/sdlc/run/1", sha)
    async with Workspaces(tmp_path / "other-host").at(repository, sha) as there:
        assert (there.path / "new.py").read_text() == "x = 1\n"


async def test_moving_to_another_commit_leaves_what_is_the_same_untouched(
    workspaces: Workspaces, checkout: Checkout
) -> None:
    base = checkout.head
    head = checkout.commit({"README.md": "changed\n", "new/file.py": "x\n", "parcel/__init__.py": None})
    repository = checkout.as_repository()
    async with workspaces.at(repository, base) as workspace:
        before = (workspace.path / "parcel" / "money.py").stat().st_mtime_ns
    async with workspaces.at(repository, head) as workspace:
        assert content(workspace.path) == {
            name: text
            for name, text in {**FILES, "README.md": "changed\n", "new/file.py": "x\n"}.items()
            if name != "parcel/__init__.py"
        }
        assert (workspace.path / "parcel" / "money.py").stat().st_mtime_ns == before
    async with workspaces.at(repository, base) as workspace:
        assert content(workspace.path) == FILES


async def test_ignored_files_stay_within_a_run_and_go_with_it(workspaces: Workspaces, repository: Repository) -> None:
    sha = repository.base_sha
    async with workspaces.at(repository, sha, run_id="run-1") as workspace:
        (workspace.path / "build").mkdir()
        (workspace.path / "build" / "out.o").write_text("built")
        (workspace.path / "untracked.txt").write_text("not ignored")
    async with workspaces.at(repository, sha, run_id="run-1") as workspace:
        assert content(workspace.path) == {**FILES, "build/out.o": "built"}
    async with workspaces.at(repository, sha, run_id="run-2") as workspace:
        assert content(workspace.path) == FILES
        (workspace.path / "x.log").write_text("log")
    for _attempt in range(2):
        async with workspaces.at(repository, sha) as workspace:
            assert content(workspace.path) == FILES
            (workspace.path / "x.log").write_text("log")


async def test_a_run_gets_its_own_workspace_again_if_that_is_free(
    workspaces: Workspaces, repository: Repository
) -> None:
    sha = repository.base_sha
    async with workspaces.at(repository, sha, run_id="a") as a, workspaces.at(repository, sha, run_id="b") as b:
        pass
    async with workspaces.at(repository, sha, run_id="b") as again:
        assert again.path == b.path
    async with workspaces.at(repository, sha, run_id="a") as again:
        assert again.path == a.path


async def test_files_are_what_the_commit_holds_whatever_its_attributes_say(
    workspaces: Workspaces, checkout: Checkout
) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    checkout.write({"crlf.txt": "one\r\ntwo\r\n", "big.bin": pointer, "id.txt": "$Id$\n"})
    git(checkout.path, "add", "--all")
    git(checkout.path, "commit", "--quiet", "-m", "before the attributes")
    attributes = "* text=auto eol=lf ident\n*.bin filter=lfs\nid.txt working-tree-encoding=UTF-16\n"
    git(checkout.path, "update-index", "--add", "--cacheinfo", _blob(checkout, attributes))
    git(checkout.path, "commit", "--quiet", "-m", "attributes")
    async with workspaces.at(checkout.as_repository(), checkout.head) as workspace:
        assert (workspace.path / "crlf.txt").read_bytes() == b"one\r\ntwo\r\n"
        assert (workspace.path / "big.bin").read_text() == pointer
        assert (workspace.path / "id.txt").read_text() == "$Id$\n"
        for file in workspace.path.rglob("*"):
            os.utime(file)
        assert await workspace.commit("nothing was changed") == checkout.head


def _blob(checkout: Checkout, text: str) -> str:
    blob = git(checkout.path, "hash-object", "-w", "--stdin", stdin=text.encode())
    return f"100644,{blob},.gitattributes"


# --- what was done to it before -----------------------------------------------------------


def _swap_folder_for_a_link(tree: Path) -> None:
    (tree / "parcel").rename(tree / "moved")
    (tree / "parcel").symlink_to("moved")


def _swap_folder_for_a_link_outside(tree: Path) -> None:
    outside = tree.parent.parent / "outside"
    shutil.copytree(tree / "parcel", outside)
    (outside / ".git").mkdir()
    shutil.rmtree(tree / "parcel")
    (tree / "parcel").symlink_to(outside)


def _date_a_change_back(tree: Path) -> None:
    file = tree / "parcel" / "money.py"
    before = file.stat()
    file.write_text("def total():\n    return 2\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _nest_repositories(tree: Path) -> None:
    for folder in (tree, tree / "parcel", tree / "new", tree / "build"):
        folder.mkdir(exist_ok=True)
        git(folder, "init", "--quiet", "--initial-branch=x")
        git(folder, "config", "core.fsmonitor", "touch /tmp/never")


def _nest_deeply(tree: Path) -> None:
    here = os.open(tree, os.O_RDONLY)
    for _level in range(500):
        os.mkdir("d" * 10, dir_fd=here)
        below = os.open("d" * 10, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def _odd_kinds(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (tree / "README.md").unlink()
    os.mkfifo(tree / "README.md")
    (tree / "parcel" / "money.py").unlink()
    (tree / "parcel" / "money.py").mkdir()
    (tree / "parcel" / "money.py" / "x").write_text("x")


def _odd_modes(tree: Path) -> None:
    (tree / "README.md").chmod(0o4777)
    (tree / "parcel").chmod(0o777)
    (tree / "parcel" / "money.py").chmod(0)


def _everything_gone(tree: Path) -> None:
    shutil.rmtree(tree)


def _tree_is_a_link(tree: Path) -> None:
    tree.rename(tree.with_name("elsewhere"))
    tree.symlink_to("elsewhere")


def _damaged_index(tree: Path) -> None:
    index = tree.with_name("index")
    index.write_bytes(index.read_bytes()[:40])


def _stale_lock(tree: Path) -> None:
    tree.with_name("index.lock").touch()
    (tree / "README.md").write_text("half\n")


@pytest.mark.parametrize(
    ("harm", "run_id"),
    [
        *((harm, "") for harm in (_swap_folder_for_a_link, _swap_folder_for_a_link_outside, _date_a_change_back)),
        *((harm, "") for harm in (_nest_repositories, _nest_deeply, _odd_kinds, _odd_modes, _everything_gone)),
        *((harm, "") for harm in (_tree_is_a_link, _damaged_index, _stale_lock)),
        *((harm, "run-1") for harm in (_swap_folder_for_a_link, _nest_repositories, _odd_kinds)),
    ],
)
async def test_whatever_was_done_to_a_workspace_the_next_one_is_as_the_commit(
    workspaces: Workspaces, repository: Repository, harm: object, run_id: str
) -> None:
    assert callable(harm)
    async with workspaces.at(repository, repository.base_sha, run_id=run_id) as workspace:
        harm(workspace.path)
    async with workspaces.at(repository, repository.base_sha, run_id=run_id) as workspace:
        found = {name: text for name, text in content(workspace.path).items() if not name.startswith("build/")}
        assert found == FILES
        assert not (workspace.path / ".git").exists()
        assert not (workspace.path / "parcel" / ".git").exists()
        if not run_id:
            modes = {place.lstat().st_mode & 0o7022 for place in workspace.path.rglob("*")}
            assert modes == {0}
    outside = workspace.path.parent.parent / "outside"
    if harm is _swap_folder_for_a_link_outside:
        assert (outside / ".git").is_dir(), "nothing is removed through a symbolic link"


def test_without_the_powers_of_root_a_workspace_without_permissions_is_mended_and_committed(tmp_path: Path) -> None:
    checkout = new_checkout(tmp_path / "checkout", FILES)
    script = textwrap.dedent(f"""
        import asyncio, os
        from pathlib import Path
        from sdlc.domain import Repository
        from sdlc.integrations.workspace import Workspaces

        async def main():
            repository = Repository(url={str(checkout.path)!r}, name="x", base_branch="main", base_sha="")
            workspaces = Workspaces(Path({str(tmp_path / "cache")!r}))
            async with workspaces.at(repository, {checkout.head!r}) as workspace:
                closed = workspace.path / "closed"
                closed.mkdir()
                (closed / "new.py").write_text("x")
                (closed / "new.py").chmod(0)
                closed.chmod(0)
                try:
                    list(closed.iterdir())
                    print("can't be tried: permissions don't hold for this user")
                except PermissionError:
                    print("closed")
                sha = await workspace.commit("closed")
                assert await workspace.show(sha, "closed/new.py") == b"x"
                for place in (workspace.path / "parcel", workspace.path / "README.md", closed):
                    place.chmod(0)
                workspace.path.chmod(0)
            async with workspaces.at(repository, {checkout.head!r}) as workspace:
                print(sorted(os.listdir(workspace.path)), (workspace.path / "README.md").read_text())

        asyncio.run(main())
    """)
    command = [sys.executable, "-c", script]
    if os.geteuid() == 0:
        weaker = "-dac_override,-dac_read_search,-fowner"
        command = ["setpriv", f"--bounding-set={weaker}", f"--inh-caps={weaker}", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["closed", "['.gitignore', 'README.md', 'parcel'] parcel"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_files_that_were_given_to_another_user_are_not_written_again(
    workspaces: Workspaces, repository: Repository
) -> None:
    async with workspaces.at(repository, repository.base_sha) as workspace:
        for place in (workspace.path, *workspace.path.rglob("*")):
            os.chown(place, 65531, 65531)
        (workspace.path / "parcel" / "theirs").mkdir()
        before = (workspace.path / "README.md").stat().st_mtime_ns
    async with workspaces.at(repository, repository.base_sha) as workspace:
        assert content(workspace.path) == FILES
        assert (workspace.path / "README.md").stat().st_mtime_ns == before


# --- locks --------------------------------------------------------------------------------

_HOLDER = """
import asyncio, sys
from pathlib import Path
from sdlc.domain import Repository
from sdlc.integrations.workspace import Workspaces

async def main():
    repository = Repository(url=sys.argv[2], name="x", base_branch="main", base_sha=sys.argv[3])
    async with Workspaces(Path(sys.argv[1])).at(repository, sys.argv[3], run_id="held") as workspace:
        (workspace.path / "half done.txt").write_text("x")
        print(workspace.path, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_workspace_whose_process_was_killed_is_free_at_once(
    workspaces: Workspaces, tmp_path: Path, repository: Repository
) -> None:
    sha = repository.base_sha
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLDER, str(tmp_path / "cache"), repository.url, sha, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        held = Path((await asyncio.wait_for(holder.stdout.readline(), 30)).decode().strip())
        async with workspaces.at(repository, sha, run_id="held") as other:
            assert other.path != held
    finally:
        holder.send_signal(signal.SIGKILL)
        await asyncio.wait_for(holder.wait(), 10)
    async with workspaces.at(repository, sha) as one, workspaces.at(repository, sha) as two:
        assert held in (one.path, two.path)
        assert content(held) == FILES


async def test_a_cancelled_activity_gives_its_workspace_back(workspaces: Workspaces, repository: Repository) -> None:
    entered = asyncio.Event()

    async def activity() -> None:
        async with workspaces.at(repository, repository.base_sha):
            entered.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(activity())
    await asyncio.wait_for(entered.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with workspaces.at(repository, repository.base_sha) as workspace:
        assert workspace.path.parent.name == "0"


async def test_a_clone_that_was_made_anew_serves_workspaces_of_before(
    workspaces: Workspaces, tmp_path: Path, repository: Repository
) -> None:
    async with workspaces.at(repository, repository.base_sha) as workspace:
        pass
    (clone,) = (entry for entry in (tmp_path / "cache" / "repositories").iterdir() if entry.is_dir())
    for file in (clone / "objects").rglob("*"):
        if file.is_file():
            file.chmod(0o600)
            file.write_bytes(b"\0" * file.stat().st_size)
    (workspace.path / "README.md").write_text("changed\n")
    later = Workspaces(tmp_path / "cache")
    for _attempt in range(2):
        try:
            async with later.at(repository, repository.base_sha) as workspace:
                assert content(workspace.path) == FILES
            return
        except WorkspaceBroken:
            continue
    pytest.fail("the clone was not made anew")


# --- commit -------------------------------------------------------------------------------


async def commit(workspaces: Workspaces, repository: Repository, do: object) -> tuple[Workspace, str]:
    assert callable(do)
    async with workspaces.at(repository, repository.base_sha) as workspace:
        do(workspace.path)
        return workspace, await workspace.commit("the change")


async def test_a_commit_holds_everything_but_what_is_ignored(workspaces: Workspaces, repository: Repository) -> None:
    def change(tree: Path) -> None:
        (tree / "README.md").unlink()
        (tree / "parcel" / "money.py").chmod(0o755)
        (tree / "new folder").mkdir()
        (tree / "new folder" / "-ümlaut.py").write_text("x\n")
        (tree / "inside.md").symlink_to("parcel/money.py")
        (tree / "build").mkdir()
        (tree / "build" / "x").write_text("ignored by the repository")
        for name in (".aider.chat.history.md", "parcel/__pycache__/m.pyc", "node_modules/x/y.js", ".coverage"):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text("left out by us")

    workspace, sha = await commit(workspaces, repository, change)
    files = await workspace.changed_files(repository.base_sha, sha)
    assert {(file.status, file.path, file.mode) for file in files} == {
        ("D", "README.md", "100644"),
        ("M", "parcel/money.py", "100755"),
        ("A", "new folder/-ümlaut.py", "100644"),
        ("A", "inside.md", "120000"),
    }
    objects = await workspaces.objects(repository)
    assert await objects.subject(sha) == "the change"
    assert await objects.merge_base(sha, repository.base_sha) == repository.base_sha


async def test_a_file_may_become_a_folder_and_a_folder_a_file(workspaces: Workspaces, repository: Repository) -> None:
    def change(tree: Path) -> None:
        (tree / "README.md").unlink()
        (tree / "README.md").mkdir()
        (tree / "README.md" / "one").write_text("1")
        shutil.rmtree(tree / "parcel")
        (tree / "parcel").write_text("a file now")

    workspace, sha = await commit(workspaces, repository, change)
    assert set(await workspace.objects.list_files(sha)) == {".gitignore", "README.md/one", "parcel"}


async def test_no_change_gives_the_same_commit(workspaces: Workspaces, repository: Repository) -> None:
    def touch(tree: Path) -> None:
        (tree / "README.md").write_text("parcel\n")
        (tree / "empty folder").mkdir()

    _, sha = await commit(workspaces, repository, touch)
    assert sha == repository.base_sha


async def test_one_commit_follows_another_and_each_has_an_author(
    workspaces: Workspaces, repository: Repository
) -> None:
    async with workspaces.at(repository, repository.base_sha) as workspace:
        (workspace.path / "a").write_text("1")
        first = await workspace.commit("one\n\nbecause\0 of it", author="Ada <ada@example.org>")
        (workspace.path / "a").unlink()
        second = await workspace.commit("two")
        await workspace.publish("refs/sdlc/run/2", second)
        assert workspace.sha == second
    log = git(Path(repository.url), "log", "--format=%H %an %ae %cn %s", "refs/sdlc/run/2").splitlines()
    assert log[0] == f"{second} sdlc-bot sdlc-bot@users.noreply.invalid sdlc-bot two"
    assert log[1] == f"{first} Ada ada@example.org Ada one"
    assert log[2].startswith(repository.base_sha)


def _embedded_repository(tree: Path) -> None:
    (tree / "lib").mkdir()
    git(tree / "lib", "init", "--quiet")
    git(tree / "lib", "commit", "--quiet", "--allow-empty", "-m", "x")


def _empty_repository(tree: Path) -> None:
    (tree / "lib").mkdir()
    git(tree / "lib", "init", "--quiet")
    (tree / "lib" / "file").write_text("x")


def _absolute_link(tree: Path) -> None:
    (tree / "passwd").symlink_to("/etc/passwd")


def _link_out(tree: Path) -> None:
    (tree / "parcel" / "out").symlink_to("../../../secret")


def _changed_link(tree: Path) -> None:
    (tree / "README.md").unlink()
    (tree / "README.md").symlink_to("/etc")


def _link_to_git(tree: Path) -> None:
    (tree / "hooks").symlink_to(".git/hooks")


def _new_line_in_a_name(tree: Path) -> None:
    (tree / "a\nb").write_text("x")


def _escape_in_a_name(tree: Path) -> None:
    (tree / "a\x1b[2Jb").write_text("x")


def _dot_git(tree: Path) -> None:
    (tree / "parcel" / ".GIT").mkdir()
    (tree / "parcel" / ".GIT" / "config").write_text("[core]")


def _too_large(tree: Path) -> None:
    with (tree / "large.bin").open("wb") as file:
        file.truncate(commit_module.MAX_FILE_BYTES + 1)


def _pipe(tree: Path) -> None:
    (tree / "README.md").unlink()
    os.mkfifo(tree / "README.md")


@pytest.mark.parametrize(
    "harm",
    [
        *(_embedded_repository, _empty_repository, _absolute_link, _link_out, _changed_link, _link_to_git),
        *(_new_line_in_a_name, _escape_in_a_name, _dot_git, _too_large, _pipe),
    ],
)
async def test_what_may_not_be_in_a_change_is_refused_and_can_be_mended(
    workspaces: Workspaces, repository: Repository, harm: object
) -> None:
    assert callable(harm)
    async with workspaces.at(repository, repository.base_sha) as workspace:
        (workspace.path / "good.py").write_text("x\n")
        harm(workspace.path)
        with pytest.raises(GuardRailViolation) as caught:
            await workspace.commit("harm")
        assert "\n" not in str(caught.value)
        assert workspace.sha == repository.base_sha
        for name in (
            "lib",
            "parcel/.GIT",
            "README.md",
            "hooks",
            "passwd",
            "parcel/out",
            "large.bin",
            "a\nb",
            "a\x1b[2Jb",
        ):
            place = workspace.path / name
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
        sha = await workspace.commit("mended")
        files = await workspace.changed_files(repository.base_sha, sha)
        assert {file.path for file in files} == {"good.py", "README.md"}


@pytest.mark.parametrize(
    ("path", "target", "out"),
    [
        ("a", "b", False),
        ("docs/a", "../b", False),
        ("docs/a", "../../b", True),
        ("a", "..", True),
        ("a/b/c", "../../x/y", False),
        ("a", "/x", True),
        ("a/b", "c/../../..", True),
        ("a/b", "../c/../d", True),
        ("a", "x/.git/hooks", True),
        ("a", "./b", False),
        ("a", "..b", False),
    ],
)
def test_a_link_may_point_to_what_is_in_the_tree(path: str, target: str, out: bool) -> None:
    assert leads_out(path.encode(), target.encode()) is out


async def test_a_link_that_was_there_before_is_not_the_changes_fault(
    workspaces: Workspaces, checkout: Checkout
) -> None:
    (checkout.path / "hosts").symlink_to("/etc/hosts")
    checkout.commit({})
    repository = checkout.as_repository()
    async with workspaces.at(repository, checkout.head) as workspace:
        (workspace.path / "x").write_text("x")
        assert await workspace.commit("x") != checkout.head


async def test_nothing_that_lies_in_the_tree_is_run(
    workspaces: Workspaces, repository: Repository, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    touch = f"touch {ran}; cat"
    async with workspaces.at(repository, repository.base_sha) as workspace:
        await workspace.sandbox_git()
        own = workspace.path / ".git"
        for key in ("core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "diff.evil.textconv", "core.pager"):
            git(workspace.path, "config", key, touch)
        git(workspace.path, "config", "core.hooksPath", str(own / "hooks"))
        git(workspace.path, "config", "diff.external", touch)
        git(workspace.path, "config", "core.attributesFile", ".gitattributes")
        (own / "hooks").mkdir(exist_ok=True)
        for hook in (
            "pre-commit",
            "post-commit",
            "post-checkout",
            "pre-push",
            "reference-transaction",
            "post-index-change",
        ):
            (own / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {ran}\n")
            (own / "hooks" / hook).chmod(0o755)
        (own / "objects" / "info").mkdir(exist_ok=True)
        (own / "objects" / "info" / "alternates").write_text("/nowhere\n")
        (workspace.path / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
        (workspace.path / ".gitmodules").write_text(
            f'[submodule "x"]\n\tpath = x\n\turl = ext::{touch}\n\tupdate = !{touch}\n'
        )
        sha = await workspace.commit("hostile")
        await workspace.publish("refs/sdlc/run/1", sha)
        await workspace.diff(repository.base_sha, sha)
        assert git(Path(repository.url), "rev-parse", "refs/sdlc/run/1") == sha
    for commit_sha in (repository.base_sha, sha):
        async with workspaces.at(repository, commit_sha):
            pass
    assert not ran.exists()


async def test_a_repository_in_a_submodules_place_runs_nothing_and_is_not_committed(
    workspaces: Workspaces, checkout: Checkout, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    git(checkout.path, "update-index", "--add", "--cacheinfo", f"160000,{checkout.head},vendor/lib")
    git(checkout.path, "commit", "--quiet", "-m", "submodule")
    repository = checkout.as_repository()
    async with workspaces.at(repository, checkout.head) as workspace:
        assert content(workspace.path)["vendor/lib"] == "/"
        (workspace.path / "good.py").write_text("x")
        assert await workspace.commit("good") != checkout.head
        place = workspace.path / "vendor" / "lib"
        git(place, "init", "--quiet")
        git(place, "commit", "--quiet", "--allow-empty", "-m", "other")
        git(place, "config", "core.fsmonitor", f"touch {ran}")
        (place / "file").write_text("x")
        with pytest.raises(GuardRailViolation, match="submodule"):
            await workspace.commit("moved")
    async with workspaces.at(repository, checkout.head) as workspace:
        assert content(workspace.path) == {**FILES, "vendor/lib": "/"}
    assert not ran.exists()


# --- overlay ------------------------------------------------------------------------------


async def test_files_of_another_commit_can_be_laid_over(workspaces: Workspaces, checkout: Checkout) -> None:
    base = checkout.commit({"tests/test_a.py": "old\n", "tests/test_gone.py": "gone\n"})
    head = checkout.commit(
        {
            "tests/test_a.py": "new\n",
            "tests/test_gone.py": None,
            "tests/deep/test_b.py": "b\n",
            "parcel/money.py": "fixed\n",
        }
    )
    async with workspaces.at(checkout.as_repository(), base) as workspace:
        (workspace.path / "tests" / "test_left.py").write_text("left behind")
        await workspace.overlay(head, ["tests"])
        assert content(workspace.path) == {**FILES, "tests/test_a.py": "new\n", "tests/deep/test_b.py": "b\n"}
        await workspace.overlay(base, ["tests/test_a.py"])
        assert (workspace.path / "tests" / "test_a.py").read_text() == "old\n"
        assert workspace.sha == base
    async with workspaces.at(checkout.as_repository(), base) as workspace:
        assert (workspace.path / "tests" / "test_gone.py").exists()


async def test_laying_over_does_not_write_through_a_link(
    workspaces: Workspaces, checkout: Checkout, tmp_path: Path
) -> None:
    head = checkout.commit({"parcel/money.py": "new\n"})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "money.py").write_text("not ours\n")
    async with workspaces.at(checkout.as_repository(), head) as workspace:
        shutil.rmtree(workspace.path / "parcel")
        (workspace.path / "parcel").symlink_to(outside)
        await workspace.overlay(head, ["parcel/money.py"])
        assert (workspace.path / "parcel" / "money.py").read_text() == "new\n"
    assert (outside / "money.py").read_text() == "not ours\n"


# --- the sandbox's own .git ---------------------------------------------------------------


@pytest.mark.parametrize("full_history_bytes", [sandbox_git_module.FULL_HISTORY_BYTES, 0])
async def test_in_the_sandbox_git_works_without_anything_outside_of_the_workspace(
    workspaces: Workspaces,
    checkout: Checkout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    full_history_bytes: int,
) -> None:
    monkeypatch.setattr(sandbox_git_module, "FULL_HISTORY_BYTES", full_history_bytes)
    git(checkout.path, "tag", "-a", "v1.2.0", "-m", "release")
    for number in range(3):
        checkout.commit({"README.md": f"{number}\n"}, f"number {number}")
    repository = checkout.as_repository()
    async with workspaces.at(repository, checkout.head) as workspace:
        (workspace.path / "parcel" / "money.py").write_text("fixed\n")
        sha = await workspace.commit("fix")
        await workspace.sandbox_git()
        alone = tmp_path / "alone"
        shutil.copytree(workspace.path, alone, symlinks=True)
    shutil.rmtree(tmp_path / "cache")
    checkout.path.rename(tmp_path / "gone")
    assert git(alone, "status", "--porcelain") == ""
    assert git(alone, "rev-parse", "HEAD") == sha
    assert git(alone, "describe", "--tags", "--dirty", "--long") == f"v1.2.0-4-g{sha[:7]}"
    assert len(git(alone, "log", "--oneline").splitlines()) == 5
    assert "+fixed" in git(alone, "diff", "origin/main")
    (alone / "new.py").write_text("x")
    assert git(alone, "status", "--porcelain") == "?? new.py"
    git(alone, "add", "--all")
    git(alone, "commit", "--quiet", "-m", "theirs")
    if full_history_bytes:
        git(alone, "fsck", "--full")
        assert "-0" in git(alone, "log", "-p", "--", "README.md")


async def test_what_the_sandbox_does_to_its_git_has_no_effect_on_ours(
    workspaces: Workspaces, repository: Repository
) -> None:
    async with workspaces.at(repository, repository.base_sha) as workspace:
        await workspace.sandbox_git()
        for file in (workspace.path / ".git" / "objects").rglob("*"):
            if file.is_file():
                assert file.stat().st_nlink == 1, "no object is shared with our clone"
                file.chmod(0o600)
                file.write_bytes(b"garbage")
        (workspace.path / "x").write_text("x")
        sha = await workspace.commit("x")
        assert {file.path for file in await workspace.changed_files(repository.base_sha, sha)} == {"x"}
        await workspace.sandbox_git()
        assert git(workspace.path, "rev-parse", "HEAD") == sha
        assert git(workspace.path, "status", "--porcelain") == ""
        shutil.rmtree(workspace.path / ".git")
        (workspace.path / ".git").symlink_to(workspace.path.parent.parent)
        await workspace.sandbox_git()
        assert not (workspace.path / ".git").is_symlink()
    async with workspaces.at(repository, repository.base_sha) as workspace:
        assert not (workspace.path / ".git").exists()


# --- submodules ---------------------------------------------------------------------------


async def test_submodules_are_filled_where_that_is_allowed(tmp_path: Path) -> None:
    inner = new_checkout(tmp_path / "inner", {"inner.py": "inner\n"})
    lib = new_checkout(tmp_path / "lib", {"lib.py": "lib\n"})
    main = new_checkout(tmp_path / "main", FILES)
    for outer, name, module in ((lib, "deep/inner", inner), (main, "vendor/lib", lib)):
        git(
            outer.path,
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            f"../{module.path.name}",
            name,
        )
        git(outer.path, "commit", "--quiet", "-m", "submodule")
    git(main.path, "update-index", "--cacheinfo", f"160000,{lib.head},vendor/lib")
    git(main.path, "commit", "--quiet", "--allow-empty", "-m", "newest")
    repository = main.as_repository()
    workspaces = Workspaces(tmp_path / "cache", submodules=True)
    for _attempt in range(2):
        async with workspaces.at(repository, main.head) as workspace:
            found = content(workspace.path)
            assert found["vendor/lib/lib.py"] == "lib\n"
            assert found["vendor/lib/deep/inner/inner.py"] == "inner\n"
            assert not list(workspace.path.rglob(".git"))
            (workspace.path / "vendor" / "lib" / "lib.py").write_text("changed")
            assert await workspace.commit("nothing of ours changed") == main.head
    async with Workspaces(tmp_path / "cache").at(repository, main.head) as workspace:
        assert content(workspace.path)["vendor/lib"] == "/"


# --- the baton ----------------------------------------------------------------------------


async def test_a_change_set_tells_what_lies_between_two_commits(workspaces: Workspaces, checkout: Checkout) -> None:
    base = checkout.head
    head = checkout.commit({"README.md": "one\ntwo\n", "new.py": "x\n"})
    change = await workspaces.change_set(checkout.as_repository(), base, head, "sdlc/KEY-1")
    assert (change.files_changed, change.insertions, change.deletions) == (2, 3, 1)
    assert (change.base_sha, change.head_sha, change.branch, change.is_empty) == (base, head, "sdlc/KEY-1", False)


async def test_the_event_loop_goes_on_while_a_repository_is_cloned(workspaces: Workspaces, checkout: Checkout) -> None:
    checkout.commit({f"many/{number}.py": "x\n" * 200 for number in range(150)})
    longest, last, done = 0.0, time.monotonic(), asyncio.Event()

    async def pulse() -> None:
        nonlocal longest, last
        while not done.is_set():
            await asyncio.sleep(0.005)
            now = time.monotonic()
            longest, last = max(longest, now - last), now

    beating = asyncio.create_task(pulse())
    async with workspaces.at(checkout.as_repository(), checkout.head):
        pass
    done.set()
    await beating
    assert longest < 1.0
