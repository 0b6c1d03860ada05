"""What a change must not hold when it leaves the engine: pure checks of paths, sizes and added lines.

No message of this module ever holds the secret that was found.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Protocol

from sdlc.domain import Record

MAX_FILES = 200
MAX_LINES = 20_000
MAX_FINDINGS = 20
"""Secrets that are named of one file."""
MAX_BINARY_BYTES = 5 * 1024**2
"""Looked at of a file that git calls binary."""

_PROTECTED_FOLDERS = (
    ".github",
    ".gitlab",
    ".circleci",
    ".buildkite",
    ".woodpecker",
    ".forgejo",
    ".gitea",
    ".husky",
    ".sdlc",
)
_PROTECTED_NAMES = frozenset(
    {
        ".gitlab-ci.yml",
        ".gitlab-ci.yaml",
        ".travis.yml",
        ".drone.yml",
        ".cirrus.yml",
        ".woodpecker.yml",
        "appveyor.yml",
        ".appveyor.yml",
        "azure-pipelines.yml",
        "azure-pipelines.yaml",
        "bitbucket-pipelines.yml",
        "jenkinsfile",
        ".pre-commit-config.yaml",
        "codeowners",
        "sdlc.yaml",
        ".sdlc.yml",
        ".sdlc.yaml",
    }
)
_HARMLESS_GIT_NAMES = frozenset({".gitignore", ".gitkeep"})

_SECRETS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("private key", re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")),
    ("GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b")),
    ("GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}")),
    ("Slack token", re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{10,}")),
    ("Google API key", re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b")),
    ("Stripe key", re.compile(r"\b[rs]k_live_[0-9A-Za-z]{20,}")),
    ("model API key", re.compile(r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,}")),
)
_ASSIGNMENT = re.compile(
    r"(?i)(?:api[_-]?key|secret(?:[_-]?key)?|access[_-]?token|auth[_-]?token|token|passwd|password|client[_-]?secret)"
    r"['\"]?\s*(?:[:=]|=>|:=)\s*['\"](?P<value>[A-Za-z0-9+/=_.~-]{20,})['\"]"
)
_PLACEHOLDER = re.compile(r"(?i)example|dummy|fake|sample|placeholder|changeme|redacted|your[_-]|test|xxxx|0000|1234")


class Changed(Protocol):
    """The part of a changed file that matters here; `sdlc.integrations` has the whole."""

    @property
    def path(self) -> str: ...
    @property
    def old_path(self) -> str: ...
    @property
    def added(self) -> int: ...
    @property
    def deleted(self) -> int: ...


class Secret(Record):
    """Where something that looks like a secret was added; never what."""

    path: str
    line: int
    kind: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} ({self.kind})"


class Violations(Record):
    """Everything that is wrong with a change."""

    protected: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    size: str = ""

    def __bool__(self) -> bool:
        return bool(self.protected or self.secrets or self.size)

    def __str__(self) -> str:
        """One sentence for each kind, naming paths."""
        parts = []
        if self.protected:
            parts.append(f"It changes protected paths: {_listed(self.protected)}.")
        if self.secrets:
            parts.append(f"It adds what looks like a secret: {_listed([str(secret) for secret in self.secrets])}.")
        if self.size:
            parts.append(self.size)
        return " ".join(parts)


def protected_paths(files: Iterable[Changed]) -> tuple[str, ...]:
    """Paths that steer the pipeline itself; a person decides about changes to them."""
    names = {name for file in files for name in (file.path, file.old_path) if name and is_protected(name)}
    return tuple(sorted(names))


def is_protected(path: str) -> bool:
    """Is this path (relative, with slashes) CI, ownership, git or gate configuration?

    Compared without case, since some file systems don't have it.
    """
    # A name with unusual characters stands in quotation marks, as git writes it.
    parts = [part.lower() for part in PurePosixPath(path.strip('"')).parts]
    if not parts:
        return False
    if parts[0] in _PROTECTED_FOLDERS or ".git" in parts:
        return True
    name = parts[-1]
    if name.startswith(".git") and name not in _HARMLESS_GIT_NAMES:
        return True
    return name in _PROTECTED_NAMES and (len(parts) == 1 or name == "codeowners")


def size_problem(files: Sequence[Changed]) -> str:
    """Why a change is too large to be reviewed; empty if it isn't."""
    lines = sum(file.added + file.deleted for file in files)
    if len(files) > MAX_FILES:
        return f"It changes {len(files):,} files; {MAX_FILES} are the most that can be reviewed."
    if lines > MAX_LINES:
        return f"It changes {lines:,} lines; {MAX_LINES:,} are the most that can be reviewed."
    return ""


