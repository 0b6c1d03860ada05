"""What a program prints, without secrets: line by line to the run's log as it comes, and in the end as a document."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import structlog

from sdlc.integrations.sandbox import plain_text
from sdlc.untrusted import visible_text

HIDDEN = "[secret]"
MAX_LOGGED_LINES = 2_000
"""Of one program; the rest is counted, and is in the document."""
_LONGEST_LINE = 64 * 1024
"""Bytes; a longer one is cut where there is white space, which no secret has in it."""
_LONGEST_LOGGED = 2_000
"""Characters. Twice as many bytes are cleaned, so that a secret of as many is still seen as a whole."""
_BLOCK = 16 * 1024
"""Bytes of lines that are kept, and cut, together where they come in a flood."""
_PIECE = 64 * 1024
"""Bytes that are cleaned at once: everything else of the worker waits for it."""
_KEY_LINE = b"PRIVATE KEY-----"
_SHORTEST_SECRET = 6
_LAST_LINES = 40

_log = structlog.stdlib.get_logger("sdlc.engine")


class EngineLog:
    """Takes what a program prints. Whole lines are kept at both ends, `limit` bytes in all, and counted in between."""

    def __init__(
        self, redact: Callable[[str], str], secrets: Sequence[str], *, engine: str, run_id: str, limit: int
    ) -> None:
        """`secrets` are values of this run alone; `redact` knows the worker's and what keys look like."""
        self._redact = redact
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
        self._about = _log.bind(engine=engine, run=run_id)
        self._half = max(1, limit // 2)
        self._open = bytearray()
        self._head: list[bytes] = []
        self._head_bytes = 0
        self._tail: deque[tuple[bytes, int]] = deque()
        """Lines with how many they are."""
        self._tail_bytes = 0
        self._cut_lines = self._cut_bytes = 0
        self._last: deque[bytes] = deque(maxlen=_LAST_LINES)
        self._lines = 0
        self._in_key = False

    def feed(self, chunk: bytes) -> None:
        """Some more of its output."""
        self._open += chunk
        whole, newline, rest = self._open.replace(b"\r", b"\n").rpartition(b"\n")
        if newline:
            self._whole_lines(bytes(whole))
        while len(rest) > _LONGEST_LINE:
            at = max(rest.rfind(b" ", 0, _LONGEST_LINE), rest.rfind(b"\t", 0, _LONGEST_LINE)) + 1 or _LONGEST_LINE
            self._line(bytes(rest[:at]))
            rest = rest[at:]
        self._open = bytearray(rest)

    def close(self) -> None:
        """It will print no more."""
        if self._open:
            self._line(bytes(self._open))
            self._open.clear()
        if self._lines > MAX_LOGGED_LINES:
            self._about.info("engine output", line=f"[… {self._lines - MAX_LOGGED_LINES:,} more lines …]")

    def text(self) -> str:
        """The document. Takes a second for some megabytes: for a thread."""
        parts = [b"\n".join(self._head)]
        if self._cut_lines:
            parts.append(f"[… {self._cut_lines:,} lines with {self._cut_bytes:,} bytes cut …]".encode())
        parts += [block for block, _ in self._tail]
        return "".join(f"{self._clean(piece)}\n" for piece in _pieces(b"\n".join(parts)))

    def last_lines(self, limit: int = 600) -> str:
        """The last lines that say something, as people see them, at most `limit` characters."""
        lines = [line for line in self._visible_end().splitlines() if line.strip()]
        return "\n".join(lines[-5:])[-limit:]

    def last_words(self, limit: int = 600) -> str:
        """The end of the last paragraph: whole lines of at most `limit` characters together, or the end of one."""
        lines = re.split(r"\n\s*\n", self._visible_end().strip())[-1].splitlines()
        kept: list[str] = []
        while lines and sum(len(line) + 1 for line in kept) + len(lines[-1]) <= limit:
            kept.insert(0, lines.pop().strip())
        return "\n".join(kept) or (lines[-1][-limit:].strip() if lines else "")

    def _visible_end(self) -> str:
        return visible_text(self._clean(b"\n".join(self._last)))[0]

    def _whole_lines(self, text: bytes) -> None:
        if (room := max(0, MAX_LOGGED_LINES - self._lines)) > 0:
            lines = text.split(b"\n", room)
            for line in lines[:room]:
                self._line(line)
            if len(lines) <= room:
                return
            text = lines[room]
        self._flood(text)

    def _flood(self, text: bytes) -> None:
        """Lines that are not logged, many at once: a program that prints nothing but line ends must not stop us."""
        at = 0
        while (key := text.find(_KEY_LINE, at)) >= 0:
            start, end = text.rfind(b"\n", at, key) + 1 or at, text.find(b"\n", key)
            if start > at:
                self._many(text[at : start - 1])
            self._line(text[start : end if end >= 0 else None])
            if end < 0:
                return
            at = end + 1
        self._many(text[at:])

    def _many(self, text: bytes) -> None:
        lines = text.count(b"\n") + 1
        self._lines += lines
        if self._in_key:
            self._last.append(HIDDEN.encode())
            self._keep(HIDDEN.encode(), lines)
            return
        self._last.extend(text.rsplit(b"\n", _LAST_LINES)[-_LAST_LINES:])
        for block in _pieces(text, min(_BLOCK, self._half)):
            self._keep(block, block.count(b"\n") + 1)

    def _line(self, line: bytes) -> None:
        line = self._without_key(line)
        self._lines += 1
        self._last.append(line)
        if self._lines <= MAX_LOGGED_LINES and line.strip():
            self._about.info("engine output", line=self._logged(line))
        self._keep(line, 1)

    def _logged(self, line: bytes) -> str:
        shown = self._clean(line[: 2 * _LONGEST_LOGGED])
        if len(line) > 2 * _LONGEST_LOGGED:  # what may be half a secret is at its end
            shown = shown[: max(0, len(shown) - _LONGEST_LOGGED)]
        return shown[:_LONGEST_LOGGED]

    def _keep(self, block: bytes, lines: int) -> None:
        if not self._tail and self._head_bytes + len(block) < self._half:
            self._head.append(block)
            self._head_bytes += len(block) + 1
            return
        self._tail.append((block, lines))
        self._tail_bytes += len(block) + 1
        while self._tail_bytes > self._half and len(self._tail) > 1:
            cut, cut_lines = self._tail.popleft()
            self._tail_bytes -= len(cut) + 1
            self._cut_lines, self._cut_bytes = self._cut_lines + cut_lines, self._cut_bytes + len(cut) + 1

    def _without_key(self, line: bytes) -> bytes:
        """A private key has many lines, none of which looks like one by itself."""
        began = self._in_key
        if _KEY_LINE in line:
            self._in_key = line.rfind(b"-----BEGIN ") > line.rfind(b"-----END ")
            return HIDDEN.encode()
        return HIDDEN.encode() if began else line

    def _clean(self, data: bytes) -> str:
        text = plain_text(data)
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return self._redact(text)


def _pieces(text: bytes, most: int = _PIECE) -> Iterator[bytes]:
    """The text in whole lines, `most` bytes of them together; a longer line by itself."""
    at = 0
    while len(text) - at > most:
        end = text.rfind(b"\n", at, at + most)
        end = end if end >= 0 else text.find(b"\n", at)
        if end < 0:
            break
        yield text[at:end]
        at = end + 1
    yield text[at:]
