"""What others send, read as what it may be: whatever else it holds is refused by name of the place, never echoed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from sdlc.errors import UsageError

_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
_LARGEST = 2**63


class Nonsense(UsageError):
    """Not what the sender sends."""


class NotOurs(UsageError):
    """About something that this installation does not look after."""


def parsed(body: bytes | bytearray) -> Payload:
    """The object that a body is. Raises Nonsense."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Nonsense("The body is no JSON; set the webhook's content type to application/json.") from None
    if not isinstance(value, dict):
        raise Nonsense("The body is JSON, but not an object.")
    return Payload(value)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


class Payload:
    """An object of JSON. Every method raises Nonsense for what is not as it says."""

    def __init__(self, value: Mapping[str, Any], place: str = "") -> None:
        self._value = value
        self._place = place

    def has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def part(self, name: str) -> Payload:
        """The object of that name."""
        value = self._value.get(name)
        return Payload(value, f"{self._place}{name}.") if isinstance(value, Mapping) else self._no(name)

    def optional_part(self, name: str) -> Payload:
        """Likewise; an empty one where it is absent or null."""
        return self.part(name) if self.has(name) else Payload({}, f"{self._place}{name}.")

    def parts(self, name: str) -> list[Payload]:
        """The objects of a list; none where it is absent or null."""
        values = self._value.get(name)
        if values is None:
            return []
        if not isinstance(values, list) or not all(isinstance(value, Mapping) for value in values):
            self._no(name)
        return [Payload(value, f"{self._place}{name}[].") for value in values]

    def text(self, name: str) -> str:
        """Empty where it is absent or null. Of any length and content: to compare it, not to pass it on."""
        value = self._value.get(name)
        if value is None:
            return ""
        return value if isinstance(value, str) else self._no(name)

    def matching(self, name: str, pattern: re.Pattern[str]) -> str:
        """A text that the pattern fits as a whole."""
        value = self._value.get(name)
        return value if isinstance(value, str) and pattern.fullmatch(value) else self._no(name)

    def number(self, name: str) -> int:
        """A number from 1 to 2^63."""
        value = self._value.get(name)
        return value if isinstance(value, int) and value is not True and 0 < value < _LARGEST else self._no(name)

    def identifier(self, name: str) -> str:
        """A number, or its digits as a text, as a text."""
        return self.matching(name, _DIGITS) if isinstance(self._value.get(name), str) else str(self.number(name))

    def _no(self, name: str) -> NoReturn:
        raise Nonsense(f"`{self._place}{name}` is missing in the body, or is not what it should be.")
