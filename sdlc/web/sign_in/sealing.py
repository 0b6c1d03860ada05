"""What we give away and want back unchanged: small values with a signature, and the secrets behind it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itsdangerous import Signer

from sdlc.errors import ConfigurationError

if TYPE_CHECKING:
    from sdlc.config import Settings

_LONGEST = 4_096
"""Characters of a sealed value; browsers keep no longer cookie."""


class Sealer:
    """What one sealer has sealed no sealer of another purpose opens."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        self._signer = Signer(secret, salt=f"sdlc {purpose}", key_derivation="hmac", digest_method=hashlib.sha256)

    def seal(self, value: Mapping[str, Any]) -> str:
        """It can be read by whoever has it; its letters are fit for cookies and addresses."""
        plain = json.dumps(value, separators=(",", ":")).encode()
        return self._signer.sign(base64.urlsafe_b64encode(plain).rstrip(b"=")).decode()

    def open(self, text: str) -> dict[str, Any] | None:
        """The value; None for anything that was not sealed here, letter by letter."""
        if len(text) > _LONGEST or not text.isascii():
            return None
        given = text.encode()
        body = given.rpartition(b".")[0]
        # Not `unsign`: base64 has several spellings of one signature, and it takes them all.
        if not hmac.compare_digest(self._signer.sign(body), given):
            return None
        opened: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
        return opened

    def mark(self, text: str) -> str:
        """What only we can make of `text`."""
        return self._signer.get_signature(text).decode()


def web_secret(settings: Settings) -> bytes:
    """`web.secret`, else the data folder's own, which is made when it is missing."""
    given = settings.web.secret
    if given is not None:
        return given.get_secret_value().strip().encode()
    return kept_secret(settings.data_dir / "web" / "secret").encode()


def kept_secret(file: Path) -> str:
    """The random text in a file that its owner alone may read; it is made if it is missing, by one process only.

    Raises ConfigurationError for a file that others may read, or that can't be read or made.
    """
    try:
        found = read_secret(file)
        if not found:
            _make(file)
            found = read_secret(file)
    except OSError as error:
        raise ConfigurationError(f"{file} can't be read or made: {error.strerror}; look at its rights.") from error
    if not found:
        raise ConfigurationError(f"{file} is empty; remove it, and a new one is made.")
    return found


def read_secret(file: Path) -> str:
    """Empty if there is none. Raises OSError, and ConfigurationError for a file that others may read."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    with open(handle, encoding="ascii", errors="replace") as opened:
        if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
            raise ConfigurationError(f"Others may read {file}; remove it, and a new one is made.")
        return opened.read(_LONGEST).strip()


def _make(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, draft = tempfile.mkstemp(dir=file.parent, prefix=".")  # 0600
    try:
        with open(handle, "w", encoding="ascii") as opened:
            opened.write(secrets.token_urlsafe(32) + "\n")
        os.link(draft, file)  # whole, and never over another's
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)
