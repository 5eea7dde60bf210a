"""The end of `purge`: the row stays as a tombstone, for the audit and for the id."""

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import TenantState
from controlplane.provisioning.step import OneWay, Output, Target
from controlplane.store import deliveries, tenants


class Bury(OneWay):
    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        if not await self.observe(tx, target):
            await tenants.set_state(tx, target.tenant.id, TenantState.PURGED)
            await deliveries.withdraw(tx, target.tenant.id)
        return None

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        return (await tenants.get(tx, target.tenant.id)).state is TenantState.PURGED
