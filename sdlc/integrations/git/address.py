"""Addresses of repositories: which are taken, and in which form they are kept."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from sdlc.errors import RepositoryInvalid
from sdlc.integrations.git.failures import shown
from sdlc.integrations.git.paths import has_control

_SCHEMES = ("https", "http", "ssh", "file")
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_HELPER = re.compile(r"^[A-Za-z0-9+.-]+::")
_SCP = re.compile(r"^(?:[A-Za-z0-9_.][A-Za-z0-9_.+-]*@)?(?:[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:]+\]):(?!//).+$")


def kind_of(address: str) -> Literal["path", "url"]:
    """Whether `address`, as `full_address` gives it, is a folder of this machine."""
    return "path" if address.startswith("/") else "url"


def full_address(origin: str) -> str:
    """`origin` in the form in which git gets it: an absolute path, or a URL or scp-like address as it is.

    Raises RepositoryInvalid for what git would read as an option or run as a program.
    """
    text = origin.strip()
    if not text:
        raise RepositoryInvalid("No repository was given; name a folder or a URL.")
    if has_control(text):
        raise RepositoryInvalid(f"The repository {text!r} has control characters in its name; check it.")
    if text.startswith("-"):
        raise RepositoryInvalid(f"The repository {text} looks like an option; write ./{text} if it is a folder.")
    if _HELPER.match(text):
        raise RepositoryInvalid(f"{text} would run a program; give a path or an https, ssh or file address.")
    scheme = _SCHEME.match(text)
    if scheme:
        return _url(text, scheme[1].lower())
    if _SCP.match(text) and not os.path.lexists(text):
        return text
    return str(Path(text).expanduser().resolve())


def _url(text: str, scheme: str) -> str:
    if scheme not in _SCHEMES:
        raise RepositoryInvalid(f"{shown(text)}: {scheme} addresses are not taken; use https, ssh or file, or a path.")
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise RepositoryInvalid(f"{shown(text)} is not a URL ({error}).") from error
    if scheme == "file":
        if host not in ("", "localhost"):
            raise RepositoryInvalid(f"{text} names the machine {host}; write file:///path for a folder of this one.")
        return str(Path(unquote(parts.path)).resolve())
    if scheme in ("http", "https") and (parts.username or parts.password):
        # An address is shown, kept in histories and given to programs as an argument.
        raise RepositoryInvalid(
            f"{shown(text)} holds a name or a password, which would be stored and shown; take it out of the address. "
            "If git needs it, clone the repository with your own git and give that folder, or use ssh."
        )
    if not host or host.startswith("-") or (parts.username or "").startswith("-"):
        raise RepositoryInvalid(f"{shown(text)} names no host; check the address.")
    return text
