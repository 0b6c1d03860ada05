"""`sdlc review`: the panels on any checkout, without a run, a ticket or a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sdlc.cli.context import CONTEXT, say
from sdlc.cli.interrupts import wait_for
from sdlc.cli.output import Format, PanelName
from sdlc.errors import UsageError

FailOn = Literal["blocker", "major", "minor", "info", "never"]


def register(app: typer.Typer) -> None:
    app.command("review")(review)


def review(
    repository: Annotated[Path, typer.Argument(help="A folder in the repository.")] = Path("."),
    base: Annotated[
        str,
        typer.Option(help="Branch, tag or commit to compare with; default: where the work left the default branch."),
    ] = "",
    head: Annotated[str, typer.Option(help="The commit to look at; default: the files as they stand.")] = "",
    staged: Annotated[
        bool, typer.Option("--staged", help="Look at what is staged, by default against HEAD; for pre-commit.")
    ] = False,
    panel: Annotated[
        list[PanelName] | None, typer.Option("--panel", help="Only this panel; can be given more than once.")
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="How the result is written.")] = "text",
    output: Annotated[Path | None, typer.Option(help="A file for the result, instead of standard output.")] = None,
    fail_on: Annotated[FailOn, typer.Option(help="From which severity on the exit code is 1.")] = "blocker",
    ticket: Annotated[Path | None, typer.Option(help="A Markdown file that says what the change is for.")] = None,
    no_model: Annotated[bool, typer.Option("--no-model", help="Ask no model, also where one is configured.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is not open (refuted, there before, waived, …), and why.")
    ] = False,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Accept what is found, in .sdlc/baseline.json.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why it may stand; with --write-baseline.")] = "",
) -> None:
    """Review a change of any checkout, without a run.

    By default what your branch and your files bring against the default branch, untracked files too. Your
    repository is not touched. Exit code 1: there is a finding from --fail-on on, or something that has to look
    could not.
    """
    from sdlc.cli.local_review import Options, reviewed_checkout

    if head and staged:
        raise UsageError("--head and --staged are two different things to look at; give one of them.")
    if write_baseline and not reason.strip():
        raise UsageError('--write-baseline needs --reason "…", which says why the findings may stand.')
    if reason and not write_baseline:
        raise UsageError("--reason goes with --write-baseline.")
    options = Options(
        repository=repository,
        base=base,
        head=head,
        staged=staged,
        panels=tuple(name.value for name in panel or ()),
        format=output_format,
        output=output,
        fail_on=fail_on,
        ticket=ticket,
        no_model=no_model,
        everything=everything,
        baseline_reason=reason,
    )
    raise typer.Exit(wait_for(reviewed_checkout(CONTEXT.settings(), options, say)))
