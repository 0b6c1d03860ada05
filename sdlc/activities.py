"""The catalogue of activities: for each its name, what goes in and what comes out.

The workflow calls by this catalogue and the modules in `sdlc.steps` implement it, so that
workflow code imports no integration and both sides agree on types.
Graph nodes (panels, coding agent) are activities too; the LangGraph plugin names them
`<graph>.<node>`, and `panel_graph` and `AGENT_GRAPH` below name the graphs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from sdlc.domain import (
    ApprovalDecision,
    ArtifactRef,
    AttentionAnswer,
    ChangeSet,
    CiReport,
    Instruction,
    Panel,
    PanelReport,
    Plan,
    PullRequest,
    PullRequestNews,
    Record,
    Remark,
    Repository,
    RunIdentity,
    SubIssue,
    TestKind,
    TestReport,
    Ticket,
    Usage,
    Waiver,
)
from sdlc.progress import StepProgress

In = TypeVar("In", bound=Record)
Out = TypeVar("Out", bound=Record | None)


@dataclass(frozen=True)
class Activity(Generic[In, Out]):
    """A typed name. `sdlc.steps` decorates with `@activity.defn(name=….name)`."""

    name: str
    takes: type[In]
    gives: type[Out]


class SelectTask(Record):
    run: RunIdentity
    claimant: str
    """Who the ticket is assigned to: the bot's name in the tracker."""


class OpenRepository(Record):
    origin: str
    base_branch: str = ""


class BriefRequest(Record):
    """What the engine is told in one round. The text is made in an activity and goes by reference."""

    run: RunIdentity
    ticket: Ticket
    change: ChangeSet
    """Before the first round `head_sha` equals `base_sha`."""
    round: int = 0
    panel_reports: tuple[PanelReport, ...] = ()
    fingerprints: tuple[str, ...] = ()
    """The findings to mend; empty with reports given: none of them."""
    tests: tuple[TestReport, ...] = ()
    """Red ones; their logs are read and cut to the part that matters."""
    ci: CiReport | None = None
    decisions: tuple[ApprovalDecision, ...] = ()
    """Requests for changes, in the reviewer's words."""
    remarks: tuple[Remark, ...] = ()
    """What people with write access wrote on the pull request besides."""
    instructions: tuple[Instruction, ...] = ()
    plan: Plan | None = None
    """Of the planner, where one was asked."""
    engine: str = "agent"
    """Who reads it: not every engine has the agent's tools."""


class RunTests(Record):
    run: RunIdentity
    change: ChangeSet
    kind: TestKind


class CheckAcceptance(Record):
    run: RunIdentity
    change: ChangeSet
    ticket: Ticket


