"""What a fake Jira knows: people, workflow, projects, issues. Data only; the rules are in `jira_routes`."""

from __future__ import annotations

import copy
import itertools
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Flavour = Literal["cloud", "datacenter"]
RichText = str | dict[str, Any] | None
"""Wiki markup, or a document in ADF (Cloud only), as it was written."""

PERMISSIONS = (
    "BROWSE_PROJECTS",
    "CREATE_ISSUES",
    "EDIT_ISSUES",
    "ASSIGN_ISSUES",
    "ASSIGNABLE_USER",
    "TRANSITION_ISSUES",
    "RESOLVE_ISSUES",
    "LINK_ISSUES",
    "ADD_COMMENTS",
    "EDIT_OWN_COMMENTS",
    "EDIT_ALL_COMMENTS",
    "DELETE_OWN_COMMENTS",
    "DELETE_ALL_COMMENTS",
    "USER_PICKER",
    "ADMINISTER",
)
_EVERYBODY = frozenset(PERMISSIONS) - {"EDIT_ALL_COMMENTS", "DELETE_ALL_COMMENTS", "ADMINISTER"}
SCOPES = ("read:jira-work", "write:jira-work", "read:jira-user")


class JiraProblem(Exception):
    """An answer that is an error, in Jira's form."""

    def __init__(self, status: int, *messages: str, **errors: str) -> None:
        super().__init__(status, messages, errors)
        self.status = status
        self.messages = list(messages)
        self.errors = errors


@dataclass
class User:
    name: str
    """What Data Center calls a person by; our key of them on both."""
    display_name: str = ""
    email: str = ""
    secret: str = ""
    """API token (Cloud, with the e-mail), password (Data Center, with the name)."""
    bearer: str = ""
    """OAuth access token (Cloud), personal access token (Data Center)."""
    scopes: tuple[str, ...] = SCOPES
    """Of the OAuth token."""
    groups: tuple[str, ...] = ("jira-software-users",)
    active: bool = True
    account_type: str = "atlassian"
    email_visible: bool = False
    """Cloud hides e-mail addresses of others unless they allow it."""
    permissions: set[str] = field(default_factory=lambda: set(_EVERYBODY))

    @property
    def account_id(self) -> str:
        return f"557058:{self.name}-0000-4000-8000-000000000000"

    @property
    def key(self) -> str:
        """Data Center's key of a user, which is not the name for those made since 8.4."""
        return f"JIRAUSER{10_000 + sum(self.name.encode())}"


@dataclass(frozen=True)
class Status:
    id: str
    name: str
    category: Literal["new", "indeterminate", "done"]


CATEGORIES = {
    "new": (2, "To Do", "blue-gray"),
    "indeterminate": (4, "In Progress", "yellow"),
    "done": (3, "Done", "green"),
}


@dataclass
class Transition:
    """A way from some statuses (none named: from all) to one."""

    id: str
    name: str
    to: str
    sources: tuple[str, ...] = ()
    screen: tuple[str, ...] = ()
    """Fields that may be given along."""
    required: tuple[str, ...] = ()
    """Fields of the screen that must be given."""
    resolution: str | None = None
    """What a post function sets; "" clears it, None leaves it."""
    allowed: frozenset[str] | None = None
    """Names of those who may; None: everybody with TRANSITION_ISSUES."""

    def leaves(self, status: str) -> bool:
        return not self.sources or status in self.sources


@dataclass
class Workflow:
    statuses: list[Status]
    transitions: list[Transition]

    def status(self, name: str) -> Status:
        return next(status for status in self.statuses if status.name == name)


def _statuses() -> list[Status]:
    return [
        Status("10000", "To Do", "new"),
        Status("10001", "In Progress", "indeterminate"),
        Status("10002", "In Review", "indeterminate"),
        Status("10003", "Done", "done"),
    ]


