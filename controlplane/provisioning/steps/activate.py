"""The pivot of `provision`: the tenant is served from this commit on, and its welcome mail is in
the outbox. Mail comes last and elsewhere, for it can neither be undone nor waited for."""

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import TenantState
from controlplane.provisioning.step import OneWay, Output, Target
from controlplane.provisioning.steps.welcome import enqueue_welcome
from controlplane.store import tenants


class Activate(OneWay):
    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        await tenants.set_state(tx, target.tenant.id, TenantState.ACTIVE)
        await enqueue_welcome(tx, target)
        return None

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        return (await tenants.get(tx, target.tenant.id)).state is TenantState.ACTIVE
