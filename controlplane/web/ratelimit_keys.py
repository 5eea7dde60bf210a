"""Whose quotas a request on a tenant's host counts to. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from controlplane.domain.principals import Principal
from controlplane.domain.ratelimit import Quota
from controlplane.routing import RoutedTenant
from controlplane.routing.resolve import trusted
from controlplane.web.asgi import Scope

Networks = Sequence[IPv4Network | IPv6Network]
# A subscriber has at least this much of IPv6, and any address in it for the asking.
_IPV6_SITE = 64


@dataclass(frozen=True)
class Limits:
    """Requests per minute; 0 is no limit. `tiers` go before `tenant`."""

    tenant: int
    principal: int
    address: int
    tiers: Mapping[str, int] = field(default_factory=dict)


def quotas_of(
    limits: Limits, tenant: RoutedTenant, principal: Principal | None, address: str | None
) -> dict[str, Quota]:
    """By scope: the tenant's, and the principal's or, where nobody has said who speaks, the
    address's. Each but the first is within the tenant: no tenant uses up what is another's."""
    wanted = {
        "tenant": (f"tenant:{tenant.id}", limits.tiers.get(tenant.tier, limits.tenant)),
    }
    if principal is not None:
        wanted["principal"] = (f"principal:{tenant.id}:{principal.id}", limits.principal)
    elif address is not None:
        wanted["address"] = (f"address:{tenant.id}:{address}", limits.address)
    return {scope: Quota(key, limit) for scope, (key, limit) in wanted.items() if limit > 0}


def address_of(scope: Scope, proxies: Networks) -> str | None:
    """From where a request comes, as far as that can be known; of IPv6 the site's network.

    The address of the connection; where that is one of the proxies, the last of X-Forwarded-For
    that is none: each proxy adds whom it saw, and what stands before that anybody can write. None
    where a proxy says nothing that can be read, and for a Unix socket.
    """
    client = scope.get("client")
    if client is None:
        return None
    hops = [client[0]]
    if trusted(client[0], proxies):
        hops = [*_forwarded(scope), client[0]]
    while len(hops) > 1 and trusted(hops[-1], proxies):
        hops.pop()
    return None if trusted(hops[-1], proxies) else _named(hops[-1])


def _forwarded(scope: Scope) -> list[str]:
    given = [value for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    return [hop.strip() for value in given for hop in value.decode("latin-1").split(",")]


def _named(hop: str) -> str | None:
    try:
        address = ip_address(hop)
    except ValueError:
        return None
    return _site(address)


def _site(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), _IPV6_SITE), strict=False))
