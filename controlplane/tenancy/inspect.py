"""What is in a tenant's schema, for people: `schema show <tenant>`."""

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import schema_name

_OF_SCHEMA = """
FROM pg_namespace n
JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
                AND d.classid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p')
"""
_TABLES = text(
    "SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS protected"
    + _OF_SCHEMA
    + "WHERE n.nspname = :schema ORDER BY c.relname"
)
_COLUMNS = text(
    "SELECT c.relname AS on_table, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,"
    " NOT a.attnotnull AS nullable, pg_get_expr(f.adbin, f.adrelid) AS preset"
    + _OF_SCHEMA
    + "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "LEFT JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = a.attnum "
    "WHERE n.nspname = :schema ORDER BY c.relname, a.attnum"
)
_POLICIES = text(
    "SELECT c.relname AS on_table, p.polname AS name, p.polpermissive AS permissive,"
    " pg_get_expr(p.polqual, p.polrelid) AS using"
    + _OF_SCHEMA
    + "JOIN pg_policy p ON p.polrelid = c.oid "
    "WHERE n.nspname = :schema ORDER BY c.relname, p.polname"
)


@dataclass(frozen=True)
class ColumnShown:
    """`type` as PostgreSQL prints it; `preset` is the default's expression."""

    name: str
    type: str
    nullable: bool
    preset: str | None


@dataclass(frozen=True)
class PolicyShown:
    name: str
    permissive: bool
    using: str


@dataclass(frozen=True)
class TableShown:
    """`protected`: row-level security is enabled and forced."""

    name: str
    protected: bool
    columns: tuple[ColumnShown, ...]
    policies: tuple[PolicyShown, ...]


async def show(conn: AsyncConnection, *, tenant_id: UUID) -> list[TableShown]:
    """The schema's tables by name; empty where there is no such schema."""
    schema = {"schema": schema_name(tenant_id)}
    columns: dict[str, list[ColumnShown]] = defaultdict(list)
    for table, *column in await conn.execute(_COLUMNS, schema):
        columns[table].append(ColumnShown(*column))
    policies: dict[str, list[PolicyShown]] = defaultdict(list)
    for table, *policy in await conn.execute(_POLICIES, schema):
        policies[table].append(PolicyShown(*policy))
    return [
        TableShown(name, protected, tuple(columns[name]), tuple(policies[name]))
        for name, protected in await conn.execute(_TABLES, schema)
    ]
