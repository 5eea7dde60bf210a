"""What the newest look of a worker found: written by its sweep, shown and counted by the API."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.drift import Finding, Kind
from controlplane.store.drift_tables import drift_findings as table
from controlplane.store.drift_tables import drift_look

# Two sweeps may end in another order than they began: the later look counts. One of the future was
# dated by a clock that has been set back since; waiting for it would show old findings till then.
_LOOKED = text("""
INSERT INTO public.drift_look (looked_at) VALUES (:looked_at)
ON CONFLICT (singleton) DO UPDATE SET looked_at = excluded.looked_at
WHERE drift_look.looked_at < excluded.looked_at OR drift_look.looked_at > clock_timestamp()
RETURNING 1
""")
# A worker of a newer release may find what this one has no word for.
_KNOWN = [kind.value for kind in Kind]
_FOUND = """
unnest(CAST(:kinds AS text[]), CAST(:subjects AS text[]), CAST(:tenants AS uuid[]),
  CAST(:details AS text[])) AS found (kind, subject, tenant_id, detail)
"""
_FORGET = """
DELETE FROM public.drift_findings old WHERE NOT EXISTS (
  SELECT FROM {found}
  WHERE (found.kind, found.subject, found.tenant_id) = (old.kind, old.subject, old.tenant_id))
""".replace("{found}", _FOUND)
_KEEP = """
INSERT INTO public.drift_findings (kind, subject, tenant_id, detail, first_seen_at)
SELECT kind, subject, tenant_id, detail, :looked_at FROM {found}
ON CONFLICT (kind, subject, tenant_id) DO UPDATE SET detail = excluded.detail
WHERE drift_findings.detail <> excluded.detail
""".replace("{found}", _FOUND)
# An operation since the look may have set it right, or be about to.
_CURRENT = text("""
SELECT f.kind, f.subject, f.tenant_id, f.detail
FROM public.drift_findings f CROSS JOIN public.drift_look l
WHERE f.kind = ANY (:known) AND NOT EXISTS (
  SELECT FROM public.operations o
  WHERE o.tenant_id = f.tenant_id AND (o.finished_at IS NULL OR o.finished_at > l.looked_at))
""")


@dataclass(frozen=True)
class Look:
    """When a worker looked last, and how long ago that is by the database's clock."""

    looked_at: datetime
    age_s: float


@dataclass(frozen=True)
class SeenFinding:
    """A finding, and when a sweep saw it first."""

    id: UUID
    finding: Finding
    first_seen_at: datetime

    @property
    def created_at(self) -> datetime:
        """By which pages are cut."""
        return self.first_seen_at


async def now(conn: AsyncConnection) -> datetime:
    """The database's time: what is found from here on was so at this moment or later."""
    moment: datetime = (await conn.execute(select(func.clock_timestamp()))).scalar_one()
    return moment


async def keep(conn: AsyncConnection, found: Collection[Finding], *, looked_at: datetime) -> bool:
    """Put what a look found in place of what the one before did; False where a later one has."""
    if (await conn.execute(_LOOKED, {"looked_at": looked_at})).first() is None:
        return False
    columns = {
        "kinds": [finding.kind.value for finding in found],
        "subjects": [finding.subject for finding in found],
        "tenants": [finding.tenant_id for finding in found],
        "details": [finding.detail for finding in found],
    }
    await conn.execute(text(_FORGET), columns)
    await conn.execute(text(_KEEP), {**columns, "looked_at": looked_at})
    return True


async def newest_look(conn: AsyncConnection) -> Look | None:
    """None before the first one."""
    age = func.extract("epoch", func.clock_timestamp() - drift_look.c.looked_at)
    row = (await conn.execute(select(drift_look.c.looked_at, age.label("age")))).one_or_none()
    return None if row is None else Look(row.looked_at, max(float(row.age), 0.0))


async def page(
    conn: AsyncConnection,
    *,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
    kind: Kind | None = None,
) -> list[SeenFinding]:
    """Newest first, from behind the (first_seen_at, id) of the last one seen."""
    c = table.c
    query = select(table).where(c.kind.in_(_KNOWN)).limit(limit)
    query = query.order_by(c.first_seen_at.desc(), c.id.desc())
    if after is not None:
        query = query.where(tuple_(c.first_seen_at, c.id) < after)
    if kind is not None:
        query = query.where(c.kind == kind)
    return [
        SeenFinding(
            row.id,
            Finding(Kind(row.kind), row.subject, row.tenant_id, row.detail),
            row.first_seen_at,
        )
        for row in await conn.execute(query)
    ]


async def since_when(conn: AsyncConnection) -> dict[tuple[str, str, UUID], datetime]:
    """When each was seen first, by kind, subject and tenant."""
    rows = await conn.execute(select(table))
    return {(row.kind, row.subject, row.tenant_id): row.first_seen_at for row in rows}


async def current(conn: AsyncConnection) -> list[Finding]:
    """What was found, without the tenants that have had an operation since."""
    rows = await conn.execute(_CURRENT, {"known": _KNOWN})
    return [Finding(Kind(row.kind), row.subject, row.tenant_id, row.detail) for row in rows]
