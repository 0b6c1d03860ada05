"""Commands by which people decide and steer. Each says at once whether it counted, and why not."""

from __future__ import annotations

import getpass
import uuid
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sdlc.cli.context import CONTEXT, connected_runs
from sdlc.cli.interrupts import wait_for
from sdlc.cli.output import AsJson, By, Key, print_json
from sdlc.errors import UsageError

if TYPE_CHECKING:
    from sdlc.domain import AttentionKind, DecisionKind, MessageReceipt, Record

Head = Annotated[str, typer.Option("--head", help="The head you looked at; refused if there is a newer one.")]

R = TypeVar("R", bound="Record")


def _me() -> str:
    return getpass.getuser()


def _said(shape: type[R], **fields: Any) -> R:
    """What a person says, in its shape; UsageError for what does not fit, such as a comment of a megabyte."""
    from pydantic import ValidationError

    try:
        return shape(**{name: _decoded(value) for name, value in fields.items()})
    except ValidationError as error:
        detail = error.errors(include_input=False)[0]
        words = f"{detail['msg'][:1].lower()}{detail['msg'][1:]}"
        raise UsageError(f"`{detail['loc'][0]}`: {words}. Put long texts into the pull request.") from error


def _decoded(value: Any) -> Any:
    """Bytes of the command line that are no UTF-8 become U+FFFD: nothing else would take them."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if type(value) is str else value


def _heard(key: str, receipt: MessageReceipt, as_json: bool) -> None:
    from sdlc.untrusted import escaped_text

    print_json(receipt) if as_json else typer.echo(f"{key}: {escaped_text(receipt.message)}")


def _decide(kind: DecisionKind, key: str, by: str, comment: str, head: str, as_json: bool) -> None:
    from sdlc.domain import ApprovalDecision

    decision = _said(
        ApprovalDecision,
        kind=kind,
        by=by or _me(),
        comment=comment,
        head_sha=head,
        source="cli",
        decision_id=uuid.uuid4().hex,
    )

    async def send() -> None:
        receipt = await (await connected_runs(CONTEXT.settings())).decide(key, decision)
        _heard(key, receipt, as_json)

    wait_for(send())


def approve(
    key: Key,
    comment: Annotated[str, typer.Option("--comment", "-m", help="For those who read it later.")] = "",
    by: By = "",
    head: Head = "",
    on_behalf: Annotated[str, typer.Option("--on-behalf", help="Refused: nobody approves for somebody else.")] = "",
    as_json: AsJson = False,
) -> None:
    """Approve the change as it stands."""
    from sdlc.domain import DecisionKind

    if on_behalf:
        raise UsageError(
            f"Nobody approves on behalf of {on_behalf}: they do it themselves, or `sdlc reassign {key} NAME` lets "
            "somebody else decide."
        )

    _decide(DecisionKind.APPROVE, key, by, comment, head, as_json)


def reject(
    key: Key,
    comment: Annotated[str, typer.Option("--comment", "-m", help="For those who read it later.")] = "",
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


def reassign(
    key: Key,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Who shall decide, instead of those before.")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; in the audit trail.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Let others decide about the change."""
    from sdlc.run_payloads import Reassigned

    said = _said(
        Reassigned, by=by or _me(), to=tuple(_decoded(name.strip()) for name in names), reason=reason, source="cli"
    )

    async def send() -> None:
        receipt = await (await connected_runs(CONTEXT.settings())).reassign(key, said)
        _heard(key, receipt, as_json)

    wait_for(send())


def _signal(key: str, name: str, payload: Record, said: str, as_json: bool) -> None:
    async def send() -> None:
        runs = await connected_runs(CONTEXT.settings())
        await runs.signal(key, name, payload)
        print_json({"accepted": True, "message": said}) if as_json else typer.echo(f"{key}: {said}")

    wait_for(send())


def pause(key: Key, by: By = "", as_json: AsJson = False) -> None:
    """Halt before the next step or turn of the engine."""
    from sdlc.run_payloads import Spoken

    _signal(key, "pause", _said(Spoken, by=by or _me(), source="cli"), "pauses before the next step or turn.", as_json)


def resume(key: Key, by: By = "", as_json: AsJson = False) -> None:
    """Go on after a pause."""
    from sdlc.run_payloads import Spoken

    _signal(key, "resume", _said(Spoken, by=by or _me(), source="cli"), "goes on.", as_json)


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
    payload = _said(Instruction, text=text, by=by or _me())
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
    _signal(key, "escalate_model", _said(ModelChosen, model=model, by=by or _me()), said, as_json)


def _attend(
    kind: AttentionKind, key: str, by: str, reason: str, instruction: str, fingerprints: list[str], as_json: bool
) -> None:
    from sdlc.domain import AttentionAnswer

    answer = _said(
        AttentionAnswer,
        kind=kind,
        by=by or _me(),
        reason=reason,
        instruction=instruction,
        fingerprints=tuple(fingerprints),
        source="cli",
    )

    async def send() -> None:
        receipt = await (await connected_runs(CONTEXT.settings())).attend(key, answer)
        _heard(key, receipt, as_json)

    wait_for(send())


def retry(
    key: Key,
    from_step: Annotated[
        str, typer.Option("--from-step", help="Go back to where this step began: its number, or name.")
    ] = "",
    instruction: Annotated[str, typer.Option("--instruction", "-m", help="A word for the engine.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --from-step: don't ask.")] = False,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Let a run that needs attention try again.

    With --from-step any run that is not done goes back to where that step began last, by a reset of its history in
    Temporal. What is kept and what is lost is said, and asked about, before.
    """
    from sdlc.domain import AttentionKind

    if not from_step:
        _attend(AttentionKind.RETRY, key, by, "", instruction, [], as_json)
        return
    from sdlc.cli.rewinding import rewind, step_of

    step = step_of(from_step)
    settings, who = CONTEXT.settings(), by or _me()
    wait_for(rewind(settings, key, step, by=who, instruction=instruction, asked=yes or as_json, as_json=as_json))


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
    key: Key,
    reason: Annotated[str, typer.Option("--reason", "-m", help="For those who read it later.")] = "",
    by: By = "",
    as_json: AsJson = False,
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


_COMMANDS = (approve, reject, request_changes, reassign, pause, resume, instruct, retry, waive, abort, cancel)


def register(app: typer.Typer) -> None:
    for command in _COMMANDS:
        app.command(command.__name__.replace("_", "-"))(command)
    app.command("escalate")(escalate)
    app.command("escalate-model", help="The same as `escalate`.")(escalate)
