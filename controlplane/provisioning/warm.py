"""A tenant that gets a schema of the warm pool: from the request's commit on it is the tenant's.

The operation's first step stands as begun, and its effect in the inventory, because it is there: so
whatever turns the operation round takes it away again, as if the step had made it.
"""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import schema_name
from controlplane.domain.operations import StepState
from controlplane.store import operations, warm_schemas
from controlplane.store.operation_tables import operation_steps, tenant_resources
from controlplane.store.operations import OperationView
from controlplane.store.warm_schemas import Claimed

# In an operation's params: what was handed out, or null where the pool had none.
WARM = "warm"


async def new_id(conn: AsyncConnection, recipe: str | None) -> tuple[UUID, Claimed | None]:
    """The id of a tenant to be, of a schema that is there already if the pool has one."""
    claimed = await warm_schemas.claim(conn, recipe) if recipe else None
    return (claimed.tenant_id, claimed) if claimed else (uuid4(), None)


def params(recipe: str | None, claimed: Claimed | None) -> dict[str, Any]:
    """What the operation has to know of it; nothing where no pool was asked."""
    if recipe is None:
        return {}
    if claimed is None:
        return {WARM: None}
    return {WARM: {"recipe": claimed.recipe, "stamp": claimed.stamp}}


async def hand_over(
    conn: AsyncConnection, accepted: OperationView, claimed: Claimed | None
) -> OperationView:
    """Enter in journal and inventory that the tenant has its schema; the operation as it is now."""
    if claimed is None:
        return accepted
    begun = {"state": StepState.STARTED, "attempt": 0}
    name = accepted.steps[0].name
    await conn.execute(
        update(operation_steps)
        .where(operation_steps.c.operation_id == accepted.id, operation_steps.c.ordinal == 0)
        # No moment: what the step may take of the time counts from its first try.
        .values(state=StepState.STARTED, epoch=0)
    )
    await operations.add_event(conn, accepted.id, "step_started", begun, step=name)
    await conn.execute(
        insert(tenant_resources).values(
            tenant_id=claimed.tenant_id,
            kind="schema",
            external_id=schema_name(claimed.tenant_id),
            operation_id=accepted.id,
        )
    )
    return await operations.get(conn, accepted.id)
