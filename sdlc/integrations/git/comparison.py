"""What is reviewed in a person's checkout, and against what: told by commits of ours (`snapshot`), and in words."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sdlc.errors import RepositoryInvalid, WorkspaceBroken
from sdlc.integrations.git.address import full_address, kind_of
from sdlc.integrations.git.paths import has_control
from sdlc.integrations.git.runner import Git
from sdlc.integrations.git.snapshot import Place, Snapshots, TakenTree

_USUAL_BRANCHES = ("main", "master", "trunk", "develop")
_SHORT = 9
"""Digits of a commit's id for people."""
_MOST_MESSAGES = 30


@dataclass(frozen=True)
class Wish:
    """What a person asked for."""

    base: str = ""
    """A branch, tag or commit; empty: the default branch, or with `staged` HEAD."""
    head: str = ""
    """The commit that is looked at; empty: the files as they stand."""
    staged: bool = False
    """The index instead of the files."""
    without: Path | None = None
    """A file that is not meant, such as the one that the result is written to."""


@dataclass(frozen=True)
class Comparison:
    """Two trees of one repository."""

    place: Place
    url: str
    """Of the repository of ours that has both commits."""
    base_sha: str
    """Of ours; equal to `head_sha` if nothing differs."""
    head_sha: str
    base: str
    """The person's commit; empty: no file at all."""
    head: str
    """The person's commit; empty if what is looked at is in none."""
    branch: str
    """What is checked out; empty on a detached HEAD."""
    base_name: str
    told: str
    """Such as `working tree against main (merge base 1a2b3c4d5)`."""
    left_out: tuple[str, ...] = ()
    """Files that were not looked at, each with the reason."""
    messages: tuple[str, ...] = ()
    """Of the commits between base and head, the oldest first; at most the last 30."""


async def compared(git: Git, cache_dir: Path, folder: str | Path, wish: Wish) -> Comparison:
    """Look at the repository in which `folder` is. Nothing in it is changed, and nothing of it is run.

    Raises RepositoryInvalid, in one sentence with the mend, for what can't be compared.
    """
    place = await _place(git, folder)
    look = _Look(git.on(place.git_dir), place, wish)
    try:
        return await look.taken(git, cache_dir)
    except WorkspaceBroken:
        # Ours may be what is damaged, and it can be made again.
        await Snapshots.thrown_away(cache_dir, place)
    try:
        return await look.taken(git, cache_dir)
    except WorkspaceBroken as error:
        raise RepositoryInvalid(f"{place.shown} can't be read ({error}); run `git fsck` there.") from error


async def _place(git: Git, folder: str | Path) -> Place:
    address = full_address(str(folder))
    if kind_of(address) != "path":
        raise RepositoryInvalid(f"{folder} is not on this machine; clone it first.")
    path = _folder(address)

    async def asked(*what: str, cwd: Path = path) -> Path | None:
        answer = await git.run("rev-parse", *what, cwd=cwd, env={"GIT_CEILING_DIRECTORIES": ""}, accept=(0, 128))
        return Path(os.fsdecode(answer.stdout.removesuffix(b"\n"))) if answer.exit_code == 0 else None

    git_dir = await asked("--absolute-git-dir")
    if git_dir is None:
        raise RepositoryInvalid(f"{path} is not in a git repository; give the folder of one.")
    top = await asked("--show-toplevel")
    if top is None and git_dir.name == ".git":  # a person who names it means the checkout around it
        top = await asked("--show-toplevel", cwd=git_dir.parent)
    if top is not None and not path.resolve().is_relative_to(top.resolve()):
        raise RepositoryInvalid(f"{path} says that its files are in {top} (core.worktree); give that folder instead.")
    if top is not None and not (top / ".git").exists():
        raise RepositoryInvalid(f"{top} is no checkout of its own, though {path} names it (core.worktree).")
    common = await asked("--path-format=absolute", "--git-common-dir")
    return Place(git_dir, common or git_dir, top)


def _folder(address: str) -> Path:
    path = Path(address)
    if not path.exists():
        raise RepositoryInvalid(f"There is no folder {path}; check the path.")
    if not path.is_dir():
        raise RepositoryInvalid(f"{path} is a file; give the folder of a git repository.")
    return path


@dataclass(frozen=True)
class _Base:
    commit: str
    """The person's; empty: no file at all."""
    name: str
    told: str

    @classmethod
    def at(cls, commit: str, name: str, *, how: str = "") -> _Base:
        return cls(commit, name, f"{name} ({how}{commit[:_SHORT]})")

    @classmethod
    def nothing(cls, why: str) -> _Base:
        return cls("", "", f"nothing ({why})")


