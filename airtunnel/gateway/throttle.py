"""How often one source may do something: a token bucket for each, in bounded memory."""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

KEPT = 4096
"""Sources remembered at most: the one not seen for longest is forgotten, and begins anew with a full bucket."""


def network(source: str | None) -> str:
    """What one customer of a provider has of addresses: an IPv4 address, or the /64 that an IPv6 address is in (RFC 6177)."""
    try:
        address = ip_address(source or "")
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
    return str(address)


@dataclass(slots=True)
class Bucket:
    """What a source has left, when that was so, and how often it was refused since it last succeeded."""

    left: float
    at: float
    refused: int = 0


class Throttle:
    """`rate` a second for each source, and `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, source: str, now: float) -> int | None:
        """None if the source must wait. Else how often it had to since the last time. `now`: seconds of any steady clock."""
        bucket = self._buckets.pop(source, None) or Bucket(self._burst, now)
        self._buckets[source] = bucket
        if len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.left < 1:
            bucket.refused += 1
            return None
        bucket.left -= 1
        missed, bucket.refused = bucket.refused, 0
        return missed

    def give_back(self, source: str) -> None:
        """What was taken last turned out not to count."""
        if (bucket := self._buckets.get(source)) is not None:
            bucket.left = min(self._burst, bucket.left + 1)
