"""Commands that only look at runs: status, list, findings, audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdlc.cli.context import CONTEXT, connected_runs
from sdlc.cli.interrupts import wait_for
from sdlc.cli.output import AsJson, Format, Key, PanelName, about, echo_json, print_json
from sdlc.errors import RunNotFound, ServiceUnavailable, UsageError

if TYPE_CHECKING:
    from temporalio.client import Client

    from sdlc.domain import AuditEntry
    from sdlc.runtime.runs import RunRow, Runs

MOST_ROWS = 1_000
"""Runs among which those of a person are looked for."""


def register(app: typer.Typer) -> None:
    app.command("status")(status)
    app.command("list")(list_runs)
    app.command("findings")(findings)
    app.command("audit")(audit)


def status(
    keys: Annotated[list[str], typer.Argument(metavar="KEY", help="Keys of tickets, such as BUG-1.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep looking until the run is over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show where runs stand, step by step.

    And what they wait for, what is being tried again, and what it cost. Where no worker answers, what the run has
    said last. With several keys --json prints a line for each.
    """
    if follow and len(keys) > 1:
        raise typer.BadParameter("--follow takes one key.")
    if keys[0].startswith("workloop-") and len(keys) == 1:
        from sdlc.cli.work_loops import show_loop

        show_loop(keys[0], follow_it=follow, as_json=as_json)
        return

    async def look() -> None:
        from sdlc.runtime.client import connect, task_queue
        from sdlc.runtime.runs import Runs

        settings = CONTEXT.settings()
        client = await connect(settings)
        runs = Runs(client, task_queue=task_queue(settings))
        if follow:
            from sdlc.cli.watching import watch

            about(keys[0])
            await watch(runs, keys[0])
            if not as_json:
                return
        for number, key in enumerate(keys):
            if number and not as_json:
                typer.echo()
            about(key)
            await _show_status(client, runs, key, as_json=as_json)

    wait_for(look())


async def _show_status(client: Client, runs: Runs, key: str, *, as_json: bool) -> None:
    try:
        seen = await runs.look(key)
    except ServiceUnavailable as error:
        if not as_json:
            await _show_last_known(client, key, error)
        raise
    if as_json:
        again = [dict(vars(trouble)) for trouble in seen.troubles]
        print_json({**seen.progress.model_dump(mode="json"), "trying_again": again})
    else:
        from sdlc.cli.view import progress_view, show

        show(progress_view(seen.progress, seen.troubles))


async def _show_last_known(client: Client, key: str, error: ServiceUnavailable) -> None:
    from sdlc.runtime.last_known import last_known, may_be_the_worker

    known = await last_known(client, key) if may_be_the_worker(error) else None
    if known is not None:
        from sdlc.cli.view import last_known_view, show

        show(last_known_view(known))


