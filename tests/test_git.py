"""Git as the system runs it: hardened, cached, read without a worktree; on real repositories."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unidiff.patch import PatchSet

from sdlc.errors import (
    BranchConflict,
    GuardRailViolation,
    PermissionDenied,
    RepositoryInvalid,
    ServiceUnavailable,
    WorkspaceBroken,
)
from sdlc.integrations.git import ChangedFile, Git, GitObjects, inspect_origin
from sdlc.integrations.git.address import full_address
from sdlc.integrations.git.clones import Clone, Clones
from sdlc.integrations.git.failures import failure, shown
from sdlc.integrations.git.paths import path_bytes, path_text
from sdlc.integrations.git.push import publish, push_branch, refs_of
from tests.repositories import Checkout, git, new_bare, new_checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return new_checkout(tmp_path / "checkout", {"parcel/money.py": "one\ntwo\nthree\n", "README": "hello\n"})


@pytest.fixture
def runner(tmp_path: Path) -> Git:
    return Git(tmp_path / "cache" / "git")


@pytest.fixture
def clones(tmp_path: Path, runner: Git) -> Clones:
    return Clones(runner, tmp_path / "cache" / "repositories")


async def the_change(clones: Clones, checkout: Checkout, files: dict[str, str | bytes | None]) -> list[ChangedFile]:
    """`changed_files` of one commit on top of what is there."""
    base = checkout.head
    return await GitObjects(clones.of(str(checkout.path))).changed_files(base, checkout.commit(files))


class _Refusing(BaseHTTPRequestHandler):
    status = 401

    def do_GET(self) -> None:
        self.send_response(type(self).status)
        self.send_header("WWW-Authenticate", "Basic")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Refusing]]]:
    """The address of an HTTP server that answers with the handler's status."""
    handler = type("Handler", (_Refusing,), {})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/parcel.git", handler
    http.shutdown()
    http.server_close()
    thread.join(5)


# --- addresses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        *("ext::sh -c 'touch x'", "fd::7", "--upload-pack=touch x", "-x", "", "  ", "a\nb"),
        *("git://example.org/x", "ssh://-oProxyCommand=x/y", "https://", "file://other.example/x", "foo://x/y"),
        "http://[::1/x",
    ],
)
def test_an_address_that_would_run_something_or_is_none_is_refused(origin: str) -> None:
    with pytest.raises(RepositoryInvalid):
        full_address(origin)


def test_a_folder_is_kept_as_an_absolute_path_however_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my repo").mkdir()
    monkeypatch.chdir(tmp_path)
    expected = str((tmp_path / "my repo").resolve())
    assert {full_address("my repo"), full_address("./my repo/"), full_address(f"file://{tmp_path}/my%20repo")} == {
        expected
    }


@pytest.mark.parametrize(
    "url", ["https://example.org/a/b.git", "git@example.org:a/b.git", "ssh://git@example.org:22/a"]
)
def test_a_remote_address_stays_as_it_is(url: str) -> None:
    assert full_address(url) == url


async def test_the_runner_does_not_let_git_start_a_helper_program(runner: Git, tmp_path: Path) -> None:
    with pytest.raises(RepositoryInvalid, match="can't be used"):
        await runner.run("ls-remote", f"ext::touch {tmp_path}/ran", remote="ext::touch")
    assert not (tmp_path / "ran").exists()


# --- hardening ----------------------------------------------------------------------------


