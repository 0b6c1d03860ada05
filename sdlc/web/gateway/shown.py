"""Text from outside as people may see it: secrets hidden, what can't be seen written out, the rest as it is."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, TypeVar

from pydantic import BaseModel

from sdlc.engines.conversation import cut_middle
from sdlc.runtime.redaction import HIDDEN, Redactor
from sdlc.untrusted import escaped_text

M = TypeVar("M", bound=BaseModel)

_JOINERS = "\u200c\u200d"
"""Emoji and letters of some scripts need them."""
_KEY_LINE = "PRIVATE KEY-----"
_ODD = re.compile(r"[^\x20-\x7e\n\t\xa0-\xac\xae-\u0fff\u2010-\u2027\u2030-\u205e\u3000-\ud7ff\uf900-\ufdff]")
"""What may be invisible; all else is not, which spares a look at each character."""


class Shown:
    def __init__(self, redact: Redactor) -> None:
        self._redact = redact

    def words(self, text: str) -> str:
        """A person's or a model's words."""
        return _ODD.sub(_written_out, self._redact(text))

    def deep(self, view: M) -> M:
        """A model with every text in it as `words`."""
        return type(view).model_validate(self._deep(view.model_dump(mode="json")))

    def _deep(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.words(value)
        if isinstance(value, dict):
            return {self.words(key): self._deep(item) for key, item in value.items()}
        return [self._deep(item) for item in value] if isinstance(value, list) else value

    def part(self, text: str, most: int) -> tuple[str, int]:
        """Output of programs: its start and end in about `most` characters, and how many are missing."""
        length = len(text)
        if length > 4 * most:  # what may be half a secret is where it is cut, and goes when it is cut again
            text = text[: 2 * most] + text[-2 * most :]
        text = self._redact(text)
        shown = cut_middle(text, most)
        return escaped_text(shown), max(0, length - most)


class Lines:
    """Lines of one file, one after the other: a private key has many, none of which looks like one by itself."""

    def __init__(self, redact: Redactor, most: int) -> None:
        self._redact = redact
        self._most = most
        self._in_key = False

    def __call__(self, line: str) -> tuple[str, int]:
        """The line as it may be seen, and how many characters of its end are missing."""
        began = self._in_key
        if _KEY_LINE in line:
            self._in_key = line.rfind("-----BEGIN ") > line.rfind("-----END ")
            return HIDDEN, 0
        if began:
            return HIDDEN, 0
        left = len(line) - self._most
        shown = self._redact(line[: 2 * self._most])[: self._most]
        return escaped_text(shown).replace("\r", "␍"), max(0, left)


def _written_out(match: re.Match[str]) -> str:
    char = match[0]
    hidden = char not in _JOINERS and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    return f"\\u{ord(char):04x}" if hidden else char
