"""What may be asked of a tenant that exists: suspend, resume, restore, purge, repair, welcome,
rename.

Each function takes a connection, in whose transaction the request is accepted whole or not at all,
and never commits. All raise TenantNotFound, OperationInProgress and InvalidState.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Subdomain
from controlplane.domain.operations import Plan
from controlplane.domain.tenants import Tenant, TenantState
from controlplane.errors import FieldFault, InvalidState, ValidationFailed
from controlplane.provisioning.plans import PURGE, RENAME, REPAIR, RESTORE, RESUME, SUSPEND, WELCOME
from controlplane.provisioning.requests import idle_tenant, start
from controlplane.store import audit, holds
from controlplane.store.audit import Actor
from controlplane.store.operations import OperationView

_SERVED = (TenantState.ACTIVE, TenantState.SUSPENDED)


async def suspend(
    conn: AsyncConnection, tenant_id: UUID, *, actor: Actor, deadline_s: float
) -> OperationView:
    """Refuse the tenant's host, with 403; its data stays as it is."""
    tenant = await _tenant_in(conn, tenant_id, [TenantState.ACTIVE], "suspended")
    return await _accept(conn, tenant, SUSPEND, actor, deadline_s)


async def resume(
    conn: AsyncConnection, tenant_id: UUID, *, actor: Actor, deadline_s: float
) -> OperationView:
    """Serve a suspended tenant again."""
    tenant = await _tenant_in(conn, tenant_id, [TenantState.SUSPENDED], "resumed")
    return await _accept(conn, tenant, RESUME, actor, deadline_s)


async def restore(
    conn: AsyncConnection, tenant_id: UUID, *, grace: timedelta, actor: Actor, deadline_s: float
) -> OperationView:
    """Bring a deleted tenant back, with all its data, while its grace period lasts."""
    tenant = await _tenant_in(conn, tenant_id, [TenantState.DELETED], "restored")
    if await _grace_is_over(conn, tenant, grace):
        raise InvalidState("The tenant's grace period is over; it can only be purged.")
    return await _accept(conn, tenant, RESTORE, actor, deadline_s)


async def purge(
    conn: AsyncConnection,
    tenant_id: UUID,
    *,
    confirm: str,
    skip_grace: bool,
    grace: timedelta,
    actor: Actor,
    deadline_s: float,
) -> OperationView:
    """Destroy a deleted tenant's data for good, after its grace period unless that is skipped.

    `confirm` must be the tenant's subdomain; raises ValidationFailed where it is not. One whose
    purge was abandoned is purging still, and is asked for again.
    """
    states = [TenantState.DELETED, TenantState.PURGING]
    tenant = await _tenant_in(conn, tenant_id, states, "purged")
    if confirm != tenant.subdomain:
        detail = "Repeat the tenant's subdomain to confirm that its data is to be destroyed."
        raise ValidationFailed(detail, [FieldFault("/confirm", "mismatch", detail)])
    if not skip_grace and not await _grace_is_over(conn, tenant, grace):
        raise InvalidState(
            "The tenant's grace period is not over; wait, or purge it now with 'skip_grace'."
        )
    return await _accept(conn, tenant, PURGE, actor, deadline_s)


async def repair(
    conn: AsyncConnection, tenant_id: UUID, *, actor: Actor, deadline_s: float
) -> OperationView:
    """Put back what is missing: revision, first admin, record. Never touches data."""
    tenant = await _tenant_in(conn, tenant_id, _SERVED, "repaired")
    return await _accept(conn, tenant, REPAIR, actor, deadline_s)


async def resend_welcome(
    conn: AsyncConnection, tenant_id: UUID, *, actor: Actor, deadline_s: float
) -> OperationView:
    """Send the welcome mail once more, with a new link; earlier links end with it."""
    tenant = await _tenant_in(conn, tenant_id, _SERVED, "welcomed")
    return await _accept(conn, tenant, WELCOME, actor, deadline_s)


async def rename(
    conn: AsyncConnection,
    tenant_id: UUID,
    *,
    subdomain: Subdomain,
    actor: Actor,
    deadline_s: float,
) -> OperationView:
    """Lead another subdomain to the tenant, and the present one to nobody.

    Nobody else may claim the new one from this commit on. Raises SubdomainTaken,
    SubdomainQuarantined, and ValidationFailed where the tenant has it already.
    """
    tenant = await _tenant_in(conn, tenant_id, _SERVED, "renamed")
    if subdomain == tenant.subdomain:
        detail = f"The tenant's subdomain is '{subdomain}' already."
        raise ValidationFailed(detail, [FieldFault("/subdomain", "unchanged", detail)])
    await holds.claim(conn, subdomain, tenant.id)
    await holds.reserve(conn, subdomain, tenant.id)
    names = {"subdomain": subdomain, "old": tenant.subdomain}
    return await _accept(conn, tenant, RENAME, actor, deadline_s, **names)


async def _tenant_in(
    conn: AsyncConnection, tenant_id: UUID, states: Collection[TenantState], verb: str
) -> Tenant:
    tenant = await idle_tenant(conn, tenant_id)
    if tenant.state not in states:
        wanted = " or ".join(states)
        raise InvalidState(
            f"The tenant is {tenant.state}; only one that is {wanted} can be {verb}."
        )
    return tenant


async def _accept(
    conn: AsyncConnection,
    tenant: Tenant,
    plan: Plan,
    actor: Actor,
    deadline_s: float,
    **more: str,
) -> OperationView:
    before: dict[str, Any] = {"state": tenant.state}
    await audit.write(
        conn,
        actor,
        f"tenant.{plan.kind}",
        tenant_id=tenant.id,
        before=before,
        after=dict(more) or None,
    )
    params: dict[str, Any] = {"from_state": tenant.state, **more}
    return await start(conn, tenant.id, plan, params, actor=actor, deadline_s=deadline_s)


async def _grace_is_over(conn: AsyncConnection, tenant: Tenant, grace: timedelta) -> bool:
    """By the database's clock."""
    now = (await conn.execute(select(func.clock_timestamp()))).scalar_one()
    return tenant.deleted_at is None or bool(tenant.deleted_at + grace <= now)