async def test_the_configuration_of_user_and_system_is_not_read(
    runner: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text("[user]\n\tname = Mallory\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Mallory")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'user.name=Mallory'")
    listed = await runner.run("config", "--list")
    assert "Mallory" not in listed.text
    assert "core.hookspath=/dev/null" in listed.text


async def test_secrets_of_the_worker_do_not_reach_git(runner: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_planted")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    seen = await runner.run("-c", "alias.env=!env", "env")
    assert "planted" not in seen.text
    assert "GIT_DIR=" not in seen.text


# --- what goes wrong with a remote --------------------------------------------------------


async def test_a_repository_that_needs_credentials_is_said_to_need_them(
    server: tuple[str, type[_Refusing]], runner: Git
) -> None:
    with pytest.raises(RepositoryInvalid, match="needs credentials") as caught:
        await inspect_origin(server[0], git=runner)
    assert "give the path of a clone" in str(caught.value)


@pytest.mark.parametrize("whose", ["bot:hunter2", "hunter2"])
async def test_an_address_with_a_name_or_password_is_refused_without_showing_it(whose: str, runner: Git) -> None:
    with pytest.raises(RepositoryInvalid, match="take it out of the address") as caught:
        await inspect_origin(f"https://{whose}@git.example/parcel.git", git=runner)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "error"), [(404, RepositoryInvalid), (429, ServiceUnavailable), (503, ServiceUnavailable)]
)
async def test_a_server_that_is_at_fault_is_tried_again_and_an_unknown_repository_is_not(
    server: tuple[str, type[_Refusing]], runner: Git, status: int, error: type[Exception]
) -> None:
    server[1].status = status
    with pytest.raises(error):
        await inspect_origin(server[0], git=runner)


async def test_a_connection_that_is_refused_is_tried_again(clones: Clones) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening
        clone = clones.of(f"http://127.0.0.1:{taken.getsockname()[1]}/x.git")
        with pytest.raises(ServiceUnavailable):
            await clone.prepare()


@pytest.mark.parametrize(
    ("stderr", "error"),
    [
        ("git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.", RepositoryInvalid),
        ("Host key verification failed.", RepositoryInvalid),
        ("fatal: unable to access 'https://x/': Could not resolve host: x", ServiceUnavailable),
        ("ssh: connect to host x port 22: Connection timed out", ServiceUnavailable),
        ("fatal: unable to access 'https://x/': SSL certificate problem: self-signed certificate", RepositoryInvalid),
        ("error: unable to write file: No space left on device", ServiceUnavailable),
        ("fatal: loose object abc is corrupt", WorkspaceBroken),
    ],
)
def test_what_git_says_decides_whether_it_is_tried_again(stderr: str, error: type[Exception]) -> None:
    assert type(failure(("fetch",), 128, stderr, remote="https://x/")) is error


@pytest.mark.parametrize(
    ("stderr", "error"),
    [
        ("! [remote rejected] x -> refs/sdlc/r/1 (failed to update ref)", ServiceUnavailable),
        ("remote: error: cannot lock ref 'refs/sdlc/r/1'", ServiceUnavailable),
        ("! [remote rejected] x -> refs/sdlc/r/1 (pre-receive hook declined)", PermissionDenied),
        ("! [remote rejected] x -> refs/sdlc/r/1 (deny updating a hidden ref)", PermissionDenied),
        ("fatal: unable to access 'https://x/': The requested URL returned error: 403", PermissionDenied),
        ("error: unable to read sha1 file of a", WorkspaceBroken),
    ],
)
def test_a_push_that_fails_blames_the_clone_only_for_its_own_faults(stderr: str, error: type[Exception]) -> None:
    assert type(failure(("push",), 1, stderr, remote="https://x/")) is error


def test_a_message_shows_no_password() -> None:
    error = failure(
        ("fetch",), 128, "fatal: unable to access 'https://ada:hunter2@x/': strange", remote="https://ada:hunter2@x/"
    )
    assert "hunter2" not in str(error)
    assert shown("https://ada:hunter2@x:8080/y?z") == "https://x:8080/y?z"


# --- the clone cache ----------------------------------------------------------------------


