"""What can be made to go wrong with a fake service.

server.fail(Fault("status", status=502, after=True, where=on("POST", "/comment")))
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

FaultKind = Literal["status", "reset", "hang", "slow", "stale", "secondary"]


def anywhere(method: str, path: str) -> bool:
    """Fits every request."""
    return True


def on(method: str, part: str = "") -> Callable[[str, str], bool]:
    """Fits requests of `method` ("" or "*": any) with `part` in their path."""
    return lambda got, path: method in ("", "*", got) and part in path


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with the next `times` requests that `where` fits.

    - `status`: answered with `status`, `headers` and `message` in the service's own form of an error.
    - `reset`: the connection is cut. `hang`: it stays open and nothing comes. `slow`: `seconds` late, else right.
    - `stale`: a read answers with what was there before the last change, as a replica that lags.
    - `secondary`: the service's limit for too much at once (GitHub's secondary limit, 429 of Jira).

    `path` is that of the URL with the root of the API and without the query.
    """

    kind: FaultKind
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    times: int = 1
    where: Callable[[str, str], bool] = anywhere
    after: bool = False
    """The effect is made, and then the answer fails."""
    seconds: float = 2.0
    """How late a `slow` answer is. A `hang` lasts till the server stops or the client gives up."""


class Faults:
    """Faults that are still to come; each is taken by one request only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []
        self.taken: list[tuple[Fault, str, str]] = []
        """(fault, method, path) of those that struck."""

    def add(self, fault: Fault) -> None:
        """Let the next `fault.times` requests that it fits go wrong."""
        with self._lock:
            self._waiting += [fault] * fault.times

    def take(self, method: str, path: str) -> Fault | None:
        """The first waiting fault that fits this request, which is then used up."""
        with self._lock:
            for index, fault in enumerate(self._waiting):
                if fault.where(method, path):
                    self.taken.append((fault, method, path))
                    return self._waiting.pop(index)
        return None

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    @property
    def waiting(self) -> int:
        """How many have not struck: a test whose fault never fitted anything has tested nothing."""
        with self._lock:
            return len(self._waiting)
