"""Rows of public.tenants. Functions take a connection and never commit."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Subdomain
from controlplane.domain.tenants import Tenant, TenantState, Tier
from controlplane.errors import FieldFault, SubdomainTaken, TenantNotFound, ValidationFailed
from controlplane.store.tables import installation
from controlplane.store.tenant_tables import tenants

_GONE = (TenantState.DELETED, TenantState.PURGING, TenantState.PURGED)


async def installation_id(conn: AsyncConnection) -> UUID:
    """The id that the first migration gave this installation."""
    found: UUID = (await conn.execute(select(installation.c.id))).scalar_one()
    return found


async def add(
    conn: AsyncConnection,
    *,
    tenant_id: UUID,
    name: str,
    subdomain: Subdomain,
    tier: Tier,
    admin_email: str,
    admin_name: str | None,
    metadata: dict[str, Any],
) -> None:
    """Enter a tenant in state provisioning, which claims its subdomain.

    Raises SubdomainTaken, and ValidationFailed for a name that this database takes for one with
    control characters: what counts as one depends on its locale.
    """
    statement = insert(tenants).values(
        id=tenant_id,
        name=name,
        subdomain=subdomain,
        state=TenantState.PROVISIONING,
        tier=tier,
        admin_email=admin_email,
        admin_name=admin_name,
        metadata=metadata,
    )
    try:
        await conn.execute(statement)
    except IntegrityError as error:
        raise _taken(error, subdomain) from error


async def add_tombstone(conn: AsyncConnection, *, tenant_id: UUID, subdomain: Subdomain) -> None:
    """Enter a failed tenant for what carries a mark of ours and has no row; it claims no name.

    A row that is there stays as it is.
    """
    row = postgresql.insert(tenants).values(
        id=tenant_id,
        name=f"Orphan {tenant_id}",
        subdomain=subdomain,
        state=TenantState.FAILED,
        tier=Tier.STARTER,
        admin_email="nobody@invalid",
    )
    await conn.execute(row.on_conflict_do_nothing(index_elements=[tenants.c.id]))


async def provision_again(conn: AsyncConnection, tenant: Tenant) -> None:
    """Put a failed tenant back to provisioning: it claims its subdomain anew. Raises SubdomainTaken."""
    try:
        await set_state(conn, tenant.id, TenantState.PROVISIONING)
    except IntegrityError as error:
        raise _taken(error, tenant.subdomain) from error


def _taken(error: IntegrityError, subdomain: Subdomain) -> Exception:
    if "ck_tenants_name" in str(error.orig):
        detail = "The name holds characters that this database does not take."
        return ValidationFailed(detail, [FieldFault("/name", "invalid", detail)])
    if "uq_tenants_subdomain_held" not in str(error.orig):
        return error
    return SubdomainTaken(f"The subdomain '{subdomain}' is taken; choose another.")


async def get(conn: AsyncConnection, tenant_id: UUID, *, lock: bool = False) -> Tenant:
    """Raises TenantNotFound. `lock` holds the row against other changes until the commit."""
    query = select(tenants).where(tenants.c.id == tenant_id)
    if lock:
        query = query.with_for_update(key_share=True)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise TenantNotFound(f"There is no tenant with the id {tenant_id}.")
    return tenant_of(row)


def tenant_of(row: Row[Any]) -> Tenant:
    """The tenant in a row of the table."""
    return Tenant(
        id=row.id,
        name=row.name,
        subdomain=row.subdomain,
        state=TenantState(row.state),
        tier=Tier(row.tier),
        admin_email=row.admin_email,
        admin_name=row.admin_name,
        revision=row.revision,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
        metadata=row.metadata,
        conditions=row.conditions,
    )


async def set_state(conn: AsyncConnection, tenant_id: UUID, state: TenantState) -> None:
    """The database refuses a transition that the state machine does not have."""
    # A restored tenant was never deleted; a purged one stays so.
    dates = {TenantState.DELETED: func.clock_timestamp(), TenantState.ACTIVE: None}
    date = {"deleted_at": dates[state]} if state in dates else {}
    await _change(conn, tenant_id, state=state, **date)


async def set_subdomain(conn: AsyncConnection, tenant_id: UUID, subdomain: Subdomain) -> None:
    """The tenant's host is another from the commit on."""
    await _change(conn, tenant_id, subdomain=subdomain)


async def set_revision(conn: AsyncConnection, tenant_id: UUID, revision: str | None) -> None:
    """Enter what the version table in the tenant's schema says, in the same transaction."""
    await _change(conn, tenant_id, revision=revision)


async def set_condition(
    conn: AsyncConnection, tenant_id: UUID, name: str, *, holds: bool, reason: str | None = None
) -> None:
    """Enter whether a condition holds, since when, and why."""
    entry = func.jsonb_build_object(
        name,
        func.jsonb_build_object("holds", holds, "reason", reason, "since", func.clock_timestamp()),
        type_=JSONB,
    )
    await _change(conn, tenant_id, conditions=tenants.c.conditions.op("||")(entry))


async def _change(conn: AsyncConnection, tenant_id: UUID, **values: Any) -> None:
    await conn.execute(
        update(tenants)
        .where(tenants.c.id == tenant_id)
        .values(**values, version=tenants.c.version + 1, updated_at=func.clock_timestamp())
    )


async def page(
    conn: AsyncConnection,
    *,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
    state: TenantState | None = None,
    tier: Tier | None = None,
    text: str | None = None,
    subdomain: str | None = None,
    include_deleted: bool = False,
) -> list[Tenant]:
    """Newest first, from behind the (created_at, id) of the last one seen.

    `text` is looked for in name and subdomain, `subdomain` is the whole of it. Deleted, purging and purged ones are left out
    unless asked for.
    """
    c = tenants.c
    query = select(tenants).order_by(c.created_at.desc(), c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(tuple_(c.created_at, c.id) < after)
    if state is not None:
        query = query.where(c.state == state)
    elif not include_deleted:
        query = query.where(c.state.not_in(_GONE))
    if tier is not None:
        query = query.where(c.tier == tier)
    if subdomain is not None:
        query = query.where(c.subdomain == subdomain)
    if text is not None:
        query = query.where(
            c.name.icontains(text, autoescape=True) | c.subdomain.icontains(text, autoescape=True)
        )
    return [tenant_of(row) for row in await conn.execute(query)]
