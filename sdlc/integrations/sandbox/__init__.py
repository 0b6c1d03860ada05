"""Where code of a repository runs: everything that an engine, a test or an analyser executes.

`open_sandbox(settings)` gives the configured one. Inside bubblewrap the workspace is at `/work`, HOME and /tmp
are temporary, the system is read-only, and the environment is an allow-list. There is no network; where it is
asked for, a proxy leads to the public one and nowhere else. `docker` and `podman` do the same in a container of an
image. `none` has the allow-list and the time limit alone.
"""

from __future__ import annotations

from sdlc.config import SandboxSettings
from sdlc.integrations.sandbox.bubblewrap import Bubblewrap
from sdlc.integrations.sandbox.container import Container
from sdlc.integrations.sandbox.output import plain_text
from sdlc.integrations.sandbox.port import WORK, CommandResult, Limit, Mount, Sandbox, Service
from sdlc.integrations.sandbox.toolchains import Toolchain, own_environment, own_package, toolchain, toolchain_mounts
from sdlc.integrations.sandbox.unprotected import Unprotected

__all__ = [
    "WORK",
    "Bubblewrap",
    "CommandResult",
    "Container",
    "Limit",
    "Mount",
    "Sandbox",
    "Service",
    "Toolchain",
    "Unprotected",
    "open_sandbox",
    "own_environment",
    "own_package",
    "plain_text",
    "toolchain",
    "toolchain_mounts",
]


def open_sandbox(settings: SandboxSettings) -> Sandbox:
    """The sandbox that the settings name. Whether it works here is found out by `check()` or the first run."""
    if settings.kind == "none":
        return Unprotected(settings)
    if settings.kind in ("docker", "podman"):
        return Container(settings)
    return Bubblewrap(settings)
