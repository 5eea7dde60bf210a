"""Which tenants have nobody who may sign in as their admin."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.store import driver
from controlplane.tenancy.scope import LEAVE, enter

_THERE = """
SELECT EXISTS (
  SELECT FROM users u JOIN user_roles g ON g.user_id = u.id JOIN roles r ON r.id = g.role_id
  WHERE u.state = 'active' AND r.name = 'tenant_admin')
"""


async def without_admin(conn: AsyncConnection, tenant_ids: Collection[UUID]) -> list[UUID]:
    """Those of the tenants in whose schema nobody active holds the role `tenant_admin`; whose schemas
    are as the template makes them. In one round trip. The server process remembers the tables of each: give the
    connection up afterwards. Raises DBAPIError."""
    looks = [f"{enter(tenant_id)};{_THERE};" for tenant_id in tenant_ids]
    answers = await driver.rows_of_each(conn, f"{''.join(looks)}{LEAVE}")
    pairs = zip(tenant_ids, answers, strict=True)
    return [tenant_id for tenant_id, rows in pairs if not rows[0][0]]
