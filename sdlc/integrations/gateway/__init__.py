"""Where a command-line engine reaches its model: in the worker, with the key, the account and the bounds of the run."""

from __future__ import annotations

from sdlc.integrations.gateway.gateway import Gateway
from sdlc.integrations.gateway.limits import GatewayLimits, Trouble
from sdlc.integrations.gateway.wires import Wire

__all__ = ["Gateway", "GatewayLimits", "Trouble", "Wire"]
