"""What a delivery or a poll leads to: the real workflows and activities of the intake on a real server, beside runs on
a stage. Tracker and forge keep their state in memory here, and can fail."""

from __future__ import annotations

import asyncio
import itertools
import re
import uuid
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import SecretStr
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.service import RPCError
from temporalio.worker import Replayer, Worker

from sdlc.comment_commands import Verb, parse
from sdlc.config import Settings, TrackerSettings
from sdlc.config.intake import IntakeSettings, PersonSettings, RouteSettings
from sdlc.deliveries import CommandComment, Delivery, Handled
from sdlc.domain import (
    ApprovalPolicy,
    ChangeSet,
    Person,
    PullRequest,
    Repository,
    RunIdentity,
    RunRequest,
    RunState,
    TestOutcome,
    Ticket,
    TicketStatus,
    Usage,
)
from sdlc.errors import PermissionDenied, RunNotFound, ServiceUnavailable, TicketNotFound, UsageError
from sdlc.intake import DeliveryWorkflow, PollWorkflow, summary_of
from sdlc.integrations.jira import JiraSettings, JiraTracker
from sdlc.integrations.jira.ticket_of import rich_text
from sdlc.integrations.services import Services
from sdlc.progress import RunProgress, Step
from sdlc.runtime import intake_poll
from sdlc.runtime import intake_replies as replies
from sdlc.runtime.activity_failures import ActivityInterceptor
from sdlc.runtime.client import connect
from sdlc.runtime.deliveries import Deliveries
from sdlc.runtime.embedded import running
from sdlc.runtime.graphs import Graphs
from sdlc.runtime.intake import IntakeSteps
from sdlc.runtime.intake_news import is_about
from sdlc.runtime.intake_starts import named
from sdlc.runtime.redaction import Redactor
from sdlc.runtime.runs import Look, RunRow, Runs, Started, Trouble, workflow_id
from sdlc.runtime.worker import workflow_runner
from sdlc.work_loop import WorkLoopWorkflow
from sdlc.workflow import SdlcWorkflow
from tests.fakes.faults import Fault, on
from tests.fakes.jira_server import JiraServer
from tests.stage import PULL_REQUEST, Script, Stage

ADA = Person(name="Ada L.", aliases=("acc-ada",), email="ada@example.com")
EVE = Person(name="Eve", aliases=("acc-eve",))
GRACE = Person(name="Grace", aliases=("grace@example.com",))
PEOPLE = (PersonSettings(name="ada", jira="acc-ada", github="ada-gh", email="ada@example.com"),)
QUIET = (RunState.AWAITING_APPROVAL, RunState.NEEDS_ATTENTION)
AGES_AGO = datetime.now(UTC) - timedelta(hours=25)


# --- a tracker and a forge ------------------------------------------------------------------------


class Failing:
    """Failures that a test has ordered, by the method's name; each is given out once."""

    def __init__(self) -> None:
        self.failures: dict[str, list[Exception]] = {}
        self.calls: list[str] = []

    def fail(self, method: str, *errors: Exception) -> None:
        self.failures.setdefault(method, []).extend(errors)

    async def called(self, method: str) -> None:
        self.calls.append(method)
        await asyncio.sleep(0)
        if self.failures.get(method):
            raise self.failures[method].pop(0)


