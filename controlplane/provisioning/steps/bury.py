"""The end of `purge`: the row stays as a tombstone, for the audit and for the id."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import HoldReason, TenantState
from controlplane.provisioning.step import OneWay, Output, Target
from controlplane.store import deliveries, domains, holds, tenants


@dataclass(frozen=True)
class Bury(OneWay):
    """Lets go of the tenant's own domains, and of its subdomain, which nobody may claim for the time
    of `quarantine`."""

    quarantine: timedelta

    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        tenant = await tenants.get(tx, target.tenant.id)
        if tenant.state is TenantState.PURGED:
            return None
        await tenants.set_state(tx, tenant.id, TenantState.PURGED)
        await deliveries.withdraw(tx, tenant.id)
        await domains.forget(tx, tenant.id)
        # A failed one has let go of its name before; somebody else may have it by now.
        if tenant.state is not TenantState.FAILED:
            await holds.quarantine(
                tx,
                tenant.subdomain,
                tenant.id,
                why=HoldReason.RELEASED,
                lasting=self.quarantine,
            )
        return None

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        return (await tenants.get(tx, target.tenant.id)).state is TenantState.PURGED
