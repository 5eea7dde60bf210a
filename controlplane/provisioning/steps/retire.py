"""The pivot of `deprovision`: the tenant is deleted, its data kept for the grace period."""

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import TenantState
from controlplane.provisioning.step import OneWay, Output, Target
from controlplane.store import deliveries, tenants


class Retire(OneWay):
    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        await tenants.set_state(tx, target.tenant.id, TenantState.DELETED)
        await deliveries.withdraw(tx, target.tenant.id)
        return None

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        return (await tenants.get(tx, target.tenant.id)).state is TenantState.DELETED
