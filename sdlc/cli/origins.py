"""Where each value of the configuration comes from: the command line, a variable, a line of the file, or nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sdlc.config import Settings

DEFAULT = "default"

_USUAL: dict[tuple[str, ...], dict[str, str]] = {
    ("llm", "base_url"): {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL"},
    ("llm", "api_key"): {
        "openai": "OPENAI_API_KEY",
        "anthropic": "ANTHROPIC_API_KEY",
        "google_genai": "GOOGLE_API_KEY",
    },
}
"""Variables that win over the file, by provider; as `sdlc.config` reads them."""
_FALLBACKS: dict[tuple[str, ...], str] = {
    ("jira", "url"): "JIRA_URL",
    ("jira", "email"): "JIRA_EMAIL",
    ("jira", "token"): "JIRA_TOKEN",
    ("github", "token"): "GITHUB_TOKEN",
}
"""Variables that are read where nothing else says anything."""


@dataclass(frozen=True)
class Value:
    path: tuple[str, ...]
    value: Any
    origin: str
    """`default`, `sdlc.yaml:3`, `SDLC_MODEL`, or `--data-dir`."""


@dataclass(frozen=True)
class Sources:
    """What settings were read from."""

    file: Path | None
    environment: Mapping[str, str]
    command_line: Mapping[tuple[str, ...], str]
    """Path of a setting → the option that gave it."""

    def values(self, settings: Settings) -> Iterator[Value]:
        """Every setting, in the order of the configuration; values as they are, secrets too."""
        lines = lines_of(self.file) if self.file is not None else {}
        for path, value in _leaves(settings, ()):
            yield Value(path, value, self._origin(path, value, lines, settings.llm.provider))

    def _origin(self, path: tuple[str, ...], value: Any, lines: Mapping[tuple[str, ...], int], provider: str) -> str:
        if path in self.command_line:
            return self.command_line[path]
        usual = "SDLC_MODEL" if path == ("llm", "name") else _USUAL.get(path, {}).get(provider, "")
        if found := self._variable(path):
            return found
        if usual and self.environment.get(usual):
            return usual
        if path in lines:
            return f"{self.file}:{lines[path]}"
        fallback = _FALLBACKS.get(path, "")
        return fallback if value and fallback and self.environment.get(fallback) else DEFAULT

    def _variable(self, path: Sequence[str]) -> str:
        """`SDLC_A__B`, a variable for a part of it, or one with the JSON of a section in which it stands."""
        name = "SDLC_" + "__".join(path).upper()
        for variable, text in self.environment.items():
            if variable.upper() == name or variable.upper().startswith(f"{name}__"):
                return variable
            above = variable.upper().removeprefix("SDLC_").lower().split("__")
            if (
                variable.upper().startswith("SDLC_")
                and above == list(path[: len(above)])
                and _has(text, path[len(above) :])
            ):
                return variable
        return ""


def _has(text: str, path: Sequence[str]) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return False
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def lines_of(file: Path) -> dict[tuple[str, ...], int]:
    """Lines, from 1, of all keys of a file that can be read as YAML."""
    import yaml

    found: dict[tuple[str, ...], int] = {}

    def walk(node: Any, path: tuple[str, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                found[(*path, str(key.value))] = key.start_mark.line + 1
                walk(value, (*path, str(key.value)))

    walk(yaml.compose(file.read_text("utf-8"), Loader=yaml.SafeLoader), ())
    return found


def _leaves(value: BaseModel, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in type(value).model_fields:
        inner = getattr(value, name)
        if isinstance(inner, BaseModel):
            yield from _leaves(inner, (*path, name))
        else:
            yield (*path, name), inner
