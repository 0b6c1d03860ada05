"""`sdlc signal`: whatever a run can be told, as Temporal's own tools tell it, with a look at its shape first."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdlc.cli.context import CONTEXT, connected_runs
from sdlc.cli.interrupts import wait_for
from sdlc.cli.output import AsJson, Key, print_json
from sdlc.errors import UsageError

if TYPE_CHECKING:
    from sdlc.domain import Record


def register(app: typer.Typer) -> None:
    app.command("signal")(signal)


def signal(
    key: Key,
    name: Annotated[str, typer.Argument(help="Of the signal; without one, all are listed with their shapes.")] = "",
    payload: Annotated[str, typer.Argument(metavar="[JSON]", help="One object; `by` is you, unless you say.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Send it even if its name or shape is not known here.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send a run a signal by its name.

    Whether it counted shows in `sdlc audit`: a signal gets no answer.
    """
    known = shapes()
    if not name:
        for one, shape in known.items():
            typer.echo(f"{one:<20} {described(shape)}")
        return
    if name not in known and not force:
        from sdlc.cli.guesses import closest

        meant = closest(name, known)
        hint = f"did you mean {meant}?" if meant else f"there are {', '.join(known)}."
        raise UsageError(f"A run has no signal {name!r}; {hint} --force sends it all the same.")
    said = _checked(name, known.get(name), _object(payload), force=force)

    async def send() -> None:
        await (await connected_runs(CONTEXT.settings())).signal(key, name, said)
        told = f"{name} was sent; `sdlc audit {key}` shows if it counted."
        print_json({"accepted": True, "message": told}) if as_json else typer.echo(f"{key}: {told}")

    wait_for(send())


def shapes() -> dict[str, type[Record]]:
    """What a run can be told, and in which shape."""
    from sdlc.domain import Instruction
    from sdlc.run_payloads import Answered, Decided, ModelChosen, OutsideChange, Reassigned, Spoken

    return {
        **dict.fromkeys(("approve", "reject", "request_changes"), Decided),
        "reassign": Reassigned,
        **dict.fromkeys(("retry", "waive", "abort"), Answered),
        **dict.fromkeys(("pause", "resume"), Spoken),
        "inject_instruction": Instruction,
        "escalate_model": ModelChosen,
        **dict.fromkeys(("ci_changed", "pull_request_changed", "ticket_changed"), OutsideChange),
    }


def described(shape: type[Record]) -> str:
    """`{by, comment?, …}`: a field with a question mark can be left out."""
    fields = [name if field.is_required() else f"{name}?" for name, field in shape.model_fields.items()]
    return f"{{{', '.join(fields)}}}"


def _object(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f'That is not JSON ({error}); give one object, such as \'{{"reason": "…"}}\'.') from error
    if not isinstance(value, dict):
        raise UsageError('A signal takes one JSON object, such as \'{"reason": "…"}\'.')
    return value


def _checked(name: str, shape: type[Record] | None, values: dict[str, Any], *, force: bool) -> Record:
    from pydantic import ConfigDict, ValidationError

    from sdlc.domain import Record

    class Anything(Record):
        model_config = ConfigDict(extra="allow")

    if shape is None:
        return Anything(**values)
    if "by" in shape.model_fields:
        values = {"by": getpass.getuser(), **values}
    unknown = sorted(values.keys() - shape.model_fields.keys())
    if unknown and not force:
        raise UsageError(f"{name} has no field {unknown[0]!r}; it takes {described(shape)}. --force sends it anyway.")
    try:
        said = shape.model_validate(values)
    except ValidationError as error:
        if force:
            return Anything(**values)
        detail = error.errors()[0]
        place = ".".join(str(part) for part in detail["loc"])
        words = f"{detail['msg'][:1].lower()}{detail['msg'][1:]}"
        raise UsageError(f"{name}: `{place}`: {words}; it takes {described(shape)}.") from error
    return said if not unknown else Anything(**values)
