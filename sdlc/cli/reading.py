"""Commands that only look: status, list, findings, audit, config."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdlc.cli.context import CONTEXT, connected_runs
from sdlc.cli.interrupts import wait_for

if TYPE_CHECKING:
    from pydantic import BaseModel

Key = Annotated[str, typer.Argument(help="The ticket's key, such as BUG-1.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    app.command("status")(status)
    app.command("list")(list_runs)
    app.command("findings")(findings)
    app.command("audit")(audit)
    app.command("config")(config)


def print_json(value: BaseModel | list[Any] | dict[str, Any]) -> None:
    """One line of JSON on standard output."""
    from pydantic_core import to_jsonable_python

    typer.echo(json.dumps(to_jsonable_python(value), ensure_ascii=False))


def status(
    key: Key,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep looking until the run is over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show where a run stands: all seventeen steps, what it waits for, what it cost."""

    async def look() -> None:
        from sdlc.cli.view import console, progress_view

        runs = await connected_runs(CONTEXT.settings())
        if follow and not as_json:
            from sdlc.cli.watching import watch

            await watch(runs, key)
            return
        progress = await runs.progress(key)
        if as_json:
            print_json(progress)
        else:
            troubles = [] if progress.state.is_over else await runs.troubles(key)
            console().print(progress_view(progress, troubles))

    wait_for(look())


def list_runs(
    open_only: Annotated[bool, typer.Option("--open", help="Only runs that are not over.")] = False,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""

    async def look() -> None:
        from sdlc.cli.view import console, runs_table

        runs = await connected_runs(CONTEXT.settings())
        rows = await runs.list(include_closed=not open_only)
        if as_json:
            print_json([vars(row) for row in rows])
        elif rows:
            console().print(runs_table(rows))
        else:
            typer.echo("There are no runs yet; `sdlc run --ticket FILE --repo PATH` starts one.")

    wait_for(look())


def findings(key: Key, as_json: AsJson = False) -> None:
    """Show the open findings of a run, the worst first."""

    async def look() -> None:
        from sdlc.cli.view import console, findings_table

        found = await (await connected_runs(CONTEXT.settings())).findings(key)
        if as_json:
            print_json(found)
        elif found:
            console().print(findings_table(found))
        else:
            typer.echo("No open findings.")

    wait_for(look())


def audit(key: Key, as_json: AsJson = False) -> None:
    """Show who decided what, when and about which head; refused decisions too."""

    async def look() -> None:
        from sdlc.cli.view import audit_table, console

        entries = await (await connected_runs(CONTEXT.settings())).audit(key)
        if as_json:
            print_json(entries)
        else:
            console().print(audit_table(entries))

    wait_for(look())


def config(as_json: AsJson = False) -> None:
    """Show the configuration that is in force, secrets hidden."""
    settings = CONTEXT.settings()
    if as_json:
        print_json(settings)
        return
    import yaml
    from pydantic_core import to_jsonable_python

    typer.echo(yaml.safe_dump(to_jsonable_python(settings), sort_keys=False, allow_unicode=True), nl=False)
