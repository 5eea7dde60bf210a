"""Which tenants' schemas are not what the template makes, and how: over all of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.naming import schema_name
from controlplane.domain.structure import Difference, differences
from controlplane.fleet.admins import without_admin
from controlplane.tenancy import structure
from controlplane.tenancy.structure import Reference
from controlplane.tenancy.template import Template

# As many as are asked about at once: bounds how long one question takes, and the server's memory. To
# print what is in a schema, its process keeps all of that in mind, half a megabyte.
_BATCH = 100
_SERVED = ("active", "suspended")
# Whoever is being made or purged has a schema that is on its way.
_TENANTS = text("""
SELECT id, subdomain, state, revision FROM public.tenants
WHERE state IN ('active', 'suspended', 'deleting', 'deleted') AND revision IS NOT NULL
  AND id > :after AND (CAST(:only AS uuid) IS NULL OR id = :only)
ORDER BY id LIMIT :at_most
""")


@dataclass(frozen=True)
class Drifted:
    """A tenant whose schema differs though it is at the template's revision."""

    id: UUID
    subdomain: str
    state: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Report:
    """`behind` counts the tenants at other revisions: those are a rollout's, and not compared.
    `without_admin` are served, and nobody may sign in as their admin."""

    revision: str
    looked_at: int
    behind: int
    drifted: tuple[Drifted, ...]
    without_admin: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class _Tenant:
    id: UUID
    subdomain: str
    state: str
    revision: str


async def look(
    database: AsyncEngine,
    *,
    installation: UUID,
    app_login: str,
    template: Template,
    only: UUID | None = None,
    admins: bool = False,
) -> Report:
    """Compare every tenant's schema, or one's, with what the template makes today. Changes nothing.

    `database` is the owner's. With `admins` those are looked for, too, in schemas that do not
    differ. Raises TemplateInvalid.
    """
    ours = await structure.reference(
        database, installation=installation, app_login=app_login, template=template
    )
    looked_at = behind = 0
    drifted: list[Drifted] = []
    without: list[UUID] = []
    async for batch in _batches(database, only):
        current = [tenant for tenant in batch if tenant.revision == ours.revision]
        looked_at += len(current)
        behind += len(batch) - len(current)
        async with _given_up(database) as conn:
            apart, alike = await _compared(conn, current, ours)
        drifted += apart
        if admins and alike:
            without += await _without_admin(database, alike)
    return Report(ours.revision, looked_at, behind, tuple(drifted), tuple(without))


async def _without_admin(database: AsyncEngine, alike: list[_Tenant]) -> list[UUID]:
    served = [each.id for each in alike if each.state in _SERVED]
    async with _given_up(database) as conn:
        return await without_admin(conn, served)


@asynccontextmanager
async def _given_up(database: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection that nobody uses again: its server process remembers the tables of each tenant that
    it was asked about, for as long as it lives."""
    async with database.connect() as conn:
        await conn.begin()
        try:
            yield conn
        finally:
            await conn.invalidate()


async def _batches(database: AsyncEngine, only: UUID | None) -> AsyncIterator[list[_Tenant]]:
    after = UUID(int=0)
    while True:
        asked = {"after": after, "only": only, "at_most": _BATCH}
        async with database.connect() as conn:
            rows = (await conn.execute(_TENANTS, asked)).all()
        if not rows:
            return
        yield [_Tenant(*row) for row in rows]
        after = rows[-1].id


async def _compared(
    conn: AsyncConnection, tenants: list[_Tenant], ours: Reference
) -> tuple[list[Drifted], list[_Tenant]]:
    """Who differs, and who does not. A schema that is missing altogether is for `reconcile` to tell."""
    by_schema = {schema_name(tenant.id): tenant for tenant in tenants}
    printed = await structure.fingerprints(conn, by_schema)
    others = [schema for schema, print_ in printed.items() if print_ != ours.fingerprint]
    found = await structure.facts(conn, others) if others else {}
    drifted = [
        Drifted(tenant.id, tenant.subdomain, tenant.state, tuple(apart))
        for schema, tenant in by_schema.items()
        if schema in found and (apart := differences(ours.facts, found[schema]))
    ]
    return drifted, [by_schema[schema] for schema in printed if schema not in others]
