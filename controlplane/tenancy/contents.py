"""What a schema holds, how many locks its going takes, and who depends on it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from psycopg.sql import SQL
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import SchemaName

# Each object that goes is one lock: a relation with its types and TOAST, a default at most for each
# column, constraints, triggers, indexes, policies. Counted this way because to follow pg_depend to
# its ends takes a quarter of the time that dropping an ordinary tenant does.
_LOCKS = text("""
SELECT coalesce(sum(5 + coalesce(c.relnatts, 0)
  + (SELECT count(*) FROM pg_constraint x WHERE x.conrelid = c.oid)
  + (SELECT count(*) FROM pg_trigger x WHERE x.tgrelid = c.oid)
  + (SELECT count(*) FROM pg_index x WHERE x.indrelid = c.oid)
  + (SELECT count(*) FROM pg_policy x WHERE x.polrelid = c.oid)), 0)::int
FROM pg_namespace n
JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
WHERE n.nspname = :schema
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
# Whatever depends on something in the schema and is not in it, nor a part of something in it.
# LATERAL … OFFSET 0 keeps the planner from reading the whole of pg_depend, which has four hundred
# rows a tenant.
_DEPENDENTS = text("""
WITH RECURSIVE held (classid, objid) AS (
  SELECT d.classid, d.objid FROM pg_namespace n JOIN pg_depend d
    ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
  WHERE n.nspname = :schema
  UNION
  SELECT k.classid, k.objid FROM held CROSS JOIN LATERAL (
    SELECT k.classid, k.objid FROM pg_depend k
    WHERE k.refclassid = held.classid AND k.refobjid = held.objid AND k.deptype <> 'n'
    OFFSET 0) k
)
SELECT DISTINCT CASE k.classid WHEN 'pg_rewrite'::regclass
  THEN (SELECT pg_describe_object('pg_class'::regclass, w.ev_class, 0)
        FROM pg_rewrite w WHERE w.oid = k.objid)
  ELSE pg_describe_object(k.classid, k.objid, 0) END
FROM held CROSS JOIN LATERAL (
  SELECT k.classid, k.objid FROM pg_depend k
  WHERE k.refclassid = held.classid AND k.refobjid = held.objid OFFSET 0) k
WHERE NOT EXISTS (SELECT FROM held h WHERE h.classid = k.classid AND h.objid = k.objid)
""")
# The same of many schemas at an eighth of the price of a stamp, but only what is seen at first glance:
# views, foreign keys and heirs of tables.
_LEANED_UPON = text("""
WITH space AS (
  SELECT oid, nspname AS schema FROM pg_namespace WHERE nspname = ANY (:schemas)
)
SELECT DISTINCT s.schema FROM space s
JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = s.oid
CROSS JOIN LATERAL (
  SELECT k.classid, k.objid FROM pg_depend k
  WHERE k.refclassid = d.classid AND k.refobjid = d.objid AND k.deptype = 'n' OFFSET 0) k
LEFT JOIN pg_rewrite w ON k.classid = 'pg_rewrite'::regclass AND w.oid = k.objid
LEFT JOIN pg_constraint f ON k.classid = 'pg_constraint'::regclass AND f.oid = k.objid
JOIN pg_class c ON c.oid = CASE k.classid WHEN 'pg_rewrite'::regclass THEN w.ev_class
  WHEN 'pg_constraint'::regclass THEN f.conrelid WHEN 'pg_class'::regclass THEN k.objid END
WHERE c.relnamespace <> s.oid
""")
# Views before what they show, foreign keys before the tables that they tie together, partitions
# before their table; what was made last goes first, for it may depend on what was there before.
# What goes with something else is no piece of its own, but a partition is.
_PIECES = text("""
WITH RECURSIVE members AS (
  SELECT d.classid, d.objid FROM pg_namespace n JOIN pg_depend d
    ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
  WHERE n.nspname = :schema
), roots AS (
  SELECT m.classid, m.objid, o.type AS kind, o.identity AS named, 0 AS besides
  FROM members m CROSS JOIN pg_identify_object(m.classid, m.objid, 0) o
  WHERE o.type = 'table' OR NOT EXISTS (SELECT FROM pg_depend w
    WHERE w.classid = m.classid AND w.objid = m.objid AND w.deptype <> 'n')
  UNION ALL
  SELECT 'pg_constraint'::regclass, f.oid, 'foreign key',
    format('%s DROP CONSTRAINT IF EXISTS %I', o.identity, f.conname), 2
  FROM members m JOIN pg_constraint f ON f.conrelid = m.objid AND f.contype = 'f'
  CROSS JOIN pg_identify_object(m.classid, m.objid, 0) o
  WHERE m.classid = 'pg_class'::regclass AND f.conparentid = 0 AND f.confrelid <> f.conrelid
    AND EXISTS (SELECT FROM members r WHERE r.classid = m.classid AND r.objid = f.confrelid)
), held (classid, objid, of_class, of_obj) AS (
  SELECT classid, objid, classid, objid FROM roots
  UNION
  SELECT k.classid, k.objid, held.of_class, held.of_obj FROM held CROSS JOIN LATERAL (
    SELECT k.classid, k.objid FROM pg_depend k
    WHERE k.refclassid = held.classid AND k.refobjid = held.objid AND k.deptype <> 'n' OFFSET 0) k
)
SELECT r.kind, r.named, count(*) + r.besides
FROM roots r JOIN held h ON h.of_class = r.classid AND h.of_obj = r.objid
LEFT JOIN pg_class c ON r.classid = 'pg_class'::regclass AND c.oid = r.objid
GROUP BY r.classid, r.objid, r.kind, r.named, r.besides, c.relispartition
ORDER BY array_position(:kinds, r.kind), c.relispartition DESC, r.objid DESC
""")
# In the order in which they go.
_KINDS = (
    *("view", "materialized view", "foreign key", "table", "foreign table", "sequence"),
    *("function", "procedure", "type"),
)


