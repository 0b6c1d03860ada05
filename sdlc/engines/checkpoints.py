"""What a program has changed so far, as commits on the run's work refs, taken while it goes on working.

The program's own folder is only read. What differs there is copied to a second workspace, and that one is committed:
so a commit never holds half a link or a file from elsewhere, and one file that can't be kept doesn't keep the others.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from sdlc.engines.batons import kept
from sdlc.engines.command_copy import Allowance, Mirror
from sdlc.errors import ServiceUnavailable, WorldError
from sdlc.integrations.git.throw_away import open_up
from sdlc.integrations.git.worktree import READ_BY_GIT, remove_special

if TYPE_CHECKING:
    from sdlc.domain import RunIdentity
    from sdlc.integrations.workspace import Workspace, Workspaces

_LAST_TRIES = (0.1, 1.0, 2.0, 4.0, 8.0)
"""Seconds between tries of the last one: what is not published then is lost."""
_LAST_SECONDS = 90.0
"""For all of them together: a run that ends has somebody who waits for it."""
_LOOK_SECONDS = 30.0
"""For one look of git at the program's folder, where a pipe can have it wait for ever."""
# The reason is missing where the path alone fills the 4,096 bytes that a warning of git can have.
_TOO_DEEP = re.compile(
    r"^warning: could not open directory '(?:(.*)/': File name too long|([^\n]{1000,})(?<!Permission denied))$",
    re.MULTILINE,
)
_NAMED = 10
"""Files that are named of those that were left out."""


class Checkpoints:
    """The commits of one program's run. To be made before the program begins, and closed."""

    def __init__(
        self, workspaces: Workspaces, workspace: Workspace, run: RunIdentity, head: str, droppings: Sequence[str]
    ) -> None:
        """`workspace` has the files of `head` on top of its own commit; `droppings` are patterns of `.gitignore`."""
        self.head = head
        """The commit that was published last, or the one it began with."""
        self.left_out = ""
        """What of the program's files the last one doesn't hold, and why; a sentence or some."""
        self._workspaces = workspaces
        self._workspace = workspace
        self._run = run
        self._excluded = [f"--exclude={pattern}" for pattern in droppings]
        # An index of our own: looking anew at each file costs a read, once, and then only where something changed.
        self._index = workspace.path.with_name("index.checkpoint")
        self._index_lock = self._index.with_name("index.checkpoint.lock")
        self._git = replace(workspace.git, index=self._index)
        shutil.copy2(workspace.git.index or workspace.path.with_name("index"), self._index)
        self._copy_stack = AsyncExitStack()
        self._copy: tuple[Workspace, Mirror] | None = None
        self._allowance = Allowance()
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        await self._without_copy()
        for file in (self._index, self._index_lock):
            file.unlink(missing_ok=True)

    async def take(self, turn: int, *, last: bool = False) -> None:
        """Commit and publish what differs by now; `turn` names it. Raises SdlcError, OSError; can be repeated."""
        async with self._lock:
            try:
                await self._take(turn, last)
            except BaseException:
                await self._without_copy()
                raise

    async def take_last(self, turn: int) -> None:
        """The same for a program that is dead, with some patience. ServiceUnavailable when that is over."""
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                for pause in _LAST_TRIES:
                    try:
                        return await self._take_of_the_dead(turn)
                    except (WorldError, OSError):
                        await asyncio.to_thread(open_up, self._workspace.path)
                        await asyncio.sleep(pause)
                return await self._take_of_the_dead(turn)
        except TimeoutError as error:
            raise ServiceUnavailable(
                f"What the program changed could not be published within {_LAST_SECONDS:g} s; it is tried again."
            ) from error

    async def _take_of_the_dead(self, turn: int) -> None:
        await asyncio.to_thread(remove_special, self._workspace.path, READ_BY_GIT)
        await self.take(turn, last=True)

    async def _take(self, turn: int, last: bool) -> None:
        paths, too_deep = await self._changed()
        if not paths and self._copy is None:
            self.left_out = _sentences(too_deep)
            return
        copy, mirror = await self._with_copy()
        reasons = [*too_deep, *await self._brought(mirror, paths, last)]
        self.head, note = await kept(copy, self.head, turn, self._run)
        self.left_out = _sentences(reasons, note.strip("[]"))

    async def _brought(self, mirror: Mirror, paths: Sequence[bytes], last: bool) -> list[str]:
        """Why files were left out. When cancelled it waits for the thread: the copy is somebody else's then."""
        bringing = asyncio.create_task(asyncio.to_thread(mirror.bring, paths, last=last))
        try:
            return await asyncio.shield(bringing)
        except asyncio.CancelledError:
            mirror.stop()
            await asyncio.wait([bringing])
            raise

    async def _changed(self) -> tuple[list[bytes], list[str]]:
        """What differs from the workspace's commit and is neither ignored nor a dropping; tracked files first.

        Also why folders were left out: what is deeper in one than a path can be long, nobody can check out.
        """
        # A git that was ended by force has left it.
        self._index_lock.unlink(missing_ok=True)
        await self._git.run("update-index", "-q", "--refresh", accept=(0, 1), timeout=_LOOK_SECONDS)
        tracked = await self._git.run("ls-files", "-z", "--modified", "--deleted", timeout=_LOOK_SECONDS)
        listing = ("ls-files", "-z", "--others", "--exclude-standard", *self._excluded)
        others = await self._git.run(*listing, timeout=_LOOK_SECONDS)
        trouble = _TOO_DEEP.sub("", others.stderr)
        if "ermission denied" in trouble or "could not open directory" in trouble:
            raise PermissionError(trouble.strip()[:200])
        too_deep = [
            f"{(whole or cut)[:100]}… goes deeper than a path can be long; remove it."
            for whole, cut in _TOO_DEEP.findall(others.stderr)
        ]
        return list(dict.fromkeys([*tracked.records, *others.records])), too_deep

    async def _with_copy(self) -> tuple[Workspace, Mirror]:
        if self._copy is None:
            start, name = self._workspace.sha, f"{self._run.run_id}.checkpoints"
            opened = self._workspaces.at(self._workspace.repository, start, run_id=name)
            copy = await self._copy_stack.enter_async_context(opened)
            self._copy = copy, Mirror(self._workspace.path, copy.path, self._allowance)
        return self._copy

    async def _without_copy(self) -> None:
        self._copy = None
        await self._copy_stack.aclose()


def _sentences(reasons: Sequence[str], note: str = "") -> str:
    more = f"And {len(reasons) - _NAMED} more." if reasons[_NAMED:] else ""
    return " ".join(filter(None, [*reasons[:_NAMED], more, note]))
