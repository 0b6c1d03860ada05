"""One making of an environment: the steps run one after the other, with the log of all of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sdlc.domain import ArtifactRef, Record
from sdlc.integrations.project.passed_through import without_secrets
from sdlc.integrations.project.products import keep_products
from sdlc.integrations.project.setup_steps import PROBE_MARK, Places, SetupStep
from sdlc.integrations.sandbox import CommandResult, Mount, Sandbox

SETUP_SECONDS = 900.0
"""For all steps of one set-up together."""

_CACHE = "/cache"
_TAIL = 400
_NETWORK = re.compile(
    r"error sending request|Failed to fetch|dns error|Temporary failure in name resolution"
    r"|[Cc]onnection (?:reset|refused)|ECONNRESET|ETIMEDOUT|EAI_AGAIN|operation timed out|i/o timeout"
    r"|50[234] (?:Bad|Service|Gateway)"
)
_TROUBLE = re.compile(r"\s*(?:[×├╰]|error\b|fatal\b|npm ERR!|npm error|[\w.]*(?:Error|Exception):)", re.IGNORECASE)
_MOST_LINES = 4


class Made(Record):
    """What a set-up came to; the content of `ready.json` or `failed.json`."""

    ok: bool
    note: str = ""
    log: ArtifactRef | None = None
    modules: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    node_modules: bool = False
    seconds: float = 0.0
    at: float = 0.0
    """Seconds since 1970."""
    left_out: tuple[str, ...] = ()
    """Optional steps that failed."""
    text: str = ""
    """The log, until it is an artifact."""

    @classmethod
    def read(cls, file: Path) -> Made | None:
        """What a file says; None if there is none that can be read."""
        try:
            return cls.model_validate_json(file.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, file: Path) -> None:
        """In one piece or not at all."""
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".new-")
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(self.model_dump_json())
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(name, file)


class SetupFailed(Exception):
    """A step failed; the message is for a person."""


@dataclass
class SetupRun:
    """Everything that one set-up needs."""

    sandbox: Sandbox
    folder: Path
    """Has `env/`; what is worth keeping is put beside that."""
    work: Path
    """The files of the commit."""
    caches: tuple[Path, Path]
    """Of downloaded packages: that of all repositories, and that of this one."""
    places: Places
    env: dict[str, str]
    own_env: dict[str, str]
    """What the repository wants set; not for trusted steps."""
    mounts: tuple[Mount, ...]
    seconds: float

    async def make(self, steps: Sequence[SetupStep]) -> Made:
        """Run the steps one after the other; what they came to, with their log as text."""
        self._log: list[str] = []
        self._notes: list[str] = []
        self._left_out: list[str] = []
        self._facts: dict[str, Any] = {}
        self._end = time.monotonic() + self.seconds
        started = time.monotonic()
        try:
            for step in steps:
                await self._step(step)
            modules = self._facts.get("modules")
            made = Made(
                ok=True,
                note=" ".join(self._notes),
                modules=tuple(str(name) for name in modules) if isinstance(modules, list) else (),
                left_out=tuple(self._left_out),
            )
        except SetupFailed as failed:
            made = Made(ok=False, note=str(failed))
        text = without_secrets("\n".join(self._log), self.env)
        seconds = round(time.monotonic() - started, 3)
        return made.model_copy(update={"seconds": seconds, "at": time.time(), "text": text})

    async def collected(self, made: Made, known: frozenset[str]) -> Made:
        """Keep what set-up left in the tree. `known` are the paths of the commit."""
        products, node_modules = await asyncio.to_thread(self._collect, known)
        return made.model_copy(update={"products": tuple(products), "node_modules": node_modules})

    async def _step(self, step: SetupStep) -> None:
        result = await self._run(step, step.argv)
        fits = not result.timed_out and re.search(step.instead_of, result.output)
        if result.exit_code != 0 and step.instead and fits:
            second = await self._run(step, step.instead)
            if second.exit_code == 0:
                self._notes.append(f"`{_shown(step.argv)}` did not work ({self._reason(result)}); {step.instead_note}.")
            if second.exit_code == 0 or not step.instead_of:
                result = second
        if result.exit_code != 0 and _NETWORK.search(result.output) and not result.timed_out:
            await asyncio.sleep(2)
            result = await self._run(step, step.argv)
        if result.exit_code == 0:
            self._read_probe(result.output)
        elif step.optional:
            self._left_out.append(_shown(step.argv))
        else:
            raise SetupFailed(self._told(step, result))

    async def _run(self, step: SetupStep, argv: tuple[str, ...]) -> CommandResult:
        left = self._end - time.monotonic()
        if left <= 1:
            raise SetupFailed(self._out_of_time(argv))
        cache = Mount(self.caches[0 if step.trusted else 1], _CACHE, writable=True)
        cache.source.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = Mount(self.folder / "env", self.places.env, writable=True)
        beside = self.folder / "beside"
        beside.mkdir(exist_ok=True)
        inside = self.sandbox.target(cache)
        result = await self.sandbox.run(
            argv,
            # A configuration in the repository would also speak to the steps that it has no part in.
            workspace=beside if step.trusted else self.work,
            timeout=left,
            env={**self.env, **({} if step.trusted else self.own_env), **_cache_env(inside)},
            mounts=(*self.mounts, environment, cache),
            network=True,
        )
        end = f"stopped after {result.seconds:.0f} s" if result.timed_out else f"exit code {result.exit_code}"
        self._log.append(f"$ {_shown(argv)}\n{result.output.rstrip()}\n[{end}, {result.seconds:.1f} s]\n")
        return result

    def _read_probe(self, output: str) -> None:
        for line in output.splitlines():
            if line.startswith(PROBE_MARK):
                try:
                    facts = json.loads(line.removeprefix(PROBE_MARK))
                except ValueError:
                    continue
                self._facts = facts if isinstance(facts, dict) else {}

    def _told(self, step: SetupStep, result: CommandResult) -> str:
        if result.timed_out:
            return self._out_of_time(step.argv)
        why = f"reached its {result.limit} limit" if result.limit else f"failed with exit code {result.exit_code}"
        mend = "Mend the repository's set-up, or name the commands as `setup:` in `.sdlc.yml`."
        if result.exit_code == 127:
            mend = f"Install `{step.argv[0]}` on this worker, or name other commands as `setup:` in `.sdlc.yml`."
        return f"The environment could not be made: `{_shown(step.argv)}` {why}: {self._reason(result)}. {mend}"

    def _out_of_time(self, argv: tuple[str, ...]) -> str:
        return (
            f"The environment could not be made within {self.seconds:.0f} s; "
            f"`{_shown(argv)}` was stopped. Name a shorter set-up as `setup:` in `.sdlc.yml`."
        )

    def _reason(self, result: CommandResult) -> str:
        """The lines in which a failed step complains, and nothing between them: a traceback quotes the source."""
        lines = [line.strip() for line in result.output.splitlines() if line.strip()]
        telling = [line for line in lines if _TROUBLE.match(line)][:_MOST_LINES] or lines[-1:]
        text = without_secrets(" ".join(telling), self.env)
        return (text if len(text) <= _TAIL else text[: _TAIL - 1] + "…").rstrip(".") or "it said nothing"

    def _collect(self, known: frozenset[str]) -> tuple[list[str], bool]:
        """Keep what set-up left in the tree."""
        modules = self.work / "node_modules"
        moved = modules.is_dir() and not modules.is_symlink()
        if moved:
            os.rename(modules, self.folder / "node_modules")
        return keep_products(self.work, known, self.folder / "products"), moved


def _cache_env(inside: str) -> dict[str, str]:
    return {
        "UV_CACHE_DIR": f"{inside}/uv",
        "UV_LINK_MODE": "copy",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_COMPILE_BYTECODE": "1",
        "UV_NO_PROGRESS": "1",
        "npm_config_cache": f"{inside}/npm",
        "npm_config_update_notifier": "false",
        "YARN_CACHE_FOLDER": f"{inside}/yarn",
        "GIT_TERMINAL_PROMPT": "0",
        "CI": "1",
    }


def _shown(argv: tuple[str, ...]) -> str:
    line = argv[2] if argv[:2] == ("/bin/sh", "-c") else shlex.join(argv)
    return line.split("\n")[0][:200]
