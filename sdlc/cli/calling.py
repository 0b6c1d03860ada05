"""How a person calls this installation of `sdlc` for the same data: what messages tell them to type."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sdlc.cli.context import CONTEXT

if TYPE_CHECKING:
    from sdlc.config import Settings


def this_command(settings: Settings) -> str:
    """`sdlc`, `uv run sdlc` or its path, with the global options that lead to the same data folder."""
    from sdlc.cli.configuration import load_settings

    words = _program()
    if CONTEXT.config is not None:
        words += ["--config", str(CONTEXT.config)]
    if settings.data_dir != load_settings(CONTEXT.config, {}).data_dir:
        words += ["--data-dir", str(settings.data_dir)]
    return shlex.join(words)


def _program() -> list[str]:
    if os.environ.get("UV") and os.environ.get("VIRTUAL_ENV"):  # `uv run` sets both
        return ["uv", "run", "sdlc"]
    called = Path(sys.argv[0])
    found = shutil.which("sdlc")
    if called.name != "sdlc" or (found and Path(found).resolve() == called.resolve()):
        return ["sdlc"]
    return [str(called)]
