"""Takes tenants away without a trace, past the engine: for the next example of a test."""

from collections.abc import Iterable
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Identifier

from controlplane.domain.naming import schema_name
from tests.database import Database

# What refers to a tenant, before what is referred to.
_IN_ORDER = (
    *("email_deliveries", "tenant_resources", "audit_log", "subdomain_holds"),
    *("operations", "tenants"),
)


def erase(database: Database, tenants: Iterable[UUID], *, but: UUID) -> None:
    """Schemas and roles of these, and every row of all but one."""
    with psycopg.connect(database.superuser_url, autocommit=True) as conn:
        for tenant in tenants:
            name = Identifier(schema_name(tenant))
            conn.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name))
            conn.execute(SQL("DROP ROLE IF EXISTS {}").format(name))
        for table in _IN_ORDER:
            key = Identifier("id" if table == "tenants" else "tenant_id")
            delete = SQL("DELETE FROM public.{} WHERE {} <> %s").format(Identifier(table), key)
            conn.execute(delete, [but])
        conn.execute("DELETE FROM public.witness")
