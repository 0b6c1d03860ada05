"""Commands that do work: run, resume-run, demo, start, next, dev, worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdlc.cli.busy import busy
from sdlc.cli.context import CONTEXT, say
from sdlc.cli.interrupts import wait_for
from sdlc.cli.output import AsJson, Key, print_json

if TYPE_CHECKING:
    from sdlc.config import Settings

AutoApprove = Annotated[bool, typer.Option("--auto-approve", help="Send the approval as soon as it is due.")]
Repo = Annotated[str, typer.Option("--repo", help="Path or URL of the git repository.")]
MaybeRepo = Annotated[
    str,
    typer.Option("--repo", help="Path, URL or owner/name; default: the one that is configured for the ticket, or `.`."),
]
Base = Annotated[str, typer.Option("--base", help="Branch to start from; default: the repository's own default.")]


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)
    app.command("run")(run)
    app.command("resume-run")(resume_run)
    app.command("start")(start)
    app.command("next")(next_ticket)
    app.command("dev")(dev)
    app.command("worker")(worker)


def demo(auto_approve: AutoApprove = False, as_json: AsJson = False) -> None:
    """Do a bundled ticket for real, all embedded.

    Only the model's words are canned, unless SDLC_MODEL names a model.
    """
    from sdlc.cli.demonstration import demonstrate

    raise typer.Exit(wait_for(demonstrate(CONTEXT, auto_approve=auto_approve, as_json=as_json)))


def run(
    ticket: Annotated[Path, typer.Option("--ticket", help="A Markdown file with a title and what is wanted.")],
    repo: Repo = ".",
    base: Base = "",
    auto_approve: AutoApprove = False,
    as_json: AsJson = False,
) -> None:
    """Do one run to its end, with your repository and model.

    Server, tracker and forge are embedded; Ctrl-C leaves a run that `sdlc resume-run` goes on with.
    """
    from sdlc.cli.foreground import run_ticket

    settings = CONTEXT.settings()
    raise typer.Exit(
        wait_for(run_ticket(settings, ticket, repo, base=base, auto_approve=auto_approve, as_json=as_json))
    )


def resume_run(key: Key, auto_approve: AutoApprove = False, as_json: AsJson = False) -> None:
    """Go on with a run that was left."""
    from sdlc.cli.foreground import resume

    raise typer.Exit(wait_for(resume(CONTEXT.settings(), key, auto_approve=auto_approve, as_json=as_json)))


def start(
    key: Annotated[
        str, typer.Argument(help="The ticket's key in the tracker, a Markdown file, `issue`, or `workloop`.")
    ],
    step: Annotated[
        str,
        typer.Argument(
            metavar="[N|STEP]",
            help="After `issue`: its number on GitHub. After `workloop`: implement, unit_tests, integration_tests or "
            "static_checks.",
        ),
    ] = "",
    repo: MaybeRepo = "",
    base: Base = "",
    instruction: Annotated[
        str, typer.Option("--instruction", "-m", help="With `workloop`: what the engine is to do.")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="With `workloop`: follow it to its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a run and return.

    A second start for the same ticket joins the first. `sdlc start issue N` takes an issue of GitHub by its number.
    `sdlc start workloop STEP` starts an engine alone, which works until STEP is green and leaves a branch.
    """
    if key == "workloop":
        from sdlc.cli.work_loops import start_work_loop

        raise typer.Exit(
            start_work_loop(step, repo=repo or ".", base=base, instruction=instruction, wait=wait, as_json=as_json)
        )
    if instruction or wait or (step and key != "issue"):
        raise typer.BadParameter("STEP, --instruction and --wait go with `start workloop STEP`.")
    settings = CONTEXT.settings()
    if key == "issue":
        from sdlc.cli.choosing import key_of_issue

        key, repo = key_of_issue(settings, step, repo), ""  # the ticket itself says whose it is
    wait_for(_start(settings, key, repo=repo, base=base, as_json=as_json))


async def _start(settings: Settings, key: str, *, repo: str, base: str, as_json: bool) -> None:
    from sdlc.cli.foreground import start_run
    from sdlc.cli.preflight import prepare
    from sdlc.runtime.client import connect
    from sdlc.runtime.dev_server import running_server
    from sdlc.runtime.runs import workflow_id

    client = await connect(settings)
    file = Path(key)
    async with busy("Looking at ticket, repository and model"):
        request = await prepare(settings, file if file.suffix == ".md" else key, repo, base=base)
    server = running_server(settings)
    joined = await start_run(settings, client, request, ui_url=server.ui_url if server else "")
    run_id = workflow_id(request.ticket_key)
    if as_json:
        print_json({"ticket": request.ticket_key, "workflow_id": run_id, "joined": joined})
    else:
        typer.echo(f"{request.ticket_key}: {'joined the run that is there' if joined else 'started'} ({run_id}).")


def next_ticket(
    start_it: Annotated[bool, typer.Option("--start", help="Start its run, as `sdlc start KEY` does.")] = False,
    repo: MaybeRepo = "",
    base: Base = "",
    as_json: AsJson = False,
) -> None:
    """Show which ticket would be taken next.

    Of those that the tracker offers (ready, free, most urgent first) and no run is open for. Exit code 1 if there is
    none.
    """
    settings = CONTEXT.settings()

    async def look() -> int:
        from sdlc.cli.choosing import next_of, show_ticket

        ticket = await next_of(settings)
        if ticket is None:
            say(
                "No ticket is offered: none is ready, free and without a run. docs/integrations.md says what makes one."
            )
            return 1
        if start_it:
            await _start(settings, ticket.key, repo=repo, base=base, as_json=as_json)
        else:
            show_ticket(ticket, as_json=as_json)
        return 0

    raise typer.Exit(wait_for(look()))


def dev() -> None:
    """Keep server and worker up until Ctrl-C.

    Runs that were left go on.
    """
    from sdlc.cli.foreground import serve

    wait_for(serve(CONTEXT.settings(), say))


def worker() -> None:
    """Run a worker for a server that you name.

    By TEMPORAL_ADDRESS, a profile of temporal.toml, or `temporal.address` in the configuration.
    """
    from sdlc.cli.foreground import work

    wait_for(work(CONTEXT.settings(), say))
