"""The files of one commit: their names, identities and some contents, read from the object store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sdlc.integrations.git.runner import Git
from sdlc.integrations.project.discovery import LARGEST_FILE, wanted_files

_FILE_MODES = (b"100644", b"100755")
"""Regular files; symlinks and submodules have nothing for us."""


@dataclass(frozen=True)
class Tree:
    sha: str
    blobs: dict[str, str]
    """Path → the object's name, of regular files whose path is plain text."""
    texts: dict[str, str]
    """Contents of the files that discovery wants to see."""

    @property
    def digest(self) -> str:
        """Names exactly these files, whatever commit holds them."""
        listed = "\0".join(f"{path}\0{blob}" for path, blob in sorted(self.blobs.items()))
        return hashlib.sha256(listed.encode()).hexdigest()

    @property
    def files(self) -> list[str]:
        return list(self.blobs)


async def read_tree(git: Git, sha: str) -> Tree:
    """The tree of a commit that is in the object store of `git`."""
    listed = await git.run("ls-tree", "-r", "-z", "--full-tree", sha)
    blobs: dict[str, str] = {}
    for record in listed.records:
        meta, _, raw = record.partition(b"\t")
        mode, _, name = meta.split(b" ")
        try:
            path = raw.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if mode in _FILE_MODES and path.isprintable():
            blobs[path] = name.decode()
    return Tree(sha, blobs, await read_blobs(git, {path: blobs[path] for path in wanted_files(list(blobs))}))


async def read_blobs(git: Git, wanted: dict[str, str]) -> dict[str, str]:
    """Contents by path, from object names by path; those above `LARGEST_FILE` left out, what isn't UTF-8 replaced."""
    if not wanted:
        return {}
    paths = list(wanted)
    small = await _small(git, [wanted[path] for path in paths])
    paths = [path for path in paths if wanted[path] in small]
    answer = await git.run("cat-file", "--batch", stdin="".join(f"{wanted[path]}\n" for path in paths).encode())
    texts: dict[str, str] = {}
    at = 0
    for path in paths:
        end = answer.stdout.index(b"\n", at)
        size = int(answer.stdout[at:end].split(b" ")[2])
        texts[path] = answer.stdout[end + 1 : end + 1 + size].decode("utf-8", "replace")
        at = end + 1 + size + 1
    return texts


async def _small(git: Git, names: list[str]) -> set[str]:
    """The objects that are not larger than what is read of a file."""
    answer = await git.run("cat-file", "--batch-check", stdin="".join(f"{name}\n" for name in names).encode())
    found = (line.split(" ") for line in answer.stdout.decode().splitlines())
    return {parts[0] for parts in found if len(parts) == 3 and int(parts[2]) <= LARGEST_FILE}
