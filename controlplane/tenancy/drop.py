"""Remove what we created for a tenant inside PostgreSQL, and nothing else."""

from uuid import UUID

from psycopg.errors import DependentObjectsStillExist
from psycopg.sql import SQL, Identifier
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Mark, schema_name
from controlplane.errors import SchemaConflict
from controlplane.tenancy.ownership import find, owned
from controlplane.tenancy.scope import send

_SCHEMA = SQL("DROP SCHEMA {} CASCADE")
# Everything the role was granted lies in its schema, so its going needs no DROP OWNED, which
# only a member of the role could run.
_ROLE = SQL("DROP ROLE {}")


async def drop(conn: AsyncConnection, *, tenant_id: UUID, mark: Mark) -> None:
    """Drop the schema and the role that carry the mark's installation and tenant.

    Absent is success; what carries another mark or none stays as it was. Raises SchemaConflict
    where that depends on our role, in this database or another of the server.
    """
    holding = await find(conn, tenant_id)
    name = Identifier(schema_name(tenant_id))
    if owned(holding.schema, mark):
        await send(conn, _SCHEMA.format(name).as_string())
    if owned(holding.role, mark):
        await _drop_role(conn, name)


async def _drop_role(conn: AsyncConnection, name: Identifier) -> None:
    try:
        await send(conn, _ROLE.format(name).as_string())
    except DBAPIError as error:
        if isinstance(error.orig, DependentObjectsStillExist):
            raise SchemaConflict(
                f"The role {name.as_string()} is ours, but something that is not depends on it: "
                f"{error.orig.diag.message_detail}. Remove that, then try again."
            ) from error
        raise
