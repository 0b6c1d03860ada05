"""Ways of starting a program: with its task where it is not taken from a file, apart from the repository's Python."""

from __future__ import annotations

from sdlc.engines.programs.base import Launch

LONGEST_ARGUMENT = 100_000
"""Bytes; Linux takes 131 072 in one argument."""


def own_bound(launch: Launch) -> int:
    """For a program with a bound of its own: one turn more than it has, so that it isn't taken for done at its end.

    The call beyond is refused on its way out, and the run is told why.
    """
    return launch.max_turns + 1


def on_stdin(brief: str, *command: str) -> tuple[str, ...]:
    """The command with the brief on its standard input."""
    return ("/bin/sh", "-c", 'exec "$@" <"$0"', brief, *command)


def as_last_argument(brief: str, *command: str) -> tuple[str, ...]:
    """The command with the brief's text as its last argument; a brief too long for that is named, to be read."""
    script = (
        f'if [ "$(wc -c <"$0")" -le {LONGEST_ARGUMENT} ]; then task=$(cat "$0"); '
        'else task="Your whole task is in the file $0. Read all of it first, then do it."; fi; exec "$@" "$task"'
    )
    return ("/bin/sh", "-c", script, brief, *command)


def apart(program: str) -> tuple[str, ...]:
    """A Python program by the interpreter beside it, which doesn't see the PYTHONPATH of the repository's environment.

    What it starts does.
    """
    return (f"{program.rpartition('/')[0]}/python", "-I", program)
