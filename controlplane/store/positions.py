"""How far revisions that go in batches have come with a tenant. Functions take a connection and never
commit."""

import json
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_OF = text("SELECT revision, position FROM public.rollout_positions WHERE tenant_id = :tenant")
_SAVE = text("""
INSERT INTO public.rollout_positions AS p (tenant_id, revision, position)
VALUES (:tenant, :revision, CAST(:position AS jsonb))
ON CONFLICT (tenant_id, revision) DO UPDATE
SET position = excluded.position, batches = p.batches + 1, updated_at = now()
RETURNING batches
""")
_FORGET = text("""
DELETE FROM public.rollout_positions
WHERE tenant_id = :tenant AND (CAST(:revision AS text) IS NULL OR revision = :revision)
""")


async def of_tenant(conn: AsyncConnection, tenant_id: UUID) -> dict[str, Any]:
    """Where the next batch begins, by revision."""
    rows = await conn.execute(_OF, {"tenant": tenant_id})
    return {row.revision: row.position for row in rows}


async def save(conn: AsyncConnection, tenant_id: UUID, revision: str, position: object) -> int:
    """Enter where the next batch begins, in the transaction of the last; how many there were."""
    values = {"tenant": tenant_id, "revision": revision, "position": json.dumps(position)}
    return int((await conn.execute(_SAVE, values)).scalar_one())


async def forget(conn: AsyncConnection, tenant_id: UUID, revision: str | None = None) -> None:
    """The revision, or every one, begins anew."""
    await conn.execute(_FORGET, {"tenant": tenant_id, "revision": revision})
