"""A change as rows that pages show, with the findings at their lines; and how much of it that may be.

git's own counts say where a hunk ends (`sdlc.integrations.git.diff`), so no line of a file is taken for a header.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sdlc.domain import ChangeSet
from sdlc.integrations.git.clones import Clone
from sdlc.integrations.git.diff import SUBMODULE, SYMLINK, ChangedFile
from sdlc.integrations.git.objects import GitObjects
from sdlc.integrations.git.paths import path_argument, path_text, unquoted
from sdlc.naming import counted
from sdlc.runtime.redaction import Redactor
from sdlc.web.gateway.shown import Lines
from sdlc.web.views import Diff, DiffFile, DiffHunk, DiffRow, FindingView

MOST_FILES = 200
MOST_ROWS = 5_000
_MOST_CHARS = 2_000
"""Of one line."""
_MOST_BYTES = 2 * 1024**2
"""Of one file, on either side."""
_BYTES_IN_ALL = 32 * 1024**2
_PATH_BYTES = 100_000
"""Of the arguments of one command."""
_HUNK = re.compile(rb"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)$", re.DOTALL)
_STATUS = {"A": "added", "M": "modified", "D": "deleted", "R": "renamed"}
_SIGNS = {ord(" "): "context", ord("+"): "added", ord("-"): "deleted"}


async def read_diff(clone: Clone, change: ChangeSet, findings: Sequence[FindingView], redact: Redactor) -> Diff:
    """The change, the files with findings first where not all can be shown.

    Raises RepositoryInvalid, ServiceUnavailable, WorkspaceBroken, GuardRailViolation.
    """
    base, head = change.base_sha, change.head_sha
    files = await GitObjects(clone).changed_files(base, head)
    noted = {finding.file for finding in findings}
    by_rank = sorted(files, key=lambda file: file.path not in noted)
    sizes = await _sizes(clone, (base, head), by_rank[: 2 * MOST_FILES])
    chosen = _chosen(by_rank, sizes)
    patch = await _patch(clone, base, head, [file for file, reason in chosen.values() if not reason])
    return laid_out(change, files, chosen, patch, findings, redact)


Chosen = dict[str, tuple[ChangedFile, str]]
"""By path: the file, and why it is named without its lines."""


def _chosen(files: Sequence[ChangedFile], sizes: dict[str, int]) -> Chosen:
    chosen: Chosen = {}
    room, names = _BYTES_IN_ALL, _PATH_BYTES
    for file in files:
        size = max(sizes.get(path, 0) for path in (file.path, file.old_path))
        names -= len(file.path.encode()) + len(file.old_path.encode())
        if len(chosen) >= MOST_FILES or names < 0:
            break
        if size > _MOST_BYTES:
            chosen[file.path] = file, f"It is too large to be shown here: {size:,} bytes."
        elif size > room:
            chosen[file.path] = file, "It is left out: the change is too large to be shown in full."
        else:
            chosen[file.path] = file, ""
            room -= 2 * size
    return chosen


async def _sizes(clone: Clone, shas: Sequence[str], files: Sequence[ChangedFile]) -> dict[str, int]:
    """By path, the bytes of the file in whichever commit it is larger."""
    found: dict[str, int] = {}
    paths: list[str] = []
    room = _PATH_BYTES
    for path in (name for file in files for name in (file.path, file.old_path) if name):
        room -= len(path.encode())
        if room > 0:
            paths.append(path_argument(path))
    for sha in shas if paths else ():
        answer = await clone.git.run("ls-tree", "-r", "-l", "-z", sha, "--", *paths)
        for record in answer.records:
            about, _, name = record.partition(b"\t")
            size = about.split()[-1]
            path = path_text(name)
            found[path] = max(found.get(path, 0), int(size) if size.isdigit() else 0)
    return found


async def _patch(clone: Clone, base: str, head: str, files: Sequence[ChangedFile]) -> bytes:
    paths = [path_argument(path) for file in files for path in (file.path, file.old_path) if path]
    if not paths:
        return b""
    arguments = ("diff-tree", "-r", "--find-renames", "-l1000", "--no-ext-diff", "--no-textconv", "--no-color")
    patch = ("--full-index", "-p", "-U3", "--submodule=short", "--src-prefix=a/", "--dst-prefix=b/")
    return (await clone.git.run(*arguments, *patch, base, head, "--", *paths)).stdout


def laid_out(
    change: ChangeSet,
    files: Sequence[ChangedFile],
    chosen: Chosen,
    patch: bytes,
    findings: Sequence[FindingView],
    redact: Redactor,
) -> Diff:
    """Pure: what is shown of these files, `chosen` in the order in which they have a right to room."""
    hunks = parsed(patch)
    said: defaultdict[str, list[FindingView]] = defaultdict(list)
    for finding in findings:
        said[finding.file].append(finding)
    room = MOST_ROWS
    shown: dict[str, DiffFile] = {}
    cut = 0
    for path, (file, reason) in chosen.items():
        entry, used, missing = _file(file, reason, hunks.get(path, []), said[path], room, redact)
        shown[path], room, cut = entry, room - used, cut + missing
    left = len(files) - len(shown)
    parts = [f"{counted(left, 'file')} of {len(files)}"] if left else []
    parts += [f"{counted(cut, 'line')} of the patch"] if cut else []
    in_full = f"`git diff {change.base_sha[:10]} {change.head_sha[:10]}` shows all"
    return Diff(
        base_sha=change.base_sha,
        head_sha=change.head_sha,
        files=tuple(shown[file.path] for file in files if file.path in shown),
        files_changed=len(files),
        insertions=sum(file.added for file in files),
        deletions=sum(file.deleted for file in files),
        findings=tuple(finding for finding in findings if finding.file not in shown),
        left_out=f"Left out here: {' and '.join(parts)}; {in_full}." if parts else "",
    )


def _file(
    file: ChangedFile, reason: str, hunks: Sequence[Hunk], findings: Sequence[FindingView], room: int, redact: Redactor
) -> tuple[DiffFile, int, int]:
    """What is shown of it, the rows that took, and the rows that are missing."""
    at: defaultdict[int, list[FindingView]] = defaultdict(list)
    for finding in findings:
        at[finding.line].append(finding)
    placed: set[int] = set()
    clean = Lines(redact, _MOST_CHARS)
    shown: list[DiffHunk] = []
    used = 0
    for hunk in hunks:
        rows = []
        for sign, old, new, raw, no_newline in hunk.rows[: room - used]:
            text, cut = clean(raw.decode(errors="replace"))
            here = tuple(at[new]) if new is not None else ()
            placed.update([new] if here and new is not None else [])
            kind = _SIGNS[sign]
            rows.append(DiffRow(kind=kind, old=old, new=new, text=text, cut=cut, no_newline=no_newline, findings=here))
        used += len(rows)
        if rows:
            heading = clean(hunk.heading.decode(errors="replace"))[0]
            shown.append(DiffHunk(old_start=hunk.old, new_start=hunk.new, heading=heading, rows=tuple(rows)))
    missing = sum(len(hunk.rows) for hunk in hunks) - used
    notes = [*_notes(file), *([reason] if reason else [])]
    notes += [f"{counted(missing, 'line')} more of its patch are left out here."] if missing else []
    entry = DiffFile(
        path=file.path,
        old_path=file.old_path,
        status=_STATUS[file.status],
        added=file.added,
        deleted=file.deleted,
        binary=file.binary,
        notes=tuple(notes),
        hunks=tuple(shown),
        findings=tuple(finding for finding in findings if finding.line not in placed),
    )
    return entry, used, missing


def _notes(file: ChangedFile) -> Iterator[str]:
    if file.is_submodule or file.old_mode == SUBMODULE:
        yield "A submodule."
    elif file.is_symlink:
        yield "A symbolic link; the line is its target."
    elif file.old_mode == SYMLINK and file.status != "D":
        yield "It was a symbolic link."
    if file.old_mode and file.mode != file.old_mode:
        yield f"Its mode changes from {file.old_mode} to {file.mode}."
    if file.binary:
        yield "It is binary."
    elif file.status == "R" and not (file.added or file.deleted):
        yield "It is renamed as it was."
    elif not (file.added or file.deleted) and file.mode == (file.old_mode or file.mode):
        yield "It is empty."


# --- what git says --------------------------------------------------------------------------------


@dataclass
class Hunk:
    old: int
    new: int
    heading: bytes
    rows: list[tuple[int, int | None, int | None, bytes, bool]] = field(default_factory=list)
    """Sign, old and new number, text, and whether the file ends there without a line feed."""


def parsed(patch: bytes) -> dict[str, list[Hunk]]:
    """The hunks by path, as `paths.path_text` writes it. One that changes its type has those of both."""
    found: dict[str, list[Hunk]] = {}
    path = ""
    lines = iter(patch.split(b"\n"))
    for line in lines:
        if line.startswith(b"diff --git "):
            path = _path_of(line[len(b"diff --git ") :])
        elif line.startswith(b"rename to "):
            path = path_text(unquoted(line[len(b"rename to ") :]))
        elif head := _HUNK.match(line):
            hunk = Hunk(int(head[1]), int(head[3]), head[5])
            _read_rows(lines, hunk, int(head[2] or 1), int(head[4] or 1))
            found.setdefault(path, []).append(hunk)
        elif line.startswith(b"\\") and path in found:
            _mark_end(found[path][-1])
    return found


def _read_rows(lines: Iterator[bytes], hunk: Hunk, olds: int, news: int) -> None:
    old, new = hunk.old, hunk.new
    end_old, end_new = old + olds, new + news
    while (old < end_old or new < end_new) and (line := next(lines, None)) is not None:
        sign = line[0] if line else ord(" ")
        if sign == ord("\\"):
            _mark_end(hunk)
            continue
        is_old, is_new = sign != ord("+"), sign != ord("-")
        hunk.rows.append((sign, old if is_old else None, new if is_new else None, line[1:], False))
        old, new = old + is_old, new + is_new


def _mark_end(hunk: Hunk) -> None:
    if hunk.rows:
        hunk.rows[-1] = (*hunk.rows[-1][:4], True)


def _path_of(names: bytes) -> str:
    """From `a/<path> b/<path>`: where both are the same, as they are unless it is renamed, each is one half."""
    half = names[: (len(names) - 1) // 2]
    return path_text(unquoted(half)[2:])
