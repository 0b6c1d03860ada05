"""Commands that only look: status, list, findings, audit, config."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdlc.cli.context import CONTEXT, connected_runs
from sdlc.cli.interrupts import wait_for

if TYPE_CHECKING:
    from pydantic import BaseModel

Key = Annotated[str, typer.Argument(help="The ticket's key, such as BUG-1.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Format = Literal["text", "json", "sarif", "markdown"]


class PanelName(StrEnum):
    """`sdlc.domain.Panel`, without what `--help` would have to import for it."""

    ARCHITECTURE = "architecture"
    SECURITY = "security"
    QUALITY = "quality"
    TECHSTACK = "techstack"


def register(app: typer.Typer) -> None:
    app.command("status")(status)
    app.command("list")(list_runs)
    app.command("findings")(findings)
    app.command("audit")(audit)
    app.command("config")(config)


def print_json(value: BaseModel | list[Any] | dict[str, Any]) -> None:
    """One line of JSON on standard output."""
    from pydantic_core import to_jsonable_python

    echo_json(to_jsonable_python(value))


def echo_json(document: Any, *, indent: int | None = None) -> None:
    """JSON on standard output. A lone surrogate, which no output takes, becomes an escape of JSON's own."""
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    typer.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def status(
    key: Key,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep looking until the run is over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show where a run stands, step by step.

    And what it waits for, what is being tried again, and what it cost.
    """
    if key.startswith("workloop-"):
        from sdlc.cli.work_loops import show_loop

        show_loop(key, follow_it=follow, as_json=as_json)
        return

    async def look() -> None:
        runs = await connected_runs(CONTEXT.settings())
        if follow:
            from sdlc.cli.watching import watch

            await watch(runs, key)
            if not as_json:
                return
        seen = await runs.look(key)
        if as_json:
            again = [dict(vars(trouble)) for trouble in seen.troubles]
            print_json({**seen.progress.model_dump(mode="json"), "trying_again": again})
        else:
            from sdlc.cli.view import progress_view, show

            show(progress_view(seen.progress, seen.troubles))

    wait_for(look())


def list_runs(
    open_only: Annotated[bool, typer.Option("--open", help="Only runs that are not over.")] = False,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""

    async def look() -> None:
        from sdlc.cli.view import runs_table, show

        runs = await connected_runs(CONTEXT.settings())
        rows = await runs.list(include_closed=not open_only)
        if as_json:
            print_json([vars(row) for row in rows])
        elif rows:
            show(runs_table(rows))
        elif open_only:
            typer.echo("No run is under way; `sdlc list` shows those that are over.")
        else:
            typer.echo("There are no runs yet; `sdlc run --ticket FILE --repo PATH` starts one.")

    wait_for(look())


def findings(
    key: Key,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is waived, resolved, refuted or left out, with the reason.")
    ] = False,
    panel: Annotated[
        list[PanelName] | None, typer.Option("--panel", help="Only this panel; can be given more than once.")
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="`json` is the whole by panels; `markdown` and `json` show the evidence.")
    ] = "text",
    one_run: Annotated[
        bool, typer.Option("--one-run", help="SARIF with one run for all panels, for code hosts that take no more.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as a JSON list.")] = False,
) -> None:
    """Show what the panels found in a run's change.

    The worst first, and what did not run: where nobody has looked, nothing is found. Also while the run works, and
    after its end.
    """
    if as_json and form not in ("text", "json"):
        raise typer.BadParameter(f"--json is a form of its own; leave it or --format {form} out.")
    if one_run and form != "sarif":
        raise typer.BadParameter("--one-run goes with --format sarif.")

    async def look() -> None:
        from sdlc.cli.reviews import reviews_of, show_reviews

        settings = CONTEXT.settings()
        found = await reviews_of(await connected_runs(settings), key, settings)
        chosen = [review for review in found if not panel or review.panel.value in panel]
        if as_json:
            from sdlc.review_graphs.report_json import listed

            echo_json(listed(chosen, everything=everything))
        else:
            show_reviews(chosen, form, everything=everything, one_run=one_run, key=key)

    wait_for(look())


def audit(key: Key, as_json: AsJson = False) -> None:
    """Show who decided what, and when.

    Refused signals too.
    """

    async def look() -> None:
        from sdlc.cli.view import audit_table, show

        entries = await (await connected_runs(CONTEXT.settings())).audit(key)
        if as_json:
            print_json(entries)
        else:
            show(audit_table(entries))

    wait_for(look())


def config(
    what: Annotated[str, typer.Argument(hidden=True, help="`show`, which can be left out.")] = "show",
    as_json: AsJson = False,
) -> None:
    """Show the configuration in force, secrets hidden."""
    if what != "show":
        raise typer.BadParameter(f"there is no `config {what}`", param_hint="what")
    from pydantic_core import to_jsonable_python

    from sdlc.runtime.redaction import Redactor

    settings = CONTEXT.settings()
    values = Redactor.of(settings).deep(to_jsonable_python(settings))
    if as_json:
        print_json(values)
        return
    import yaml

    typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)
