"""The coding agent's tools: a shell command in the sandbox, an exact edit of a file, and submit.

`shell` and `edit` are carried out here on a workspace; `submit` ends the work and is the
graph's matter (`sdlc.engines.agent`). Whatever the model did wrong is an answer to the model,
never an exception: see `ToolRefused`.
"""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sdlc.engines.conversation import ToolCall, cut_middle
from sdlc.untrusted import escaped_text

if TYPE_CHECKING:
    from sdlc.config import EngineSettings
    from sdlc.integrations.project.environment import Environment, Environments
    from sdlc.integrations.sandbox import CommandResult, Sandbox
    from sdlc.integrations.workspace import Workspace

MAX_EDIT_BYTES = 4 * 1024**2
"""Largest file that `edit` takes; a larger one is the shell's."""
_MAX_HINT_LINES = 20_000


def _tool(name: str, description: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS: list[dict[str, Any]] = [
    _tool(
        "shell",
        "Run a command with bash in the repository's root, in a sandbox without network, with the repository's own "
        "environment. Answers with the exit code and the output (standard output and error as one; long output is "
        "cut in the middle). Nothing keeps running after the command.",
        {"command": {"type": "string", "description": "What bash runs, such as `pytest -q tests/test_money.py`."}},
        ["command"],
    ),
    _tool(
        "edit",
        "Replace one piece of a text file. `old_text` must stand in the file exactly once, with its exact white space; "
        "take enough lines around it. With an empty `old_text` a new file is made.",
        {
            "path": {"type": "string", "description": "Relative to the repository's root."},
            "old_text": {"type": "string", "description": "The exact text to replace; empty for a new file."},
            "new_text": {"type": "string", "description": "What stands there afterwards; empty removes the old text."},
        },
        ["path", "old_text", "new_text"],
    ),
    _tool(
        "submit",
        "The work is complete: the ticket is solved, tests are added and pass. Ends your work.",
        {
            "summary": {
                "type": "string",
                "description": "For the reviewer: one short line of what was changed, then why and how it was tested.",
            },
            "plan": {
                "type": "array",
                "items": {"type": "string"},
                "description": "The steps that were taken, one short line each.",
            },
        },
        ["summary"],
    ),
]
"""The tools in the wire format."""


class ToolRefused(Exception):
    """A call that can't be done; the message is the answer to the model."""


def problem_with(call: ToolCall) -> str:
    """Why a call can't be tried (unknown tool, bad arguments), as an answer to the model; empty if it can."""
    known = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
    if call.name not in known:
        return f"There is no tool `{call.name}`. The tools are: {', '.join(known)}."
    if call.problem:
        return call.problem
    parameters = known[call.name]
    names = ", ".join(parameters["properties"])
    missing = [name for name in parameters["required"] if name not in call.arguments]
    if missing:
        return f"`{call.name}` was called without {', '.join(missing)}. Its parameters are: {names}."
    for name, value in call.arguments.items():
        wanted = parameters["properties"].get(name, {}).get("type")
        if wanted == "string" and not isinstance(value, str):
            return f"`{name}` of `{call.name}` must be a string."
    return ""


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
        """Carry out `shell` or `edit` and say what came of it."""
        try:
            if call.name == "shell":
                return await self.shell(call.arguments["command"])
            return await asyncio.to_thread(
                edit,
                self.workspace.path,
                call.arguments["path"],
                call.arguments["old_text"],
                call.arguments["new_text"],
                inside=self.sandbox.inside(self.workspace.path),
            )
        except ToolRefused as refused:
            return str(refused)

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


def edit(root: Path, path: str, old_text: str, new_text: str, *, inside: str = "/work") -> str:
    """Replace `old_text`, which must occur exactly once, in a file of the workspace; or make a new file.

    `inside` is where the sandbox shows the workspace, so that such absolute paths are understood.
    Line ends of a CRLF file are kept. Raises ToolRefused with what to do instead.
    """
    target = resolved(root, path, inside)
    shown = target.relative_to(root.resolve()).as_posix()
    if not old_text:
        return _create(target, shown, new_text)
    content = _read(target, shown)
    crlf = "\r\n" in content and content.count("\r\n") == content.count("\n")
    if crlf:
        old_text, new_text = _as_crlf(old_text), _as_crlf(new_text)
    if old_text == new_text:
        raise ToolRefused("`old_text` and `new_text` are the same, so nothing was changed.")
    count = content.count(old_text)
    if count != 1:
        raise ToolRefused(_not_once(content, old_text, shown, count))
    at = content.index(old_text)
    _write(target, shown, content[:at] + new_text + content[at + len(old_text) :])
    return f"Edited {shown} at line {_line_of(content, at)}."


def resolved(root: Path, path: str, inside: str = "/work") -> Path:
    """The real place of `path` in the workspace, after all symbolic links. Raises ToolRefused if it lies outside."""
    if not path.strip() or "\0" in path:
        raise ToolRefused("`path` is empty or not a path; give one relative to the repository's root.")
    given = PurePosixPath(path)
    if given.is_absolute():
        if not given.is_relative_to(inside):
            raise ToolRefused(f"`{path}` is outside the repository; give a path relative to its root.")
        given = given.relative_to(inside)
    base = root.resolve()
    try:
        target = (base / given).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links, a name that is too long
        raise ToolRefused(f"`{path}` can't be opened: {error}.") from None
    if target == base or not target.is_relative_to(base):
        raise ToolRefused(f"`{path}` does not lead to a file inside the repository, so it was left alone.")
    parts = (*given.parts, *target.relative_to(base).parts)
    if any(part.lower() == ".git" for part in parts):
        raise ToolRefused(f"`{path}` belongs to git itself and can't be edited.")
    return target


def _create(target: Path, shown: str, text: str) -> str:
    if target.is_dir():
        raise ToolRefused(f"`{shown}` is a folder.")
    if target.exists() and target.lstat().st_size:
        raise ToolRefused(
            f"`{shown}` exists and is not empty. Give the exact `old_text` to replace, or rewrite it with `shell`."
        )
    existed = target.exists()
    if existed and not target.is_file():
        raise ToolRefused(f"`{shown}` is not a regular file.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolRefused(f"The folder of `{shown}` can't be made: {error.strerror}.") from None
    _write(target, shown, text)
    return f"Wrote {shown}." if existed else f"Created {shown}."


def _read(target: Path, shown: str) -> str:
    try:
        handle = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ToolRefused(f"There is no file `{shown}`. With an empty `old_text` it would be made.") from None
    except OSError as error:
        raise ToolRefused(f"`{shown}` can't be read: {error.strerror}.") from None
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_EDIT_BYTES:
        os.close(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise ToolRefused(f"`{shown}` is not a regular file.")
        raise ToolRefused(f"`{shown}` has {facts.st_size:,} bytes, too large for `edit`; use `shell`.")
    with os.fdopen(handle, "rb") as file:
        data = file.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ToolRefused(
            f"`{shown}` is not UTF-8 text, so it was left alone; use `shell` with its encoding."
        ) from None


def _write(target: Path, shown: str, text: str) -> None:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise ToolRefused(
            "`new_text` holds half of a surrogate pair, which no UTF-8 file can; write it anew."
        ) from None
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
    try:
        # By a new file, never in place: git compares whole seconds, length and inode, and could miss an edit of
        # the same length in the second of the checkout; and a hard link would carry it elsewhere.
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=".sdlc-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), mode)
            os.replace(draft, target)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise ToolRefused(f"`{shown}` can't be written: {error.strerror}.") from None


def _as_crlf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _line_of(content: str, position: int) -> int:
    return content.count("\n", 0, position) + 1


def _not_once(content: str, old_text: str, shown: str, count: int) -> str:
    if count > 1:
        lines: list[str] = []
        position = -1
        while len(lines) < 5 and (position := content.find(old_text, position + 1)) >= 0:
            lines.append(str(_line_of(content, position)))
        more = " and more" if count > len(lines) else ""
        return (
            f"`old_text` occurs {count} times in {shown} (lines {', '.join(lines)}{more}), so nothing was changed. "
            "Take more of the lines around the one you mean."
        )
    return f"`old_text` does not occur in {shown}, so nothing was changed. {_nearest(content, old_text)}"


def _nearest(content: str, old_text: str) -> str:
    """Where something like the first line of `old_text` stands."""
    wanted = next((line.strip() for line in old_text.splitlines() if line.strip()), "")
    lines = content.splitlines()[:_MAX_HINT_LINES]
    if not wanted or not lines:
        return "Look at the file first."
    for number, line in enumerate(lines, 1):
        if line.strip() == wanted:
            return (
                f"Its first line stands at line {number}, with other white space or other lines after it. "
                f"Look again, for instance with `sed -n {number},{number + 10}p`."
            )
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted[:200])
    best, at = 0.6, 0
    for number, line in enumerate(lines, 1):
        matcher.set_seq1(line.strip()[:200])
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best and (ratio := matcher.ratio()) > best:
            best, at = ratio, number
    if not at:
        return "Nothing in it is like it; look at the file first."
    return f"The nearest is line {at}: {escaped_text(lines[at - 1])[:200]!r}."
