"""What a tenant is, and which name is whose, once an operation was undone."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.operations import Plan
from controlplane.domain.tenants import RELEASED, HoldReason, TenantState
from controlplane.store import holds, tenants


async def give_back(
    conn: AsyncConnection,
    tenant_id: UUID,
    plan: Plan,
    params: dict[str, Any],
    *,
    lasting: timedelta,
) -> None:
    """The tenant has the state that its plan names for a rollback, or the one it had.

    A name that it loses by that, or would have got, is held for it for `lasting`: it may try again
    at once, others may not, for a call of a worker that knows nothing of this may still arrive.
    """
    state = plan.rolled_back or TenantState(params["from_state"])
    tenant = await tenants.get(conn, tenant_id)
    if tenant.state is not state:
        await tenants.set_state(conn, tenant_id, state)
        if state in RELEASED:
            await holds.quarantine(
                conn, tenant.subdomain, tenant_id, why=HoldReason.UNDONE, lasting=lasting
            )
    await holds.end_rename(conn, tenant_id, lasting=lasting)
