"""Runs through the Temporal client: what people see and hear, also when a run was ended behind its own back."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from sdlc.cli import summary
from sdlc.cli.view import progress_view, show, step_line
from sdlc.config import Settings
from sdlc.domain import ApprovalDecision, AttentionAnswer, AttentionKind, DecisionKind, RunRequest, RunState
from sdlc.errors import (
    ConfigurationError,
    PermissionDenied,
    RunNotFound,
    SdlcError,
    ServiceUnavailable,
    UsageError,
)
from sdlc.progress import RunProgress, StepProgress, StepState
from sdlc.run_payloads import Spoken
from sdlc.runtime import runs as runs_module
from sdlc.runtime.client import connect
from sdlc.runtime.runs import Runs
from tests.stage import Play, Script, play


@pytest.fixture
async def client(temporal_settings: Settings) -> Client:
    return await connect(temporal_settings)


@pytest.fixture
async def waiting(client: Client) -> AsyncIterator[Play]:
    """A run that waits for an approval."""
    async with play(client) as run:
        await run.until_state(RunState.AWAITING_APPROVAL)
        yield run


def key_of(run: Play) -> str:
    return run.handle.id.removeprefix("sdlc-")


def runs_on(client: Client) -> Runs:
    return Runs(client, task_queue="nobody-listens-here")


APPROVE = ApprovalDecision(kind=DecisionKind.APPROVE, by="grace", source="cli")


async def test_a_second_start_for_the_same_ticket_joins_the_first(client: Client) -> None:
    runs = runs_on(client)
    request = RunRequest(ticket_key=f"TWICE-{uuid.uuid4().hex[:8]}", repository="/src/parcel", starter="ada")
    first, second = [await runs.start(request) for _ in range(2)]
    assert (first.joined, second.joined) == (False, True)
    assert first.workflow_id == second.workflow_id == f"sdlc-{request.ticket_key}"
    assert first.run_id == second.run_id
    await client.get_workflow_handle(first.workflow_id).terminate()


async def test_a_run_that_nobody_knows_is_told_for_every_question(client: Client) -> None:
    runs = runs_on(client)
    for asked in (
        runs.look("NO-1"),
        runs.findings("NO-1"),
        runs.audit("NO-1"),
        runs.outcome("NO-1"),
        runs.history_size("NO-1"),
        runs.decide("NO-1", APPROVE),
        runs.attend("NO-1", AttentionAnswer(kind=AttentionKind.RETRY, by="grace")),
        runs.signal("NO-1", "pause", Spoken(by="grace")),
        runs.cancel("NO-1"),
    ):
        with pytest.raises(RunNotFound, match=r"There is no run for NO-1; `sdlc list` shows those there are\."):
            await asked


@pytest.mark.parametrize("key", ["", "a/implement-1", "two words", "x" * 300])
async def test_what_cannot_be_a_key_is_refused(client: Client, key: str) -> None:
    with pytest.raises(UsageError, match="is not a ticket key"):
        await runs_on(client).look(key)


async def test_without_a_worker_the_person_learns_what_to_start(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = runs_on(client)
    key = f"ALONE-{uuid.uuid4().hex[:8]}"
    await runs.start(RunRequest(ticket_key=key, repository="/src/parcel", starter="ada"))
    monkeypatch.setattr(runs_module, "ANSWER_WITHIN", runs_module.timedelta(seconds=1))
    with pytest.raises(ServiceUnavailable, match="start one with `sdlc dev` or `sdlc worker`"):
        await runs.look(key)
    # What was said lies with the server, and counts once there is a worker.
    with pytest.raises(ServiceUnavailable, match=r"not known yet whether that counts.*`sdlc worker`"):
        await runs.decide(key, APPROVE)
    await client.get_workflow_handle(f"sdlc-{key}").terminate()


async def test_leaving_while_a_decision_is_on_its_way_is_no_failure_of_the_worker(client: Client) -> None:
    runs = runs_on(client)
    key = f"LEFT-{uuid.uuid4().hex[:8]}"
    await runs.start(RunRequest(ticket_key=key, repository="/src/parcel", starter="ada"))
    sending = asyncio.create_task(runs.decide(key, APPROVE))
    await asyncio.sleep(0.5)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await client.get_workflow_handle(f"sdlc-{key}").terminate()


async def test_a_run_that_is_over_takes_no_word_any_more(client: Client, waiting: Play) -> None:
    runs, key = runs_on(client), key_of(waiting)
    assert (await runs.decide(key, APPROVE)).accepted
    await waiting.result()
    look = await runs.look(key)
    assert look.progress.state is RunState.CLOSED
    assert look.troubles == ()
    for said in (runs.decide(key, APPROVE), runs.signal(key, "pause", Spoken(by="grace")), runs.cancel(key)):
        with pytest.raises(RunNotFound, match=rf"The run for {key} is over; `sdlc status {key}` shows how it ended\."):
            await said


async def test_a_decision_that_does_not_count_is_refused_with_the_reason(client: Client, waiting: Play) -> None:
    stale = APPROVE.model_copy(update={"head_sha": "0" * 40})
    with pytest.raises(UsageError, match="look at it again"):
        await runs_on(client).decide(key_of(waiting), stale)
    assert (await waiting.progress()).state is RunState.AWAITING_APPROVAL


async def test_a_run_that_was_terminated_is_over_for_those_who_watch(client: Client, waiting: Play) -> None:
    await waiting.handle.terminate("by hand")
    look = await runs_on(client).look(key_of(waiting))
    assert look.progress.state is RunState.ABORTED
    assert look.progress.waits_for == ""
    assert "was terminated in Temporal" in look.progress.warnings[-1]


async def test_what_is_tried_again_is_shown_with_its_reason(client: Client) -> None:
    script = Script(raises=lambda name, _: ServiceUnavailable("The disk is full.") if name == "select_task" else None)
    async with play(client, script, first_retry_seconds=2.0, longest_retry_seconds=2.0) as run:
        async with asyncio.timeout(20):
            while not (look := await runs_on(client).look(key_of(run))).troubles:
                await asyncio.sleep(0.05)
    assert look.troubles[0].attempt >= 2
    assert "The disk is full." in look.troubles[0].message


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
    [
        (RPCStatusCode.NOT_FOUND, "Namespace work is not found.", ConfigurationError, "TEMPORAL_NAMESPACE"),
        (RPCStatusCode.NOT_FOUND, "workflow execution already completed", RunNotFound, "is over"),
        (RPCStatusCode.UNAUTHENTICATED, "no", PermissionDenied, "TEMPORAL_API_KEY"),
        (RPCStatusCode.PERMISSION_DENIED, "no", PermissionDenied, "namespace work"),
        (RPCStatusCode.DEADLINE_EXCEEDED, "late", ServiceUnavailable, "No worker answers"),
        (RPCStatusCode.FAILED_PRECONDITION, "no poller seen", ServiceUnavailable, "No worker answers"),
        (RPCStatusCode.INVALID_ARGUMENT, "too long", UsageError, "does not take 'X-1'"),
        (RPCStatusCode.UNAVAILABLE, "gone", ServiceUnavailable, "is the server up?"),
    ],
)
def test_temporals_errors_become_ours(status: RPCStatusCode, message: str, kind: type[SdlcError], words: str) -> None:
    error = runs_module._as_ours(RPCError(message, status, b""), "X-1", "work")
    assert type(error) is kind
    assert words in str(error)


# --- what is shown ----------------------------------------------------------------------------


def progress(**more: object) -> RunProgress:
    started = datetime(2026, 1, 1, tzinfo=UTC)
    steps = (
        StepProgress(
            number=1,
            name="select_task",
            title="Select task",
            state=StepState.DONE,
            attempts=1,
            seconds=0.24,
            started=started,
            ended=started,
            result="\x1b[31mred\x1b[0m\n[bold]title",
        ),
        StepProgress(
            number=2, name="implement", title="Implement", state=StepState.RUNNING, attempts=2, started=started
        ),
    )
    fields = {
        "workflow_id": "sdlc-X 1",
        "ticket_key": "X-1",
        "ticket_title": "A [red]title\x07",
        "steps": steps,
        **more,
    }
    return RunProgress.model_validate(fields)


def test_text_from_outside_can_neither_colour_nor_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(progress_view(progress(waits_for="you\x1b]0;title\x07", warnings=("a\x9bb",))))
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\x9b" not in shown
    assert "[bold]title" in shown
    assert "A [red]title" in shown
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_a_long_result_is_cut_in_a_line() -> None:
    step = StepProgress(number=2, name="implement", title="Implement", state=StepState.DONE, result="word " * 200)
    assert len(step_line(step)) < 200


def test_the_page_in_temporals_ui_is_that_of_the_namespace() -> None:
    lines = summary.where_to_look(progress(), ui_url="http://h:1", namespace="work", ui_stays=True)
    assert lines[-1] == "Temporal UI        http://h:1/namespaces/work/workflows/sdlc-X%201"
    lines = summary.where_to_look(
        progress(), ui_url="http://h:1", namespace="work", ui_stays=False, command="uv run sdlc"
    )
    assert lines[-1].endswith("(while `uv run sdlc dev` runs)")
    assert not any("UI" in line for line in summary.where_to_look(progress(), ui_url="", namespace="w", ui_stays=True))


async def test_a_query_that_the_server_lost_is_asked_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []

    class Losing:
        async def query(self, name: str, *, result_type: type[RunProgress], rpc_timeout: timedelta) -> RunProgress:
            tries.append(rpc_timeout.total_seconds())
            if len(tries) == 1:
                raise RPCError("deadline", RPCStatusCode.DEADLINE_EXCEEDED, b"")
            return RunProgress(workflow_id="sdlc-LOST-1", ticket_key="LOST-1")

    runs = runs_on(client)
    monkeypatch.setattr(runs, "_handle", lambda key: Losing())
    assert (await runs.progress("LOST-1")).ticket_key == "LOST-1"
    assert tries == [4.0, 6.0]
