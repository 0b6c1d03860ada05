"""What a repository is like, found out cheaply and without touching it, before a run is started on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sdlc.errors import RepositoryInvalid, WorkspaceBroken
from sdlc.integrations.git.address import full_address, kind_of
from sdlc.integrations.git.diff import SUBMODULE
from sdlc.integrations.git.failures import shown
from sdlc.integrations.git.runner import ASK_SECONDS, Git

_USUAL_BRANCHES = ("main", "master", "trunk", "develop")
_MAX_ATTRIBUTE_FILES = 50


@dataclass(frozen=True)
class OriginFacts:
    """Everything is about commits, but for `dirty`."""

    origin: str
    """The address in full: an absolute path, or the URL as it was given."""
    kind: Literal["path", "url"]
    is_bare: bool
    default_branch: str
    """Empty where it can't be told."""
    head_sha: str
    """The commit that is checked out; of a bare repository or a URL, that of the default branch."""
    current_branch: str
    """What is checked out; empty on a detached HEAD. Of a bare repository or a URL, the default branch."""
    dirty: bool = False
    """A checkout with changes that no commit holds, untracked files among them."""
    uses_lfs: bool | None = None
    """None: not known before it is cloned."""
    has_submodules: bool | None = None
    is_shallow: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    """Branch → sha."""


async def inspect_origin(origin: str, *, git: Git | None = None) -> OriginFacts:
    """Look at a path or URL that a person gave.

    Raises RepositoryInvalid for one that is missing, is no repository, has no commit, or needs
    credentials; ServiceUnavailable where the network is at fault.
    """
    address = full_address(origin)
    git = git or Git()
    return await (_Folder(git, Path(address)).facts() if kind_of(address) == "path" else _of_url(git, address))


async def _of_url(git: Git, address: str) -> OriginFacts:
    answer = await git.run(
        "ls-remote", "--symref", address, "HEAD", "refs/heads/*", timeout=ASK_SECONDS, remote=address
    )
    head, branches, default = "", {}, ""
    for line in answer.text.splitlines():
        value, _, name = line.partition("\t")
        if value.startswith("ref: "):
            default = value.removeprefix("ref: refs/heads/")
        elif name == "HEAD":
            head = value
        elif name.startswith("refs/heads/"):
            branches[name.removeprefix("refs/heads/")] = value
    if not branches and not head:
        raise RepositoryInvalid(f"{shown(address)} has no commit yet; push one first.")
    default = default if default in branches else _likely_default(branches)
    return OriginFacts(
        origin=address,
        kind="url",
        is_bare=True,
        default_branch=default,
        head_sha=head or branches.get(default, ""),
        current_branch=default,
        branches=branches,
    )


