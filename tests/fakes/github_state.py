"""What the fake GitHub remembers: plain data, which can be copied whole for a read that lags behind."""

from __future__ import annotations

import copy
import fnmatch
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tests.fakes.github_bare import Bare
from tests.fakes.github_errors import not_found

Json = dict[str, Any]

LEVELS = ("none", "read", "triage", "write", "maintain", "admin")
"""What a collaborator may do, ascending."""


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Account:
    """A person, an organisation, or the bot of an App."""

    id: int
    login: str
    type: Literal["User", "Organization", "Bot"] = "User"
    name: str | None = None
    email: str | None = None
    members: set[str] = field(default_factory=set)
    """Of an organisation: logins."""
    created: str = field(default_factory=now)


@dataclass
class App:
    """A GitHub App with one installation on one account."""

    id: int
    slug: str
    owner: str
    private_key: str
    public_key: str
    installation_id: int
    permissions: dict[str, str]
    repositories: set[str] | None = None
    """Full names that it is installed on; None: all of its owner."""
    suspended: bool = False

    @property
    def login(self) -> str:
        return f"{self.slug}[bot]"


@dataclass
class Token:
    """What a request is made with."""

    value: str
    login: str
    kind: Literal["classic", "fine-grained", "installation", "jwt", "anonymous"]
    scopes: tuple[str, ...] = ()
    """Of a classic token."""
    permissions: dict[str, str] = field(default_factory=dict)
    """Of a fine-grained or installation token: permission → `read` or `write`."""
    repositories: set[str] | None = None
    """Full names; None: all that its person sees."""
    expires: float | None = None
    app_id: int = 0
    limit: int = 5000
    remaining: int = 5000
    reset: float = field(default_factory=lambda: time.time() + 3600)


@dataclass
class Label:
    id: int
    name: str
    color: str = "ededed"
    description: str | None = None


@dataclass
class Comment:
    """On an issue or pull request."""

    id: int
    login: str
    body: str
    created: str
    updated: str
    app_id: int = 0


@dataclass
class ReviewComment:
    """On a line of a diff, or a file of it."""

    id: int
    review_id: int
    login: str
    body: str
    path: str
    commit_id: str
    diff_hunk: str
    line: int | None
    side: str
    original_line: int | None
    position: int | None
    original_position: int
    created: str
    updated: str
    thread: int
    start_line: int | None = None
    start_side: str | None = None
    in_reply_to: int | None = None
    subject: str = "line"
    original_commit_id: str = ""


@dataclass
class Review:
    id: int
    login: str
    state: str
    body: str
    commit_id: str
    submitted: str | None


@dataclass
class Issue:
    """An issue, or what a pull request has of one."""

    id: int
    number: int
    title: str
    body: str | None
    login: str
    created: str
    updated: str
    state: str = "open"
    state_reason: str | None = None
    closed: str | None = None
    closed_by: str | None = None
    locked: bool = False
    labels: list[str] = field(default_factory=list)
    """Names as they were given; labels are looked up without regard to case."""
    assignees: list[str] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)


@dataclass
class Pull:
    """What a pull request has beyond its issue; `number` is the same."""

    id: int
    number: int
    head: str
    base: str
    head_sha: str
    base_sha: str
    draft: bool = False
    merged: str | None = None
    merged_by: str | None = None
    merge_commit: str | None = None
    reviewers: list[str] = field(default_factory=list)
    """Who was asked and has not reviewed since."""
    reviews: list[Review] = field(default_factory=list)
    comments: list[ReviewComment] = field(default_factory=list)
    resolved: set[int] = field(default_factory=set)
    """Threads, by the id of their first comment."""
    mergeable_of: tuple[str, str] | None = None
    """(head, base) for which it was computed whether this can be merged."""
    mergeable: bool | None = None
    head_deleted: bool = False
    pushes: list[tuple[str, str, bool]] = field(default_factory=list)
    """(before, after, forced)."""


@dataclass
class Status:
    id: int
    sha: str
    context: str
    state: str
    description: str | None
    target_url: str | None
    login: str
    created: str
    updated: str


@dataclass
class CheckRun:
    id: int
    suite_id: int
    app_id: int
    name: str
    head_sha: str
    status: str
    conclusion: str | None
    started: str | None
    completed: str | None
    details_url: str | None = None
    external_id: str = ""
    output: Json = field(default_factory=dict)
    annotations: list[Json] = field(default_factory=list)


@dataclass
class CheckSuite:
    id: int
    app_id: int
    head_sha: str
    head_branch: str | None
    created: str
    updated: str


@dataclass
class WorkflowRun:
    """A run of GitHub Actions with its jobs; a job's id is that of its check run."""

    id: int
    name: str
    head_sha: str
    head_branch: str
    number: int
    suite_id: int
    jobs: list[int]
    login: str
    created: str
    event: str = "pull_request"


