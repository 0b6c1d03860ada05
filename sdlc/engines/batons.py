"""What the agent's turns and rounds leave behind: commits that any worker can go on from.

A turn's commit is published as `refs/sdlc/<run id>/<sha>` before its activity returns: by its own
name, so that a try that was given up can't move what a later one published.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sdlc.activities import EngineRequest
from sdlc.config import GuardSettings
from sdlc.domain import ChangeSet, RunIdentity
from sdlc.engines.commit_message import commit_message
from sdlc.engines.guard_rails import (
    MAX_FILES,
    MAX_LINES,
    Secret,
    Violations,
    is_gits_own,
    link_problem,
    name_problem,
    protected_paths,
    secrets_added,
    secrets_in_binary,
    size_problem,
    submodules_problem,
)
from sdlc.errors import GuardRailViolation
from sdlc.integrations.git.paths import path_bytes
from sdlc.integrations.git.runner import BOT
from sdlc.integrations.project.rules import RULES_FILE, RulesInvalid, parse_rules

if TYPE_CHECKING:
    from sdlc.integrations.git.diff import ChangedFile
    from sdlc.integrations.git.objects import GitObjects
    from sdlc.integrations.git.runner import Git
    from sdlc.integrations.workspace import Workspace, Workspaces

_ASK = GuardSettings()


def work_ref(run: RunIdentity, sha: str) -> str:
    """Where a commit of a run is published."""
    return f"refs/sdlc/{run.run_id}/{sha[:16]}"


async def kept(workspace: Workspace, parent: str, turn: int, run: RunIdentity) -> tuple[str, str]:
    """Commit what is in the workspace on top of `parent` and publish it: (sha, note for the model).

    Files with what looks like a secret, or a trick on git, are left as they are in `parent`, since what was pushed
    can't be taken back; where the workspace refuses a file (too large, a repository of its own, a link that leads
    out), nothing is kept. The note says so. Nothing changed: `parent` itself.
    """
    message = f"sdlc: turn {turn}"
    try:
        made = await workspace.commit(message)
        files = await workspace.changed_files(parent, made)
        tricks = await _tricks(workspace.objects, made, files)
        secrets = await _secrets(workspace, parent, made, [file for file in files if file.path not in tricks])
    except GuardRailViolation as violation:
        return parent, f"[Nothing of this message's changes was kept: {violation} Then make them again.]"
    if not files:
        return parent, ""
    tree = f"{made}^{{tree}}"
    left_out = {*secrets, *_with_old_names(tricks, files)}
    note = _note(secrets, tricks)
    if left_out:
        tree = await _tree_without(workspace.git, made, parent, left_out)
        if tree == (await workspace.git.run("rev-parse", f"{parent}^{{tree}}")).text:
            return parent, note
    # Always made anew on `parent`: what the workspace committed before may hold what was left out.
    sha = await _commit_tree(workspace.git, tree, parent, f"{message}\n", dated_as=made)
    await workspace.publish(work_ref(run, sha), sha)
    return sha, note


@dataclass(frozen=True)
class Finished:
    """What a round leaves."""

    change: ChangeSet
    protected: tuple[str, ...] = ()
    """Protected paths that the whole change touches and nobody has consented to: people decide before it goes on."""
    allowed: tuple[str, ...] = ()
    """Those that it touches with the consent of a person, or because the settings let them through."""


async def submit_problem(
    workspace: Workspace, request: EngineRequest, head: str, *, guard: GuardSettings = _ASK
) -> tuple[str, str]:
    """Why a submit of `head` is not taken at first: (kind, answer to the model); both empty if it is."""
    change = request.change
    files = await workspace.changed_files(change.head_sha, head)
    if not files:
        return "no_change", (
            "Not submitted: nothing has changed since you began (ignored files don't count). "
            "Do the work; if there really is nothing to do, submit again and say why in the summary."
        )
    whole = await workspace.changed_files(change.base_sha, head)
    unwanted, _ = await _protected(workspace.objects, request, whole, guard)
    # Of what was there before this round people know already.
    touched = {name for file in files for name in (file.path, file.old_path)}
    unwanted = tuple(path for path in unwanted if path in touched)
    size = size_problem(whole, guard.max_files, guard.max_lines)
    if not unwanted and not size:
        return "", ""
    asked = unwanted and not size and guard.consent != "refuse"
    end = "a person will be asked to consent to it" if asked else "it will be refused, and a person will decide"
    return "guard_rails", (
        f"Not submitted. {Violations(protected=unwanted, size=size)} Put that back as it was and submit again. "
        f"If the ticket can't be solved without it, submit again as it is and say why in the summary: {end}."
    )


async def finished(
    workspaces: Workspaces,
    request: EngineRequest,
    head: str,
    summary: str,
    ended: str,
    *,
    guard: GuardSettings = _ASK,
) -> Finished:
    """The round's work as one published commit on top of where it began; the request's change if there is none.

    The same input gives the same commit. Raises GuardRailViolation naming paths, never a secret; for protected paths
    only where `guard` refuses them, otherwise they are told.
    """
    change, start = request.change, request.change.head_sha
    objects = await workspaces.objects(change.repository)
    files = await objects.changed_files(start, head) if head != start else []
    if head != start and not files:
        head = start
    whole = files if start == change.base_sha else await objects.changed_files(change.base_sha, head)
    protected, allowed = await _protected(objects, request, whole, guard)
    # All of it, and also where this round changed nothing: an interrupted try may have left its work unjudged.
    found = await _violations(objects, change.base_sha, head, whole, files, guard)
    if guard.consent == "refuse":
        found = found.model_copy(update={"protected": protected})
    if found:
        raise GuardRailViolation(
            f"The change for {request.run.ticket_key} was stopped. {found} "
            f"The work is kept in {work_ref(request.run, head)}; retry with an instruction that leaves this out, "
            "or make this part of the change by hand and retry."
        )
    if not files:
        return Finished(change, protected, allowed)
    message = commit_message(request.run.ticket_key, summary, ended, coauthor=request.run.coauthor)
    async with workspaces.at(change.repository, head) as workspace:
        sha = await _commit_tree(workspace.git, f"{head}^{{tree}}", start, message, dated_as=head)
        await workspace.publish(work_ref(request.run, sha), sha)
    made = await workspaces.change_set(change.repository, change.base_sha, sha, change.branch)
    return Finished(made, protected, allowed)


@dataclass(frozen=True)
class Judged:
    """What guard rails say of a change that people have made or added to."""

    protected: tuple[str, ...] = ()
    """Protected paths that it touches."""
    unasked: tuple[str, ...] = ()
    """Those of them that the settings don't let through: people decide."""


