"""`sdlc demo`: the main job for real, on a bundled ticket. Only the words of the model are canned, and it says so."""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from importlib import resources
from pathlib import Path

from sdlc.cli.context import Context, say
from sdlc.cli.demo_model import mark_as_demo, model_of_a_demo
from sdlc.cli.foreground import run_ticket
from sdlc.config import TemporalSettings

_KEEP = 5
"""Folders of earlier demos that are kept; older ones are removed."""


async def demonstrate(context: Context, *, auto_approve: bool, as_json: bool) -> int:
    """One run on a fresh copy of the bundled repository, in a folder of its own; the exit code."""
    from sdlc.demo.bundle import make_repository

    settings = context.settings()
    leave_other_servers_alone()
    home = fresh_folder(settings.data_dir / "demo")
    settings = settings.model_copy(update={"data_dir": home, "temporal": TemporalSettings()})
    repository = await make_repository(home / "repository")
    ticket = Path(str(resources.files("sdlc.demo") / "ticket.md"))
    say(f"The demo lives in {home}")
    mark_as_demo(settings)
    async with model_of_a_demo(settings) as equipped:
        return await run_ticket(equipped, ticket, str(repository), base="", auto_approve=auto_approve, as_json=as_json)


def leave_other_servers_alone() -> None:
    """Everything of a demo is embedded: a run of a bundled ticket has no business on somebody's cluster."""
    named = [name for name in os.environ if name.startswith("TEMPORAL_")]
    if any(os.environ.get(name) for name in ("TEMPORAL_ADDRESS", "TEMPORAL_HOST", "TEMPORAL_PROFILE")):
        say("The demo brings its own Temporal server; the one that the environment names is left alone.")
    for name in named:
        del os.environ[name]
    os.environ["TEMPORAL_CONFIG_FILE"] = os.devnull


def fresh_folder(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    # A server's record lies there while it runs: that demo goes on in another terminal.
    earlier = sorted(
        path for path in parent.iterdir() if path.is_dir() and not (path / "temporal/server.json").exists()
    )
    for old in earlier[: -_KEEP + 1] if len(earlier) >= _KEEP else []:
        shutil.rmtree(old, ignore_errors=True)
    folder = parent / f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    folder.mkdir()
    return folder
