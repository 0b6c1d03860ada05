"""`sdlc completion`: what makes a shell complete commands and options."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from sdlc.errors import UsageError

Shell = Literal["bash", "zsh", "fish", "powershell"]


def register(app: typer.Typer) -> None:
    app.command("completion")(completion)


def completion(
    what: Annotated[Literal["show", "install"], typer.Argument(help="Print the script, or put it in place.")] = "show",
    shell: Annotated[Shell | None, typer.Option("--shell", help="Default: the one that you type in.")] = None,
) -> None:
    """Let your shell complete commands and options.

    `install` writes the script below your home folder, and where the shell needs it a line into its start file.
    """
    from typer.completion import get_completion_script, install  # type: ignore[attr-defined]

    named = shell or _present_shell()
    if what == "show":
        typer.echo(get_completion_script(prog_name="sdlc", complete_var="_SDLC_COMPLETE", shell=named))
        return
    _, path = install(shell=named, prog_name="sdlc", complete_var="_SDLC_COMPLETE")
    typer.echo(f"Completion for {named} is in {path}; open a new shell.")


def _present_shell() -> str:
    import shellingham  # type: ignore[import-untyped]

    try:
        found, _ = shellingham.detect_shell()
    except shellingham.ShellDetectionFailure:
        found = ""
    if found not in Shell.__args__:  # type: ignore[attr-defined]
        raise UsageError(
            f"It can't be told which shell you use{f' ({found})' if found else ''}; say it with --shell bash."
        )
    return str(found)
