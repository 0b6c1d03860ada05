"""What the fake GitHub does with git: a bare repository, read and changed by the machine's own git."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BOT_NAME, BOT_MAIL = "GitHub", "noreply@github.example"
ZERO = "0" * 40
MAX_PATCH_LINES, MAX_PATCH = 20_000, 1_000_000
"""Lines and characters of one file's diff beyond which GitHub shows none, and takes no comments on it."""
_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")

PRE_RECEIVE = """#!/bin/sh
# Refuses direct pushes to the branches that `protected` names, and workflows from who may not change them.
while read old new ref; do
  while read kind pattern; do
    case "$ref" in $pattern) ;; *) continue ;; esac
    made=; [ "$old" != 0000000000000000000000000000000000000000 ] || made=yes
    case "$kind" in
    protected)
      echo "error: GH006: Protected branch update failed for $ref." >&2
      echo "error: Changes must be made through a pull request." >&2 ;;
    creation) [ -n "$made" ] || continue; echo "error: GH013: Repository rule violations found for $ref." >&2 ;;
    update) [ -z "$made" ] || continue; echo "error: GH013: Repository rule violations found for $ref." >&2 ;;
    non_fast_forward)
      [ -z "$made" ] && ! git merge-base --is-ancestor "$old" "$new" || continue
      echo "error: GH013: Repository rule violations found for $ref." >&2 ;;
    *) continue ;;
    esac
    exit 1
  done <"$GIT_DIR/protected"
  if [ -n "$WITHOUT_WORKFLOWS" ] && [ "$new" != 0000000000000000000000000000000000000000 ] &&
     [ -n "$(git rev-list -1 "$new" --not --all -- .github/workflows)" ]; then
    echo "error: refusing to allow $WITHOUT_WORKFLOWS to create or update a workflow" >&2
    exit 1
  fi
  case "$ref" in refs/pull/*) echo "error: deny updating a hidden ref" >&2; exit 1;; esac
done
"""


class GitFailed(Exception):
    """A git command that failed; its text is what git said."""


@dataclass(frozen=True)
class Commit:
    sha: str
    tree: str
    parents: tuple[str, ...]
    author: tuple[str, str, str]
    """Name, address, date (ISO 8601, UTC)."""
    committer: tuple[str, str, str]
    message: str


@dataclass(frozen=True)
class FileChange:
    """One file of a diff; `right` and `left` are the lines that the diff shows on either side."""

    path: str
    old_path: str
    status: str
    blob: str
    additions: int
    deletions: int
    patch: str | None
    """None for a binary file, and for a diff that is too large to show."""

    @property
    def lines(self) -> dict[str, dict[int, int]]:
        """Side → line → position in the diff, for all lines that a comment can stand at."""
        shown: dict[str, dict[int, int]] = {"LEFT": {}, "RIGHT": {}}
        old = new = 0
        for position, line in enumerate((self.patch or "").split("\n")):
            if hunk := _HUNK.match(line):
                old, new = int(hunk[1]), int(hunk[3])
            elif line.startswith("-"):
                shown["LEFT"][old] = position
                old += 1
            elif line.startswith("+"):
                shown["RIGHT"][new] = position
                new += 1
            elif line.startswith(" "):
                shown["LEFT"][old] = position
                shown["RIGHT"][new] = position
                old, new = old + 1, new + 1
        return shown

    def hunk(self, position: int) -> str:
        """The diff from the head of the hunk to this position, as GitHub shows it above a comment."""
        lines = (self.patch or "").split("\n")
        start = max(index for index in range(position + 1) if index == 0 or _HUNK.match(lines[index]))
        return "\n".join(lines[start : position + 1])