async def test_a_commit_that_is_missing_here_is_fetched_and_one_that_is_here_is_not(
    clones: Clones, checkout: Checkout
) -> None:
    clone = clones.of(str(checkout.path))
    await clone.require(checkout.head)
    known = checkout.head
    new = checkout.commit({"new.py": "x\n"})
    await clone.require(known)
    assert git(clone.folder, "rev-parse", "refs/heads/main") == known, "nothing was fetched for a commit that was here"
    await clone.require(new)
    assert git(clone.folder, "cat-file", "-t", new) == "commit"


async def test_a_commit_that_only_a_work_ref_holds_is_found(clones: Clones, checkout: Checkout) -> None:
    await clones.of(str(checkout.path)).prepare()
    sha = git(checkout.path, "commit-tree", "HEAD^{tree}", "-m", "work", "-p", "HEAD")
    git(checkout.path, "update-ref", "refs/sdlc/run/1", sha)
    await clones.of(str(checkout.path)).require(sha)


async def test_a_commit_that_is_nowhere_is_said_to_be_missing(clones: Clones, checkout: Checkout) -> None:
    clone = clones.of(str(checkout.path))
    with pytest.raises(RepositoryInvalid, match="is not in"):
        await clone.require("1" * 40)
    with pytest.raises(RepositoryInvalid, match="not a full commit id"):
        await clone.require("main")
    await clone.require(checkout.head)


async def test_many_tasks_that_want_the_same_new_repository_make_one_clone(
    tmp_path: Path, runner: Git, checkout: Checkout
) -> None:
    caches = [Clones(runner, tmp_path / "cache" / "repositories") for _ in range(6)]
    await asyncio.gather(*(cache.of(str(checkout.path)).require(checkout.head) for cache in caches))
    kept = [entry.name for entry in (tmp_path / "cache" / "repositories").iterdir() if entry.is_dir()]
    assert kept == [caches[0].of(str(checkout.path)).folder.name]


def _truncate_objects(folder: Path) -> None:
    for file in (folder / "objects").rglob("*"):
        if file.is_file():
            file.chmod(0o600)
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _remove_objects(folder: Path) -> None:
    for file in (folder / "objects").rglob("*"):
        if file.is_file():
            file.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        _truncate_objects,
        _remove_objects,
        lambda folder: (folder / "HEAD").unlink(),
        lambda folder: (folder / "HEAD").write_text("nonsense"),
        lambda folder: (folder / "config").write_text("[nonsense"),
    ],
)
async def test_a_damaged_clone_is_made_anew_at_the_latest_on_the_next_try(
    tmp_path: Path, runner: Git, checkout: Checkout, damage: object
) -> None:
    address, base = str(checkout.path), checkout.head
    head = checkout.commit({"more.py": "x\n" * 50})
    await Clones(runner, tmp_path / "cache").of(address).require(head)
    assert callable(damage)
    damage(Clones(runner, tmp_path / "cache").of(address).folder)
    objects = GitObjects(Clones(runner, tmp_path / "cache").of(address))
    for _attempt in range(2):
        try:
            found = await objects.changed_files(base, head)
            break
        except WorkspaceBroken:
            continue
    assert [file.path for file in found] == ["more.py"]


async def test_a_clone_in_the_cache_holds_no_hook_and_no_command_line_shows_its_address(
    clones: Clones, checkout: Checkout
) -> None:
    clone = clones.of(str(checkout.path))
    await clone.prepare()
    assert not (clone.folder / "hooks").exists()
    assert (clone.folder / "config").stat().st_mode & 0o077 == 0


# --- differences --------------------------------------------------------------------------

ODD_NAMES = [
    "with space.py",
    'quo"te.py',
    "back\\slash.py",
    "-dash.py",
    "ümlaut.py",
    "tab\there.py",
    "new\nline.py",
    "'q'",
    "a -> b",
]


