"""What a running sandbox uses, looked at from outside a few times a second.

The kernel's limits are for one process each; these are for all of them together. Where they differ:
the kernel stops what would be over at once, this ends the command and can say why.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sdlc.config import SandboxSettings
from sdlc.integrations.sandbox.construction import HOME
from sdlc.integrations.sandbox.ownership import TreeSize, measure
from sdlc.integrations.sandbox.port import Limit

INTERVAL = 0.2
"""Seconds between two looks."""

_WALK_SHARE = 10
"""A walk through the workspace that took t seconds of CPU time is not repeated for this many times t, …"""
_LONGEST_PAUSE = 10.0
"""… but at most for these seconds."""
_WALK_PAUSE = 2.0
"""Seconds between two walks when the disk doesn't seem to fill."""
_TEMPORARY = ("/tmp", HOME, "/dev/shm")  # noqa: S108 - the sandbox's own
_ENTRY_BYTES = 1024
"""What an entry of a temporary folder takes of the kernel's memory, empty as it may be."""
_SHARED = re.compile(r"^Shmem:\s+(\d+) kB$", re.MULTILINE)
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Usage:
    """All processes of a sandbox at one moment."""

    resident: dict[int, int] = field(default_factory=dict)
    """Bytes in memory by process, what several share counted several times."""
    tasks: int = 0
    """Processes and threads."""
    cpu: float = 0.0
    """Seconds, with those of children that are over."""


class Watch:
    """Compares a sandbox with its limits. `trees` are what it may write, `before` their size at the start in bytes."""

    def __init__(self, settings: SandboxSettings, trees: Sequence[Path], before: int) -> None:
        self._settings = settings
        self._trees = trees
        self._before = before
        self._free = _free_bytes(trees)
        self._shared = _shared_bytes()
        self._not_its_own = {*self._free, *_free_bytes([Path(folder) for folder in _TEMPORARY])}
        self._walked_at = time.monotonic()
        self._walk_seconds = 0.0

    def look(self, init: int) -> Limit | None:
        """The limit that is exceeded, if any. `init` is the first process of the sandbox. Blocks: for a thread."""
        usage = usage_of(init)
        if usage.cpu >= self._settings.cpu_seconds:
            return "cpu"
        if usage.tasks >= self._settings.processes:
            return "processes"
        memory, unmapped = self._settings.memory_bytes, self._unmapped(usage.resident)
        if sum(usage.resident.values()) + unmapped > memory and _proportional(usage.resident) + unmapped > memory:
            return "memory"
        return "disk" if self._disk_is_over(list(usage.resident)) else None

    def last_look(self, *, file_too_large: bool) -> Limit | None:
        """What a command that has just ended left behind, or failed of as it seems. Blocks."""
        if not file_too_large and self._taken() <= self._settings.disk_bytes // 4:
            return None
        size = self._measure()
        if size.bytes - self._before > self._settings.disk_bytes:
            return "disk"
        return "file" if file_too_large and size.largest >= self._settings.file_bytes else None

    def _unmapped(self, pids: Collection[int]) -> int:
        """Bytes of memory that are no process's: entries of the temporary folders, and files that have no name."""
        taken = 0
        if pids:
            inside = f"/proc/{max(pids)}/root"  # the first ones may still be outside
            taken = sum(self._entries(f"{inside}{folder}") for folder in _TEMPORARY) * _ENTRY_BYTES
        if _shared_bytes() - self._shared > self._settings.memory_bytes // 4:
            files = {
                (found.st_dev, found.st_ino): found.st_blocks * 512
                for path, found in _open_files(pids)
                if path.startswith("/memfd:")
            }
            taken += sum(files.values())
        return taken

    def _entries(self, folder: str) -> int:
        """Of a temporary folder; none where it is a disk or the host's own."""
        with contextlib.suppress(OSError):
            if os.stat(folder).st_dev not in self._not_its_own:
                found = os.statvfs(folder)
                return found.f_files - found.f_ffree
        return 0

    def _disk_is_over(self, pids: Collection[int]) -> bool:
        limit, taken = self._settings.disk_bytes, self._taken()
        pause = min(self._walk_seconds * _WALK_SHARE, _LONGEST_PAUSE)
        if taken <= limit // 4:
            pause = max(pause, _WALK_PAUSE)
        if time.monotonic() - self._walked_at < pause:
            return False
        size = self._measure()
        growth = size.bytes - self._before
        if growth <= limit < taken:
            growth += _deleted_but_open(pids, self._trees)
        return growth > limit or (taken > limit and not size.complete)

    def _taken(self) -> int:
        """Bytes gone from the disks since the start. Costs nothing to ask, but others fill and empty them too."""
        now = _free_bytes(self._trees)
        return sum(max(0, free - now.get(device, free)) for device, free in self._free.items())

    def _measure(self) -> TreeSize:
        started = time.thread_time()
        sizes = [measure(tree) for tree in self._trees]
        self._walk_seconds = time.thread_time() - started
        self._walked_at = time.monotonic()
        return TreeSize(
            bytes=sum(size.bytes for size in sizes),
            largest=max((size.largest for size in sizes), default=0),
            complete=all(size.complete for size in sizes),
        )


def usage_of(init: int) -> Usage:
    """What `init` and all its descendants use now."""
    usage = Usage()
    waiting = [init]
    while waiting:
        pid = waiting.pop()
        with contextlib.suppress(OSError, ValueError, IndexError):
            stat = Path(f"/proc/{pid}/stat").read_bytes()
            fields = stat[stat.rindex(b")") + 2 :].split()
            usage.cpu += sum(int(value) for value in fields[11:15]) / _TICKS
            usage.tasks += int(fields[17])
            usage.resident[pid] = int(fields[21]) * _PAGE
            waiting.extend(_children(pid))
    return usage


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                children.extend(int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_bytes().split())
    return children


def _proportional(resident: Mapping[int, int]) -> int:
    """Resident bytes with shared pages counted once; for a process that doesn't tell, as they were."""
    total = 0
    for pid, size in resident.items():
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += 1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1])
        except FileNotFoundError:
            continue
        except (OSError, ValueError, StopIteration):
            total += size
    return total


def _free_bytes(trees: Sequence[Path]) -> dict[int, int]:
    """Free bytes by device."""
    free: dict[int, int] = {}
    for tree in trees:
        with contextlib.suppress(OSError):
            found = os.statvfs(tree)
            free[os.stat(tree).st_dev] = found.f_bfree * found.f_frsize
    return free


def _deleted_but_open(pids: Collection[int], trees: Sequence[Path]) -> int:
    """Bytes of files on the disks of `trees` that only a descriptor holds any more."""
    devices = _free_bytes(trees).keys()
    held = {
        (found.st_dev, found.st_ino): found.st_blocks * 512
        for _path, found in _open_files(pids)
        if found.st_nlink == 0 and found.st_dev in devices
    }
    return sum(held.values())


def _open_files(pids: Collection[int]) -> Iterator[tuple[str, os.stat_result]]:
    for pid in pids:
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    path = f"/proc/{pid}/fd/{descriptor}"
                    yield os.readlink(path), os.stat(path)


def _shared_bytes() -> int:
    """Memory of this machine that is in files without a disk. Costs little to ask, but others have some too."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(_SHARED.findall(Path("/proc/meminfo").read_text())[0]) * 1024
    return 0
