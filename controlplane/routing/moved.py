"""Where a request goes on whose host has moved to another one of its tenant's. Pure."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import quote

from controlplane.routing.resolve import Asked, trusted

# With the method and the body that it came with.
STATUS = 308

Network = IPv4Network | IPv6Network
# What stands in a URL as it is; the rest would end the header, or be no URL.
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


def parse_networks(given: Iterable[str | Network]) -> tuple[Network, ...]:
    """Raises ValueError for what is no network."""
    return tuple(ip_network(str(network)) for network in given)


def location(
    moved_to: str, asked: Asked, *, path: bytes, query: bytes, proxies: Sequence[Network]
) -> str:
    """The same path and query, as they came, at the host that it has moved to."""
    # Without a slash before it, it would go on with the host: `@evil.test`.
    whole = path if path.startswith(b"/") else b"/"
    if query:
        whole += b"?" + query
    return f"{scheme_of(asked, proxies)}://{moved_to}{quote(whole, safe=_PRINTABLE)}"


def scheme_of(asked: Asked, proxies: Sequence[Network]) -> str:
    """https, unless one of the proxies says that it was asked in the clear."""
    said = [value for name, value in asked.headers if name.lower() == b"x-forwarded-proto"]
    return "http" if said == [b"http"] and trusted(asked.client, proxies) else "https"


def headers(location: str) -> list[tuple[str, str]]:
    """Of the answer. Not to be kept: when the tenant's hosts change places, what a browser has kept
    would send it round in circles."""
    return [
        ("location", location),
        ("cache-control", "no-store"),
        ("content-type", "text/plain"),
        ("content-length", "0"),
    ]
