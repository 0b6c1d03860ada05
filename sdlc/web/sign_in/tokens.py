"""The token of one machine: whoever can read the data folder is its operator."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import quote

from sdlc.errors import ConfigurationError
from sdlc.web.sign_in.sealing import kept_secret, read_secret

if TYPE_CHECKING:
    from sdlc.config import Settings


class MachineToken:
    """In a file of the data folder. Removing the file ends the token, and every session that came by it."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.data_dir / "web" / "token"

    def make(self) -> str:
        """The token; a new one if there is none. Raises ConfigurationError."""
        return kept_secret(self._file)

    def is_right(self, given: str) -> bool:
        """Compared in constant time."""
        current = self._current()
        return bool(current) and hmac.compare_digest(current.encode(), given.encode(errors="replace"))

    def fingerprint(self) -> str:
        """Of the token as it is now, for sessions; empty if there is none."""
        current = self._current()
        return hashlib.sha256(f"session of {current}".encode()).hexdigest()[:32] if current else ""

    def _current(self) -> str:
        try:
            return read_secret(self._file)
        except (OSError, ConfigurationError):
            return ""


def sign_in_link(settings: Settings, root: str) -> str:
    """What `sdlc dev` and `sdlc serve` print; `root` is where they listen. Empty for other ways to sign in."""
    if settings.web.sign_in.kind != "token":
        return ""
    for wildcard, loopback in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        root = root.replace(wildcard, loopback)
    return f"{settings.web.url or root}/sign-in?token={quote(MachineToken(settings).make())}"