async def test_odd_names_are_told_as_they_are_and_can_be_read_again(clones: Clones, checkout: Checkout) -> None:
    base = checkout.head
    raw = [os.fsencode(name) for name in ODD_NAMES] + [b"latin-\xe9.py", b'"quoted"', b"\xff\xfe"]
    head = checkout.commit({os.fsdecode(name): b"line\n" for name in raw})
    objects = GitObjects(clones.of(str(checkout.path)))
    texts = {path_text(name) for name in raw}
    assert {file.path for file in await objects.changed_files(base, head)} == texts
    assert await objects.changed_lines(base, head) == dict.fromkeys(texts, frozenset({1}))
    assert texts <= set(await objects.list_files(head))
    for text in texts:
        text.encode()  # valid Unicode, so that it survives JSON
        assert await objects.show(head, text) == b"line\n"
        assert (await objects.diff(base, head, text)).count("diff --git") == 1


@given(st.binary(min_size=1).filter(lambda raw: b"\0" not in raw))
def test_every_path_survives_being_written_as_text(raw: bytes) -> None:
    assert path_bytes(path_text(raw)) == raw
    path_text(raw).encode()


async def test_renames_binaries_links_and_deletions_are_told_apart(clones: Clones, checkout: Checkout) -> None:
    checkout.commit({"old.py": "".join(f"line {n}\n" for n in range(30)), "gone.py": "x\n", "becomes": "text\n"})
    base = checkout.head
    (checkout.path / "old.py").rename(checkout.path / "new.py")
    (checkout.path / "becomes").unlink()
    (checkout.path / "becomes").symlink_to("README")
    head = checkout.commit({"gone.py": None, "blob.bin": b"\0\1\2", "README": "hello\nworld\n"})
    objects = GitObjects(clones.of(str(checkout.path)))
    files = {file.path: file for file in await objects.changed_files(base, head)}
    assert (files["new.py"].status, files["new.py"].old_path) == ("R", "old.py")
    assert (files["gone.py"].status, files["gone.py"].deleted) == ("D", 1)
    assert (files["blob.bin"].binary, files["blob.bin"].added) == (True, 0)
    assert (files["becomes"].status, files["becomes"].is_symlink) == ("M", True)
    assert (files["README"].added, files["README"].deleted) == (1, 0)
    lines = await objects.changed_lines(base, head)
    assert lines == {"README": frozenset({2}), "becomes": frozenset({1})}
    stat = await objects.diff_stat(base, head)
    assert (stat.files, stat.insertions, stat.deletions) == (5, 2, 2)


async def test_a_submodule_is_told_as_one_and_has_no_lines(clones: Clones, checkout: Checkout) -> None:
    base = checkout.head
    git(checkout.path, "update-index", "--add", "--cacheinfo", f"160000,{base},vendor/lib")
    git(checkout.path, "commit", "--quiet", "-m", "submodule")
    objects = GitObjects(clones.of(str(checkout.path)))
    (file,) = await objects.changed_files(base, checkout.head)
    assert (file.path, file.is_submodule) == ("vendor/lib", True)
    assert await objects.changed_lines(base, checkout.head) == {}
    assert "vendor/lib" not in await objects.list_files(checkout.head)
    assert await objects.show(checkout.head, "vendor/lib") is None


async def test_a_change_cannot_hide_its_files_from_the_diff_or_name_a_program_for_it(
    clones: Clones, checkout: Checkout, tmp_path: Path
) -> None:
    base = checkout.head
    head = checkout.commit(
        {".gitattributes": "*.py -diff binary\n*.txt diff=evil filter=evil\n", "evil.py": "bad()\n", "a.txt": "x\n"}
    )
    objects = GitObjects(clones.of(str(checkout.path)))
    assert "+bad()" in await objects.diff(base, head)
    assert (await objects.changed_lines(base, head))["evil.py"] == frozenset({1})


async def test_content_that_looks_like_a_patch_is_not_read_as_one(clones: Clones, checkout: Checkout) -> None:
    tricky = "++ b/other.py\n@@ -1 +1,900 @@\n-- a/x\ndiff --git a/q b/q\n\\ No newline"
    base = checkout.commit({"t.txt": "-- a/first\n++ b/second"})
    head = checkout.commit({"t.txt": tricky})
    lines = await GitObjects(clones.of(str(checkout.path))).changed_lines(base, head)
    assert lines == {"t.txt": frozenset(range(1, 6))}


_LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"",
                b"a",
                b"b",
                b"c",
                b"-- a/x",
                b"++ b/x",
                b"@@ -1 +1 @@",
                b"\\ No newline at end of file",
                b"d\r",
                b"\r",
            ]
        ),
        st.sampled_from([b"\x0c", b"\xe2\x80\xa8", b"\xff\xfe", b"diff --git a/x b/x", b"x\x1cy\x85z", b" ", b"\t"]),
    ),
    max_size=12,
)
_CONTENT = st.tuples(_LINES, st.sampled_from([b"\n", b"\r\n"]), st.booleans()).map(
    lambda parts: parts[1].join(parts[0]) + (parts[1] if parts[2] and parts[0] else b"")
)
_SEGMENT = st.binary(min_size=1, max_size=6).filter(
    lambda raw: not set(raw) & {0, ord("/")} and raw not in (b".", b"..") and b"git" not in raw.lower()
)


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Clone]:
    """A repository for trees made on the spot, which is its own clone."""
    folder = tmp_path_factory.mktemp("laboratory")
    checkout = new_checkout(folder / "checkout", {})
    clones = Clones(Git(folder / "git"), folder / "cache")
    clone = clones.of(str(checkout.path))
    asyncio.run(clone.prepare())
    return clone.folder, clone


def _commit_of(folder: Path, files: dict[bytes, bytes]) -> str:
    stream = [b"commit refs/heads/lab\ncommitter A <a@b> 0 +0000\ndata 0\ndeleteall\n"]
    for name, content in files.items():
        quoted = b'"' + b"".join(b"\\%03o" % byte for byte in name) + b'"'
        stream.append(b"M 100644 inline %b\ndata %d\n%b\n" % (quoted, len(content), content))
    git(folder, "fast-import", "--quiet", "--force", stdin=b"".join(stream))
    return git(folder, "rev-parse", "refs/heads/lab")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(_SEGMENT, st.tuples(_CONTENT, _CONTENT), min_size=1, max_size=4))
def test_the_changed_lines_are_exactly_those_that_the_old_file_lacks(
    laboratory: tuple[Path, Clone], files: dict[bytes, tuple[bytes, bytes]]
) -> None:
    folder, clone = laboratory
    base = _commit_of(folder, {name: old for name, (old, _) in files.items()})
    head = _commit_of(folder, {name: new for name, (_, new) in files.items()})
    objects = GitObjects(clone)

    async def ask() -> tuple[dict[str, frozenset[int]], list[ChangedFile]]:
        return await objects.changed_lines(base, head), await objects.changed_files(base, head)

    lines, changed = asyncio.run(ask())
    assert {file.path: file.added for file in changed if file.added} == {
        path: len(found) for path, found in lines.items()
    }
    for name, (old, new) in files.items():
        found = lines.get(path_text(name), frozenset())
        old_lines, new_lines = _split(old), _split(new)
        assert all(1 <= number <= len(new_lines) for number in found)
        kept = [line for number, line in enumerate(new_lines, 1) if number not in found]
        rest = iter(old_lines)
        assert all(line in rest for line in kept), "what is said to be unchanged stands in the old file, in that order"


def _split(content: bytes) -> list[bytes]:
    """Lines as git counts them; a missing newline at the end is part of the line."""
    return [line for line in content.replace(b"\n", b"\n\0").split(b"\0") if line]


