"""What a change must not hold when it leaves the engine: pure checks of paths, names, sizes and added lines.

No message of this module ever holds the secret that was found.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from sdlc.domain import Record
from sdlc.integrations.git.commit import leads_out
from sdlc.integrations.git.paths import has_control, path_bytes
from sdlc.integrations.project.patterns import fits
from sdlc.policy import named_paths

MAX_FILES = 200
MAX_LINES = 20_000
MAX_FINDINGS = 20
"""Secrets that are named of one file."""
MAX_BINARY_BYTES = 5 * 1024**2
"""Looked at of a file that git calls binary."""

_PROTECTED_FOLDERS = frozenset(
    (
        *(".github", ".gitlab", ".gitlab-ci", ".githooks", ".circleci", ".buildkite"),
        *(".woodpecker", ".forgejo", ".gitea", ".husky", ".sdlc", ".ci"),
        *(".azure-pipelines", ".semaphore", ".teamcity", ".tekton"),
    )
)
_PROTECTED_NAMES = frozenset(
    (
        *(".travis.yml", ".travis.yaml", ".drone.yml", ".drone.yaml", ".drone.star", ".drone.jsonnet"),
        *(".cirrus.yml", ".cirrus.yaml", ".cirrus.star", ".woodpecker.yml", ".woodpecker.yaml", "circle.yml"),
        *("appveyor.yml", ".appveyor.yml", "bitbucket-pipelines.yml", "buildspec.yml", "buildspec.yaml"),
        *("cloudbuild.yaml", "cloudbuild.yml", "cloudbuild.json", "jenkinsfile", "azure-pipelines"),
        *(".pre-commit-config.yaml", ".pre-commit-hooks.yaml"),
        *("codeowners", "sdlc.yaml", ".sdlc.yml", ".sdlc.yaml"),
        *(".config", ".vscode"),  # the name itself: a link that stands for the folder
    )
)
"""At the top of the repository."""
_PROTECTED_PATTERNS = (
    *("azure-pipelines*.yml", "azure-pipelines*.yaml", "/azure-pipelines/"),
    *("/lefthook.*", "/.lefthook.*", "/lefthook-local.*", "/.lefthook-local.*"),
    *("/.config/lefthook.*", "/.config/lefthook-local.*"),
)
DEPLOY_PATTERNS = (
    *("/deploy/", "/.deploy/", "/deployment/", "/deployments/", "/k8s/", "/kubernetes/", "/helm/", "/terraform/"),
    *("/netlify.toml", "/vercel.json", "/fly.toml", "/render.yaml", "/app.yaml", "/appspec.yml", "/procfile"),
    *("/heroku.yml", "/railway.json", "/railway.toml", "/serverless.yml", "/skaffold.yaml"),
    *("/wrangler.toml", "/wrangler.json", "/wrangler.jsonc", "/firebase.json"),
    *("/.goreleaser.yml", "/.goreleaser.yaml", "*.tf", "*.tf.json"),
)
"""What is put into operation as it stands. A pattern with `!` takes one of them back, such as `!/deploy/`."""
CHECKOUT_PATTERNS = (
    *("**/.vscode/tasks.json", "**/.vscode/settings.json", ".devcontainer/", ".devcontainer.json", ".envrc"),
    *("agents.md", "agents.override.md", "claude.md", "claude.local.md", ".mcp.json", ".goosehints"),
    *(".claude/", ".codex/", ".opencode/", "opencode.json", "opencode.jsonc", ".aider.conf.yml", ".aider.model.*"),
)
"""What acts where the branch is checked out, or steers the next engine. A pattern with `!` takes one of them back."""
_HARMLESS_GIT_NAMES = frozenset({".gitignore", ".gitkeep"})
_GIT_OWN = re.compile(r"\.git(?:attributes|modules|config|hooks)?\Z")

_IGNORED_IN_NAMES = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""Characters that Apple's file systems leave out when they compare names."""
_SHORT_NAME = re.compile(r"(?:git|gitmod|gitatt|gitign|mailma|gi[0-9a-f]{4})~[0-9]\Z")
"""What Windows calls `.git`, `.gitmodules` and their like by their short names."""
_SUBMODULE_TRICK = re.compile(
    r"""(?:^|\])\s*(?:update\s*=\s*["']?!"""  # runs a command
    r"""|(?:url|path)\s*=\s*["']?-"""  # an option of the git that is told it
    r"""|url\s*=\s*["']?[\w+-]+::)"""  # the program of a remote helper
    r"""|^\s*\[submodule\s+".*\.\..*"\]""",  # a folder outside of .git/modules
    re.MULTILINE | re.IGNORECASE,
)

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
    tricks: tuple[str, ...] = ()
    """Sentences about what git, or whoever checks the change out, would be fooled by."""

    def __bool__(self) -> bool:
        return bool(self.protected or self.secrets or self.size or self.tricks)

    def __str__(self) -> str:
        """One sentence for each kind, naming paths."""
        parts = []
        if self.protected:
            more = f" and {len(self.protected) - 10:,} more" if len(self.protected) > 10 else ""
            parts.append(f"It changes protected paths: {named_paths(self.protected[:10])}{more}.")
        if self.secrets:
            parts.append(f"It adds what looks like a secret: {_listed([str(secret) for secret in self.secrets])}.")
        if self.size:
            parts.append(self.size)
        parts += self.tricks[:10]
        return " ".join(parts)


