"""What pages show and the API answers, and what people may ask for. Nothing in here touches the world.

Texts from outside (tickets, code, models, tools, names) are data: they stand here as they are to be shown, with
secrets hidden and what can't be seen written out, and whoever makes HTML of them escapes them.
Amounts of money are USD, durations seconds, sizes bytes, moments timezone-aware UTC.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from sdlc.domain import AttentionKind, AuditEntry, DecisionKind, PanelState, RunState, TestReport, Ticket, Usage
from sdlc.progress import RunProgress
from sdlc.run_card import Risk


class View(BaseModel):
    model_config = ConfigDict(frozen=True)


# --- lists ------------------------------------------------------------------------------------


class RunLine(View):
    """A run in a list."""

    key: str
    title: str = ""
    repository: str = ""
    state: str
    step: str = ""
    """Key of the step, such as `unit_tests`."""
    waits_for: str = ""
    """In a sentence; empty while it works by itself."""
    waiting_since: datetime | None = None
    starter: str = ""
    approvers: tuple[str, ...] = ()
    """Who may decide; empty: anybody."""
    required: int = 1
    approved_by: tuple[str, ...] = ()
    for_me: bool = False
    """It waits for people, and I am one of those."""
    risk: Risk = Risk()
    pull_request_url: str = ""
    """Empty also where it is no address that a browser may follow."""
    head_sha: str = ""
    usd: float | None = None
    """None: unknown."""
    tokens: int = 0
    fix_rounds: int = 0
    revisions: int = 0
    asked: int = 0
    started: datetime
    ended: datetime | None = None


class Inbox(View):
    """What waits for people, the longest first; what waits for me before the rest."""

    items: tuple[RunLine, ...]
    offset: int
    limit: int
    total: int
    """Of this list, on all its pages."""
    mine: int
    """How many wait for me."""
    waiting: int
    """How many wait for anybody."""
    cut: bool = False
    """More wait than are looked at; those that are not are missing here."""


class InboxCount(View):
    mine: int
    """How many wait for me."""
    waiting: int
    """How many wait for anybody."""


class RunsPage(View):
    items: tuple[RunLine, ...]
    next: str = ""
    """The cursor of the next page; empty: this is the last."""
    searched: int = 0
    """Runs that were looked at for this page. A search ends a page early, with `next`, when it takes too many."""


class Summary(View):
    count: int = 0
    """Runs of which it is known."""
    median: float | None = None
    p90: float | None = None


class DayPoint(View):
    day: date
    count: int = 0
    median: float | None = None
    p90: float | None = None


class Measure(View):
    """One number of each run: over all of them, and by day."""

    name: str
    title: str
    unit: Literal["seconds", "USD", "rounds"]
    of: str
    """Which runs count, in words."""
    whole: Summary
    series: tuple[DayPoint, ...]


class Throughput(View):
    day: date
    closed: int = 0
    """Done, their pull request approved or merged."""
    other: int = 0
    """Rejected, aborted, cancelled."""


class Stats(View):
    since: datetime
    days: int
    runs: int
    """Begun or ended since then."""
    cut: bool = False
    """There are more; only the newest were counted."""
    without_card: int = 0
    """Of those: runs that have told nothing, which are in `runs` alone."""
    states: dict[str, int]
    throughput: tuple[Throughput, ...]
    measures: tuple[Measure, ...]
    needed_people: float | None = None
    """The part of the runs, 0 to 1, that came into trouble and asked; approvals don't count. None: no runs."""


# --- a run ------------------------------------------------------------------------------------


class TroubleView(View):
    """An activity that is being tried again."""

    activity: str
    attempt: int
    message: str
    next_try: datetime | None = None


class FindingView(View):
    panel: str
    rule: str = ""
    severity: str = ""
    """Empty where the one who said it gave none."""
    confidence: float = 1.0
    file: str = ""
    line: int = 0
    end_line: int = 0
    message: str
    evidence: str = ""
    suggestion: str = ""
    fingerprint: str = ""
    standing: str = "open"
    """What became of it, by `sdlc.review_graphs.reviewed.Standing`."""
    status: str = ""
    carried: bool = False
    why: str = ""
    source: str = ""


class SilentSource(View):
    """An analyser or lens that said nothing: it failed, or did not run."""

    name: str
    state: str
    required: bool
    note: str


class ReviewView(View):
    """One panel's review."""

    panel: str
    title: str
    state: PanelState
    verdict: str
    """In some words, such as `1 major, 2 minor`."""
    head_sha: str
    open: tuple[FindingView, ...] = ()
    aside: tuple[FindingView, ...] = ()
    """What is waived, resolved, refuted or left out, by `standing`."""
    silent: tuple[SilentSource, ...] = ()
    usage: Usage = Usage()
    seconds: float = 0.0
    trouble: str = ""
    """Why evidence and what was left out are not shown."""


class StepCost(View):
    number: int
    name: str
    title: str
    state: str
    attempts: int
    seconds: float
    usage: Usage


class Costs(View):
    """What models were asked, by step, and what it cost. What an engine spends now is in `total` alone."""

    steps: tuple[StepCost, ...]
    total: Usage


class Audit(View):
    entries: tuple[AuditEntry, ...]
    trouble: str = ""
    """What is wrong with the chain of the entries; empty: they are whole."""


class Links(View):
    """Addresses that a browser may follow; empty where there is none."""

    temporal: str = ""
    pull_request: str = ""
    ticket: str = ""


Action = Literal[
    "approve",
    "request_changes",
    "reject",
    "retry",
    "waive",
    "abort",
    "pause",
    "resume",
    "instruct",
    "escalate",
    "reassign",
    "cancel",
]


