"""The end of `purge`: the row stays as a tombstone, for the audit and for the id."""

from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import TenantState
from controlplane.provisioning.step import Output, Target
from controlplane.store import deliveries, tenants


class Bury:
    condition: ClassVar[str | None] = None
    resource: ClassVar[str | None] = None

    def external_id(self, target: Target) -> str:
        return str(target.tenant.id)

    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        if not await self.observe(tx, target):
            await tenants.set_state(tx, target.tenant.id, TenantState.PURGED)
            await deliveries.withdraw(tx, target.tenant.id)
        return None

    async def absent(self, _tx: AsyncConnection, _target: Target) -> Output:
        raise AssertionError("BUG: what lies behind a pivot is not undone")

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        return (await tenants.get(tx, target.tenant.id)).state is TenantState.PURGED
