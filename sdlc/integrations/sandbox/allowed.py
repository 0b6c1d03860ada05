"""The hosts that a sandbox with network may reach wherever they are: mirrors of the operator, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

_MIRRORS = re.compile(
    r"(?:UV_(?:DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|PYTHON_INSTALL_MIRROR|PYPY_INSTALL_MIRROR)"
    r"|PIP_(?:INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS)"
    r"|NPM_CONFIG_\S*REGISTRY"
    r"|GOPROXY|GOSUMDB"
    r"|CARGO_(?:REGISTRIES|REGISTRY|SOURCE)_\w+)\Z",
    re.IGNORECASE,
)
_URL = re.compile(r"https?://[^\s,|\"'<>]+", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


class AllowedHosts:
    """Hosts with a port, or without one for all of its ports."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """`entries` are `host`, `host:port`, or the same with an address (`[fd00::1]:443`)."""
        self._entries = frozenset(_entry(entry) for entry in entries)

    @property
    def hosts(self) -> frozenset[str]:
        return frozenset(host for host, _port in self._entries)

    def allows(self, host: str, port: int) -> bool:
        return (host, port) in self._entries or (host, None) in self._entries


def mirrors(environ: Mapping[str, str]) -> Iterable[str]:
    """`host:port` of what the worker's own variables name as indexes and registries. No repository has a say."""
    for name, value in environ.items():
        if _MIRRORS.match(name):
            for url in _URL.findall(value):
                try:
                    parts = urlsplit(url)
                    port = parts.port or _PORTS[parts.scheme]
                except ValueError:
                    continue
                if parts.hostname:
                    yield f"[{parts.hostname}]:{port}" if ":" in parts.hostname else f"{parts.hostname}:{port}"


def _entry(text: str) -> tuple[str, int | None]:
    text = text.strip().lower()
    match = re.fullmatch(r"(\[[^\]]+\]|[^:]+)(?::(\d+))?", text)
    host, port = (match[1].strip("[]"), match[2]) if match else (text, None)
    try:
        host = str(ip_address(host))
    except ValueError:
        host = host.removesuffix(".")
    return host, int(port) if port else None
