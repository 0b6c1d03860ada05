"""A trusted proxy says who somebody is. Pure.

Every header counts only if it comes once. With `proof: signature` the request needs

    <user>            who it is, such as X-Forwarded-User: alice
    X-Sdlc-Timestamp  seconds since 1970, at most `skew_seconds` from our clock
    X-Sdlc-Signature  sha256=<hex of HMAC-SHA256(secret, timestamp LF user LF email LF groups)>

and with `proof: secret` the user, the secret itself in `X-Sdlc-Secret`, and a connection from one of the proxies.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from sdlc.web.refusals import Refused
from sdlc.web.sign_in.identity import Claim, groups_of, name_of
from sdlc.web.signatures import is_signed, stated_digest

if TYPE_CHECKING:
    from sdlc.config.web import SignInSettings

TIMESTAMP = "X-Sdlc-Timestamp"
SIGNATURE = "X-Sdlc-Signature"
SECRET = "X-Sdlc-Secret"  # noqa: S105  the header's name

_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


def claim_by_header(headers: Headers, peer: str, settings: SignInSettings, now: float) -> Claim:
    """`peer` is the address of the connection, `now` in seconds since 1970. Raises Refused (401): what is missing."""
    own = settings.header
    user = _once(headers, own.user)
    if not user:
        raise Refused(401, f"Come by the proxy that signs you in: the header {own.user} is missing.")
    email, groups = _once(headers, own.email), _once(headers, own.groups)
    secret = own.secret.get_secret_value().strip().encode() if own.secret is not None else b""
    if own.proof == "signature":
        timestamp = _once(headers, TIMESTAMP)
        digest = stated_digest(headers.getlist(SIGNATURE))
        if digest is None or not is_signed(secret, signed_text(timestamp, user, email, groups), digest):
            raise Refused(401, f"The header {SIGNATURE} does not prove who you are; the proxy has to sign.")
        if not _SECONDS.fullmatch(timestamp) or abs(now - int(timestamp)) > own.skew_seconds:
            raise Refused(
                401, f"The proxy's {TIMESTAMP} is more than {own.skew_seconds:g} s from our time; look at both clocks."
            )
    else:
        if not is_within(peer, settings.proxies):
            raise Refused(401, "This address is none of the proxies in web.sign_in.proxies.")
        if not secret or not hmac.compare_digest(secret, _once(headers, SECRET).encode("latin-1")):
            raise Refused(401, f"The header {SECRET} has not the secret that is shared with the proxy.")
    name = name_of(_text(user))
    if not name:
        raise Refused(401, f"What the header {own.user} says is no name.")
    return Claim(name, "header", name_of(_text(email)), groups_of(_text(groups)))


def signed_text(timestamp: str, user: str, email: str, groups: str) -> bytes:
    """The bytes that are signed; headers as they come."""
    return "\n".join((timestamp, user, email, groups)).encode("latin-1")


def is_within(address: str, networks: Iterable[str]) -> bool:
    """Is it one of these addresses, or in one of these networks?"""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
        known = known.ipv4_mapped
    return any(known in ipaddress.ip_network(network) for network in networks)


def _once(headers: Headers, name: str) -> str:
    found = headers.getlist(name)
    if len(found) > 1:
        raise Refused(401, f"The header {name} comes more than once.")
    return found[0] if found else ""


def _text(header: str) -> str:
    """Starlette reads headers as Latin-1; names come in UTF-8."""
    return header.encode("latin-1").decode("utf-8", errors="replace")
