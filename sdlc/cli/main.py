"""The `sdlc` command. Exit codes: 0 done, 1 failure, 2 wrong use, 130 interrupted.

Only what `--help` needs is imported here; every command imports its own room when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from sdlc.cli import (
    completing,
    configuring,
    deciding,
    doctor,
    engines,
    reading,
    reviewing,
    running,
    serving,
    setup,
    showing,
    signalling,
)
from sdlc.cli.context import CONTEXT
from sdlc.cli.failures import exit_code_of, leave

EXIT_CODES = """Exit codes: 0 done; 1 it failed, came to nothing, or a fault was found; 2 wrong use or configuration;
130 interrupted. NO_COLOR=1 leaves colours out, SDLC_DEBUG=1 shows tracebacks."""

app = typer.Typer(
    name="sdlc",
    help="From a ticket to a reviewed, tested and approved pull request, on Temporal.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
# In this order they stand in the help: begin, look, decide, keep.
for room in (
    *(setup, doctor, configuring, running, reading, showing, reviewing),
    *(deciding, signalling, engines, serving, completing),
):
    room.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from sdlc import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    config: Annotated[Path | None, typer.Option(help="Configuration file; default sdlc.yaml if there is one.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Tickets, pull requests and the embedded server's database.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    CONTEXT.config = config
    CONTEXT.data_dir = data_dir


def outcome(arguments: Sequence[str]) -> int:
    """Do what the arguments say; whatever goes wrong becomes one line and an exit code, which is returned."""
    return exit_code_of(lambda: app(list(arguments), prog_name="sdlc", standalone_mode=False))


def main() -> NoReturn:
    """Entry point."""
    leave(outcome(sys.argv[1:]))


if __name__ == "__main__":
    main()
