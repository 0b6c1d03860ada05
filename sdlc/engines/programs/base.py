"""What a command-line engine is: where it comes from, how it is started, what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sdlc.integrations.gateway.wires import Wire

Installer = Literal["uv", "npm"]


@dataclass(frozen=True)
class Launch:
    """What a program is started with. Paths are those inside the sandbox."""

    program: str
    """The executable."""
    brief: str
    """A Markdown file with the whole task, outside the repository."""
    url: str
    """Where the model is reached, without a slash at the end: `http://127.0.0.1:3128`; the wire's paths come after it
    (`/v1/chat/completions`, `/v1/responses`, `/v1/messages`)."""
    key: str
    """What the program has to show there: good for this run alone, worth nothing elsewhere."""
    model: str
    max_turns: int
    home: str
    """HOME, empty but for `Launched.files`, thrown away afterwards."""
    context_tokens: int = 128_000


@dataclass(frozen=True)
class Launched:
    """A program's command line and surroundings."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Text of configuration files, by their path below HOME."""
    stdin: bytes | None = None


class Program(Protocol):
    """A coding engine that is a program of its own."""

    name: str
    """As in `EngineSettings.name`."""
    wire: Wire
    """How it speaks to its model."""
    droppings: tuple[str, ...]
    """Patterns of `.gitignore` of what it leaves in a repository, which never enters a commit."""

    def launched(self, launch: Launch) -> Launched:
        """How to start it."""
        ...
