"""Steps 1 and 12 to 17 on the real embedded tracker and forge, each effect also when it is done twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from temporalio.testing import ActivityEnvironment

from sdlc import activities as do
from sdlc.config import Settings
from sdlc.domain import (
    ApprovalDecision,
    ArtifactRef,
    ChangeSet,
    CiState,
    DecisionKind,
    Finding,
    Panel,
    PanelReport,
    PanelState,
    PullRequestState,
    RunIdentity,
    Severity,
    TicketStatus,
    Usage,
)
from sdlc.errors import BranchConflict, ServiceUnavailable, TicketNotFound, TicketTaken
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.integrations.git import Git
from sdlc.integrations.local_forge import LocalForge
from sdlc.integrations.local_tracker import LocalTracker
from sdlc.integrations.notify import LocalNotifier
from sdlc.integrations.services import Services
from sdlc.naming import branch_name
from sdlc.steps import pull_request as pull_request_steps
from sdlc.steps.approval import ApprovalSteps
from sdlc.steps.close_story import CloseSteps
from sdlc.steps.pull_request import PullRequestSteps
from sdlc.steps.select_task import SelectSteps

RUN = RunIdentity(workflow_id="sdlc-BUG-1", run_id="r1", ticket_key="BUG-1", link="http://localhost:8233/run")
T = TypeVar("T")


def git(folder: Path, *arguments: str) -> str:
    person = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    done = subprocess.run(["git", *person, *arguments], cwd=folder, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class House:
    """Services on folders, and a run that has come to its step 12."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin = folder / "parcel"
        self.origin.mkdir()
        git(self.origin, "init", "-q", "-b", "main")
        self.commit("one\n")
        (folder / "tickets").mkdir()
        (folder / "tickets" / "BUG-1.md").write_text("---\nlabels: [bug]\n---\n# Rounds down\n\nIt is wrong.\n")
        self.tracker = LocalTracker(folder / "tickets")
        self.forge = LocalForge(folder / "forge", git=Git(home=folder / "git-home"))
        self.artifacts = ArtifactStore(folder / "artifacts")
        absent = cast(Any, None)
        self.services = Services(
            settings=Settings(),
            tracker=self.tracker,
            forge=self.forge,
            notifier=LocalNotifier(folder),
            workspaces=absent,
            sandbox=absent,
            environments=absent,
            artifacts=self.artifacts,
            models=absent,
        )
        self.select = SelectSteps(self.services)
        self.pull_requests = PullRequestSteps(self.services)
        self.approval = ApprovalSteps(self.services)
        self.close = CloseSteps(self.services)

    def commit(self, text: str) -> str:
        (self.origin / "a.txt").write_text(text)
        git(self.origin, "add", "-A")
        git(self.origin, "commit", "-q", "-m", "work")
        return git(self.origin, "rev-parse", "HEAD")

    async def evidence(self, **more: Any) -> do.Evidence:
        ticket = await act(self.select.select_task, do.SelectTask(run=RUN, claimant="sdlc-bot"))
        repository = await act(self.select.open_repository, do.OpenRepository(origin=str(self.origin)))
        head = git(Path(repository.url), "commit-tree", "main^{tree}", "-p", "main", "-m", "fix")
        git(Path(repository.url), "update-ref", "refs/sdlc/r1/1", head)
        change = ChangeSet(
            repository=repository,
            base_sha=repository.base_sha,
            head_sha=head,
            branch=branch_name(ticket),
            files_changed=1,
        )
        usual = {"run": RUN, "ticket": ticket, "change": change, "usage": Usage(model_calls=2, usd=None)}
        return do.Evidence(**(usual | more))

    def notices(self) -> list[str]:
        file = self.folder / "notices.jsonl"
        return [json.loads(line)["event"] for line in file.read_text().splitlines()] if file.exists() else []

    def comments(self) -> str:
        return (self.folder / "tickets" / "BUG-1.comments.md").read_text()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def act(activity: Callable[[Any], Awaitable[T]], request: Any, *, attempt: int = 1) -> T:
    """Run an activity as a worker does, with an end to it."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt)
    async with asyncio.timeout(60):
        return await environment.run(activity, request)


async def twice(activity: Callable[[Any], Awaitable[T]], request: Any) -> T:
    """The activity was done and its answer lost."""
    first = await act(activity, request)
    second = await act(activity, request)
    assert first == second
    return second


def test_every_activity_of_the_catalogue_here_is_offered_under_its_name(house: House) -> None:
    rooms = (house.select, house.pull_requests, house.approval, house.close)
    names = {
        cast(Any, activity).__temporal_activity_definition.name for room in rooms for activity in room.activities()
    }
    expected = (
        do.SELECT_TASK, do.REFRESH_TICKET, do.OPEN_REPOSITORY, do.CREATE_PULL_REQUEST, do.WAIT_FOR_CI,
        do.PUBLISH_REVIEWS, do.REQUEST_APPROVAL, do.RECORD_DECISION, do.TELL_PEOPLE, do.CLOSE_STORY, do.RELEASE_RUN,
            do.LOOK_AT_PULL_REQUEST, do.SAY_ON_PULL_REQUEST, do.CODE_OWNERS, do.ANNOUNCE,
    )  # fmt: skip
    assert names == {activity.name for activity in expected}


async def test_a_ticket_is_claimed_once_and_read_again_later(house: House) -> None:
    request = do.SelectTask(run=RUN, claimant="sdlc-bot")
    ticket = await twice(house.select.select_task, request)
    now = await twice(house.select.refresh_ticket, request)

    assert ticket.status == TicketStatus.IN_PROGRESS
    assert now.revision == ticket.revision
    assert house.comments().count("Taken up") == 1
    other = RUN.model_copy(update={"workflow_id": "sdlc-else", "run_id": "r2"})
    with pytest.raises(TicketTaken):
        await act(house.select.select_task, do.SelectTask(run=other, claimant="sdlc-bot"))


async def test_a_story_from_its_pull_request_to_its_end_with_every_step_done_twice(house: House) -> None:
    before = (git(house.origin, "rev-parse", "HEAD"), git(house.origin, "status", "--porcelain"))
    evidence = await house.evidence()
    made = await twice(house.pull_requests.create_pull_request, evidence)
    on = do.OnPullRequest(evidence=evidence, pull_request=made)
    ci = await twice(house.pull_requests.wait_for_ci, on)
    await twice(house.pull_requests.publish_reviews, on)
    request = do.RequestApproval(evidence=evidence, pull_request=made, reviewers=("maria",))
    asked = await twice(house.approval.request_approval, request)
    told = do.Announce(event="needs_approval", title="BUG-1 waits", evidence=evidence, pull_request=asked)
    await twice(house.approval.announce, told)
    waiting = (await house.tracker.ticket("BUG-1")).status
    decision = ApprovalDecision(kind=DecisionKind.APPROVE, by="maria", head_sha=made.head_sha)
    repository = evidence.change.repository
    shown = do.RecordDecision(run=RUN, repository=repository, pull_request=asked, decision=decision)
    await twice(house.approval.record_decision, shown)
    close = do.CloseStory(evidence=evidence, pull_request=asked, approvals=(decision,), merge=True)
    closed = await twice(house.close.close_story, close)

    assert made.title == "fix: rounds down (BUG-1)"
    assert ci.state is CiState.NONE
    assert asked.state is PullRequestState.OPEN
    assert waiting == TicketStatus.IN_REVIEW
    assert closed.state is PullRequestState.MERGED
    ticket = await house.tracker.ticket("BUG-1")
    assert ticket.status == TicketStatus.DONE
    for said in ("Taken up", "waits for an approval", "cost unknown", "git pull"):
        assert house.comments().count(said) == 1
    assert house.notices() == ["needs_approval"]
    pulls = Path(repository.url).parent / "pulls"
    assert [path.name for path in pulls.iterdir()] == ["1"]
    assert "approve" in (pulls / "1" / "comments.md").read_text()
    assert git(Path(repository.url), "rev-parse", made.branch) == made.head_sha
    assert (git(house.origin, "rev-parse", "HEAD"), git(house.origin, "status", "--porcelain")) == before


async def test_without_a_merge_the_pull_request_stays_open_and_the_ticket_says_so(house: House) -> None:
    evidence = await house.evidence()
    made = await act(house.pull_requests.create_pull_request, evidence)
    closed = await act(house.close.close_story, do.CloseStory(evidence=evidence, pull_request=made))

    assert closed.state is PullRequestState.DRAFT
    assert "it was not merged" in house.comments()


async def test_a_merge_that_is_refused_leaves_the_ticket_as_it_is(house: House) -> None:
    evidence = await house.evidence()
    made = await act(house.pull_requests.create_pull_request, evidence)
    await house.forge.close(evidence.change.repository, made, reason="by hand", run=RUN)

    with pytest.raises(BranchConflict):
        await act(house.close.close_story, do.CloseStory(evidence=evidence, pull_request=made, merge=True))
    assert (await house.tracker.ticket("BUG-1")).status == TicketStatus.IN_PROGRESS


# --- checks and reviews ----------------------------------------------------------------------


async def test_checks_are_waited_for_until_they_have_ended(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_request_steps, "FIRST_POLL", 0.05)
    evidence = await house.evidence()
    made = await act(house.pull_requests.create_pull_request, evidence)
    checks = Path(made.url.removeprefix("file://")).with_name("checks.json")
    checks.write_text('{"state": "pending"}')
    request = do.OnPullRequest(evidence=evidence, pull_request=made)
    waiting = asyncio.create_task(act(house.pull_requests.wait_for_ci, request))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    checks.write_text('{"state": "red", "failures": [{"test": "build"}]}')

    assert (await waiting).failures[0].test == "build"


async def test_waiting_for_checks_ends_when_it_is_cancelled(house: House) -> None:
    evidence = await house.evidence()
    made = await act(house.pull_requests.create_pull_request, evidence)
    Path(made.url.removeprefix("file://")).with_name("checks.json").write_text('{"state": "pending"}')
    environment = ActivityEnvironment()
    request = do.OnPullRequest(evidence=evidence, pull_request=made)
    waiting = asyncio.create_task(environment.run(house.pull_requests.wait_for_ci, request))
    await asyncio.sleep(0.2)
    environment.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 5)


FINDING = Finding(
    panel=Panel.QUALITY, rule="lens:x", severity=Severity.MINOR, file="a.txt", message="m", fingerprint="f1"
)


def reported(ref: ArtifactRef | None, head: str) -> PanelReport:
    return PanelReport(panel=Panel.QUALITY, head_sha=head, state=PanelState.FINDINGS, findings=(FINDING,), report=ref)


async def test_findings_are_published_with_their_evidence_from_the_artifact(house: House) -> None:
    whole = FINDING.model_copy(update={"evidence": "f(0.125) == 0.12", "suggestion": "return 1"})
    dropped = whole.model_copy(update={"fingerprint": "f9", "message": "was dropped"})
    document = json.dumps({"findings": [one.model_dump(mode="json") for one in (whole, dropped)]})
    ref = await house.artifacts.put(document, name="report.json")
    evidence = await house.evidence()
    evidence = evidence.model_copy(update={"panel_reports": (reported(ref, evidence.change.head_sha),)})
    made = await act(house.pull_requests.create_pull_request, evidence)
    await twice(house.pull_requests.publish_reviews, do.OnPullRequest(evidence=evidence, pull_request=made))

    shown = Path(made.url.removeprefix("file://")).with_name("findings.md").read_text()
    assert shown.count("f(0.125) == 0.12") == 1
    assert "return 1" in shown
    assert "was dropped" not in shown
    statuses = json.loads(Path(made.url.removeprefix("file://")).with_name("statuses.json").read_text())
    assert statuses[made.head_sha]["sdlc/quality"]["state"] == "success"
    assert statuses[made.head_sha]["sdlc/security"]["state"] == "failure"


async def test_a_report_that_can_not_be_read_is_said_and_holds_nothing_up(house: House) -> None:
    evidence = await house.evidence()
    lost = ArtifactRef(sha256="0" * 64, size=1)
    evidence = evidence.model_copy(update={"panel_reports": (reported(lost, evidence.change.head_sha),)})
    made = await act(house.pull_requests.create_pull_request, evidence)
    await act(house.pull_requests.publish_reviews, do.OnPullRequest(evidence=evidence, pull_request=made))

    folder = Path(made.url.removeprefix("file://")).parent
    assert "lens:x" in (folder / "findings.md").read_text()
    assert "could not be read from the artifacts: quality" in (folder / "comments.md").read_text()


# --- telling, releasing ----------------------------------------------------------------------


async def test_people_are_told_once_also_on_the_ticket(house: House) -> None:
    said = do.TellPeople(run=RUN, event="needs_attention", title="Stuck @all", body="<b>why</b>", on_ticket=True)
    await twice(house.approval.tell_people, said)

    assert house.notices() == ["needs_attention"]
    assert house.comments().count("Stuck `@all`") == 1
    assert "> \\<b>why" in house.comments()
    gone = RUN.model_copy(update={"ticket_key": "GONE"})
    await act(house.approval.tell_people, said.model_copy(update={"run": gone}))


@pytest.mark.parametrize("known", [True, False])
async def test_a_release_closes_the_pull_request_and_gives_the_claim_back(house: House, known: bool) -> None:
    evidence = await house.evidence()
    made = await act(house.pull_requests.create_pull_request, evidence)
    repository = evidence.change.repository
    request = do.ReleaseRun(run=RUN, reason="cancelled", repository=repository, pull_request=made if known else None)
    await twice(house.close.release_run, request)

    assert (await house.forge.pull_request(repository, 1)).state is PullRequestState.CLOSED
    ticket = await house.tracker.ticket("BUG-1")
    assert (ticket.status, ticket.assignee) == (TicketStatus.TODO, "")
    assert house.comments().count("Given back: cancelled") == 1
    assert git(Path(repository.url), "rev-parse", made.branch) == made.head_sha


async def test_a_release_of_a_run_that_had_nothing_yet_is_no_error(house: House) -> None:
    await twice(house.close.release_run, do.ReleaseRun(run=RUN, reason="cancelled"))
    gone = do.ReleaseRun(run=RUN.model_copy(update={"ticket_key": "GONE"}), reason="cancelled")
    with pytest.raises(ServiceUnavailable, match="no ticket GONE"):
        await act(house.close.release_run, gone)  # a read that lags says the same
    await act(house.close.release_run, gone, attempt=3)
    assert (await house.tracker.ticket("BUG-1")).comments == ()


async def test_a_forge_that_is_away_keeps_no_ticket_claimed_and_is_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = await house.evidence()
    made = await act(house.pull_requests.create_pull_request, evidence)

    async def away(*_: object, **__: object) -> None:
        raise ServiceUnavailable("away")

    request = do.ReleaseRun(run=RUN, reason="x", repository=evidence.change.repository, pull_request=made)
    with monkeypatch.context() as patch:
        patch.setattr(house.forge, "close", away)
        with pytest.raises(ServiceUnavailable):
            await act(house.close.release_run, request)
    assert (await house.tracker.ticket("BUG-1")).status == TicketStatus.TODO
    await act(house.close.release_run, request)
    assert (await house.forge.pull_request(evidence.change.repository, 1)).state is PullRequestState.CLOSED


async def test_a_ticket_that_is_gone_is_found_out_before_the_pull_request(house: House) -> None:
    await house.evidence()
    (house.folder / "tickets" / "BUG-1.md").unlink()
    with pytest.raises(TicketNotFound):
        await act(house.select.refresh_ticket, do.SelectTask(run=RUN, claimant="sdlc-bot"))
