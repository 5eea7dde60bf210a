"""Remove what we created for a tenant inside PostgreSQL, and nothing else."""

from collections.abc import Sequence
from uuid import UUID

from psycopg.errors import DependentObjectsStillExist
from psycopg.sql import SQL, Identifier
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Mark, SchemaName, schema_name
from controlplane.errors import SchemaConflict
from controlplane.tenancy.ownership import find, owned
from controlplane.tenancy.scope import send

# All tables in one statement, so that foreign keys between them do not matter. IF EXISTS: what
# belongs to a column goes with its table. Never CASCADE: it would take along what others built
# upon a tenant's tables. Kinds that are not named here keep the schema from going.
_DROPS = text("""
SELECT format('DROP %s IF EXISTS %s', upper(o.type), string_agg(o.identity, ', '))
FROM pg_namespace n
JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
CROSS JOIN pg_identify_object(d.classid, d.objid, 0) o
WHERE n.nspname = :schema
  AND o.type IN ('view', 'materialized view', 'table', 'foreign table', 'sequence', 'type',
                 'function', 'procedure')
GROUP BY o.type, CASE WHEN o.type <> 'table' THEN o.identity END ORDER BY o.type DESC
""")
# A partition goes with its table even without CASCADE.
_PARTITIONS_ELSEWHERE = text("""
SELECT pg_describe_object(k.classid, k.objid, 0)
FROM pg_namespace n
JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
                AND d.classid = 'pg_class'::regclass
JOIN pg_depend k ON k.refclassid = d.classid AND k.refobjid = d.objid AND k.deptype <> 'n'
                AND k.classid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = k.objid AND c.relkind IN ('r', 'p', 'f')
               AND c.relnamespace <> n.oid
WHERE n.nspname = :schema
""")
_SCHEMA = SQL("DROP SCHEMA {} RESTRICT")
# Everything the role was granted lies in its schema, so its going needs no DROP OWNED, which
# only a member of the role could run.
_ROLE = SQL("DROP ROLE {}")


async def drop(conn: AsyncConnection, *, tenant_id: UUID, mark: Mark) -> None:
    """Drop the schema and the role that carry the mark's installation and tenant.

    Absent is success; what carries another mark or none stays as it was. Raises SchemaConflict
    where something outside depends on what is ours, in this database or another of the server;
    the transaction is then to be rolled back.
    """
    holding = await find(conn, tenant_id)
    schema = schema_name(tenant_id)
    if owned(holding.schema, mark):
        await _empty(conn, schema)
        await _send(conn, f"The schema {schema}", _SCHEMA.format(Identifier(schema)).as_string())
    if owned(holding.role, mark):
        await _send(conn, f"The role {schema}", _ROLE.format(Identifier(schema)).as_string())


async def _empty(conn: AsyncConnection, schema: SchemaName) -> None:
    """Drop what is in the schema, in as many rounds as one thing depends on another."""
    known = {"schema": schema}
    if elsewhere := (await conn.scalars(_PARTITIONS_ELSEWHERE, known)).all():
        raise _conflict(f"The schema {schema}", elsewhere)
    while drops := (await conn.scalars(_DROPS, known)).all():
        await _send(conn, f"The schema {schema}", *drops)


async def _send(conn: AsyncConnection, what: str, *drops: str) -> None:
    """Raises SchemaConflict where not one of the statements could be carried out."""
    refusals = [await _refusal(conn, statement) for statement in drops]
    if all(refusals):
        raise _conflict(what, [refusal for refusal in refusals if refusal])


async def _refusal(conn: AsyncConnection, statement: str) -> str | None:
    """Why the statement left everything as it was; None where it was carried out."""
    try:
        async with conn.begin_nested():
            await send(conn, statement)
    except DBAPIError as error:
        if isinstance(error.orig, DependentObjectsStillExist):
            return error.orig.diag.message_detail or str(error.orig)
        raise
    return None


def _conflict(what: str, reasons: Sequence[str]) -> SchemaConflict:
    told = "; ".join(" ".join(reason.split()) for reason in reasons)
    return SchemaConflict(
        f"{what} is ours, but something that is not depends on it: {told}. "
        "Remove that, then try again."
    )