async def test_the_changed_lines_agree_with_unidiff_where_that_can_read_the_patch(
    clones: Clones, checkout: Checkout
) -> None:
    base = checkout.commit({"a.py": "".join(f"{n}\n" for n in range(40)), "b c.py": "x\ny\nz"})
    head = checkout.commit({"a.py": "".join(f"{n}{'!' * (n % 7 == 3)}\n" for n in range(2, 45)), "b c.py": "x\nY\nz\n"})
    objects = GitObjects(clones.of(str(checkout.path)))
    patch = PatchSet(await objects.diff(base, head, context=0))
    theirs = {
        file.path: frozenset(line.target_line_no for hunk in file for line in hunk if line.is_added) for file in patch
    }
    assert await objects.changed_lines(base, head) == theirs


# --- history ------------------------------------------------------------------------------


async def test_a_name_is_resolved_as_the_repository_has_it_now(clones: Clones, checkout: Checkout) -> None:
    objects = GitObjects(clones.of(str(checkout.path)))
    first = checkout.head
    git(checkout.path, "tag", "-a", "v1", "-m", "one")
    assert await objects.resolve("main") == first
    second = checkout.commit({"x": "y\n"})
    assert await objects.resolve("main") == await objects.resolve("refs/heads/main") == second
    assert await objects.resolve("v1") == first
    assert await objects.resolve(first) == first
    assert await objects.resolve("no-such-branch") is None
    assert await objects.is_ancestor(first, second)
    assert not await objects.is_ancestor(second, first)
    assert await objects.merge_base(first, second) == first
    assert await objects.subject(second) == "a change"


async def test_histories_with_nothing_in_common_have_no_merge_base(clones: Clones, checkout: Checkout) -> None:
    orphan = git(checkout.path, "commit-tree", "HEAD^{tree}", "-m", "alone")
    git(checkout.path, "branch", "orphan", orphan)
    assert await GitObjects(clones.of(str(checkout.path))).merge_base(checkout.head, orphan) is None


async def test_a_file_that_is_not_there_and_a_folder_are_no_content(clones: Clones, checkout: Checkout) -> None:
    objects = GitObjects(clones.of(str(checkout.path)))
    assert await objects.show(checkout.head, "parcel") is None
    assert await objects.show(checkout.head, "no/such") is None
    assert await objects.show(checkout.head, "parcel/money.py") == b"one\ntwo\nthree\n"
    assert await objects.list_files(checkout.head, "parcel") == ["parcel/money.py"]


# --- pushing ------------------------------------------------------------------------------


async def test_a_work_ref_is_published_as_often_as_one_likes(
    clones: Clones, checkout: Checkout, tmp_path: Path
) -> None:
    bare = new_bare(checkout, tmp_path / "bare.git")
    clone = clones.of(str(bare))
    first = checkout.head
    await publish(clone, "refs/sdlc/run-1/1", first)
    await publish(clone, "refs/sdlc/run-1/1", first)
    other = git(bare, "commit-tree", f"{first}^{{tree}}", "-m", "other", USER="x")
    git(bare, "update-ref", "refs/heads/other", other)
    await publish(clone, "refs/sdlc/run-1/1", other)
    assert await refs_of(clone.git, str(bare), "refs/sdlc/*") == {"refs/sdlc/run-1/1": other}


@pytest.mark.parametrize(
    "ref",
    ["refs/heads/main", "refs/sdlc/../heads/main", "refs/sdlc/a b", "refs/sdlc/", "refs/sdlc/x.lock", "refs/sdlc/-/x"],
)
async def test_nothing_but_a_work_ref_is_published(clones: Clones, checkout: Checkout, ref: str) -> None:
    with pytest.raises(GuardRailViolation):
        await publish(clones.of(str(checkout.path)), ref, checkout.head)


