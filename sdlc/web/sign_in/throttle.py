"""How often somebody may try to sign in."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from sdlc.web.refusals import Refused

MOST_ADDRESSES = 10_000
"""In memory. Whoever has more is stopped by the bound on all attempts."""


@dataclass
class _Bucket:
    """Fills up evenly, up to what one minute allows."""

    per_minute: int
    left: float
    at: float

    def fill(self, now: float) -> None:
        self.left = min(self.per_minute, self.left + max(0.0, now - self.at) * self.per_minute / 60)
        self.at = now

    @property
    def wait(self) -> float:
        """Seconds until there is one again."""
        return max(0.0, (1 - self.left) * 60 / self.per_minute)


class Throttle:
    """`clock` gives seconds and never goes back."""

    def __init__(self, per_address: int, overall: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_address = per_address
        self._clock = clock
        self._overall = _Bucket(overall, overall, clock())
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def attempt(self, address: str) -> None:
        """Counts one attempt. Raises Refused (429) if it is one too many, which is not counted."""
        own, now = self._bucket(address), self._clock()
        for bucket in (own, self._overall):
            bucket.fill(now)
        wait = max(own.wait, self._overall.wait)
        if wait > 0:
            seconds = math.ceil(wait)
            raise Refused(429, f"Too many attempts to sign in; try again in {seconds} s.", retry_after=seconds)
        own.left -= 1
        self._overall.left -= 1

    def succeeded(self, address: str) -> None:
        """The attempt was right, and does not count."""
        for bucket in (self._bucket(address), self._overall):
            bucket.left = min(bucket.per_minute, bucket.left + 1)

    def _bucket(self, address: str) -> _Bucket:
        key = _network(address)
        found = self._buckets.setdefault(key, _Bucket(self._per_address, self._per_address, self._clock()))
        self._buckets.move_to_end(key)
        if len(self._buckets) > MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return found


def _network(address: str) -> str:
    """One customer has a whole /64 of IPv6."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(known), 64), strict=False))
    return str(known)
