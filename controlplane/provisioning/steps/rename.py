"""What only `rename` does: a record of the new name, the switch, and no record of the old one.

`params` of the operation: `subdomain`, the new name, and `old`, the one until now. The tenant's row
says one of them, at any moment, and that is the one that is served.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.dns import Record, record_for
from controlplane.domain.naming import Subdomain
from controlplane.domain.tenants import HoldReason
from controlplane.ports import DnsProvider
from controlplane.provisioning.step import Later, OneWay, Output, Target
from controlplane.provisioning.steps.dns import gone, spread
from controlplane.store import holds, tenants


@dataclass(frozen=True)
class NamedRecord:
    """The record of one of the operation's two names; `param` says which. No condition: one of the
    two is always there."""

    provider: DnsProvider
    target: str
    param: str
    condition: ClassVar[str | None] = None
    resource: ClassVar[str | None] = "dns"

    def external_id(self, target: Target) -> str:
        name: str = target.params[self.param]
        return name

    async def ensure(self, target: Target) -> Output | Later:
        return await spread(self.provider, self._record(target), target)

    async def absent(self, target: Target) -> Output | Later:
        return await gone(self.provider, self._record(target), target)

    async def observe(self, target: Target) -> bool:
        return await self.provider.find(self._record(target), target.mark)

    def _record(self, target: Target) -> Record:
        return record_for(Subdomain(self.external_id(target)), self.target)


@dataclass(frozen=True)
class Switch(OneWay):
    """The pivot: from its commit on the tenant is served under the new name and not under the old
    one, which nobody else may claim for the time of `quarantine`."""

    quarantine: timedelta

    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        if await self.observe(tx, target):
            return None
        tenant_id, new = target.tenant.id, Subdomain(target.params["subdomain"])
        await tenants.set_subdomain(tx, tenant_id, new)
        await holds.forget(tx, new, tenant_id)
        await holds.quarantine(
            tx,
            Subdomain(target.params["old"]),
            tenant_id,
            why=HoldReason.RELEASED,
            lasting=self.quarantine,
        )
        return None

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        found = await tenants.get(tx, target.tenant.id)
        return bool(found.subdomain == target.params["subdomain"])
