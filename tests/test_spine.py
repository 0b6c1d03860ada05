"""A ticket becomes an approved pull request: all seventeen steps for real, once for each way it can end."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from sdlc.cli import summary
from sdlc.config import Settings
from sdlc.demo.bundle import FILES
from sdlc.domain import AttentionAnswer, AttentionKind, DecisionKind, RunState
from sdlc.errors import RunNotFound, UsageError
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.progress import Step, StepState
from sdlc.review_graphs.reviewed import Standing
from sdlc.run_payloads import Spoken
from sdlc.runtime.client import connect
from sdlc.runtime.run_reviews import reviews_of
from sdlc.runtime.services import build_services
from sdlc.runtime.worker import langgraph_plugin, workflow_runner, workflows
from tests.spine import Spine, set_up, text_of, working


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
async def spine(temporal_settings: Settings, shared_cache: Path) -> AsyncIterator[Spine]:
    async with set_up(temporal_settings, shared_cache, connect) as prepared, working(prepared) as ready:
        yield ready


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout


async def test_a_ticket_becomes_an_approved_pull_request(temporal_settings: Settings, shared_cache: Path) -> None:
    async with set_up(temporal_settings, shared_cache, connect) as spine:
        async with working(spine):
            await _a_ticket_becomes_an_approved_pull_request(spine)
            await _the_history_is_small_and_holds_no_source(spine)
        # Only once the worker is gone: the plugin keeps its graphs by run, for the whole process, and a worker that
        # lets go of a run takes away the graphs of whoever replays it beside.
        await _both_histories_replay(spine)


async def _a_ticket_becomes_an_approved_pull_request(spine: Spine) -> None:
    before = git(spine.repository, "rev-parse", "HEAD", "refs/heads/main")
    await spine.start()
    progress = await spine.until_state(RunState.AWAITING_APPROVAL)
    assert "status: In Review" in spine.ticket
    await spine.decide(DecisionKind.APPROVE)
    progress = await spine.until_state(RunState.CLOSED)

    # Seventeen steps, each ended, at least one fix round, and a proof.
    told = summary.as_json(progress, await spine.runs.history_size(spine.key))
    assert [step["number"] for step in told["steps"]] == list(range(1, 18))
    assert {step["state"] for step in told["steps"]} <= {"done", "skipped"}
    assert told["fix_rounds"] >= 1
    assert told["tests"]["proof"]["fails_on_base"] >= 1
    assert told["tests"]["proof"]["passes_on_head"] >= 1
    assert told["usage"]["model_calls"] == len([one for one in spine.model.requests if one.answered])
    assert told["usage"]["usd"] > 0
    assert told["findings"]["major"] == 0

    # Seen from outside, everything happened exactly once.
    assert "status: Done" in spine.ticket
    assert spine.ticket_comments.count("Taken up by the run") == 1
    assert spine.ticket_comments.count("Done: ") == 1
    assert len(spine.pull_requests) == 1
    body = spine.pull_requests[0].read_text()
    assert "fail on the base and pass on the head" in body
    assert "test_a_tier_includes_its_limit" in body

    # What the second look refuted is not published, and nobody hides it.
    assert "1 refuted on a second look" in body
    reviews = await reviews_of(spine.runs, spine.key, ArtifactStore(spine.settings.artifacts_dir))
    (refuted,) = [entry for review in reviews for entry in review.standing(Standing.REFUTED)]
    assert (refuted.rule, refuted.file) == ("lens:edge-cases/empty-tiers", "parcel/tariff.py")
    assert "refuses a tariff without tiers" in refuted.why

    # The person's checkout was not touched; the run's branch is there and holds the head.
    assert git(spine.repository, "rev-parse", "HEAD", "refs/heads/main") == before
    assert git(spine.repository, "status", "--porcelain") == ""
    branches = git(spine.repository, "for-each-ref", "--format=%(refname)").split()
    assert [name for name in branches if name != "refs/heads/main"] == [f"refs/heads/{told['pull_request']['branch']}"]
    assert git(spine.repository, "rev-parse", told["pull_request"]["branch"]).strip() == progress.change.head_sha  # type: ignore[union-attr]

    # No call that had returned was made again.
    assert spine.model.answered_again() == {}


async def _the_history_is_small_and_holds_no_source(spine: Spine) -> None:
    history = await spine.history()
    size = await spine.runs.history_size(spine.key)
    assert size.events <= 480, "with one fix round; 400 is the bound for a run with none"
    assert size.bytes <= 400_000
    text = text_of(history)
    lines = {line.strip() for path in FILES.rglob("*.py") for line in path.read_text().splitlines()}
    changes = next(spine.settings.forge_dir.glob("*/pulls/1/changes.diff")).read_text().splitlines()
    lines |= {line[1:].strip() for line in changes if re.match(r"[+-](?![+-])", line)}
    telling = {line for line in lines if len(line) > 25 and not line.startswith(('"""', "#"))}
    assert len(telling) > 100
    assert [line for line in telling if line in text] == []
    # The agent's conversation is a child's, and lies in the folder rather than in the history.
    child = await spine.history(f"sdlc-{spine.key}/implement-1")
    largest = max(len(str(event)) for event in child.events)
    assert largest < 20_000
    assert any(line in path.read_text(errors="replace") for path in _artifacts(spine) for line in telling)


