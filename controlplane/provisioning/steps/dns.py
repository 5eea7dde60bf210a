"""The record that leads the tenant's subdomain to the ingress."""

from dataclasses import dataclass
from typing import ClassVar

from controlplane.domain.dns import Propagation, Record, record_for
from controlplane.ports import DnsProvider
from controlplane.provisioning.step import Later, Output, Target

# How long to let go of the operation while a change spreads.
_PROPAGATION_S = 1.0


@dataclass(frozen=True)
class Dns:
    """`target` is the ingress: an address or a host name."""

    provider: DnsProvider
    target: str
    condition: ClassVar[str | None] = "DnsReady"
    resource: ClassVar[str | None] = "dns"

    def external_id(self, target: Target) -> str:
        return target.tenant.subdomain

    async def ensure(self, target: Target) -> Output | Later:
        return await spread(self.provider, self._record(target), target)

    async def absent(self, target: Target) -> Output:
        await self.provider.absent(self._record(target), target.mark)
        return {"pending": None}

    async def observe(self, target: Target) -> bool:
        return await self.provider.find(self._record(target), target.mark)

    def _record(self, target: Target) -> Record:
        return record_for(target.tenant.subdomain, self.target)


async def spread(provider: DnsProvider, record: Record, target: Target) -> Output | Later:
    """Make the record, or ask how far the change of an earlier call has come."""
    reference = (target.output or {}).get("pending")
    if reference is None:
        reference = await provider.ensure(record, target.mark)
    match await provider.propagation(reference):
        case Propagation.INSYNC:
            return {"pending": None}
        case Propagation.PENDING:
            return Later(_PROPAGATION_S, {"pending": reference})
        case Propagation.FAILED:
            return Later(_PROPAGATION_S, {"pending": None})  # it was lost: make it again