def simplified_workflow() -> Workflow:
    """Cloud's own for new projects: every status can be reached from every one, **itself included**.

    Whoever moves an issue to a status that it has already is told 204, so a transition decides no race.
    """
    statuses = _statuses()
    ways = [Transition(f"{index}1", status.name, status.name) for index, status in enumerate(statuses, 1)]
    for way in ways:
        way.resolution = "Done" if way.to == "Done" else ""
    return Workflow(statuses, ways)


def strict_workflow() -> Workflow:
    """Ways lead from certain statuses only, and their names differ from those of the statuses they lead to."""
    return Workflow(
        _statuses(),
        [
            Transition("11", "Start work", "In Progress", ("To Do",)),
            Transition("21", "Ask for review", "In Review", ("In Progress",)),
            Transition("31", "Back to work", "In Progress", ("In Review",)),
            Transition("41", "Finish", "Done", ("In Progress", "In Review"), resolution="Done"),
            Transition("51", "Stop work", "To Do", ("In Progress", "In Review")),
            Transition("61", "Reopen", "To Do", ("Done",), resolution=""),
        ],
    )


@dataclass
class Field:
    """A field that issues may have."""

    id: str
    name: str
    type: str
    """`string`, `rich`, `number`, `user`, `array`, `option`, `sprint`, `rank` …"""
    clauses: tuple[str, ...] = ()
    """Names in JQL beside the id."""
    editable: bool = True

    @property
    def custom(self) -> bool:
        return self.id.startswith("customfield_")


SPRINT, RANK, POINTS, CRITERIA = "customfield_10020", "customfield_10019", "customfield_10016", "customfield_10101"


def usual_fields() -> dict[str, Field]:
    fields = [
        Field("summary", "Summary", "string"),
        Field("description", "Description", "rich"),
        Field("issuetype", "Issue Type", "issuetype", ("type",)),
        Field("project", "Project", "project", editable=False),
        Field("status", "Status", "status", editable=False),
        Field("statusCategory", "Status Category", "statusCategory", editable=False),
        Field("priority", "Priority", "priority"),
        Field("resolution", "Resolution", "resolution", editable=False),
        Field("labels", "Labels", "array"),
        Field("assignee", "Assignee", "user"),
        Field("reporter", "Reporter", "user"),
        Field("creator", "Creator", "user", editable=False),
        Field("created", "Created", "datetime", ("createdDate",), editable=False),
        Field("updated", "Updated", "datetime", ("updatedDate",), editable=False),
        Field("parent", "Parent", "issuelink"),
        Field("subtasks", "Sub-tasks", "array", editable=False),
        Field("issuelinks", "Linked Issues", "array", editable=False),
        Field("comment", "Comment", "comments-page", editable=False),
        Field("attachment", "Attachment", "array", editable=False),
        Field(SPRINT, "Sprint", "sprint", ("sprint",)),
        Field(RANK, "Rank", "rank", ("rank",), editable=False),
        Field(POINTS, "Story Points", "number"),
        Field(CRITERIA, "Acceptance Criteria", "rich"),
    ]
    return {entry.id: entry for entry in fields}


@dataclass
class Comment:
    id: str
    author: str
    body: RichText
    created: datetime
    updated: datetime
    update_author: str
    properties: dict[str, Any] = field(default_factory=dict)
    visibility: dict[str, Any] | None = None


@dataclass
class Attachment:
    id: str
    filename: str
    author: str
    created: datetime
    size: int = 1
    mime_type: str = "text/plain"


@dataclass
class RemoteLink:
    id: int
    object: dict[str, Any]
    global_id: str = ""
    relationship: str = ""
    application: dict[str, Any] = field(default_factory=dict)


@dataclass
class Change:
    """One entry of an issue's history."""

    id: str
    author: str
    created: datetime
    items: list[dict[str, Any]]


