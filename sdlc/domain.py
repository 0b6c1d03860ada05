"""The vocabulary that passes between rooms: frozen pydantic models, no behaviour that touches the world.

Every model ignores fields it does not know, so that a payload written by a newer worker
can be read by an older one, and gives each new field a default, so that the reverse holds too.
Amounts of money are USD, durations seconds, sizes bytes, moments timezone-aware UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Base of everything that crosses a process boundary."""

    model_config = ConfigDict(frozen=True, extra="ignore")


# --- references ---------------------------------------------------------------------------


class ArtifactRef(Record):
    """A document in the artifact store, named by its content. Histories carry this, never the text."""

    sha256: str
    size: int
    """Bytes."""
    media_type: str = "text/plain"
    name: str = ""
    """What a person would call it, such as `unit-tests.log`."""


class Repository(Record):
    """A repository as a run sees it: where git finds it and what the work starts from."""

    url: str
    """The forge's own address of it, which every worker can clone from and push to."""
    name: str
    """Short name for people, such as `acme/parcel`."""
    base_branch: str
    base_sha: str
    origin: str = ""
    """What the person gave: a path or URL. Differs from `url` with the local forge."""


class RunIdentity(Record):
    """Which run an effect belongs to; the marker by which a repeated effect finds its first."""

    workflow_id: str
    run_id: str
    ticket_key: str
    link: str = ""
    """The Temporal UI page of the run, if one is known."""
    coauthor: str = ""
    """`Name <e-mail>` of the one who started it, for the commits; empty where no e-mail is known."""

    @property
    def marker(self) -> str:
        """A text that stands hidden in comments and bodies that this run wrote."""
        return f"sdlc:{self.workflow_id}:{self.run_id}"


# --- ticket -------------------------------------------------------------------------------


class Person(Record):
    """Somebody, under all the names by which trackers and forges know them."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    aliases: tuple[str, ...] = ()
    """Logins, account ids, user names, e-mails."""
    email: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys(name for name in (self.name, *self.aliases, self.email) if name))


class TicketStatus(StrEnum):
    TODO = "To Do"
    IN_PROGRESS = "In Progress"
    IN_REVIEW = "In Review"
    DONE = "Done"


class TicketComment(Record):
    author: str
    body: str
    created: datetime | None = None


class Ticket(Record):
    key: str
    title: str
    description: str = ""
    acceptance_criteria: tuple[str, ...] = ()
    status: str = TicketStatus.TODO
    assignee: str = ""
    labels: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    repository: str = ""
    """Where the tracker itself says which repository the ticket is about, as `owner/name`."""
    comments: tuple[TicketComment, ...] = ()
    url: str = ""
    revision: str = ""
    """Changes when a person edits title, description or criteria; asked again before the pull request."""
    truncated: bool = False
    """The description was longer than the cap; the rest was left out, and the brief says so."""


class Plan(Record):
    summary: str = ""
    steps: tuple[str, ...] = ()


class SubIssue(Record):
    """A part of a ticket that can be done, tested and merged on its own."""

    key: str
    """Short and unique within its ticket, such as `p1`."""
    title: str
    description: str = ""
    acceptance_criteria: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Keys of the parts that must be merged before this one begins."""


# --- the baton ----------------------------------------------------------------------------


class ChangeSet(Record):
    """The baton: a commit, not a directory. Whoever holds it can get a workspace for `head_sha`."""

    repository: Repository
    base_sha: str
    head_sha: str
    branch: str
    files_changed: int = 0
    insertions: int = 0
    deletions: int = 0

    @property
    def is_empty(self) -> bool:
        return self.head_sha == self.base_sha or self.files_changed == 0


# --- usage --------------------------------------------------------------------------------


class Usage(Record):
    """What models were asked and what it cost."""

    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = 0.0
    """None when a price is unknown: an unknown cost is never shown as nothing."""

    def __add__(self, other: Usage) -> Usage:
        usd = None if self.usd is None or other.usd is None else round(self.usd + other.usd, 6)
        return Usage(
            model_calls=self.model_calls + other.model_calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=usd,
        )

    @classmethod
    def total(cls, usages: Iterable[Usage]) -> Usage:
        total = cls()
        for usage in usages:
            total = total + usage
        return total


