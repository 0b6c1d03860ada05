"""Output of a command: kept at both ends, counted in between, made fit to print."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b[\]PX^_][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # strings: window titles, links, clipboard
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # colours, cursor movements
    r"|\x1b[ -/]*[0-~]?"  # the short ones
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def plain_text(data: bytes) -> str:
    """Bytes of a program as text for people and models.

    What isn't UTF-8 is replaced; terminal escape sequences and control characters other than
    newline and tab are gone; a carriage return is a new line, so that nothing is overwritten.
    """
    text = data.decode("utf-8", errors="replace")
    text = _ESCAPES.sub("", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", text)


class HeadAndTail:
    """The first and the last half of `limit` bytes of a stream; what is between is counted."""

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def feed(self, chunk: bytes) -> None:
        self.total += len(chunk)
        room = self._half - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        self._tail += chunk
        if len(self._tail) > 2 * self._half:  # cut seldom, so that each byte is moved about once
            del self._tail[: -self._half]

    def text(self) -> str:
        """Both ends as plain text, and between them how much is missing."""
        if self.total <= 2 * self._half:
            return plain_text(bytes(self._head + self._tail))
        tail = self._tail[-self._half :]
        missing = self.total - len(self._head) - len(tail)
        return f"{plain_text(bytes(self._head))}\n[… {missing:,} bytes cut …]\n{plain_text(bytes(tail))}"
