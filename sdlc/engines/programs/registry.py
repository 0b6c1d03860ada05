"""Which command-line engines there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sdlc.config import EngineSettings
from sdlc.engines.programs import aider, claude, codex, goose, mini_swe_agent, opencode
from sdlc.engines.programs.base import Program
from sdlc.engines.programs.command import Command
from sdlc.errors import ConfigurationError
from sdlc.integrations.engine_installs import Package


@dataclass(frozen=True)
class Known:
    """A program that we know, and where it comes from."""

    program: Program
    package: Package
    what: str
    """In a few words, for people."""


_KNOWN = (
    Known(aider.PROGRAM, aider.PACKAGE, "edits by search and replace, runs no commands"),
    Known(goose.PROGRAM, goose.PACKAGE, "agent with shell and editor"),
    Known(codex.PROGRAM, codex.PACKAGE, "OpenAI's agent"),
    Known(opencode.PROGRAM, opencode.PACKAGE, "agent with shell and editor"),
    Known(claude.PROGRAM, claude.PACKAGE, "Anthropic's agent"),
    Known(mini_swe_agent.PROGRAM, mini_swe_agent.PACKAGE, "small agent with a shell"),
)
ENGINES: Mapping[str, Known] = {known.program.name: known for known in _KNOWN}
"""By name, without `command`."""


def program_of(name: str, settings: EngineSettings) -> Program:
    """The program of an engine's name; ConfigurationError for one that is no program, or a `command` of no use."""
    if name == "command":
        return Command(settings.command)
    if name not in ENGINES:
        raise ConfigurationError(f"`{name}` is no command-line engine; there are {', '.join(ENGINES)} and command.")
    return ENGINES[name].program


def package_of(name: str) -> Package | None:
    """Where an engine's program comes from; None for `command`, which isn't installed by us."""
    return ENGINES[name].package if name in ENGINES else None
