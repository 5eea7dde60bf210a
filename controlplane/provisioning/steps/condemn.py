"""The pivot of `purge`: from this commit on the tenant's data is on its way out."""

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import TenantState
from controlplane.provisioning.step import OneWay, Output, Target
from controlplane.store import tenants


class Condemn(OneWay):
    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        # A failed tenant has no data and no name; it stays failed until it is buried.
        if (await tenants.get(tx, target.tenant.id)).state is TenantState.DELETED:
            await tenants.set_state(tx, target.tenant.id, TenantState.PURGING)
        return None

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        return (await tenants.get(tx, target.tenant.id)).state is not TenantState.DELETED
