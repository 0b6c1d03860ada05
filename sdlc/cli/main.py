"""The `sdlc` command. Exit codes: 0 done, 1 failure, 2 wrong use, 130 interrupted.

Only what `--help` needs is imported here; every command imports its own room when it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sdlc.cli import deciding, reading, running
from sdlc.cli.context import CONTEXT

app = typer.Typer(
    name="sdlc",
    help="From a ticket to a reviewed, tested and approved pull request, on Temporal.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
running.register(app)
reading.register(app)
deciding.register(app)


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


def main() -> None:
    """Entry point: turns our errors into one sentence and an exit code."""
    from sdlc.errors import SdlcError, UsageError

    try:
        app()
    except UsageError as error:
        _tell(error)
        sys.exit(2)
    except SdlcError as error:
        _tell(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader has gone, as in `sdlc list | head`; nothing is left to say, and nobody to say it to.
        sys.stderr.close()
        sys.exit(1)


def _tell(error: BaseException) -> None:
    typer.echo(f"sdlc: {error}", err=True)


if __name__ == "__main__":
    main()
