"""The scripted model of a demo, also for those who go on with a demo that was left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sdlc.cli.context import say
from sdlc.config import EngineSettings, ModelSettings, Price, Settings

_MARK = "demo.txt"


def mark_as_demo(settings: Settings) -> None:
    """Leave word in the data folder that its runs were begun with the scripted model."""
    (settings.data_dir / _MARK).write_text("The runs of this folder are a demo's; `sdlc demo` made it.\n")


@asynccontextmanager
async def model_of_a_demo(settings: Settings) -> AsyncIterator[Settings]:
    """The settings; in a demo's data folder with the scripted model up, unless another is named."""
    if not (settings.data_dir / _MARK).is_file():
        yield settings
        return
    if settings.llm.name:
        say(f"The model is {settings.llm.name}, as SDLC_MODEL says.")
        yield settings
        return
    from sdlc.demo.scripted_model import MODEL, ScriptedModel

    say(
        "The model is a scripted one: its words are canned, every tool call, review, test and git operation is real. "
        "Set SDLC_MODEL and OPENAI_API_KEY (OPENAI_BASE_URL for an endpoint of your own) for a real model."
    )
    async with ScriptedModel() as server:
        llm = ModelSettings(name=MODEL, base_url=server.base_url, prices={MODEL: Price(input=0, output=0)})
        if settings.engine.name != EngineSettings().name:
            say(f"The engine is the built-in one: the scripted model doesn't speak to {settings.engine.name}.")
        yield settings.model_copy(update={"llm": llm, "engine": EngineSettings()})
