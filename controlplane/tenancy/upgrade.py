"""Bring an existing tenant's schema to the newest revision, in the caller's transaction."""

import asyncio
from uuid import UUID

from psycopg.sql import SQL, Literal
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import schema_name
from controlplane.errors import Permanent, Transient
from controlplane.tenancy.compile import Script, compiled
from controlplane.tenancy.scope import send, tenant_scope
from controlplane.tenancy.template import Template
from controlplane.tenancy.versions import present_heads

# A queued ALTER blocks every reader behind it: give up soon, try again later.
LOCK_TIMEOUT_MS = 2000

_LIMIT = SQL("SET LOCAL lock_timeout = {}")


async def upgrade(
    conn: AsyncConnection,
    *,
    tenant_id: UUID,
    template: Template,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
) -> str:
    """Run what is missing; returns the revision, which public.tenants.revision must then hold.

    Raises Permanent for a schema without a revision, RevisionNeedsOnline for a data revision on
    the way, TemplateInvalid for heads that the template does not know, and psycopg's
    LockNotAvailable inside SQLAlchemy's OperationalError where a lock was not had in time.
    """
    async with tenant_scope(conn, tenant_id):
        present = frozenset(await present_heads(conn))
        if not present:
            raise Permanent(f"{schema_name(tenant_id)} has no revision to upgrade from.")
        script = await asyncio.to_thread(compiled, template, start=present)
        if script.statements:
            await _run(conn, script, tenant_id, lock_timeout_ms)
        return script.revision


async def _run(conn: AsyncConnection, script: Script, tenant_id: UUID, lock_ms: int) -> None:
    body = script.render(schema=schema_name(tenant_id), tenant_id=tenant_id)
    limit = _LIMIT.format(Literal(lock_ms)).as_string()
    await send(conn, f"{limit};\n{body}SET LOCAL lock_timeout TO DEFAULT")
    if tuple(await present_heads(conn)) != script.heads:
        raise Transient("The schema's revision changed while it was being upgraded.")
