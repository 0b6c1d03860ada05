"""Commits of a repository, read without a worktree. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Sequence

from sdlc.errors import RepositoryInvalid
from sdlc.integrations.git.clones import Clone, check_sha
from sdlc.integrations.git.diff import ChangedFile, DiffStat, read_changed_files, read_changed_lines, stat_of
from sdlc.integrations.git.paths import path_argument, path_bytes, path_text
from sdlc.integrations.git.runner import ASK_SECONDS, Answer

# Plumbing, so that no `diff.*` setting speaks; attributes can't name a driver, these can't either.
_DIFF = ("diff-tree", "-r", "--find-renames", "-l1000", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index")


class GitObjects:
    """A repository's commits. A sha that is missing on this host is fetched first.

    Paths are written as `paths.path_text` does. Raised by all: RepositoryInvalid for a commit that the
    repository doesn't have, ServiceUnavailable, WorkspaceBroken.
    """

    def __init__(self, clone: Clone) -> None:
        self._clone = clone

    async def changed_files(self, base: str, head: str) -> list[ChangedFile]:
        """What differs between two commits, renames found, by path."""
        answer = await self._read((base, head), *_DIFF, "-z", "--raw", "--numstat", base, head)
        return read_changed_files(answer.records)

    async def diff_stat(self, base: str, head: str) -> DiffStat:
        return stat_of(await self.changed_files(base, head))

    async def changed_lines(self, base: str, head: str) -> dict[str, frozenset[int]]:
        """By path, the numbers (from 1) of the lines that are new or changed in `head`.

        Files without such lines (deleted, binary, renamed as they were) and submodules are not in it.
        """
        answer = await self._read((base, head), *_DIFF, *_patch(0), base, head)
        return read_changed_lines(answer.stdout)

    async def diff(self, base: str, head: str, *paths: str, context: int = 3) -> str:
        """The difference as a patch for people and models; bytes that are not UTF-8 are shown as U+FFFD."""
        arguments = [*_DIFF, *_patch(context), base, head, "--", *map(path_argument, paths)]
        return (await self._read((base, head), *arguments)).stdout.decode(errors="replace")

    async def show(self, sha: str, path: str) -> bytes | None:
        """A file's content in a commit, of a symbolic link its target; None if there is no such file."""
        entry = await self._read((sha,), "ls-tree", "-z", sha, "--", path_argument(path))
        for record in entry.records:
            about, _, name = record.partition(b"\t")
            _mode, kind, blob = about.decode("ascii").split(" ")
            if kind == "blob" and name == path_bytes(path):
                return (await self._read((), "cat-file", "blob", blob)).stdout
        return None

    async def list_files(self, sha: str, *below: str) -> list[str]:
        """Paths of all files in a commit, or of those that are or lie below the given ones; no submodules."""
        answer = await self._read((sha,), "ls-tree", "-r", "-z", sha, "--", *map(path_argument, below))
        entries = (record.partition(b"\t") for record in answer.records)
        return [path_text(name) for about, _, name in entries if b" blob " in about]

    async def is_ancestor(self, ancestor: str, sha: str) -> bool:
        """Whether `ancestor` is in the history of `sha`; a commit is its own ancestor."""
        answer = await self._read((ancestor, sha), "merge-base", "--is-ancestor", ancestor, sha, accept=(0, 1))
        return answer.exit_code == 0

    async def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor; None for histories that have nothing in common."""
        answer = await self._read((one, other), "merge-base", one, other, accept=(0, 1))
        return answer.text or None

    async def authors(self, base: str, head: str, *, most: int = 10) -> tuple[str, ...]:
        """Who wrote the commits that `head` has and `base` has not, the newest first, each once."""
        names = (await self._read((base, head), "log", "--format=%an", "-n", "200", f"{base}..{head}")).text
        return tuple(dict.fromkeys(name.strip() for name in names.splitlines() if name.strip()))[:most]

    async def subject(self, sha: str) -> str:
        """The first line of a commit's message."""
        return (await self._read((sha,), "show", "--no-patch", "--format=%s", sha)).text

    async def resolve(self, ref: str) -> str | None:
        """The commit that a branch, tag, or full ref of the repository has at this moment; None if it has none.

        A full sha is looked for and given back.
        """
        try:
            await self._clone.require(check_sha(ref))
            return ref
        except RepositoryInvalid:
            pass
        names = (ref,) if ref.startswith("refs/") else (f"refs/heads/{ref}", f"refs/tags/{ref}")
        await self._clone.prepare()
        asked = [name + peeled for name in names for peeled in ("", "^{}")]
        answer = await self._clone.git.run(
            "ls-remote", "--quiet", "origin", *asked, timeout=ASK_SECONDS, remote=self._clone.address
        )
        pairs = (line.split("\t", 1) for line in answer.text.splitlines())
        found = {name: sha for sha, name in pairs}
        for name in names:
            if sha := found.get(f"{name}^{{}}") or found.get(name):
                await self._clone.require(sha)
                return sha
        return None

    async def _read(self, shas: Sequence[str], *arguments: str, accept: Sequence[int] = (0,)) -> Answer:
        """What git says; it is asked about full shas only, so the answer is the same for good."""

        async def ask() -> Answer:
            await self._clone.require(*shas)
            with self._clone.watched():
                return await self._clone.git.run(*arguments, accept=accept)

        return await self._clone.recent.get(arguments, ask)


def _patch(context: int) -> tuple[str, ...]:
    return ("-p", f"-U{context}", "--inter-hunk-context=0", "--submodule=short", "--src-prefix=a/", "--dst-prefix=b/")
