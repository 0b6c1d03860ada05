"""The files of submodules, where a configuration allows them: put into the tree as plain files, without a `.git`."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from sdlc.errors import RepositoryInvalid
from sdlc.integrations.git.address import full_address, kind_of
from sdlc.integrations.git.clones import Clone, Clones
from sdlc.integrations.git.failures import shown
from sdlc.integrations.git.paths import path_text
from sdlc.integrations.git.worktree import Tracked, Worktree

_DEEPEST = 5


async def fill_submodules(clones: Clones, worktree: Worktree, sha: str) -> None:
    """Fetch each submodule of `sha`, and those within, at the commit that is recorded.

    Raises RepositoryInvalid for one whose address is missing, refused, or on this machine while the
    repository itself is not.
    """
    entries = [entry for entry in await worktree.tracked() if entry.is_submodule]
    await _fill(clones, worktree, worktree.clone, sha, b"", entries, depth=0)


async def _fill(
    clones: Clones,
    worktree: Worktree,
    parent: Clone,
    sha: str,
    prefix: bytes,
    entries: Iterable[Tracked],
    *,
    depth: int,
) -> None:
    entries = list(entries)
    if not entries:
        return
    if depth == _DEEPEST:
        raise RepositoryInvalid(f"Submodules are nested more than {_DEEPEST} deep in {shown(parent.address)}.")
    addresses = await _addresses(parent, sha)
    for entry in entries:
        clone = clones.of(_address(parent, addresses, entry))
        await clone.require(entry.object)
        path = prefix + entry.path
        index = worktree.folder / "index.submodule"
        place = worktree.inside(path)
        try:
            git = clone.git.on(clone.folder, work_tree=place, index=index)
            with clone.watched():
                await git.run("read-tree", "--reset", "-u", entry.object)
                nested = await Worktree.tracked_in(git)
        finally:
            index.unlink(missing_ok=True)
        below = [item for item in nested if item.is_submodule]
        await _fill(clones, worktree, clone, entry.object, path + b"/", below, depth=depth + 1)


async def _addresses(clone: Clone, sha: str) -> dict[bytes, str]:
    """Path → URL, from the .gitmodules of a commit."""
    listed = await clone.git.run(
        "config",
        "--blob",
        f"{sha}:.gitmodules",
        "-z",
        "--get-regexp",
        r"^submodule\..*\.(path|url)$",
        accept=(0, 1, 128),
    )
    values: dict[str, dict[str, str]] = {}
    for record in listed.records:
        key, _, value = record.decode(errors="surrogateescape").partition("\n")
        name, _, what = key.rpartition(".")
        values.setdefault(name, {})[what] = value
    both = (found for found in values.values() if len(found) == 2)
    return {found["path"].encode(errors="surrogateescape"): found["url"] for found in both}


def _address(parent: Clone, addresses: dict[bytes, str], entry: Tracked) -> str:
    name = path_text(entry.path)
    url = addresses.get(entry.path)
    if not url:
        raise RepositoryInvalid(f"The submodule {name} of {shown(parent.address)} has no URL in .gitmodules; add it.")
    address = _beside(parent.address, url) if url.startswith(("./", "../")) else full_address(url)
    if kind_of(address) == "path" and kind_of(parent.address) != "path":
        raise RepositoryInvalid(
            f"The submodule {name} of {shown(parent.address)} points at this machine; it is not read."
        )
    return address


def _beside(parent: str, relative: str) -> str:
    """A submodule's relative URL, as git reads it: from the repository's own address."""
    if "://" in parent:
        parts = urlsplit(parent)
        return full_address(urlunsplit(parts._replace(path=posixpath.normpath(f"{parts.path}/{relative}"))))
    head, colon, path = ("", "", parent) if kind_of(parent) == "path" else parent.partition(":")
    return full_address(f"{head}{colon}{posixpath.normpath(f'{path}/{relative}')}")