class _Folder:
    def __init__(self, git: Git, path: Path) -> None:
        # A person who names the `.git` folder means the checkout around it.
        self.path = path.parent if path.name == ".git" and path.is_dir() else path
        self.git = git

    async def facts(self) -> OriginFacts:
        git_dir = await self._git_dir()
        self.git = self.git.on(git_dir)
        try:
            return await self._facts()
        except WorkspaceBroken as error:
            raise RepositoryInvalid(f"{self.path} is damaged; run `git fsck` there. ({error})") from error

    async def _facts(self) -> OriginFacts:
        about = await self.git.run("rev-parse", "--is-bare-repository", "--is-shallow-repository", cwd=self.path)
        bare, shallow = (word == "true" for word in about.text.split())
        branches = await self._branches()
        current = (await self.git.run("symbolic-ref", "--quiet", "--short", "HEAD", accept=(0, 1))).text
        default = await self._default(branches, current, bare=bare)
        head = (await self.git.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", accept=(0, 1, 128))).text
        head = head or branches.get(default, "")
        if not head:
            raise RepositoryInvalid(f"{self.path} has no commit yet; make one first (`git add`, `git commit`).")
        submodules, lfs = await self._contents(head)
        return OriginFacts(
            origin=str(self.path),
            kind="path",
            is_bare=bare,
            default_branch=default,
            head_sha=head,
            current_branch=(current if current in branches else "") if not bare else default,
            dirty=not bare and await self._dirty(),
            uses_lfs=lfs,
            has_submodules=submodules,
            is_shallow=shallow,
            branches=branches,
        )

    async def _git_dir(self) -> Path:
        path = self.path
        if not path.exists():
            raise RepositoryInvalid(f"There is no folder {path}; check the path.")
        if not path.is_dir():
            raise RepositoryInvalid(f"{path} is a file; give the folder of a git repository, or a URL.")
        found = await self._discovered({"GIT_CEILING_DIRECTORIES": str(path.parent)})
        if found:
            return Path(found)
        if around := await self._discovered({"GIT_CEILING_DIRECTORIES": ""}, "--show-toplevel"):
            raise RepositoryInvalid(f"{path} is a folder inside the repository {around}; give that one.")
        raise RepositoryInvalid(f"{path} is not a git repository; give one, or run `git init` and commit there first.")

    async def _discovered(self, env: dict[str, str], what: str = "--absolute-git-dir") -> str:
        answer = await self.git.run("rev-parse", what, cwd=self.path, env=env, accept=(0, 128))
        return answer.stdout.decode(errors="surrogateescape").strip() if answer.exit_code == 0 else ""

    async def _branches(self) -> dict[str, str]:
        listed = await self.git.run("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/")
        pairs = (line.split(" ", 1) for line in listed.text.splitlines())
        return {ref.removeprefix("refs/heads/"): sha for sha, ref in pairs}

    async def _default(self, branches: dict[str, str], current: str, *, bare: bool) -> str:
        if bare and current in branches:
            return current
        upstream = await self.git.run("symbolic-ref", "--quiet", "refs/remotes/origin/HEAD", accept=(0, 1))
        name = upstream.text.removeprefix("refs/remotes/origin/")
        if name in branches:
            return name
        return _likely_default(branches) or (current if current in branches else "")

    async def _dirty(self) -> bool:
        status = await self.git.on(self.git.git_dir or self.path, work_tree=self.path).run(
            *("status", "--porcelain", "-z", "--ignore-submodules=all", "--untracked-files=normal", "--no-renames"),
            env=await self._without_filters(),
        )
        return bool(status.stdout)

    async def _without_filters(self) -> dict[str, str]:
        """Overrides for the filters of the repository's own configuration: looking at it runs no program."""
        listed = await self.git.run("config", "--name-only", "-z", "--get-regexp", r"^filter\..*", accept=(0, 1))
        names = {record.decode(errors="surrogateescape") for record in listed.records}
        settings = (
            f"{_quoted(name)}={_quoted('false' if name.endswith('.required') else '')}" for name in sorted(names)
        )
        return {"GIT_CONFIG_PARAMETERS": " ".join(settings)} if names else {}

    async def _contents(self, head: str) -> tuple[bool, bool]:
        """Whether it has submodules, and whether it uses Git LFS."""
        listed = await self.git.run("ls-tree", "-r", "-z", head)
        submodules = any(record.startswith(SUBMODULE.encode()) for record in listed.records)
        entries = (record.partition(b"\t") for record in listed.records)
        files = [about.split()[2] for about, _, name in entries if name.split(b"/")[-1] == b".gitattributes"]
        asked = b"".join(blob + b"\n" for blob in files[:_MAX_ATTRIBUTE_FILES])
        contents = await self.git.run("cat-file", "--batch", stdin=asked) if asked else None
        return submodules, contents is not None and b"filter=lfs" in contents.stdout


def _quoted(text: str) -> str:
    """As git reads it in GIT_CONFIG_PARAMETERS."""
    return "'" + text.replace("'", "'\\''") + "'"


def _likely_default(branches: dict[str, str]) -> str:
    """By name, where nothing in the repository says it; empty if that would be a guess."""
    if len(branches) == 1:
        return next(iter(branches))
    return next((name for name in _USUAL_BRANCHES if name in branches), "")
