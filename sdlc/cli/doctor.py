"""`sdlc doctor`: what is wrong with the configuration and its surroundings, before a run finds out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sdlc.cli.busy import busy
from sdlc.cli.context import CONTEXT
from sdlc.cli.interrupts import wait_for

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sdlc.runtime.diagnosis_temporal import Check

_LOOKS = {"ok": ("✓ ok", "green"), "warning": ("! warning", "yellow"), "fault": ("✗ fault", "bold red")}


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    repo: Annotated[
        str, typer.Option("--repo", help="Ask about this repository too, besides those of intake.repositories.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Find faults of the configuration before a run does.

    Changes nothing. Exit code 0 without faults (warnings are none), 1 with, 2 for a configuration that can't be read.
    """
    settings = CONTEXT.settings()

    async def look() -> int:
        from sdlc.cli.preflight import check_engine, check_model
        from sdlc.runtime.diagnosis import diagnose

        async with busy("Asking Temporal, tracker, forge, model and this machine"):
            checks = await diagnose(settings, model=check_model, engine=check_engine, repository=repo)
        if as_json:
            from sdlc.cli.output import print_json

            print_json([dataclasses.asdict(check) for check in checks])
        else:
            from sdlc.cli.view import show

            show(checks_view(checks))
        return int(any(check.state == "fault" for check in checks))

    return wait_for(look())


def checks_view(checks: Sequence[Check]) -> RenderableType:
    """A line for each check, its mend below it, and what it comes to."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from sdlc.cli.view import plain
    from sdlc.naming import counted

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", max_width=40)
    table.add_column(overflow="fold")
    for check in checks:
        word, style = _LOOKS[check.state]
        table.add_row(Text(word, style=style), Text(plain(check.name)), Text(plain(check.found)))
        if check.mend and check.state != "ok":
            table.add_row("", "", Text(f"  → {plain(check.mend)}", style="dim"))
    faults, warnings = (sum(check.state == state for check in checks) for state in ("fault", "warning"))
    total = f"{counted(faults, 'fault') if faults else 'No fault'}, {counted(warnings, 'warning')}."
    return Group(table, Text(total))