class Evidence(Record):
    """Everything the pull request's body and the reviews are made from."""

    run: RunIdentity
    ticket: Ticket
    change: ChangeSet
    summary: str = ""
    """What the engine says it did."""
    panel_reports: tuple[PanelReport, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    answers: tuple[AttentionAnswer, ...] = ()
    tests: tuple[TestReport, ...] = ()
    steps: tuple[StepProgress, ...] = ()
    warnings: tuple[str, ...] = ()
    usage: Usage = Usage()
    starter: str = ""
    fix_rounds: int = 0
    engine: str = ""
    """Name and exact version; empty: the built-in agent."""
    models: tuple[str, ...] = ()
    """Those that the engine asked, in the order of their first use."""
    turns: int = 0
    protected: tuple[str, ...] = ()
    """Protected paths that the change touches, with consent."""
    taken_over: int = 0
    """How often an engine was begun again from the work of a worker that was gone."""
    sandboxed: bool = True
    """The engine's commands ran in a sandbox."""


class OnPullRequest(Record):
    """An activity about a pull request that exists."""

    evidence: Evidence
    pull_request: PullRequest


class RequestApproval(Record):
    evidence: Evidence
    pull_request: PullRequest
    reviewers: tuple[str, ...] = ()
    starter: tuple[str, ...] = ()
    """All names of the one who started the run, who never reviews alone."""


class OwnersRequest(Record):
    run: RunIdentity
    change: ChangeSet


class Owners(Record):
    names: tuple[str, ...] = ()
    """Logins, e-mails and teams of those who own the changed files, by the base's CODEOWNERS."""


class RecordDecision(Record):
    run: RunIdentity
    repository: Repository
    pull_request: PullRequest
    decision: ApprovalDecision


class CloseStory(Record):
    evidence: Evidence
    pull_request: PullRequest
    approvals: tuple[ApprovalDecision, ...] = ()
    merge: bool = False


ALL_GIVEN_BACK = "All is given back"
"""How an error of RELEASE_RUN begins that is about telling people alone."""


class ReleaseRun(Record):
    """Compensation: the claim is given back, an open draft is closed, no work is deleted."""

    run: RunIdentity
    reason: str
    repository: Repository | None = None
    pull_request: PullRequest | None = None
    repository_name: str = ""
    """As it was given, where `repository` is not known yet; for whoever is told by repository."""
    people: tuple[str, ...] = ()
    """Who is told how it ended; empty: everybody."""


class TellPeople(Record):
    run: RunIdentity
    event: str
    title: str
    body: str
    url: str = ""
    on_ticket: bool = False
    """Write it on the ticket as well."""
    repository: str = ""
    people: tuple[str, ...] = ()
    """Whom it is for; empty: everybody."""
    head_sha: str = ""
    occasion: str = ""
    """Tells this notice from another of the same words."""


class Announce(Record):
    """Tell people that a run waits for them, or how it ended, in the evidence's own words."""

    evidence: Evidence
    event: str
    """`needs_approval` or `finished`."""
    title: str
    pull_request: PullRequest
    people: tuple[str, ...] = ()
    occasion: str = ""


class PlanTicket(Record):
    """Ask the planner whether a ticket is one piece of work or several."""

    run: RunIdentity
    change: ChangeSet
    ticket: Ticket
    instructions: tuple[Instruction, ...] = ()
    max_parts: int = 6
    always: bool = False
    """Split wherever it can be; otherwise only where one engine would be overwhelmed."""
    model: str = ""


class TicketPlan(Record):
    """What the planner says."""

    plan: Plan = Plan()
    parts: tuple[SubIssue, ...] = ()
    """In the order in which they are merged; fewer than two: the ticket is done in one piece."""
    usage: Usage = Usage()
    note: str = ""
    """Why it was not split, or what of the plan was left out."""


class MergePart(Record):
    """Bring a part's commits into the run's own line of work."""

    run: RunIdentity
    change: ChangeSet
    """The run's work so far."""
    part: ChangeSet
    title: str


class PartMerged(Record):
    change: ChangeSet
    """With the part in it; where there are conflicts, with their markers in the files, committed and published."""
    conflicts: tuple[str, ...] = ()
    """Files that hold conflict markers."""


class LookAtPullRequest(Record):
    run: RunIdentity
    repository: Repository
    pull_request: PullRequest


class SayOnPullRequest(Record):
    run: RunIdentity
    repository: Repository
    pull_request: PullRequest
    body: str
    topic: str


class TakeIn(Record):
    """Bring what others did into the run's line of work: their commits on its branch, and the base as it stands now."""

    run: RunIdentity
    change: ChangeSet
    head_sha: str = ""
    """The tip of the branch as somebody has left it."""
    with_base: bool = False
    """Merge the base branch as well."""


class TakenIn(Record):
    change: ChangeSet
    shown: str = ""
    """The tip that was taken in."""
    """Its head descends from the run's own and from what was taken in; the same as before if there was nothing."""
    conflicts: tuple[str, ...] = ()
    """Files that hold conflict markers."""
    authors: tuple[str, ...] = ()
    """Of the commits that were taken in from the branch, at most ten."""
    protected: tuple[str, ...] = ()
    """Protected paths that the change touches now."""
    unasked: tuple[str, ...] = ()
    """Those of them that people have to consent to."""


class PublishBranch(Record):
    """Show a work loop's result as a branch, without a pull request."""

    run: RunIdentity
    change: ChangeSet


class BranchPublished(Record):
    branch: str
    url: str = ""
    """Where it can be looked at or checked out."""


class Nothing(Record):
    """The answer of an activity that has nothing to say."""


SELECT_TASK = Activity("select_task", SelectTask, Ticket)
REFRESH_TICKET = Activity("refresh_ticket", SelectTask, Ticket)
OPEN_REPOSITORY = Activity("open_repository", OpenRepository, Repository)
WRITE_BRIEF = Activity("write_brief", BriefRequest, ArtifactRef)
RUN_TESTS = Activity("run_tests", RunTests, TestReport)
CHECK_ACCEPTANCE = Activity("check_acceptance", CheckAcceptance, TestReport)
CREATE_PULL_REQUEST = Activity("create_pull_request", Evidence, PullRequest)
WAIT_FOR_CI = Activity("wait_for_ci", OnPullRequest, CiReport)
PUBLISH_REVIEWS = Activity("publish_reviews", OnPullRequest, Nothing)
REQUEST_APPROVAL = Activity("request_approval", RequestApproval, PullRequest)
CODE_OWNERS = Activity("code_owners", OwnersRequest, Owners)
RECORD_DECISION = Activity("record_decision", RecordDecision, Nothing)
CLOSE_STORY = Activity("close_story", CloseStory, PullRequest)
RELEASE_RUN = Activity("release_run", ReleaseRun, Nothing)
ANNOUNCE = Activity("announce", Announce, Nothing)
TELL_PEOPLE = Activity("tell_people", TellPeople, Nothing)
LOOK_AT_PULL_REQUEST = Activity("look_at_pull_request", LookAtPullRequest, PullRequestNews)
SAY_ON_PULL_REQUEST = Activity("say_on_pull_request", SayOnPullRequest, Nothing)
TAKE_IN = Activity("take_in", TakeIn, TakenIn)
PLAN_TICKET = Activity("plan_ticket", PlanTicket, TicketPlan)
MERGE_PART = Activity("merge_part", MergePart, PartMerged)
PUBLISH_BRANCH = Activity("publish_branch", PublishBranch, BranchPublished)


# --- graphs -------------------------------------------------------------------------------


def panel_graph(panel: Panel) -> str:
    """The name under which the plugin knows a panel's graph; its nodes are `<name>.<node>`."""
    return f"panel_{panel.value}"


def concern_graph(panel: Panel) -> str:
    """Name of the graph of one lens on one slice, within the panel's."""
    return f"{panel_graph(panel)}_concern"


AGENT_GRAPH = "coding_agent"
AGENT = "agent"
"""The built-in engine, a graph; every other name of `EngineSettings.name` is a program that `RUN_ENGINE` runs."""


class PanelRequest(Record):
    """What a panel's graph starts from: `{"request": PanelRequest.model_dump(mode="json")}`.

    It ends with `{"report": PanelReport as JSON}` in its state.
    """

    run: RunIdentity
    panel: Panel
    change: ChangeSet
    ticket: Ticket
    earlier: PanelReport | None = None
    """The report of the round before: what did not change since is not read again, and its findings are carried as
    resolved, still open or new."""
    waived: tuple[str, ...] = ()


class EngineRequest(Record):
    """One implementation: what `RUN_ENGINE` takes, and what the coding agent's graph starts from.

    The graph takes `{"request": EngineRequest as JSON}` and ends with `{"result": EngineResult as JSON}`.
    """

    run: RunIdentity
    change: ChangeSet
    brief: ArtifactRef
    title: str = ""
    """Of the ticket: what the commit of a program is called, which has no word of its own for it."""
    max_turns: int = 60
    """Model calls; a program's are counted, and refused beyond this, at the gateway that it reaches its model by."""
    model: str = ""
    """Empty: the configured coder; otherwise a model's name, as after `escalate_model`."""
    engine: str = AGENT
    seconds: float = 7_200
    """Wall time that is left."""
    tokens_left: int | None = None
    """None: no bound. Like `usd_left` heeded between two model calls, never by losing work."""
    usd_left: float | None = None
    consented: tuple[str, ...] = ()
    """Protected paths that a person lets this run change."""
    checkpoint: str = ""
    """Of a program that was lost with its worker: a published commit with its work, to go on from."""


class EngineResult(Record):
    change: ChangeSet
    summary: str = ""
    """What the engine says it did, at most 2,000 characters."""
    plan: tuple[str, ...] = ()
    ended: str = "submitted"
    """`submitted`, `no_change`, `turns`, `budget`, `stuck`, `idle` (nothing changed for many turns), `time`,
    `interrupted` (stopped to hear a word of people; it goes on from `change`), `failed` (a program's exit code)."""
    reason: str = ""
    """Why it ended before it was done, in a sentence; empty where it submitted."""
    usage: Usage = Usage()
    turns: int = 0
    engine: str = ""
    """Name and exact version, such as `aider 0.86.2`; empty: the built-in agent."""
    model: str = ""
    """The model that was asked last."""
    protected: tuple[str, ...] = ()
    """Protected paths that the change touches and nobody has consented to: people decide before it goes on."""
    allowed: tuple[str, ...] = ()
    """Protected paths that it touches with consent, of a person or of the settings."""
    log: ArtifactRef | None = None
    """What a program printed, without secrets."""
    sandboxed: bool = True
    """Its commands ran in a sandbox."""
    taken_over: int = 0
    """How often it was begun again from the work of a worker that was gone."""
    checkpoint: str = ""
    """Of one that was interrupted: work that guard rails have refused so far, for the next try to go on from."""


RUN_ENGINE = Activity("run_engine", EngineRequest, EngineResult)
