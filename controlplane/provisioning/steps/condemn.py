"""The pivot of `purge`: from this commit on the tenant's data is on its way out."""

from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import TenantState
from controlplane.provisioning.step import Output, Target
from controlplane.store import tenants


class Condemn:
    condition: ClassVar[str | None] = None
    resource: ClassVar[str | None] = None

    def external_id(self, target: Target) -> str:
        return str(target.tenant.id)

    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        # A failed tenant has no data and no name; it stays failed until it is buried.
        if (await tenants.get(tx, target.tenant.id)).state is TenantState.DELETED:
            await tenants.set_state(tx, target.tenant.id, TenantState.PURGING)
        return None

    async def absent(self, _tx: AsyncConnection, _target: Target) -> Output:
        raise AssertionError("BUG: what lies behind a pivot is not undone")

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        return (await tenants.get(tx, target.tenant.id)).state is not TenantState.DELETED
