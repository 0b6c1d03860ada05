"""A bare clone of each repository on this host, made once and fetched into only when something is missing.

It holds our configuration only, and nothing that runs in a sandbox ever sees it. Its objects are never
collected: a commit that a workspace made stays until the cache is thrown away.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from sdlc.errors import RepositoryInvalid, WorkspaceBroken
from sdlc.integrations.git.address import full_address
from sdlc.integrations.git.failures import shown
from sdlc.integrations.git.locks import locked
from sdlc.integrations.git.recent import RecentAnswers
from sdlc.integrations.git.runner import TRANSFER_SECONDS, Git
from sdlc.integrations.git.throw_away import throw_away

_BRANCHES_AND_TAGS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_WORK_REFS = "+refs/sdlc/*:refs/sdlc/*"
_SHA = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")

LEFT_OUT = (
    # What engines and tools leave behind and no change is meant to hold. A repository's own .gitignore wins.
    ".aider*",
    ".sdlc-*",
    "__pycache__/",
    "*.py[co]",
    ".pytest_cache/",
    ".ruff_cache/",
    ".mypy_cache/",
    ".hypothesis/",
    ".tox/",
    ".nox/",
    ".venv/",
    "*.egg-info/",
    ".coverage",
    ".coverage.*",
    "node_modules/",
    ".DS_Store",
)
"""Never committed unless the repository has them already."""

ATTRIBUTES = "* -text -ident -filter !working-tree-encoding !diff !merge\n"
"""Over every .gitattributes: files are what the commit holds, byte by byte, no filter or driver is named,
and a change can't hide a file from its reviewers by calling it binary."""

_BROKEN = "sdlc-broken"


def check_sha(sha: str) -> str:
    """`sha` if it is a full one; RepositoryInvalid."""
    if not _SHA.match(sha):
        raise RepositoryInvalid(f"{sha!r} is not a full commit id; resolve the name first.")
    return sha


class Clone:
    """The clone of one repository. Its folder is a bare repository once `prepare` or `require` has returned."""

    def __init__(self, git: Git, address: str, folder: Path) -> None:
        self.address = address
        self.folder = folder
        self.git = git.on(folder)
        self._plain_git = git
        self._lock_file = folder.with_name(f"{folder.name}.lock")
        self.recent = RecentAnswers()
        self._known: set[str] = set()
        self._known_of: tuple[int, int] | None = None

    async def prepare(self) -> None:
        """Make the clone, or make it again if it was found broken."""
        if self._is_sound():
            return
        async with locked(self._lock_file, timeout=TRANSFER_SECONDS):
            if not self._is_sound():
                await self._make()

    async def require(self, *shas: str) -> None:
        """Have these commits, fetching what is missing.

        Raises RepositoryInvalid if the repository doesn't have one of them.
        """
        with self.watched():
            await self._require(shas)

    async def _require(self, shas: tuple[str, ...]) -> None:
        await self.prepare()
        self._forget_if_made_again()
        wanted = [check_sha(sha) for sha in dict.fromkeys(shas) if sha not in self._known]
        if missing := await self._missing(wanted):
            async with locked(self._lock_file, timeout=TRANSFER_SECONDS):
                missing = await self._missing(missing)
                for refspecs in (tuple(missing), (*_BRANCHES_AND_TAGS, _WORK_REFS)):
                    if missing:
                        missing = await self._fetched(refspecs, missing)
        if missing:
            raise RepositoryInvalid(
                f"The commit {missing[0]} is not in {shown(self.address)} (any more); was its branch rewritten?"
            )
        self._known.update(wanted)

    async def update(self) -> None:
        """Fetch branches and tags as they stand now."""
        await self.prepare()
        async with locked(self._lock_file, timeout=TRANSFER_SECONDS):
            await self._fetch(*_BRANCHES_AND_TAGS)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Condemn the clone if it turns out to be damaged in here."""
        try:
            yield
        except WorkspaceBroken:
            self.condemn()
            raise

    def has_made(self, sha: str) -> None:
        """Note that this commit was made here, so that nobody looks for it."""
        self._known.add(sha)

    def condemn(self) -> None:
        """It is damaged: the next `prepare` makes it anew."""
        self._known.clear()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (self.folder / _BROKEN).touch()

    def _is_sound(self) -> bool:
        return (self.folder / "HEAD").is_file() and not (self.folder / _BROKEN).exists()

    def _forget_if_made_again(self) -> None:
        """What is known holds for this folder only, and another process may have made it anew."""
        with contextlib.suppress(FileNotFoundError):
            status = (self.folder / "HEAD").stat()
            if (made := (status.st_ino, status.st_ctime_ns)) != self._known_of:
                self._known.clear()
                self._known_of = made

    async def _missing(self, shas: list[str]) -> list[str]:
        if not shas:
            return []
        asked = "".join(f"{sha}^{{commit}}\n" for sha in shas).encode()
        answer = await self.git.run("cat-file", "--batch-check", stdin=asked)
        lines = answer.text.splitlines()
        return [sha for sha, line in zip(shas, lines, strict=True) if not line.startswith(f"{sha} commit ")]

    async def _fetched(self, refspecs: tuple[str, ...], missing: list[str]) -> list[str]:
        try:
            await self._fetch(*refspecs)
        except (RepositoryInvalid, WorkspaceBroken):
            # A server may refuse to give a commit by its id, or not have it; the branches are asked for then.
            if refspecs != tuple(missing):
                raise
        return await self._missing(missing)

    async def _fetch(self, *refspecs: str) -> None:
        pruned = ("--prune",) if any("*" in refspec for refspec in refspecs) else ()
        await self.git.run(
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow", "--force", *pruned),
            *("origin", *refspecs),
            timeout=TRANSFER_SECONDS,
            remote=self.address,
        )

    async def _make(self) -> None:
        await throw_away(self.folder)
        draft = self.folder.with_name(f"{self.folder.name}.draft")
        await throw_away(draft)
        await self._plain_git.run("init", "--quiet", "--bare", "--template=", str(draft))
        drafted = Clone(self._plain_git, self.address, draft)
        # In the configuration and not on command lines, which every user of the machine can read.
        await drafted.git.run("config", "--file", str(draft / "config"), "remote.origin.url", self.address)
        (draft / "config").chmod(0o600)
        (draft / "info").mkdir(exist_ok=True)
        (draft / "info" / "attributes").write_text(ATTRIBUTES)
        (draft / "info" / "exclude").write_text("".join(f"{pattern}\n" for pattern in LEFT_OUT))
        await drafted._fetch(*_BRANCHES_AND_TAGS)
        draft.rename(self.folder)


class Clones:
    """The clone cache of this host, in `<cache>/repositories`."""

    def __init__(self, git: Git, folder: Path) -> None:
        self._git = git
        self._folder = folder
        self._clones: dict[str, Clone] = {}

    def of(self, url: str) -> Clone:
        """The clone of the repository at `url`; nothing is fetched yet. RepositoryInvalid for an address we refuse."""
        address = full_address(url)
        if address not in self._clones:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._clones[address] = Clone(self._git, address, self._folder / name_of(address))
        return self._clones[address]


def name_of(address: str) -> str:
    """The name of the folder in which something of the repository at `address` lies."""
    return hashlib.sha256(address.encode()).hexdigest()[:24]
