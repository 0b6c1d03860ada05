"""A person's working tree, index or commit as commits of ours, without a touch to their repository.

Beside each repository that is looked at lies a bare one of ours, which has its objects by reference (alternates) and
keeps what is written here. Only git with our configuration works in it, so no hook, filter, monitor or other program
that the person's repository names is ever run. Clones are made of it as of any other repository, and quickly: it has
just the two trees that are compared, without a history.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sdlc.errors import RepositoryInvalid, WorkspaceBroken
from sdlc.integrations.git.clones import LEFT_OUT, name_of
from sdlc.integrations.git.commit import MAX_FILE_BYTES
from sdlc.integrations.git.locks import locked
from sdlc.integrations.git.paths import path_text
from sdlc.integrations.git.runner import BOT, LOCAL_SECONDS, Git
from sdlc.integrations.git.throw_away import throw_away

LARGEST_EXCLUDE = 1024**2
"""Bytes of a list of what git is to leave out."""
MOST_UNTRACKED = 5_000
"""Files. More than that is data or a build, and nobody's change."""
UNTRACKED_BYTES = 200 * 1024**2
"""Of all untracked files together; whatever is taken is kept in the cache."""

_PASSED_ON = (
    # How this checkout was written: what git must know to tell a file that was changed from one that was not.
    *("core.filemode", "core.symlinks", "core.ignorecase", "core.precomposeunicode", "core.trustctime"),
    *("core.checkstat", "core.autocrlf", "core.eol"),
)
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9]+\Z")
_LFS = "lfs"
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
_READ_BYTES = 1024**2
_WHEN = "2000-01-01T00:00:00Z"
"""The same trees are the same commits, whenever they are looked at: what the cache has of them is used again."""
_REFUSED = re.compile(r"Invalid path|Unable to process path|failed to encode|can only add regular files")


@dataclass(frozen=True)
class Place:
    """Where a repository is."""

    git_dir: Path
    """Of the worktree that was named."""
    common_dir: Path
    """The same, but for `git worktree` checkouts, which share it."""
    top: Path | None
    """The folder with the files; None: it is bare."""

    @property
    def files(self) -> Path:
        """The folder with the files. Raises RepositoryInvalid where there is none."""
        if self.top is None:
            raise RepositoryInvalid(f"{self.git_dir} is a bare repository, so it has no files; give a commit of it.")
        return self.top

    @property
    def shown(self) -> str:
        return str(self.top or self.git_dir)


@dataclass(frozen=True)
class TakenTree:
    """A tree of ours, and what is not in it."""

    tree: str
    left_out: tuple[str, ...] = ()
    """`path (why)`."""


