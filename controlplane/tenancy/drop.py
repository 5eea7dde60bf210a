"""Remove what we created for a tenant inside PostgreSQL, and nothing else.

A schema that needs more locks than one transaction should hold goes in several; see `drop`.
"""

from collections.abc import Sequence
from uuid import UUID

from psycopg.errors import DependentObjectsStillExist
from psycopg.sql import SQL, Identifier
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Mark, SchemaName, schema_name
from controlplane.errors import SchemaConflict
from controlplane.tenancy import contents, slots
from controlplane.tenancy.contents import Piece, batches, going
from controlplane.tenancy.ownership import find, owned
from controlplane.tenancy.scope import send
from controlplane.tenancy.versions import VERSIONS

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
_SCHEMA = SQL("DROP SCHEMA {} RESTRICT")
_VERSIONS = SQL("DROP TABLE IF EXISTS {}.{}")
_HAS_VERSIONS = text("SELECT to_regclass(:named) IS NOT NULL")
# Everything the role was granted lies in its schema, so its going needs no DROP OWNED, which
# only a member of the role could run.
_ROLE = SQL("DROP ROLE {}")


async def drop(
    conn: AsyncConnection, *, tenant_id: UUID, mark: Mark, budget: int = slots.AT_MOST
) -> bool:
    """Drop the schema and the role that carry the mark's installation and tenant.

    Returns whether they are gone. If not, as much of the schema went as `budget` locks (or fewer,
    on a small server) allow: commit, and call again, until they are. Absent is success; what
    carries another mark or none stays as it was. Raises SchemaConflict where something outside
    depends on what is ours, in this database or another of the server, before the first of
    several transactions has dropped anything; this one is then to be rolled back. Raises what
    slots.take() does.
    """
    holding = await find(conn, tenant_id)
    schema = schema_name(tenant_id)
    if owned(holding.schema, mark):
        budget = min(budget, await slots.take(conn))
        if not await _emptied(conn, schema, budget):
            return False
        await _send(conn, f"The schema {schema}", _SCHEMA.format(Identifier(schema)).as_string())
    if owned(holding.role, mark):
        await _send(conn, f"The role {schema}", _ROLE.format(Identifier(schema)).as_string())
    return True


async def _emptied(conn: AsyncConnection, schema: SchemaName, budget: int) -> bool:
    """Whether the schema is empty now; if not, a batch of what it held is gone."""
    what = f"The schema {schema}"
    if elsewhere := await contents.partitions_elsewhere(conn, schema):
        raise _conflict(what, elsewhere)
    if await contents.locks(conn, schema) > budget:
        # At once, before anything is gone: a tenant is not to be left in halves.
        if dependents := await contents.dependents(conn, schema):
            raise _conflict(what, dependents)
        await _unversion(conn, schema)
        await _lessen(conn, what, await contents.pieces(conn, schema), budget)
        return False
    # In as many rounds as one thing depends on another.
    while drops := (await conn.scalars(_DROPS, {"schema": schema})).all():
        refusals = [await _refusal(conn, statement) for statement in drops]
        if not any(refusals):
            break
        if all(refusals):
            # A refusal names as well what of ours stands in the way of ours: none of it is to blame.
            outside = await contents.dependents(conn, schema)
            raise _conflict(what, outside or list(filter(None, refusals)))
    return True


async def _unversion(conn: AsyncConnection, schema: SchemaName) -> None:
    """Take away first what tells a whole schema from one that has lost some of it."""
    versions = _VERSIONS.format(Identifier(schema), Identifier(VERSIONS))
    await _refusal(conn, versions.as_string())


async def left_over(conn: AsyncConnection, *, tenant_id: UUID, mark: Mark) -> bool:
    """Whether the schema is ours and no whole one: a drop in several transactions was given up."""
    if not owned((await find(conn, tenant_id)).schema, mark):
        return False
    named = f"{schema_name(tenant_id)}.{VERSIONS}"
    return not (await conn.execute(_HAS_VERSIONS, {"named": named})).scalar_one()


async def _lessen(conn: AsyncConnection, what: str, found: Sequence[Piece], budget: int) -> None:
    """Drop the first batch of which anything can go."""
    if strange := [f"{piece.kind} {piece.named}" for piece in found if not piece.known]:
        raise _conflict(what, strange)
    refusals: list[str] = []
    for batch in batches(found, budget):
        if await _refusal(conn, going(batch)) is None:
            return
        alone = [await _refusal(conn, going([piece])) for piece in batch]
        if not all(alone):
            return
        refusals += filter(None, alone)
    raise _conflict(what, refusals)


async def _send(conn: AsyncConnection, what: str, statement: str) -> None:
    """Raises SchemaConflict where it was not carried out."""
    if refusal := await _refusal(conn, statement):
        raise _conflict(what, [refusal])


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
