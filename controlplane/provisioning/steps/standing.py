"""Pivots that change a tenant's state and nothing else: whether its host is served."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import TenantState
from controlplane.provisioning.step import OneWay, Output, Target
from controlplane.store import tenants


@dataclass(frozen=True)
class Standing(OneWay):
    """Puts the tenant into `state`; the routing layer sees it with the commit."""

    state: TenantState

    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        if not await self.observe(tx, target):
            await tenants.set_state(tx, target.tenant.id, self.state)
        return None

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        return (await tenants.get(tx, target.tenant.id)).state is self.state
