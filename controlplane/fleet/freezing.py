"""Tenants that stay at their revision, whatever is rolled out. Each function takes a connection, in
whose transaction it happens whole or not at all, and never commits."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import FROZEN, TenantState, frozen
from controlplane.errors import InvalidState
from controlplane.store import audit, tenants
from controlplane.store.audit import Actor

_PURGED = (TenantState.PURGING, TenantState.PURGED)


async def freeze(conn: AsyncConnection, tenant_id: UUID, reason: str, *, actor: Actor) -> None:
    """Rollouts and repairs leave its schema's revision as it is from the commit on; asked again, the
    reason is another. An upgrade of it that is under way ends first.

    Raises TenantNotFound, and InvalidState where there is no schema.
    """
    tenant = await tenants.get(conn, tenant_id, lock=True)
    if tenant.revision is None or tenant.state in _PURGED:
        raise InvalidState(f"The tenant is {tenant.state} and has no schema to freeze.")
    await tenants.set_condition(conn, tenant_id, FROZEN, holds=True, reason=reason)
    told = {"revision": tenant.revision, "reason": reason}
    await audit.write(conn, actor, "tenant.freeze", tenant_id=tenant_id, after=told)


async def unfreeze(conn: AsyncConnection, tenant_id: UUID, *, actor: Actor) -> None:
    """The next rollout takes it along again; of one that is not frozen nothing changes. Raises
    TenantNotFound."""
    tenant = await tenants.get(conn, tenant_id, lock=True)
    if not frozen(tenant.conditions):
        return
    await tenants.set_condition(conn, tenant_id, FROZEN, holds=False)
    before = {"revision": tenant.revision}
    await audit.write(conn, actor, "tenant.unfreeze", tenant_id=tenant_id, before=before)
