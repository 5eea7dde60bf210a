"""Rows of the warm pool. Functions take a connection and never commit."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.rollouts import RolloutState
from controlplane.domain.warm_pool import WarmSchema
from controlplane.store.rollout_tables import rollouts
from controlplane.store.warm_tables import warm_schemas as table

CHANNEL = "controlplane_warm_pool"
_LOCK = "controlplane/warm-pool"
# As many as fill it again are told of one that went. A row may be older than what it tells of: from
# a backup, or because a release that knows no pool took the schema for an orphan.
_CLAIM = text("""
WITH one AS (
  DELETE FROM public.warm_schemas WHERE tenant_id = (
    SELECT tenant_id FROM public.warm_schemas w WHERE recipe = :recipe AND NOT going
      AND NOT EXISTS (SELECT FROM public.tenants t WHERE t.id = w.tenant_id)
      AND pg_catalog.obj_description(pg_catalog.to_regnamespace(
        'tenant_' || replace(tenant_id::text, '-', '')), 'pg_namespace')
        LIKE 'controlplane/%/' || tenant_id || '/' || tenant_id
    ORDER BY made_at LIMIT 1 FOR UPDATE SKIP LOCKED)
  RETURNING tenant_id, stamp
)
SELECT tenant_id, stamp, pg_notify(:channel, '') FROM one
""")


# Of a tenant's first operation: what the pool gave, or null; nothing where no pool was asked.
_TALLY = text("""
SELECT count(*) FILTER (WHERE recipe = :recipe AND NOT going) AS ready,
  count(*) FILTER (WHERE recipe <> :recipe AND NOT going) AS other,
  count(*) FILTER (WHERE going) AS going,
  (SELECT count(*) FROM public.operations WHERE created_at > clock_timestamp() - interval '1 hour'
   AND kind = 'provision' AND jsonb_typeof(params->'warm') = 'object') AS hits,
  (SELECT count(*) FROM public.operations WHERE created_at > clock_timestamp() - interval '1 hour'
   AND kind = 'provision' AND jsonb_typeof(params->'warm') = 'null') AS misses
FROM public.warm_schemas
""")


@dataclass(frozen=True)
class Tally:
    """How many are `ready` for whoever asks with this recipe, are of `other` ones, and are being
    removed; and of the last hour's requests with whatever recipe, who got one and who did not."""

    ready: int
    other: int
    going: int
    hits: int
    misses: int


@dataclass(frozen=True)
class Claimed:
    """A schema that is the tenant's of this id from the commit on, and what it was like."""

    tenant_id: UUID
    recipe: str
    stamp: str


async def alone(conn: AsyncConnection) -> bool:
    """Whether nobody else fills or empties the pool until this transaction's end."""
    lock = select(func.pg_try_advisory_xact_lock(func.hashtextextended(_LOCK, 0)))
    return bool((await conn.execute(lock)).scalar_one())


async def claim(conn: AsyncConnection, recipe: str) -> Claimed | None:
    """Take the oldest that was made by this recipe out of the pool; None where there is none that
    nobody else is taking."""
    row = (await conn.execute(_CLAIM, {"recipe": recipe, "channel": CHANNEL})).one_or_none()
    return Claimed(row.tenant_id, recipe, row.stamp) if row else None


async def add(
    conn: AsyncConnection, *, tenant_id: UUID, recipe: str, revision: str, stamp: str
) -> None:
    """Enter a schema that was made in this very transaction."""
    values = {"tenant_id": tenant_id, "recipe": recipe, "revision": revision}
    await conn.execute(insert(table).values(**values, stamp=stamp))


async def everything(conn: AsyncConnection) -> list[WarmSchema]:
    """All that there are, ages by the database's clock."""
    age = func.extract("epoch", func.clock_timestamp() - table.c.made_at).label("age_s")
    rows = await conn.execute(select(table.c.tenant_id, table.c.recipe, table.c.going, age))
    return [WarmSchema(row.tenant_id, row.recipe, row.going, float(row.age_s)) for row in rows]


async def stamps_of(conn: AsyncConnection, recipe: str) -> dict[UUID, str]:
    """The stamp of each that is ready, as it was made."""
    ready = select(table.c.tenant_id, table.c.stamp).where(
        table.c.recipe == recipe, table.c.going.is_(False)
    )
    return {row.tenant_id: row.stamp for row in await conn.execute(ready)}


async def hold(conn: AsyncConnection, tenant_id: UUID) -> bool:
    """Keep one from being handed out until the transaction's end; False where it is being."""
    one = select(table.c.tenant_id).where(table.c.tenant_id == tenant_id)
    found = await conn.execute(one.with_for_update(skip_locked=True))
    return found.one_or_none() is not None


async def give_up(conn: AsyncConnection, those: Collection[UUID]) -> None:
    """Never hand these out."""
    await conn.execute(update(table).where(table.c.tenant_id.in_(those)).values(going=True))


async def forget(conn: AsyncConnection, tenant_id: UUID) -> None:
    """Strike one out whose schema is gone."""
    await conn.execute(delete(table).where(table.c.tenant_id == tenant_id))


async def rolled_out(conn: AsyncConnection, digest: str) -> bool:
    """Whether the newest rollout that was not cancelled is of this template."""
    newest = (
        select(rollouts.c.digest)
        .where(rollouts.c.state != RolloutState.CANCELLED)
        .order_by(rollouts.c.created_at.desc())
        .limit(1)
    )
    return (await conn.execute(newest)).scalar_one_or_none() == digest


async def tally(conn: AsyncConnection, recipe: str) -> Tally:
    """Count, in one statement."""
    return Tally(*(await conn.execute(_TALLY, {"recipe": recipe})).one())
