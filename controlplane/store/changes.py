"""What the triggers on `tenants` tell app servers of."""

from datetime import timedelta

from sqlalchemy import delete, func
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.store.tenant_tables import tenant_changes

# Whoever has not asked for longer forgets everything anyhow (controlplane.routing.known.Ages).
KEPT_FOR = timedelta(hours=1)


async def forget_old(conn: AsyncConnection) -> None:
    """Delete what every app server has been told of."""
    await conn.execute(
        delete(tenant_changes).where(tenant_changes.c.at < func.clock_timestamp() - KEPT_FOR)
    )
