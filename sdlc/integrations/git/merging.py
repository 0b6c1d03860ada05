"""Commits of others merged into a run's line of work, without a worktree.

Only what git itself knows of merging is at work: the clone's attributes unset every merge driver that a repository
could name, and a driver's command would have to stand in a configuration that is ours.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sdlc.errors import WorkspaceBroken
from sdlc.integrations.git.clones import Clone
from sdlc.integrations.git.paths import path_argument, path_text
from sdlc.integrations.git.runner import BOT

_KIND = re.compile(r"CONFLICT \((?P<kind>[^)]+)\)")
_MARKERS = r"^(<<<<<<<|>>>>>>>) ([0-9a-f]{64}|[0-9a-f]{40})"
"""As `merge-tree` writes them when it is given full shas; no text that shows a conflict has these."""
_PATHS_AT_ONCE = 500


@dataclass(frozen=True)
class Merged:
    sha: str
    """A commit on top of `head`; `head` itself if there was nothing to merge."""
    conflicts: dict[str, str]
    """Path → kind of conflict; empty for one that git has marked in the file."""


async def merge_squashed(clone: Clone, head: str, other: str, message: str) -> Merged:
    """What `other` adds, as one commit on `head`. The same input gives the same commit. Nothing is published.

    Where both changed the same, the commit has git's conflict markers, or, where there can be none, one of the sides.
    Raises WorkspaceBroken for commits without a common ancestor.
    """
    return await _merged(clone, head, other, message, (head,))


async def merge_joined(clone: Clone, head: str, other: str, message: str) -> Merged:
    """As `merge_squashed`, with both as parents: nobody's history is lost, and both branches can go on to it.

    One that contains the other is the result as it stands.
    """
    await clone.require(head, other)
    base = (await clone.git.run("merge-base", head, other, accept=(0, 1))).text
    if base == other:
        return Merged(head, {})
    if base == head:
        return Merged(other, {})
    return await _merged(clone, head, other, message, (head, other))


async def _merged(clone: Clone, head: str, other: str, message: str, parents: Sequence[str]) -> Merged:
    await clone.require(head, other)
    with clone.watched():
        answer = await clone.git.run(
            *("merge-tree", "--write-tree", "--messages", "-z", head, other), accept=(0, 1, 128)
        )
        if answer.exit_code == 128:
            raise WorkspaceBroken(f"{other[:10]} can't be merged into {head[:10]}: {answer.stderr[:300]}")
        tree, conflicts = _read(answer.records)
        if len(parents) == 1 and tree == (await clone.git.run("rev-parse", f"{head}^{{tree}}")).text:
            return Merged(head, conflicts)
        date = (await clone.git.run("show", "--no-patch", "--format=%ct +0000", other)).text
        name, _, address = BOT.partition(" <")
        person = {"NAME": name, "EMAIL": address.rstrip(">"), "DATE": date}
        env = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in person.items()}
        above = [argument for parent in parents for argument in ("-p", parent)]
        made = await clone.git.run("commit-tree", tree, *above, stdin=message.encode("utf-8", "replace"), env=env)
    clone.has_made(made.text)
    return Merged(made.text, conflicts)


async def leftover_markers(clone: Clone, sha: str, files: Collection[str]) -> tuple[str, ...]:
    """Which of these files have conflict markers of `merge_squashed` in the commit."""
    await clone.require(sha)
    paths = [path_argument(file) for file in files]
    found: list[str] = []
    for first in range(0, len(paths), _PATHS_AT_ONCE):
        some = paths[first : first + _PATHS_AT_ONCE]
        answer = await clone.git.run(
            *("grep", "-z", "--name-only", "--text", "--extended-regexp", "-e", _MARKERS, sha, "--", *some),
            accept=(0, 1),
        )
        found += [path_text(record.partition(b":")[2]) for record in answer.records]
    return tuple(found)


def _read(records: Sequence[bytes]) -> tuple[str, dict[str, str]]:
    """The tree, and the conflicts: `merge-tree -z` gives the tree, entries with conflicts, an empty one, messages."""
    tree, *rest = records
    if b"" not in rest:
        return tree.decode(), {}
    conflicts: dict[str, str] = {}
    entries = rest[: rest.index(b"")]
    for paths, message in _messages(rest[len(entries) + 1 :]):
        if match := _KIND.search(message):
            for path in paths:
                kind = "" if match["kind"] in ("content", "add/add") else match["kind"]
                conflicts[path] = conflicts.get(path, "") or kind
        elif message.startswith("warning: Cannot merge binary"):
            conflicts |= dict.fromkeys(paths, "binary")
    for entry in entries:  # whatever git calls it, an entry with stages is a conflict
        conflicts.setdefault(path_text(entry.partition(b"\t")[2]), "")
    return tree.decode(), conflicts


def _messages(records: Sequence[bytes]) -> Iterator[tuple[list[str], str]]:
    """Each message: how many paths, these, its kind, its text."""
    at = 0
    while at < len(records):
        count = int(records[at])
        yield (
            [path_text(path) for path in records[at + 1 : at + 1 + count]],
            records[at + count + 2].decode("utf-8", "replace"),
        )
        at += count + 3
