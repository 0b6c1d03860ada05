"""What the global options said, and what every command needs."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.runtime.runs import Runs


@dataclass
class Context:
    config: Path | None = None
    data_dir: Path | None = None
    key: str = ""
    """Of the run that the command is about."""

    def settings(self, **overrides: Any) -> Settings:
        """The settings, with the command line's word over file and environment; ConfigurationError."""
        from sdlc.cli.configuration import load_settings

        if self.data_dir is not None:
            overrides.setdefault("data_dir", self.data_dir)
        return load_settings(self.config, overrides)


CONTEXT = Context()


def say(text: str) -> None:
    """A line for a person; results go to standard output, this never does."""
    from sdlc.untrusted import escaped_text

    with contextlib.suppress(OSError):  # the terminal was closed; what is being tidied up must go on
        print(escaped_text(text), file=sys.stderr, flush=True)


def log_file(settings: Settings) -> Path:
    """Where a command that works in the foreground writes its log."""
    return settings.data_dir / "sdlc.log"


async def connected_runs(settings: Settings) -> Runs:
    """Runs on the server that the environment, the configuration or a running `sdlc dev` names."""
    from sdlc.runtime.client import connect, task_queue
    from sdlc.runtime.runs import Runs

    return Runs(await connect(settings), task_queue=task_queue(settings))
