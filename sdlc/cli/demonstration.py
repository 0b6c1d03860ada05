"""`sdlc demo`: the main job for real, on a bundled ticket. Only the words of the model are canned, and it says so."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from importlib import resources
from pathlib import Path

from sdlc.cli.context import Context, say
from sdlc.cli.foreground import run_ticket
from sdlc.config import ModelSettings, Price, Settings

_KEEP = 5
"""Folders of earlier demos that are kept; older ones are removed."""


async def demonstrate(context: Context, *, auto_approve: bool, as_json: bool) -> int:
    """One run on a fresh copy of the bundled repository, in a folder of its own; the exit code."""
    from sdlc.demo.bundle import make_repository

    settings = context.settings()
    home = _fresh_folder(settings.data_dir / "demo")
    settings = settings.model_copy(update={"data_dir": home})
    repository = await make_repository(home / "repository")
    ticket = Path(str(resources.files("sdlc.demo") / "ticket.md"))
    say(f"The demo lives in {home}")
    async with _model(settings) as llm:
        settings = settings.model_copy(update={"llm": llm})
        return await run_ticket(settings, ticket, str(repository), base="", auto_approve=auto_approve, as_json=as_json)


@asynccontextmanager
async def _model(settings: Settings) -> AsyncIterator[ModelSettings]:
    if settings.llm.name:
        say(f"The model is {settings.llm.name}, as SDLC_MODEL says.")
        yield settings.llm
        return
    from sdlc.demo.scripted_model import MODEL, ScriptedModel

    say(
        "The model is a scripted one: its words are canned, every tool call, review, test and git operation is real. "
        "Set SDLC_MODEL and OPENAI_API_KEY (OPENAI_BASE_URL for an endpoint of your own) for a real model."
    )
    async with ScriptedModel() as server:
        free = {MODEL: Price(input=0, output=0)}
        yield settings.llm.model_copy(update={"name": MODEL, "base_url": server.base_url, "prices": free})


def _fresh_folder(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    earlier = sorted(path for path in parent.iterdir() if path.is_dir())
    for old in earlier[: -_KEEP + 1] if len(earlier) >= _KEEP else []:
        shutil.rmtree(old, ignore_errors=True)
    folder = parent / f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    folder.mkdir()
    return folder
