"""Which model a program gets, where, and by which key: the settings of the engine over those of the agent's models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdlc.errors import ConfigurationError

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.integrations.gateway.wires import Wire

_SPOKEN: dict[str, tuple[Wire, ...]] = {"openai": ("chat", "responses"), "anthropic": ("messages",)}
"""By `llm.provider`."""


@dataclass(frozen=True)
class Endpoint:
    base_url: str
    """Empty: that of the wire's inventor."""
    api_key: str
    model: str


def endpoint_of(settings: Settings, wire: Wire, model: str = "") -> Endpoint:
    """The endpoint for a program that speaks `wire`; `model` wins over the settings. Raises ConfigurationError.

    A key goes to no other place than the one it was given for.
    """
    engine, llm = settings.engine, settings.llm
    name = model or engine.model or llm.coder or llm.name
    if not name:
        raise ConfigurationError(f"No model is configured for `{engine.name}`: set engine.model, or SDLC_MODEL.")
    own = engine.api_key.get_secret_value() if engine.api_key else ""
    general = llm.api_key.get_secret_value() if llm.api_key else ""
    if engine.base_url:
        return Endpoint(engine.base_url, own, name)
    # A gateway of one's own may well serve all wires.
    if wire in _SPOKEN.get(llm.provider, ()) or (llm.base_url and llm.provider == "openai"):
        found = Endpoint(llm.base_url, own or general, name)
    else:
        found = Endpoint("", own, name)
    if not found.base_url and not found.api_key:
        raise ConfigurationError(
            f"There is no key for the model of `{engine.name}`, which speaks the wire `{wire}`: set engine.api_key, "
            "and engine.base_url for another endpoint than that of the wire's inventor."
        )
    return found
