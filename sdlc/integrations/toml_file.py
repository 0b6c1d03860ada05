"""TOML of a repository, which may have been written to hurt whoever parses it."""

from __future__ import annotations

import tomllib
from typing import Any

LARGEST = 128 * 1024
"""Bytes. The largest file that a person keeps is a tenth of it."""
MOST_DOTS = 100
"""On one line. Time and memory grow with the square of a dotted key's parts: 8,000 of them take 278 MB."""


def read_toml(text: str | bytes) -> dict[str, Any] | None:
    """The document; None for one that says nothing.

    At its bounds it takes a second and 50 MB, so that an event loop wants it in a thread. Raises ValueError
    with the reason, a sentence without its full stop, for what is no TOML, is too large, or would take too long.
    """
    size = len(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
    if size > LARGEST:
        raise ValueError(f"it has {size:,} bytes, and {LARGEST:,} are the most that are read")
    try:
        plain = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    for number, line in enumerate(plain.split("\n"), 1):
        if line.count(".") > MOST_DOTS:
            raise ValueError(f"line {number} has more than {MOST_DOTS} dots; break it into several lines")
    try:
        return tomllib.loads(plain) or None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # the parser lets some of its own through
        raise ValueError(f"it is not TOML: {' '.join(str(error).split())[:160]}") from None