def list_runs(
    open_only: Annotated[bool, typer.Option("--open", help="Only runs that are not over.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only runs that wait for people, longest first.")] = False,
    state: Annotated[str, typer.Option("--state", help="Only runs in it, such as needs_attention.")] = "",
    repo: Annotated[str, typer.Option("--repo", help="Only runs about it, by the name that the list shows.")] = "",
    person: Annotated[
        str, typer.Option("--person", help="Only runs that they have started, or may decide about by name.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="So many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    wanted = _state(state)

    async def look() -> None:
        runs = await connected_runs(CONTEXT.settings())
        rows = await runs.list(
            include_closed=not open_only,
            limit=MOST_ROWS if person else limit,
            repository=repo,
            state=wanted,
            waiting=waiting,
        )
        # A run that was ended from outside still has the state in which it was in Temporal's index.
        rows = [row for row in rows if not wanted or row.state == wanted]
        rows = [row for row in rows if not person or _concerns(row, person)][:limit]
        if waiting:
            rows.sort(key=lambda row: (row.card.waiting_since if row.card else None) or row.started)
        if as_json:
            print_json([vars(row) for row in rows])
        elif rows:
            from sdlc.cli.view import runs_table, show

            show(runs_table(rows))
        else:
            typer.echo(_no_rows(filtered=bool(waiting or wanted or repo or person), open_only=open_only))

    wait_for(look())


def _state(state: str) -> str:
    from sdlc.cli.guesses import closest
    from sdlc.domain import RunState

    known = [one.value for one in RunState]
    wanted = state.strip().lower().replace("-", "_").replace(" ", "_")
    if wanted and wanted not in known:
        meant = closest(wanted, known)
        hint = f"did you mean {meant}?" if meant else f"there are {', '.join(known)}."
        raise UsageError(f"{state!r} is no state of a run; {hint}")
    return wanted


def _concerns(row: RunRow, person: str) -> bool:
    names = [row.starter, *((row.card.starter, *row.card.approvers) if row.card else ())]
    return person.strip().casefold() in (name.casefold() for name in names)


def _no_rows(*, filtered: bool, open_only: bool) -> str:
    if filtered:
        return "No run is like that; `sdlc list` shows all."
    if open_only:
        return "No run is under way; `sdlc list` shows those that are over."
    return "There are no runs yet; `sdlc run --ticket FILE --repo PATH` starts one."


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
        from sdlc.cli.reviews import show_reviews
        from sdlc.integrations.artifacts import ArtifactStore
        from sdlc.runtime.run_reviews import reviews_of

        settings = CONTEXT.settings()
        found = await reviews_of(await connected_runs(settings), key, ArtifactStore(settings.artifacts_dir))
        chosen = [review for review in found if not panel or review.panel.value in panel]
        if as_json:
            from sdlc.review_graphs.report_json import listed

            echo_json(listed(chosen, everything=everything))
        else:
            show_reviews(chosen, form, everything=everything, one_run=one_run, key=key)

    wait_for(look())


def audit(
    key: Key,
    as_lines: Annotated[bool, typer.Option("--jsonl", help="Print JSON lines, which --verify takes.")] = False,
    verify: Annotated[
        Path | None, typer.Option("--verify", help="Is this file of JSON lines the trail of this run, and unchanged?")
    ] = None,
    of_run: Annotated[
        str, typer.Option("--run", help="Temporal's id of an earlier execution, as `sdlc retry --from-step` names it.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show who decided what, and when.

    Refused decisions too. Each entry carries the hash of the one before; with --verify exit code 1 says that
    something was changed, added or left out.
    """

    async def look() -> int:
        if verify is not None:
            from sdlc.cli.trails import verified

            return await verified(verify, key, lambda: _trail(key, of_run))
        entries = await _trail(key, of_run)
        if as_lines:
            for entry in entries:
                print_json(entry)
        elif as_json:
            print_json(entries)
        else:
            from sdlc.cli.trails import standing
            from sdlc.cli.view import audit_table, show

            show(audit_table(entries))
            typer.echo(standing(entries))
        return 0

    raise typer.Exit(wait_for(look()))


async def _trail(key: str, of_run: str) -> list[AuditEntry]:
    if not of_run:
        return await (await connected_runs(CONTEXT.settings())).audit(key)
    from temporalio.client import WorkflowQueryFailedError
    from temporalio.service import RPCError

    from sdlc.domain import AuditEntry
    from sdlc.runtime.client import connect
    from sdlc.runtime.runs import ANSWER_WITHIN, workflow_id

    client = await connect(CONTEXT.settings())
    handle = client.get_workflow_handle(workflow_id(key), run_id=of_run)
    try:
        found = await handle.query("audit", result_type=list[AuditEntry], rpc_timeout=ANSWER_WITHIN)
    except (RPCError, WorkflowQueryFailedError) as error:
        raise RunNotFound(f"The execution {of_run} of {key} can't be asked ({error}); a worker has to run.") from error
    return list(found)
