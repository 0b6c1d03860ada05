"""Which addresses are outside: in the public network, and neither this machine nor its neighbourhood.

What is special is listed in IANA's registries of special-purpose addresses (RFC 6890). The networks for
documentation are left out: nothing is there, except where somebody made an outside of them.
"""

from __future__ import annotations

import errno
import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

_NOT_OUTSIDE = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this machine, on Linux
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a carrier's or a cloud's address translation
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform, which speaks to the machine that asks
        "169.254.0.0/16",  # the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # Oracle's metadata
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL = ip_network("2000::/3")
"""All that is public in IPv6; loopback, link-local, unique local, multicast and mapped IPv4 lie elsewhere, …"""
_TUNNELS = (ip_network("2001::/32"), ip_network("2002::/16"))
"""… but for those that lead to an IPv4 address,"""
_TRANSLATED = ip_network("64:ff9b::/96")
"""and the one that does so where there is no IPv4 (RFC 6052)."""

_NONLOCAL_BIND = "/proc/sys/net/ipv{}/ip_nonlocal_bind"
_LOCAL_IPV4 = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


def is_outside(address: str) -> bool:
    """True for a public address that isn't this machine's own. `address` is numeric."""
    ip = ip_address(address.partition("%")[0])
    return _is_public(ip) and not is_own(str(ip))


def is_own(address: str) -> bool:
    """True for an address at which this machine answers, loopback included."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_loopback or ip.is_unspecified:
        return True
    if _binds_anything(ip.version):
        return ip in _listed(ip.version)
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    try:
        # The kernel's own answer, which also knows whole networks that are routed to this machine.
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(ip), 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _NOT_OUTSIDE)
    if ip in _TRANSLATED:
        embedded = IPv4Address(int(ip) & 0xFFFF_FFFF)
        return _is_public(embedded) and not is_own(str(embedded))
    return ip in _GLOBAL and not any(ip in network for network in _TUNNELS)


def _binds_anything(version: int) -> bool:
    try:
        return Path(_NONLOCAL_BIND.format(version)).read_text().strip() != "0"
    except OSError:
        return False


def _listed(version: int) -> set[IPv4Address | IPv6Address]:
    if version == 4:
        return {ip_address(found) for found in _LOCAL_IPV4.findall(Path("/proc/net/fib_trie").read_text())}
    lines = Path("/proc/net/if_inet6").read_text().splitlines()
    return {IPv6Address(int(line.split()[0], 16)) for line in lines}
