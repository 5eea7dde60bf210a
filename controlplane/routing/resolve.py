"""Who says which tenant a request is for: the host, a trusted proxy, a token. Pure but for the
token's verifier.

Resolvers are asked in order and the first that names a tenant wins. Those that are witnesses are
asked even then: what they say must agree, or the request is refused.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import ClassVar, Protocol
from uuid import UUID

from controlplane.errors import InvalidRequest, TenantMismatch, TenantRequired
from controlplane.routing.hosts import is_label, is_own_domain, parse_base_domain, tenant_name
from controlplane.routing.tenant import RoutedTenant

Headers = Sequence[tuple[bytes, bytes]]
_TENANT_HEADERS = frozenset({b"x-tenant-id", b"x-tenant-name"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request says whose it is. `client` is the address
    of whoever is connected, None where that is a Unix socket."""

    host: str
    path: str
    headers: Headers
    client: str | None


@dataclass(frozen=True, slots=True)
class Named:
    """The tenant that a directory knows by this name: its subdomain, or the whole of a host that
    may be its own domain. `prefix` is the part of the path that said so."""

    name: str
    prefix: str = ""

    @property
    def perhaps(self) -> bool:
        """Whether nobody may have this name, and then others may say whose the request is."""
        return is_own_domain(self.name)


@dataclass(frozen=True, slots=True)
class Identified:
    """The tenant of this id."""

    id: UUID


@dataclass(frozen=True, slots=True)
class Claimed(Identified):
    """The tenant of this id, as a verified token says."""


Whose = Named | Identified


class Resolver(Protocol):
    """Says whose a request is, or None where it cannot. Raises the answer to a request that is
    to be refused."""

    # Whether it is heard even where another has named the tenant, and must then agree.
    witness: ClassVar[bool]

    def __call__(self, asked: Asked) -> Whose | None: ...


class HostName:
    """The one label before the base domain, or a host that may be a tenant's own domain. Raises
    ValueError for a base domain that is none."""

    witness: ClassVar[bool] = False

    def __init__(self, base_domain: str) -> None:
        self._base_domain = parse_base_domain(base_domain)

    def __call__(self, asked: Asked) -> Named | None:
        name = tenant_name(asked.host, self._base_domain)
        return None if name is None else Named(name)


class TrustedHeader:
    """`X-Tenant-Id` from a proxy in one of these networks; from elsewhere it is not looked at.

    Raises ValueError for what is no network.
    """

    witness: ClassVar[bool] = True

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ip_network(network) for network in networks]

    def __call__(self, asked: Asked) -> Identified | None:
        if not trusted(asked.client, self._networks):
            return None
        ids = [value for name, value in asked.headers if name.lower() == b"x-tenant-id"]
        if not ids:
            return None
        try:
            (text,) = ids
            return Identified(UUID(text.decode("ascii")))
        except ValueError as error:
            raise InvalidRequest("X-Tenant-Id must be one UUID.") from error


class TokenClaim:
    """The tenant that the request's token was issued for.

    `claimed` verifies the token and gives that tenant's id, None where there is no token. Raising
    is its way to refuse one.
    """

    witness: ClassVar[bool] = True

    def __init__(self, claimed: Callable[[Asked], UUID | None]) -> None:
        self._claimed = claimed

    def __call__(self, asked: Asked) -> Claimed | None:
        tenant_id = self._claimed(asked)
        return None if tenant_id is None else Claimed(tenant_id)


class PathPrefix:
    """`/t/acme/…` is `/…` of acme: for development without names. Whoever serves one tenant's
    pages below another's origin shares cookies and storage between them: never in production."""

    witness: ClassVar[bool] = False

    def __init__(self, prefix: str = "/t") -> None:
        self._prefix = f"{prefix.rstrip('/')}/"

    def __call__(self, asked: Asked) -> Named | None:
        if not asked.path.startswith(self._prefix):
            return None
        label, _, _ = asked.path[len(self._prefix) :].partition("/")
        return Named(label, f"{self._prefix}{label}") if is_label(label) else None


def whose(
    resolvers: Iterable[Resolver], asked: Asked, *, first: Whose | None = None
) -> tuple[Whose, list[Whose]]:
    """Whose the request is, and what the witnesses say of it; `first` is what its host has said
    already. Raises TenantRequired where nobody knows, InvalidRequest for what cannot be read."""
    witnesses: list[Whose] = []
    for resolver in resolvers:
        if first is not None and not resolver.witness:
            continue
        said = resolver(asked)
        if said is None:
            continue
        if first is None:
            first = said
        else:
            witnesses.append(said)
    if first is None:
        raise TenantRequired(f"'{asked.host}' is no tenant's host.")
    return first, witnesses


def agree(witnesses: Iterable[Whose], tenant: RoutedTenant) -> None:
    """Raises TenantMismatch where a witness means another tenant."""
    others = [said for said in witnesses if not _means(said, tenant)]
    if not others:
        return
    claimed = next((said.id for said in others if isinstance(said, Claimed)), None)
    # Without a word about the other one: whoever asks may know of this tenant alone.
    message = "The token or header is another tenant's; sign in at this host."
    raise TenantMismatch(message, claimed=claimed)


def _means(said: Whose, tenant: RoutedTenant) -> bool:
    if isinstance(said, Named):
        return said.name == tenant.subdomain
    return said.id == tenant.id


def trusted(client: str | None, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether the address lies in one of the networks."""
    if client is None:
        return False
    try:
        address = ip_address(client)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def without_tenant_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Nobody tells the app who the tenant is behind our back; `_` and `-` are one letter to
    CGI-like apps."""
    return [
        (name, value)
        for name, value in headers
        if name.lower().replace(b"_", b"-") not in _TENANT_HEADERS
    ]


def single_host(headers: Headers) -> str:
    """The Host header. Raises InvalidRequest where there is not exactly one."""
    hosts = [value for name, value in headers if name.lower() == b"host"]
    if len(hosts) != 1:
        raise InvalidRequest("The request needs exactly one Host header.")
    return hosts[0].decode("latin-1")
