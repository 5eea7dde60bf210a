"""No record per tenant: one wildcard record, made by the operator, leads every name to the ingress."""

from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import ClassVar
from uuid import UUID

import dns.asyncresolver
import dns.exception
import dns.resolver

from controlplane.domain.dns import OwnedRecord, Propagation, Record, RecordType
from controlplane.domain.naming import Mark
from controlplane.errors import DnsConflict, ProviderUnavailable
from controlplane_dns.talk import Address
from controlplane_dns.values import canonical


class Wildcard:
    """Writes nothing: only proves that a tenant's name resolves to where a record would lead.

    Asks the machine's resolvers, or the `server`.
    """

    per_tenant: ClassVar[bool] = False

    def __init__(self, *, domain: str, timeout_s: float, server: Address | None = None) -> None:
        self._domain = domain
        self._timeout_s = timeout_s
        self._server = server

    async def ensure(self, record: Record, mark: Mark) -> str:
        """Raises DnsConflict where the name has a record of its own that leads elsewhere."""
        del mark
        wanted, name = await self._wanted(record), self._name(record)
        found = await self._addresses(name)
        if not found:
            raise ProviderUnavailable(
                f"'{name}' does not resolve. Make the record '*.{self._domain} {record.type} "
                f"{record.value}', or wait until the resolvers know of it."
            )
        if not found & wanted:
            raise DnsConflict(
                f"'{name}' leads to {', '.join(sorted(found))} and not to {record.value}; remove "
                "its record, or choose another subdomain."
            )
        return name

    async def absent(self, record: Record, mark: Mark) -> None:
        """There is nothing to take away."""

    async def find(self, record: Record, mark: Mark) -> bool:
        del mark
        return bool(await self._addresses(self._name(record)) & await self._wanted(record))

    async def propagation(self, reference: str) -> Propagation:
        """What `ensure` has seen has already spread."""
        is_known = reference.endswith(f".{self._domain}.")
        return Propagation.INSYNC if is_known else Propagation.FAILED

    async def owned(self, installation: UUID) -> AsyncIterator[OwnedRecord]:
        """None: the wildcard is the operator's."""
        del installation
        none: tuple[OwnedRecord, ...] = ()
        for record in none:
            yield record

    def _name(self, record: Record) -> str:
        return f"{canonical(record).name}.{self._domain}."

    async def _wanted(self, record: Record) -> set[str]:
        value = canonical(record).value
        return await self._addresses(value) if record.type is RecordType.CNAME else {value}

    async def _addresses(self, name: str) -> set[str]:
        try:
            resolver = self._resolver()
            answers = await resolver.resolve_name(name, lifetime=self._timeout_s)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return set()
        except dns.exception.DNSException as exc:
            raise ProviderUnavailable(f"No answer about '{name}' from the resolvers.") from exc
        return {str(ip_address(address)) for address in answers.addresses()}

    def _resolver(self) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=self._server is None)
        if self._server:
            resolver.nameservers, resolver.port = [self._server.host], self._server.port
        return resolver
