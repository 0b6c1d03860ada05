"""What commands gave on base commits, kept on this host: a commit doesn't change, so it is asked once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

from sdlc.domain import Repository
from sdlc.integrations.project.environment import Environment
from sdlc.integrations.project.plan import Command
from sdlc.steps.command_run import CommandRun, Selection

_FORMAT = 1


class Baselines:
    """A folder of results by commit, command and environment."""

    def __init__(self, cache_dir: Path) -> None:
        self._folder = cache_dir / "baselines"

    async def get(
        self, repository: Repository, sha: str, command: Command, environment: Environment, selection: Selection
    ) -> CommandRun | None:
        """The kept result; None if there is none that can be read."""
        file = self._file(repository, sha, command, environment, selection)
        try:
            return CommandRun.model_validate_json(await asyncio.to_thread(file.read_bytes))
        except (OSError, ValidationError):
            return None

    async def put(
        self,
        repository: Repository,
        sha: str,
        command: Command,
        environment: Environment,
        selection: Selection,
        run: CommandRun,
    ) -> None:
        """Keep a result, unless it says more about this host or moment than about the commit."""
        if run.timed_out or run.limit or run.program_missing:
            return
        file = self._file(repository, sha, command, environment, selection)
        await asyncio.to_thread(_write, file, run.model_copy(update={"output": ""}).model_dump_json())

    def _file(
        self, repository: Repository, sha: str, command: Command, environment: Environment, selection: Selection
    ) -> Path:
        parts = [_FORMAT, repository.url, sha, command.line, command.runner, environment.key, environment.state]
        parts.append(selection.model_dump(mode="json"))
        return self._folder / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.json"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".new-")
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(text)
    os.replace(name, file)