async def judged(objects: GitObjects, base: str, head: str, guard: GuardSettings) -> Judged:
    """The whole change against the guard rails. Raises GuardRailViolation for secrets, tricks on git, and its size."""
    files = await objects.changed_files(base, head)
    found = await _violations(objects, base, head, files, (), guard)
    protected = await touched_protected(objects, base, files, guard)
    unasked = protected if guard.consent != "allow" else tuple(path for path in protected if is_gits_own(path))
    if found:
        raise GuardRailViolation(
            f"What was pushed to the branch can't be taken in. {found} Take it out of the branch and its history, then "
            "retry."
        )
    return Judged(protected, unasked)


async def _protected(
    objects: GitObjects, request: EngineRequest, files: Sequence[ChangedFile], guard: GuardSettings
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(paths that nobody has consented to, paths that may be changed) of the protected ones among `files`.

    `allow` is no consent to git's own files: they act on every machine that checks the branch out.
    """
    paths = await touched_protected(objects, request.change.base_sha, files, guard)
    consented = set(request.consented)
    if guard.consent == "allow":
        consented |= {path for path in paths if not is_gits_own(path)}
    return tuple(path for path in paths if path not in consented), tuple(path for path in paths if path in consented)


async def touched_protected(
    objects: GitObjects, base: str, files: Sequence[ChangedFile], guard: GuardSettings
) -> tuple[str, ...]:
    """The protected paths among changed files, by the settings and by what the base commit says itself."""
    own = await _own_patterns(objects, base) if files else ()
    return await asyncio.to_thread(protected_paths, files, (*own, *guard.protected))


async def _own_patterns(objects: GitObjects, base: str) -> tuple[str, ...]:
    """What the base commit's `.sdlc.yml` protects; the step that runs its commands says what is wrong with it."""
    try:
        rules = parse_rules(await objects.show(base, RULES_FILE))
    except RulesInvalid:
        return ()
    return rules.protected


async def _violations(
    objects: GitObjects,
    base: str,
    head: str,
    whole: Sequence[ChangedFile],
    of_round: Sequence[ChangedFile],
    guard: GuardSettings,
) -> Violations:
    """What is refused whoever consents, of the whole change; the round's own files count for the size alone."""
    limits = (guard.max_files, guard.max_lines)
    size = size_problem(whole, *limits) or size_problem(of_round, *limits)
    if not size and any(file.status == "D" for file in whole) and not await objects.list_files(head):
        size = "It deletes every file of the repository."
    # What is refused anyway need not be read: it may be far larger than what is reviewed.
    if size:
        return Violations(size=size)
    if tricks := await _tricks(objects, head, whole):
        return Violations(tricks=tuple(tricks.values()))
    return Violations(secrets=tuple(await _secrets_added(objects, base, head, whole)))


async def _tricks(objects: GitObjects, head: str, files: Sequence[ChangedFile]) -> dict[str, str]:
    """Path → what the change may not do to git, or to whoever checks it out, in a sentence.

    A workspace refuses most of it when it is committed; commits from elsewhere are looked at as well.
    """
    found: dict[str, str] = {}
    for file in files:
        if file.status == "D":
            continue
        problem = name_problem(file.path) if file.status in ("A", "R") else ""
        if not problem and file.is_submodule:
            problem = f"{file.path} is a submodule that the change adds or moves; leave it as it was."
        if not problem and file.is_symlink:
            problem = link_problem(file.path, await objects.show(head, file.path) or b"")
        elif not problem and is_gits_own(file.path):
            problem = submodules_problem(file.path, await objects.show(head, file.path) or b"")
        if problem:
            found[file.path] = problem
    return found


async def _secrets(workspace: Workspace, parent: str, made: str, files: Sequence[ChangedFile]) -> dict[str, str]:
    """Path → where something in it that was added looks like a secret."""
    names = {file.path for file in files}
    found: dict[str, str] = {}
    for secret in await _secrets_added(workspace.objects, parent, made, files):
        # A name with unusual characters is written in more than one way: all of those are suspects then.
        for path in [secret.path] if secret.path in names else [n for n in names if n.startswith('"')] or names:
            found.setdefault(path, str(secret))
    # A file that was moved and is left out must not be lost at its old place.
    return _with_old_names(found, files)


def _with_old_names(found: dict[str, str], files: Sequence[ChangedFile]) -> dict[str, str]:
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


def _note(secrets: dict[str, str], tricks: dict[str, str]) -> str:
    notes = []
    if secrets:
        named = ", ".join(list(dict.fromkeys(secrets.values()))[:10])
        notes.append(
            f"[Not kept, put back to what it was before this message: {named}. Secrets can't be committed. "
            "Do it without them; in a test, use a value that is plainly made up.]"
        )
    if tricks:
        said = " ".join(list(tricks.values())[:10])
        notes.append(f"[Not kept, put back to what it was before this message: {said}]")
    return "\n".join(notes)
