"""Which ports the embedded server listens on: the same as before where that is possible."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from sdlc.errors import ConfigurationError

if TYPE_CHECKING:
    from sdlc.config import Settings

HOST = "127.0.0.1"


def choose_ports(settings: Settings, remembered: Path | None, *, ui: bool) -> tuple[int, int]:
    """Ports for frontend and UI: the configured ones, else those in the file `remembered`, if free, else any.

    Raises ConfigurationError for a configured port that is taken.
    """
    before = _remembered(remembered) if remembered is not None else {}
    port = _choose(settings.temporal.port, before.get("port", 0), "temporal.port", taken=0)
    if not ui:
        return port, before.get("ui_port", 0)
    return port, _choose(settings.temporal.ui_port, before.get("ui_port", 0), "temporal.ui_port", taken=port)


def _choose(configured: int, before: int, setting: str, *, taken: int) -> int:
    if configured:
        if not _is_free(configured):
            raise ConfigurationError(f"Port {configured} is taken; set {setting} to another one, or to 0 for any.")
        return configured
    if before and before != taken and _is_free(before):
        return before
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # A port in TIME_WAIT is free for the server, which sets the same option.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def remember_ports(file: Path, port: int, ui_port: int) -> None:
    """Write down what `choose_ports` prefers the next time, so that links stay valid."""
    file.write_text(json.dumps({"port": port, "ui_port": ui_port}))


def _remembered(file: Path) -> dict[str, int]:
    try:
        known = json.loads(file.read_text())
        return {key: int(known[key]) for key in ("port", "ui_port")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def answers(address: str, seconds: float = 1.0) -> bool:
    """Something listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=seconds):
            return True
    except (OSError, ValueError):
        return False
