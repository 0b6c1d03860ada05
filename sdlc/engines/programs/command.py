"""`command`: a program of one's own, by a template."""

from __future__ import annotations

import re
import shlex

from sdlc.engines.programs.base import Launch, Launched
from sdlc.errors import ConfigurationError
from sdlc.integrations.gateway.wires import Wire

PLACEHOLDERS = ("brief", "model", "url", "key", "home")
_PLACEHOLDER = re.compile(r"(?<!\$)\{(\w*)\}")


class Command:
    """`template` is split as a shell would, but no shell runs it. Raises ConfigurationError for one of no use."""

    name = "command"
    wire: Wire = "chat"
    droppings: tuple[str, ...] = ()

    def __init__(self, template: str) -> None:
        try:
            self._parts = shlex.split(template)
        except ValueError as error:
            raise ConfigurationError(
                f"`engine.command` can't be split into words: {error}. Check its quotes."
            ) from error
        if not self._parts:
            raise ConfigurationError("`engine.command` is empty; set it, such as `my-agent --task {brief}`.")
        unknown = [name for part in self._parts for name in _PLACEHOLDER.findall(part) if name not in PLACEHOLDERS]
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise ConfigurationError(
                f"`engine.command` has `{{{unknown[0]}}}`, which nothing stands for; there are {known}."
            )

    def launched(self, launch: Launch) -> Launched:
        """The template with its placeholders filled in, each within its own word; OpenAI's usual variables besides."""
        url = f"{launch.url}/v1"
        values = {"brief": launch.brief, "model": launch.model, "url": url, "key": launch.key, "home": launch.home}
        return Launched(
            command=tuple(_PLACEHOLDER.sub(lambda match: values[match[1]], part) for part in self._parts),
            env={"OPENAI_BASE_URL": url, "OPENAI_API_KEY": launch.key},
        )