@dataclass
class Snapshots:
    """The repository of ours beside a person's; `opened` makes it."""

    place: Place
    folder: Path
    _git: Git = field(repr=False)
    _environment: dict[str, str] = field(repr=False)
    """What git has to know about the checkout."""
    _has_modes: bool = True
    """Does an executable bit in the checkout mean anything?"""

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, git: Git, cache_dir: Path, place: Place, configuration: dict[str, str]
    ) -> AsyncIterator[Snapshots]:
        """Ours for the length of the block. `configuration` is that of the person's repository, by lower-case key."""
        folder = _folder(cache_dir, place)
        async with _alone(folder):
            await git.run("init", "--quiet", "--bare", "--template=", str(folder))
            await asyncio.to_thread(_point, folder, place, configuration)
            has_modes = configuration.get("core.filemode", "true") != "false"
            yield cls(place, folder, git.on(folder), _overrides(configuration), has_modes)

    @staticmethod
    async def thrown_away(cache_dir: Path, place: Place) -> None:
        """Have ours made anew the next time."""
        folder = _folder(cache_dir, place)
        async with _alone(folder):
            await throw_away(folder)

    async def of_commit(self, sha: str) -> TakenTree:
        """The tree of a commit of the person's."""
        return TakenTree((await self._git.run("rev-parse", "--verify", f"{sha}^{{tree}}")).text)

    async def of_index(self, index: Path) -> TakenTree:
        """What `git commit` would commit. Raises RepositoryInvalid while there are conflicts."""
        async with self._on(index) as git:
            return TakenTree(await self._written(git))

    async def of_files(self, index: Path, *, without: Collection[bytes] = ()) -> TakenTree:
        """What stands in the working tree: files that git tracks and those it neither tracks nor ignores.

        `without`: untracked paths that are not meant. Large files, pipes, repositories inside and what a filter
        would have to be run for stay as the index has them; it is said which. Files of Git LFS become pointers.
        """
        async with self._on(index) as git:
            tracked = await git.run("ls-files", "-z", "--modified", "--deleted", env=self._environment)
            others = await git.run("ls-files", "-z", "--others", "--exclude-standard", env=self._environment)
            untracked = [path for path in others.records if path not in without]
            paths = sorted({*tracked.records, *untracked})
            filters = await self._filters(git, paths)
            taken = await asyncio.to_thread(_sorted_out, self.place.files, paths, frozenset(untracked), filters)
            if "could not open directory" in others.stderr:
                taken.left_out.append("folders that can't be read")
            await self._update(git, taken)
            return TakenTree(await self._written(git), tuple(taken.left_out))

    async def commits(self, base: str, head: str) -> tuple[str, str]:
        """Two commits of ours with these trees, one after the other; an empty `base` is no file at all."""
        if not base:
            base = (await self._git.run("mktree", "-z", stdin=b"")).text
        base_sha = await self._commit(base)
        head_sha = await self._commit(head, "-p", base_sha) if head != base else base_sha
        await self._git.run("update-ref", "refs/heads/review", head_sha)
        return base_sha, head_sha

    async def lacks_something(self, sha: str) -> bool:
        """Is a file of a commit of ours, or of the one before it, not there? Git would fetch it; ours does not."""
        listing = ("rev-list", "--objects", "--no-object-names", "--missing=print", sha)
        answer = await self._git.run(*listing, accept=(0, 128))
        return answer.exit_code != 0 or any(line.startswith("?") for line in answer.text.splitlines())

    @asynccontextmanager
    async def _on(self, index: Path) -> AsyncIterator[Git]:
        """Git on a copy of an index and the files that it is about."""
        with tempfile.TemporaryDirectory(prefix="index-", dir=self.folder) as folder:
            copy = Path(folder) / "index"
            with _copied(index, copy, self.place.git_dir, self.folder):
                yield self._git.on(self.folder, work_tree=self.place.top, index=copy)

    async def _filters(self, git: Git, paths: Sequence[bytes]) -> dict[bytes, str]:
        """By path the filter that an attribute names."""
        if not paths:
            return {}
        asked = b"".join(path + b"\0" for path in paths)
        said = (await git.run("check-attr", "-z", "--stdin", "filter", stdin=asked, env=self._environment)).records
        named = zip(said[::3], said[2::3], strict=True)
        return {
            path: value.decode(errors="replace") for path, value in named if value not in (b"unspecified", b"unset")
        }

    async def _update(self, git: Git, files: _SortedOut) -> None:
        if files.plain:
            arguments = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
            try:
                updated = await git.run(
                    *arguments, stdin=b"".join(path + b"\0" for path in files.plain), env=self._environment
                )
            except WorkspaceBroken as error:
                if _REFUSED.search(str(error)):
                    raise RepositoryInvalid(f"git can't take a file of {self.place.shown} ({error}).") from error
                raise
            ignored = (line for line in updated.stderr.splitlines() if line.startswith("Ignoring path "))
            files.left_out += [f"{line.removeprefix('Ignoring path ')} (git refuses the name)" for line in ignored]
        if files.large:
            blobs = await self._pointers(git, files.large)
            entries = b"".join(
                b"%s %s\t%s\0" % (b"100755" if self._has_modes and file.is_program else b"100644", blob, file.path)
                for file, blob in zip(files.large, blobs, strict=True)
            )
            await git.run("update-index", "--replace", "-z", "--index-info", stdin=entries)

    async def _pointers(self, git: Git, files: Sequence[_LargeFile]) -> list[bytes]:
        """The blobs that Git LFS would have committed."""
        with tempfile.TemporaryDirectory(prefix="pointers-", dir=self.folder) as folder:
            places = [Path(folder) / str(number) for number in range(len(files))]
            for place, file in zip(places, files, strict=True):
                place.write_bytes(await asyncio.to_thread(file.pointer))
            listed = "".join(f"{place}\n" for place in places).encode()
            answer = await git.run("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=listed)
        return answer.stdout.split()

    async def _written(self, git: Git) -> str:
        answer = await git.run("write-tree", accept=(0, 128))
        if answer.exit_code == 0:
            return answer.text
        conflicts = [line for line in answer.stderr.splitlines() if "unmerged" in line]
        if conflicts:
            name = conflicts[0].partition(":")[0]
            raise RepositoryInvalid(f"{name} has a conflict that is not resolved; resolve it and `git add` it first.")
        raise RepositoryInvalid(f"The index of {self.place.shown} can't be used ({answer.stderr[:200]}).")

    async def _commit(self, tree: str, *parent: str) -> str:
        name, _, address = BOT.rstrip(">").partition(" <")
        who = {"NAME": name, "EMAIL": address, "DATE": _WHEN}
        env = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
        return (await self._git.run("commit-tree", tree, *parent, stdin=b"For a review\n", env=env)).text


@dataclass(frozen=True)
class _LargeFile:
    """A file that Git LFS keeps elsewhere."""

    path: bytes
    place: Path
    is_program: bool

    def pointer(self) -> bytes:
        digest, size = hashlib.sha256(), 0
        with self.place.open("rb") as file:
            start = file.read(len(_POINTER))
            if start == _POINTER:  # it was checked out without Git LFS
                return start + file.read(_READ_BYTES)
            chunk = start
            while chunk:
                digest.update(chunk)
                size += len(chunk)
                chunk = file.read(_READ_BYTES)
        return _POINTER + f"oid sha256:{digest.hexdigest()}\nsize {size}\n".encode()


@dataclass
class _SortedOut:
    plain: list[bytes] = field(default_factory=list)
    """As git takes them."""
    large: list[_LargeFile] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def _sorted_out(
    top: Path, paths: Iterable[bytes], untracked: Collection[bytes], filters: dict[bytes, str]
) -> _SortedOut:
    """What of the paths is taken, and how."""
    result = _SortedOut()
    count, size, beyond = 0, 0, 0
    for path in paths:
        place = Path(os.fsdecode(os.path.join(os.fsencode(top), path)))
        try:
            status = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            result.plain.append(path)
            continue
        if why := _why_not(path, place, status, filters.get(path, "")):
            result.left_out.append(f"{path_text(path)} ({why})")
            continue
        if path in untracked:
            if count == MOST_UNTRACKED or size + status.st_size > UNTRACKED_BYTES:
                beyond += 1
                continue
            count, size = count + 1, size + status.st_size
        if stat.S_ISREG(status.st_mode) and filters.get(path) == _LFS:
            result.large.append(_LargeFile(path, place, bool(status.st_mode & stat.S_IXUSR)))
        else:
            result.plain.append(path)
    if beyond:
        result.left_out.append(
            f"{beyond:,} untracked files (more than {MOST_UNTRACKED:,}, or than {UNTRACKED_BYTES // 1024**2} MiB)"
        )
    return result


def _why_not(path: bytes, place: Path, status: os.stat_result, filter_name: str) -> str:
    """Why a path can't be taken; empty if it can."""
    kinds = (stat.S_ISREG, stat.S_ISLNK, stat.S_ISDIR)
    if path.endswith(b"/"):
        return "a repository of its own"
    if not any(is_kind(status.st_mode) for is_kind in kinds):
        return "a pipe, socket or device"
    if not stat.S_ISREG(status.st_mode):
        return ""
    if not os.access(place, os.R_OK):
        return "can't be read"
    if filter_name and filter_name != _LFS:
        return f"the filter {filter_name} would have to be run"
    if status.st_size > MAX_FILE_BYTES and not filter_name:
        return f"{status.st_size / 1024**2:.0f} MiB, the limit is {MAX_FILE_BYTES // 1024**2}"
    return ""


def _overrides(configuration: dict[str, str]) -> dict[str, str]:
    known = ((key, configuration[key]) for key in _PASSED_ON if key in configuration)
    settings = [f"'{key}'='{value}'" for key, value in known if _PLAIN_VALUE.match(value)]
    return {"GIT_CONFIG_PARAMETERS": " ".join(settings)} if settings else {}


def _folder(cache_dir: Path, place: Place) -> Path:
    return cache_dir / "snapshots" / name_of(str(place.common_dir))


def _alone(folder: Path) -> AbstractAsyncContextManager[None]:
    return locked(folder.with_name(f"{folder.name}.lock"), timeout=LOCAL_SECONDS)


@contextmanager
def _copied(index: Path, copy: Path, git_dir: Path, folder: Path) -> Iterator[None]:
    """Have a copy of an index, and in `folder` of what a split one shares with others."""
    shared = [part for part in git_dir.glob("sharedindex.*") if part.is_file()]
    with suppress(FileNotFoundError):
        # With its date: git looks closer at files that changed in the second in which the index was written.
        shutil.copy2(index, copy)
    for part in shared:
        shutil.copy2(part, folder / part.name)
    try:
        yield
    finally:
        for part in shared:
            (folder / part.name).unlink(missing_ok=True)


def _point(folder: Path, place: Place, configuration: dict[str, str]) -> None:
    """Have our repository look at the person's objects, and pass over what the person's does."""
    (folder / "objects" / "info").mkdir(exist_ok=True)
    theirs = path_text(os.fsencode(place.common_dir / "objects"))
    (folder / "objects" / "info" / "alternates").write_text(f"{theirs}\n")
    (folder / "info").mkdir(exist_ok=True)
    # The last one has the word: what tools leave behind, what the person ignores everywhere, and in this repository.
    patterns = ["".join(f"{pattern}\n" for pattern in LEFT_OUT).encode()]
    given = configuration.get("core.excludesfile")
    usual = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config") / "git" / "ignore"
    for source in (Path(given) if given else usual, place.common_dir / "info" / "exclude"):
        with suppress(OSError, RuntimeError):  # most people have none, nor has everybody a home
            patterns.append(_plain_file(source.expanduser()))
    (folder / "info" / "exclude").write_bytes(b"\n".join(patterns))


def _plain_file(path: Path) -> bytes:
    """The beginning of a file. Raises OSError for a device or a pipe, which a repository could have put there."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no plain file")
        return file.read(LARGEST_EXCLUDE)