# --- protected paths ----------------------------------------------------------------------


def protected_paths(files: Iterable[Changed], patterns: Sequence[str] = ()) -> tuple[str, ...]:
    """Paths that steer the pipeline itself, or fit `patterns`; a person decides about changes to them."""
    names = {name for file in files for name in (file.path, file.old_path) if name and is_protected(name, patterns)}
    return tuple(sorted(names))


def is_protected(path: str, patterns: Sequence[str] = ()) -> bool:
    """Is this path (as `paths.path_text` writes it) of CI, deployment, owners, git, engines or our own configuration?

    `patterns` are those of `.gitignore`, after DEPLOY_PATTERNS and CHECKOUT_PATTERNS; the last one that fits decides,
    but what steers the pipeline is protected whatever they say. Compared without case, since some file systems don't
    have it.
    """
    parts = _name_parts(path)
    if not parts:
        return False
    if parts[0] in _PROTECTED_FOLDERS or is_gits_own(path):
        return True
    name = parts[-1]
    if name.startswith(".git") and name not in _HARMLESS_GIT_NAMES:
        return True
    if name in _PROTECTED_NAMES and (len(parts) == 1 or name == "codeowners"):
        return True
    own = (*DEPLOY_PATTERNS, *CHECKOUT_PATTERNS, *(pattern.lower() for pattern in patterns))
    # With a slash as well: a link, or a file, may take the place of a folder.
    places = ("/".join(parts), "/".join([*parts, ""]))
    return any(fits(place, _PROTECTED_PATTERNS) or fits(place, own) for place in places)


def is_gits_own(path: str) -> bool:
    """Does it tell git what to do: `.gitattributes`, `.gitmodules`? It acts where the branch is checked out."""
    return any(_GIT_OWN.match(part) for part in _name_parts(path))


def _name_parts(path: str) -> list[str]:
    """The names of a path as file systems compare them that know neither case nor invisible characters."""
    return [_folded(name) for name in _decoded(path).split("/") if name]


def _decoded(path: str) -> str:
    return path_bytes(path).decode("utf-8", "replace")


def _folded(name: str) -> str:
    """`.GIT. ` and `.git:x` are `.git` on some machine, and so is one with characters in it that nobody sees."""
    return _IGNORED_IN_NAMES.sub("", name).casefold().partition(":")[0].rstrip(". ")


# --- tricks -------------------------------------------------------------------------------


def name_problem(path: str) -> str:
    """Why a file can't have this path, as a sentence; empty if it can."""
    name = _decoded(path)
    if has_control(name):
        return f"The file name {path} has control characters; rename it."
    parts = re.split(r"[/\\]", name)  # Windows takes a backslash for a slash
    if name.startswith("/") or not {".", "..", ""}.isdisjoint(parts):
        return f"{path} is not a path inside of the repository; remove it."
    if any(_is_git_folder(part) for part in parts):
        return f"{path} would be read as git's own on some machines; remove it."
    return ""


def link_problem(path: str, target: bytes) -> str:
    """Why a symbolic link can't stay, as a sentence; empty if it can."""
    name, shown = path_bytes(path), target.decode("utf-8", "replace")
    if _folded(_decoded(path).rpartition("/")[2]).startswith(".git"):
        return f"{path} is a symbolic link; git's own files may not be links, so make it a file."
    parts = re.split(r"[/\\]", shown)
    backwards = "\\" in shown and (".." in parts or not parts[0])
    if leads_out(name, target) or backwards or re.match("[A-Za-z]:", shown) or any(map(_is_git_folder, parts)):
        return f"{path} is a symbolic link to {shown[:200]!a}, out of the repository; link to a file inside of it."
    return ""


def submodules_problem(path: str, content: bytes) -> str:
    """Why a file can't stay if it is a `.gitmodules`, as a sentence; empty if it can."""
    is_list = _folded(_decoded(path).rpartition("/")[2]) == ".gitmodules"
    if is_list and _SUBMODULE_TRICK.search(content.decode("utf-8", "replace").replace("\\\n", "")):
        return f"{path} names a submodule that would run a command or lie outside of its place; put it back."
    return ""


def _is_git_folder(name: str) -> bool:
    folded = _folded(name)
    return folded == ".git" or bool(_SHORT_NAME.match(folded))


# --- size ---------------------------------------------------------------------------------


def size_problem(files: Sequence[Changed], max_files: int = MAX_FILES, max_lines: int = MAX_LINES) -> str:
    """Why a change is too large to be reviewed; empty if it isn't."""
    lines = sum(file.added + file.deleted for file in files)
    if len(files) > max_files:
        return f"It changes {len(files):,} files; {max_files:,} are the most that can be reviewed."
    if lines > max_lines:
        return f"It changes {lines:,} lines; {max_lines:,} are the most that can be reviewed."
    return ""


# --- secrets ------------------------------------------------------------------------------


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