# --- review -------------------------------------------------------------------------------


class Severity(StrEnum):
    BLOCKER = "blocker"
    MAJOR = "major"
    MINOR = "minor"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return list(Severity).index(self)


class Panel(StrEnum):
    ARCHITECTURE = "architecture"
    SECURITY = "security"
    QUALITY = "quality"
    TECHSTACK = "techstack"


class Finding(Record):
    """One thing that is wrong, at one place, that somebody can act on."""

    panel: Panel
    rule: str
    """`<source>:<rule>`, such as `ruff:B006` or `lens:correctness`."""
    severity: Severity
    confidence: float = Field(default=1.0, ge=0.0, le=1.0)
    file: str
    line: int = Field(default=1, ge=1)
    end_line: int = Field(default=1, ge=1)
    message: str
    evidence: str = ""
    """A concrete case or the code in question. Kept in the report artifact, empty in histories."""
    suggestion: str = ""
    """At most four lines of replacement. Kept in the report artifact, empty in histories."""
    fingerprint: str = ""
    """Stable across rounds as long as rule, file and the code on the line stay the same."""

    @staticmethod
    def fingerprint_of(rule: str, file: str, code: str) -> str:
        """The identity of a finding: `code` is the text of its lines, compared without white space at the ends."""
        normal = "\n".join(line.strip() for line in code.splitlines())
        return hashlib.sha256(f"{rule}\0{file}\0{normal}".encode()).hexdigest()[:16]

    def without_source(self) -> Finding:
        """The same finding as it may stand in a history: no text of the repository in it."""
        return self.model_copy(update={"evidence": "", "suggestion": ""})


class SourceState(StrEnum):
    """How an analyser or a lens ended. Only `ok` says anything about the change."""

    OK = "ok"
    FAILED = "failed"
    NOT_RUN = "not_run"
    """It should have looked, and could not, or was left out."""
    NOT_NEEDED = "not_needed"
    """Nothing in the change concerns it."""

    @property
    def is_missing(self) -> bool:
        """Has somebody not looked who should have?"""
        return self in (SourceState.FAILED, SourceState.NOT_RUN)


class SourceReport(Record):
    """What one analyser or one lens did, without its findings."""

    name: str
    kind: str = "analyser"
    """`analyser`, `lens`, or `unread`: files that neither has seen, and why."""
    state: SourceState = SourceState.OK
    required: bool = True
    note: str = ""
    """Why it failed or did not run, and what would mend it."""
    found: int = 0
    dropped: int = 0
    """Findings thrown away: outside the change, at a line that does not exist, repeated, refuted."""
    refuted: int = 0
    """Of those: the findings that did not stand when they were challenged on the code."""
    carried: int = 0
    """Findings of an earlier round on what did not change since; they are not in `found`."""
    seconds: float = 0.0
    usage: Usage = Usage()
    result: ArtifactRef | None = None

    @property
    def base_name(self) -> str:
        """Without the slice: `correctness 2/3` → `correctness`."""
        return self.name.partition(" ")[0]

    def is_lens(self, name: str) -> bool:
        """Is it about this lens, on whichever slice?"""
        return self.kind == "lens" and self.base_name == name


class PanelState(StrEnum):
    CLEAN = "clean"
    FINDINGS = "findings"
    INCOMPLETE = "incomplete"
    """A required analyser or lens failed: never to be read as a pass."""


class Repeat(Record):
    """A finding that another panel has as well: said once, where it weighs most."""

    finding: Finding
    of: str
    """Fingerprint of the one that stays."""
    panel: Panel
    """Whose it is."""