async def test_a_branch_is_pushed_only_from_where_this_run_left_it(
    clones: Clones, checkout: Checkout, tmp_path: Path
) -> None:
    bare = new_bare(checkout, tmp_path / "bare.git")
    clone, first = clones.of(str(bare)), checkout.head
    second = git(bare, "commit-tree", f"{first}^{{tree}}", "-p", first, "-m", "2")
    third = git(bare, "commit-tree", f"{first}^{{tree}}", "-p", first, "-m", "3")
    git(bare, "update-ref", "refs/heads/keep2", second)
    git(bare, "update-ref", "refs/heads/keep3", third)
    await push_branch(clone, "sdlc/KEY-1", first, expected=None)
    await push_branch(clone, "sdlc/KEY-1", first, expected=None)  # done before: nothing to do
    await push_branch(clone, "sdlc/KEY-1", second, expected=first)
    await push_branch(clone, "sdlc/KEY-1", third, expected=second)  # rewritten, and ours
    with pytest.raises(BranchConflict, match="somebody pushed"):
        await push_branch(clone, "sdlc/KEY-1", second, expected=first)
    with pytest.raises(BranchConflict):
        await push_branch(clone, "sdlc/KEY-1", second, expected=None)
    assert git(bare, "rev-parse", "sdlc/KEY-1") == third


@pytest.mark.parametrize(
    "branch", ["main", "sdlc", "sdlc/../main", "sdlc/", "refs/heads/sdlc/x", "sdlc/a b", "sdlc/x:main"]
)
async def test_no_branch_but_the_runs_own_is_pushed(clones: Clones, checkout: Checkout, branch: str) -> None:
    with pytest.raises(GuardRailViolation):
        await push_branch(clones.of(str(checkout.path)), branch, checkout.head, expected=None)


async def test_a_branch_goes_to_the_persons_own_checkout_unless_it_is_checked_out_there(
    clones: Clones, checkout: Checkout, tmp_path: Path
) -> None:
    bare = new_bare(checkout, tmp_path / "bare.git")
    clone, first = clones.of(str(bare)), checkout.head
    second = git(bare, "commit-tree", f"{first}^{{tree}}", "-p", first, "-m", "2")
    git(bare, "update-ref", "refs/heads/keep", second)
    await push_branch(clone, "sdlc/KEY-1", first, expected=None, to=str(checkout.path))
    assert git(checkout.path, "rev-parse", "sdlc/KEY-1") == first
    git(checkout.path, "switch", "--quiet", "sdlc/KEY-1")
    with pytest.raises(BranchConflict, match="checked out"):
        await push_branch(clone, "sdlc/KEY-1", second, expected=first, to=str(checkout.path))


async def test_a_push_that_the_repository_declines_is_final(clones: Clones, checkout: Checkout, tmp_path: Path) -> None:
    bare = new_bare(checkout, tmp_path / "bare.git")
    hook = bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    git(bare, "config", "core.hooksPath", str(hook.parent))
    with pytest.raises(PermissionDenied):
        await push_branch(clones.of(str(bare)), "sdlc/KEY-1", checkout.head, expected=None)


# --- a look at an origin ------------------------------------------------------------------


async def test_a_checkout_is_looked_at_and_left_as_it_was(checkout: Checkout, runner: Git) -> None:
    git(checkout.path, "switch", "--quiet", "-c", "feature")
    head = checkout.commit({"x.py": "1\n"})
    os.utime(checkout.path / "x.py", (1, 1))  # git would like to note that in the index
    before = (checkout.path / ".git" / "index").read_bytes()
    facts = await inspect_origin(str(checkout.path), git=runner)
    assert (facts.kind, facts.is_bare, facts.dirty) == ("path", False, False)
    assert (facts.default_branch, facts.current_branch, facts.head_sha) == ("main", "feature", head)
    assert (facts.uses_lfs, facts.has_submodules, set(facts.branches)) == (False, False, {"main", "feature"})
    assert (checkout.path / ".git" / "index").read_bytes() == before


@pytest.mark.parametrize("name", ["README", "untracked.txt"])
async def test_work_that_is_not_committed_is_a_fact_and_nothing_more(
    checkout: Checkout, runner: Git, name: str
) -> None:
    (checkout.path / name).write_text("not committed\n")
    assert (await inspect_origin(str(checkout.path), git=runner)).dirty
    assert (checkout.path / name).read_text() == "not committed\n"


