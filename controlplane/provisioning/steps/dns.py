"""The record that leads the tenant's subdomain to the ingress."""

import math
from dataclasses import dataclass
from typing import ClassVar

from controlplane.domain.dns import Propagation, Record, record_for
from controlplane.errors import ProviderBusy
from controlplane.ports import DnsProvider
from controlplane.provisioning.step import Later, Output, Target

# How long to let go of the operation while a change spreads: so long at first and twice as long each
# time, up to the longest. Providers count questions, and many tenants may be waiting at once.
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 8.0


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

    async def absent(self, target: Target) -> Output | Later:
        return await gone(self.provider, self._record(target), target)

    async def observe(self, target: Target) -> bool:
        return await self.provider.find(self._record(target), target.mark)

    def _record(self, target: Target) -> Record:
        return record_for(target.tenant.subdomain, self.target)


async def spread(provider: DnsProvider, record: Record, target: Target) -> Output | Later:
    """Make the record, or ask how far the change of an earlier call has come."""
    told = target.output or {}
    reference, asked = told.get("pending"), told.get("asked", 0)
    try:
        if reference is None:
            reference = await provider.ensure(record, target.mark)
        found = await provider.propagation(reference)
    except ProviderBusy as busy:
        output = {"pending": reference, "asked": asked}
        return Later(busy.wait_s, output, "queued", queued=True)
    if found is Propagation.INSYNC:
        return {"pending": None}
    # One that was lost is made again.
    pending = reference if found is Propagation.PENDING else None
    return Later(propagation_wait_s(asked), {"pending": pending, "asked": asked + 1}, str(found))


async def gone(provider: DnsProvider, record: Record, target: Target) -> Output | Later:
    """Take the record away."""
    try:
        await provider.absent(record, target.mark)
    except ProviderBusy as busy:
        return Later(busy.wait_s, target.output, queued=True)
    return {"pending": None}


def propagation_wait_s(asked: int) -> float:
    """Seconds until the next question about a change, which was asked about so often before."""
    return min(math.ldexp(_FIRST_WAIT_S, min(asked, 10)), _LONGEST_WAIT_S)