class PanelReport(Record):
    panel: Panel
    head_sha: str
    base_sha: str = ""
    state: PanelState
    findings: tuple[Finding, ...] = ()
    """Without source text; the whole is behind `report`."""
    resolved: tuple[Finding, ...] = ()
    """Found on an earlier head of this change and not there any more, in the order in which they went."""
    repeats: tuple[Repeat, ...] = ()
    """Findings that stand in another panel's report."""
    sources: tuple[SourceReport, ...] = ()
    report: ArtifactRef | None = None
    """JSON: the findings with evidence and suggestion, also those that were dropped, with the reason."""
    usage: Usage = Usage()
    seconds: float = 0.0


class GateDecision(StrEnum):
    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FIX = "fix"
    ASK = "ask"


class GateVerdict(Record):
    decision: GateDecision
    reasons: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    """The findings that made it `fix` or `ask`."""


class Waiver(Record):
    """A person's word that findings (by fingerprint) or a failed step may stand, with the reason."""

    fingerprints: tuple[str, ...] = ()
    """Empty: everything that holds the run up at this moment."""
    reason: str
    by: str


# --- tests --------------------------------------------------------------------------------


class TestKind(StrEnum):
    __test__ = False  # pytest would take the name for a test class
    UNIT = "unit"
    INTEGRATION = "integration"
    STATIC = "static"
    ACCEPTANCE = "acceptance"


class TestOutcome(StrEnum):
    __test__ = False
    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    SETUP_FAILED = "setup_failed"
    """The repository's environment could not be made: not the same as a failing test."""
    MISSING = "missing"
    """Tests are due and there are none: a question to a person."""
    NOT_DECLARED = "not_declared"
    """Nothing of this kind is declared, and nothing is owed."""


class TestFailure(Record):
    __test__ = False
    test: str
    """The runner's own id, such as `tests/test_money.py::test_rounds_half_up`, or a check's name."""
    message: str = ""
    """One line, at most 200 characters, without source text."""
    on_base: bool = False
    """It failed on the base commit already, so it does not count."""


class ChangedLineCoverage(Record):
    covered: int
    total: int

    @property
    def percent(self) -> float:
        return 100.0 if self.total == 0 else round(100.0 * self.covered / self.total, 1)


class Proof(Record):
    """Tests of the change that fail on the base commit and pass on the head."""

    fails_on_base: tuple[str, ...] = ()
    passes_on_head: tuple[str, ...] = ()
    coverage: ChangedLineCoverage | None = None

    @property
    def shown(self) -> tuple[str, ...]:
        """The tests that failed before and pass now."""
        passing = set(self.passes_on_head)
        return tuple(test for test in self.fails_on_base if test in passing)


class TestReport(Record):
    __test__ = False
    kind: TestKind
    head_sha: str
    outcome: TestOutcome
    commands: tuple[str, ...] = ()
    """As a person would type them."""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: tuple[TestFailure, ...] = ()
    """At most 50, those that count first."""
    flaky: tuple[str, ...] = ()
    """Failed at first and passed when run again on the same commit."""
    proof: Proof | None = None
    log: ArtifactRef | None = None
    note: str = ""
    """What is missing or was cut, and what would mend it."""
    sandboxed: bool = True
    seconds: float = 0.0

    @property
    def new_failures(self) -> tuple[TestFailure, ...]:
        return tuple(failure for failure in self.failures if not failure.on_base)

    @property
    def is_green(self) -> bool:
        return self.outcome in (TestOutcome.PASSED, TestOutcome.NOT_DECLARED)


# --- pull request -------------------------------------------------------------------------


class PullRequestState(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


class PullRequest(Record):
    number: int
    url: str
    title: str
    branch: str
    base_branch: str
    base_sha: str
    head_sha: str
    state: PullRequestState = PullRequestState.DRAFT


class CiState(StrEnum):
    GREEN = "green"
    RED = "red"
    PENDING = "pending"
    NONE = "none"
    """The forge runs no checks for this head; said in the pull request, not hidden."""


class CiReport(Record):
    state: CiState
    head_sha: str
    failures: tuple[TestFailure, ...] = ()
    log: ArtifactRef | None = None
    note: str = ""


# --- people -------------------------------------------------------------------------------


class DecisionKind(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    REQUEST_CHANGES = "request_changes"


class ApprovalDecision(Record):
    """What a person decided about one head of one run."""

    kind: DecisionKind
    by: Annotated[str, Field(min_length=1, max_length=200)]
    aliases: tuple[str, ...] = ()
    """Other names of the same person, as the configuration has them."""
    also_called: tuple[str, ...] = ()
    """What they call themselves, which anybody can: good for a refusal (the starter, the bot), never for a right."""
    head_sha: str = ""
    """The head that was looked at. Empty: the head at the moment the decision arrives."""
    comment: Annotated[str, Field(max_length=65_536)] = ""
    source: str = "signal"
    """`cli`, `web`, `forge`, `tracker` or `signal`."""
    decision_id: str = ""
    """Makes a repeated delivery harmless."""


class Remark(Record):
    """Words of a person on a pull request that decide nothing by themselves."""

    by: str
    body: str
    identity: str
    """Stays the same when it is read again."""
    url: str = ""
    path: str = ""
    line: int = 0
    """0: about the file, or about nothing in particular."""
    head_sha: str = ""
    at: datetime | None = None


class PullRequestNews(Record):
    """A pull request as people have left it, read from the forge."""

    pull_request: PullRequest
    decisions: tuple[ApprovalDecision, ...] = ()
    """The last word of each person who may write to the repository, in the order in which they were given."""
    feedback: tuple[Remark, ...] = ()
    """Words of people who may write: for the engine's next round."""
    shown: tuple[Remark, ...] = ()
    """Words of others: for people to read, never for the engine."""
    ended_by: str = ""
    """Who merged or closed it; empty while it is open or where the forge does not tell."""
    conflicts: bool = False
    """It can't be merged into its base branch as that stands now."""
    pushers: tuple[str, ...] = ()
    """Who has pushed to its branch besides us, as far as the forge tells."""
    mark: str = ""
    """Changes whenever something of this changes."""


LONGEST_SECONDS = 10 * 365 * 86_400
Seconds = Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
Source = Literal["cli", "web", "forge", "tracker", "signal"]


class ApprovalPolicy(Record):
    required: int = Field(default=1, ge=1)
    protected_required: int = Field(default=0, ge=0)
    """Approvals where the change touches protected paths; 0: as many as otherwise."""
    approvers: tuple[str, ...] = ()
    """Names that may decide; empty: anybody who can reach the run. `@name` stands for a group of the configuration."""
    code_owners: bool = False
    """The owners of the changed files may decide as well."""
    sources: tuple[Source, ...] = ()
    """From where decisions count; empty: from everywhere."""
    allow_starter: bool = False
    """May the person who started the run approve it? True only where one person works alone."""
    bot: str = "sdlc-bot"
    """Never counted."""
    bot_aliases: tuple[str, ...] = ()
    """Its names in tracker and forge."""
    deadline_seconds: Seconds = 7 * 86_400
    reminder_seconds: tuple[Seconds, ...] = (86_400, 3 * 86_400)
    escalate_to: tuple[str, ...] = ()
    """Who may decide too, and is told, once nobody has for `escalate_seconds`."""
    escalate_seconds: Seconds = 5 * 86_400


class Instruction(Record):
    """A word from a person to the engine, taken up between two turns."""

    text: Annotated[str, Field(min_length=1, max_length=65_536)]
    by: str = ""
    message_id: str = ""
    """Makes a repeated delivery harmless."""


class AttentionKind(StrEnum):
    RETRY = "retry"
    WAIVE = "waive"
    ABORT = "abort"


class AttentionAnswer(Record):
    """What a person answers to a run that needs attention."""

    kind: AttentionKind
    by: Annotated[str, Field(min_length=1, max_length=200)]
    reason: Annotated[str, Field(max_length=65_536)] = ""
    instruction: Annotated[str, Field(max_length=65_536)] = ""
    fingerprints: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """Other names of the same person, as the configuration has them."""
    source: str = ""
    """`cli`, `web`, `forge`, `tracker` or `signal`."""
    message_id: str = ""
    """Makes a repeated delivery harmless."""


class MessageReceipt(Record):
    """What the sender of a message learns at once."""

    accepted: bool
    message: str


class AuditEntry(Record):
    at: datetime
    event: str
    by: str = ""
    source: str = ""
    head_sha: str = ""
    accepted: bool = True
    detail: str = ""
    number: int = 0
    """From 1 on; 0 in trails of older runs."""
    previous: str = ""
    """`hash` of the entry before; empty for the first."""
    hash: str = ""
    """Of all the rest of the entry, `previous` included: nobody can change, leave out or move one unseen."""


# --- a run --------------------------------------------------------------------------------


class Budget(Record):
    """Bounds of one run; None is unbounded. Checked between calls, so that no work is lost."""

    usd: float | None = 10.0
    tokens: int | None = 5_000_000
    turns: int | None = 200
    """Model calls of the coding engine in all rounds together."""
    minutes: float | None = None
    """Of work, waiting for people not counted."""
    warn_at: float = Field(default=0.8, gt=0, le=1)
    """The part of any bound at which people are told."""


class StepLimits(Record):
    """Time-outs and attempts of one step's activities."""

    timeout_seconds: float = 300
    attempts: int = 0
    """0: as long as it takes, where the world is at fault."""


class SplitPolicy(Record):
    """Whether a large ticket is done in parts, each by an engine of its own."""

    split: Literal["auto", "always", "never"] = "never"
    max_parts: int = Field(default=6, ge=2, le=20)
    max_depth: int = Field(default=1, ge=1, le=3)
    """1: parts are not split again."""
    at_once: int = Field(default=2, ge=1)
    """Parts that are worked on at the same time."""


class RunPolicy(Record):
    """The part of the configuration that a run keeps from its start to its end."""

    max_fix_rounds: int = 3
    max_iterations: int = 2
    """Tries of the work loop within one round: implement, test, fix."""
    max_turns: int = 60
    """Model calls of the engine in one implementation."""
    budget: Budget = Budget()
    approval: ApprovalPolicy = ApprovalPolicy()
    merge: bool = False
    close_on: Literal["approval", "merge"] = "approval"
    engine: str = "agent"
    plan: SplitPolicy = SplitPolicy()
    ladder: tuple[str, ...] = ()
    """Models for the coder, from the usual one's successor to the strongest: where `escalate_model` leads."""
    escalate_after: int = 2
    """Red rounds, one after the other, after which the next model of the ladder is taken by itself; 0: never."""
    fix_severities: tuple[Severity, ...] = (Severity.BLOCKER, Severity.MAJOR)
    limits: dict[str, StepLimits] = {}
    """By step name; what is absent has the default of `sdlc.policy.limits_for`."""
    first_retry_seconds: float = 30
    longest_retry_seconds: float = 300
    heartbeat_seconds: float = 20
    """Of every activity: all of them give a sign of life more often."""


class RunRequest(Record):
    ticket_key: str
    repository: str
    """Path or URL as the person gave it."""
    base_branch: str = ""
    """Empty: the repository's default branch."""
    starter: str
    starter_aliases: tuple[str, ...] = ()
    """Other names of the same person, in tracker and forge."""
    starter_email: str = ""
    policy: RunPolicy = RunPolicy()
    ui_url: str = ""
    search_attributes: bool = True
    """False where the server does not have ours and will not take them."""


class RunState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    AWAITING_APPROVAL = "awaiting_approval"
    AWAITING_MERGE = "awaiting_merge"
    NEEDS_ATTENTION = "needs_attention"
    CLOSED = "closed"
    REJECTED = "rejected"
    ABORTED = "aborted"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in (RunState.CLOSED, RunState.REJECTED, RunState.ABORTED, RunState.CANCELLED)
