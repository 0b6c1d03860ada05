"""How a program is started: its HOME, its brief, what it sees of the host and in its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdlc.engines.programs.base import Launch, Launched, Program
from sdlc.integrations.sandbox import Mount

if TYPE_CHECKING:
    from sdlc.integrations.engine_installs import Installation
    from sdlc.integrations.project.environment import Environment
    from sdlc.integrations.sandbox import Sandbox

_HOME = "/home/engine"
_BRIEF = "/engine/brief.md"


@dataclass(frozen=True)
class Engine:
    """A program that can be started."""

    program: Program
    installation: Installation | None = None
    """None: of one's own, found on PATH."""

    @property
    def exact(self) -> str:
        return f"{self.program.name} {self.installation.version}" if self.installation else self.program.name

    @property
    def label(self) -> str:
        return f"`{self.program.name}`" + (f" {self.installation.version}" if self.installation else "")


@dataclass(frozen=True)
class Model:
    """What a program is told of its model."""

    name: str
    key: str
    max_turns: int
    context_tokens: int


@dataclass(frozen=True)
class Prepared:
    """For `Sandbox.run`."""

    launched: Launched
    env: Mapping[str, str]
    mounts: tuple[Mount, ...]


def prepared(
    engine: Engine, sandbox: Sandbox, environment: Environment, folder: Path, brief: str, model: Model, port: int
) -> Prepared:
    """Write HOME and brief to `folder`, an empty one of ours outside of the workspace."""
    installation = engine.installation
    home, file = Mount(folder / "home", _HOME, writable=True), Mount(folder / "brief.md", _BRIEF)
    home.source.mkdir()
    file.source.write_text(brief, encoding="utf-8")
    file.source.chmod(0o444)
    inside = sandbox.target(home)
    launched = engine.program.launched(
        Launch(
            program=str(installation.executable) if installation else engine.program.name,
            brief=sandbox.target(file),
            url=f"http://127.0.0.1:{port}",
            key=model.key,
            model=model.name,
            max_turns=model.max_turns,
            home=inside,
            context_tokens=model.context_tokens,
        )
    )
    for name, content in launched.files.items():
        (home.source / name).parent.mkdir(parents=True, exist_ok=True)
        (home.source / name).write_text(content, encoding="utf-8")
    env = {**environment.env, **(installation.env if installation else {}), **launched.env, "HOME": inside}
    env |= {f"XDG_{name.upper()}_HOME": f"{inside}/.{name}" for name in ("config", "cache", "data", "state")}
    if installation is not None:
        paths = (environment.env.get("PATH", ""), str(installation.executable.parent))
        env["PATH"] = ":".join(filter(None, paths))
    own = installation.mounts if installation else ()
    return Prepared(launched, env, (*environment.mounts, *own, home, file))
