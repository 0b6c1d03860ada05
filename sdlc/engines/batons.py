"""What the agent's turns and rounds leave behind: commits that any worker can go on from.

A turn's commit is published as `refs/sdlc/<run id>/<sha>` before its activity returns: by its own
name, so that a try that was given up can't move what a later one published.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sdlc.activities import EngineRequest
from sdlc.domain import ChangeSet, RunIdentity
from sdlc.engines.commit_message import commit_message
from sdlc.engines.guard_rails import (
    MAX_FILES,
    MAX_LINES,
    Secret,
    Violations,
    protected_paths,
    secrets_added,
    secrets_in_binary,
    size_problem,
)
from sdlc.errors import GuardRailViolation
from sdlc.integrations.git.paths import path_bytes
from sdlc.integrations.git.runner import BOT

if TYPE_CHECKING:
    from sdlc.integrations.git.diff import ChangedFile
    from sdlc.integrations.git.objects import GitObjects
    from sdlc.integrations.git.runner import Git
    from sdlc.integrations.workspace import Workspace, Workspaces


def work_ref(run: RunIdentity, sha: str) -> str:
    """Where a commit of a run is published."""
    return f"refs/sdlc/{run.run_id}/{sha[:16]}"


async def kept(workspace: Workspace, parent: str, turn: int, run: RunIdentity) -> tuple[str, str]:
    """Commit what is in the workspace on top of `parent` and publish it: (sha, note for the model).

    Files with what looks like a secret are left as they are in `parent`, since what was pushed can't be
    taken back; where git or a guard rail refuses a file (too large, a repository of its own, a link that
    leads out), nothing is kept. The note says so. Nothing changed: `parent` itself.
    """
    message = f"sdlc: turn {turn}"
    try:
        made = await workspace.commit(message)
        files = await workspace.changed_files(parent, made)
        secrets = await _secrets(workspace, parent, made, files)
    except GuardRailViolation as violation:
        return parent, f"[Nothing of this message's changes was kept: {violation} Then make them again.]"
    if not files:
        return parent, ""
    tree = f"{made}^{{tree}}"
    if secrets:
        tree = await _tree_without(workspace.git, made, parent, secrets)
        if tree == (await workspace.git.run("rev-parse", f"{parent}^{{tree}}")).text:
            return parent, _note(secrets)
    # Always made anew on `parent`: what the workspace committed before may hold what was left out.
    sha = await _commit_tree(workspace.git, tree, parent, f"{message}\n", dated_as=made)
    await workspace.publish(work_ref(run, sha), sha)
    return sha, _note(secrets)


async def submit_problem(workspace: Workspace, request: EngineRequest, head: str) -> tuple[str, str]:
    """Why a submit of `head` is not taken at first: (kind, answer to the model); both empty if it is."""
    start = request.change.head_sha
    files = await workspace.changed_files(start, head)
    if not files:
        return "no_change", (
            "Not submitted: nothing has changed since you began (ignored files don't count). "
            "Do the work; if there really is nothing to do, submit again and say why in the summary."
        )
    found = Violations(
        protected=protected_paths(files),
        size=size_problem(await workspace.changed_files(request.change.base_sha, head)),
    )
    if not found:
        return "", ""
    return "guard_rails", (
        f"Not submitted. {found} Put that back as it was and submit again. If the ticket can't be solved without it, "
        "submit again as it is: a person will decide."
    )


async def finished_change(
    workspaces: Workspaces, request: EngineRequest, head: str, summary: str, ended: str
) -> ChangeSet:
    """The round's work as one published commit on top of where it began; the request's change if there is none.

    The same input gives the same commit. Raises GuardRailViolation naming paths, never a secret.
    """
    change, start = request.change, request.change.head_sha
    objects = await workspaces.objects(change.repository)
    files = await objects.changed_files(start, head) if head != start else []
    if not files:
        return change
    size = size_problem(await objects.changed_files(change.base_sha, head)) or size_problem(files)
    found = Violations(
        protected=protected_paths(files),
        # What is refused anyway need not be read: it may be far larger than what is reviewed.
        secrets=() if size else tuple(await _secrets_added(objects, start, head, files)),
        size=size,
    )
    if found:
        raise GuardRailViolation(
            f"The change for {request.run.ticket_key} was stopped. {found} "
            f"The work is kept in {work_ref(request.run, head)}; retry with an instruction that leaves this out, "
            "or make this part of the change by hand and retry."
        )
    message = commit_message(request.run.ticket_key, summary, ended)
    async with workspaces.at(change.repository, head) as workspace:
        sha = await _commit_tree(workspace.git, f"{head}^{{tree}}", start, message, dated_as=head)
        await workspace.publish(work_ref(request.run, sha), sha)
    return await workspaces.change_set(change.repository, change.base_sha, sha, change.branch)


async def _secrets(workspace: Workspace, parent: str, made: str, files: Sequence[ChangedFile]) -> dict[str, str]:
    """Path → where something in it that was added looks like a secret."""
    names = {file.path for file in files}
    found: dict[str, str] = {}
    for secret in await _secrets_added(workspace.objects, parent, made, files):
        # A name with unusual characters is written in more than one way: all of those are suspects then.
        for path in [secret.path] if secret.path in names else [n for n in names if n.startswith('"')] or names:
            found.setdefault(path, str(secret))
    # A file that was moved and is left out must not be lost at its old place.
    return {**found, **{file.old_path: found[file.path] for file in files if file.old_path and file.path in found}}


async def _secrets_added(objects: GitObjects, base: str, head: str, files: Sequence[ChangedFile]) -> list[Secret]:
    """Where something that was added looks like a secret, also in files of which a diff shows nothing."""
    found: list[Secret] = []
    portions = list(_portions([file for file in files if not file.binary]))
    for portion in portions:
        paths = [path for file in portion for path in (file.old_path, file.path) if path] if len(portions) > 1 else []
        diff = await objects.diff(base, head, *paths, context=0)
        found += await asyncio.to_thread(secrets_added, diff)
    for file in files:
        if file.binary and file.status != "D":
            content = await objects.show(head, file.path) or b""
            before = b"" if file.status == "A" else await objects.show(base, file.old_path or file.path) or b""
            found += await asyncio.to_thread(secrets_in_binary, file.path, content, before)
    return found


def _portions(files: Sequence[ChangedFile]) -> Iterator[list[ChangedFile]]:
    """As many files at once as would be reviewed: one message may leave thousands, and all of their text is large."""
    portion: list[ChangedFile] = []
    lines = 0
    for file in files:
        lines += file.added + file.deleted
        if portion and (lines > MAX_LINES or len(portion) == MAX_FILES):
            yield portion
            portion, lines = [], file.added + file.deleted
        portion.append(file)
    if portion:
        yield portion


async def _tree_without(git: Git, made: str, parent: str, paths: Iterable[str]) -> str:
    """The tree of `made` with these paths as they are in `parent`. Worktree and index are not touched."""
    raw = [path_bytes(path) for path in paths]
    nothing = b"0" * len(parent)
    with tempfile.TemporaryDirectory(prefix="sdlc-index-") as folder:
        apart = replace(git, index=Path(folder) / "index")
        await apart.run("read-tree", made)
        before = (await apart.run("ls-tree", "-r", "-z", "--full-tree", parent)).records
        wanted = set(raw)
        entries = [b"0 " + nothing + b"\t" + path for path in raw]
        entries += [record for record in before if record.partition(b"\t")[2] in wanted]
        await apart.run("update-index", "-z", "--index-info", stdin=b"".join(entry + b"\0" for entry in entries))
        return (await apart.run("write-tree")).text


async def _commit_tree(git: Git, tree: str, parent: str, message: str, *, dated_as: str) -> str:
    """A commit with the date of another, so that making it again gives the same sha."""
    date = (await git.run("show", "--no-patch", "--format=%ct +0000", dated_as)).text
    name, _, address = BOT.partition(" <")
    person = {"NAME": name, "EMAIL": address.rstrip(">"), "DATE": date}
    env = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in person.items()}
    answer = await git.run("commit-tree", tree, "-p", parent, stdin=message.encode("utf-8", "replace"), env=env)
    return answer.text


def _note(secrets: dict[str, str]) -> str:
    if not secrets:
        return ""
    named = ", ".join(list(dict.fromkeys(secrets.values()))[:10])
    return (
        f"[Not kept, put back to what it was before this message: {named}. Secrets can't be committed. "
        "Do it without them; in a test, use a value that is plainly made up.]"
    )
