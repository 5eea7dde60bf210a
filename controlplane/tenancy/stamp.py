"""Whether a schema is as it was made, to the last row of the catalog.

Every row that PostgreSQL keeps of it bears the transaction that wrote it last. Cheaper by far than a
comparison of structures, and stricter: what was changed and changed back is told, too.
"""

from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import SchemaName
from controlplane.tenancy.scope import LEAVE, send

# What is in a schema depends on it, and what is in a table is found by that: only by these ways lead
# indexes, so that it costs the same whatever else is in the database. By VACUUM and ANALYZE a row
# is changed in place, and bears the same transaction as before.
_STAMPS = text("""
WITH space AS (
  SELECT oid, nspname AS schema, xmin FROM pg_namespace WHERE nspname = ANY (:schemas)
), part AS (
  SELECT s.schema, d.classid, d.objid AS oid, d.xmin FROM space s
  JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = s.oid
), relation AS (
  SELECT p.schema, c.oid, c.xmin FROM part p JOIN pg_class c ON c.oid = p.oid
  WHERE p.classid = 'pg_class'::regclass
), index AS (
  SELECT r.schema, i.indexrelid AS oid, i.xmin FROM relation r JOIN pg_index i ON i.indrelid = r.oid
), type AS (
  SELECT p.schema, t.oid, t.xmin FROM part p JOIN pg_type t ON t.oid = p.oid
  WHERE p.classid = 'pg_type'::regclass
), written AS (
  SELECT schema, xmin FROM space
  UNION ALL SELECT schema, xmin FROM part
  UNION ALL SELECT schema, xmin FROM relation
  UNION ALL SELECT schema, xmin FROM index
  UNION ALL SELECT schema, c.xmin FROM index i JOIN pg_class c ON c.oid = i.oid
  UNION ALL SELECT schema, a.xmin FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid
  UNION ALL SELECT schema, d.xmin FROM relation r JOIN pg_attrdef d ON d.adrelid = r.oid
  UNION ALL SELECT schema, c.xmin FROM relation r JOIN pg_constraint c ON c.conrelid = r.oid
  UNION ALL SELECT schema, p.xmin FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
  UNION ALL SELECT schema, t.xmin FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid
  UNION ALL SELECT schema, w.xmin FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid
  UNION ALL SELECT schema, f.xmin FROM part p JOIN pg_proc f ON f.oid = p.oid
    WHERE p.classid = 'pg_proc'::regclass
  UNION ALL SELECT schema, t.xmin FROM type t
  UNION ALL SELECT schema, e.xmin FROM type t JOIN pg_enum e ON e.enumtypid = t.oid
  UNION ALL SELECT schema, c.xmin FROM type t JOIN pg_constraint c ON c.contypid = t.oid
  UNION ALL SELECT schema, m.xmin FROM space s JOIN pg_auth_members m
    ON m.roleid = to_regrole(quote_ident(s.schema::text))
)
SELECT schema, count(*) || ':' || string_agg(DISTINCT xmin::text, ',') AS stamp
FROM written GROUP BY schema
""")


async def stamps(conn: AsyncConnection, schemas: Collection[SchemaName]) -> dict[SchemaName, str]:
    """Of each schema that is there. The transaction's path holds pg_catalog only afterwards."""
    await send(conn, LEAVE)
    rows = await conn.execute(_STAMPS, {"schemas": [*schemas]})
    return {row.schema: row.stamp for row in rows}