async def test_large_file_storage_and_submodules_are_noticed(checkout: Checkout, runner: Git) -> None:
    checkout.commit({"assets/.gitattributes": "*.png filter=lfs diff=lfs merge=lfs -text\n"})
    git(checkout.path, "update-index", "--add", "--cacheinfo", f"160000,{checkout.head},vendor/lib")
    git(checkout.path, "commit", "--quiet", "-m", "submodule")
    facts = await inspect_origin(str(checkout.path), git=runner)
    assert (facts.uses_lfs, facts.has_submodules) == (True, True)


async def test_looking_at_a_repository_runs_nothing_of_its_configuration(
    checkout: Checkout, runner: Git, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    checkout.commit({".gitattributes": "*.txt filter=evil\n", "a.txt": "1\n"})
    for key in ("core.fsmonitor", "filter.evil.clean", "filter.evil.process", "core.sshCommand", "core.pager"):
        git(checkout.path, "config", key, f"touch {ran}; cat")
    (checkout.path / "a.txt").write_text("2\n")
    assert (await inspect_origin(str(checkout.path), git=runner)).dirty
    assert not ran.exists()


async def test_a_bare_repository_and_a_detached_checkout_are_understood(
    checkout: Checkout, runner: Git, tmp_path: Path
) -> None:
    bare = await inspect_origin(str(new_bare(checkout, tmp_path / "b.git")), git=runner)
    assert (bare.is_bare, bare.default_branch, bare.head_sha, bare.dirty) == (True, "main", checkout.head, False)
    git(checkout.path, "switch", "--quiet", "--detach")
    detached = await inspect_origin(str(checkout.path), git=runner)
    assert (detached.current_branch, detached.default_branch) == ("", "main")
    inside = await inspect_origin(str(checkout.path / ".git"), git=runner)
    assert inside.origin == str(checkout.path)


async def test_a_worktree_of_a_checkout_is_a_repository_too(checkout: Checkout, runner: Git, tmp_path: Path) -> None:
    git(checkout.path, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    facts = await inspect_origin(str(tmp_path / "side"), git=runner)
    assert (facts.current_branch, facts.default_branch, facts.dirty) == ("side", "main", False)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "no folder"),
        (lambda path: path.write_text("x"), "is a file"),
        (lambda path: path.mkdir(), "is not a git repository"),
        (lambda path: new_checkout(path), "no commit yet"),
    ],
)
async def test_what_is_no_repository_to_work_on_is_told_in_one_sentence(
    tmp_path: Path, runner: Git, make: object, says: str
) -> None:
    assert callable(make)
    make(tmp_path / "it")
    with pytest.raises(RepositoryInvalid, match=says):
        await inspect_origin(str(tmp_path / "it"), git=runner)


async def test_a_folder_inside_a_repository_is_not_taken_for_one(checkout: Checkout, runner: Git) -> None:
    with pytest.raises(RepositoryInvalid, match="inside the repository"):
        await inspect_origin(str(checkout.path / "parcel"), git=runner)


async def test_a_damaged_repository_is_said_to_be_damaged(checkout: Checkout, runner: Git) -> None:
    _remove_objects(checkout.path / ".git")
    with pytest.raises(RepositoryInvalid, match="damaged"):
        await inspect_origin(str(checkout.path), git=runner)


async def test_an_origin_is_cloned_also_when_it_is_shallow(clones: Clones, checkout: Checkout, tmp_path: Path) -> None:
    checkout.commit({"x": "1\n"})
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{checkout.path}", "shallow")
    shallow = str(tmp_path / "shallow")
    assert (await inspect_origin(shallow, git=Git(tmp_path / "g"))).is_shallow
    assert "x" in await GitObjects(clones.of(shallow)).list_files(checkout.head)
