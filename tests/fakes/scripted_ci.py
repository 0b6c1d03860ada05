"""The CI of the fake GitHub: it runs nothing, says so in its log, and ends as it was told to."""

from __future__ import annotations

import threading
from typing import Literal

from tests.fakes.world import CHECK, World

Colour = Literal["green", "red", "none"]
SECONDS = 1.2
"""For which a check looks as if it ran."""
_LOG = "This is the scripted CI of a fake GitHub: nothing was run, it ends with `{}` because it was told to.\n"


class ScriptedCi:
    """A thread that gives each new head of an open pull request its check; `none` gives it none."""

    def __init__(self, world: World, colour: Colour = "green") -> None:
        self.world, self.colour = world, colour
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="scripted-ci")

    def __enter__(self) -> ScriptedCi:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._thread.join(timeout=5)

    def _work(self) -> None:
        while not self._closing.wait(0.3):
            head = "" if self.colour == "none" else self._unchecked()
            if not head:
                continue
            self.world.repository.actions(head, by="github", workflow="Scripted CI", **{CHECK: (None, "")})
            self._closing.wait(SECONDS)
            self.end("failure" if self.colour == "red" else "success")

    def _unchecked(self) -> str:
        """The head of an open pull request that has had no check yet; empty for none."""
        repository = self.world.repository
        with self.world.github.hub.lock:
            known = {run.head_sha for run in repository.state.workflow_runs.values()}
            for pull in repository.pulls.values():
                if repository.issues[pull.number].state == "open" and pull.head_sha not in known:
                    return pull.head_sha
        return ""

    def end(self, conclusion: str) -> None:
        """Let the latest check end so; one that has ended changes its mind."""
        self.world.repository.finish(CHECK, conclusion, log=_LOG.format(conclusion))