def _artifacts(spine: Spine) -> list[Path]:
    return [path for path in spine.settings.artifacts_dir.rglob("*") if path.is_file()]


async def _both_histories_replay(spine: Spine) -> None:
    replayer = Replayer(
        workflows=workflows(),
        plugins=[langgraph_plugin(build_services(spine.settings))],
        workflow_runner=workflow_runner(),
        data_converter=spine.client.data_converter,
    )
    for name in (f"sdlc-{spine.key}", f"sdlc-{spine.key}/implement-1", f"sdlc-{spine.key}/implement-2"):
        async with asyncio.timeout(30):
            await replayer.replay_workflow(await spine.history(name))


async def test_requested_changes_are_made_in_a_second_round_and_approved(spine: Spine) -> None:
    await spine.start()
    first = await spine.until_state(RunState.AWAITING_APPROVAL)
    await spine.decide(DecisionKind.REQUEST_CHANGES, comment="Please say in the README how overweight is charged.")
    second = await spine.until(lambda now: now.revisions == 1 and now.state is RunState.AWAITING_APPROVAL)
    assert first.change is not None
    assert second.change is not None
    assert second.change.head_sha != first.change.head_sha
    assert "README.md" in git(
        Path(second.change.repository.url), "diff", "--name-only", first.change.head_sha, second.change.head_sha
    )
    with pytest.raises(UsageError, match="the head is"):
        await spine.runs.decide(
            spine.key,
            _approval_of(first.change.head_sha),
        )
    await spine.decide(DecisionKind.APPROVE)
    closed = await spine.until_state(RunState.CLOSED)
    assert closed.revisions == 1
    assert len(spine.pull_requests) == 1
    # Once the run is over, a word to it is refused in one sentence.
    outcome = await spine.runs.outcome(spine.key)
    assert outcome is not None
    with pytest.raises(RunNotFound, match="is over"):
        await spine.runs.signal(spine.key, "pause", Spoken(by="grace"))


def _approval_of(head: str):  # type: ignore[no-untyped-def]
    from sdlc.domain import ApprovalDecision

    return ApprovalDecision(kind=DecisionKind.APPROVE, by="grace", head_sha=head)


async def test_a_cancelled_run_gives_the_claim_back_and_closes_its_draft(spine: Spine) -> None:
    await spine.start()
    await spine.until_state(RunState.AWAITING_APPROVAL)
    await spine.runs.cancel(spine.key)
    progress = await spine.until_state(RunState.CANCELLED)
    assert progress.steps[Step.AWAIT_APPROVAL.number - 1].state is StepState.FAILED
    assert "status: To Do" in spine.ticket
    assert "state: closed" in spine.pull_requests[0].read_text()
    assert progress.change is not None
    # No work is deleted.
    assert git(Path(progress.change.repository.url), "cat-file", "-t", progress.change.head_sha).strip() == "commit"
    assert git(spine.repository, "rev-parse", progress.change.branch).strip() == progress.change.head_sha


async def test_a_run_cancelled_in_the_middle_of_the_engine_leaves_no_pull_request(
    temporal_settings: Settings, shared_cache: Path
) -> None:
    async with set_up(temporal_settings, shared_cache, connect) as prepared, working(prepared) as spine:
        spine.model.latency = 0.3
        await spine.start()
        await spine.until(lambda _: len(spine.model.requests) >= 3)
        await spine.runs.cancel(spine.key)
        await spine.until_state(RunState.CANCELLED, 40)
        assert "status: To Do" in spine.ticket
        assert spine.pull_requests == []


async def test_after_seven_days_of_silence_the_run_asks_for_a_person_and_can_still_be_approved(
    time_skipping_env: WorkflowEnvironment, settings: Settings, shared_cache: Path
) -> None:
    async def connect_there(_: Settings):  # type: ignore[no-untyped-def]
        return time_skipping_env.client

    async with set_up(settings, shared_cache, connect_there) as prepared, working(prepared) as spine:
        await spine.client.start_workflow(
            "SdlcWorkflow",
            spine.request().model_copy(update={"search_attributes": False}),
            id=f"sdlc-{spine.key}",
            task_queue=spine.settings.temporal.task_queue,
        )
        await spine.until_state(RunState.AWAITING_APPROVAL)
        await time_skipping_env.sleep(7 * 86_400 + 60)
        async with asyncio.timeout(30):
            while (await spine.runs.progress(spine.key)).state is not RunState.NEEDS_ATTENTION:
                await asyncio.sleep(0.05)
        file = spine.settings.data_dir / "notices.jsonl"
        async with asyncio.timeout(30):
            while '"needs_attention"' not in file.read_text():  # told a moment after the state is there
                await asyncio.sleep(0.05)
        notices = file.read_text()
        assert notices.count('"reminder"') == 2
        assert notices.count('"needs_attention"') == 1
        answer = AttentionAnswer(kind=AttentionKind.RETRY, by="grace")
        await spine.runs.attend(spine.key, answer)
        await spine.until_state(RunState.AWAITING_APPROVAL)
        await spine.decide(DecisionKind.APPROVE)
        await spine.until_state(RunState.CLOSED)
        assert len(spine.pull_requests) == 1