class RunView(View):
    """A run as it stands."""

    key: str
    line: RunLine
    progress: RunProgress
    troubles: tuple[TroubleView, ...] = ()
    ticket: Ticket | None = None
    reviews: tuple[ReviewView, ...] = ()
    tests: tuple[TestReport, ...] = ()
    audit: Audit
    costs: Costs
    links: Links = Links()
    actions: tuple[Action, ...] = ()
    """What makes sense in this state; who may do it is up to roles and the run's policy."""
    notes: tuple[str, ...] = ()
    """What could not be read, and why."""


# --- the change -------------------------------------------------------------------------------


class DiffRow(View):
    kind: Literal["context", "added", "deleted"]
    old: int | None = None
    new: int | None = None
    text: str
    """Without the sign at its beginning and the line feed at its end."""
    cut: int = 0
    """Characters that were left out at the end."""
    no_newline: bool = False
    """The file ends here without a line feed."""
    findings: tuple[FindingView, ...] = ()


class DiffHunk(View):
    old_start: int
    new_start: int
    heading: str = ""
    """What git takes for the function around."""
    rows: tuple[DiffRow, ...]


class DiffFile(View):
    path: str
    old_path: str = ""
    """Where it was renamed."""
    status: Literal["added", "modified", "deleted", "renamed"]
    added: int = 0
    deleted: int = 0
    binary: bool = False
    notes: tuple[str, ...] = ()
    """Such as a change of its mode, or why there are no hunks."""
    hunks: tuple[DiffHunk, ...] = ()
    findings: tuple[FindingView, ...] = ()
    """Those about lines that are not shown here."""


class Diff(View):
    base_sha: str = ""
    head_sha: str = ""
    files: tuple[DiffFile, ...] = ()
    files_changed: int = 0
    insertions: int = 0
    deletions: int = 0
    findings: tuple[FindingView, ...] = ()
    """About files that are not shown here."""
    left_out: str = ""
    """What is not shown, and why, in a sentence."""
    trouble: str = ""
    """Why there is nothing to show."""


# --- conversation, documents ------------------------------------------------------------------


class ToolUse(View):
    name: str
    arguments: str
    """JSON."""
    output: str = ""
    cut: int = 0
    """Characters of arguments and output that were left out."""


class Turn(View):
    """A message, and what came of its tool calls."""

    number: int
    role: Literal["system", "person", "model"]
    """`system`: the pipeline itself speaks. `person`: somebody's instruction."""
    text: str = ""
    cut: int = 0
    tools: tuple[ToolUse, ...] = ()


class Engagement(View):
    """One work loop of the engine."""

    name: str
    """Such as `implement-1`."""
    started: datetime | None = None
    ended: bool = False
    turns: tuple[Turn, ...] = ()
    left_out: int = 0
    """Messages before `turns` that are not shown."""
    documents: tuple[Document, ...] = ()
    """What it was told, and of an engine that is a program of its own, what it printed."""


class Conversation(View):
    """What the engine was told, said and did, the last work loop first."""

    engagements: tuple[Engagement, ...] = ()
    notes: tuple[str, ...] = ()
    """What is not shown, and why."""


class Document(View):
    """A log, brief or report that a run has written."""

    sha256: str
    name: str
    size: int
    media_type: str
    by: str = ""
    """The activity that wrote it."""
    at: datetime | None = None


class Documents(View):
    items: tuple[Document, ...]
    notes: tuple[str, ...] = ()


class DocumentText(View):
    sha256: str
    name: str
    size: int
    media_type: str
    text: str
    cut: int = 0
    """Characters that were left out in the middle."""


Engagement.model_rebuild()


# --- what people ask for ------------------------------------------------------------------------

Words = Annotated[str, StringConstraints(max_length=65_536)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S")]
Once = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")]
"""Made by the page, new for each form: what is sent twice by it counts once. Empty: each time counts."""


class Asked(BaseModel):
    """Whoever asks is the one who is signed in: a field that says otherwise is refused, as every unknown one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    once: Once = ""


class Decide(Asked):
    kind: DecisionKind
    head_sha: Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")]
    """The head that was looked at; refused if there is a newer one."""
    comment: Words = ""


class Attend(Asked):
    """The answer to a run that needs attention; `abort` at any time."""

    kind: AttentionKind
    reason: Words = ""
    instruction: Words = ""
    fingerprints: Annotated[tuple[Annotated[str, StringConstraints(max_length=300)], ...], Field(max_length=500)] = ()


class Pause(Asked):
    action: Literal["pause"]
    reason: Words = ""


class Resume(Asked):
    action: Literal["resume"]
    reason: Words = ""


class Instruct(Asked):
    action: Literal["instruct"]
    text: Annotated[str, StringConstraints(min_length=1, max_length=65_536, pattern=r"\S")]


class Escalate(Asked):
    action: Literal["escalate"]
    model: Annotated[str, StringConstraints(max_length=200)] = ""
    """Empty: the next of the configuration's ladder."""


class Reassign(Asked):
    action: Literal["reassign"]
    to: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50)]
    reason: Words = ""


class Cancel(Asked):
    action: Literal["cancel"]
    reason: Annotated[str, StringConstraints(max_length=2_000)] = ""


Steer = Annotated[Pause | Resume | Instruct | Escalate | Reassign | Cancel, Field(discriminator="action")]


class Receipt(View):
    message: str
    """What became of it, in a sentence."""


class RunFilter(View):
    """Empty: all."""

    state: RunState | Literal[""] = ""
    repository: str = ""
    person: str = ""
    """Who started it, or may decide by name."""
    text: str = ""
    """In key or title, whatever the case."""
