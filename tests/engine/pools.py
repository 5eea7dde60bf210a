"""The warm pool of a lab, filled and emptied by hand."""

from dataclasses import replace
from uuid import UUID

from controlplane import worker
from controlplane.domain.naming import schema_name
from controlplane.fleet.warm_pool import WarmPool
from tests.engine.lab import Lab


def pool_of(lab: Lab, size: int, recipe: str | None = None) -> WarmPool:
    made = worker.open_warm_pool(lab.parts)
    return replace(made, size=size, recipe=recipe or made.recipe)


async def settled(pool: WarmPool) -> None:
    await pool.look()
    while await pool.turn():
        pass


async def filled(lab: Lab, size: int, recipe: str | None = None) -> set[UUID]:
    """The ids of as many as are wanted."""
    await settled(pool_of(lab, size, recipe))
    made = await ready(lab)
    assert len(made) == size
    return made


async def emptied(lab: Lab) -> None:
    """A surplus goes once it is old."""
    await lab.sql("UPDATE public.warm_schemas SET made_at = made_at - interval '1 h'")
    await settled(pool_of(lab, 0))


async def ready(lab: Lab) -> set[UUID]:
    rows = await lab.sql("SELECT tenant_id FROM public.warm_schemas WHERE NOT going")
    return {row.tenant_id for row in rows}


async def oid(lab: Lab, tenant_id: UUID) -> int | None:
    asked = await lab.sql("SELECT to_regnamespace(:name)::oid AS oid", name=schema_name(tenant_id))
    found: int | None = asked[0].oid
    return found


async def hurt(lab: Lab, tenant_id: UUID) -> None:
    """Somebody takes a default away by hand."""
    table = f"{schema_name(tenant_id)}.users"
    await lab.sql(f"ALTER TABLE {table} ALTER COLUMN tenant_id DROP DEFAULT")