@dataclass
class _Look:
    """One look at a repository."""

    git: Git
    place: Place
    wish: Wish
    configuration: dict[str, str] = field(default_factory=dict, init=False)

    async def taken(self, git: Git, cache_dir: Path) -> Comparison:
        self.configuration = await self._configuration()
        if self.configuration.get("extensions.objectformat", "sha1") != "sha1":
            raise RepositoryInvalid(f"{self.place.shown} names its objects by SHA-256, which sdlc can't read yet.")
        branch = (await self.git.run("symbolic-ref", "--quiet", "--short", "HEAD", accept=(0, 1))).text
        tip = await self._commit(self.wish.head or "HEAD")
        of_commit = bool(self.wish.head) or (self.place.top is None and not self.wish.staged)
        if tip is None and of_commit:
            raise await self._unknown(self.wish.head or "HEAD")
        if self.wish.staged and self.place.top is None:
            raise RepositoryInvalid(f"{self.place.shown} is a bare repository, so nothing is staged; give --head.")
        async with Snapshots.opened(git, cache_dir, self.place, self.configuration) as snapshots:
            tree = await self._tree(snapshots, tip if of_commit else None)
            of_tip = (await snapshots.of_commit(tip)).tree if tip else ""
            base = await self._base(tip, branch, brings=tree.tree != of_tip)
            base_tree = (await snapshots.of_commit(base.commit)).tree if base.commit else ""
            base_sha, head_sha = await snapshots.commits(base_tree, tree.tree)
            if self._is_partial and await snapshots.lacks_something(head_sha):
                raise RepositoryInvalid(
                    f"{self.place.shown} is a partial clone that has not all files of what is compared; "
                    "clone it without --filter."
                )
        is_commit = tip is not None and tree.tree == of_tip
        return Comparison(
            place=self.place,
            url=str(snapshots.folder),
            base_sha=base_sha,
            head_sha=head_sha,
            base=base.commit,
            head=tip if tip and is_commit else "",
            branch=branch,
            base_name=base.name,
            told=f"{self._subject(branch, is_commit=is_commit)} against {base.told}",
            left_out=tree.left_out,
            messages=await self._messages(base.commit, tip),
        )

    def _subject(self, branch: str, *, is_commit: bool) -> str:
        if self.wish.staged:
            return "staged changes"
        return (self.wish.head or branch or "HEAD") if is_commit else "working tree"

    async def _tree(self, snapshots: Snapshots, tip: str | None) -> TakenTree:
        if tip is not None:
            return await snapshots.of_commit(tip)
        index = _index_of(self.place)
        if self.wish.staged:
            return await snapshots.of_index(index)
        return await snapshots.of_files(index, without=tuple(self._without()))

    def _without(self) -> Iterator[bytes]:
        if self.wish.without is not None:
            file, top = self.wish.without.resolve(), self.place.files.resolve()
            if file.is_relative_to(top):
                yield os.fsencode(file.relative_to(top))

    @property
    def _is_partial(self) -> bool:
        return any(key.startswith("remote.") and key.endswith(".promisor") for key in self.configuration)

    # --- the base -------------------------------------------------------------------------

    async def _base(self, tip: str | None, branch: str, *, brings: bool) -> _Base:
        """What to compare with. `brings`: there is something that no commit has."""
        if self.wish.base:
            return await self._left(tip, self.wish.base, await self._named(self.wish.base))
        if tip is None:
            return _Base.nothing("there is no commit yet")
        if self.wish.staged:
            return _Base.at(tip, "HEAD")
        name, *places = await self._default_branch()
        is_on_it = not self.wish.head and branch == name
        base = _Base.at(tip, "HEAD") if is_on_it else await self._left(tip, name, *places)
        is_at_it = is_on_it or (not branch and tip in places)
        if base.commit != tip or brings or not (self.wish.head or is_at_it):
            return base
        # The default branch has it all; who asks there, or for this very commit, means what it brought.
        if parent := await self._parent(tip):
            return _Base.at(parent, f"{self.wish.head or 'HEAD'}~1")
        return _Base.nothing("it is the first commit")

    async def _named(self, name: str) -> str:
        for spelling in (name, f"refs/remotes/origin/{name}"):
            if commit := await self._commit(spelling):
                return commit
        raise await self._unknown(name)

    async def _default_branch(self) -> tuple[str, ...]:
        """Its name, and where it stands here and at the origin: either may be behind the other."""
        listed = await self.git.run(
            "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/", "refs/remotes/origin/"
        )
        refs = {ref: sha for sha, _, ref in (line.partition(" ") for line in listed.text.splitlines())}
        told = await self.git.run("symbolic-ref", "--quiet", "refs/remotes/origin/HEAD", accept=(0, 1))
        local = [ref.removeprefix("refs/heads/") for ref in refs if ref.startswith("refs/heads/")]
        names = [told.text.removeprefix("refs/remotes/origin/"), *_USUAL_BRANCHES, *(local if len(local) == 1 else ())]
        for name in names:
            places = (f"refs/heads/{name}", f"refs/remotes/origin/{name}")
            if found := [refs[ref] for ref in places if ref in refs]:
                return name, *found
        raise RepositoryInvalid(f"{self.place.shown} has no branch to compare with by default; name one with --base.")

    async def _left(self, tip: str | None, name: str, *places: str) -> _Base:
        """Where the work left a branch: of several places of that branch, the nearest."""
        if tip is None:
            raise RepositoryInvalid(f"There is no commit yet that could be compared with {name}; leave --base out.")
        found = (await self.git.run("merge-base", tip, *places, accept=(0, 1))).text
        if found:
            return _Base.at(found, name, how="" if found in places else "merge base ")
        if await self._is_shallow():
            raise RepositoryInvalid(
                f"{self.place.shown} is a shallow clone without the commit at which {name} was left; run "
                "`git fetch --unshallow` first (in CI: check out with the whole history, such as `fetch-depth: 0`)."
            )
        raise RepositoryInvalid(f"{name} has no commit in common with {self.wish.head or 'HEAD'}; give another --base.")

    async def _parent(self, tip: str) -> str:
        """Of a commit, its first parent; empty if it has none."""
        if parent := await self._commit(f"{tip}~1"):
            return parent
        if await self._is_shallow():
            raise RepositoryInvalid(
                f"{self.place.shown} is a shallow clone without the commit before {tip[:_SHORT]}; run "
                "`git fetch --deepen=1` first (in CI: `fetch-depth: 2`)."
            )
        return ""

    # --- asking ---------------------------------------------------------------------------

    async def _configuration(self) -> dict[str, str]:
        """Everything that this person's git is told for this repository, the includes too; nothing is run for it."""
        with _as_of_the_person() as env:
            listed = await self.git.run("config", "--list", "-z", env=env)
        pairs = (record.decode(errors="surrogateescape").partition("\n") for record in listed.records)
        return {key.lower(): value for key, _, value in pairs}

    async def _commit(self, name: str) -> str | None:
        if name.startswith("-") or has_control(name):
            return None
        answer = await self.git.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", accept=(0, 1, 128))
        return answer.text if answer.exit_code == 0 and answer.text else None

    async def _unknown(self, name: str) -> RepositoryInvalid:
        listed = await self.git.run("for-each-ref", "--format=%(refname:short)", "refs/heads/")
        branches = listed.text.splitlines()
        if name == "HEAD":
            return RepositoryInvalid(f"{self.place.shown} has no commit yet; make one first.")
        known = f" (its branches: {', '.join(branches[:10])})" if branches else ""
        fetch = "; fetch it first, for this is a shallow clone" if await self._is_shallow() else ""
        return RepositoryInvalid(f"{self.place.shown} has no branch, tag or commit {name!r}{known}{fetch}.")

    async def _is_shallow(self) -> bool:
        return (await self.git.run("rev-parse", "--is-shallow-repository")).text == "true"

    async def _messages(self, base: str, tip: str | None) -> tuple[str, ...]:
        if tip is None or base in ("", tip):
            return ()
        # Plumbing: `git log` would run a program to check signatures where the configuration wants it.
        listed = await self.git.run(
            *("rev-list", "--reverse", f"--max-count={_MOST_MESSAGES}", "--encoding=UTF-8", "--format=%B%x00"),
            f"{base}..{tip}",
        )
        messages = (record.decode(errors="replace").strip().partition("\n")[2].strip() for record in listed.records)
        return tuple(message for message in messages if message)


def _index_of(place: Place) -> Path:
    """The index; within a hook the one that git hands it, which for `git commit -a` is another than usual."""
    usual = place.git_dir / "index"
    given = os.environ.get("GIT_INDEX_FILE")
    if not given:
        return usual
    index = Path(given).absolute()
    return index if index.parent.resolve() == place.git_dir.resolve() and index.is_file() else usual


@contextmanager
def _as_of_the_person() -> Iterator[dict[str, str]]:
    """An environment in which git reads the person's own configuration."""
    home = os.path.expanduser("~")
    files = (os.environ.get("XDG_CONFIG_HOME", f"{home}/.config") + "/git/config", f"{home}/.gitconfig")
    given = os.environ.get("GIT_CONFIG_GLOBAL")
    with tempfile.NamedTemporaryFile("w", prefix="sdlc-gitconfig-") as both:
        for file in (given,) if given else files:
            quoted = file.replace("\\", "\\\\").replace('"', '\\"')
            both.write(f'[include]\n\tpath = "{quoted}"\n')
        both.flush()
        yield {"HOME": home, "GIT_CONFIG_GLOBAL": both.name, "GIT_CONFIG_NOSYSTEM": "0", "GIT_CONFIG_COUNT": "0"}
