"""Commands for coding engines that are programs of others: which there are, fetching and removing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdlc.cli.context import CONTEXT, say
from sdlc.cli.interrupts import wait_for

if TYPE_CHECKING:
    from sdlc.integrations.engine_installs import Installations, Package

Name = Annotated[str, typer.Argument(help="The engine's name, such as aider; `sdlc engines` lists them.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="List, fetch and remove coding engines.", rich_markup_mode=None)
    group.callback(invoke_without_command=True)(engines)
    group.command("install")(install)
    group.command("remove")(remove)
    app.add_typer(group, name="engines")


def engines(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List the coding engines, and which are installed on this machine."""
    if context.invoked_subcommand is not None:
        return
    rows = _rows(_installations())
    if as_json:
        from sdlc.cli.output import print_json

        print_json(rows)
    else:
        _show(rows)


def install(
    name: Name,
    version: Annotated[str, typer.Option("--version", help="Another one than was tried; set engine.version too.")] = "",
) -> None:
    """Fetch a coding engine into the cache, and try in the sandbox whether it starts."""
    package = _package(name)

    async def fetch() -> None:
        installed = await _installations().install(package, version, say)
        typer.echo(f"{name} {installed.version} is installed in {installed.folder} ({_megabytes(installed.bytes)}).")

    wait_for(fetch())


def remove(
    name: Name,
    version: Annotated[str, typer.Option("--version", help="Only this one; otherwise all.")] = "",
) -> None:
    """Remove a coding engine from the cache."""
    package = _package(name)

    async def clear() -> None:
        gone = await _installations().remove(package, version)
        if gone:
            typer.echo(f"{name} {', '.join(gone)} {'is' if len(gone) == 1 else 'are'} removed.")
        else:
            typer.echo(f"{name}{f' {version}' if version else ''} was not installed.")

    wait_for(clear())


def _installations() -> Installations:
    from sdlc.integrations.engine_installs import Installations
    from sdlc.integrations.sandbox import open_sandbox

    settings = CONTEXT.settings()
    return Installations(settings.cache_dir, open_sandbox(settings.sandbox))


def _package(name: str) -> Package:
    from sdlc.engines.programs.registry import ENGINES, package_of
    from sdlc.errors import ConfigurationError

    package = package_of(name)
    if package is not None:
        return package
    needless = {"agent": "is built in", "command": "is a program of your own, named by engine.command"}
    if name in needless:
        raise ConfigurationError(f"`{name}` {needless[name]}; there is nothing to install or remove.")
    raise ConfigurationError(f"There is no engine `{name}`; there are {', '.join(ENGINES)}.")


def _rows(installations: Installations) -> list[dict[str, Any]]:
    from sdlc.engines.programs.registry import ENGINES

    rows = []
    for name, known in ENGINES.items():
        there = [
            {"version": version, **_state(installations, known.package, version)}
            for version in installations.versions(known.package)
        ]
        row = {"name": name, "what": known.what, "wire": known.program.wire}
        rows.append({**row, "tried": known.package.version, "installed": there})
    return rows


def _state(installations: Installations, package: Package, version: str) -> dict[str, Any]:
    from sdlc.errors import EngineUnusable

    try:
        return {"bytes": installations.find(package, version).bytes, "trouble": ""}
    except EngineUnusable as error:
        return {"bytes": 0, "trouble": str(error)}


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from sdlc.cli.view import show

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("engine", "what it is", "wire", "tried", "installed", "size"):
        table.add_column(title, justify="right" if title == "size" else "left", no_wrap=title != "what it is")
    table.add_row("agent", "built in, durable turn by turn", "chat", "", "always", "")
    for row in rows:
        versions = ", ".join(one["version"] + (" (broken)" if one["trouble"] else "") for one in row["installed"])
        size = sum(one["bytes"] for one in row["installed"])
        words = (row["name"], row["what"], row["wire"], row["tried"], versions or "no")
        table.add_row(*words, _megabytes(size) if size else "")
    table.add_row("command", "a program of your own, by engine.command", "chat", "", "", "")
    show(table)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