def secrets_added(diff: str) -> tuple[Secret, ...]:
    """Places in the added lines of a unified diff that look like a secret; at most twenty of each file.

    Takes 0.1 s per MB: not for the event loop.
    """
    found: list[Secret] = []
    counts: Counter[str] = Counter()
    for path, number, line in added_lines(diff):
        if counts[path] < MAX_FINDINGS and (kind := secret_kind(line)):
            counts[path] += 1
            found.append(Secret(path=path, line=number, kind=kind))
    return tuple(found)


def secrets_in_binary(path: str, content: bytes, before: bytes = b"") -> tuple[Secret, ...]:
    """The same for a file that git calls binary, of which a diff shows nothing: one NUL makes a file one.

    Of its first MAX_BINARY_BYTES, as they are and without their NULs, which is how UTF-16 becomes readable. What the
    file held `before` does not count.
    """
    texts, known = _readings(content), {value for text in _readings(before) for _, value, _ in _secrets_of(text)}
    found = [
        Secret(path=path, line=text.count("\n", 0, at) + 1, kind=kind)
        for text in texts
        for kind, value, at in islice(_secrets_of(text), MAX_FINDINGS + len(known))
        if value not in known
    ]
    return tuple(dict.fromkeys(found))[:MAX_FINDINGS]


def secret_kind(line: str) -> str:
    """What kind of secret a line seems to hold; empty if none. Placeholders are none."""
    return next((kind for kind, _, _ in _secrets_of(line)), "")


def _secrets_of(text: str) -> Iterator[tuple[str, str, int]]:
    """(kind, value, position) of everything that looks like a secret."""
    for kind, pattern in _SECRETS:
        for match in pattern.finditer(text):
            if not _is_placeholder(match[0]):
                yield kind, match[0], match.start()
    for match in _ASSIGNMENT.finditer(text):
        value = match["value"]
        if _entropy(value) >= 3.5 and _is_mixed(value) and not _is_placeholder(value):
            yield "value of a secret-like name", value, match.start()


def _readings(content: bytes) -> tuple[str, str]:
    text = content[:MAX_BINARY_BYTES].decode("latin-1")
    return text, text.replace("\0", "")


def added_lines(diff: str) -> Iterator[tuple[str, int, str]]:
    """(path, line number in the new file, text) of each added line of a unified diff."""
    path, number, old_left, new_left = "", 0, 0, 0
    for line in diff.split("\n"):
        if old_left > 0 or new_left > 0:  # inside a hunk even `+++ x` is a line of the file
            if line.startswith("+"):
                yield path, number, line[1:]
                number, new_left = number + 1, new_left - 1
            elif line.startswith("-"):
                old_left -= 1
            elif not line.startswith("\\"):
                number, old_left, new_left = number + 1, old_left - 1, new_left - 1
        elif line.startswith("+++ "):
            path = _path_of(line[4:])
        elif hunk := _HUNK.match(line):
            number = int(hunk["start"])
            old_left = int(hunk["old"] or 1)
            new_left = int(hunk["new"] or 1)


_HUNK = re.compile(r"@@ -\d+(?:,(?P<old>\d+))? \+(?P<start>\d+)(?:,(?P<new>\d+))? @@")


def _path_of(name: str) -> str:
    name = name.split("\t")[0].strip()
    if name.startswith('"') and name.endswith('"'):  # git quotes names with unusual characters
        name = (
            name[1:-1]
            .encode("latin-1", "replace")
            .decode("unicode_escape")
            .encode("latin-1", "replace")
            .decode("utf-8", "replace")
        )
    return name[2:] if name.startswith("b/") else name


def _is_placeholder(value: str) -> bool:
    return bool(_PLACEHOLDER.search(value)) or len(set(value[-12:])) <= 2


def _is_mixed(value: str) -> bool:
    """Letters and digits: what words joined by dots and underscores rarely are."""
    return any(char.isdigit() for char in value) and any(char.isalpha() for char in value)


def _entropy(text: str) -> float:
    """Bits for each character."""
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown
