"""`sdlc config`: what is in force and where it comes from, and whether it fits together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdlc.cli.context import CONTEXT, say
from sdlc.cli.output import AsJson, print_json
from sdlc.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.text import Text

    from sdlc.cli.origins import Sources, Value

_SETTING = re.compile(r"\b[a-z_]+(?:\.[a-z_]+)+\b|^[a-z_]+\b")
_WINS = "TEMPORAL_"


def register(app: typer.Typer) -> None:
    app.command("config")(config)


def config(
    what: Annotated[
        str, typer.Argument(metavar="[show|check]", help="Show the settings, or look for faults.")
    ] = "show",
    changed: Annotated[bool, typer.Option("--changed", help="Show only what is not the default.")] = False,
    sources: Annotated[bool, typer.Option("--sources", help="With --json: where each value comes from, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the configuration in force, secrets hidden.

    And where each value comes from: a line of the file, a variable, the command line, or the default. `config check`
    looks whether it fits together, without asking anybody (`sdlc doctor` asks); exit code 1 with place and mend.
    """
    if what == "check":
        raise typer.Exit(_check())
    if what != "show":
        raise typer.BadParameter(f"there is no `config {what}`; there are show and check", param_hint="what")
    from pydantic_core import to_jsonable_python

    from sdlc.runtime.redaction import Redactor

    settings = CONTEXT.settings()
    redacted = Redactor.of(settings)
    if as_json and not (sources or changed):
        print_json(redacted.deep(to_jsonable_python(settings)))
        return
    from sdlc.cli.origins import DEFAULT, Value

    shown = [
        Value(one.path, redacted.deep(to_jsonable_python(one.value)), one.origin)
        for one in _sources().values(settings)
        if not changed or one.origin != DEFAULT
    ]
    if as_json:
        print_json({".".join(one.path): {"value": one.value, "source": one.origin} for one in shown})
        return
    from rich.console import Group

    from sdlc.cli.view import show

    show(Group(*_lines(shown)))


def _sources() -> Sources:
    from sdlc.cli.origins import Sources
    from sdlc.config import CONFIG_FILE

    file = CONTEXT.config or (Path(CONFIG_FILE) if Path(CONFIG_FILE).is_file() else None)
    given: dict[tuple[str, ...], str] = {("data_dir",): "--data-dir"} if CONTEXT.data_dir is not None else {}
    return Sources(file, os.environ, given)


def _lines(values: Iterable[Value]) -> list[Text]:
    """YAML, with where a value comes from as a comment."""
    import json

    from rich.text import Text

    from sdlc.cli.origins import DEFAULT

    lines: list[Text] = []
    above: Sequence[str] = ()
    for one in values:
        *sections, name = one.path
        for depth, section in enumerate(sections):
            if sections[: depth + 1] != list(above[: depth + 1]):
                lines.append(Text(f"{'  ' * depth}{section}:", "bold"))
        above = sections
        text = json.dumps(one.value, ensure_ascii=False)
        style = "" if one.origin == DEFAULT else "bold"
        # JSON has escaped the control characters that terminals know best; these are the rest.
        text = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
        lines.append(Text.assemble("  " * len(sections), (f"{name}: {text}", style), (f"  # {one.origin}", "dim")))
    winning = sorted(name for name in os.environ if name.startswith(_WINS))
    if winning:
        lines.append(Text(f"# Set as well, and stronger than `temporal`: {', '.join(winning)}", "dim"))
    return lines


def _check() -> int:
    """Faults and warnings, each with its place and mend; the exit code."""
    from sdlc.runtime.diagnosis import of_settings
    from sdlc.runtime.redaction import Redactor

    try:
        settings = CONTEXT.settings()
    except ConfigurationError as error:
        say(f"sdlc: {error}")
        return 1
    checks = of_settings(settings)
    redacted = Redactor.of(settings)
    for check in checks:
        if check.state == "ok":
            typer.echo(redacted(check.found))
        else:
            place = _place(f"{check.found} {check.mend}")
            typer.echo(redacted(f"{check.state}: {place}{check.found} {check.mend}"))
    return int(any(check.state == "fault" for check in checks))


def _place(text: str) -> str:
    """The line of the file on which a setting stands that the text names, or that of its section."""
    from sdlc.cli.origins import lines_of

    file = _sources().file
    lines = lines_of(file) if file is not None else {}
    for setting in _SETTING.findall(text):
        path = tuple(setting.split("."))
        line = lines.get(path) or lines.get(path[:1])
        if line:
            return f"{file}, line {line}: "
    return ""
