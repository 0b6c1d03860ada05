"""Commands that do work: run, resume-run, demo, start, dev, worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdlc.cli.context import CONTEXT, say
from sdlc.cli.interrupts import wait_for
from sdlc.cli.reading import AsJson, Key, print_json

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
    key: Annotated[str, typer.Argument(help="The ticket's key in the tracker, a Markdown file, or `workloop`.")],
    step: Annotated[
        str,
        typer.Argument(help="After `workloop`: implement, unit_tests, integration_tests or static_checks."),
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

    A second start for the same ticket joins the first. `sdlc start workloop STEP` starts an engine alone, which works
    until STEP is green and leaves a branch.
    """
    if key == "workloop":
        from sdlc.cli.work_loops import start_work_loop

        raise typer.Exit(
            start_work_loop(step, repo=repo or ".", base=base, instruction=instruction, wait=wait, as_json=as_json)
        )
    if step or instruction or wait:
        raise typer.BadParameter("STEP, --instruction and --wait go with `start workloop STEP`.")

    async def send() -> None:
        from sdlc.cli.foreground import start_run
        from sdlc.cli.preflight import prepare
        from sdlc.runtime.client import connect
        from sdlc.runtime.dev_server import running_server
        from sdlc.runtime.runs import workflow_id

        settings = CONTEXT.settings()
        client = await connect(settings)
        file = Path(key)
        request = await prepare(settings, file if file.suffix == ".md" else key, repo, base=base)
        server = running_server(settings)
        joined = await start_run(settings, client, request, ui_url=server.ui_url if server else "")
        run_id = workflow_id(request.ticket_key)
        if as_json:
            print_json({"ticket": request.ticket_key, "workflow_id": run_id, "joined": joined})
        else:
            typer.echo(f"{request.ticket_key}: {'joined the run that is there' if joined else 'started'} ({run_id}).")

    wait_for(send())


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
