"""What tenants' schemas consist of, and what the template would make of one today."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.naming import Mark, SchemaName, schema_name
from controlplane.domain.structure import Fact, FactKind
from controlplane.tenancy.create import create
from controlplane.tenancy.scope import LEAVE, send
from controlplane.tenancy.structure_sql import FACTS, FINGERPRINTS
from controlplane.tenancy.template import Template

_FACTS, _FINGERPRINTS = text(FACTS), text(FINGERPRINTS)


@dataclass(frozen=True)
class Reference:
    """A schema as the template makes it: its revision, its facts and their fingerprint."""

    revision: str
    facts: tuple[Fact, ...]
    fingerprint: str


async def reference(
    database: AsyncEngine, *, installation: UUID, app_login: str, template: Template
) -> Reference:
    """Made in a transaction that is rolled back, so that it is what this very server makes of the
    template; nothing of it is ever seen by anybody. `database` is the owner's.

    Raises TemplateInvalid, and what tenancy.create does.
    """
    tenant_id = uuid4()
    name = schema_name(tenant_id)
    async with database.connect() as conn:
        transaction = await conn.begin()
        try:
            revision = await create(
                conn,
                tenant_id=tenant_id,
                mark=Mark(installation, tenant_id, tenant_id),
                app_login=app_login,
                template=template,
            )
            found = await facts(conn, [name])
            printed = await fingerprints(conn, [name])
        finally:
            await transaction.rollback()
    return Reference(revision, found[name], printed[name])


async def facts(
    conn: AsyncConnection, schemas: Collection[SchemaName]
) -> dict[SchemaName, tuple[Fact, ...]]:
    """Of each schema that is there. The transaction's path holds pg_catalog only afterwards."""
    await send(conn, LEAVE)
    by_schema: dict[SchemaName, list[Fact]] = defaultdict(list)
    for schema, kind, on, name, definition in await conn.execute(_FACTS, {"schemas": [*schemas]}):
        by_schema[schema].append(Fact(FactKind(kind), on, name, definition))
    return {schema: tuple(found) for schema, found in by_schema.items()}


async def fingerprints(
    conn: AsyncConnection, schemas: Collection[SchemaName]
) -> dict[SchemaName, str]:
    """The same, summed up by the server: equal where all facts are. The path as after `facts`."""
    await send(conn, LEAVE)
    rows = await conn.execute(_FINGERPRINTS, {"schemas": [*schemas]})
    return {row.schema: row.fingerprint for row in rows}