class MemoryTracker(Failing):
    """Tickets and comments. A reply is a comment of ours, which marks what it answers, as in the real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.tickets: dict[str, Ticket] = {}
        self.wanted: list[str] = []
        self.comments: dict[str, CommandComment] = {}
        self.replies: dict[str, str] = {}
        self.edits: list[str] = []
        self.told: dict[tuple[str, str, str], str] = {}
        """Comments of runs, by key, marker and topic."""
        self.writers: set[str] = set()
        self.lose_answer_of: set[str] = set()

    def add(self, key: str, *, wanted: bool = False, **more: Any) -> str:
        self.tickets[key] = Ticket(key=key, title="Rounding", revision="r1", **more)
        if wanted:
            self.wanted.append(key)
        return key

    def say(self, key: str, body: str, *, author: Person = ADA, **more: Any) -> CommandComment:
        identity = str(uuid.uuid4().int % 10**12)
        fields = {"created": datetime.now(UTC), **more}
        comment = CommandComment(ticket_key=key, comment_id=identity, author=author, body=body, **fields)
        self.comments[identity] = comment
        return comment

    def _as_it_stands(self, comment: CommandComment) -> CommandComment:
        return comment.model_copy(update={"answered": comment.answered or comment.comment_id in self.replies})

    async def next_key(self, *, besides: Collection[str] = ()) -> str | None:
        await self.called("next_key")
        return next((key for key in self.wanted if key not in besides), None)

    async def ticket(self, key: str) -> Ticket:
        await self.called("ticket")
        if key not in self.tickets:
            raise TicketNotFound(f"There is no ticket {key}, or we may not see it.")
        return self.tickets[key]

    async def comment(self, key: str, body: str, *, run: RunIdentity, topic: str) -> None:
        await self.called("comment")
        self.told[key, run.marker, topic] = body

    async def is_wanted(self, key: str) -> bool:
        await self.called("is_wanted")
        return key in self.wanted

    async def asked_by(self, key: str) -> Person:
        await self.called("asked_by")
        return ADA

    async def comment_on(self, key: str, comment_id: str) -> CommandComment | None:
        await self.called("comment_on")
        comment = self.comments.get(comment_id)
        return self._as_it_stands(comment) if comment and comment.ticket_key == key else None

    async def comments_since(self, moment: datetime) -> tuple[CommandComment, ...]:
        """More generous than asked: JQL counts by ticket and minute, not by comment."""
        await self.called("comments_since")
        return tuple(self._as_it_stands(one) for one in self.comments.values() if "/sdlc" in one.body)

    async def may_command(self, person: Person, key: str) -> bool:
        await self.called("may_command")
        return bool(self.writers & set(person.aliases))

    async def reply(self, comment: CommandComment, body: str) -> None:
        await self.called("reply")
        if comment.comment_id in self.replies:
            self.edits.append(comment.comment_id)
        self.replies[comment.comment_id] = body
        if comment.comment_id in self.lose_answer_of or "*" in self.lose_answer_of:
            self.lose_answer_of.clear()
            raise ServiceUnavailable("The connection was reset after the request.", retry_after=0.05)

    async def login(self) -> tuple[str, ...]:
        return ("acc-bot", "sdlc bot")


class MemoryForge(Failing):
    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[str, str] = {}
        """By branch; it changes with what people do."""

    async def login(self) -> tuple[str, ...]:
        return ("bot-gh",)

    async def mark(self, repository: Repository, pull_request: PullRequest) -> str:
        await self.called("mark")
        return self.marks.get("any", "")


# --- the house ------------------------------------------------------------------------------------


@dataclass
class House:
    client: Client
    settings: Settings
    tracker: MemoryTracker
    forge: MemoryForge
    stage: Stage
    keys: list[str] = field(default_factory=list)

    @property
    def runs(self) -> Runs:
        return Runs(self.client, task_queue=self.settings.temporal.task_queue)

    def named_ticket(self) -> str:
        """A key of its own: runs are named after their tickets, and the server is shared by all tests of a process."""
        self.keys.append(f"ACME-{uuid.uuid4().int % 10**9}")
        return self.keys[-1]

    def ticket(self, *, wanted: bool = False, **more: Any) -> str:
        return self.tracker.add(self.named_ticket(), wanted=wanted, **more)

    async def settled(self, comment_id: str) -> Handled:
        """What became of a comment that a poll has found."""
        delivery = Delivery(source="jira", kind="comment", identity=f"comment-{comment_id}")
        return await asyncio.wait_for(self.handle(delivery).result(), 30)

    async def deliver(self, delivery: Delivery, seconds: float = 30) -> Handled:
        """Keep a delivery and wait for what becomes of it."""
        await Deliveries(self.client, self.settings.temporal.task_queue).keep(delivery)
        return self._own(await asyncio.wait_for(self.handle(delivery).result(), seconds))

    def _own(self, handled: Handled) -> Handled:
        """Without a word on runs that other tests have left open on this server: nobody answers for them."""
        others = [line for line in handled.did if "not answer" in line and not any(key in line for key in self.keys)]
        left = tuple(line for line in handled.did if line not in others)
        nothing = ("no open run is about it",) if others and all(line.startswith("told ") for line in others) else ()
        return Handled(did=left or nothing)

    def handle(self, delivery: Delivery) -> WorkflowHandle[Any, Handled]:
        return self.client.get_workflow_handle(delivery.workflow_id, result_type=Handled)

    async def say(self, key: str, body: str, *, author: Person = ADA, **more: Any) -> str:
        """Comment, deliver it, and return the reply; empty for none."""
        comment = self.tracker.say(key, body, author=author, **more)
        await self.deliver(of(comment))
        return self.tracker.replies.get(comment.comment_id, "")

    async def poll(self, seconds: float = 30) -> Handled:
        handle: WorkflowHandle[Any, Handled] = await self.client.start_workflow(
            PollWorkflow.run, id=f"poll-{uuid.uuid4().hex}", task_queue=self.settings.temporal.task_queue
        )
        return self._own(await asyncio.wait_for(handle.result(), seconds))

    async def running(self, key: str, **policy: Any) -> None:
        """A run, as somebody has started it before."""
        request = RunRequest(ticket_key=key, repository="acme/parcel", starter="ada", search_attributes=False)
        own = self.settings.run_policy().model_copy(update=policy)
        await self.runs.start(request.model_copy(update={"policy": own}))

    async def until(self, key: str, state: RunState, seconds: float = 30) -> RunProgress:
        progress: RunProgress | None = None
        try:
            async with asyncio.timeout(seconds):
                while progress is None or progress.state is not state:
                    await asyncio.sleep(0.05)
                    progress = await self.runs.progress(key)
        except TimeoutError:
            raise AssertionError(f"the run is not {state}: {progress!r}") from None
        return progress

    async def until_quiet(self, key: str, seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not ((state := (await self.runs.progress(key)).state).is_over or state in QUIET):
                await asyncio.sleep(0.05)

    async def audited(self, key: str) -> list[tuple[str, str, str]]:
        return [(one.event, one.by, one.detail) for one in await self.runs.audit(key)]

    async def signals(self, key: str) -> list[str]:
        history = await self.client.get_workflow_handle(workflow_id(key)).fetch_history()
        return signals_of(history)


def signals_of(history: WorkflowHistory) -> list[str]:
    found = (event.workflow_execution_signaled_event_attributes for event in history.events)
    return [one.signal_name for one in found if one.signal_name]


def of(comment: CommandComment) -> Delivery:
    identity = f"comment-{comment.comment_id}"
    return Delivery(
        source="jira",
        kind="comment",
        identity=identity,
        ticket_key=comment.ticket_key,
        comment_id=comment.comment_id,
    )


def about(key: str) -> Delivery:
    return Delivery(source="jira", kind="ticket", identity=uuid.uuid4().hex, ticket_key=key)


def on_pull_request(**more: Any) -> Delivery:
    return Delivery(**{"source": "github", "kind": "pull_request", "identity": uuid.uuid4().hex, **more})


INTAKE = IntakeSettings(
    commanders=("ada", "grace@example.com"), repositories=(RouteSettings(repository="acme/parcel", base_branch="dev"),)
)


@asynccontextmanager
async def at_home(
    settings: Settings, script: Script | None = None, *, tracker: Any = None, **intake: Any
) -> AsyncIterator[House]:
    settings = settings.model_copy(
        update={
            "tracker": TrackerSettings(kind="jira"),
            "intake": INTAKE.model_copy(update=intake),
            "people": PEOPLE,
            "run": settings.run.model_copy(update={"first_retry_seconds": 0.05, "longest_retry_seconds": 0.1}),
        }
    )
    client = await connect(settings)
    stage = Stage(script or Script())
    tracker, forge = tracker or MemoryTracker(), MemoryForge()
    services = cast(Services, SimpleNamespace(settings=settings, tracker=tracker, forge=forge))
    worker = Worker(
        client,
        task_queue=settings.temporal.task_queue,
        workflows=[SdlcWorkflow, WorkLoopWorkflow, DeliveryWorkflow, PollWorkflow],
        activities=[*stage.activities(), *IntakeSteps(services).activities()],
        plugins=[Graphs(stage.graphs())],
        interceptors=[ActivityInterceptor(Redactor.of(settings))],
        workflow_runner=workflow_runner(),
        graceful_shutdown_timeout=timedelta(seconds=1),
    )
    house = House(client, settings, tracker, forge, stage)
    async with asyncio.timeout(100), running(worker):
        try:
            yield house
        finally:
            for key in house.keys:
                # One that is put away in the middle of a graph leaves Python a generator to complain about.
                with suppress(RunNotFound, ServiceUnavailable, TimeoutError):
                    await house.until_quiet(key)
                with suppress(RPCError):
                    await client.get_workflow_handle(workflow_id(key)).terminate("the test is over")


@pytest.fixture
async def house(temporal_settings: Settings) -> AsyncIterator[House]:
    async with at_home(temporal_settings) as found:
        yield found


# --- start ----------------------------------------------------------------------------------------


async def test_a_command_starts_a_run_in_the_name_of_who_gave_it(house: House) -> None:
    key = house.ticket()
    reply = await house.say(key, "/sdlc start")
    assert f"The run for {key} has started, in `acme/parcel`." in reply
    handle = house.client.get_workflow_handle(workflow_id(key))
    history = await handle.fetch_history()
    payload = history.events[0].workflow_execution_started_event_attributes.input.payloads[0]
    [request] = await house.client.data_converter.decode([payload], [RunRequest])
    assert (request.starter, request.starter_email) == ("ada", "ada@example.com")
    assert {"acc-ada", "ada-gh"} <= set(request.starter_aliases)
    assert (request.repository, request.base_branch) == ("acme/parcel", "dev")
    assert set(request.policy.approval.bot_aliases) == {"acc-bot", "sdlc bot", "bot-gh"}


async def test_a_delivery_that_comes_again_does_nothing(house: House) -> None:
    key = house.ticket()
    delivery = of(house.tracker.say(key, "/sdlc start"))
    deliveries = Deliveries(house.client, house.settings.temporal.task_queue)
    kept = [await deliveries.keep(delivery) for _ in range(3)]
    assert kept == [True, False, False]
    assert (await house.deliver(delivery)).did == (f"started {key}",)
    assert house.tracker.calls.count("reply") == 1


async def test_many_deliveries_at_once_for_one_ticket_make_one_run(house: House) -> None:
    key = house.ticket(wanted=True)
    comments = [house.tracker.say(key, "/sdlc start") for _ in range(4)]
    handled = await asyncio.gather(*map(house.deliver, [*map(of, comments), about(key), about(key)]))
    did = [one.did[0] for one in handled]
    assert did.count(f"started {key}") == 1, did
    assert len([one async for one in house.client.list_workflows(f"WorkflowId = '{workflow_id(key)}'")]) <= 1
    said = [house.tracker.replies[one.comment_id] for one in comments]
    assert sum("has started" in one for one in said) <= 1
    assert all("has started" in one or f"A run for {key} is at work" in one for one in said)


@pytest.mark.parametrize(
    ("ticket", "told"),
    [
        ({"status": "Done"}, "is Done; reopen it"),
        ({"assignee": "Bob *B*"}, r"is assigned to Bob \*B\*; unassign it"),
    ],
)
async def test_a_ticket_that_cannot_be_taken_is_told(house: House, ticket: dict[str, str], told: str) -> None:
    key = house.ticket(**ticket)
    assert told in await house.say(key, "/sdlc start")
    with pytest.raises(RunNotFound):
        await house.runs.is_open(key)


async def test_a_ticket_of_our_own_account_can_be_started(house: House) -> None:
    assert "has started" in await house.say(house.ticket(assignee="SDLC Bot"), "/sdlc start")


async def test_a_ticket_without_a_repository_is_told_what_to_configure(temporal_settings: Settings) -> None:
    async with at_home(temporal_settings, repositories=()) as house:
        key = house.ticket()
        reply = await house.say(key, "/sdlc start")
        assert "No repository is configured" in reply
        assert "intake.repositories" in reply


async def test_a_ticket_that_is_gone_is_told_where_the_command_was(house: House) -> None:
    assert "There is no ticket NO-1" in await house.say("NO-1", "/sdlc start")


# --- who may --------------------------------------------------------------------------------------


async def test_somebody_who_may_not_hears_once_who_may_and_no_word_of_theirs(house: House) -> None:
    key = house.ticket()
    reply = await house.say(key, "/sdlc start <script>secret words</script> @everybody", author=EVE)
    assert reply == "That is for those who may command runs here: ada and others."
    with pytest.raises(RunNotFound):
        await house.runs.is_open(key)


@pytest.mark.parametrize("name", ["ada", "acc-ada", "ada@example.com", "grace@example.com"])
async def test_who_calls_himself_like_a_commander_is_none(house: House, name: str) -> None:
    impostor = Person(name=name, aliases=("acc-mallory",))
    assert "That is for those" in await house.say(house.ticket(), "/sdlc start", author=impostor)
    assert "That is for those" in await house.say(house.ticket(), "/sdlc start", author=Person(name=name))


async def test_whom_the_tracker_lets_may_command(house: House) -> None:
    house.tracker.writers.add("acc-eve")
    assert "has started" in await house.say(house.ticket(), "/sdlc start", author=EVE)


def test_a_person_is_known_by_accounts_and_named_so_that_nobody_is_taken_for_another() -> None:
    assert named(ADA, PEOPLE, "jira").name == "ada"
    impostor = Person(name="ada", aliases=("acc-mallory",))
    assert named(impostor, PEOPLE, "jira").name == "acc-mallory"
    assert named(EVE, PEOPLE, "jira") == EVE
    assert named(Person(name="ghost"), PEOPLE, "jira").name == "ghost"
    assert named(Person(name="ada"), PEOPLE, "jira").name == "somebody"
    login = Person(name="ada-gh", aliases=("ada-gh",))
    assert named(login, PEOPLE, "github").name == "ada"
    # The same word as an account of another service is somebody else.
    assert named(login, PEOPLE, "jira").name == "somebody"


# --- what triggers nothing ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "more", "did"),
    [
        ("/sdlc start", {"ours": True}, "is ours"),
        ("/sdlc start", {"answered": True}, "is answered already"),
        ("I would write `/sdlc start`.", {}, "is no command"),
        ("> /sdlc start", {}, "is no command"),
    ],
)
async def test_own_answered_and_other_comments_lead_to_nothing(
    house: House, body: str, more: dict[str, bool], did: str
) -> None:
    comment = house.tracker.say(house.ticket(), body, **more)
    handled = await house.deliver(of(comment))
    assert did in handled.did[0]
    assert house.tracker.replies == {}
    with pytest.raises(RunNotFound):
        await house.runs.is_open(comment.ticket_key)


async def test_a_comment_that_is_gone_by_now_leads_to_nothing(house: House) -> None:
    comment = house.tracker.say(house.ticket(), "/sdlc start")
    house.tracker.comments.clear()
    assert "is gone" in (await house.deliver(of(comment))).did[0]


# --- steering -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.START])
async def test_without_a_run_every_command_says_how_to_start_one(house: House, verb: Verb) -> None:
    key = house.ticket()
    assert await house.say(key, f"/sdlc {verb.value} x") == f"There is no run for {key}; `/sdlc start` starts one."


async def test_an_unknown_command_is_answered_with_those_there_are(house: House) -> None:
    reply = await house.say(house.ticket(), "/sdlc deploy <b>now</b>")
    assert all(f"`/sdlc {verb.value}`" in reply for verb in Verb)
    assert "deploy" not in reply


async def test_status_says_state_step_what_it_waits_for_pull_request_and_cost(house: House) -> None:
    key = house.ticket()
    await house.running(key)
    await house.until(key, RunState.AWAITING_APPROVAL)
    reply = await house.say(key, "/sdlc status")
    assert f"The run for {key} is awaiting approval, at step 16 of 17: Await approval." in reply
    assert "It waits for" in reply
    assert f"[Pull request {PULL_REQUEST.number}]({PULL_REQUEST.url})" in reply
    assert "model call" in reply


async def test_pause_instruct_and_resume_reach_the_run_with_the_name_of_the_person(house: House) -> None:
    key = house.ticket()
    await house.running(key)
    await house.until(key, RunState.AWAITING_APPROVAL)
    assert "It halts" in await house.say(key, "/sdlc pause until Monday")
    assert "passed on to the engine" in await house.say(key, "/sdlc instruct use Decimal\nand test it")
    assert "It goes on" in await house.say(key, "/sdlc resume")
    audit = await house.audited(key)
    assert ("pause", "ada", "until Monday") in audit
    assert ("inject_instruction", "ada", "use Decimal\nand test it") in audit
    assert ("resume", "ada", "") in audit
    assert "Say what" in await house.say(key, "/sdlc instruct")


async def test_retry_lets_a_run_in_trouble_go_on_with_the_instruction(temporal_settings: Settings) -> None:
    red = Script(tests=lambda kind, number: TestOutcome.FAILED if number <= 1 else TestOutcome.PASSED)
    async with at_home(temporal_settings, red) as house:
        key = house.ticket()
        await house.running(key, max_fix_rounds=0)
        await house.until(key, RunState.NEEDS_ATTENTION)
        house.tracker.lose_answer_of.add("*")  # the reply is written, and its answer lost
        assert await house.say(key, "/sdlc retry keep the old name") == "The run goes on."
        assert house.tracker.edits == []  # answered by then: what comes again does nothing
        retries = [one for one in await house.audited(key) if one[0] == "retry"]
        assert retries == [("retry", "ada", "keep the old name")]


async def test_a_command_whose_reply_failed_is_obeyed_once_and_answered_as_at_first(
    temporal_settings: Settings,
) -> None:
    red = Script(tests=lambda kind, number: TestOutcome.FAILED if number <= 1 else TestOutcome.PASSED)
    async with at_home(temporal_settings, red) as house:
        key = house.ticket()
        await house.running(key, max_fix_rounds=0)
        await house.until(key, RunState.NEEDS_ATTENTION)
        house.tracker.fail("reply", *[ServiceUnavailable("Jira has a bad minute.", retry_after=0.3)] * 2)
        assert await house.say(key, "/sdlc retry") == "The run goes on."
        house.tracker.fail("reply", ServiceUnavailable("Jira has a bad minute.", retry_after=0.05))
        await house.say(key, "/sdlc pause")
        audit = [one[0] for one in await house.audited(key)]
        assert (audit.count("retry"), audit.count("pause")) == (1, 1)


async def test_retry_of_a_run_that_waits_for_approval_is_refused_in_its_own_words(house: House) -> None:
    key = house.ticket()
    await house.running(key)
    await house.until(key, RunState.AWAITING_APPROVAL)
    reply = await house.say(key, "/sdlc retry make it shorter")
    assert "The run does not need attention now; it is awaiting approval." in reply
    assert "by a review of the pull request" in reply
    assert "shorter" not in reply


async def test_a_comment_approves_the_head_that_it_names_and_no_other(house: House) -> None:
    key = house.ticket()
    await house.running(key, approval=ApprovalPolicy())
    waiting = await house.until(key, RunState.AWAITING_APPROVAL)
    assert waiting.change is not None
    head = waiting.change.head_sha[:10]
    assert f"`/sdlc approve {head}` approves it." in await house.say(key, "/sdlc status")
    for unclear in ("/sdlc approve", "/sdlc approve looks good", "/sdlc approve 000000"):
        reply = await house.say(key, unclear, author=GRACE)
        assert reply == f"Say which head: `/sdlc approve {head}` approves what waits now. Look at it first."
    assert "look at it again" in await house.say(key, f"/sdlc approve {'f' * 10}", author=GRACE)
    assert "started this run" in await house.say(key, f"/sdlc approve {head}")
    assert (await house.runs.progress(key)).state is RunState.AWAITING_APPROVAL
    assert await house.say(key, f"/sdlc approve {head} well done", author=GRACE) == "approve: counted."
    await house.until(key, RunState.CLOSED)
    (counted,) = [one for one in await house.runs.audit(key) if one.event == "approve" and one.accepted]
    assert (counted.by, counted.source, counted.detail) == ("grace@example.com", "tracker", "well done")


async def test_changes_are_asked_for_and_rejected_by_comment_with_a_reason(house: House) -> None:
    key = house.ticket()
    await house.running(key)
    await house.until(key, RunState.AWAITING_APPROVAL)
    assert "Say why" in await house.say(key, "/sdlc request-changes", author=GRACE)
    assert "counted" in await house.say(key, "/sdlc request-changes name the unit", author=GRACE)
    while (progress := await house.runs.progress(key)).revisions == 0 or progress.state is RunState.RUNNING:
        await asyncio.sleep(0.05)
    assert "name the unit" in "".join(one.comment for brief in house.stage.briefs[1:] for one in brief.decisions)
    assert "Say why" in await house.say(key, "/sdlc reject", author=GRACE)
    assert "counted" in await house.say(key, "/sdlc reject not wanted any more", author=GRACE)
    await house.until(key, RunState.REJECTED)


async def test_who_is_asked_by_name_may_decide_and_do_nothing_else(house: House) -> None:
    key = house.ticket()
    await house.running(key, approval=ApprovalPolicy(approvers=("acc-eve",)))
    waiting = await house.until(key, RunState.AWAITING_APPROVAL)
    assert waiting.change is not None
    approve = f"/sdlc approve {waiting.change.head_sha[:10]}"
    impostor = Person(name="acc-eve", aliases=("acc-mallory",))
    assert "That is for those" in await house.say(key, approve, author=impostor)
    assert "That is for those" in await house.say(key, "/sdlc pause", author=EVE)
    assert "may not decide here" in await house.say(key, approve, author=GRACE)
    assert "counted" in await house.say(key, approve, author=EVE)
    await house.until(key, RunState.CLOSED)


async def test_cancel_ends_a_run_and_later_words_find_it_over(house: House) -> None:
    key = house.ticket()
    await house.running(key)
    await house.until(key, RunState.AWAITING_APPROVAL)
    assert "The run ends" in await house.say(key, "/sdlc cancel not needed")
    progress = await house.until(key, RunState.ABORTED)
    assert progress.state.is_over
    assert ("abort", "ada", "not needed") in await house.audited(key)
    for word in ("pause", "retry", "cancel"):
        assert "is over" in await house.say(key, f"/sdlc {word}")
    assert "is aborted" in await house.say(key, "/sdlc status")
    assert "has started" in await house.say(key, "/sdlc start")


async def test_a_text_that_is_too_long_is_cut_and_the_reply_says_so(house: House) -> None:
    key = house.ticket()
    await house.running(key)
    await house.until(key, RunState.AWAITING_APPROVAL)
    assert "its end was left out" in await house.say(key, "/sdlc instruct " + "x" * 65_537)


# --- trouble --------------------------------------------------------------------------------------


async def test_what_is_nobodys_bug_ends_the_workflow_with_a_result(house: House) -> None:
    house.tracker.fail("comment_on", PermissionDenied("We may not see ACME-1; grant Browse Projects."))
    comment = house.tracker.say(house.ticket(), "/sdlc start")
    handled = await house.deliver(of(comment))
    assert handled.did == ("refused: We may not see ACME-1; grant Browse Projects.",)


async def test_what_was_refused_to_us_is_told_to_who_asked(house: House) -> None:
    house.tracker.fail("may_command", PermissionDenied("We may not read groups; grant Browse users and groups."))
    reply = await house.say(house.ticket(), "/sdlc start", author=EVE)
    assert reply == "That was not done. We may not read groups; grant Browse users and groups."


async def test_a_service_that_is_away_is_asked_again_when_it_says(house: House) -> None:
    house.tracker.fail("comment_on", *[ServiceUnavailable("429", retry_after=0.05)] * 4)
    assert "has started" in await house.say(house.ticket(), "/sdlc start")


async def test_a_bug_of_ours_is_no_result(house: House) -> None:
    house.tracker.fail("comment_on", RuntimeError("a bug"))
    delivery = of(house.tracker.say(house.ticket(), "/sdlc start"))
    await Deliveries(house.client, house.settings.temporal.task_queue).keep(delivery)
    handle = house.handle(delivery)
    async with asyncio.timeout(20):
        while True:
            pending = (await handle.describe()).raw_description.pending_activities
            if pending and pending[0].HasField("last_failure"):
                break
            await asyncio.sleep(0.05)
    assert pending[0].last_failure.message == "RuntimeError: a bug"
    await handle.terminate("the test is over")


async def test_what_became_of_a_delivery_is_seen_in_temporals_ui(house: House) -> None:
    key = house.ticket()
    delivery = of(house.tracker.say(key, "/sdlc status"))
    handled = await house.deliver(delivery)
    description = await house.handle(delivery).describe()
    assert key in (await description.static_summary() or "")
    assert handled.did == (f"{key}: no open run to status",)


# --- tickets --------------------------------------------------------------------------------------


async def test_a_ticket_that_is_wanted_is_started_in_the_name_of_who_wanted_it(house: House) -> None:
    key = house.ticket(wanted=True)
    assert (await house.deliver(about(key))).did == (f"started {key}",)
    await house.until(key, RunState.AWAITING_APPROVAL)
    description = await house.client.get_workflow_handle(workflow_id(key)).describe()
    assert (await description.memo())["starter"] == "ada"


async def test_a_ticket_that_is_not_wanted_or_not_to_be_taken_unasked_is_left_alone(
    temporal_settings: Settings,
) -> None:
    async with at_home(temporal_settings, take_next=False) as house:
        for key in (house.ticket(), house.ticket(wanted=True)):
            assert (await house.deliver(about(key))).did == (f"{key} is not to be taken",)
            with pytest.raises(RunNotFound):
                await house.runs.is_open(key)


async def test_an_open_run_is_told_that_its_ticket_changed(house: House) -> None:
    key = house.ticket(wanted=True)
    await house.running(key)
    await house.until(key, RunState.AWAITING_APPROVAL)
    assert (await house.deliver(about(key))).did == (f"told the run for {key}",)
    assert "ticket_changed" in await house.signals(key)


async def test_a_run_that_was_cancelled_does_not_begin_again_by_itself(house: House) -> None:
    """Its claim is given back, so the ticket is offered again at once, for ever."""
    key = house.ticket(wanted=True)
    await house.deliver(about(key))
    await house.until(key, RunState.AWAITING_APPROVAL)
    await house.say(key, "/sdlc cancel")
    await house.until(key, RunState.ABORTED)
    for _ in range(2):
        assert (await house.deliver(about(key))).did == (f"{key} was not taken: a run for it has ended.",)
    assert (await house.runs.progress(key)).state is RunState.ABORTED
    [told] = house.tracker.told.values()
    assert "`/sdlc start` starts another" in told


async def test_a_ticket_that_is_done_by_now_is_left_alone_without_a_word(house: House) -> None:
    key = house.ticket(wanted=True, status="Done")
    assert (await house.deliver(about(key))).did == (f"{key} is Done.",)
    assert house.tracker.told == {}


async def test_a_ticket_of_another_tracker_is_none_of_ours(house: House) -> None:
    comment = house.tracker.say(house.ticket(wanted=True), "/sdlc start")
    for delivery in (of(comment), about(comment.ticket_key)):
        handled = await house.deliver(delivery.model_copy(update={"source": "github"}))
        assert handled.did == ("tickets are kept elsewhere",)
    assert house.tracker.calls == []


async def test_an_offered_ticket_without_a_repository_is_told_on_the_ticket_once(
    temporal_settings: Settings,
) -> None:
    async with at_home(temporal_settings, repositories=()) as house:
        key = house.ticket(wanted=True)
        for _ in range(2):
            assert "No repository is configured" in (await house.deliver(about(key))).did[0]
        assert len(house.tracker.told) == 1


async def test_no_more_runs_are_begun_unasked_than_may_be_open(temporal_settings: Settings) -> None:
    async with at_home(temporal_settings, max_open_runs=1) as house:
        busy, key = house.ticket(), house.ticket(wanted=True)
        await house.running(busy)
        await until_listed(house, busy)
        handled = await house.deliver(about(key))
        assert handled.did == (f"{key} has to wait: 1 runs are open.",)
        assert "has started" in await house.say(key, "/sdlc start")  # who asks is not bound by it


async def until_listed(house: House, key: str, seconds: float = 20) -> RunRow:
    async with asyncio.timeout(seconds):
        while True:
            for row in await house.runs.list(include_closed=False, limit=100):
                if row.ticket_key == key:
                    return row
            await asyncio.sleep(0.1)


# --- pull requests --------------------------------------------------------------------------------


async def test_the_run_of_a_pull_request_is_told_to_look(house: House) -> None:
    key = house.ticket()
    await house.running(key)
    progress = await house.until(key, RunState.AWAITING_APPROVAL)
    await until_listed(house, key)
    assert progress.change is not None
    name = progress.repository
    looked = house.stage.count("look_at_pull_request")
    head = progress.change.head_sha
    told = await house.deliver(on_pull_request(repository=f"acme/{name}", number=1, head_sha=head))
    assert told.did == ("no open run is about it",)  # `parcel` is not `acme/parcel`
    told = await house.deliver(on_pull_request(repository=f"forge/{name}", head_sha=head, number=1))
    assert f"told the run for {key}" in told.did
    checks = on_pull_request(kind="checks", repository=f"forge/{name}", head_sha=head)
    assert f"told the run for {key}" in (await house.deliver(checks)).did
    signals = await house.signals(key)
    assert "pull_request_changed" in signals
    assert "ci_changed" in signals
    async with asyncio.timeout(20):
        while house.stage.count("look_at_pull_request") == looked:
            await asyncio.sleep(0.05)


CHANGE = ChangeSet(
    repository=Repository(url="https://github.com/Acme/Parcel.git", name="", base_branch="main", base_sha="b" * 40),
    base_sha="b" * 40,
    head_sha="a" * 40,
    branch="sdlc/ACME-1-rounding",
)
SHOWN = RunProgress(workflow_id="sdlc-ACME-1", ticket_key="ACME-1", change=CHANGE, pull_request=PULL_REQUEST)


@pytest.mark.parametrize(
    ("delivery", "concerned"),
    [
        ({"number": 1}, True),
        ({"number": 2}, False),
        ({"branch": "sdlc/ACME-1-rounding"}, True),
        ({"branch": "main"}, False),
        ({"head_sha": "a" * 40}, True),
        ({"head_sha": "c" * 40}, False),
        ({}, False),
        ({"repository": "ACME/parcel", "number": 1}, True),
        ({"repository": "acme/parcels", "number": 1}, False),
        ({"repository": "parcel", "number": 1}, True),
        ({"repository": "el", "number": 1}, False),
        ({"repository": "", "number": 1}, False),
    ],
)
def test_a_pull_request_is_a_runs_by_repository_and_number_branch_or_head(
    delivery: dict[str, Any], concerned: bool
) -> None:
    assert is_about(on_pull_request(**{"repository": "acme/parcel", **delivery}), SHOWN) is concerned


def test_a_run_that_has_not_opened_its_repository_yet_is_known_by_what_was_given() -> None:
    early = RunProgress(workflow_id="sdlc-ACME-1", ticket_key="ACME-1", repository="acme/parcel")
    assert not is_about(on_pull_request(repository="acme/parcel", number=1), early)


# --- poll -----------------------------------------------------------------------------------------


async def test_a_poll_finds_the_commands_that_no_webhook_told_once(temporal_settings: Settings) -> None:
    async with at_home(temporal_settings, take_next=False) as house:
        key = house.ticket()
        missed = house.tracker.say(key, "/sdlc start")
        for body, more in (
            ("/sdlc cancel", {"created": AGES_AGO}),
            ("/sdlc cancel", {"ours": True}),
            ("/sdlc cancel", {"answered": True}),
            ("`/sdlc cancel`", {}),
        ):
            house.tracker.say(key, body, **more)
        assert (await house.poll()).did == (f"found comment {missed.comment_id} on {key}",)
        handled = await asyncio.wait_for(house.handle(of(missed)).result(), 30)
        assert handled.did == (f"started {key}",)
        assert (await house.poll()).did == ()
        assert house.tracker.replies.keys() == {missed.comment_id}
        # The webhook that was late.
        assert not await Deliveries(house.client, house.settings.temporal.task_queue).keep(of(missed))


async def test_a_poll_reads_no_more_comments_than_it_can_hand_on(
    temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_poll, "MOST_COMMENTS", 2)
    async with at_home(temporal_settings, take_next=False) as house:
        said = [house.tracker.say(house.ticket(), "/sdlc status") for _ in range(3)]
        found = (await house.poll()).did
        assert [comment.comment_id in " ".join(found) for comment in said] == [True, True, False]


async def test_a_poll_nudges_a_run_whose_pull_request_has_changed_and_no_other(temporal_settings: Settings) -> None:
    seen = Script(news=lambda number, news: news.model_copy(update={"mark": "seen"}))
    async with at_home(temporal_settings, seen, take_next=False) as house:
        key = house.ticket()
        await house.running(key)
        await house.until(key, RunState.AWAITING_APPROVAL)
        await until_listed(house, key)
        await until_mark(house, key, "seen")
        before = (await house.signals(key)).count("pull_request_changed")
        for mark, did in (("", ()), ("seen", ())):
            house.forge.marks["any"] = mark
            assert (await house.poll()).did == did
        assert (await house.signals(key)).count("pull_request_changed") == before
        house.forge.marks["any"] = "changed"
        assert (await house.poll()).did == (f"told the run for {key} that its pull request has changed",)
        assert (await house.signals(key)).count("pull_request_changed") == before + 1


async def until_mark(house: House, key: str, mark: str, seconds: float = 20) -> None:
    handle = house.client.get_workflow_handle(workflow_id(key))
    async with asyncio.timeout(seconds):
        while await handle.query("pull_request_mark", result_type=str) != mark:
            await handle.signal("pull_request_changed", {"reason": "the test"})
            await asyncio.sleep(0.2)


async def test_a_poll_takes_the_next_tickets_up_to_the_bound(temporal_settings: Settings) -> None:
    async with at_home(temporal_settings, max_open_runs=2) as house:
        first, second, third = (house.ticket(wanted=True) for _ in range(3))
        assert (await house.poll()).did == (f"started {first}", f"started {second}")
        await until_listed(house, first)
        await until_listed(house, second)
        assert (await house.poll()).did == ()
        with pytest.raises(RunNotFound):
            await house.runs.is_open(third)


async def test_a_ticket_that_can_not_be_taken_stands_in_nobodys_way(temporal_settings: Settings) -> None:
    async with at_home(temporal_settings, max_open_runs=1) as house:
        done, next_one = house.ticket(wanted=True, status=TicketStatus.DONE), house.ticket(wanted=True)
        assert (await house.poll()).did == (f"{done} is Done.", f"started {next_one}")


async def test_a_part_of_a_poll_that_fails_keeps_no_other_from_its_work(house: House) -> None:
    key = house.ticket(wanted=True)
    house.tracker.fail("comments_since", ServiceUnavailable("Jira has a bad minute.", retry_after=0.05))
    missed = house.tracker.say(house.ticket(), "/sdlc status")
    handled = await house.poll()
    # The first try started the run, and failed for the rest's sake; the second found what was left.
    assert handled.did == (f"found comment {missed.comment_id} on {missed.ticket_key}", f"{key} has an open run.")
    assert await house.runs.is_open(key)


async def test_what_only_a_person_can_mend_is_told_by_a_poll_and_does_not_end_it(house: House) -> None:
    key = house.ticket(wanted=True)
    house.tracker.fail("comments_since", PermissionDenied("We may not search; grant Browse Projects."))
    handled = await house.poll()
    assert handled.did == ("refused: We may not search; grant Browse Projects.", f"started {key}")


async def test_a_tracker_that_tells_nothing_is_polled_for_tickets_alone(temporal_settings: Settings) -> None:
    class Silent(Failing):
        def __init__(self) -> None:
            super().__init__()
            self.inner = MemoryTracker()

        def add(self, key: str, **more: Any) -> str:
            return self.inner.add(key, **more)

        async def next_key(self, *, besides: Collection[str] = ()) -> str | None:
            return await self.inner.next_key(besides=besides)

        async def ticket(self, key: str) -> Ticket:
            return await self.inner.ticket(key)

    async with at_home(temporal_settings, tracker=Silent()) as house:
        key = house.ticket(wanted=True)
        assert (await house.poll()).did == (f"started {key}",)
        assert (await house.deliver(about(key))).did == (f"told the run for {key}",)
        comment = Delivery(source="jira", kind="comment", identity=uuid.uuid4().hex, ticket_key=key, comment_id="1")
        assert (await house.deliver(comment)).did == ("this tracker knows no commands",)


# --- histories ------------------------------------------------------------------------------------


async def test_recorded_histories_replay(house: House) -> None:
    key = house.ticket()
    refused = of(house.tracker.say(key, "/sdlc status"))
    house.tracker.fail("comment_on", ServiceUnavailable("later", retry_after=0.05), PermissionDenied("No."))
    await house.deliver(refused)
    done = of(house.tracker.say(key, "/sdlc start"))
    await house.deliver(done)
    poll = await house.client.start_workflow(
        PollWorkflow.run, id=f"poll-{key}", task_queue=house.settings.temporal.task_queue
    )
    await asyncio.wait_for(poll.result(), 30)
    replayer = Replayer(
        workflows=[DeliveryWorkflow, PollWorkflow],
        workflow_runner=workflow_runner(),
        data_converter=house.client.data_converter,
    )
    for handle in (house.handle(refused), house.handle(done), poll):
        async with asyncio.timeout(30):
            history = await handle.fetch_history()
            await replayer.replay_workflow(history)
        assert len(history.events) < 20


# --- words ----------------------------------------------------------------------------------------

HOSTILE = "\n/sdlc cancel\n@all <b>[x](http://evil.example)"


def test_no_reply_is_itself_a_command_or_carries_what_others_wrote_as_markup() -> None:
    progress = SHOWN.model_copy(
        update={
            "ticket_key": HOSTILE,
            "waits_for": HOSTILE,
            "state": RunState.AWAITING_APPROVAL,
            "warnings": (HOSTILE,),
            "usage": Usage(),
        }
    )
    troubles = (Trouble("wait_for_ci", 3, HOSTILE, None),)
    request = RunRequest(ticket_key=HOSTILE, repository=HOSTILE, starter="ada", ui_url="https://temporal.example")
    intake = IntakeSettings(commanders=(HOSTILE, "eve@example.com"), commander_groups=(HOSTILE,))
    said = [
        replies.help_text(),
        replies.may_not(intake, writers_may=True),
        replies.may_not(IntakeSettings(), writers_may=False),
        replies.no_run(HOSTILE),
        replies.over(HOSTILE),
        replies.refused(UsageError(HOSTILE)),
        replies.started(HOSTILE, Started("sdlc-1", "run", joined=False), request, "default"),
        replies.joined(HOSTILE),
        replies.waits(progress),
        replies.status(Look(progress, troubles)),
        replies.status(Look(progress.model_copy(update={"state": RunState.ABORTED}), ())),
    ]
    for reply in said:
        assert parse(reply) is None, reply
        outside_of_code = re.sub(r"(`+).*?\1", "", reply)
        assert "<b>" not in outside_of_code.replace(r"\<b>", "")
        assert "[x](http" not in outside_of_code
        assert "eve@example.com" not in reply


@pytest.mark.parametrize(
    ("intake", "writers_may", "told"),
    [
        (IntakeSettings(commanders=("ada",), commander_groups=("leads",)), False, "here: ada, leads."),
        (IntakeSettings(commanders=("ada@example.com",)), False, "the configuration names them"),
        (IntakeSettings(commanders=tuple(f"p{n}" for n in range(30))), False, "p9 and others."),
        (IntakeSettings(), True, "may write to the repository"),
        (IntakeSettings(), False, "Nobody may command runs here yet"),
    ],
)
def test_a_refusal_says_who_may(intake: IntakeSettings, writers_may: bool, told: str) -> None:
    assert told in replies.may_not(intake, writers_may=writers_may)


@pytest.mark.parametrize("step", list(Step))
def test_status_names_every_step(step: Step) -> None:
    assert step.title in replies.status(Look(SHOWN.model_copy(update={"step": step.key}), ()))


def test_a_summary_names_what_a_delivery_is_about() -> None:
    assert summary_of(about("ACME-1")) == "jira ticket: ACME-1"
    assert summary_of(on_pull_request(repository="acme/parcel", number=3)) == "github pull request: acme/parcel 3"
    checks = on_pull_request(kind="checks", repository="acme/parcel", branch="sdlc/x")
    assert summary_of(checks) == "github checks: acme/parcel sdlc/x"


# --- a Jira ---------------------------------------------------------------------------------------


@pytest.fixture(params=["cloud", "datacenter"])
def jira(request: pytest.FixtureRequest) -> Iterator[JiraServer]:
    with JiraServer(request.param) as server:
        # Temporal, which all tests of a process share, knows deliveries by the ids of comments.
        server.state._ids = itertools.count(uuid.uuid4().int % 10**9)
        yield server


def tracker_of(jira: JiraServer, groups: tuple[str, ...] = ()) -> JiraTracker:
    token = jira.users["bot"].bearer
    more: dict[str, Any] = {}
    if jira.flavour == "cloud":
        more["email"], token = jira.login()
    return JiraTracker(JiraSettings(url=jira.url, token=SecretStr(token), **more), commander_groups=groups)


def identity_of(jira: JiraServer, name: str) -> str:
    return jira.users[name].account_id if jira.flavour == "cloud" else name


def typed(jira: JiraServer, *lines: str) -> Any:
    """As the editor of this server saves what somebody typed, with a forced break between the lines."""
    if jira.flavour != "cloud":
        return "\r\n".join(lines)
    nodes: list[dict[str, Any]] = []
    for line in lines:
        nodes += [*([{"type": "hardBreak"}] if nodes else []), {"type": "text", "text": line}]
    return {"version": 1, "type": "doc", "content": [{"type": "paragraph", "content": nodes}]}


def shown(jira: JiraServer, key: str) -> list[str]:
    return [rich_text(one.body, is_cloud=jira.flavour == "cloud") for one in jira.comments(key)]


async def test_a_comment_in_jira_starts_a_run_and_is_answered_once_although_the_connection_broke(
    temporal_settings: Settings, jira: JiraServer
) -> None:
    tracker = tracker_of(jira)
    async with at_home(temporal_settings, tracker=tracker, commanders=(identity_of(jira, "alice"),)) as house:
        key = house.named_ticket()
        jira.add_issue(key, "Rounds half a cent down", labels=["ai-ready"])
        comment = jira.comment_as("alice", key, typed(jira, "/sdlc start", "and thanks"))
        jira.fail(Fault("reset", where=on("POST", "/comment"), after=True))
        delivery = Delivery(
            source="jira",
            kind="comment",
            identity=f"comment-{comment.id}",
            ticket_key=key,
            comment_id=comment.id,
        )
        await house.deliver(delivery)
        assert jira.faults.waiting == 0
        assert await house.runs.is_open(key)
        assert len(shown(jira, key)) == 2
        assert "run for" in shown(jira, key)[1].replace("\\", "")
        history = await house.client.get_workflow_handle(workflow_id(key)).fetch_history()
        payload = history.events[0].workflow_execution_started_event_attributes.input.payloads[0]
        [request] = await house.client.data_converter.decode([payload], [RunRequest])
        assert request.starter == "Alice Archer"
        assert identity_of(jira, "alice") in request.starter_aliases
        assert identity_of(jira, "bot") in request.policy.approval.bot_aliases
        await house.poll()  # finds it again, answered
        assert len(shown(jira, key)) == 2


async def test_in_jira_a_group_may_command_and_a_display_name_gives_no_right(
    temporal_settings: Settings, jira: JiraServer
) -> None:
    tracker = tracker_of(jira, groups=("developers",))
    async with at_home(temporal_settings, tracker=tracker, take_next=False, commanders=("Alice Archer",)) as house:
        key = house.named_ticket()
        jira.add_issue(key, "Rounds half a cent down", labels=["ai-ready"])
        jira.users["carol"].display_name = "Alice Archer"
        refused = jira.comment_as("carol", key, typed(jira, "/sdlc start"))
        found = await house.poll()
        assert found.did == (f"found comment {refused.id} on {key}",)
        await house.settled(refused.id)
        assert shown(jira, key)[1].startswith("That is for those who may command runs here: Alice Archer")
        with pytest.raises(RunNotFound):
            await house.runs.is_open(key)
        allowed = jira.comment_as("bob", key, typed(jira, "/sdlc start"))
        await house.poll()
        await house.settled(allowed.id)
        assert await house.runs.is_open(key)
        assert len(shown(jira, key)) == 4
