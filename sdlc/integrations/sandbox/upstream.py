"""The proxy through which the worker itself has to go, by the variables that everybody uses for it.

NO_PROXY is respected: names, `.suffixes`, addresses, networks (`10.0.0.0/8`), `*`, each also with a port.
It says which way to take, not what may be reached.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

_PORTS = {"http": 80, "https": 443}


class UpstreamUnusable(Exception):
    """The variable names a proxy that can't be used; the message is for a person."""


@dataclass(frozen=True)
class Upstream:
    host: str
    port: int
    tls: bool
    """Spoken to by TLS itself."""
    authorization: str = ""
    """The header's value; never seen in a sandbox."""


def upstream(environ: Mapping[str, str], host: str, port: int, *, tunnel: bool) -> Upstream | None:
    """The proxy for `host`, None for the direct way. `tunnel` is true for CONNECT. Raises UpstreamUnusable."""
    value = _variable(environ, "https_proxy" if tunnel else "http_proxy") or _variable(environ, "all_proxy")
    if not value or _is_direct(_variable(environ, "no_proxy"), host, port):
        return None
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        named = parts.port
    except ValueError:
        raise UpstreamUnusable("the worker's own proxy variable can't be read") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UpstreamUnusable("the worker's own proxy is none for HTTP")
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Upstream(parts.hostname, named or _PORTS[parts.scheme], parts.scheme == "https", authorization)


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _is_direct(no_proxy: str, host: str, port: int) -> bool:
    return any(_covers(entry.strip().lower(), host, port) for entry in no_proxy.split(",") if entry.strip())


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        pass  # one of the two is a name
    name, _, named_port = entry.partition(":")
    if named_port and named_port != str(port):
        return False
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))
