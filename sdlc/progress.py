"""The seventeen steps and what a query answers about them."""

from __future__ import annotations

from datetime import datetime
from enum import Enum, StrEnum

from sdlc.domain import ChangeSet, Finding, Plan, PullRequest, Record, RunState, TestReport, Usage


class Step(Enum):
    """The steps in their order. `number` is what people say, `name` in lower case is what code says."""

    SELECT_TASK = (1, "Select task")
    IMPLEMENT = (2, "Implement")
    REVIEW_ARCHITECTURE = (3, "Review: architecture")
    REVIEW_SECURITY = (4, "Review: security")
    REVIEW_QUALITY = (5, "Review: quality")
    REVIEW_TECHSTACK = (6, "Review: tech stack")
    QUALITY_GATE = (7, "Quality gate")
    UNIT_TESTS = (8, "Unit tests")
    INTEGRATION_TESTS = (9, "Integration tests")
    STATIC_CHECKS = (10, "Static checks")
    ACCEPTANCE = (11, "Acceptance")
    CREATE_PULL_REQUEST = (12, "Create pull request")
    WAIT_FOR_CI = (13, "Wait for CI")
    PUBLISH_REVIEWS = (14, "Publish reviews")
    REQUEST_APPROVAL = (15, "Request approval")
    AWAIT_APPROVAL = (16, "Await approval")
    CLOSE_STORY = (17, "Close story")

    def __init__(self, number: int, title: str) -> None:
        self.number = number
        self.title = title

    @property
    def key(self) -> str:
        """The name in configuration, JSON and search attributes, such as `unit_tests`."""
        return self.name.lower()

    @classmethod
    def of(cls, key: str) -> Step:
        """The step of that key; KeyError if there is none."""
        return cls[key.upper()]


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    """For a person or another system."""
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Nothing to do here, or waived by a person; the result says which."""


class StepProgress(Record):
    number: int
    name: str
    title: str
    state: StepState = StepState.PENDING
    attempts: int = 0
    """How often the step was entered: once, and once more for each round that came back to it."""
    started: datetime | None = None
    ended: datetime | None = None
    seconds: float = 0.0
    """Time spent in the step, all attempts together."""
    result: str = ""
    """One line."""
    usage: Usage = Usage()
    """Of models, all attempts together."""


class PartProgress(Record):
    """A part of a ticket that is done on its own."""

    key: str
    title: str
    state: StepState = StepState.PENDING
    result: str = ""


class RunProgress(Record):
    """The answer to the query `progress`."""

    workflow_id: str
    ticket_key: str
    ticket_title: str = ""
    repository: str = ""
    state: RunState = RunState.RUNNING
    step: str = Step.SELECT_TASK.key
    waits_for: str = ""
    """Who or what has to act, in a sentence; empty while the run works by itself."""
    steps: tuple[StepProgress, ...] = ()
    fix_rounds: int = 0
    revisions: int = 0
    """Rounds that a person asked for with request-changes."""
    plan: Plan | None = None
    parts: tuple[PartProgress, ...] = ()
    """Where the ticket was split."""
    engine: str = ""
    """Name and exact version of the engine that worked last."""
    model: str = ""
    """The engine's model; empty: the configured one."""
    change: ChangeSet | None = None
    pull_request: PullRequest | None = None
    findings: dict[str, int] = {}
    """Open findings by severity."""
    tests: tuple[TestReport, ...] = ()
    usage: Usage = Usage()
    warnings: tuple[str, ...] = ()
    started: datetime | None = None


class RunOutcome(Record):
    """What the workflow returns."""

    workflow_id: str
    ticket_key: str
    state: RunState
    reason: str = ""
    steps: tuple[StepProgress, ...] = ()
    change: ChangeSet | None = None
    pull_request: PullRequest | None = None
    merged: bool = False
    fix_rounds: int = 0
    revisions: int = 0
    findings: tuple[Finding, ...] = ()
    """Every finding of the last round, waived ones included."""
    tests: tuple[TestReport, ...] = ()
    usage: Usage = Usage()


class StepLedger:
    """The mutable account of the steps inside a run. Times come from the caller: workflows have their own clock."""

    def __init__(self) -> None:
        self._steps: dict[Step, StepProgress] = {
            step: StepProgress(number=step.number, name=step.key, title=step.title) for step in Step
        }

    def enter(self, step: Step, now: datetime, state: StepState = StepState.RUNNING) -> None:
        entry = self._steps[step]
        self._steps[step] = entry.model_copy(
            update={
                "state": state,
                "attempts": entry.attempts + 1,
                "started": now,
                "ended": None,
                "result": "",
            }
        )

    def leave(self, step: Step, now: datetime, state: StepState, result: str = "") -> None:
        entry = self._steps[step]
        # Left twice, as when people were asked in between, an attempt counts until it was left first.
        spent = (now - entry.started).total_seconds() if entry.started and entry.ended is None else 0.0
        self._steps[step] = entry.model_copy(
            update={
                "state": state,
                "ended": now,
                "seconds": round(entry.seconds + spent, 3),
                "result": result,
            }
        )

    def spend(self, step: Step, usage: Usage) -> None:
        entry = self._steps[step]
        self._steps[step] = entry.model_copy(update={"usage": entry.usage + usage})

    def __getitem__(self, step: Step) -> StepProgress:
        return self._steps[step]

    def all(self) -> tuple[StepProgress, ...]:
        return tuple(self._steps[step] for step in Step)