@dataclass(frozen=True)
class Piece:
    """Something that can go alone. `named` is its quoted identity, as DROP takes it; of a foreign
    key it is the rest of an ALTER TABLE."""

    kind: str
    named: str
    locks: int

    @property
    def known(self) -> bool:
        return self.kind in _KINDS


async def locks(conn: AsyncConnection, schema: SchemaName) -> int:
    """How many the going of all that is in the schema takes; rather too many than too few."""
    return int((await conn.execute(_LOCKS, {"schema": schema})).scalar_one())


async def partitions_elsewhere(conn: AsyncConnection, schema: SchemaName) -> Sequence[str]:
    """Other schemas' partitions of this one's tables, described."""
    return (await conn.scalars(_PARTITIONS_ELSEWHERE, {"schema": schema})).all()


async def dependents(conn: AsyncConnection, schema: SchemaName) -> Sequence[str]:
    """What depends on the schema's objects from outside, described; partitions are not among it."""
    return (await conn.scalars(_DEPENDENTS, {"schema": schema})).all()


async def leaned_upon(conn: AsyncConnection, schemas: Collection[SchemaName]) -> set[str]:
    """Those on whose tables a view, a foreign key or a table from outside depends."""
    return set(await conn.scalars(_LEANED_UPON, {"schemas": [*schemas]}))


async def pieces(conn: AsyncConnection, schema: SchemaName) -> list[Piece]:
    """What is in the schema, in an order in which it can go, save for odd cases."""
    rows = await conn.execute(_PIECES, {"schema": schema, "kinds": list(_KINDS)})
    return [Piece(*row) for row in rows]


def batches(found: Sequence[Piece], budget: int) -> Iterator[list[Piece]]:
    """Neighbours of one kind, as many as the budget of locks allows, and one at least."""
    batch: list[Piece] = []
    for piece in found:
        spent = sum(each.locks for each in batch)
        if batch and (piece.kind != batch[0].kind or spent + piece.locks > budget):
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


def going(batch: Sequence[Piece]) -> str:
    """The script that drops pieces of one kind, all or none; never by CASCADE."""
    kind = batch[0].kind
    if kind == "foreign key":
        return (
            SQL("; ").join(SQL("ALTER TABLE IF EXISTS ") + SQL(p.named) for p in batch).as_string()
        )
    names = SQL(", ").join(SQL(piece.named) for piece in batch)
    return SQL("DROP {} IF EXISTS {}").format(SQL(kind.upper()), names).as_string()
