"""What the global options said, and the settings that follow from it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.runtime.runs import Runs

T = TypeVar("T")


@dataclass
class Context:
    config: Path | None = None
    data_dir: Path | None = None

    def settings(self, **overrides: Any) -> Settings:
        """The settings, with the command line's word over file and environment; ConfigurationError."""
        from sdlc.config import load

        if self.data_dir is not None:
            overrides.setdefault("data_dir", self.data_dir)
        return load(self.config, overrides=overrides)


CONTEXT = Context()


def say(text: str) -> None:
    """A line for a person; results go to standard output, this never does."""
    print(text, file=sys.stderr, flush=True)


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end; a SIGTERM ends it as Ctrl-C does, with everything tidied up."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    return asyncio.run(work)


async def connected_runs(settings: Settings) -> Runs:
    """Runs on the server that the environment, the configuration or a running `sdlc dev` names."""
    from sdlc.runtime.client import connect, task_queue
    from sdlc.runtime.runs import Runs

    return Runs(await connect(settings), task_queue=task_queue(settings))
