"""Keeping secrets out of logs and histories: by their value where we know it, by their shape where we don't."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, SecretStr

HIDDEN = "[secret]"

_SHORTEST = 6
"""Characters. A shorter value, such as the `x` that local model servers take, stands in too much ordinary text."""

_SECRET_NAME = re.compile(r"(?:^|_)(?:API_?KEY|ACCESS_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:$|_)", re.I)

_SHAPES = re.compile(
    r"""
    -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | \b sk-[A-Za-z0-9_-]{12,}
    | \b gh[pousr]_[A-Za-z0-9]{16,}
    | \b github_pat_[A-Za-z0-9_]{16,}
    | \b glpat-[A-Za-z0-9_-]{16,}
    | \b xox[abeoprs]-[A-Za-z0-9-]{10,}
    | \b (?:AKIA|ASIA)[0-9A-Z]{16} \b
    | \b AIza[0-9A-Za-z_-]{30,}
    | \b ATATT[0-9A-Za-z_=-]{20,}
    # From the first letter of a word on, and with what a dash parts from it: begun at every `-eyJ` it takes squares.
    | (?<![A-Za-z0-9_-]) (?:[A-Za-z0-9_-]{0,31}[_-])? eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]+)?
    | (?<=Bearer\ ) [A-Za-z0-9._~+/=-]{8,}
    | (?<=Basic\ ) [A-Za-z0-9+/=]{12,}
    | (?<=://) [^\s/@:]* : [^\s/@]+ (?=@)
    """,
    re.VERBOSE | re.DOTALL,
)


class Redactor:
    """Replaces secrets in text. Knows the values it was given, and the shapes that keys usually have."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        values = {value for value in secrets if len(value) >= _SHORTEST}
        values |= {quote(value, safe="") for value in values}
        # The longest first, so that a secret that contains another goes as a whole.
        parts = [re.escape(value) for value in sorted(values, key=len, reverse=True)]
        self._values = re.compile("|".join(parts)) if parts else None

    def __call__(self, text: str) -> str:
        if self._values is not None:
            text = self._values.sub(HIDDEN, text)
        return _SHAPES.sub(HIDDEN, text)

    def deep(self, value: Any) -> Any:
        """The same for every text in dicts, lists and tuples; other values stay as they are."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, bytes):
            return self(value.decode("utf-8", "replace"))
        if isinstance(value, Mapping):
            return {self.deep(key): self.deep(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return type(value)(self.deep(item) for item in value) if _is_plain(value) else self(repr(value))
        return value if value is None or isinstance(value, bool | int | float) else self(str(value))

    @classmethod
    def of(cls, settings: BaseModel | None = None, environment: Mapping[str, str] | None = None) -> Redactor:
        """Knows every SecretStr of the settings and every variable of the environment that is named like a secret."""
        found = list(_secrets_in(settings)) if settings is not None else []
        variables = os.environ if environment is None else environment
        found += [value for name, value in variables.items() if _SECRET_NAME.search(name)]
        return cls(found)


def _is_plain(value: object) -> bool:
    return type(value) in (list, tuple, set, frozenset)


def _secrets_in(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets_in(getattr(value, name, None))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _secrets_in(item)
