"""Rows of the public schema, as many tests compare them."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.store.tables import audit_log, metadata

# The API's login has no right to them.
_OF_WORKERS = {"rollout_positions"}


async def audit(conn: AsyncConnection) -> list[Any]:
    return list(await conn.execute(select(audit_log).order_by(audit_log.c.at)))


async def world(conn: AsyncConnection) -> dict[str, list[Any]]:
    """Every row of every table that a request can touch."""
    return {
        one.name: sorted(map(str, await conn.execute(one.select())))
        for one in metadata.sorted_tables
        if one.name not in _OF_WORKERS
    }
