"""Commands that show a run from its sides: show, diff, cost, logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sdlc.cli.busy import busy
from sdlc.cli.context import CONTEXT, connected_runs
from sdlc.cli.interrupts import wait_for
from sdlc.cli.output import AsJson, Key, about, print_json
from sdlc.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from sdlc.runtime.runs import RunRow

_MOST_RUNS = 1_000


def register(app: typer.Typer) -> None:
    app.command("show")(show_run)
    app.command("diff")(diff)
    app.command("cost")(cost)
    app.command("logs")(logs)


def show_run(key: Key, as_json: AsJson = False) -> None:
    """Show all of a run on one screen.

    The ticket beside the result, plan, tests, reviews, cost, pull request, and what it waits for.
    """

    async def look() -> None:
        runs = await connected_runs(CONTEXT.settings())
        async with busy("Asking the run"):
            seen = await runs.look(key)
            ticket, card = await runs.ticket(key), await runs.card(key)
        if as_json:
            told = {"ticket": ticket.model_dump(mode="json") if ticket else None, "card": card.model_dump(mode="json")}
            print_json({**told, "progress": seen.progress.model_dump(mode="json")})
            return
        from sdlc.cli.overview import overview
        from sdlc.cli.view import console, show

        show(overview(seen.progress, ticket, card, seen.troubles, width=console().width))

    wait_for(look())


def diff(
    key: Key,
    stat: Annotated[bool, typer.Option("--stat", help="Only the files, with added and deleted lines.")] = False,
    name_only: Annotated[bool, typer.Option("--name-only", help="Only the names of the files.")] = False,
) -> None:
    """Show a run's change as a patch.

    Read from the clone in this machine's cache, into which missing commits are fetched. At a terminal a pager shows
    it ($PAGER).
    """
    if stat and name_only:
        raise typer.BadParameter("--stat and --name-only are two different things; give one of them.")

    async def look() -> str:
        settings = CONTEXT.settings()
        progress = await (await connected_runs(settings)).progress(key)
        change = progress.change
        if change is None or change.is_empty:
            raise UsageError(f"The run for {key} has no change yet; `sdlc status {key}` shows where it stands.")
        from sdlc.cli.patches import names, stat_lines
        from sdlc.runtime.services import build_services

        async with busy(f"Reading {change.head_sha[:10]}"):
            objects = await build_services(settings).workspaces.objects(change.repository)
            if stat or name_only:
                files = await objects.changed_files(change.base_sha, change.head_sha)
                return names(files) if name_only else stat_lines(files)
            return await objects.diff(change.base_sha, change.head_sha)

    from sdlc.cli.patches import show_patch, show_text

    text = wait_for(look())
    if stat or name_only:
        show_text(text)
    else:
        show_patch(text)


def cost(
    key: Annotated[str, typer.Argument(help="A ticket's key; without one, all runs.", callback=about)] = "",
    days: Annotated[int, typer.Option("--days", min=1, help="Without KEY: runs of so many last days.")] = 30,
    repo: Annotated[str, typer.Option("--repo", help="Without KEY: only runs about it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show tokens and USD, by step of a run or by run.

    What no price is known of costs `unknown`, never 0.
    """

    async def look() -> None:
        from sdlc.cli.costs import by_run, by_step, runs_as_json, steps_as_json
        from sdlc.cli.view import show

        runs = await connected_runs(CONTEXT.settings())
        if key:
            progress = await runs.progress(key)
            print_json(steps_as_json(progress)) if as_json else show(by_step(progress))
            return
        async with busy("Asking for the runs"):
            rows: list[RunRow] = await runs.list(limit=_MOST_RUNS, repository=repo, since=_ago(days))
        if as_json:
            print_json(runs_as_json(rows))
        elif rows:
            show(by_run(rows, days))
        else:
            typer.echo(f"No run began within {days} days; `sdlc list` shows all.")

    wait_for(look())


def _ago(days: int) -> datetime:
    from datetime import UTC, datetime, timedelta

    return datetime.now(UTC) - timedelta(days=days)


def logs(
    what: Annotated[
        str, typer.Argument(metavar="[temporal|worker|KEY]", help="A log of this data folder, or a run's documents.")
    ] = "worker",
    name: Annotated[str, typer.Argument(help="After KEY: the document to show, by number or name.")] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written; of a run, the worker's lines about it.")
    ] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Of a log's end.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show logs, and what a run has written down.

    `temporal` is the embedded server's log, `worker` that of `sdlc run` and `sdlc dev`. With KEY, the run's documents
    are listed (test logs, the engine's log, reviews, briefs); `sdlc logs KEY 3` shows one.
    """
    settings = CONTEXT.settings()
    from sdlc.cli.log_files import log_of, show_log

    if what in ("temporal", "worker") or follow:
        if name or as_json:
            raise typer.BadParameter("NAME and --json go with the documents of a run: `sdlc logs KEY`.")
        about_run = "" if what in ("temporal", "worker") else f"sdlc-{what}"
        which = "worker" if about_run else what
        file = log_of(settings, which)
        if file is None:
            raise ConfigurationError(
                f"There is no {which} log in {settings.data_dir}: nothing was run with this data folder. `sdlc worker` "
                "and `sdlc serve` write theirs to standard error."
            )
        wait_for(show_log(file, lines, follow=follow, about=about_run))
        return
    from sdlc.cli.documents import show_documents

    about(what)
    wait_for(show_documents(settings, what, name, as_json=as_json))
