"""The version table of a tenant's schema: the truth about its revision."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

VERSIONS = "alembic_version"

_HEADS = text("SELECT version_num FROM alembic_version")


async def present_heads(conn: AsyncConnection) -> list[str]:
    """The heads of the schema in scope, sorted; a partly downgraded schema has none or a few."""
    return sorted((await conn.execute(_HEADS)).scalars())