@dataclass(frozen=True)
class Bare:
    """A bare repository at `path`."""

    path: Path

    def git(self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
        """The output of a git command, stripped; raises GitFailed."""
        return self.raw(*arguments, stdin=stdin, env=env).decode(errors="replace").strip()

    def raw(self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> bytes:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env={**_environment(), **(env or {})},
            input=stdin,
            capture_output=True,
            timeout=60,
        )
        if done.returncode:
            raise GitFailed(done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace"))
        return done.stdout

    def create(self, default_branch: str) -> None:
        self.path.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", f"--initial-branch={default_branch}", ".")
        for name, value in {
            "http.receivepack": "true",
            "uploadpack.allowAnySHA1InWant": "true",
            "uploadpack.allowFilter": "true",
            "receive.autogc": "false",
            "gc.auto": "0",
        }.items():
            self.git("config", name, value)
        hook = self.path / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(PRE_RECEIVE)
        hook.chmod(0o755)
        self.protect([], {})

    def protect(self, branches: Iterable[str], rules: Mapping[str, Iterable[str]]) -> None:
        """By names or patterns of branches; `rules` are kinds by pattern."""
        lines = [f"protected refs/heads/{branch}\n" for branch in branches]
        lines += [f"{kind} refs/heads/{pattern}\n" for pattern, kinds in rules.items() for kind in kinds]
        (self.path / "protected").write_text("".join(lines))

    # --- reading ------------------------------------------------------------------------------

    def refs(self) -> dict[str, str]:
        """Name of each ref → sha."""
        shown = self.git("for-each-ref", "--format=%(objectname) %(refname)")
        return {name: sha for sha, _, name in (line.partition(" ") for line in shown.split("\n") if line)}

    def commit(self, sha: str) -> Commit | None:
        """None where it is not a commit that the repository has."""
        found = self.commits(["--max-count=1", "--no-walk", sha])
        return found[0] if found else None

    def commits(self, selection: list[str]) -> list[Commit]:
        """What `git log` selects, newest first."""
        shape = "%x1e%H%x1f%T%x1f%P%x1f%an%x1f%ae%x1f%aI%x1f%cn%x1f%ce%x1f%cI%x1f%B"
        try:
            shown = self.raw("log", f"--format={shape}", *selection, "--").decode(errors="replace")
        except GitFailed:
            return []
        return [_commit(entry.split("\x1f")) for entry in shown.split("\x1e")[1:]]

    def has(self, sha: str) -> bool:
        return self.commit(sha) is not None

    def resolve(self, name: str) -> str:
        """The commit of a branch, tag or sha; "" where there is none."""
        for candidate in (f"refs/heads/{name}", f"refs/tags/{name}", name):
            try:
                return self.git("rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}")
            except GitFailed:
                continue
        return ""

    def merge_base(self, one: str, other: str) -> str:
        try:
            return self.git("merge-base", one, other)
        except GitFailed:
            return ""

    def is_ancestor(self, older: str, newer: str) -> bool:
        try:
            self.git("merge-base", "--is-ancestor", older, newer)
        except GitFailed:
            return False
        return True

    def count(self, selection: str) -> int:
        return int(self.git("rev-list", "--count", selection))

    def diff(self, base: str, head: str) -> list[FileChange]:
        """The files that differ from `base` to `head`, two shas, by path."""
        return list(_diff(self, base, head))

    def entry(self, sha: str, path: str) -> tuple[str, str] | None:
        """(type, sha) of what stands at a path of a commit; None where nothing does."""
        path = path.strip("/")
        if not path:
            return "tree", self.git("rev-parse", f"{sha}^{{tree}}")
        shown = self.git("ls-tree", "-z", sha, "--", path).rstrip("\0")
        if not shown:
            return None
        kind, found = shown.split("\t")[0].split(" ")[1:]
        return kind, found

    def listing(self, tree: str) -> list[tuple[str, str, str]]:
        """(type, sha, name) of what a tree has."""
        lines = self.git("ls-tree", "-z", tree).rstrip("\0").split("\0")
        return [(*_two(line.split("\t")[0].split(" ")[1:]), line.split("\t")[1]) for line in lines if line]

    def blob(self, sha: str) -> bytes:
        return self.raw("cat-file", "blob", sha)

    # --- changing -----------------------------------------------------------------------------

    def set_ref(self, ref: str, sha: str) -> None:
        """Move, make, or (with "") delete a ref; raises GitFailed for a name that git refuses."""
        if sha:
            self.git("update-ref", ref, sha)
        else:
            self.git("update-ref", "-d", ref)

    def merged_tree(self, one: str, other: str) -> str | None:
        """The tree of a merge; None where it conflicts."""
        try:
            return self.git("merge-tree", "--write-tree", one, other).splitlines()[0]
        except GitFailed:
            return None

    def commit_tree(self, tree: str, parents: list[str], message: str, *, author: tuple[str, str]) -> str:
        options = [part for parent in parents for part in ("-p", parent)]
        return self.git("commit-tree", tree, *options, stdin=message.encode(), env=_identity(author))

    def commit_files(
        self, parent: str, files: dict[str, str | bytes | None], message: str, *, author: tuple[str, str]
    ) -> str:
        """A commit on `parent` ("" for a first one) with these contents; None removes a file."""
        index = {"GIT_INDEX_FILE": str(self.path / f"index-{os.urandom(6).hex()}")}
        try:
            self.git("read-tree", *([parent] if parent else ["--empty"]), env=index)
            for path, content in files.items():
                if content is None:
                    self.git("update-index", "--force-remove", "--", path, env=index)
                    continue
                data = content if isinstance(content, bytes) else content.encode()
                blob = self.git("hash-object", "-w", "--stdin", stdin=data)
                self.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=index)
            tree = self.git("write-tree", env=index)
        finally:
            Path(index["GIT_INDEX_FILE"]).unlink(missing_ok=True)
        return self.commit_tree(tree, [parent] if parent else [], message, author=author)


@functools.lru_cache(maxsize=256)
def _diff(bare: Bare, base: str, head: str) -> tuple[FileChange, ...]:
    options = ["--no-color", "--no-ext-diff", "--find-renames", base, head]
    raw = bare.raw("diff", "--raw", "-z", "--no-abbrev", *options).decode(errors="surrogateescape").split("\0")
    numbers = bare.raw("diff", "--numstat", "-z", *options).decode(errors="surrogateescape").split("\0")
    # Lines of a file have a sign before them, so a line that begins so begins the next file.
    texts = re.split("^diff --git ", bare.raw("diff", *options).decode(errors="replace"), flags=re.MULTILINE)[1:]
    changes = []
    while len(raw) > 1:
        _, _, _, blob, status = raw.pop(0).split(" ")
        old = raw.pop(0)
        new = raw.pop(0) if status[0] in "RC" else old
        added, removed, name = numbers.pop(0).split("\t")
        if not name:
            del numbers[:2]
        text = texts.pop(0)
        if status == "T":
            # A file that became a link is shown as one that went and one that came.
            text += texts.pop(0)
        changes.append(_file_change(status[0], blob, old, new, added, removed, text))
    return tuple(changes)


def _two(parts: list[str]) -> tuple[str, str]:
    return parts[0], parts[1]


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "HOME": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "core.quotePath",
        "GIT_CONFIG_VALUE_0": "false",
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
    }


