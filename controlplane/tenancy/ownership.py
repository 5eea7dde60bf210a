"""Whose a schema and a role of a tenant's name are, by the marks in their comments."""

from dataclasses import dataclass
from uuid import UUID

from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Mark, parse_mark, schema_name
from controlplane.tenancy.scope import send

_FIND = text(
    "SELECT n.oid IS NOT NULL, obj_description(n.oid, 'pg_namespace'),"
    " r.oid IS NOT NULL, shobj_description(r.oid, 'pg_authid')"
    " FROM (SELECT CAST(:name AS name) AS wanted) AS w"
    " LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.wanted"
    " LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.wanted"
)


@dataclass(frozen=True)
class Found:
    """A schema or role that is there; its mark is None where the comment is not one of ours."""

    mark: Mark | None


@dataclass(frozen=True)
class Holding:
    """What PostgreSQL has under a tenant's name; None is absent."""

    schema: Found | None
    role: Found | None

    @property
    def empty(self) -> bool:
        return self.schema is None and self.role is None

    def ours(self, mark: Mark) -> bool:
        """Whether both are there and carry the mark's installation and tenant."""
        return owned(self.schema, mark) and owned(self.role, mark)

    def untaken(self, mark: Mark) -> bool:
        """Whether no schema is there that carries another mark, were it only another operation's."""
        return self.schema is None or self.schema.mark == mark


def owned(found: Found | None, mark: Mark) -> bool:
    return found is not None and mark.same_tenant(found.mark)


async def find(conn: AsyncConnection, tenant_id: UUID) -> Holding:
    row = (await conn.execute(_FIND, {"name": schema_name(tenant_id)})).one()
    return Holding(
        schema=Found(parse_mark(row[1])) if row[0] else None,
        role=Found(parse_mark(row[3])) if row[2] else None,
    )


async def sign(conn: AsyncConnection, tenant_id: UUID, mark: Mark) -> None:
    """Put another operation's mark on the tenant's schema."""
    comment = SQL("COMMENT ON SCHEMA {} IS {}")
    name = Identifier(schema_name(tenant_id))
    await send(conn, comment.format(name, Literal(str(mark))).as_string())
