"""Upgrades that take several transactions: what each of them but the last leaves behind."""

import json
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.store import positions

# In the tenant's scope, as its schema says it; whatever it took to come so far is forgotten.
_PARTLY = text("""
WITH target AS (
  UPDATE public.rollout_targets SET attempt = 0, error = CAST(:error AS jsonb)
  WHERE tenant_id = :tenant AND state = 'pending' AND rollout_id =
    (SELECT id FROM public.rollouts WHERE finished_at IS NULL)
), present (revision) AS (
  SELECT string_agg(version_num, ',' ORDER BY version_num) FROM alembic_version
)
UPDATE public.tenants SET revision = present.revision, version = version + 1,
  updated_at = clock_timestamp()
FROM present WHERE id = :tenant AND tenants.revision IS DISTINCT FROM present.revision
""")


async def enter(
    conn: AsyncConnection, tenant_id: UUID, revision: str | None, position: object
) -> None:
    """Enter that a target of the live rollout has come a part of the way, and that the rest is due.
    In the tenant's scope. `revision` is one of which a batch was run, and `position` where its next
    begins; None where nothing is left."""
    error = {"code": "under_way", "detail": await _told(conn, tenant_id, revision, position)}
    await conn.execute(_PARTLY, {"tenant": tenant_id, "error": json.dumps(error)})


async def _told(
    conn: AsyncConnection, tenant_id: UUID, revision: str | None, position: object
) -> str:
    if revision is not None and position is not None:
        batches = await positions.save(conn, tenant_id, revision, position)
        return f"Revision {revision} goes through its rows in batches; {batches} are done."
    if revision is not None:
        await positions.forget(conn, tenant_id, revision)
    return "A revision that goes through its rows in batches is next."
