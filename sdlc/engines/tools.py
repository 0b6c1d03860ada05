"""The coding agent's tools, carried out on a workspace for one message of the model.

`submit` ends the work and `plan` is kept in the graph's state: both are the batch's matter (`sdlc.engines.batch`).
Whatever the model did wrong is an answer to the model, never an exception: see `ToolRefused`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdlc.engines.conversation import ToolCall, cut_middle
from sdlc.engines.editing import edit, write
from sdlc.engines.reading import search, view
from sdlc.engines.tool_definitions import TOOLS, ToolRefused, line_number
from sdlc.untrusted import escaped_text

if TYPE_CHECKING:
    from sdlc.config import EngineSettings
    from sdlc.integrations.project.environment import Environment, Environments
    from sdlc.integrations.sandbox import CommandResult, Sandbox
    from sdlc.integrations.workspace import Workspace

__all__ = ["TOOLS", "ToolRefused", "Toolbox", "edit"]


@dataclass
class Toolbox:
    """Tools over one workspace, for one batch of calls."""

    workspace: Workspace
    sandbox: Sandbox
    environments: Environments
    settings: EngineSettings
    seconds: float
    """For all commands of the batch together."""
    scratch: str = ""
    """Names the environment that the commits of one run share while they are worked on."""
    clock: Callable[[], float] = time.monotonic
    _environment: Environment | None = field(default=None, init=False)
    _began: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    async def answer(self, call: ToolCall) -> str:
        """Carry out a call that has no problem, and say what came of it. Raises SandboxUnavailable."""
        try:
            return await self._answer(call)
        except ToolRefused as refused:
            return str(refused)

    async def _answer(self, call: ToolCall) -> str:
        given, root, limit = call.arguments, self.workspace.path, self.settings.output_chars
        inside = self.sandbox.inside(root)
        if call.name == "shell":
            return await self.shell(given["command"])
        if call.name == "search":
            where, plain = given.get("path") or "", given.get("plain") in (True, "true")
            return await search(root, self.sandbox, given["pattern"], where, plain=plain, limit=limit)
        if call.name == "view":
            start, end = line_number(given.get("start")), line_number(given.get("end"))
            return await asyncio.to_thread(view, root, given["path"], start, end, limit=limit, inside=inside)
        if call.name == "write":
            return await asyncio.to_thread(write, root, given["path"], given["content"], inside=inside)
        old, new = given["old_text"], given["new_text"]
        return await asyncio.to_thread(edit, root, given["path"], old, new, inside=inside)

    async def shell(self, command: str) -> str:
        """Run a command in the sandbox. Raises SandboxUnavailable; everything else is told in the answer."""
        if not command.strip():
            raise ToolRefused("The command was empty, so nothing was run.")
        if "\0" in command:
            raise ToolRefused("The command holds a NUL character, so nothing was run.")
        if self._environment is None:
            # So that `git status` and `git diff origin/main` work; before the first command, which may have changed it.
            await self.workspace.sandbox_git()
            self._environment = await self.environments.ensure(self.workspace, scratch=self.scratch)
        left = self.seconds - (self.clock() - self._began)
        if left < 1:
            raise ToolRefused("The time for the commands of one message is over; call this one again on its own.")
        limit = min(self.settings.command_seconds, left)
        result = await self.sandbox.run(
            [shell_program(), "-c", command],
            workspace=self.workspace.path,
            timeout=limit,
            env=self._environment.env,
            mounts=self._environment.mounts,
            network=False,
        )
        return self._told(result, limit)

    def _told(self, result: CommandResult, limit: float) -> str:
        lines = [f"exit code {result.exit_code}"]
        if result.timed_out:
            lines = [f"stopped after {limit:.0f} s (time limit), exit code {result.exit_code}"]
        elif result.limit:
            lines[0] += f" (limit reached: {result.limit})"
        if self._environment is not None and self._environment.state == "failed":
            note = self._environment.note or "see the log"
            lines.append(f"[The repository's environment could not be set up, so its tools may be missing: {note}]")
        output = escaped_text(result.output).rstrip("\n")
        lines.append(cut_middle(output, self.settings.output_chars) if output else "[no output]")
        return "\n".join(lines)


def shell_program() -> str:
    """bash where the host has it: the sandbox shows the host's own programs."""
    return "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"
