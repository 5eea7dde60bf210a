"""Make a tenant's role and schema at the newest revision, in the caller's transaction."""

import asyncio
from uuid import UUID

from psycopg.errors import DuplicateObject, DuplicateSchema, UniqueViolation
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Mark, schema_name
from controlplane.errors import SchemaConflict, Transient
from controlplane.tenancy import slots
from controlplane.tenancy.compile import compiled
from controlplane.tenancy.ownership import find
from controlplane.tenancy.scope import LEAVE, enter, send, tenant_scope
from controlplane.tenancy.template import Template
from controlplane.tenancy.versions import present_heads

# CREATE SCHEMA without IF NOT EXISTS: a schema that appeared meanwhile is nobody's to fill.
_FRAME = SQL(
    "CREATE ROLE {name} NOLOGIN;\n"
    "COMMENT ON ROLE {name} IS {mark};\n"
    "GRANT {name} TO {app};\n"
    "CREATE SCHEMA {name};\n"
    "COMMENT ON SCHEMA {name} IS {mark};\n"
    "GRANT USAGE ON SCHEMA {name} TO {name};\n"
)


async def create(
    conn: AsyncConnection, *, tenant_id: UUID, mark: Mark, app_login: str, template: Template
) -> str:
    """Create role, schema, tables and seeds; returns the revision, `,`-joined sorted heads.

    Already there under our mark for the tenant: nothing is done and its revision returned.
    Raises SchemaConflict where something else bears the name, Transient where it appeared during
    the attempt, and what slots.take() does; the transaction is then to be rolled back. Afterwards
    its path holds pg_catalog only and no tenant is set.
    """
    holding = await find(conn, tenant_id)
    if holding.ours(mark):
        return await _revision(conn, tenant_id)
    if not holding.empty:
        raise SchemaConflict(
            f"A schema or role {schema_name(tenant_id)} exists and is not wholly this tenant's; "
            "it was left as it is. Rename or remove it, then try again."
        )
    script = await asyncio.to_thread(compiled, template)
    await slots.take(conn)
    body = script.render(schema=schema_name(tenant_id), tenant_id=tenant_id)
    await _send(conn, f"{_frame(tenant_id, mark, app_login)}{enter(tenant_id)};\n{body}{LEAVE}")
    return script.revision


def _frame(tenant_id: UUID, mark: Mark, app_login: str) -> str:
    name = Identifier(schema_name(tenant_id))
    frame = _FRAME.format(name=name, mark=Literal(str(mark)), app=Identifier(app_login))
    return frame.as_string()


async def _send(conn: AsyncConnection, message: str) -> None:
    try:
        await send(conn, message)
    except DBAPIError as error:
        if isinstance(error.orig, (DuplicateObject, DuplicateSchema)) or _raced(error.orig):
            raise Transient("The tenant's schema or role appeared during its creation.") from error
        raise


def _raced(error: BaseException | None) -> bool:
    """Two uncommitted creations collide in the catalog's own unique indexes."""
    catalogs = {"pg_authid", "pg_namespace"}
    return isinstance(error, UniqueViolation) and error.diag.table_name in catalogs


async def _revision(conn: AsyncConnection, tenant_id: UUID) -> str:
    async with tenant_scope(conn, tenant_id):
        return ",".join(await present_heads(conn))
