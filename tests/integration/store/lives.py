"""What is asked for tenants and operations, and what a worker would make of them."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Subdomain
from controlplane.domain.tenants import TenantState
from controlplane.provisioning import lifecycle, requests
from controlplane.store import tenants
from controlplane.store.operation_tables import operation_steps
from controlplane.store.operation_tables import operations as table
from controlplane.store.operations import OperationView
from tests.integration.store.conftest import ADMIN, Accepted

Ask = Callable[[AsyncConnection, UUID], Awaitable[OperationView]]
NOBODY = UUID(int=1)


async def delete(conn: AsyncConnection, tenant_id: UUID) -> OperationView:
    return await requests.delete_tenant(conn, tenant_id, actor=ADMIN, deadline_s=60)


async def provision(conn: AsyncConnection, tenant_id: UUID) -> OperationView:
    return await requests.provision_again(conn, tenant_id, actor=ADMIN, deadline_s=60)


async def cancel(conn: AsyncConnection, operation_id: UUID) -> OperationView:
    return await requests.cancel(conn, operation_id, actor=ADMIN)


async def resume(conn: AsyncConnection, operation_id: UUID) -> OperationView:
    return await requests.resume(conn, operation_id, actor=ADMIN)


async def abandon(conn: AsyncConnection, operation_id: UUID) -> OperationView:
    return await requests.abandon(
        conn,
        operation_id,
        reason="zone gone",
        comment="seen",
        by="ada",
        quarantine=timedelta(days=30),
        actor=ADMIN,
    )


async def move(conn: AsyncConnection, operation_id: UUID, *states: str) -> None:
    """Take an operation through states, as a worker would."""
    for state in states:
        over = state in {"succeeded", "failed", "cancelled"}
        await conn.execute(
            update(table)
            .where(table.c.id == operation_id)
            .values(state=state, finished_at=func.now() if over else None)
        )


async def step(conn: AsyncConnection, operation_id: UUID, name: str, **values: Any) -> None:
    c = operation_steps.c
    await conn.execute(
        update(operation_steps)
        .where(c.operation_id == operation_id, c.name == name)
        .values(**values)
    )


async def activate(conn: AsyncConnection, accepted: Accepted) -> None:
    await move(conn, accepted.operation, "running", "succeeded")
    await tenants.set_state(conn, accepted.id, TenantState.ACTIVE)


async def fail(conn: AsyncConnection, accepted: Accepted) -> None:
    await move(conn, accepted.operation, "running", "unwinding", "failed")
    await tenants.set_state(conn, accepted.id, TenantState.FAILED)


async def rename(conn: AsyncConnection, tenant_id: UUID, name: str) -> UUID:
    view = await lifecycle.rename(
        conn, tenant_id, subdomain=Subdomain(name), actor=ADMIN, deadline_s=60
    )
    return view.id
