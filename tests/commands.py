"""The `sdlc` command for tests: within this process, which is quick, or as a process of its own, as people run it."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sdlc.cli.main import outcome

P = TypeVar("P", bound="Process")

PATIENCE = 60.0
"""Seconds that a test waits for a process."""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document that standard output is."""
        return json.loads(self.out)

    @property
    def last(self) -> str:
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


def sdlc(*arguments: str | Path) -> Done:
    """The command within this process; not for commands that run a worker, which leave their logging behind."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = outcome([str(argument) for argument in arguments])
    return Done(code, out.getvalue(), err.getvalue())


class Process:
    """The command as a process; both outputs go to files, which can be read at any moment."""

    def __init__(self, folder: Path, arguments: tuple[str | Path, ...], environment: Mapping[str, str]) -> None:
        self._files = [folder / "stdout", folder / "stderr"]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sdlc.cli.main", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                start_new_session=True,
            )

    @property
    def done(self) -> Done:
        out, err = (file.read_text(errors="replace") for file in self._files)
        return Done(self.process.poll() if self.process.returncode is not None else -1, out, err)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self, seconds: float = PATIENCE) -> Done:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended within {seconds} s: {self.done}") from None
        return self.done

    def until_said(self, words: str, seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while words not in (now := self.done).err:
            assert self.process.poll() is None, f"it ended without {words!r}: {now}"
            assert time.monotonic() < end, f"it does not say {words!r}: {now}"
            time.sleep(0.05)


_STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class AtTerminal(Process):
    """The command at a terminal of 100 columns and 40 rows; `done.err` is what was drawn, without colours and moves."""

    def __init__(self, folder: Path, arguments: tuple[str | Path, ...], environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self._drawn = bytearray()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sdlc.cli.main", *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", **environment},
            start_new_session=True,
        )
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other side was closed
            while data := os.read(self._master, 65_536):
                self._drawn += data

    @property
    def done(self) -> Done:
        drawn = self._drawn.decode(errors="replace")
        return Done(self.process.returncode or 0, "", _STYLES.sub("", drawn))

    def type(self, line: str) -> None:
        """A line and Enter; what was drawn before is forgotten."""
        self._drawn.clear()
        os.write(self._master, line.encode() + b"\n")


@contextlib.contextmanager
def running(folder: Path, *arguments: str | Path, **environment: str) -> Iterator[Process]:
    """The command as a process that is gone at the end of the block, whatever happens in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with _ended_at_last(Process(folder, arguments, environment)) as started:
        yield started


@contextlib.contextmanager
def at_terminal(folder: Path, *arguments: str | Path, **environment: str) -> Iterator[AtTerminal]:
    """The same at a terminal."""
    with _ended_at_last(AtTerminal(folder, arguments, environment)) as started:
        yield started


@contextlib.contextmanager
def _ended_at_last(started: P) -> Iterator[P]:
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.signal(signal.SIGTERM)
            try:
                started.process.wait(40)
            except subprocess.TimeoutExpired:
                started.process.kill()
                started.process.wait(10)


def processes_naming(words: str) -> list[str]:
    """Command lines of living processes in which the words stand, such as a folder that only one test knows."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if words in line and int(folder.name) != os.getpid():
                found.append(line)
    return found
