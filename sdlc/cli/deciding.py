"""Commands by which people decide and steer. Each says at once whether it counted, and why not."""

from __future__ import annotations

import getpass
import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from sdlc.cli.context import CONTEXT, connected_runs
from sdlc.cli.interrupts import wait_for
from sdlc.cli.reading import AsJson, Key, print_json

if TYPE_CHECKING:
    from sdlc.domain import AttentionKind, DecisionKind, Record

By = Annotated[str, typer.Option("--by", help="Who decides; default: you.", show_default=False)]
Head = Annotated[str, typer.Option("--head", help="The head you looked at; refused if there is a newer one.")]


def register(app: typer.Typer) -> None:
    for command in (approve, reject, request_changes, pause, resume, instruct, escalate, retry, waive, abort, cancel):
        app.command(command.__name__.replace("_", "-"))(command)


def _me() -> str:
    return getpass.getuser()


def _decide(kind: DecisionKind, key: str, by: str, comment: str, head: str, as_json: bool) -> None:
    from sdlc.domain import ApprovalDecision

    decision = ApprovalDecision(
        kind=kind, by=by or _me(), comment=comment, head_sha=head, source="cli", decision_id=uuid.uuid4().hex
    )

    async def send() -> None:
        receipt = await (await connected_runs(CONTEXT.settings())).decide(key, decision)
        print_json(receipt) if as_json else typer.echo(f"{key}: {receipt.message}")

    wait_for(send())


def approve(
    key: Key,
    comment: Annotated[str, typer.Option("--comment", "-m")] = "",
    by: By = "",
    head: Head = "",
    as_json: AsJson = False,
) -> None:
    """Approve the change as it stands."""
    from sdlc.domain import DecisionKind

    _decide(DecisionKind.APPROVE, key, by, comment, head, as_json)


def reject(
    key: Key,
    comment: Annotated[str, typer.Option("--comment", "-m")] = "",
    by: By = "",
    head: Head = "",
    as_json: AsJson = False,
) -> None:
    """Reject the change for good.

    The pull request is closed, the branch stays.
    """
    from sdlc.domain import DecisionKind

    _decide(DecisionKind.REJECT, key, by, comment, head, as_json)


def request_changes(
    key: Key,
    comment: Annotated[str, typer.Option("--comment", "-m", help="What should change.")],
    by: By = "",
    head: Head = "",
    as_json: AsJson = False,
) -> None:
    """Send the change back with a comment."""
    from sdlc.domain import DecisionKind

    _decide(DecisionKind.REQUEST_CHANGES, key, by, comment, head, as_json)


def _signal(key: str, name: str, payload: Record, said: str, as_json: bool) -> None:
    async def send() -> None:
        runs = await connected_runs(CONTEXT.settings())
        await runs.signal(key, name, payload)
        print_json({"accepted": True, "message": said}) if as_json else typer.echo(f"{key}: {said}")

    wait_for(send())


def pause(key: Key, by: By = "", as_json: AsJson = False) -> None:
    """Halt before the next step or turn of the engine."""
    from sdlc.run_payloads import Spoken

    _signal(key, "pause", Spoken(by=by or _me()), "pauses before the next step or turn.", as_json)


def resume(key: Key, by: By = "", as_json: AsJson = False) -> None:
    """Go on after a pause."""
    from sdlc.run_payloads import Spoken

    _signal(key, "resume", Spoken(by=by or _me()), "goes on.", as_json)


def instruct(
    key: Key,
    text: Annotated[str, typer.Argument(help="What the engine should know or do.")],
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Say a word to the engine, between two turns."""
    from sdlc.domain import Instruction

    if not text.strip():
        raise typer.BadParameter("Say what the engine should do; the text is empty.")
    payload = Instruction(text=text, by=by or _me())
    _signal(key, "inject_instruction", payload, "the engine reads it between two turns, if it has more to do.", as_json)


def escalate(
    key: Key,
    model: Annotated[str, typer.Option("--model", help="Default: the next one of `llm.ladder`.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Let the engine go on with a stronger model."""
    from sdlc.run_payloads import ModelChosen

    said = (
        f"asked for {model or 'the next model of the ladder'}, from the next turn on; `sdlc audit` shows if it counted."
    )
    _signal(key, "escalate_model", ModelChosen(model=model, by=by or _me()), said, as_json)


def _attend(
    kind: AttentionKind, key: str, by: str, reason: str, instruction: str, fingerprints: list[str], as_json: bool
) -> None:
    from sdlc.domain import AttentionAnswer

    answer = AttentionAnswer(
        kind=kind, by=by or _me(), reason=reason, instruction=instruction, fingerprints=tuple(fingerprints)
    )

    async def send() -> None:
        receipt = await (await connected_runs(CONTEXT.settings())).attend(key, answer)
        print_json(receipt) if as_json else typer.echo(f"{key}: {receipt.message}")

    wait_for(send())


def retry(
    key: Key,
    instruction: Annotated[str, typer.Option("--instruction", "-m", help="A word for the engine.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Let a run that needs attention try again."""
    from sdlc.domain import AttentionKind

    _attend(AttentionKind.RETRY, key, by, "", instruction, [], as_json)


def waive(
    key: Key,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why it may stand.")],
    finding: Annotated[
        list[str] | None, typer.Option("--finding", help="A fingerprint; default: all in the way.")
    ] = None,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Let what holds a run up stand, with a reason.

    The pull request shows it.
    """
    from sdlc.domain import AttentionKind

    _attend(AttentionKind.WAIVE, key, by, reason, "", finding or [], as_json)


def abort(
    key: Key, reason: Annotated[str, typer.Option("--reason", "-m")] = "", by: By = "", as_json: AsJson = False
) -> None:
    """Stop a run for good.

    The claim is given back, a draft is closed, no work is deleted.
    """
    from sdlc.domain import AttentionKind

    _attend(AttentionKind.ABORT, key, by, reason, "", [], as_json)


def cancel(key: Key, as_json: AsJson = False) -> None:
    """Cancel a run; it tidies up as `abort` does."""

    async def send() -> None:
        await (await connected_runs(CONTEXT.settings())).cancel(key)
        said = "is being cancelled; the claim is given back, no work is deleted."
        print_json({"accepted": True, "message": said}) if as_json else typer.echo(f"{key}: {said}")

    wait_for(send())
