"""Requests to a proxy, read strictly: what two readers could take for two things is refused (RFC 9112)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from ipaddress import IPv6Address

HEAD_BYTES = 32 * 1024
"""Of request line and headers together."""

_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (\S+) HTTP/(1\.[01])")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r\n]*)")
_URL = re.compile(r"http://([^/?#@]+)((?:[/?][^#]*)?)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_])?\.?)(?::([0-9]{1,5}))?")
_LONGEST_NAME = 253
_HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"),
    *("trailer", "upgrade", "host"),
}


class Answered(Exception):
    """What the client is told instead of what it asked for."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason

    def response(self) -> bytes:
        body = f"{self.reason}\n"
        return (
            # Most clients show a person the status line and nothing else.
            f"HTTP/1.1 {self.status} {self.reason}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        ).encode("ascii", errors="replace")


@dataclass(frozen=True)
class Target:
    host: str
    """A name in lower case without the last dot, or an address without brackets."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Request:
    target: Target
    method: str
    path: str = ""
    """Empty for CONNECT."""
    version: str = "1.1"
    headers: tuple[tuple[str, str], ...] = ()
    body_bytes: int | None = 0
    """None: in chunks."""

    @property
    def tunnel(self) -> bool:
        return self.method == "CONNECT"

    def head(self, *, absolute: bool, authorization: str = "") -> bytes:
        """The same request for the next one on its way, as its last. `absolute` is how a proxy wants it."""
        where = f"http://{self.target}{self.path}" if absolute else self.path
        host = str(self.target).removesuffix(":80")
        lines = [f"{self.method} {where} HTTP/{self.version}", f"Host: {host}", "Connection: close"]
        if authorization:
            lines.append(f"Proxy-Authorization: {authorization}")
        lines += [f"{name}: {value}" for name, value in self.headers if name.lower() not in _HOP_BY_HOP]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request, None for nobody there. Raises Answered for what isn't one."""
    lines: list[str] = []
    size = 0
    while True:
        try:
            line = await reader.readline()
        except ValueError:  # longer than the reader may hold
            raise Answered(431, "The request's head is too large") from None
        size += len(line)
        if not line and not lines:
            return None
        if size > HEAD_BYTES:
            raise Answered(431, "The request's head is too large")
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Answered(400, "Not a request to a proxy")
        if line == b"\r\n":
            return _request(lines)
        lines.append(line[:-2].decode("latin-1"))
        if len(lines) == 1 and _LINE.fullmatch(lines[0]) is None:
            raise Answered(400, "Not a request to a proxy")


def parse_authority(text: str, port: int | None = None) -> Target:
    """`host:port`; without `port`, the default one, it has to have its own. Raises Answered."""
    match = _AUTHORITY.fullmatch(text)
    named = int(match[2]) if match and match[2] else port
    if match is None or named is None or not 0 < named < 65536 or len(match[1]) > _LONGEST_NAME + 1:
        raise Answered(400, "The request names no host and port")
    host = match[1].lower().removesuffix(".")
    if host.startswith("["):
        try:
            host = str(IPv6Address(host[1:-1]))
        except ValueError:
            raise Answered(400, "The request names no host and port") from None
    return Target(host, named)


def _request(lines: list[str]) -> Request:
    line = _LINE.fullmatch(lines[0]) if lines else None
    found = [_HEADER.fullmatch(text) for text in lines[1:]]
    if line is None or None in found:
        raise Answered(400, "Not a request to a proxy")
    method, where, version = line.groups()
    if method == "CONNECT":
        return Request(parse_authority(where), method)
    url = _URL.fullmatch(where)
    if url is None:
        raise Answered(400, "The request has no http address; https goes by CONNECT")
    headers = tuple((match[1], match[2].rstrip(" \t")) for match in found if match)
    path = url[2] if url[2].startswith("/") else f"/{url[2]}"
    return Request(parse_authority(url[1], 80), method, path, version, headers, _body_bytes(headers))


def _body_bytes(headers: tuple[tuple[str, str], ...]) -> int | None:
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    encodings = [value for name, value in headers if name.lower() == "transfer-encoding"]
    if len(lengths) + len(encodings) > 1 or not all(re.fullmatch("[0-9]{1,15}", value) for value in lengths):
        raise Answered(400, "The request's length is not clear")
    if encodings:
        return None
    return int(lengths[0]) if lengths else 0