@dataclass
class Protection:
    """What a branch asks of those who change it."""

    contexts: list[str] = field(default_factory=list)
    strict: bool = False
    approvals: int = 0
    dismiss_stale: bool = False
    code_owners: bool = False
    enforce_admins: bool = False
    linear: bool = False
    reviews_required: bool = True


@dataclass
class Push:
    """One change of one ref, by git or by the API."""

    ref: str
    before: str
    after: str
    forced: bool
    login: str
    at: str = field(default_factory=lambda: now())


@dataclass
class Repo:
    """A repository."""

    id: int
    owner: str
    name: str
    bare: Bare
    private: bool = True
    archived: bool = False
    default_branch: str = "main"
    description: str | None = None
    collaborators: dict[str, str] = field(default_factory=dict)
    """Login → level of `LEVELS`."""
    labels: dict[str, Label] = field(default_factory=dict)
    """By name in small letters."""
    issues: dict[int, Issue] = field(default_factory=dict)
    pulls: dict[int, Pull] = field(default_factory=dict)
    statuses: list[Status] = field(default_factory=list)
    check_runs: dict[int, CheckRun] = field(default_factory=dict)
    check_suites: dict[int, CheckSuite] = field(default_factory=dict)
    workflow_runs: dict[int, WorkflowRun] = field(default_factory=dict)
    logs: dict[int, str] = field(default_factory=dict)
    """By job."""
    protections: dict[str, Protection] = field(default_factory=dict)
    """By the name or pattern of branches, such as `sdlc/**`."""
    rules: dict[str, list[str]] = field(default_factory=dict)
    """Pattern of branches → kinds of rules of rule sets, such as `creation`."""
    pushes: list[Push] = field(default_factory=list)
    drafts_allowed: bool = True
    merge_methods: tuple[str, ...] = ("merge", "squash")
    delete_branch_on_merge: bool = False
    has_issues: bool = True
    created: str = field(default_factory=now)
    frozen_refs: dict[str, str] | None = None
    """The refs of a copy of the past; None: look into the bare repository."""

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def refs(self) -> dict[str, str]:
        return self.bare.refs() if self.frozen_refs is None else self.frozen_refs

    @property
    def branches(self) -> dict[str, str]:
        """Branch → sha."""
        prefix = "refs/heads/"
        return {name.removeprefix(prefix): sha for name, sha in self.refs.items() if name.startswith(prefix)}

    def protection(self, branch: str) -> Protection | None:
        """What protects a branch: what names it, else the first pattern that fits."""
        fits = (rules for pattern, rules in self.protections.items() if fnmatch.fnmatchcase(branch, pattern))
        return self.protections.get(branch) or next(fits, None)

    def level(self, login: str) -> str:
        return "admin" if login == self.owner else self.collaborators.get(login, "none")

    def pull(self, number: int) -> Pull:
        found = self.pulls.get(number)
        if found is None:
            raise not_found()
        return found

    def issue(self, number: int) -> Issue:
        found = self.issues.get(number)
        if found is None:
            raise not_found()
        return found


@dataclass
class State:
    """Everything."""

    folder: Path
    accounts: dict[str, Account] = field(default_factory=dict)
    """By login in small letters."""
    repositories: dict[str, Repo] = field(default_factory=dict)
    """By full name in small letters."""
    tokens: dict[str, Token] = field(default_factory=dict)
    apps: dict[int, App] = field(default_factory=dict)
    downloads: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Signature → (log, when it ends)."""
    last_id: int = 1000

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def account(self, login: str) -> Account:
        """The account; raises KeyError."""
        return self.accounts[login.lower()]

    def find_repository(self, full_name: str) -> Repo | None:
        return self.repositories.get(full_name.removesuffix(".git").lower())

    def sees(self, token: Token, repo: Repo) -> bool:
        """Whether a request with this token learns that the repository exists."""
        if token.kind == "anonymous" or token.kind == "jwt":
            return not repo.private
        if token.repositories is not None and repo.full_name not in token.repositories:
            return not repo.private
        if token.kind == "installation":
            return not repo.private or self.apps[token.app_id].owner == repo.owner
        if token.kind == "classic" and "repo" not in token.scopes:
            return not repo.private
        return not repo.private or self.level(token.login, repo) != "none"

    def level(self, login: str, repo: Repo) -> str:
        """What this person may do there; for an App's bot see its permissions."""
        level = repo.level(login)
        return "read" if level == "none" and not repo.private else level

    def at_least(self, login: str, repo: Repo, level: str) -> bool:
        return LEVELS.index(self.level(login, repo)) >= LEVELS.index(level)

    def past(self) -> State:
        """A copy of everything as it is, with the refs that repositories have now."""
        copied = copy.deepcopy(self)
        for repo in copied.repositories.values():
            repo.frozen_refs = repo.bare.refs()
        return copied


def new_token(prefix: str) -> str:
    return prefix + secrets.token_hex(18)
