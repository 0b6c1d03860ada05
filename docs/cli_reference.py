"""Make docs/cli.md from the command itself: every command, argument and option, and the exit codes.

    .venv/bin/python docs/cli_reference.py [--check]

`--check` changes nothing and ends with 1 where the file is not what the code says.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer import Context
from typer.main import get_command

from sdlc.cli.main import app
from sdlc.cli.signalling import described, shapes

_KINDS = {"str": "TEXT", "path": "PATH", "int": "N", "int range": "N", "float": "N"}

PAGE = Path(__file__).with_name("cli.md")
HEAD = """\
# The command line

Made by `python docs/cli_reference.py` from the code; a test says when it is out of date. `sdlc COMMAND --help` says the
same at a terminal.

## Exit codes

| code | when |
|---|---|
| 0 | it was done; a run that is waited for is closed; nothing is wrong |
| 1 | it failed, or came to nothing: a run that ended otherwise, a service that does not answer, a fault that \
`doctor`, `config check`, `review` or `audit --verify` has found, no ticket for `next` |
| 2 | wrong use or configuration: what was typed or set can't be done as it is, with the mend |
| 130 | interrupted by Ctrl-C, SIGTERM or a terminal that was closed; all is tidied up, runs are kept |

Results go to standard output, everything else to standard error: `--json` prints one document and nothing besides.
What takes over 2 s says so, by a line that moves at a terminal and by plain lines elsewhere. `NO_COLOR=1` leaves
colours out, `SDLC_DEBUG=1` shows the traceback of a failure.

## Where Temporal is

As Temporal's own tools have it: `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS…`, a
profile of `temporal.toml` (`TEMPORAL_PROFILE`, `TEMPORAL_CONFIG_FILE`); `TEMPORAL_HOST`, `TEMPORAL_PORT` and
`TEMPORAL_TASK_QUEUE` are understood too. Below them stand `temporal.address` and so on in `sdlc.yaml`; without any of
these the embedded server of `sdlc run`, `sdlc dev` and the demo is used.
"""

SIGNALS = """\
Temporal's own tools and `sdlc signal KEY NAME JSON` send a run these, each with one JSON object. A field with a
question mark can be left out. What does not count is in the audit trail with the reason.

| signal | fields |
|---|---|"""


def page() -> str:
    """The whole page."""
    root: Any = get_command(app)
    commands = list(_commands(root, "sdlc"))
    parts = [HEAD, "## Commands\n", "| command | what it does |\n|---|---|"]
    parts += [f"| [`{name}`](#{_anchor(name)}) | {_cell(_help(command)[0])} |" for name, command in commands]
    parts += ["\n## Options of all commands\n", "These stand before the command: `sdlc --data-dir /srv/sdlc list`.\n"]
    parts += [_table(root)]
    for name, command in commands:
        first, *more = _help(command)
        parts += [f"\n### `{name}`\n", first, *(f"\n{paragraph}" for paragraph in more)]
        parts += [f"\n```\n{_usage(name, command)}\n```\n", _table(command)]
    parts += ["\n## Signals\n", SIGNALS, *_signals()]
    return "\n".join(parts).rstrip() + "\n"


def _signals() -> list[str]:
    return [f"| `{name}` | `{described(shape)}` |" for name, shape in shapes().items()]


def _commands(group: Any, above: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{above} {name}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{above} {name}")


def _help(command: Any) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n")]


def _usage(name: str, command: Any) -> str:
    words = [_argument(one) for one in command.params if one.param_type_name == "argument"]
    options = (
        " [OPTIONS]" if any(one.param_type_name == "option" and one.name != "help" for one in command.params) else ""
    )
    return " ".join([f"{name}{options}", *words])


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name.upper()) + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _table(command: Any) -> str:
    rows = []
    for one in command.params:
        if getattr(one, "hidden", False) or one.name in ("help", "install_completion", "show_completion"):
            continue
        if one.param_type_name == "argument":
            names = f"`{_cell(_argument(one))}`"
        else:
            names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
            names += "" if getattr(one, "is_flag", False) else f" {_cell(_kind(one, command))}"
        rows.append(f"| {names} | {_cell(_said(one))} |")
    return "\n".join(["| | |", "|---|---|", *rows]) if rows else "It has no options."


def _kind(option: Any, command: Any) -> str:
    """`a, b`, the values that it takes, or what kind of value."""
    kind = str(option.display_type(Context(command))).strip("<>")
    kind = kind.removeprefix("list[").removesuffix("]") if kind.startswith("list[") else kind
    return " or ".join(f"`{value}`" for value in kind.split("|")) if "|" in kind else _KINDS.get(kind, kind)


def _said(parameter: Any) -> str:
    words = (parameter.help or "").strip()
    words = "" if words.startswith("[") else words
    default = parameter.default
    shown = isinstance(default, str | int) and not isinstance(default, bool) and default != ""
    fixed = f"Default: `{getattr(default, 'value', default)}`." if shown and "efault" not in words else ""
    needed = "Required." if parameter.required and parameter.param_type_name == "option" else ""
    return " ".join(filter(None, (words, needed, fixed)))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _anchor(name: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-")


def main(arguments: list[str]) -> int:
    made = page()
    if "--check" in arguments:
        if PAGE.is_file() and PAGE.read_text("utf-8") == made:
            return 0
        print(f"{PAGE} is not what the code says; make it anew: python docs/cli_reference.py", file=sys.stderr)
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
