"""The newest comparison of tenants' schemas with the template: written by a worker, shown and counted by
the API. Functions take a connection and never commit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.store.drift_tables import structure_drift, structure_look
from controlplane.store.tenant_tables import tenants

# By the clock of when the row is held: another may have claimed it meanwhile. One of the future was
# dated by a clock that has been set back since.
_CLAIM = text("""
INSERT INTO public.structure_look AS l (begun_at) VALUES (clock_timestamp())
ON CONFLICT (singleton) DO UPDATE SET begun_at = clock_timestamp()
WHERE l.begun_at <= clock_timestamp() - make_interval(secs => :every)
  OR l.begun_at > clock_timestamp()
RETURNING begun_at
""")
_LOOKED = text("""
UPDATE public.structure_look SET looked_at = begun_at, revision = :revision, compared = :compared,
  behind = :behind, drifted = :drifted
WHERE begun_at = :claim
""")
_FORGET = text(
    "DELETE FROM public.structure_drift WHERE tenant_id <> ALL (CAST(:tenants AS uuid[]))"
)
_KEEP = text("""
INSERT INTO public.structure_drift (tenant_id, differences, lacks_admin, first_seen_at)
SELECT f.tenant_id, f.differences, f.lacks_admin, :claim
FROM unnest(CAST(:tenants AS uuid[]), CAST(:differences AS jsonb[]), CAST(:lacking AS boolean[]))
  AS f (tenant_id, differences, lacks_admin)
JOIN public.tenants n ON n.id = f.tenant_id
ON CONFLICT (tenant_id) DO UPDATE
SET differences = excluded.differences, lacks_admin = excluded.lacks_admin
""")


@dataclass(frozen=True)
class StructureLook:
    """`behind` tenants at other revisions were not compared."""

    looked_at: datetime
    age_s: float
    revision: str
    compared: int
    behind: int
    drifted: int


@dataclass(frozen=True)
class DriftedTenant:
    """A tenant whose schema differs, and when a look saw it first."""

    tenant_id: UUID
    subdomain: str
    state: str
    differences: list[dict[str, Any]]
    first_seen_at: datetime


async def claim(conn: AsyncConnection, *, every_s: float) -> datetime | None:
    """The claim to the next look; None where another began less than so many seconds ago."""
    found: datetime | None = (await conn.execute(_CLAIM, {"every": every_s})).scalar()
    return found


async def keep(
    conn: AsyncConnection,
    claimed: datetime,
    *,
    revision: str,
    compared: int,
    behind: int,
    drifted: int,
    found: Mapping[UUID, tuple[list[dict[str, Any]], bool]],
) -> bool:
    """Put what a look found in place of what the one before did; False where a later one has begun.
    `found` are differences, and whether the tenant lacks its admin."""
    counts = {"revision": revision, "compared": compared, "behind": behind, "drifted": drifted}
    if not (await conn.execute(_LOOKED, {**counts, "claim": claimed})).rowcount:
        return False
    await conn.execute(_FORGET, {"tenants": list(found)})
    columns = {
        "tenants": list(found),
        "differences": [json.dumps(differences) for differences, _ in found.values()],
        "lacking": [lacks for _, lacks in found.values()],
    }
    await conn.execute(_KEEP, {**columns, "claim": claimed})
    return True


async def newest(conn: AsyncConnection) -> StructureLook | None:
    """None before the first one."""
    c = structure_look.c
    age = func.extract("epoch", func.clock_timestamp() - c.looked_at).label("age")
    query = select(structure_look, age).where(c.looked_at.is_not(None))
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        return None
    age_s = max(float(row.age), 0.0)
    return StructureLook(row.looked_at, age_s, row.revision, row.compared, row.behind, row.drifted)


async def page(
    conn: AsyncConnection, *, limit: int, after: UUID | None = None
) -> list[DriftedTenant]:
    """Those whose schema differs by tenant id, from behind the last one seen."""
    c = structure_drift.c
    query = select(structure_drift, tenants.c.subdomain, tenants.c.state)
    query = query.join(tenants, tenants.c.id == c.tenant_id).order_by(c.tenant_id).limit(limit)
    query = query.where(func.jsonb_array_length(c.differences) > 0)
    if after is not None:
        query = query.where(c.tenant_id > after)
    return [
        DriftedTenant(row.tenant_id, row.subdomain, row.state, row.differences, row.first_seen_at)
        for row in await conn.execute(query)
    ]