def environment() -> dict[str, str]:
    """The variables that git runs with here: nobody's configuration."""
    return _environment()


def _identity(author: tuple[str, str]) -> dict[str, str]:
    return {
        "GIT_AUTHOR_NAME": author[0],
        "GIT_AUTHOR_EMAIL": author[1],
        "GIT_COMMITTER_NAME": BOT_NAME,
        "GIT_COMMITTER_EMAIL": BOT_MAIL,
    }


def _commit(parts: list[str]) -> Commit:
    sha, tree, parents, *people = parts[:9]
    author: Any = (people[0], people[1], _utc(people[2]))
    committer: Any = (people[3], people[4], _utc(people[5]))
    return Commit(sha, tree, tuple(parents.split()), author, committer, parts[9].strip("\n"))


def _utc(date: str) -> str:
    return datetime.fromisoformat(date).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_STATUS = {"A": "added", "D": "removed", "M": "modified", "R": "renamed", "C": "copied", "T": "changed"}


def _file_change(status: str, blob: str, old: str, new: str, added: str, removed: str, text: str) -> FileChange:
    binary = added == "-"
    start = text.find("\n@@ ")
    patch = text[start + 1 :].rstrip("\n") if start >= 0 else ""
    too_large = len(patch) > MAX_PATCH or patch.count("\n") > MAX_PATCH_LINES
    return FileChange(
        path=new,
        old_path=old,
        status=_STATUS.get(status, "changed"),
        blob=blob,
        additions=0 if binary else int(added),
        deletions=0 if binary else int(removed),
        patch=None if binary or too_large else patch,
    )