@dataclass
class Issue:
    id: str
    key: str
    summary: str
    issuetype: str = "Task"
    description: RichText = None
    status: str = "To Do"
    priority: str | None = "Medium"
    resolution: str | None = None
    labels: list[str] = field(default_factory=list)
    assignee: str | None = None
    reporter: str | None = None
    parent: str | None = None
    rank: int = 0
    sprints: list[int] = field(default_factory=list)
    custom: dict[str, Any] = field(default_factory=dict)
    comments: list[Comment] = field(default_factory=list)
    properties: dict[str, Any] = field(default_factory=dict)
    attachments: list[Attachment] = field(default_factory=list)
    remote_links: list[RemoteLink] = field(default_factory=list)
    history: list[Change] = field(default_factory=list)
    hidden_from: set[str] = field(default_factory=set)
    """Issue security: names of those who can't see it."""
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def project(self) -> str:
        return self.key.rpartition("-")[0]


@dataclass
class IssueLink:
    """`source` «type.outward» `target`: source blocks target."""

    id: str
    type: str
    source: str
    target: str


@dataclass
class Sprint:
    id: int
    name: str
    state: Literal["active", "future", "closed"]


@dataclass
class Data:
    """What changes as people and programs work."""

    issues: dict[str, Issue] = field(default_factory=dict)
    links: list[IssueLink] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    """Old key → new key."""

    def find(self, id_or_key: str) -> Issue | None:
        """By key (whichever case), former key or id."""
        key = id_or_key.upper()
        seen = {key}
        while key in self.moved and self.moved[key] not in seen:
            key = self.moved[key]
            seen.add(key)
        return self.issues.get(key) or next((issue for issue in self.issues.values() if issue.id == id_or_key), None)


LINK_TYPES = {
    "Blocks": ("10000", "is blocked by", "blocks"),
    "Relates": ("10003", "relates to", "relates to"),
    "Duplicate": ("10002", "is duplicated by", "duplicates"),
}
PRIORITIES = ("Highest", "High", "Medium", "Low", "Lowest")
RESOLUTIONS = ("Done", "Won't Do", "Duplicate", "Cannot Reproduce")
ISSUE_TYPES = ("Epic", "Story", "Task", "Bug", "Sub-task")


class State:
    """The data, what it was before, and what rarely changes."""

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.data = Data()
        self.before: deque[tuple[float, Data]] = deque(maxlen=40)
        """What was there until a time, the newest last."""
        self.workflow = simplified_workflow() if flavour == "cloud" else strict_workflow()
        self.fields = usual_fields()
        self.users: dict[str, User] = {}
        self.groups: set[str] = {"jira-software-users", "jira-administrators", "developers"}
        self.projects: dict[str, str] = {"ACME": "Acme Parcel"}
        self.sprints: dict[int, Sprint] = {1: Sprint(1, "Sprint 1", "active"), 2: Sprint(2, "Sprint 2", "future")}
        self._ids = itertools.count(10_001)
        self._ranks = itertools.count(1)

    @property
    def cloud(self) -> bool:
        return self.flavour == "cloud"

    def new_id(self) -> str:
        return str(next(self._ids))

    def new_rank(self) -> int:
        return next(self._ranks)

    def keep(self) -> None:
        """Remember what is there, because it is about to change."""
        self.before.append((time.monotonic(), copy.deepcopy(self.data)))

    def as_of(self, seconds: float) -> Data:
        """The data as it was so many seconds ago."""
        then = time.monotonic() - seconds
        for until, data in self.before:
            if until > then:
                return data
        return self.data

    def next_key(self, project: str) -> str:
        used = [*self.data.issues, *self.data.moved]
        numbers = [int(key.rpartition("-")[2]) for key in used if key.startswith(f"{project}-")]
        return f"{project}-{max(numbers, default=0) + 1}"

    def user_of(self, reference: str) -> User | None:
        """By account id (Cloud) or name (Data Center)."""
        if not self.cloud:
            return self.users.get(reference)
        return next((user for user in self.users.values() if user.account_id == reference), None)
