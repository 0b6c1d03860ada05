"""Paths as git has them (bytes) and as the rest of the system has them (valid Unicode), there and back.

A path that is UTF-8 and holds no control character stands as it is. Any other, and one that begins
with a quotation mark, is written as git itself quotes it (`"caf\\351.txt"`): such a text survives JSON,
a log and a terminal, and leads back to the same file.
"""

from __future__ import annotations

import os
import re

_PLAIN = {ord("\\"): b"\\\\", ord('"'): b'\\"', 7: b"\\a", 8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f"}
_PLAIN[13] = b"\\r"
_NAMED = {quoted[1:]: bytes([value]) for value, quoted in _PLAIN.items()}
_ESCAPE = re.compile(rb'\\([0-7]{3}|[\\"abtnvfr])')
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def path_text(raw: bytes) -> str:
    """The path as valid Unicode."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return _quoted(raw)
    return _quoted(raw) if text.startswith('"') or has_control(text) else text


def path_bytes(text: str) -> bytes:
    """What `path_text` was made from."""
    if len(text) >= 2 and text.startswith('"') and text.endswith('"'):
        return unquoted(text.encode())
    return os.fsencode(text)


def path_argument(text: str) -> str:
    """The path as an argument of a command and for `os`: `os.fsencode` gives its bytes."""
    return os.fsdecode(path_bytes(text))


def unquoted(quoted: bytes) -> bytes:
    """The path that git printed in quotation marks; one that it printed as it is comes back as it is."""
    if not quoted.startswith(b'"'):
        return quoted
    return _ESCAPE.sub(lambda match: _NAMED.get(match[1]) or bytes([int(match[1], 8) & 0xFF]), quoted[1:-1])


def has_control(text: str) -> bool:
    """Whether a control character or a line separator is in it."""
    return _CONTROL.search(text) is not None


def _quoted(raw: bytes) -> str:
    parts = [_PLAIN.get(byte) or (bytes([byte]) if 0x20 <= byte < 0x7F else b"\\%03o" % byte) for byte in raw]
    return '"' + b"".join(parts).decode("ascii") + '"'
